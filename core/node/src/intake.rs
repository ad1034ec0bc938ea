//! One request of one connection: admitted and started, answered at once, or refused.

use std::time::Duration;

use block::{ByteRange, Error, Instant, Outbox, Request};
use nbd::{Extent, Session, Ticket};
use store::Source;

use crate::admission::{self, Access, Service, Verdict};
use crate::event::{ConnId, Effect, Operation};
use crate::extents;
use crate::limits;
use crate::pass::Pass;
use crate::pipeline::{Admitted, Pipeline, Task};
use crate::write::Assembly;

/// Where requests of one connection go. A request's payload still lies in the connection's inbox, so this borrows
/// everything else it needs.
pub(crate) struct Intake<'a> {
    pub conn: ConnId,
    pub pass: Pass,
    pub stopping: bool,
    pub arrived: Instant,
    pub session: &'a mut Session,
    pub pending: &'a mut Outbox,
    pub pipeline: &'a mut Pipeline,
    pub effects: &'a mut Vec<Effect>,
}

/// What became of a request.
#[derive(Debug)]
pub(crate) enum Taken {
    /// It is answered.
    Over,
    /// It is not answered, and the connection shall end.
    Left,
    /// Its reply follows.
    Running { bytes: u64 },
    /// So does its reply, when the rest of its payload came.
    Receiving { assembly: Assembly, bytes: u64 },
}

impl Intake<'_> {
    pub fn take(&mut self, ticket: Ticket, request: Request, payload: &[u8], missing_bytes: usize) -> Taken {
        let (service, access, size_bytes) = match self.pipeline.volumes.get(&self.pass.volume) {
            _ if self.stopping => (Service::Stopping, Access::ReadWrite, 0),
            Some(volume) => (volume.service, volume.access_by(self.pass.grant), volume.size_bytes),
            None => (Service::Gone, Access::ReadWrite, 0),
        };
        match admission::admit(&request, service, access, size_bytes) {
            Verdict::Admit => self.start(ticket, request, payload),
            Verdict::Leave => Taken::Left,
            Verdict::Refuse(error) => {
                self.session.skip_payload(missing_bytes);
                self.session.reply(ticket, Err(error), self.pending);
                self.count(operation_of(&request), range_of(&request), true);
                Taken::Over
            }
        }
    }

    fn start(&mut self, ticket: Ticket, request: Request, payload: &[u8]) -> Taken {
        let (operation, range) = (operation_of(&request), range_of(&request));
        let Self { conn, pass: Pass { volume, grant }, arrived, .. } = *self;
        let asked = Admitted { conn, ticket, volume, grant, operation, range, arrived };
        match request {
            Request::Read { .. } => self.pipeline.begin(asked, Task::Read),
            Request::Flush => self.pipeline.begin(asked, Task::Flush),
            Request::Write { fua, .. } => {
                if let Some(assembly) = self.pipeline.begin_write(asked, fua, payload) {
                    return Taken::Receiving { assembly, bytes: request_bytes(operation, range) };
                }
            }
            Request::Discard { fua, .. } => self.pipeline.begin_discard(asked, fua),
            // Zeroes take a header only, so that every write of zeroes is a fast one, and space is taken by writes
            // alone, so that there is none to keep.
            Request::WriteZeroes { fua, fast_only: _, keep_allocated: _, .. } => self.pipeline.begin_zeroes(asked, fua),
            Request::BlockStatus { first_only, .. } => return self.answer_status(ticket, range, first_only),
            Request::Cache { .. } => {
                self.session.reply(ticket, Ok(()), self.pending);
                self.count(operation, range, false);
                return Taken::Over;
            }
        }
        Taken::Running { bytes: request_bytes(operation, range) }
    }

    fn answer_status(&mut self, ticket: Ticket, range: ByteRange, first_only: bool) -> Taken {
        if !self.pipeline.may_tell_status(self.pass.volume, range) {
            // That there is data everywhere is always right.
            self.session.reply_status(ticket, &[Extent { len_bytes: range.len_bytes, hole: false }], self.pending);
            self.count(Operation::BlockStatus, range, false);
            return Taken::Over;
        }
        let mut blocks = range.covering();
        blocks.count.0 = blocks.count.0.min(limits::STATUS_BLOCKS_MAX);
        let extents_max = if first_only { 1 } else { nbd::STATUS_EXTENTS_MAX };
        let found = self.pipeline.store.block_status(Source::Volume(self.pass.volume), blocks, extents_max);
        let found = found.unwrap_or_default();
        let mut clipped: Vec<Extent> = Vec::with_capacity(found.len());
        extents::clip(&found, range, &mut clipped);
        if clipped.is_empty() {
            self.session.reply(ticket, Err(Error::Media), self.pending);
        } else {
            self.session.reply_status(ticket, &clipped, self.pending);
        }
        self.count(Operation::BlockStatus, range, clipped.is_empty());
        Taken::Over
    }

    /// Counts a request that is answered as it comes.
    fn count(&mut self, operation: Operation, range: ByteRange, failed: bool) {
        if let Some(volume) = self.pipeline.volumes.get_mut(&self.pass.volume) {
            volume.counters.count(operation, range.len_bytes, failed);
        }
        let volume = self.pass.volume;
        let (bytes, took) = (range.len_bytes, Duration::ZERO);
        self.effects.push(Effect::Measured { volume, operation, bytes, took, failed });
    }
}

/// What a request counts for in its connection's budget.
pub(crate) fn request_bytes(operation: Operation, range: ByteRange) -> u64 {
    match operation {
        Operation::Read | Operation::Write => u64::from(range.len_bytes).max(limits::REQUEST_BYTES_MIN),
        Operation::Flush | Operation::Discard | Operation::WriteZeroes | Operation::BlockStatus | Operation::Cache => {
            limits::REQUEST_BYTES_MIN
        }
    }
}

fn range_of(request: &Request) -> ByteRange {
    request.range().unwrap_or(ByteRange::new(0, 0))
}

fn operation_of(request: &Request) -> Operation {
    match request {
        Request::Read { .. } => Operation::Read,
        Request::Write { .. } => Operation::Write,
        Request::Flush => Operation::Flush,
        Request::Discard { .. } => Operation::Discard,
        Request::WriteZeroes { .. } => Operation::WriteZeroes,
        Request::BlockStatus { .. } => Operation::BlockStatus,
        Request::Cache { .. } => Operation::Cache,
    }
}
