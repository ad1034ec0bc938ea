//! The null machine: real sessions, no store. Writes are forgotten, reads are zeroes, both at once.
//!
//! Served by the real reactor it is the ceiling of what a store behind the same sockets can reach, and what the
//! reactor's own tests talk to.

use block::{Outbox, OutboxSlices, PAGE_BYTES, Pages, Request};
use nbd::{Export, Exports, Extent, INPUT_BYTES_MAX, ReadData, Session, Step, Ticket};
use node::{ConnId, Effect, Event};

/// Name of its one export, which is also the default one.
pub const NULL_EXPORT: &str = "null";

/// Receive buffer of a connection: many small requests at once.
const INBOX_BYTES: usize = 256 << 10;
/// A connection that has so much to be told is not listened to.
const BACKLOG_BYTES_MAX: usize = 8 << 20;

const _: () = assert!(INPUT_BYTES_MAX < INBOX_BYTES, "whatever a session waits for fits the inbox");

/// See the module.
#[derive(Debug)]
pub struct Null {
    exports: Exports,
    connections: Vec<Option<Connection>>,
    /// Connections that may have something to send.
    touched: Vec<ConnId>,
    stopping: bool,
}

#[derive(Debug)]
struct Connection {
    conn: ConnId,
    session: Session,
    inbox: Inbox,
    /// What the session appends to.
    next: Outbox,
    /// What is being sent.
    sending: Outbox,
    state: State,
    /// Read buffers between two reads.
    spare: Vec<Pages>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Open {
        receiving: bool,
    },
    /// Nothing more is listened to; what is there is sent first.
    Ending,
    Closing,
}

#[derive(Debug)]
struct Inbox {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Null {
    /// One export of this size.
    #[must_use]
    pub fn new(size_bytes: u64) -> Self {
        let mut exports = Exports::new(true);
        let description = "forgets writes, reads zeroes".to_owned();
        let export = Export { handle: 1, size_bytes, read_only: false, multi_conn: true, description };
        exports.insert(NULL_EXPORT.to_owned(), export).expect("the name is valid");
        exports.set_default(Some(NULL_EXPORT.to_owned()));
        Self { exports, connections: Vec::new(), touched: Vec::new(), stopping: false }
    }

    pub(crate) fn handle(&mut self, event: &Event, effects: &mut Vec<Effect>) {
        match *event {
            Event::Accepted { conn, door: _ } => self.accept(conn),
            Event::Received { conn, len_bytes } => {
                let connection = self.connections[conn.slot as usize].as_mut().expect("receiving");
                connection.inbox.end += len_bytes;
                connection.state = State::Open { receiving: false };
                self.touched.push(conn);
            }
            Event::Sent { conn, len_bytes } => {
                let connection = self.connections[conn.slot as usize].as_mut().expect("sending");
                connection.sent(len_bytes, effects);
                self.touched.push(conn);
            }
            Event::Broken { conn } => self.close(conn, effects),
            Event::Closed { conn } => self.connections[conn.slot as usize] = None,
            Event::TurnEnded => self.turn_ended(effects),
            Event::Stop => self.stop(effects),
            Event::Disk(_)
            | Event::Control { .. }
            | Event::Intended(_)
            | Event::PeerConnected { .. }
            | Event::PeerFailed { .. } => {
                unreachable!("it has no disk, obeys nobody and knows no other node")
            }
        }
        if self.stopping && self.connections.iter().all(Option::is_none) {
            effects.push(Effect::Stopped);
        }
    }

    pub(crate) fn receive_target(&mut self, conn: ConnId) -> &mut [u8] {
        let inbox = &mut self.connections[conn.slot as usize].as_mut().expect("receiving").inbox;
        &mut inbox.bytes[inbox.end..]
    }

    pub(crate) fn send_source(&self, conn: ConnId) -> OutboxSlices<'_> {
        self.connections[conn.slot as usize].as_ref().expect("sending").sending.slices()
    }

    fn accept(&mut self, conn: ConnId) {
        let slot = conn.slot as usize;
        if self.connections.len() <= slot {
            self.connections.resize_with(slot + 1, || None);
        }
        self.connections[slot] = Some(Connection::new(conn));
        self.touched.push(conn);
    }

