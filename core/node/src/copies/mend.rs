//! Lost blocks are written again from another replica.
//!
//! The map still knows the checksum of what was lost, so whatever replica holds a block with that checksum holds the right
//! one, wherever it is in the order: a newer change here makes the checksum another one, and then there is nothing to
//! repair. Members are asked first, one after the other; then whoever else there is. A block of a snapshot is asked for by the
//! snapshot's number and place.

use std::time::Duration;

use block::{BLOCK_BYTES, BlockIndex, BlockRange, Checksum, Error, Incarnation, PoolId, PoolOffset, VolumeId};
use replication::{Aside, Snapshot};
use store::{HeldBlock, Outcome, Refusal, RepairError, Source};

use crate::copies::content::known;
use crate::copies::rot::{Outlook, Place, Span, Stage, Verdict};
use crate::copies::work::{Given, Handed, Reading};
use crate::mark::Mark;
use crate::pipeline::Pipeline;
use crate::read;

/// How long one replica may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(1);
/// Before the store is asked again to take a block, when it had no room.
const STORE_AGAIN: Duration = Duration::from_millis(10);
/// Before a replica that is out of sync looks again at what it lost: it may be copied anyway.
const OUT_AGAIN: Duration = Duration::from_secs(5);
/// Blocks that are read for others at a time.
const READ_FOR_OTHERS_MAX: usize = 32;

/// A block that another replica lost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WantedBlock {
    pub block: BlockIndex,
    pub checksum: Checksum,
    /// The snapshot that it was lost of.
    pub of: Option<Snapshot>,
}

impl WantedBlock {
    fn answer(self, data: Option<Box<[u8; BLOCK_BYTES]>>) -> Aside {
        Aside::Have { block: self.block, checksum: self.checksum, of: self.of, data }
    }
}

impl Pipeline {
    /// The store found a block that is not what was written. What lies there may be older than what the volume holds now;
    /// then nothing is lost.
    pub(crate) fn rot_found(&mut self, source: Source, block: BlockIndex, at: PoolOffset) {
        let held = self.store.held(source, block).filter(|held| held.at == at);
        let (Some(held), Some(place)) = (held, self.place_of(source, block)) else { return };
        let is_alone = self.volumes.get(&place.volume).is_none_or(|volume| volume.copy.is_none());
        if self.copies.rot.found(place, held, self.copies.now) && is_alone {
            self.copies.rot.round_ended(place, self.copies.now, Verdict::Alone);
        }
    }

    fn place_of(&self, source: Source, block: BlockIndex) -> Option<Place> {
        match source {
            Source::Volume(volume) => Some(Place { volume, of: None, block }),
            Source::Snapshot(id) => {
                let volume = self.store.snapshot_state(id)?.volume;
                Some(Place { volume, of: Some(id), block })
            }
        }
    }

    /// Asks for what is to be asked for, and goes on with what waited.
    pub(crate) fn mend(&mut self) {
        while let Some(place) = self.copies.rot.next_ready(self.copies.now) {
            self.mend_one(place);
        }
        if self.copies.rot.has_waiters() {
            self.wake();
        }
    }

    fn mend_one(&mut self, place: Place) {
        let Place { volume, of, block } = place;
        let now = self.copies.now;
        let Some(held) = self.copies.rot.get(place).map(|case| case.held) else { return };
        if self.store.held(place.source(), block) != Some(held) {
            self.copies.rot.remove(place);
            return;
        }
        let copy = self.volumes.get(&volume).and_then(|volume| volume.copy.as_deref());
        let is_out = copy.is_some_and(|copy| copy.replica.configuration().is_none());
        match self.who_may_have(place) {
            Some(peer) => {
                self.copies.rot.ask(place, peer, now + ANSWER_MAX);
                let of = of.and_then(|id| self.store.snapshot_state(id)).map(known);
                self.post_aside(volume, peer, &Aside::Want { block, checksum: held.checksum, of });
            }
            None if is_out && !self.copies.rot.is_awaited(place) => {
                self.copies.rot.set(place, Stage::Due { at: now + OUT_AGAIN });
            }
            None => self.copies.rot.round_ended(place, now, self.verdict(place)),
        }
    }

    /// The next replica to ask: members first.
    fn who_may_have(&self, place: Place) -> Option<PoolId> {
        let case = self.copies.rot.get(place)?;
        let copy = self.volumes.get(&place.volume)?.copy.as_deref()?;
        let members = copy.replica.configuration().into_iter().flat_map(|found| found.members.keys());
        let all = members.chain(copy.ties.keys());
        let reachable = |peer: &&PoolId| copy.ties.get(peer).is_some_and(|tie| tie.link.is_up());
        let fit = |peer: &&PoolId| !case.tried.contains(peer) && self.can_be_asked(place, **peer);
        all.filter(reachable).find(fit).copied()
    }

