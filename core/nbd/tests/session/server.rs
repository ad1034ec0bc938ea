//! A connection's owner in the small: receives, serves, sends; and checks every promise a step makes.

use block::{Error, Outbox, Pages, Request};
use nbd::{
    CloseReason, Export, Exports, Extent, INPUT_BYTES_MAX, LARGE_PAYLOAD_BYTES, ReadData, Session, Step, Ticket,
};

/// What a session asked its owner to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    Opened(u128),
    Request(Request, Vec<u8>),
    Closed(CloseReason),
}

/// How the owner answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Service {
    /// Success. Reads and block status see these extents, over and over, and data as far as it is not a hole.
    Works(Vec<Extent>),
    /// Every request fails, and payload that is still to come is not received.
    Fails(Error),
}

pub struct Server {
    session: Session,
    exports: Exports,
    service: Service,
    received: Vec<u8>,
    need_bytes: usize,
    write: Option<(Ticket, Request, Vec<u8>, usize)>,
    out: Outbox,
    pub sent: Vec<u8>,
    pub events: Vec<Event>,
}

pub fn exports() -> Exports {
    let export = |handle, read_only| Export {
        handle,
        size_bytes: 1 << 30,
        read_only,
        multi_conn: read_only,
        description: String::new(),
    };
    let mut exports = Exports::new(true);
    exports.insert("disk".into(), export(7, false)).unwrap();
    exports.insert("media".into(), Export { description: "read me".into(), ..export(8, true) }).unwrap();
    exports.set_default(Some("media".into()));
    exports
}

pub fn data(len_bytes: u32) -> Extent {
    Extent { len_bytes, hole: false }
}

pub fn hole(len_bytes: u32) -> Extent {
    Extent { len_bytes, hole: true }
}

/// `len_bytes` of `extents`, repeated.
fn cut(extents: &[Extent], len_bytes: u32) -> Vec<Extent> {
    let mut rest = len_bytes;
    let mut answer = Vec::new();
    for extent in extents.iter().cycle() {
        if rest == 0 || extents.iter().all(|extent| extent.len_bytes == 0) {
            break;
        }
        let step = extent.len_bytes.min(rest);
        answer.push(Extent { len_bytes: step, ..*extent });
        rest -= step;
    }
    answer
}

/// What a read of `len_bytes` finds, and the whole buffer it lies in. The first byte lies at 100.
pub fn stored(extents: &[Extent], len_bytes: u32) -> (Pages, Vec<u8>) {
    let mut buffer = Pages::zeroed((100 + len_bytes as usize).div_ceil(4096));
    let mut at = 100;
    buffer.bytes_mut()[at..at + len_bytes as usize].copy_from_slice(&crate::client::pattern(len_bytes as usize));
    for extent in extents {
        let end = at + extent.len_bytes as usize;
        if extent.hole {
            buffer.bytes_mut()[at..end].fill(0);
        }
        at = end;
    }
    let bytes = buffer.bytes()[100..100 + len_bytes as usize].to_vec();
    (buffer, bytes)
}

impl Server {
    pub fn new(exports: Exports, service: Service) -> Self {
        let mut out = Outbox::default();
        let session = Session::new(&mut out);
        let mut server = Self {
            session,
            exports,
            service,
            received: Vec::new(),
            need_bytes: 0,
            write: None,
            out,
            sent: Vec::new(),
            events: Vec::new(),
        };
        server.send();
        assert_eq!(server.sent, crate::client::GREETING);
        server.sent.clear();
        server
    }

    /// After the whole of `stream` came in one piece: what was sent after the greeting, and what was asked for.
    pub fn after(stream: &[u8]) -> Self {
        let mut server = Self::new(exports(), Service::Works(vec![]));
        server.receive(stream);
        server
    }

    pub fn session(&mut self) -> (&mut Session, &mut Outbox) {
        (&mut self.session, &mut self.out)
    }

    pub fn exports(&mut self) -> &mut Exports {
        &mut self.exports
    }

    pub fn closed(&self) -> Option<CloseReason> {
        match self.events.last() {
            Some(Event::Closed(reason)) => Some(*reason),
            Some(Event::Opened(_) | Event::Request(..)) | None => None,
        }
    }

