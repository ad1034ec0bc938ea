//! What a pool should hold: every change in order, each with what it does to a plain map of values. After a crash the
//! pool must hold the state after some prefix of the changes, no shorter than what was promised. Stamps belong to the
//! state: what they say after a crash must be what they said at that place.

use std::collections::{BTreeMap, BTreeSet};

use block::{GROUP_BLOCKS, WriteSeq};

/// A version that can be read.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Key {
    /// A volume.
    Volume(u64),
    /// A snapshot.
    Snapshot(u64),
}

/// One change. A write of many blocks is many changes, for it may be cut between blocks.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the variants' fields need no words")]
pub enum Change {
    /// A new volume.
    Create { volume: u64, blocks: u64 },
    /// A new volume that starts as `source`.
    Clone { source: Key, volume: u64, blocks: u64 },
    /// A version is gone.
    Delete { key: Key },
    /// A volume as it is becomes a snapshot.
    Snapshot { volume: u64, snapshot: u64, seq: WriteSeq },
    /// A volume grows.
    Resize { volume: u64, blocks: u64, seq: WriteSeq },
    /// One block gets a value.
    Write { volume: u64, block: u64, value: u64, seq: WriteSeq },
    /// Blocks read as zeroes.
    Zero { volume: u64, first: u64, count: u64, seq: WriteSeq },
    /// A group gets the values from `value` on where a bit is set, and nothing else.
    Copy { volume: u64, group: u64, mapped: u64, value: u64, born: WriteSeq },
    /// Groups that were changed after the stable point count as changed by `seq`.
    Restamp { volume: u64, seq: WriteSeq },
    /// The common stable point moves.
    Stable { volume: u64, seq: WriteSeq },
}

/// One version's content: 0 is zeroes.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Content {
    /// Its size.
    pub blocks: u64,
    /// Values of blocks that are not zero.
    pub values: BTreeMap<u64, u64>,
    /// The newest change of every group that has one.
    pub born: BTreeMap<u64, WriteSeq>,
    /// Of a volume: the highest epoch and number of its changes, and its common stable point.
    pub order: [WriteSeq; 2],
    hash: u64,
}

/// Blocks of a group, and groups that appear together with the first write to any of them.
const GROUP: u64 = GROUP_BLOCKS as u64;
const LEAF_GROUPS: u64 = 16;

/// All versions.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct State {
    /// Content of each.
    pub versions: BTreeMap<Key, Content>,
}

fn mix(words: [u64; 3]) -> u64 {
    let mut hash = 0x243f_6a88_85a3_08d3_u64;
    for word in words {
        hash = (hash ^ word).wrapping_mul(0xff51_afd7_ed55_8ccd);
        hash ^= hash >> 32;
    }
    hash
}

impl Content {
    fn put(&mut self, block: u64, value: u64) {
        let old = if value == 0 { self.values.remove(&block) } else { self.values.insert(block, value) };
        if let Some(old) = old {
            self.hash ^= mix([1, block, old]);
        }
        if value != 0 {
            self.hash ^= mix([1, block, value]);
        }
    }

    fn stamp(&mut self, group: u64, seq: WriteSeq) {
        let pack = |seq: WriteSeq| u64::from(seq.epoch.0) << 40 ^ seq.n;
        let old = self.born.get(&group).copied().unwrap_or_default();
        let new = old.max(seq);
        self.born.insert(group, new);
        self.hash ^= if old == WriteSeq::ZERO { 0 } else { mix([2, group, pack(old)]) };
        self.hash ^= mix([2, group, pack(new)]);
    }

    fn note(&mut self, seq: WriteSeq) {
        let [WriteSeq { epoch, n }, _] = self.order;
        self.order[0] = WriteSeq { epoch: epoch.max(seq.epoch), n: n.max(seq.n) };
    }

    /// The newest change of the group of a block.
    #[must_use]
    pub fn born(&self, group: u64) -> WriteSeq {
        self.born.get(&group).copied().unwrap_or_default()
    }

    /// A content that was read: its values, its stamps, and what is known of its order.
    #[must_use]
    pub fn read(values: &[u64], born: impl Iterator<Item = (u64, WriteSeq)>, order: [WriteSeq; 2]) -> Self {
        let mut content = Self { blocks: values.len() as u64, order, ..Self::default() };
        (0..).zip(values).for_each(|(block, value)| content.put(block, *value));
        born.for_each(|(group, seq)| content.stamp(group, seq));
        content
    }