    /// Nodes of earlier versions cannot be asked for everything.
    fn can_be_asked(&self, place: Place, peer: PoolId) -> bool {
        let peers = &self.copies.peers;
        peers.hears_asides(peer) && (place.of.is_none() || peers.knows_lost(peer))
    }

    /// Everybody was asked who can be reached.
    fn verdict(&self, place: Place) -> Verdict {
        let copy = self.volumes.get(&place.volume).and_then(|volume| volume.copy.as_deref());
        let Some((copy, case)) = copy.zip(self.copies.rot.get(place)) else { return Verdict::Alone };
        let is_up = |peer: &PoolId| copy.ties.get(peer).is_some_and(|tie| tie.link.is_up());
        let may_have = |peer: &&PoolId| {
            let is_mute = is_up(peer) && !self.can_be_asked(place, **peer);
            **peer != self.copies.me && !case.denied.contains(peer) && !is_mute
        };
        let members = copy.replica.configuration().into_iter().flat_map(|found| found.members.keys());
        if members.filter(may_have).count() == 0 { Verdict::Denied } else { Verdict::Unanswered }
    }

    /// Another replica lost a block. Who has enough to do does not answer, and is asked again: no would be a lie.
    pub(super) fn heard_want(&mut self, id: VolumeId, peer: PoolId, wanted: WantedBlock) {
        let WantedBlock { block, checksum, .. } = wanted;
        let Some(source) = self.who_holds(id, wanted) else {
            return self.post_aside(id, peer, &wanted.answer(None));
        };
        if self.copies.reading_for_others >= READ_FOR_OTHERS_MAX {
            return;
        }
        debug_assert!(self.store.held(source, block).is_some_and(|held| held.checksum == checksum), "it was looked up");
        let key = self.copies.handed.insert(Handed::new(id, Incarnation(0), Given::Wanted { peer, wanted }));
        match self.store.read(source, BlockRange::new(block.0, 1), Mark::Work(key).token()) {
            Ok(()) => {
                self.copies.reading_for_others += 1;
                self.stir();
            }
            Err(_) => {
                self.copies.handed.remove(key);
            }
        }
    }

    /// The same snapshot, or else the volume, if its block has that checksum.
    fn who_holds(&self, id: VolumeId, wanted: WantedBlock) -> Option<Source> {
        let is_here =
            |named: &Snapshot| self.store.snapshots_of(id).any(|state| state.id == named.id && known(state) == *named);
        let snapshot = wanted.of.filter(is_here).map(|named| Source::Snapshot(named.id));
        let holds_it = |source: &Source| {
            self.store.held(*source, wanted.block).is_some_and(|held| held.checksum == wanted.checksum)
        };
        snapshot.into_iter().chain([Source::Volume(id)]).find(holds_it)
    }

    /// What another replica lost was read here, or was lost here as well.
    pub(super) fn read_for_other(&mut self, id: VolumeId, peer: PoolId, wanted: WantedBlock, outcome: Outcome) {
        self.copies.reading_for_others -= 1;
        let mut data = None;
        if let Outcome::Read(found) = outcome {
            let bytes: &[u8; BLOCK_BYTES] = found.buffer.bytes()[..BLOCK_BYTES].try_into().expect("it is a block");
            data = (Checksum::of(bytes) == wanted.checksum).then(|| Box::new(*bytes));
            self.store.recycle(found.buffer);
        }
        self.post_aside(id, peer, &wanted.answer(data));
    }

    /// Another replica answers.
    pub(super) fn heard_have(
        &mut self,
        id: VolumeId,
        peer: PoolId,
        wanted: WantedBlock,
        data: Option<&[u8; BLOCK_BYTES]>,
    ) {
        let place = Place { volume: id, of: wanted.of.map(|snapshot| snapshot.id), block: wanted.block };
        let Some(case) = self.copies.rot.get(place) else { return };
        let is_asked = matches!(case.stage, Stage::Asked { peer: asked, .. } if asked == peer);
        if !is_asked || case.held.checksum != wanted.checksum {
            return;
        }
        match data {
            Some(data) => self.store_again(place, data),
            None => self.copies.rot.denied(place, peer),
        }
        self.mend();
    }

