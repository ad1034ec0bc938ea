//! One connection: which phase it is in, and the bytes nobody wants.

use block::{Error, Outbox, Request};
use zerocopy::big_endian::U32;
use zerocopy::{FromBytes, IntoBytes};

use crate::exports::Catalog;
use crate::negotiation::{self, Negotiation};
use crate::refused::{Answer, Refused};
use crate::relay::RelayHandshake;
use crate::reply::{self, Extent, ReadData};
use crate::ticket::{Command, Ticket};
use crate::transmission::{self, ReplyStyle, Transmission};
use crate::wire;

/// The server's state of one connection.
#[derive(Debug)]
pub struct Session {
    phase: Phase,
    /// Whose bytes come next in the stream. They are dropped before anything else.
    refused: Option<Refused>,
}

#[derive(Debug)]
enum Phase {
    Greeted,
    Negotiating(Negotiation),
    Transmitting(Transmission),
    Closed(CloseReason),
}

/// What [`Session::advance`] made of the input. The caller drops `consumed` bytes, which are never 0, and calls
/// again with the rest.
#[derive(Debug)]
pub enum Step<'a> {
    /// Call again when `input` has at least this many bytes: more than now, at most [`crate::INPUT_BYTES_MAX`].
    Starved {
        /// Bytes needed in one piece.
        need_bytes: usize,
    },
    /// The negotiation went on, the session refused a bad request itself, or refused payload was dropped.
    Advanced {
        /// Bytes done with.
        consumed: usize,
    },
    /// Requests for this export follow.
    Opened {
        /// Bytes done with.
        consumed: usize,
        /// [`crate::Export::handle`] of the export.
        export: u128,
    },
    /// The next option names an export of another server. None of it is done with, nor answered: that server is to
    /// be told [`Session::relay`], and then the stream from here on. This session says so again when it is called.
    Elsewhere {
        /// The name as the client gave it.
        name: &'a str,
    },
    /// Do this, and answer `ticket`. When `missing_bytes` is not 0, the caller takes exactly that many bytes off
    /// the stream behind `consumed` before it calls [`Session::advance`] again, and answers after that; or it has
    /// them dropped by [`Session::skip_payload`], and answers whenever it likes after that.
    Request {
        /// Bytes done with, the payload among them.
        consumed: usize,
        /// What to answer with.
        ticket: Ticket,
        /// What to do.
        request: Request,
        /// The first bytes of a write's payload, or all of them.
        payload: &'a [u8],
        /// Bytes of the payload that are still to come; only a payload of [`crate::LARGE_PAYLOAD_BYTES`] or more
        /// comes in parts.
        missing_bytes: usize,
    },
    /// Send what is in the outbox, then close the connection. Every later call says so again.
    Closed {
        /// Why.
        reason: CloseReason,
    },
}

/// Why a connection ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CloseReason {
    /// An orderly end of the negotiation.
    #[error("the client ended the negotiation")]
    Aborted,
    /// An orderly end. Requests that are not answered yet are to be finished; their replies go nowhere.
    #[error("the client disconnected")]
    Disconnected,
    /// The protocol asks to close then.
    #[error("the client set unknown flags: {flags:#x}")]
    UnknownClientFlags {
        /// All of the client's flags.
        flags: u32,
    },
    /// The stream cannot be followed any more.
    #[error("an option does not start with its magic number")]
    BadOptionMagic,
    /// More than [`crate::OPTIONS_MAX`].
    #[error("too many options")]
    TooManyOptions,
    /// More than [`crate::NEGOTIATION_BYTES_MAX`], answers included.
    #[error("the negotiation is too long")]
    NegotiationTooLong,
    /// The client sent an option that needs an answer it says it does not understand.
    #[error("the client does not speak fixed newstyle, but sent another option than EXPORT_NAME")]
    NotFixedNewstyle,
    /// EXPORT_NAME has no answer for it.
    #[error("the name of the export is malformed or too long")]
    BadExportName,
    /// EXPORT_NAME has no answer for it.
    #[error("no such export")]
    NoSuchExport,
    /// The stream cannot be followed any more.
    #[error("a request does not start with its magic number")]
    BadRequestMagic,
    /// More than [`crate::SKIPPED_PAYLOAD_BYTES_MAX`].
    #[error("a write of {len_bytes} bytes is too large to skip")]
    PayloadTooLarge {
        /// Its length.
        len_bytes: u32,
    },
}

