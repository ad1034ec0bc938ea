//! The one place that decides whether a request is taken: first whether there is room to look at one at all, then,
//! knowing it, whether it may run. What comes after admission can fail only in the store.

use block::{Error, Request};

use crate::limits;

/// Room for one more request of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Room {
    /// The next one is looked at.
    Free,
    /// The connection waits for one of its own requests or replies to end.
    OwnFull,
    /// The connection waits for the store, because a change of its own already does.
    StoreFull,
    /// Every connection waits: too many bytes are in flight.
    NodeFull,
}

/// What is in use, as far as it bounds taking requests.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Load {
    /// The connection's requests in flight.
    pub requests: u32,
    /// Bytes they name.
    pub bytes: u64,
    /// Bytes of its replies not sent yet.
    pub backlog_bytes: usize,
    /// The same over all connections.
    pub backlog_total_bytes: usize,
    /// Bytes held for all requests of the node.
    pub in_flight_bytes: u64,
    /// Whether the store has no room for changes and the connection has made one since; until then it may go on, for
    /// it may only read.
    pub choked: bool,
}

/// Largest request: as long as one more fits, the next is looked at, so that no bound is ever passed.
const LARGEST: u64 = limits::PAYLOAD_BYTES_MAX as u64;

/// Whether the next request of a connection is looked at.
pub(crate) fn room(load: &Load) -> Room {
    let idle = load.requests == 0 && load.backlog_bytes == 0;
    if load.requests >= limits::REQUESTS_MAX
        || load.bytes + LARGEST > limits::CONNECTION_BYTES_MAX
        || load.backlog_bytes > limits::BACKLOG_BYTES_MAX
        || (load.backlog_total_bytes > limits::BACKLOG_BYTES_TOTAL_MAX && !idle)
    {
        Room::OwnFull
    } else if load.in_flight_bytes + LARGEST > limits::IN_FLIGHT_BYTES_MAX {
        Room::NodeFull
    } else if load.choked {
        Room::StoreFull
    } else {
        Room::Free
    }
}

/// Whether the volume is served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Service {
    Serving,
    /// Deleted, or being deleted.
    Gone,
    Stopping,
}

/// What the export allows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Access {
    ReadWrite,
    ReadOnly,
}

/// Whether the request changes anything.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Aim {
    Looks,
    Changes,
}

/// How the request's range lies in the volume.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fit {
    Fits,
    Empty,
    TooLarge,
    PastEnd,
}

/// What becomes of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// It runs.
    Admit,
    /// It is replied to with an error.
    Refuse(Error),
    /// It is not replied to. The connection is about to end, and a client that connects again asks again; an error
    /// would reach its file system.
    Leave,
}

/// Decides about one request.
pub(crate) fn admit(request: &Request, service: Service, access: Access, size_bytes: u64) -> Verdict {
    let aim = if request.changes() { Aim::Changes } else { Aim::Looks };
    decide(service, access, aim, fit(request, size_bytes))
}

fn fit(request: &Request, size_bytes: u64) -> Fit {
    let Some(range) = request.range() else { return Fit::Fits };
    let has_payload = matches!(request, Request::Read { .. } | Request::Write { .. });
    if range.len_bytes == 0 {
        Fit::Empty
    } else if has_payload && range.len_bytes > limits::PAYLOAD_BYTES_MAX {
        Fit::TooLarge
    } else if range.end().is_none_or(|end| end > size_bytes) {
        Fit::PastEnd
    } else {
        Fit::Fits
    }
}

fn decide(service: Service, access: Access, aim: Aim, fit: Fit) -> Verdict {
    match (service, access, aim, fit) {
        // The process ends; what was not admitted is asked again of the next one.
        (Service::Stopping, _, _, _) => Verdict::Leave,
        // Nothing will ever answer for this volume again, so the client is told.
        (Service::Gone, _, _, _) => Verdict::Refuse(Error::ShuttingDown),
        // Permission before shape: a read-only export says so to every change.
        (Service::Serving, Access::ReadOnly, Aim::Changes, _) => Verdict::Refuse(Error::ReadOnly),
        // No protocol gives it a meaning.
        (Service::Serving, _, _, Fit::Empty) => Verdict::Refuse(Error::Invalid),
        // More than was advertised.
        (Service::Serving, _, _, Fit::TooLarge) => Verdict::Refuse(Error::TooLarge),
        // Past the size of now, which is at least the one the client was told.
        (Service::Serving, _, _, Fit::PastEnd) => Verdict::Refuse(Error::OutOfRange),
        (Service::Serving, Access::ReadWrite, Aim::Changes | Aim::Looks, Fit::Fits)
        | (Service::Serving, Access::ReadOnly, Aim::Looks, Fit::Fits) => Verdict::Admit,
    }
}

