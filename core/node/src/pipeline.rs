//! Admitted requests on their way through the store.
//!
//! A request is an *op*. A read or a flush is one request to the store; a small aligned write goes there straight
//! from the inbox. Every other change is cut into *parts* (see `part.rs`). An op ends when nothing of it is
//! outstanding, and then waits in `ended` for its reply. Nothing here knows a connection, except by name: one that
//! vanished changes nothing for its admitted requests.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use block::{BlockRange, ByteRange, Error, Instant, SnapshotId, VolumeId, WriteSeq};
use nbd::Ticket;
use store::{Outcome, ReadData, Refusal, SnapshotState, Source, Store};

use crate::copies::Copies;
use crate::event::{ConnId, Operation};
use crate::limits;
use crate::mark::Mark;
use crate::part::Part;
use crate::pass::Grant;
use crate::read;
use crate::slab::{Key, Slab};
use crate::volume::Volume;

/// Everything between admission and reply.
#[derive(Debug)]
pub(crate) struct Pipeline {
    pub store: Store,
    pub volumes: BTreeMap<VolumeId, Volume>,
    /// What volumes with replicas on other nodes share.
    pub copies: Copies,
    pub(crate) ops: Slab<Op>,
    pub(crate) parts: Slab<Part>,
    /// Parts that the store had no room for, in order; handed over at a later turn's end.
    pub(crate) postponed: VecDeque<Key>,
    /// Parts whose claims were granted by the release of another.
    pub(crate) granted: VecDeque<Key>,
    ended: VecDeque<Ended>,
    in_flight_bytes: u64,
    stirred: bool,
    /// Snapshots that the store was given and that are not on stable media yet.
    pub(crate) cutting: BTreeSet<SnapshotId>,
    /// Snapshots that are gone, as soon as that is on stable media.
    pub(crate) fading: BTreeMap<SnapshotId, SnapshotState>,
    /// Volumes that are to hold, or do.
    pub(crate) holding: BTreeSet<VolumeId>,
}

/// Who asks for what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Admitted {
    pub conn: ConnId,
    pub ticket: Ticket,
    pub volume: VolumeId,
    pub grant: Grant,
    pub operation: Operation,
    pub range: ByteRange,
    pub arrived: Instant,
}

/// One admitted request.
#[derive(Debug)]
pub(crate) struct Op {
    pub asked: Admitted,
    pub task: Task,
    /// What it counts for in `in_flight_bytes`, its parts apart.
    held_bytes: u64,
    /// Requests to the store, parts, and receiving, that have not ended.
    pub outstanding: u32,
    pub error: Option<Error>,
    /// Its volume has other replicas.
    pub replicated: bool,
    /// A read is not answered before this change is acknowledged.
    pub after: u64,
}

/// What an op does.
#[derive(Debug)]
pub(crate) enum Task {
    Read,
    /// The second half of a read, after the first.
    ReadRest {
        found: ReadData,
    },
    /// A read of a replicated volume that is not answered before it is known to be right.
    Held {
        found: ReadData,
    },
    Flush,
    Change {
        fua: bool,
        /// Blocks to zero that are not in a part yet.
        rest: BlockRange,
    },
}

/// An op that is over.
#[derive(Debug)]
pub(crate) struct Ended {
    pub asked: Admitted,
    pub result: Result<Reply, Error>,
}

/// What to tell the client.
#[derive(Debug)]
pub(crate) enum Reply {
    Done,
    Read(ReadData),
}

impl Pipeline {
    pub fn new(store: Store, volumes: BTreeMap<VolumeId, Volume>, cold: bool) -> Self {
        Self {
            copies: Copies::new(store.pool(), store.incarnation(), cold),
            store,
            volumes,
            ops: Slab::default(),
            parts: Slab::default(),
            postponed: VecDeque::new(),
            granted: VecDeque::new(),
            ended: VecDeque::new(),
            in_flight_bytes: 0,
            stirred: false,
            cutting: BTreeSet::new(),
            fading: BTreeMap::new(),
            holding: BTreeSet::new(),
        }
    }