    /// The store compares the block's checksum with that of what was lost.
    fn store_again(&mut self, place: Place, data: &[u8; BLOCK_BYTES]) {
        let key = self.copies.handed.insert(Handed::new(place.volume, Incarnation(0), Given::Repair { place }));
        match self.store.repair(place.source(), place.block, data, Mark::Work(key).token()) {
            Ok(()) => {
                self.copies.rot.set(place, Stage::Storing);
                return self.stir();
            }
            // It was changed since: what is there now is not lost.
            Err(RepairError::Differs { .. } | RepairError::Hole) => {
                self.copies.rot.remove(place);
            }
            Err(RepairError::Refused(Refusal::Busy)) => {
                self.copies.rot.set(place, Stage::Due { at: self.copies.now + STORE_AGAIN });
            }
            Err(RepairError::Refused(_)) => self.copies.rot.round_ended(place, self.copies.now, Verdict::Alone),
        }
        self.copies.handed.remove(key);
    }

    /// A block that had been lost survives the process.
    pub(super) fn repaired(&mut self, place: Place, outcome: &Outcome) {
        match outcome {
            Outcome::Done => {
                self.copies.rot.remove(place);
                self.copies.rot.counters.repaired += 1;
            }
            Outcome::Failed(_) | Outcome::Read(_) | Outcome::Space(_) => {
                self.copies.rot.round_ended(place, self.copies.now, Verdict::Alone);
            }
        }
        self.mend();
    }

    /// A request to the store failed: whether it is made again, when what it met is repaired.
    pub(crate) fn tries_again(&mut self, mark: Mark) -> bool {
        if self.store.poisoned().is_some() || self.copies.is_over() {
            return false;
        }
        let Some(span) = self.read_by(mark) else { return false };
        if let Mark::Work(key) = mark
            && let Some(peer) = self.copies.handed.get(key).and_then(Handed::pupil)
        {
            return self.lesson_tries_again(key, span, peer);
        }
        if let Mark::Work(key) = mark
            && let Some(look) = self.copies.handed.get(key).and_then(Handed::look)
        {
            return self.look_tries_again(look, mark.token(), span);
        }
        self.copies.rot.judge(mark.token(), span) == Outlook::Again
    }

    /// What a request to the store was to read, if it was.
    fn read_by(&self, mark: Mark) -> Option<Span> {
        match mark {
            Mark::Op(key) => {
                let op = self.ops.get(key)?;
                read::blocks_of(&op.task, op.asked.range).map(|range| Span::of_volume(op.asked.volume, range))
            }
            Mark::Head(key) | Mark::Tail(key) => {
                let part = self.parts.get(key)?;
                let end = if matches!(mark, Mark::Tail(_)) { part.range.end().0 - 1 } else { part.range.first.0 };
                Some(Span::of_volume(part.volume, BlockRange::new(end, 1)))
            }
            Mark::Work(key) => self.copies.handed.get(key)?.reads(),
            Mark::Part(_) | Mark::Command(_) => None,
        }
    }

    /// Makes requests again whose blocks are repaired or lost by now.
    fn wake(&mut self) {
        for token in self.copies.rot.take_woken() {
            let mark = Mark::of(token);
            match mark {
                Mark::Op(key) => self.ask(key),
                Mark::Head(key) | Mark::Tail(key) => self.read_end_again(mark, key),
                Mark::Work(key) => self.read_group_again(key, Reading::Whole),
                Mark::Part(_) | Mark::Command(_) => unreachable!("they read nothing"),
            }
        }
        self.settle();
    }

    fn read_end_again(&mut self, mark: Mark, key: crate::slab::Key) {
        let Some(Span { volume, range, .. }) = self.read_by(mark) else { return };
        match self.store.read(Source::Volume(volume), range, mark.token()) {
            Ok(()) => self.stir(),
            Err(_) => self.end_read(mark, key, Outcome::Failed(Error::Media)),
        }
    }

    /// The node leaves the others: what waits for them waits no longer.
    pub(crate) fn give_up_mending(&mut self) {
        let (now, rot) = (self.copies.now, &mut self.copies.rot);
        rot.all_open().into_iter().for_each(|place| rot.round_ended(place, now, Verdict::Alone));
        self.wake();
    }

    /// Blocks of the volume that nobody has.
    pub(crate) fn lost_blocks(&self, id: VolumeId) -> u64 {
        self.lost_now(id).count() as u64
    }

    /// Which they are; not those that were written since.
    pub(super) fn lost_now(&self, id: VolumeId) -> impl Iterator<Item = Place> {
        let lost = self.copies.rot.lost_of(id);
        let is_held = |(place, held): &(Place, HeldBlock)| self.store.held(place.source(), place.block) == Some(*held);
        lost.filter(is_held).map(|(place, _)| place)
    }
}
