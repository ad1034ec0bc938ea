//! Checker: an acknowledged write is there, and nothing else is that nobody wrote. Each block may hold the last value
//! that was acknowledged, or a later one that was sent and not acknowledged. A clone begins as the snapshot it is made of,
//! see `kept`.

use std::collections::{BTreeMap, BTreeSet};

use block::{SnapshotId, VolumeId};

use super::fences::Fences;
use super::kept::Kept;

/// What every volume may hold.
#[derive(Default)]
pub(super) struct Contents {
    volumes: BTreeMap<VolumeId, BTreeMap<u64, Block>>,
    /// Volumes whose disk was taken away: nothing is known of them any more.
    lost: BTreeSet<VolumeId>,
    last_value: u64,
    /// Which attachment of which volume wrote a value.
    origins: BTreeMap<u64, (VolumeId, u64)>,
    /// What clones are made of.
    made_of: BTreeMap<VolumeId, SnapshotId>,
    pub kept: Kept,
}

#[derive(Default)]
struct Block {
    settled: u64,
    /// Sent after it, oldest first.
    later: Vec<u64>,
    /// Values that it cannot hold any more, and the last value that had been sent anywhere when that was known.
    dropped: Vec<(u64, u64)>,
}

impl Block {
    fn allowed(&self) -> Vec<u64> {
        [&[self.settled][..], &self.later].concat()
    }

    /// It holds `settled` now, or one of those that are left of the later ones.
    fn settle(&mut self, settled: u64, is_left: impl Fn(u64) -> bool, last_value: u64) {
        let before = self.allowed();
        self.settled = settled;
        self.later.retain(|later| is_left(*later));
        let gone = before.into_iter().filter(|value| *value != settled && !self.later.contains(value));
        self.dropped.extend(gone.map(|value| (value, last_value)));
    }
}

impl Contents {
    pub fn next_value(&self) -> u64 {
        self.last_value + 1
    }

    /// New values for blocks that a client of this generation is about to write.
    pub fn send(&mut self, volume: VolumeId, generation: u64, first: u64, count: u64, fences: &Fences) -> Vec<u64> {
        let values: Vec<u64> = (self.last_value + 1..=self.last_value + count).collect();
        self.last_value += count;
        for (block, value) in (first..).zip(&values) {
            self.origins.insert(*value, (volume, generation));
            // What a client sends that is shut out is never there.
            if !fences.is_shut_out(volume, generation) {
                self.block(volume, block).later.push(*value);
                self.kept.send(volume, block, *value);
            }
        }
        values
    }

    fn block(&mut self, volume: VolumeId, block: u64) -> &mut Block {
        self.volumes.entry(volume).or_default().entry(block).or_default()
    }

    /// A write was acknowledged. An acknowledgement that comes after that of a later write says nothing new.
    pub fn acknowledge(&mut self, volume: VolumeId, first: u64, values: &[u64]) {
        let last_value = self.last_value;
        for (number, value) in (first..).zip(values) {
            let block = self.block(volume, number);
            if block.later.contains(value) {
                block.settle(*value, |later| later > *value, last_value);
            }
        }
    }

    /// What blocks may hold now.
    pub fn allowed(&self, volume: VolumeId, first: u64, count: u64) -> Vec<Vec<u64>> {
        let blocks = self.volumes.get(&volume);
        let one = |block: u64| blocks.and_then(|blocks| blocks.get(&block)).map_or_else(|| vec![0], Block::allowed);
        (first..first + count).map(one).collect()
    }