    fn write(&mut self, block: u64, value: u64, seq: WriteSeq) {
        self.note(seq);
        self.put(block, value);
        self.stamp(block / GROUP, seq);
    }

    /// Stamped are the groups of those leaves in which anything was stamped before: elsewhere nothing ever was.
    fn zero(&mut self, first: u64, count: u64, seq: WriteSeq) {
        self.note(seq);
        let held: Vec<u64> = self.values.range(first..first + count).map(|(block, _)| *block).collect();
        held.into_iter().for_each(|block| self.put(block, 0));
        let (first, last) = (first / GROUP, (first + count - 1) / GROUP);
        let leaf = |group: u64| group / LEAF_GROUPS;
        let touched = self.born.range(leaf(first) * LEAF_GROUPS..(leaf(last) + 1) * LEAF_GROUPS);
        let leaves: BTreeSet<u64> = touched.map(|(group, _)| leaf(*group)).collect();
        for leaf in leaves {
            let groups = leaf * LEAF_GROUPS..(leaf + 1) * LEAF_GROUPS;
            groups.filter(|group| (first..=last).contains(group)).for_each(|group| self.stamp(group, seq));
        }
    }

    fn copy(&mut self, group: u64, mapped: u64, mut value: u64, born: WriteSeq) {
        self.note(born);
        for bit in 0..GROUP {
            if mapped >> bit & 1 == 1 {
                self.put(group * GROUP + bit, value);
                value += 1;
            } else {
                self.put(group * GROUP + bit, 0);
            }
        }
        self.stamp(group, born);
    }

    fn restamp(&mut self, seq: WriteSeq) {
        self.note(seq);
        let later: Vec<u64> =
            self.born.iter().filter(|(_, born)| **born > self.order[1]).map(|(group, _)| *group).collect();
        later.into_iter().for_each(|group| self.stamp(group, seq));
    }

    /// A block's value.
    #[must_use]
    pub fn get(&self, block: u64) -> u64 {
        self.values.get(&block).copied().unwrap_or(0)
    }
}

impl State {
    /// Distinguishes states.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.versions.iter().fold(0, |hash, (key, content)| {
            let key = match key {
                Key::Volume(id) => id << 1,
                Key::Snapshot(id) => id << 1 | 1,
            };
            let order = content.order.map(|seq| mix([seq.epoch.0.into(), seq.n, 3]));
            hash ^ mix([key, content.blocks, content.hash]) ^ mix([key, order[0], order[1]])
        })
    }

    /// Blocks that any version holds: every value is written once, so equal values are shared blocks.
    #[must_use]
    pub fn live_blocks(&self) -> u64 {
        let values: BTreeSet<u64> =
            self.versions.values().flat_map(|content| content.values.values().copied()).collect();
        values.len() as u64
    }

    fn volume(&mut self, volume: u64) -> &mut Content {
        self.versions.get_mut(&Key::Volume(volume)).expect("the plan names volumes that are there")
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::Create { volume, blocks } => {
                self.versions.insert(Key::Volume(volume), Content { blocks, ..Content::default() });
            }
            Change::Clone { source, volume, blocks } => {
                // What comes of a snapshot goes on behind its place, and has in common what it had.
                let order = match source {
                    Key::Snapshot(_) => [self.versions[&source].order[0]; 2],
                    Key::Volume(_) => [WriteSeq::ZERO; 2],
                };
                let content = Content { blocks, order, ..self.versions[&source].clone() };
                self.versions.insert(Key::Volume(volume), content);
            }
            Change::Delete { key } => {
                self.versions.remove(&key);
            }
            Change::Snapshot { volume, snapshot, seq } => {
                self.volume(volume).note(seq);
                let content = Content { order: [seq, WriteSeq::ZERO], ..self.volume(volume).clone() };
                self.versions.insert(Key::Snapshot(snapshot), content);
            }
            Change::Resize { volume, blocks, seq } => {
                let content = self.volume(volume);
                content.note(seq);
                content.blocks = blocks;
            }
            Change::Write { volume, block, value, seq } => self.volume(volume).write(block, value, seq),
            Change::Zero { volume, first, count, seq } => self.volume(volume).zero(first, count, seq),
            Change::Copy { volume, group, mapped, value, born } => {
                self.volume(volume).copy(group, mapped, value, born);
            }
            Change::Restamp { volume, seq } => self.volume(volume).restamp(seq),
            Change::Stable { volume, seq } => {
                let stable = &mut self.volume(volume).order[1];
                *stable = seq.max(*stable);
            }
        }
    }
}