    fn turn_ended(&mut self, effects: &mut Vec<Effect>) {
        for conn in self.touched.drain(..) {
            if let Some(Some(connection)) = self.connections.get_mut(conn.slot as usize)
                && connection.conn == conn
            {
                connection.go_on(&self.exports, effects);
            }
        }
    }

    fn stop(&mut self, effects: &mut Vec<Effect>) {
        self.stopping = true;
        let open: Vec<_> = self.connections.iter().flatten().map(|connection| connection.conn).collect();
        for conn in open {
            self.close(conn, effects);
        }
    }

    fn close(&mut self, conn: ConnId, effects: &mut Vec<Effect>) {
        let connection = self.connections[conn.slot as usize].as_mut().expect("not closed");
        if connection.state != State::Closing {
            connection.state = State::Closing;
            effects.push(Effect::Close { conn });
        }
    }
}

impl Connection {
    fn new(conn: ConnId) -> Self {
        let mut next = Outbox::default();
        let session = Session::new(&mut next);
        let inbox = Inbox { bytes: vec![0; INBOX_BYTES], start: 0, end: 0 };
        let state = State::Open { receiving: false };
        Self { conn, session, inbox, next, sending: Outbox::default(), state, spare: Vec::new() }
    }

    /// Answers the requests in the inbox, unless there is much to be sent already; answers whether it needs more.
    fn take_requests(&mut self, exports: &Exports) -> bool {
        let Inbox { bytes, start, end } = &mut self.inbox;
        while self.next.len_bytes() <= BACKLOG_BYTES_MAX {
            match self.session.advance(&bytes[*start..*end], exports, &mut self.next) {
                Step::Starved { .. } => {
                    self.inbox.make_room();
                    return true;
                }
                Step::Advanced { consumed } | Step::Opened { consumed, .. } => *start += consumed,
                Step::Request { consumed, ticket, request, payload: _, missing_bytes } => {
                    *start += consumed;
                    self.session.skip_payload(missing_bytes);
                    answer(&mut self.session, ticket, request, &mut self.spare, &mut self.next);
                }
                Step::Elsewhere { .. } | Step::Closed { .. } => {
                    self.state = State::Ending;
                    return false;
                }
            }
        }
        false
    }

    fn sent(&mut self, len_bytes: usize, effects: &mut Vec<Effect>) {
        self.sending.advance(len_bytes);
        if self.sending.is_empty() {
            self.spare.extend(self.sending.clear());
        } else if self.state != State::Closing {
            effects.push(Effect::Send { conn: self.conn, awaited: true });
        }
    }

    /// Starts what can be started.
    fn go_on(&mut self, exports: &Exports, effects: &mut Vec<Effect>) {
        let conn = self.conn;
        if self.state == State::Closing {
            return;
        }
        if self.state == (State::Open { receiving: false }) && self.take_requests(exports) {
            self.state = State::Open { receiving: true };
            effects.push(Effect::Receive { conn });
        }
        if self.sending.is_empty() && !self.next.is_empty() {
            std::mem::swap(&mut self.sending, &mut self.next);
            self.sending.seal();
            effects.push(Effect::Send { conn, awaited: self.state != (State::Open { receiving: true }) });
        }
        if self.state == State::Ending && self.sending.is_empty() {
            self.state = State::Closing;
            effects.push(Effect::Close { conn });
        }
    }
}

impl Inbox {
    /// Moves what is left to the front when there is little room behind it.
    fn make_room(&mut self) {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.bytes.len() - self.end < INPUT_BYTES_MAX {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
    }
}

fn answer(session: &mut Session, ticket: Ticket, request: Request, spare: &mut Vec<Pages>, out: &mut Outbox) {
    match request {
        Request::Read { range } => {
            let pages = (range.len_bytes as usize).div_ceil(PAGE_BYTES);
            let fitting = spare.pop().filter(|buffer| buffer.count() >= pages);
            let buffer = fitting.unwrap_or_else(|| Pages::zeroed(pages));
            session.reply_read(ticket, ReadData { buffer, start: 0, extents: &[] }, out);
        }
        Request::BlockStatus { range, .. } => {
            session.reply_status(ticket, &[Extent { len_bytes: range.len_bytes, hole: true }], out);
        }
        Request::Write { .. }
        | Request::Flush
        | Request::Discard { .. }
        | Request::WriteZeroes { .. }
        | Request::Cache { .. } => session.reply(ticket, Ok(()), out),
    }
}
