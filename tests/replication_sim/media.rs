//! A replica's store: what it was given, what of it survives the process, and what a loss of power leaves.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use block::{Epoch, GROUP_BLOCKS, GroupIndex, Incarnation, SnapshotId, WriteSeq};
use replication::{Change, Content, Entry, GroupSet, Snapshot};

use tests::random::Random;

/// Groups of the volume.
pub const GROUPS: usize = 3;
/// Blocks of the volume.
pub const BLOCKS: u64 = GROUPS as u64 * GROUP_BLOCKS as u64;

/// Where the snapshot was cut that volumes are clones of.
pub const ORIGIN: WriteSeq = WriteSeq { epoch: Epoch(5), n: 100 };

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

/// A snapshot: where it was cut, and what it holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Frozen {
    pub at: WriteSeq,
    pub versions: [Version; GROUPS],
}

impl Frozen {
    pub fn values(&self) -> [Value; GROUPS] {
        self.versions.map(|version| version.value)
    }
}

/// Something that the store was given, in order.
#[derive(Clone, Debug)]
enum Work {
    Entry { entry: Entry<Value>, own: Option<Incarnation> },
    Group { group: usize, version: Version },
    Cut { snapshot: Snapshot },
    Drop { id: SnapshotId },
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
    /// With everything it was given.
    pub snapshots: BTreeMap<SnapshotId, Frozen>,
    /// What is on stable media.
    pub durable_snapshots: BTreeMap<SnapshotId, Frozen>,
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
            snapshots: BTreeMap::new(),
            durable_snapshots: BTreeMap::new(),
            queue: VecDeque::new(),
            stable: WriteSeq::ZERO,
            epoch: Epoch(0),
            last: 0,
        }
    }

    /// A replica that was made of a snapshot.
    pub fn cloned() -> Self {
        let version = |epoch, n, value| {
            let seq = WriteSeq { epoch: Epoch(epoch), n };
            Version { seq, value, born: seq }
        };
        let now = [version(3, 40, 0xf0_0001), version(5, 90, 0xf0_0002), version(0, 0, 0)];
        let persisted = now.map(|version| vec![version]);
        Self { now, persisted, stable: ORIGIN, last: ORIGIN.n, ..Self::new() }
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
        if let Change::Snapshot { id, .. } = entry.change {
            self.freeze(id, entry.seq);
        }
        self.queue.push_back(Work::Entry { entry, own });
    }

    fn freeze(&mut self, id: SnapshotId, at: WriteSeq) {
        let before = self.snapshots.insert(id, Frozen { at, versions: self.now });
        assert!(before.is_none(), "the store refuses a snapshot whose number is taken");
        self.last = self.last.max(at.n);
    }

    pub fn cut(&mut self, snapshot: Snapshot) {
        self.freeze(snapshot.id, snapshot.at);
        self.queue.push_back(Work::Cut { snapshot });
    }

    pub fn drop_snapshot(&mut self, id: SnapshotId) {
        if self.snapshots.remove(&id).is_some() {
            self.queue.push_back(Work::Drop { id });
        }
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
                let synced = entry.is_durable();
                if synced {
                    self.sync();
                }
                if let Change::Snapshot { id, .. } = entry.change {
                    self.keep(id, entry.seq);
                }
                let applied = entry.seq.n;
                let durable = if synced { applied } else { 0 };
                own.map_or(Some(Done::Nothing), |incarnation| Some(Done::Applied { incarnation, applied, durable }))
            }
            Work::Group { group, version } => {
                self.persisted[group].push(version);
                Some(Done::GroupStored)
            }
            Work::Cut { snapshot } => {
                self.sync();
                self.keep(snapshot.id, snapshot.at);
                Some(Done::Nothing)
            }
            Work::Drop { id } => {
                self.durable_snapshots.remove(&id);
                Some(Done::Nothing)
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

    /// What there is of everything before it is a snapshot on stable media.
    fn keep(&mut self, id: SnapshotId, at: WriteSeq) {
        let versions = [0, 1, 2].map(|group| *self.persisted[group].last().unwrap());
        self.durable_snapshots.insert(id, Frozen { at, versions });
    }

    fn sync(&mut self) {
        self.persisted.iter_mut().for_each(|versions| {
            versions.drain(..versions.len() - 1);
        });
    }

    /// The process ended.
    pub fn killed(&mut self) {
        self.queue.clear();
        self.snapshots.clone_from(&self.durable_snapshots);
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
    pub fn read(&self, group: GroupIndex, from: Option<SnapshotId>) -> Option<(WriteSeq, Value)> {
        let versions = match from {
            Some(id) => &self.snapshots.get(&id)?.versions,
            None => &self.now,
        };
        let version = versions[usize::try_from(group.0).unwrap()];
        Some((version.born, pack(version.seq, version.value)))
    }
}

impl Content for Media {
    fn changed_since(&self, seq: WriteSeq) -> GroupSet {
        changed_of(&self.now, seq)
    }

    fn snapshots(&self) -> Vec<Snapshot> {
        self.snapshots.iter().map(|(id, frozen)| Snapshot { id: *id, at: frozen.at, blocks: BLOCKS }).collect()
    }

    fn changed_in(&self, snapshot: SnapshotId, seq: WriteSeq) -> GroupSet {
        self.snapshots.get(&snapshot).map_or(GroupSet::default(), |frozen| changed_of(&frozen.versions, seq))
    }
}

fn changed_of(versions: &[Version; GROUPS], seq: WriteSeq) -> GroupSet {
    let changed = (0..GROUPS).filter(|group| versions[*group].born > seq);
    changed.map(|group| GroupIndex(group as u64)).collect()
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
        Change::Flush | Change::Snapshot { .. } => return Vec::new(),
    };
    let groups: BTreeSet<u64> = range.blocks().map(|block| block.0 / u64::from(block::GROUP_BLOCKS)).collect();
    groups.into_iter().map(|group| (usize::try_from(group).unwrap(), value)).collect()
}
