//! Checker: what snapshots hold. When one was asked for, every write that had been acknowledged was in; until it was known to
//! be cut, anything that was sent may have come in; from then on it never changes. And it is one instant: if a write is in a
//! snapshot, or in that of another volume of the group, then so is all that was acknowledged before that write was sent.

use std::collections::BTreeMap;

use block::{SnapshotId, VolumeId};

/// What every snapshot may hold.
#[derive(Default)]
pub(super) struct Kept {
    snapshots: BTreeMap<SnapshotId, Snapshot>,
    /// Those that may not be cut yet.
    open: BTreeMap<VolumeId, Vec<SnapshotId>>,
}

struct Snapshot {
    source: VolumeId,
    /// What each block may hold; zeroes where nothing is said.
    blocks: BTreeMap<u64, Vec<u64>>,
}

impl Kept {
    /// One was asked for; its volume may hold this by then.
    pub fn begin(&mut self, id: SnapshotId, source: VolumeId, blocks: BTreeMap<u64, Vec<u64>>) {
        self.snapshots.insert(id, Snapshot { source, blocks });
        self.open.entry(source).or_default().push(id);
    }

    pub fn is_known(&self, id: SnapshotId) -> bool {
        self.snapshots.contains_key(&id)
    }

    /// Those that were not known to be cut when this was asked last.
    pub fn open(&self) -> impl Iterator<Item = SnapshotId> {
        self.open.values().flatten().copied()
    }

    /// It is known to be cut, or is gone.
    pub fn close(&mut self, id: SnapshotId) {
        self.open.values_mut().for_each(|open| open.retain(|one| *one != id));
        self.open.retain(|_, open| !open.is_empty());
    }

    /// A value is on its way into a volume.
    pub fn send(&mut self, volume: VolumeId, block: u64, value: u64) {
        for id in self.open.get(&volume).into_iter().flatten() {
            let snapshot = self.snapshots.get_mut(id).expect("open ones are there");
            snapshot.blocks.entry(block).or_insert_with(|| vec![0]).push(value);
        }
    }

    pub fn source(&self, id: SnapshotId) -> Option<VolumeId> {
        self.snapshots.get(&id).map(|snapshot| snapshot.source)
    }

    /// What each block may hold; others are zeroes.
    pub fn blocks(&self, id: SnapshotId) -> BTreeMap<u64, Vec<u64>> {
        self.snapshots.get(&id).map(|snapshot| snapshot.blocks.clone()).unwrap_or_default()
    }

    /// A block was found to hold this, in a clone.
    pub fn found(&mut self, id: SnapshotId, block: u64, value: u64) {
        if let Some(snapshot) = self.snapshots.get_mut(&id) {
            snapshot.blocks.insert(block, vec![value]);
        }
    }

    /// What was found in blocks of a snapshot.
    pub fn all_found(&self, id: SnapshotId) -> impl Iterator<Item = (u64, u64)> {
        let blocks = self.snapshots.get(&id).into_iter().flat_map(|snapshot| &snapshot.blocks);
        blocks.filter(|(_, values)| values.len() == 1).map(|(block, values)| (*block, values[0]))
    }
}
