//! What a replica wants of its store, in order, and what follows when the store has done it.
//!
//! The store persists in the order in which it is given things. So the end of a change says that all before it survive
//! the process, and the end of one that had to be on stable media says that all before it are.

use block::{
    BLOCK_BYTES, BlockIndex, BlockRange, Epoch, Error, GROUP_BLOCKS, GroupIndex, Incarnation, PoolId, SnapshotId,
    VolumeId, WriteSeq,
};
use replication::{Change, Entry, Event, Payload, ReadId, Snapshot};
use store::{Blocks, GroupContent, LostBlocks, Outcome, Refusal, Source, Store, Token};

use crate::copies::content;
use crate::copies::copy::{FULL_RETRY_MAX, Obstacle, Progress, Replicated};
use crate::copies::look::Question;
use crate::copies::mend::WantedBlock;
use crate::copies::rot::{Place, Span};
use crate::mark::Mark;
use crate::pipeline::Pipeline;
use crate::slab::Key;

/// Something that the store is to be given.
#[derive(Debug)]
pub(crate) enum Work {
    /// A change; the replica is told how far it got if it is of its own log.
    Entry { entry: Entry<Payload>, own: bool },
    /// A group's content.
    Group { group: GroupIndex, born: WriteSeq, content: Payload },
    /// A group to be read for a learner, of a snapshot perhaps.
    Read { id: ReadId, peer: PoolId, group: GroupIndex, from: Option<SnapshotId> },
    /// See [`replication::Effect::Cut`].
    Cut { snapshot: Snapshot },
    /// A snapshot that is not of this volume's order.
    Drop { snapshot: SnapshotId },
    /// See [`replication::Effect::Restamp`].
    Restamp { seq: WriteSeq },
    /// See [`replication::Effect::Settle`].
    Settle,
    /// See [`replication::Effect::KeepEpoch`].
    Epoch { epoch: Epoch },
    /// To say what is held as of everything before it.
    Look(Question),
}

/// How a group is read again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reading {
    /// All of it, or it fails.
    Whole,
    /// What is lost is named.
    WithLost,
}

/// Something that the store was given.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Handed {
    volume: VolumeId,
    /// Which the replica was when it was given.
    incarnation: Incarnation,
    what: Given,
    /// A snapshot that is there for good when it ends.
    cut: Option<SnapshotId>,
}

/// What it was.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Given {
    Own {
        n: u64,
        durable: bool,
    },
    Group,
    Read {
        id: ReadId,
        peer: PoolId,
        group: GroupIndex,
        born: WriteSeq,
        /// Of a snapshot; `None`: of the volume.
        from: Option<SnapshotId>,
        /// Blocks of the group that there were when it was read: the volume may have grown since.
        blocks: u32,
        /// Snapshots that the store had been given.
        cuts: u64,
    },
    Restamp,
    Settle,
    Epoch {
        epoch: Epoch,
    },
    /// A block that another replica lost.
    Wanted {
        peer: PoolId,
        wanted: WantedBlock,
    },
    /// A block that was lost here, from another replica.
    Repair {
        place: Place,
    },
    /// A group that is verified, of a snapshot perhaps.
    Look {
        look: Key,
        group: GroupIndex,
        of: Option<SnapshotId>,
    },
    /// Nobody waits for its end.
    Unasked,
}

impl Handed {
    pub fn new(volume: VolumeId, incarnation: Incarnation, what: Given) -> Self {
        Self { volume, incarnation, what, cut: None }
    }

    /// The look that it is read for.
    pub fn look(&self) -> Option<Key> {
        if let Given::Look { look, .. } = self.what { Some(look) } else { None }
    }

    /// The learner that it is read for.
    pub fn pupil(&self) -> Option<PoolId> {
        if let Given::Read { peer, .. } = self.what { Some(peer) } else { None }
    }

    /// What is read for its own sake, and is read again when what it met was repaired.
    pub fn reads(&self) -> Option<Span> {
        let (group, of) = match self.what {
            Given::Read { group, from, .. } => (group, from),
            Given::Look { group, of, .. } => (group, of),
            Given::Own { .. } | Given::Group | Given::Restamp | Given::Settle | Given::Epoch { .. } => return None,
            Given::Wanted { .. } | Given::Repair { .. } | Given::Unasked => return None,
        };
        let range = BlockRange::new(group.0 * u64::from(GROUP_BLOCKS), GROUP_BLOCKS);
        Some(Span { volume: self.volume, of, range })
    }
}

