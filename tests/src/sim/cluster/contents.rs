//! Checker: an acknowledged write is there, and nothing else is that nobody wrote. Each block may hold the last value
//! that was acknowledged, or a later one that was sent and not acknowledged.

use std::collections::{BTreeMap, BTreeSet};

use block::VolumeId;

use super::fences::Fences;

/// What every volume may hold.
#[derive(Default)]
pub(super) struct Contents {
    volumes: BTreeMap<VolumeId, BTreeMap<u64, Block>>,
    /// Volumes whose disk was taken away: nothing is known of them any more.
    lost: BTreeSet<VolumeId>,
    last_value: u64,
    /// Which attachment wrote a value.
    origins: BTreeMap<u64, u64>,
}

#[derive(Clone, Default)]
struct Block {
    settled: u64,
    /// Sent after it, oldest first.
    later: Vec<u64>,
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
            self.origins.insert(*value, generation);
            // What a client sends that is shut out is never there.
            if !fences.is_shut_out(volume, generation) {
                self.block(volume, block).later.push(*value);
            }
        }
        values
    }

    fn block(&mut self, volume: VolumeId, block: u64) -> &mut Block {
        self.volumes.entry(volume).or_default().entry(block).or_default()
    }

    /// A write was acknowledged. An acknowledgement that comes after that of a later write says nothing new.
    pub fn acknowledge(&mut self, volume: VolumeId, first: u64, values: &[u64]) {
        for (number, value) in (first..).zip(values) {
            let block = self.block(volume, number);
            if block.later.contains(value) {
                block.settled = *value;
                block.later.retain(|later| later > value);
            }
        }
    }

    /// What blocks may hold now.
    pub fn allowed(&self, volume: VolumeId, first: u64, count: u64) -> Vec<Vec<u64>> {
        let blocks = self.volumes.get(&volume);
        let one = |block: u64| blocks.and_then(|blocks| blocks.get(&block)).cloned().unwrap_or_default();
        (first..first + count).map(one).map(|block| [&[block.settled][..], &block.later].concat()).collect()
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
        let origin = self.origins.get(&value).copied();
        let block = self.block(volume, number);
        if !allowed.contains(&value) && value != block.settled && !block.later.contains(&value) {
            return Err(format!(
                "block {number} of volume {volume} holds value {value} of attachment {origin:?}; it may hold {} or {:?}, \
                 or {allowed:?} when it was asked for",
                block.settled, block.later
            ));
        }
        if block.later.iter().all(|later| *later < since) && (block.later.contains(&value) || value == block.settled) {
            *block = Block { settled: value, later: Vec::new() };
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