    /// Bytes held for requests in flight.
    pub fn in_flight_bytes(&self) -> u64 {
        self.in_flight_bytes
    }

    /// Requests in flight.
    pub fn requests(&self) -> usize {
        self.ops.len()
    }

    /// Parts that wait for room in the store.
    pub fn postponed_count(&self) -> usize {
        self.postponed.len()
    }

    /// Whether requests were made of the store since the last call.
    pub fn take_stirred(&mut self) -> bool {
        std::mem::take(&mut self.stirred)
    }

    pub fn is_stirred(&self) -> bool {
        self.stirred
    }

    pub fn pop_ended(&mut self) -> Option<Ended> {
        self.ended.pop_front()
    }

    /// Starts a read or a flush.
    pub fn begin(&mut self, asked: Admitted, task: Task) {
        let held_bytes = match task {
            Task::Read => u64::from(asked.range.len_bytes).max(limits::REQUEST_BYTES_MIN),
            Task::ReadRest { .. } | Task::Held { .. } | Task::Flush | Task::Change { .. } => limits::REQUEST_BYTES_MIN,
        };
        let op = self.open(asked, task, held_bytes);
        self.ask(op);
    }

    /// Makes an op with one thing outstanding.
    pub(crate) fn open(&mut self, asked: Admitted, task: Task, held_bytes: u64) -> Key {
        self.hold(held_bytes);
        let volume = self.volume(asked.volume);
        volume.counters.in_flight += 1;
        volume.admissions.begin(asked.grant);
        let replicated = volume.copy.is_some();
        self.ops.insert(Op { asked, task, held_bytes, outstanding: 1, error: None, replicated, after: 0 })
    }

    /// Makes the op's own request to the store.
    pub(crate) fn ask(&mut self, key: Key) {
        let mut op = self.ops.get(key).expect("an op lives until its request ended");
        if op.replicated {
            if matches!(op.task, Task::Flush) {
                let volume = op.asked.volume;
                return self.wait_for_place(volume, Mark::Op(key));
            }
            self.note_flight(key);
            op = self.ops.get(key).expect("an op lives until its request ended");
        }
        let token = Mark::Op(key).token();
        let (source, blocks) = (Source::Volume(op.asked.volume), read::requests(op.asked.range));
        let taken = match (&op.task, blocks) {
            (Task::Read, (blocks, _)) | (Task::ReadRest { .. }, (_, Some(blocks))) => {
                self.store.read(source, blocks, token)
            }
            (Task::Flush, _) => self.store.flush(token),
            (Task::ReadRest { .. }, (_, None)) => unreachable!("a rest is read only when there is one"),
            (Task::Held { .. }, _) => unreachable!("the content is there"),
            (Task::Change { .. }, _) => unreachable!("changes are made by parts"),
        };
        match taken {
            Ok(()) => self.stirred = true,
            Err(refusal) => self.step_ended(key, Some(error_of(refusal))),
        }
    }

    /// Hands over what was postponed, as far as there is room now.
    pub fn hand_over_postponed(&mut self) {
        while self.store.has_room()
            && let Some(key) = self.postponed.pop_front()
        {
            self.hand_over(key);
        }
        self.settle();
    }

    /// A request to the store ended. The mark is not a command's.
    pub fn completed(&mut self, mark: Mark, outcome: Outcome) {
        if matches!(outcome, Outcome::Failed(_)) && self.tries_again(mark) {
            return;
        }
        let Some(outcome) = self.vouched(mark, outcome) else { return };
        self.copies.rot.ended(mark.token());
        match (mark, outcome) {
            (Mark::Op(key), Outcome::Read(found)) => self.read_ended(key, found),
            (Mark::Op(key), outcome) => self.step_ended(key, failure_of(&outcome)),
            (Mark::Part(key), outcome) => self.part_ended(key, failure_of(&outcome)),
            (Mark::Head(key) | Mark::Tail(key), outcome) => self.end_read(mark, key, outcome),
            (Mark::Work(key), outcome) => self.work_ended(key, outcome),
            (Mark::Command(_), _) => unreachable!("commands are kept elsewhere"),
        }
        self.settle();
    }