impl Work {
    fn given(&self) -> Given {
        match self {
            Self::Entry { own: false, .. } => Given::Unasked,
            Self::Entry { entry, own: true } => Given::Own { n: entry.seq.n, durable: entry.is_durable() },
            Self::Group { .. } => Given::Group,
            Self::Read { id, peer, group, .. } => Given::Read {
                id: *id,
                peer: *peer,
                group: *group,
                born: WriteSeq::ZERO,
                from: None,
                blocks: 0,
                cuts: 0,
            },
            Self::Cut { .. } | Self::Drop { .. } => Given::Unasked,
            Self::Restamp { .. } => Given::Restamp,
            Self::Settle => Given::Settle,
            Self::Epoch { epoch } => Given::Epoch { epoch: *epoch },
            Self::Look(_) => Given::Unasked,
        }
    }

    /// Whether it outlives what the replica is.
    pub fn is_promise(&self) -> bool {
        matches!(self, Self::Epoch { .. })
    }

    /// Gives it to the store. A read answers the newest change in what it reads.
    fn hand(&self, store: &mut Store, volume: VolumeId, token: Token) -> Result<WriteSeq, Refusal> {
        match self {
            Self::Entry { entry: Entry { seq, change, fua }, .. } => match change {
                Change::Write { range, payload } => {
                    let data = Blocks::known(payload.bytes(), payload.checksums());
                    store.write(volume, *seq, range.first, data, *fua, token)
                }
                Change::Zero { range } => store.zero(volume, *seq, *range, *fua, token),
                Change::Flush => store.settle(token),
                Change::Snapshot { id, blocks } => {
                    cut(store, volume, Snapshot { at: *seq, id: *id, blocks: *blocks }, token)
                }
            },
            Self::Group { group, born, content } => {
                store.replace_group_with_lost(volume, *group, *born, group_content(content), token)
            }
            Self::Read { group, from, .. } => {
                let source = from.map_or(Source::Volume(volume), Source::Snapshot);
                return store.read_group(source, *group, token);
            }
            Self::Cut { snapshot } => cut(store, volume, *snapshot, token),
            Self::Drop { snapshot } => store.delete_snapshot(*snapshot, token),
            Self::Restamp { seq } => store.restamp(volume, *seq, token),
            Self::Settle => store.settle(token),
            Self::Epoch { epoch } => store.epoch(volume, *epoch, token),
            Self::Look(_) => unreachable!("the store is not asked"),
        }
        .map(|()| WriteSeq::ZERO)
    }
}

fn group_content(content: &Payload) -> GroupContent<'_> {
    let lost =
        content.lost().map_or(LostBlocks::NONE, |lost| LostBlocks { blocks: lost.blocks, checksums: &lost.checksums });
    let data = Blocks::known(content.bytes(), content.checksums());
    GroupContent { mapped: !content.holes() & !lost.blocks, data, lost }
}

fn cut(store: &mut Store, volume: VolumeId, snapshot: Snapshot, token: Token) -> Result<(), Refusal> {
    if store.snapshot_state(snapshot.id).is_some_and(|found| found.seq == snapshot.at) {
        return store.settle(token);
    }
    store.snapshot_sized(volume, snapshot.at, snapshot.id, snapshot.blocks * BLOCK_BYTES as u64, token)
}

impl Work {
    /// How many blocks the volume must have for it.
    fn end(&self) -> Option<u64> {
        match self {
            Self::Entry { entry, .. } => match &entry.change {
                Change::Write { range, .. } | Change::Zero { range } => Some(range.end().0),
                Change::Snapshot { blocks, .. } => Some(*blocks),
                Change::Flush => None,
            },
            // An empty group is one that the volume has a block of, all the same.
            Self::Group { group, content, .. } => {
                let in_it = u64::BITS - (!content.holes()).leading_zeros();
                Some(group.0 * u64::from(GROUP_BLOCKS) + u64::from(in_it.max(1)))
            }
            Self::Cut { snapshot } => Some(snapshot.blocks),
            Self::Read { .. } | Self::Drop { .. } | Self::Restamp { .. } => None,
            Self::Settle | Self::Epoch { .. } | Self::Look(_) => None,
        }
    }

    /// The snapshot that it makes.
    fn cuts(&self) -> Option<Snapshot> {
        match self {
            Self::Entry { entry: Entry { seq, change: Change::Snapshot { id, blocks }, .. }, .. } => {
                Some(Snapshot { at: *seq, id: *id, blocks: *blocks })
            }
            Self::Cut { snapshot } => Some(*snapshot),
            Self::Entry { .. } | Self::Group { .. } | Self::Read { .. } | Self::Drop { .. } => None,
            Self::Restamp { .. } | Self::Settle | Self::Epoch { .. } | Self::Look(_) => None,
        }
    }
}

