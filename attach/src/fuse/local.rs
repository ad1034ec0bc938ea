//! The kernel's side: one connection of nbdfuse, spoken to by the same session that storage nodes have for clients.

use std::io;

use block::{Error, Outbox, Pages, Request};
use nbd::{Exports, Extent, ReadData, Session, Step, Ticket};
use tokio::io::Interest;
use tokio::net::UnixStream;

/// Bytes read at once.
const INPUT_BYTES: usize = 256 << 10;
const _: () = assert!(INPUT_BYTES >= nbd::INPUT_BYTES_MAX, "the session gets what it needs in one piece");

/// The connection.
#[derive(Debug)]
pub struct Local {
    stream: UnixStream,
    session: Session,
    input: Vec<u8>,
    /// A write whose payload is still coming.
    assembly: Option<Assembly>,
    /// Replies not sent yet: those of now, and those that came since.
    sending: Outbox,
    pending: Outbox,
}

#[derive(Debug)]
struct Assembly {
    ticket: Ticket,
    request: Request,
    payload: Vec<u8>,
    missing_bytes: usize,
}

/// A request as a whole.
#[derive(Debug)]
pub struct Asked {
    /// What to answer with.
    pub ticket: Ticket,
    /// What to do.
    pub request: Request,
    /// The bytes of a write.
    pub payload: Vec<u8>,
}

/// What came of looking at the input.
#[derive(Debug)]
pub enum Heard {
    /// More bytes are needed.
    Nothing,
    /// A request.
    Asked(Asked),
    /// The client has gone.
    Gone,
}

impl Local {
    /// A connection that was just accepted.
    pub fn new(stream: UnixStream) -> Self {
        let mut pending = Outbox::default();
        let session = Session::new(&mut pending);
        Self { stream, session, input: Vec::new(), assembly: None, sending: Outbox::default(), pending }
    }

    /// Waits until there is something to do: replies to send, and input when `listening`.
    pub async fn ready(&self, listening: bool) -> io::Result<()> {
        let writes = !self.sending.is_empty() || !self.pending.is_empty();
        let interest = match (listening, writes) {
            (true, true) => Interest::READABLE | Interest::WRITABLE,
            (true, false) => Interest::READABLE,
            (false, true) => Interest::WRITABLE,
            (false, false) => return std::future::pending().await,
        };
        self.stream.ready(interest).await.map(drop)
    }

    /// Reads what is there; `false` at the end of the stream.
    pub fn read(&mut self) -> io::Result<bool> {
        let before = self.input.len();
        if before >= INPUT_BYTES {
            return Ok(true);
        }
        self.input.resize(INPUT_BYTES, 0);
        let read = self.stream.try_read(&mut self.input[before..]);
        self.input.truncate(before + read.as_ref().map_or(0, |count| *count));
        match read {
            Ok(0) => Ok(false),
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// The next request of what was read.
    pub fn hear(&mut self, exports: &Exports) -> Heard {
        loop {
            if let Some(asked) = self.assemble() {
                return Heard::Asked(asked);
            }
            if self.assembly.is_some() {
                return Heard::Nothing;
            }
            match self.session.advance(&self.input, exports, &mut self.pending) {
                Step::Starved { .. } => return Heard::Nothing,
                Step::Advanced { consumed } | Step::Opened { consumed, .. } => drop(self.input.drain(..consumed)),
                Step::Request { consumed, ticket, request, payload, missing_bytes } => {
                    let payload = payload.to_vec();
                    self.input.drain(..consumed);
                    self.assembly = Some(Assembly { ticket, request, payload, missing_bytes });
                }
                Step::Elsewhere { .. } | Step::Closed { .. } => return Heard::Gone,
            }
        }
    }

    /// The request whose payload is complete.
    fn assemble(&mut self) -> Option<Asked> {
        let assembly = self.assembly.as_mut()?;
        let step = assembly.missing_bytes.min(self.input.len());
        assembly.payload.extend(self.input.drain(..step));
        assembly.missing_bytes -= step;
        if assembly.missing_bytes > 0 {
            return None;
        }
        let Assembly { ticket, request, payload, .. } = self.assembly.take()?;
        Some(Asked { ticket, request, payload })
    }

    /// Answers what needs no primary; anything else comes back.
    pub fn answer_alone(&mut self, asked: Asked) -> Option<Asked> {
        match asked.request {
            // That there is data everywhere is always right.
            Request::BlockStatus { range, .. } => {
                let all = Extent { len_bytes: range.len_bytes, hole: false };
                self.session.reply_status(asked.ticket, &[all], &mut self.pending);
                None
            }
            Request::Read { .. }
            | Request::Write { .. }
            | Request::Flush
            | Request::Discard { .. }
            | Request::WriteZeroes { .. }
            | Request::Cache { .. } => Some(asked),
        }
    }

    /// Answers a request that has no data, or failed.
    pub fn reply(&mut self, ticket: Ticket, result: Result<(), Error>) {
        self.session.reply(ticket, result, &mut self.pending);
    }

    /// Answers a read.
    pub fn reply_read(&mut self, ticket: Ticket, buffer: Pages) {
        self.session.reply_read(ticket, ReadData { buffer, start: 0, extents: &[] }, &mut self.pending);
    }

    /// Sends replies, as much as goes.
    pub fn write(&mut self) -> io::Result<()> {
        loop {
            if self.sending.is_empty() {
                self.sending.clear().for_each(drop);
                std::mem::swap(&mut self.sending, &mut self.pending);
                self.sending.seal();
            }
            let Some(part) = self.sending.slices().find(|part| !part.is_empty()) else { return Ok(()) };
            match self.stream.try_write(part) {
                Ok(sent_bytes) => self.sending.advance(sent_bytes),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Replies that wait for the client to read them.
    pub fn backlog_bytes(&self) -> usize {
        self.sending.len_bytes() + self.pending.len_bytes()
    }
}