    /// A block was read, by the newest connection of the volume, which began with value `since`: everything older has
    /// come to its end, so that what was found is there to stay.
    pub fn found(
        &mut self,
        volume: VolumeId,
        number: u64,
        value: u64,
        allowed: &[u64],
        since: u64,
    ) -> Result<(), String> {
        if self.lost.contains(&volume) {
            return Ok(());
        }
        let (origin, last_value) = (self.origins.get(&value).copied(), self.last_value);
        let block = self.block(volume, number);
        if !allowed.contains(&value) && value != block.settled && !block.later.contains(&value) {
            return Err(format!(
                "block {number} of volume {volume} holds value {value} of attachment {origin:?}; it may hold {} or {:?}, \
                 or {allowed:?} when it was asked for",
                block.settled, block.later
            ));
        }
        if block.later.iter().all(|later| *later < since) && (block.later.contains(&value) || value == block.settled) {
            block.settle(value, |_| false, last_value);
            let is_inherited = origin.is_none_or(|(writer, _)| writer != volume);
            if let Some(snapshot) = self.made_of.get(&volume).filter(|_| is_inherited) {
                self.kept.found(*snapshot, number, value);
            }
        }
        Ok(())
    }

    /// A block says that it was written to this volume.
    pub fn check_owner(&self, volume: VolumeId, value: u64, owner: VolumeId) -> Result<(), String> {
        let wrote = self.origins.get(&value).map(|(writer, _)| *writer);
        if value == 0 || (wrote == Some(owner) && self.descends(volume, owner)) {
            return Ok(());
        }
        Err(format!("a block of volume {volume} holds value {value} of volume {owner}, which {wrote:?} sent"))
    }

    fn descends(&self, volume: VolumeId, from: VolumeId) -> bool {
        let parent = |volume: &VolumeId| self.kept.source(*self.made_of.get(volume)?);
        std::iter::successors(Some(volume), parent).any(|one| one == from)
    }

    /// Somebody asked for a snapshot.
    pub fn snapshot_wanted(&mut self, id: SnapshotId, source: VolumeId) {
        let blocks = self.volumes.get(&source).into_iter().flatten();
        let blocks = blocks.map(|(number, block)| (*number, block.allowed())).collect();
        self.kept.begin(id, source, blocks);
    }

    /// A volume begins as a snapshot that is cut. False if it was told of before.
    pub fn clone_begins(&mut self, volume: VolumeId, snapshot: SnapshotId) -> bool {
        if self.made_of.insert(volume, snapshot).is_some() {
            return false;
        }
        if self.is_snapshot_lost(snapshot) {
            self.lost.insert(volume);
        }
        let block = |(number, values): (u64, Vec<u64>)| {
            let block = Block { settled: values[0], later: values[1..].to_vec(), dropped: Vec::new() };
            (number, block)
        };
        self.volumes.insert(volume, self.kept.blocks(snapshot).into_iter().map(block).collect());
        true
    }

    pub fn is_snapshot_lost(&self, snapshot: SnapshotId) -> bool {
        self.kept.source(snapshot).is_none_or(|source| self.lost.contains(&source))
    }

    /// Snapshots of several volumes show one instant, as far as they were read.
    pub fn check_instant(&self, snapshots: &[SnapshotId]) -> Result<(), String> {
        let newest = snapshots.iter().flat_map(|id| self.kept.all_found(*id)).map(|(_, value)| value).max();
        for id in snapshots {
            let Some(source) = self.kept.source(*id) else { continue };
            for (number, value) in self.kept.all_found(*id) {
                let block = self.volumes.get(&source).and_then(|blocks| blocks.get(&number));
                let dropped = block.and_then(|block| block.dropped.iter().find(|(dropped, _)| *dropped == value));
                if let Some((_, when)) = dropped.filter(|(_, when)| newest > Some(*when)) {
                    return Err(format!(
                        "{id:?} has value {value} in block {number} of volume {source}, which had another one \
                         when {when} was sent, and {snapshots:?} have {newest:?}"
                    ));
                }
            }
        }
        Ok(())
    }

    /// The disk of a volume was taken away.
    pub fn lose(&mut self, volume: VolumeId) {
        self.lost.insert(volume);
    }

    pub fn is_lost(&self, volume: VolumeId) -> bool {
        self.lost.contains(&volume)
    }
}
