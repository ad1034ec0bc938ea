//! A replica's store: what it was given, what of it survives the process, and what a loss of power leaves.

use std::collections::{BTreeSet, VecDeque};

use block::{Epoch, GroupIndex, Incarnation, WriteSeq};
use replication::{Change, Content, Entry, GroupSet};

use tests::random::Random;

/// Groups of the volume.
pub const GROUPS: usize = 3;

/// What a client wrote; 0 is what nobody wrote.
pub type Value = u64;

/// A group's content, by the place of the write that made it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Version {
    pub seq: WriteSeq,
    pub value: Value,
    /// What the store notes as the group's newest change: never lowered.
    pub born: WriteSeq,
}

/// Something that the store was given, in order.
#[derive(Clone, Debug)]
enum Work {
    Entry { entry: Entry<Value>, own: Option<Incarnation> },
    Group { group: usize, version: Version },
    Restamp { seq: WriteSeq },
    Settle { incarnation: Incarnation },
    Stable { seq: WriteSeq },
    Epoch { epoch: Epoch },
}

/// What became of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Done {
    Nothing,
    Applied { incarnation: Incarnation, applied: u64, durable: u64 },
    GroupStored,
    Restamped,
    Settled { incarnation: Incarnation },
    EpochKept { epoch: Epoch },
}

pub struct Media {
    /// As it is with everything it was given.
    pub now: [Version; GROUPS],
    /// What survives the process: since the last sync, any of these may be what a loss of power leaves.
    persisted: [Vec<Version>; GROUPS],
    queue: VecDeque<Work>,
    stable: WriteSeq,
    epoch: Epoch,
    pub last: u64,
}

impl Media {
    pub fn new() -> Self {
        let empty = Version { seq: WriteSeq::ZERO, value: 0, born: WriteSeq::ZERO };
        Self {
            now: [empty; GROUPS],
            persisted: [vec![empty], vec![empty], vec![empty]],
            queue: VecDeque::new(),
            stable: WriteSeq::ZERO,
            epoch: Epoch(0),
            last: 0,
        }
    }

    pub fn stable(&self) -> WriteSeq {
        self.stable
    }

    /// The highest epoch that was kept.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The oldest version that a loss of power may leave.
    pub fn durable_version(&self, group: usize) -> WriteSeq {
        self.persisted[group].iter().map(|version| version.seq).min().unwrap()
    }

    pub fn has_work(&self) -> bool {
        !self.queue.is_empty()
    }

    fn write(&mut self, group: usize, seq: WriteSeq, value: Value) {
        let born = self.now[group].born.max(seq);
        self.now[group] = Version { seq, value, born };
        self.last = self.last.max(seq.n);
    }

    pub fn entry(&mut self, entry: Entry<Value>, own: Option<Incarnation>) {
        for (group, value) in changes(&entry.change) {
            self.write(group, entry.seq, value);
        }
        self.queue.push_back(Work::Entry { entry, own });
    }

    pub fn store_group(&mut self, group: GroupIndex, born: WriteSeq, packed: Value) {
        let group = usize::try_from(group.0).unwrap();
        let (seq, value) = unpack(packed);
        let version = Version { seq, value, born: self.now[group].born.max(born) };
        self.now[group] = version;
        self.last = self.last.max(born.n);
        self.queue.push_back(Work::Group { group, version });
    }

    pub fn restamp(&mut self, seq: WriteSeq) {
        for version in self.now.iter_mut().filter(|version| version.born > self.stable) {
            (version.seq, version.born) = (seq, seq);
        }
        self.queue.push_back(Work::Restamp { seq });
    }

    pub fn settle(&mut self, incarnation: Incarnation) {
        self.queue.push_back(Work::Settle { incarnation });
    }

    pub fn keep_stable(&mut self, seq: WriteSeq) {
        self.queue.push_back(Work::Stable { seq });
    }

    pub fn keep_epoch(&mut self, epoch: Epoch) {
        self.queue.push_back(Work::Epoch { epoch });
    }

    /// The next thing it was given survives the process from now on.
    pub fn persist(&mut self) -> Option<Done> {
        match self.queue.pop_front()? {
            Work::Entry { entry, own } => {
                for (group, value) in changes(&entry.change) {
                    let born = self.persisted[group].last().unwrap().born.max(entry.seq);
                    self.persisted[group].push(Version { seq: entry.seq, value, born });
                }
                let synced = entry.fua || entry.change == Change::Flush;
                if synced {
                    self.sync();
                }
                let applied = entry.seq.n;
                let durable = if synced { applied } else { 0 };
                own.map_or(Some(Done::Nothing), |incarnation| Some(Done::Applied { incarnation, applied, durable }))
            }
            Work::Group { group, version } => {
                self.persisted[group].push(version);
                Some(Done::GroupStored)
            }
            Work::Restamp { seq } => {
                for versions in &mut self.persisted {
                    let last = *versions.last().unwrap();
                    if last.born > self.stable {
                        versions.push(Version { seq, born: seq, ..last });
                    }
                }
                Some(Done::Restamped)
            }
            Work::Settle { incarnation } => {
                self.sync();
                Some(Done::Settled { incarnation })
            }
            Work::Stable { seq } => {
                self.stable = self.stable.max(seq);
                Some(Done::Nothing)
            }
            Work::Epoch { epoch } => {
                self.epoch = self.epoch.max(epoch);
                Some(Done::EpochKept { epoch })
            }
        }
    }

    fn sync(&mut self) {
        self.persisted.iter_mut().for_each(|versions| {
            versions.drain(..versions.len() - 1);
        });
    }

    /// The process ended.
    pub fn killed(&mut self) {
        self.queue.clear();
        for group in 0..GROUPS {
            self.now[group] = *self.persisted[group].last().unwrap();
        }
    }

    /// The power was lost: of what was not synced every group has anything.
    pub fn power_lost(&mut self, random: &mut Random) {
        for versions in &mut self.persisted {
            let left = versions[random.index(versions.len())];
            *versions = vec![left];
        }
        self.killed();
    }

    /// What a group is sent as.
    pub fn read(&self, group: GroupIndex) -> (WriteSeq, Value) {
        let version = self.now[usize::try_from(group.0).unwrap()];
        (version.born, pack(version.seq, version.value))
    }
}

impl Content for Media {
    fn changed_since(&self, seq: WriteSeq) -> GroupSet {
        let changed = (0..GROUPS).filter(|group| self.now[*group].born > seq);
        changed.map(|group| GroupIndex(group as u64)).collect()
    }
}

/// A group's content with the place of the write that made it, for the checks.
fn pack(seq: WriteSeq, value: Value) -> Value {
    assert!(seq.n < 1 << 20 && value < 1 << 24, "a run is short");
    u64::from(seq.epoch.0) << 44 | seq.n << 24 | value
}

fn unpack(packed: Value) -> (WriteSeq, Value) {
    let epoch = block::Epoch(u32::try_from(packed >> 44).unwrap());
    (WriteSeq { epoch, n: packed >> 24 & 0xf_ffff }, packed & 0xff_ffff)
}

/// The groups that a change gives new content.
pub fn changes(change: &Change<Value>) -> Vec<(usize, Value)> {
    let (range, value) = match change {
        Change::Write { range, payload } => (range, *payload),
        Change::Zero { range } => (range, 0),
        Change::Flush => return Vec::new(),
    };
    let groups: BTreeSet<u64> = range.blocks().map(|block| block.0 / u64::from(block::GROUP_BLOCKS)).collect();
    groups.into_iter().map(|group| (usize::try_from(group).unwrap(), value)).collect()
}