impl Replicated {
    /// Puts together what the store says of one life of the replica.
    fn note(&mut self, incarnation: Incarnation, n: u64, durable: bool) {
        let nothing = Progress { incarnation, applied: 0, durable: 0 };
        let progress = self.progress.get_or_insert(nothing);
        if progress.incarnation != incarnation {
            *progress = nothing;
        }
        progress.applied = progress.applied.max(n);
        if durable {
            progress.durable = progress.durable.max(n);
        }
    }
}

impl Pipeline {
    /// Gives the store what it takes now.
    pub(super) fn hand_work(&mut self, id: VolumeId) {
        let mut handed_any = false;
        loop {
            let Some(copy) = self.volumes.get_mut(&id).and_then(|volume| volume.copy.as_deref_mut()) else { return };
            let Some(work) = copy.work.front() else { break };
            if matches!(work, Work::Look(_)) {
                if let Some(Work::Look(question)) = copy.work.pop_front() {
                    self.look(id, question);
                }
                continue;
            }
            if self.hand_without_store(id) {
                continue;
            }
            if let Err(refusal) = self.stretch(id) {
                return self.refused(id, refusal);
            }
            let Some(copy) = self.volumes.get_mut(&id).and_then(|volume| volume.copy.as_deref_mut()) else { return };
            let Some(work) = copy.work.front() else { break };
            let (incarnation, what, cut) = (copy.incarnation, work.given(), work.cuts().map(|snapshot| snapshot.id));
            let key = self.copies.handed.insert(Handed { volume: id, incarnation, what, cut });
            match work.hand(&mut self.store, id, Mark::Work(key).token()) {
                Ok(found) => {
                    copy.cuts += u64::from(cut.is_some());
                    self.cutting.extend(cut);
                    self.note_taken(id);
                    self.note_read(id, key, found);
                    handed_any = true;
                    self.stir();
                }
                Err(refusal) => {
                    self.copies.handed.remove(key);
                    return self.refused(id, refusal);
                }
            }
        }
        self.keep_stable(id, handed_any);
    }

    /// Makes the volume as large here as what is first needs it: its primary has grown, and this node was not told yet.
    fn stretch(&mut self, id: VolumeId) -> Result<(), Refusal> {
        let Some(copy) = self.volumes.get(&id).and_then(|volume| volume.copy.as_deref()) else { return Ok(()) };
        let (Some(end), Some(state)) = (copy.work.front().and_then(Work::end), self.store.volume(id)) else {
            return Ok(());
        };
        let (seq, size_bytes) = (state.last_seq, end * BLOCK_BYTES as u64);
        if size_bytes <= state.size_bytes {
            return Ok(());
        }
        let key = self.copies.handed.insert(Handed::new(id, copy.incarnation, Given::Unasked));
        let stretched = self.store.resize_volume(id, seq, size_bytes, Mark::Work(key).token());
        match stretched {
            Ok(()) => self.stir(),
            Err(_) => drop(self.copies.handed.remove(key)),
        }
        stretched
    }

    /// Does what needs no store; whether it was that.
    fn hand_without_store(&mut self, id: VolumeId) -> bool {
        let Some(copy) = self.volumes.get_mut(&id).and_then(|volume| volume.copy.as_deref_mut()) else { return false };
        let Some(work) = copy.work.front() else { return false };
        if let Some(Snapshot { id: snapshot, at, .. }) = work.cuts()
            && self.store.snapshot_state(snapshot).is_some_and(|found| found.seq != at)
        {
            // One of that number that was cut elsewhere is not of this order.
            copy.work.push_front(Work::Drop { snapshot });
            return true;
        }
        match work {
            Work::Drop { snapshot } if self.store.snapshot_state(*snapshot).is_none() => {}
            Work::Read { id: read, peer, group, from } => {
                let end = source_end(&self.store, id, *from);
                let content = match end {
                    None => None,
                    Some(end) if group.0 * u64::from(GROUP_BLOCKS) >= end => Some((WriteSeq::ZERO, content::nothing())),
                    Some(_) => return false,
                };
                let event = Event::GroupRead { id: *read, peer: *peer, content };
                copy.events.push_back(event);
                self.copies.stirred.insert(id);
            }
            Work::Entry { .. } | Work::Group { .. } | Work::Cut { .. } | Work::Drop { .. } => return false,
            Work::Restamp { .. } | Work::Settle | Work::Epoch { .. } | Work::Look(_) => return false,
        }
        copy.work.pop_front();
        true
    }