#[cfg(test)]
mod tests {
    use block::{ByteRange, Error, Request};

    use super::{Access, Aim, Fit, Load, Room, Service, Verdict, admit, decide, room};
    use crate::limits;

    const SERVICES: [Service; 3] = [Service::Serving, Service::Gone, Service::Stopping];
    const ACCESSES: [Access; 2] = [Access::ReadWrite, Access::ReadOnly];
    const AIMS: [Aim; 2] = [Aim::Looks, Aim::Changes];
    const FITS: [Fit; 4] = [Fit::Fits, Fit::Empty, Fit::TooLarge, Fit::PastEnd];

    #[test]
    fn every_combination_has_the_verdict_of_its_first_rule() {
        let mut admitted = 0;
        for service in SERVICES {
            for access in ACCESSES {
                for aim in AIMS {
                    for fit in FITS {
                        let expected = if service == Service::Stopping {
                            Verdict::Leave
                        } else if service == Service::Gone {
                            Verdict::Refuse(Error::ShuttingDown)
                        } else if access == Access::ReadOnly && aim == Aim::Changes {
                            Verdict::Refuse(Error::ReadOnly)
                        } else {
                            match fit {
                                Fit::Fits => Verdict::Admit,
                                Fit::Empty => Verdict::Refuse(Error::Invalid),
                                Fit::TooLarge => Verdict::Refuse(Error::TooLarge),
                                Fit::PastEnd => Verdict::Refuse(Error::OutOfRange),
                            }
                        };
                        assert_eq!(
                            decide(service, access, aim, fit),
                            expected,
                            "{service:?} {access:?} {aim:?} {fit:?}"
                        );
                        admitted += u32::from(expected == Verdict::Admit);
                    }
                }
            }
        }
        assert_eq!(admitted, 3);
    }

    fn verdict(request: Request) -> Verdict {
        admit(&request, Service::Serving, Access::ReadWrite, 1 << 30)
    }

    #[test]
    fn ranges_are_checked_to_the_byte() {
        let read = |offset, len_bytes| verdict(Request::Read { range: ByteRange::new(offset, len_bytes) });
        assert_eq!(read((1 << 30) - 1, 1), Verdict::Admit);
        assert_eq!(read((1 << 30) - 1, 2), Verdict::Refuse(Error::OutOfRange));
        assert_eq!(read(u64::MAX, 2), Verdict::Refuse(Error::OutOfRange));
        assert_eq!(read(0, limits::PAYLOAD_BYTES_MAX), Verdict::Admit);
        assert_eq!(read(0, limits::PAYLOAD_BYTES_MAX + 1), Verdict::Refuse(Error::TooLarge));
        assert_eq!(read(0, 0), Verdict::Refuse(Error::Invalid));
        assert_eq!(verdict(Request::Flush), Verdict::Admit);
        let discard = Request::Discard { range: ByteRange::new(0, 1 << 30), fua: false };
        assert_eq!(verdict(discard), Verdict::Admit, "a request without payload may be as large as the volume");
    }

    #[test]
    fn each_full_budget_waits_and_none_is_ever_passed() {
        let loads: [(Load, Room); 8] = [
            (Load::default(), Room::Free),
            (Load { requests: limits::REQUESTS_MAX, ..Load::default() }, Room::OwnFull),
            (Load { requests: limits::REQUESTS_MAX - 1, ..Load::default() }, Room::Free),
            (Load { bytes: limits::CONNECTION_BYTES_MAX - super::LARGEST + 1, ..Load::default() }, Room::OwnFull),
            (Load { backlog_bytes: limits::BACKLOG_BYTES_MAX + 1, ..Load::default() }, Room::OwnFull),
            (
                Load { in_flight_bytes: limits::IN_FLIGHT_BYTES_MAX - super::LARGEST + 1, ..Load::default() },
                Room::NodeFull,
            ),
            (Load { choked: true, ..Load::default() }, Room::StoreFull),
            (Load { choked: true, requests: limits::REQUESTS_MAX, ..Load::default() }, Room::OwnFull),
        ];
        for (load, expected) in loads {
            assert_eq!(room(&load), expected, "{load:?}");
        }
    }

    #[test]
    fn when_too_many_replies_wait_only_idle_connections_are_read_from() {
        let full = Load { backlog_total_bytes: limits::BACKLOG_BYTES_TOTAL_MAX + 1, ..Load::default() };
        assert_eq!(room(&full), Room::Free);
        assert_eq!(room(&Load { requests: 1, ..full }), Room::OwnFull);
        assert_eq!(room(&Load { backlog_bytes: 1, ..full }), Room::OwnFull);
    }
}