    /// One of the op's outstanding things ended. Continues or ends it.
    pub(crate) fn step_ended(&mut self, key: Key, error: Option<Error>) {
        let op = self.ops.get_mut(key).expect("an op lives while something of it is outstanding");
        op.outstanding -= 1;
        op.error = op.error.or(error);
        if op.error.is_none() && self.zero_next(key) {
            return;
        }
        if self.ops.get(key).is_some_and(|op| op.outstanding == 0) {
            let op = self.close(key);
            if let Task::ReadRest { found } = op.task {
                self.store.recycle(found.buffer);
            }
            self.end(Ended { asked: op.asked, result: op.error.map_or(Ok(Reply::Done), Err) });
        }
    }

    pub(crate) fn end(&mut self, ended: Ended) {
        let ended = self.withhold(ended);
        self.ended.extend(ended);
    }

    pub(crate) fn close(&mut self, key: Key) -> Op {
        let op = self.ops.remove(key).expect("an op is closed once");
        self.let_go(op.held_bytes);
        let volume = self.volume(op.asked.volume);
        volume.counters.in_flight -= 1;
        volume.admissions.end(op.asked.grant);
        op
    }

    /// The op's volume, which stays as long as the op.
    pub(crate) fn volume(&mut self, id: VolumeId) -> &mut Volume {
        self.volumes.get_mut(&id).expect("a volume with requests in flight is not removed")
    }

    pub(crate) fn hold(&mut self, bytes: u64) {
        self.in_flight_bytes += bytes;
    }

    pub(crate) fn let_go(&mut self, bytes: u64) {
        self.in_flight_bytes -= bytes;
    }

    /// Makes a change that takes the volume's next place in its order; the place is used only when the store took it.
    pub(crate) fn change(
        &mut self,
        id: VolumeId,
        make: impl FnOnce(&mut Store, WriteSeq) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let volume = self.volumes.get_mut(&id).ok_or(Refusal::NoSuchVolume(id))?;
        if volume.copy.is_some() {
            // The order is the primary's: what is done here alone takes no place in it.
            let last = self.store.volume(id).map_or(WriteSeq::ZERO, |state| state.last_seq);
            make(&mut self.store, last)?;
            self.stirred = true;
            return Ok(());
        }
        // A clone goes on behind its origin's place, whatever epoch that was of.
        let last = volume.last_seq;
        let seq = WriteSeq { epoch: volume.epoch.max(last.epoch), n: last.n + 1 };
        make(&mut self.store, seq)?;
        volume.last_seq = seq;
        self.stirred = true;
        Ok(())
    }

    /// Notes that a request was made of the store, which acts on it at its turn's end.
    pub(crate) fn stir(&mut self) {
        self.stirred = true;
    }
}

fn failure_of(outcome: &Outcome) -> Option<Error> {
    match outcome {
        Outcome::Failed(error) => Some(*error),
        Outcome::Done | Outcome::Read(_) | Outcome::Space(_) => None,
    }
}

/// How a client is told that the store did not take its request.
pub(crate) fn error_of(refusal: Refusal) -> Error {
    match refusal {
        Refusal::NoSpace { .. } => Error::NoSpace,
        Refusal::Poisoned => Error::Media,
        Refusal::NoSuchVolume(_) | Refusal::NoSuchSnapshot(_) => Error::ShuttingDown,
        Refusal::OutOfRange => Error::OutOfRange,
        // Not for requests of clients; if it comes to that, the client sees a failing device and nothing is lost.
        Refusal::Busy | Refusal::Exists | Refusal::TooMany => Error::Media,
    }
}