    /// The bytes sent since the last call.
    pub fn take_sent(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.sent)
    }

    pub fn receive(&mut self, bytes: &[u8]) {
        self.received.extend_from_slice(bytes);
        let received = std::mem::take(&mut self.received);
        let mut input = received.as_slice();
        while self.closed().is_none() {
            let consumed = if self.write.is_some() { self.take_payload(input) } else { self.step(input) };
            if consumed == 0 {
                break;
            }
            input = &input[consumed..];
        }
        self.received = input.to_vec();
        self.send();
    }

    /// One step; answers what it consumed, 0 for starved or closed.
    fn step(&mut self, input: &[u8]) -> usize {
        match self.session.advance(input, &self.exports, &mut self.out) {
            Step::Starved { need_bytes } => {
                assert!(need_bytes > input.len(), "starved with enough");
                assert!(need_bytes <= INPUT_BYTES_MAX, "the need is bounded");
                if self.need_bytes > input.len() {
                    assert_eq!(self.need_bytes, need_bytes, "the need changed before it was met");
                }
                self.need_bytes = need_bytes;
                0
            }
            Step::Advanced { consumed } => self.progress(consumed, input),
            Step::Opened { consumed, export } => {
                assert!(self.session.is_open());
                self.events.push(Event::Opened(export));
                self.progress(consumed, input)
            }
            Step::Request { consumed, ticket, request, payload, missing_bytes } => {
                let whole_bytes = payload.len() + missing_bytes;
                assert!(missing_bytes == 0 || whole_bytes >= LARGE_PAYLOAD_BYTES, "a small payload came in parts");
                assert!(missing_bytes == 0 || consumed == input.len(), "missing bytes were there");
                let payload = payload.to_vec();
                self.progress(consumed, input);
                self.begin(ticket, request, payload, missing_bytes);
                consumed
            }
            Step::Elsewhere { name } => panic!("{name} is here or nowhere"),
            Step::Closed { reason } => {
                assert!(!self.session.is_open());
                self.events.push(Event::Closed(reason));
                0
            }
        }
    }

    fn progress(&mut self, consumed: usize, input: &[u8]) -> usize {
        assert!(consumed > 0 && consumed <= input.len(), "a step consumes some of its input");
        assert!(input.len() >= self.need_bytes, "it went on with less than it needed");
        self.need_bytes = 0;
        consumed
    }

    fn begin(&mut self, ticket: Ticket, request: Request, payload: Vec<u8>, missing_bytes: usize) {
        match self.service {
            Service::Fails(error) => {
                // The payload that happened to be there is not part of the event: how much is chance.
                self.events.push(Event::Request(request, Vec::new()));
                self.session.skip_payload(missing_bytes);
                self.session.reply(ticket, Err(error), &mut self.out);
            }
            Service::Works(_) if missing_bytes > 0 => self.write = Some((ticket, request, payload, missing_bytes)),
            Service::Works(_) => self.serve(ticket, request, payload),
        }
    }

    fn take_payload(&mut self, input: &[u8]) -> usize {
        let (ticket, request, mut payload, missing_bytes) = self.write.take().unwrap();
        let step = missing_bytes.min(input.len());
        payload.extend_from_slice(&input[..step]);
        if step < missing_bytes {
            self.write = Some((ticket, request, payload, missing_bytes - step));
        } else {
            self.serve(ticket, request, payload);
        }
        step
    }

    fn serve(&mut self, ticket: Ticket, request: Request, payload: Vec<u8>) {
        let Service::Works(extents) = self.service.clone() else { unreachable!() };
        match request {
            Request::Read { range } => {
                let extents = cut(&extents, range.len_bytes);
                let (buffer, _) = stored(&extents, range.len_bytes);
                let found = ReadData { buffer, start: 100, extents: &extents };
                self.session.reply_read(ticket, found, &mut self.out);
            }
            Request::BlockStatus { range, .. } => {
                let extents = if extents.is_empty() { vec![data(range.len_bytes)] } else { extents };
                // Less than all of a large range is enough for a client to get on.
                let extents = cut(&extents, range.len_bytes.min(1 << 20));
                self.session.reply_status(ticket, &extents, &mut self.out);
            }
            Request::Write { .. }
            | Request::Flush
            | Request::Discard { .. }
            | Request::WriteZeroes { .. }
            | Request::Cache { .. } => self.session.reply(ticket, Ok(()), &mut self.out),
        }
        self.events.push(Event::Request(request, payload));
    }

    pub fn send(&mut self) {
        self.out.seal();
        self.sent.extend(self.out.slices().flatten());
        self.out.clear().for_each(drop);
    }
}
