//! What a replica wants of its store, in order, and what follows when the store has done it.
//!
//! The store persists in the order in which it is given things. So the end of a change says that all before it survive
//! the process, and the end of one that had to be on stable media says that all before it are.

use block::{
    BlockIndex, BlockRange, Checksum, Epoch, Error, GROUP_BLOCKS, GroupIndex, Incarnation, PoolId, VolumeId, WriteSeq,
};
use replication::{Change, Entry, Event, Payload, ReadId};
use store::{Outcome, Refusal, Store, Token};

use crate::copies::content;
use crate::copies::copy::{FULL_RETRY_MAX, Obstacle, Progress, Replicated};
use crate::copies::look::Question;
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
    /// A group to be read for a learner.
    Read { id: ReadId, peer: PoolId, group: GroupIndex },
    /// See [`replication::Effect::Restamp`].
    Restamp { seq: WriteSeq },
    /// See [`replication::Effect::Settle`].
    Settle,
    /// See [`replication::Effect::KeepEpoch`].
    Epoch { epoch: Epoch },
    /// To say what is held as of everything before it.
    Look(Question),
}

/// Something that the store was given.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Handed {
    volume: VolumeId,
    /// Which the replica was when it was given.
    incarnation: Incarnation,
    what: Given,
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
    },
    Restamp,
    Settle,
    Epoch {
        epoch: Epoch,
    },
    /// A block that another replica lost.
    Wanted {
        peer: PoolId,
        block: BlockIndex,
        checksum: Checksum,
    },
    /// A block that was lost here, from another replica.
    Repair {
        block: BlockIndex,
    },
    /// A group that is verified.
    Look {
        look: Key,
        group: GroupIndex,
    },
    /// Nobody waits for its end.
    Unasked,
}

impl Handed {
    pub fn new(volume: VolumeId, incarnation: Incarnation, what: Given) -> Self {
        Self { volume, incarnation, what }
    }

    /// The look that it is read for.
    pub fn look(&self) -> Option<Key> {
        if let Given::Look { look, .. } = self.what { Some(look) } else { None }
    }

    /// What is read for its own sake, and is read again when what it met was repaired.
    pub fn reads(&self) -> Option<(VolumeId, BlockRange)> {
        let (Given::Read { group, .. } | Given::Look { group, .. }) = self.what else { return None };
        Some((self.volume, BlockRange::new(group.0 * u64::from(GROUP_BLOCKS), GROUP_BLOCKS)))
    }
}

impl Work {
    fn given(&self) -> Given {
        match self {
            Self::Entry { own: false, .. } => Given::Unasked,
            Self::Entry { entry, own: true } => {
                let durable = entry.fua || matches!(entry.change, Change::Flush);
                Given::Own { n: entry.seq.n, durable }
            }
            Self::Group { .. } => Given::Group,
            Self::Read { id, peer, group } => Given::Read { id: *id, peer: *peer, group: *group, born: WriteSeq::ZERO },
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
                    store.write(volume, *seq, range.first, payload.bytes(), *fua, token)
                }
                Change::Zero { range } => store.zero(volume, *seq, *range, *fua, token),
                Change::Flush => store.settle(token),
            },
            Self::Group { group, born, content } => {
                store.replace_group(volume, *group, *born, !content.holes(), content.bytes(), token)
            }
            Self::Read { group, .. } => return store.read_group(volume, *group, token),
            Self::Restamp { seq } => store.restamp(volume, *seq, token),
            Self::Settle => store.settle(token),
            Self::Epoch { epoch } => store.epoch(volume, *epoch, token),
            Self::Look(_) => unreachable!("the store is not asked"),
        }
        .map(|()| WriteSeq::ZERO)
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
            if let Work::Look(question) = work {
                let question = *question;
                copy.work.pop_front();
                self.look(id, question);
                continue;
            }
            let (incarnation, what) = (copy.incarnation, work.given());
            let key = self.copies.handed.insert(Handed { volume: id, incarnation, what });
            match work.hand(&mut self.store, id, Mark::Work(key).token()) {
                Ok(found) => {
                    if let Some(Handed { what: Given::Read { born, .. }, .. }) = self.copies.handed.get_mut(key) {
                        *born = found;
                    }
                    copy.work.pop_front();
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

    /// Keeps the common stable point together with other changes, or when it is time.
    fn keep_stable(&mut self, id: VolumeId, handed_any: bool) {
        let now = self.copies.now;
        let Some(copy) = self.volumes.get_mut(&id).and_then(|volume| volume.copy.as_deref_mut()) else { return };
        let Some((seq, at)) = copy.stable.filter(|(_, at)| handed_any || *at <= now) else { return };
        let key = self.copies.handed.insert(Handed { volume: id, incarnation: copy.incarnation, what: Given::Unasked });
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
            // A range outside the volume is a change that came before the volume grew here: taught again, it fits.
            Refusal::NoSpace { .. } | Refusal::OutOfRange => {
                copy.obstacle = Some(Obstacle::Full { retry_at: now + copy.full_retry });
                copy.full_retry = (copy.full_retry * 2).min(FULL_RETRY_MAX);
                copy.work.retain(Work::is_promise);
            }
            Refusal::Poisoned
            | Refusal::NoSuchVolume(_)
            | Refusal::NoSuchSnapshot(_)
            | Refusal::Exists
            | Refusal::TooMany => {
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
    pub(super) fn read_group_again(&mut self, key: Key) {
        let Some(Handed { volume, what, .. }) = self.copies.handed.get(key).copied() else { return };
        let (Given::Read { group, .. } | Given::Look { group, .. }) = what else { return };
        let asked = self.store.read_group(volume, group, Mark::Work(key).token());
        self.stir();
        match (asked, self.copies.handed.get_mut(key).map(|handed| &mut handed.what)) {
            // What was changed since is in what is read now, and is sent behind it once more.
            (Ok(found), Some(Given::Read { born, .. })) => *born = found,
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
        let Some(Handed { volume: id, incarnation, what }) = self.copies.handed.remove(key) else { return };
        match what {
            Given::Wanted { peer, block, checksum } => {
                return self.read_for_other(id, (peer, block, checksum), outcome);
            }
            Given::Repair { block } => return self.repaired((id, block), &outcome),
            Given::Look { look, .. } => return self.looked(look, outcome),
            Given::Own { .. } | Given::Group | Given::Read { .. } | Given::Restamp => {}
            Given::Settle | Given::Epoch { .. } | Given::Unasked => {}
        }
        let Some(volume) = self.volumes.get_mut(&id) else { return };
        let size_bytes = volume.size_bytes;
        let Some(copy) = volume.copy.as_deref_mut() else { return };
        self.copies.stirred.insert(id);
        let event = match (what, outcome) {
            (Given::Read { id, peer, group, born }, Outcome::Read(found)) => {
                let content = content::packed(&found, content::blocks_of(group, size_bytes));
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