/// The oracle.
#[derive(Debug, Default)]
pub struct Oracle {
    base: State,
    changes: Vec<Change>,
    now: State,
    acknowledged: usize,
    durable: usize,
}

impl Oracle {
    /// The state after every change.
    #[must_use]
    pub fn now(&self) -> &State {
        &self.now
    }

    /// A change was submitted; answers the number of changes so far.
    pub fn submit(&mut self, change: Change) -> usize {
        self.now.apply(change);
        self.changes.push(change);
        self.changes.len()
    }

    /// Changes submitted since the last recovery.
    #[must_use]
    pub fn submitted(&self) -> usize {
        self.changes.len()
    }

    /// Changes acknowledged since the last recovery.
    #[must_use]
    pub fn acknowledged(&self) -> usize {
        self.acknowledged
    }

    /// The first `count` changes were acknowledged.
    pub fn acknowledge(&mut self, count: usize) {
        self.acknowledged = self.acknowledged.max(count);
    }

    /// The first `count` changes were reported as stable.
    pub fn stabilise(&mut self, count: usize) {
        self.acknowledge(count);
        self.durable = self.durable.max(count);
    }

    /// The pool was recovered and holds `found`. Goes on from there.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn recover(&mut self, found: &State, power_lost: bool) -> Result<usize, String> {
        let required = if power_lost { self.durable } else { self.acknowledged };
        let wanted = found.hash();
        let mut state = self.base.clone();
        let mut matching = (self.changes.is_empty() || required == 0) && state.hash() == wanted;
        let mut prefix = if matching { Some((0, state.clone())) } else { None };
        for (index, change) in self.changes.iter().enumerate() {
            state.apply(*change);
            matching = state.hash() == wanted;
            if matching && index + 1 >= required {
                prefix = Some((index + 1, state.clone()));
            }
        }
        let Some((count, state)) = prefix else {
            return Err(self.explain(found, required));
        };
        assert_eq!(&state, found, "the hash tells states apart");
        *self = Self { base: state.clone(), now: state, ..Self::default() };
        Ok(count)
    }

    fn explain(&self, found: &State, required: usize) -> String {
        let mut state = self.base.clone();
        self.changes[..required].iter().for_each(|change| state.apply(*change));
        let keys: BTreeSet<&Key> = state.versions.keys().chain(found.versions.keys()).collect();
        let mut text = format!(
            "the pool holds no prefix of the write order of at least {required} of {} changes; against the state after {required}:",
            self.changes.len()
        );
        for key in keys {
            let (expected, got) = (state.versions.get(key), found.versions.get(key));
            if expected == got {
                continue;
            }
            let (Some(expected), Some(got)) = (expected, got) else {
                text += &format!("\n  {key:?}: expected {}, found {}", expected.is_some(), got.is_some());
                continue;
            };
            let differing: Vec<String> = (0..expected.blocks.max(got.blocks))
                .filter(|block| expected.get(*block) != got.get(*block))
                .take(6)
                .map(|block| format!("{block}: {} is {}", expected.get(block), got.get(block)))
                .collect();
            text += &format!("\n  {key:?} ({} / {} blocks): {}", expected.blocks, got.blocks, differing.join(", "));
            text += &explain_order(expected, got);
        }
        text
    }
}

fn explain_order(expected: &Content, got: &Content) -> String {
    let mut text = String::new();
    if expected.order != got.order {
        text += &format!("; order {:?} is {:?}", expected.order, got.order);
    }
    let groups: BTreeSet<&u64> = expected.born.keys().chain(got.born.keys()).collect();
    let differing = groups.into_iter().filter(|group| expected.born(**group) != got.born(**group)).take(6);
    for group in differing {
        text += &format!("; stamp of group {group}: {} is {}", expected.born(*group), got.born(*group));
    }
    text
}
