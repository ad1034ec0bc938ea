//! What was asked for and was not answered yet, and what of it may be sent to the volume's primary now.
//!
//! Promise: everything admitted is answered once, however often connections break; what was not answered is sent again,
//! in the order it came. Two requests that overlap, of which one changes something, are never under way together: the
//! later is held until the earlier is answered. So a request that is sent again cannot undo one that was acknowledged
//! after it came. Reads, writes, discards, zeroes and flushes may all be done twice.
//!
//! Not here: sockets and time.

use std::collections::BTreeMap;

use block::{Error, Request};

/// Requests that are taken before any is answered.
pub const REQUESTS_MAX: usize = 128;
/// Bytes of payload of these, coming and going.
pub const BYTES_MAX: usize = 64 << 20;
const _: () = assert!(BYTES_MAX >= 2 * nbd::PAYLOAD_BYTES_MAX as usize, "the largest request is always taken");

/// The requests, each with what its owner knows it by.
#[derive(Debug)]
pub struct Ledger<T> {
    /// By their order. The key is the cookie towards the primary.
    unanswered: BTreeMap<u64, Entry<T>>,
    next: u64,
    bytes: usize,
}

#[derive(Debug)]
struct Entry<T> {
    ticket: T,
    request: Request,
    payload: Vec<u8>,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// Not sent, or sent on a connection that broke.
    Waiting,
    /// Sent on the connection there is.
    Sent,
}

/// A request that is to be sent.
#[derive(Debug)]
pub struct Sending<'a> {
    /// Its name on the connection.
    pub cookie: u64,
    /// What to ask.
    pub request: Request,
    /// The bytes of a write.
    pub payload: &'a [u8],
}

impl<T> Default for Ledger<T> {
    fn default() -> Self {
        Self { unanswered: BTreeMap::new(), next: 0, bytes: 0 }
    }
}

impl<T> Ledger<T> {
    /// Whether another request of any size can be taken.
    pub fn has_room(&self) -> bool {
        self.unanswered.len() < REQUESTS_MAX && self.bytes + nbd::PAYLOAD_BYTES_MAX as usize <= BYTES_MAX
    }

    /// Takes a request.
    pub fn admit(&mut self, ticket: T, request: Request, payload: Vec<u8>) {
        self.bytes += weight(&request);
        self.unanswered.insert(self.next, Entry { ticket, request, payload, stage: Stage::Waiting });
        self.next += 1;
    }

    /// The next request that may be sent, which from now on counts as sent.
    pub fn send_next(&mut self) -> Option<Sending<'_>> {
        let cookie = self.unanswered.iter().find(|(seq, entry)| self.may_be_sent(**seq, entry)).map(|(seq, _)| *seq)?;
        let entry = self.unanswered.get_mut(&cookie)?;
        entry.stage = Stage::Sent;
        Some(Sending { cookie, request: entry.request, payload: &entry.payload })
    }

    fn may_be_sent(&self, seq: u64, entry: &Entry<T>) -> bool {
        let is_free = |entry: &Entry<T>| {
            self.unanswered.range(..seq).all(|(_, earlier)| !conflict(&earlier.request, &entry.request))
        };
        entry.stage == Stage::Waiting && is_free(entry)
    }

    /// What the data of a reply belongs to: the length of a read that was sent under this cookie, 0 for all else.
    pub fn data_bytes(&self, cookie: u64) -> Option<usize> {
        let entry = self.unanswered.get(&cookie).filter(|entry| entry.stage == Stage::Sent)?;
        Some(match entry.request {
            Request::Read { range } => range.len_bytes as usize,
            Request::Write { .. }
            | Request::Flush
            | Request::Discard { .. }
            | Request::WriteZeroes { .. }
            | Request::BlockStatus { .. }
            | Request::Cache { .. } => 0,
        })
    }

    /// The request was answered; nobody asks for it again.
    pub fn answered(&mut self, cookie: u64) -> Option<T> {
        let entry = self.unanswered.remove(&cookie)?;
        self.bytes -= weight(&entry.request);
        Some(entry.ticket)
    }

    /// The connection broke: all that was sent on it is to be sent again.
    pub fn broken(&mut self) {
        self.unanswered.values_mut().for_each(|entry| entry.stage = Stage::Waiting);
    }

    /// Whether everything was answered.
    pub fn is_empty(&self) -> bool {
        self.unanswered.is_empty()
    }
}

/// Whether an error is the server's word on the request, and not that it is about to go.
pub fn is_final(error: Error) -> bool {
    match error {
        Error::OutOfRange
        | Error::ReadOnly
        | Error::NoSpace
        | Error::Media
        | Error::Invalid
        | Error::Unsupported
        | Error::TooLarge => true,
        Error::ShuttingDown => false,
    }
}

/// What a request takes of the memory: its payload, or the place for what it will read.
fn weight(request: &Request) -> usize {
    match request {
        Request::Read { range } | Request::Write { range, .. } => range.len_bytes as usize,
        Request::Flush
        | Request::Discard { .. }
        | Request::WriteZeroes { .. }
        | Request::BlockStatus { .. }
        | Request::Cache { .. } => 0,
    }
}

fn conflict(one: &Request, other: &Request) -> bool {
    let (Some(a), Some(b)) = (one.range(), other.range()) else { return false };
    let end = |range: block::ByteRange| range.offset.saturating_add(u64::from(range.len_bytes));
    (one.changes() || other.changes()) && a.offset < end(b) && b.offset < end(a)
}