    /// Of a group that the store was given some blocks may be lost: that is known, and not to be found out again.
    fn note_taken(&mut self, id: VolumeId) {
        let Some(copy) = self.volumes.get(&id).and_then(|volume| volume.copy.as_deref()) else { return };
        let Some(Work::Group { group, content, .. }) = copy.work.front() else { return };
        let Some(lost) = content.lost() else { return };
        let first = group.0 * u64::from(GROUP_BLOCKS);
        for block in (0..u64::from(GROUP_BLOCKS)).filter(|bit| lost.blocks >> bit & 1 == 1) {
            let place = Place { volume: id, of: None, block: BlockIndex(first + block) };
            if let Some(held) = self.store.held(id, place.block) {
                self.copies.rot.came_lost(place, held, self.copies.now);
            }
        }
    }

    /// The store has what was first; what is known of a read.
    fn note_read(&mut self, id: VolumeId, key: Key, found: WriteSeq) {
        let Some(copy) = self.volumes.get_mut(&id).and_then(|volume| volume.copy.as_deref_mut()) else { return };
        let Some(Work::Read { from, group, .. }) = copy.work.pop_front() else { return };
        let there = blocks_there(&self.store, id, from, group);
        if let Some(Handed { what, .. }) = self.copies.handed.get_mut(key)
            && let Given::Read { id, peer, .. } = *what
        {
            *what = Given::Read { id, peer, group, born: found, from, blocks: there, cuts: copy.cuts };
        }
    }

    /// Keeps the common stable point together with other changes, or when it is time.
    fn keep_stable(&mut self, id: VolumeId, handed_any: bool) {
        let now = self.copies.now;
        let Some(copy) = self.volumes.get_mut(&id).and_then(|volume| volume.copy.as_deref_mut()) else { return };
        let Some((seq, at)) = copy.stable.filter(|(_, at)| handed_any || *at <= now) else { return };
        let key = self.copies.handed.insert(Handed::new(id, copy.incarnation, Given::Unasked));
        match self.store.stable(id, seq, Mark::Work(key).token()) {
            Ok(()) => {
                copy.stable = None;
                self.stir();
            }
            Err(_) => {
                self.copies.handed.remove(key);
                // An older one is safe.
                copy.stable = Some((seq, at.max(now + super::copy::STABLE_AFTER)));
            }
        }
    }

    /// The store did not take what is first.
    fn refused(&mut self, id: VolumeId, refusal: Refusal) {
        let now = self.copies.now;
        let Some(copy) = self.copy_mut(id) else { return };
        match refusal {
            Refusal::Busy => {
                self.copies.starved.insert(id);
                return;
            }
            // Of more snapshots than there may be some go. A range that no volume can have is never sent.
            Refusal::NoSpace { .. } | Refusal::OutOfRange | Refusal::TooMany => {
                copy.obstacle = Some(Obstacle::Full { retry_at: now + copy.full_retry });
                copy.full_retry = (copy.full_retry * 2).min(FULL_RETRY_MAX);
                copy.work.retain(Work::is_promise);
            }
            Refusal::Poisoned | Refusal::NoSuchVolume(_) | Refusal::NoSuchSnapshot(_) | Refusal::Exists => {
                copy.obstacle = Some(Obstacle::Failed);
                copy.work.clear();
            }
        }
        copy.events.push_back(Event::Unable);
        self.copies.stirred.insert(id);
    }

    /// Tries again whether the store takes changes, when it is time.
    pub(super) fn retry_full(&mut self, id: VolumeId) {
        let now = self.copies.now;
        let Some(copy) = self.copy_mut(id) else { return };
        if matches!(copy.obstacle, Some(Obstacle::Full { retry_at }) if retry_at <= now) {
            copy.obstacle = None;
            copy.events.push_back(Event::Able);
            self.copies.stirred.insert(id);
        }
    }

