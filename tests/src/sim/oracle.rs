//! What a pool should hold: every change in order, each with what it does to a plain map of values. After a crash the
//! pool must hold the state after some prefix of the changes, no shorter than what was promised.

use std::collections::{BTreeMap, BTreeSet};

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
    Snapshot { volume: u64, snapshot: u64 },
    /// A volume grows.
    Resize { volume: u64, blocks: u64 },
    /// One block gets a value.
    Write { volume: u64, block: u64, value: u64 },
    /// Blocks read as zeroes.
    Zero { volume: u64, first: u64, count: u64 },
}

/// One version's content: 0 is zeroes.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Content {
    /// Its size.
    pub blocks: u64,
    /// Values of blocks that are not zero.
    pub values: BTreeMap<u64, u64>,
    hash: u64,
}

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

    /// A content that was read.
    #[must_use]
    pub fn read(values: &[u64]) -> Self {
        let mut content = Self { blocks: values.len() as u64, ..Self::default() };
        (0..).zip(values).for_each(|(block, value)| content.put(block, *value));
        content
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
            hash ^ mix([key, content.blocks, content.hash])
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
                let content = Content { blocks, ..self.versions[&source].clone() };
                self.versions.insert(Key::Volume(volume), content);
            }
            Change::Delete { key } => {
                self.versions.remove(&key);
            }
            Change::Snapshot { volume, snapshot } => {
                let content = self.volume(volume).clone();
                self.versions.insert(Key::Snapshot(snapshot), content);
            }
            Change::Resize { volume, blocks } => self.volume(volume).blocks = blocks,
            Change::Write { volume, block, value } => self.volume(volume).put(block, value),
            Change::Zero { volume, first, count } => {
                (first..first + count).for_each(|block| self.volume(volume).put(block, 0));
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
        }
        text
    }
}