impl Session {
    /// A connection was accepted. Writes the greeting.
    #[must_use]
    pub fn new(out: &mut Outbox) -> Self {
        let greeting = wire::Greeting {
            magic: wire::GREETING_MAGIC.into(),
            option_magic: wire::OPTION_MAGIC.into(),
            flags: wire::GREETING_FLAGS.into(),
        };
        out.push(greeting.as_bytes());
        Self { phase: Phase::Greeted, refused: None }
    }

    /// Looks at the start of `input`, the unconsumed bytes of the stream.
    pub fn advance<'a>(&mut self, input: &'a [u8], catalog: &impl Catalog, out: &mut Outbox) -> Step<'a> {
        if let Some(refused) = self.refused.take() {
            return self.drop_refused(refused, input, out);
        }
        match &mut self.phase {
            Phase::Greeted => self.take_client_flags(input),
            Phase::Negotiating(negotiation) => {
                let turn = negotiation.advance(input, catalog, out);
                self.negotiated(turn)
            }
            Phase::Transmitting(transmission) => {
                let turn = transmission.advance(input);
                self.transmitted(turn, out)
            }
            Phase::Closed(reason) => Step::Closed { reason: *reason },
        }
    }

    /// Whether the negotiation led to an export, and the connection is not closed.
    #[must_use]
    pub fn is_open(&self) -> bool {
        match self.phase {
            Phase::Transmitting(_) => true,
            Phase::Greeted | Phase::Negotiating(_) | Phase::Closed(_) => false,
        }
    }

    /// What is to be said again to the server that has the export; `None` but for a client that negotiates.
    #[must_use]
    pub fn relay(&self) -> Option<RelayHandshake> {
        match &self.phase {
            Phase::Negotiating(negotiation) => Some(negotiation.relay()),
            Phase::Greeted | Phase::Transmitting(_) | Phase::Closed(_) => None,
        }
    }

    /// Whether holes of this read travel as such. Then nobody looks at the bytes of the buffer inside them.
    #[must_use]
    pub fn sends_holes(&self, ticket: Ticket) -> bool {
        match self.style() {
            None | Some(ReplyStyle::Simple) => false,
            Some(ReplyStyle::Structured { .. }) => ticket.command == Command::Read { unfragmented: false },
        }
    }

    /// Answers everything but a read or block status that succeeded. On a closed session, answers go nowhere; that
    /// to a write whose payload is being dropped waits for the end of the payload.
    pub fn reply(&mut self, ticket: Ticket, result: Result<(), Error>, out: &mut Outbox) {
        let Some(style) = self.style() else { return };
        if !self.refused.as_mut().is_some_and(|refused| refused.keep(ticket, result)) {
            reply::push_result(style, ticket, result, out);
        }
    }

    /// Answers a read that succeeded. The buffer comes back from the outbox, also when the session is closed.
    pub fn reply_read(&mut self, ticket: Ticket, data: ReadData<'_>, out: &mut Outbox) {
        match self.style() {
            Some(style) => reply::push_data(style, ticket, data, out),
            None => {
                out.keep(data.buffer);
            }
        }
    }

    /// Answers a block status that succeeded. `extents` start at the requested offset, cover at least one byte and
    /// at most the requested ones; those beyond [`crate::STATUS_EXTENTS_MAX`] are left to the client's next request.
    pub fn reply_status(&mut self, ticket: Ticket, extents: &[Extent], out: &mut Outbox) {
        if self.style().is_some() {
            reply::push_status(ticket, extents, out);
        }
    }

    /// Has the session drop the next `missing_bytes` of the stream: the rest of the payload of the last write, which
    /// the caller refuses. Call it before [`Session::reply`], which then waits for the end of the payload: many
    /// clients take no answer to a write they have not sent as a whole.
    pub fn skip_payload(&mut self, missing_bytes: usize) {
        let parted = match &self.phase {
            Phase::Transmitting(transmission) => transmission.parted,
            Phase::Closed(_) => return,
            Phase::Greeted | Phase::Negotiating(_) => panic!("there is no payload before an export is open"),
        };
        match (&mut self.refused, parted) {
            (Some(refused), _) => refused.extend(missing_bytes),
            (None, Some(ticket)) => self.refused = Refused::new(missing_bytes, Answer::Awaited { ticket }),
            (None, None) => assert_eq!(missing_bytes, 0, "no write was handed out with payload missing"),
        }
    }

    fn drop_refused<'a>(&mut self, refused: Refused, input: &'a [u8], out: &mut Outbox) -> Step<'a> {
        if input.is_empty() {
            self.refused = Some(refused);
            return Step::Starved { need_bytes: 1 };
        }
        let (consumed, left) = refused.drop_bytes(input.len());
        match left {
            Ok(refused) => self.refused = Some(refused),
            Err(answer) => self.push_answer(answer, out),
        }
        Step::Advanced { consumed }
    }

    fn push_answer(&self, answer: Answer, out: &mut Outbox) {
        match &self.phase {
            Phase::Transmitting(transmission) => answer.push(transmission.style, out),
            // Options are answered before their data is dropped.
            Phase::Greeted | Phase::Negotiating(_) | Phase::Closed(_) => {}
        }
    }

    fn take_client_flags<'a>(&mut self, input: &'a [u8]) -> Step<'a> {
        let consumed = size_of::<U32>();
        let Ok((flags, _)) = U32::read_from_prefix(input) else {
            return Step::Starved { need_bytes: consumed };
        };
        match Negotiation::start(flags.get()) {
            Ok(negotiation) => {
                self.phase = Phase::Negotiating(negotiation);
                Step::Advanced { consumed }
            }
            Err(reason) => self.close(reason),
        }
    }

    fn negotiated<'a>(&mut self, turn: negotiation::Turn<'a>) -> Step<'a> {
        match turn {
            negotiation::Turn::Elsewhere { name } => Step::Elsewhere { name },
            negotiation::Turn::Starved { need_bytes } => Step::Starved { need_bytes },
            negotiation::Turn::Answered { consumed, skip_bytes } => {
                self.refused = Refused::new(skip_bytes, Answer::Said);
                Step::Advanced { consumed }
            }
            negotiation::Turn::Opened { consumed, export, transmission } => {
                self.phase = Phase::Transmitting(transmission);
                Step::Opened { consumed, export }
            }
            negotiation::Turn::Closed(reason) => self.close(reason),
        }
    }

    fn transmitted<'a>(&mut self, turn: transmission::Turn<'a>, out: &mut Outbox) -> Step<'a> {
        match turn {
            transmission::Turn::Starved { need_bytes } => Step::Starved { need_bytes },
            transmission::Turn::Refused { consumed, cookie, fault, payload_bytes } => {
                let answer = Answer::Fault { cookie, fault };
                self.refused = Refused::new(payload_bytes, answer);
                if self.refused.is_none() {
                    self.push_answer(answer, out);
                }
                Step::Advanced { consumed }
            }
            transmission::Turn::Request { consumed, ticket, request, payload, missing_bytes } => {
                Step::Request { consumed, ticket, request, payload, missing_bytes }
            }
            transmission::Turn::Closed(reason) => self.close(reason),
        }
    }

    fn close<'a>(&mut self, reason: CloseReason) -> Step<'a> {
        self.phase = Phase::Closed(reason);
        Step::Closed { reason }
    }

    /// How to answer; `None` when nobody listens any more.
    fn style(&self) -> Option<ReplyStyle> {
        match &self.phase {
            Phase::Transmitting(transmission) => Some(transmission.style),
            Phase::Closed(_) => None,
            Phase::Greeted | Phase::Negotiating(_) => panic!("there are no requests before an export is open"),
        }
    }
}