    /// Reads a group again, for the same reason.
    pub(super) fn read_group_again(&mut self, key: Key, reading: Reading) {
        let Some(Handed { volume, what, .. }) = self.copies.handed.get(key).copied() else { return };
        let (group, of) = match what {
            Given::Read { group, from, .. } => (group, from),
            Given::Look { group, of, .. } => (group, of),
            Given::Own { .. } | Given::Group | Given::Restamp | Given::Settle | Given::Epoch { .. } => return,
            Given::Wanted { .. } | Given::Repair { .. } | Given::Unasked => return,
        };
        if let Given::Read { cuts, from: None, .. } = what
            && self.copy_mut(volume).is_none_or(|copy| copy.cuts != cuts)
        {
            // The learner's snapshot would hold what is not in this one: it is taught anew.
            return self.work_ended(key, Outcome::Failed(Error::Media));
        }
        let source = of.map_or(Source::Volume(volume), Source::Snapshot);
        let token = Mark::Work(key).token();
        let asked = match reading {
            Reading::Whole => self.store.read_group(source, group, token),
            Reading::WithLost => self.store.read_group_with_lost(source, group, token),
        };
        self.stir();
        match (asked, self.copies.handed.get_mut(key).map(|handed| &mut handed.what)) {
            // What was changed since is in what is read now, and is sent behind it once more.
            (Ok(found), Some(Given::Read { born, blocks, .. })) => {
                (*born, *blocks) = (found, blocks_there(&self.store, volume, of, group));
            }
            (Ok(_), _) => {}
            (Err(_), _) => self.work_ended(key, Outcome::Failed(Error::Media)),
        }
    }

    /// The device failed: no replica of this pool goes on.
    pub(crate) fn device_failed(&mut self) {
        for (id, volume) in &mut self.volumes {
            if let Some(copy) = &mut volume.copy
                && copy.obstacle != Some(Obstacle::Failed)
            {
                copy.obstacle = Some(Obstacle::Failed);
                copy.work.clear();
                copy.events.push_back(Event::Unable);
                self.copies.stirred.insert(*id);
            }
        }
    }

    /// The store has done something, or failed. What follows begins at the next [`Pipeline::pump`].
    pub(crate) fn work_ended(&mut self, key: Key, outcome: Outcome) {
        let Some(Handed { volume: id, incarnation, what, cut }) = self.copies.handed.remove(key) else { return };
        if let Some(cut) = cut
            && self.cutting.remove(&cut)
        {
            self.copies.news.insert(id);
        }
        match what {
            Given::Wanted { peer, wanted } => return self.read_for_other(id, peer, wanted, outcome),
            Given::Repair { place } => return self.repaired(place, &outcome),
            Given::Look { look, .. } => return self.looked(look, outcome),
            Given::Own { .. } | Given::Group | Given::Read { .. } | Given::Restamp => {}
            Given::Settle | Given::Epoch { .. } | Given::Unasked => {}
        }
        let Some(volume) = self.volumes.get_mut(&id) else { return };
        let Some(copy) = volume.copy.as_deref_mut() else { return };
        self.copies.stirred.insert(id);
        let event = match (what, outcome) {
            (Given::Read { id, peer, born, blocks, .. }, Outcome::Read(found)) => {
                let content = content::packed(&found, blocks);
                self.store.recycle(found.buffer);
                Event::GroupRead { id, peer, content: Some((born, content)) }
            }
            (Given::Read { id, peer, .. }, Outcome::Failed(_)) => Event::GroupRead { id, peer, content: None },
            // The pool is poisoned, and says so by itself.
            (_, Outcome::Failed(_)) => return,
            (Given::Own { n, durable }, _) => return copy.note(incarnation, n, durable),
            (Given::Group, _) if incarnation == copy.incarnation => Event::GroupStored,
            (Given::Restamp, _) if incarnation == copy.incarnation => Event::Restamped,
            (Given::Settle, _) => Event::Settled { incarnation },
            (Given::Epoch { epoch }, _) => Event::EpochKept { epoch },
            (Given::Group | Given::Restamp | Given::Unasked | Given::Read { .. }, _) => return,
            (Given::Wanted { .. } | Given::Repair { .. } | Given::Look { .. }, _) => return,
        };
        copy.events.push_back(event);
    }
}

/// Blocks of a volume, or of one of its snapshots that is there.
/// Blocks of a group that there are now.
fn blocks_there(store: &Store, volume: VolumeId, from: Option<SnapshotId>, group: GroupIndex) -> u32 {
    source_end(store, volume, from).map_or(0, |end| content::blocks_of(group, end))
}

fn source_end(store: &Store, volume: VolumeId, from: Option<SnapshotId>) -> Option<u64> {
    let size_bytes = match from {
        Some(snapshot) => store.snapshot_state(snapshot)?.size_bytes,
        None => store.volume(volume)?.size_bytes,
    };
    Some(size_bytes / BLOCK_BYTES as u64)
}
