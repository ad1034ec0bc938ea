//! A volume as the node sees it: its place in the write order, its claims, its clients, its counters.

use block::{Epoch, VolumeId, WriteSeq};
use store::VolumeState;

use crate::admission::{Access, Service};
use crate::claims::Claims;
use crate::copies::Replicated;
use crate::event::Operation;
use crate::hold::Hold;
use crate::intent::CutRefusal;
use crate::pass::{Admissions, Grant};

/// One volume.
#[derive(Debug)]
pub(crate) struct Volume {
    pub id: VolumeId,
    pub name: String,
    pub size_bytes: u64,
    pub access: Access,
    pub service: Service,
    pub epoch: Epoch,
    /// The last change handed to the store.
    pub last_seq: WriteSeq,
    pub claims: Claims,
    /// Connections that have it open.
    pub clients: u32,
    pub counters: Counters,
    /// Requests that have not ended, by what let their clients in.
    pub admissions: Admissions,
    /// The newest generation of attachments of which every other client is shut out, and all it asked for has ended.
    pub confirmed: u64,
    /// Its replica, if it has others.
    pub copy: Option<Box<Replicated>>,
    /// The last group for which nothing was to be acknowledged, and what became of it.
    pub hold: Option<Hold>,
    /// Why a snapshot that is wanted is not cut.
    pub cut_refused: Option<CutRefusal>,
}

/// What was done to a volume since the node started. Counted at the reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Reads.
    pub reads: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Writes.
    pub writes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Flushes.
    pub flushes: u64,
    /// Discards and write-zeroes.
    pub zeroings: u64,
    /// Bytes they named.
    pub zeroed_bytes: u64,
    /// Block status and cache requests.
    pub others: u64,
    /// Requests of any kind replied to with an error.
    pub errors: u64,
    /// Requests admitted and not ended yet.
    pub in_flight: u32,
}

impl Volume {
    pub fn new(state: &VolumeState, access: Access) -> Self {
        Self {
            id: state.id,
            name: state.name.clone(),
            size_bytes: state.size_bytes,
            access,
            service: Service::Serving,
            epoch: state.epoch,
            last_seq: state.last_seq,
            claims: Claims::default(),
            clients: 0,
            counters: Counters::default(),
            admissions: Admissions::default(),
            confirmed: 0,
            copy: None,
            hold: None,
            cut_refused: None,
        }
    }

    /// What a client may do that was let in by `grant`.
    pub fn access_by(&self, grant: Grant) -> Access {
        if grant.is_read_only() { Access::ReadOnly } else { self.access }
    }

    pub fn is_serving(&self) -> bool {
        self.service == Service::Serving
    }

    /// Whether this node lets clients in: of a replicated volume the primary does. One that ever was replicated is not
    /// served as if it were alone, whatever is forgotten elsewhere.
    pub fn is_served_here(&self) -> bool {
        match &self.copy {
            Some(copy) => self.is_serving() && copy.is_serving(),
            None => self.is_serving() && self.epoch == Epoch(0),
        }
    }
}

impl Counters {
    /// Counts one reply.
    pub(crate) fn count(&mut self, operation: Operation, len_bytes: u32, failed: bool) {
        if failed {
            self.errors += 1;
            return;
        }
        let len_bytes = u64::from(len_bytes);
        match operation {
            Operation::Read => {
                self.reads += 1;
                self.read_bytes += len_bytes;
            }
            Operation::Write => {
                self.writes += 1;
                self.written_bytes += len_bytes;
            }
            Operation::Flush => self.flushes += 1,
            Operation::Discard | Operation::WriteZeroes => {
                self.zeroings += 1;
                self.zeroed_bytes += len_bytes;
            }
            Operation::BlockStatus | Operation::Cache => self.others += 1,
        }
    }
}
