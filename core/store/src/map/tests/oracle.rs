//! The map as anyone would write it down: every version with all its blocks.

use std::collections::{BTreeMap, BTreeSet};

use block::{SnapshotId, VolumeId, WriteSeq};

use crate::map::{Kind, Source};

/// Location and checksum of each mapped block.
pub type Blocks = BTreeMap<u64, (u32, u32)>;

#[derive(Clone, Debug)]
pub struct State {
    pub parent: Option<u32>,
    pub kind: Kind,
    pub end: u64,
    pub blocks: Blocks,
    /// Stamp of each group of 64 blocks.
    pub born: BTreeMap<u64, WriteSeq>,
    /// Which runs of 1024 blocks were ever written.
    pub leaves: BTreeSet<u64>,
}

#[derive(Clone, Debug, Default)]
pub struct Oracle {
    pub versions: BTreeMap<u32, State>,
    next: u32,
}

impl Oracle {
    fn add(&mut self, state: State) -> u32 {
        self.next += 1;
        self.versions.insert(self.next, state);
        self.next
    }

    fn find(&self, kind: Kind) -> u32 {
        let found = self.versions.iter().find(|(_, state)| state.kind == kind);
        *found.expect("the harness names what exists").0
    }

    pub fn named(&self) -> impl Iterator<Item = &State> {
        self.versions.values().filter(|state| state.kind != Kind::Hidden)
    }

    pub fn head(&mut self, volume: VolumeId) -> &mut State {
        let id = self.find(Kind::Head(volume));
        self.versions.get_mut(&id).expect("found")
    }

    pub fn create(&mut self, volume: VolumeId, end: u64) {
        let (blocks, born, leaves) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        self.add(State { parent: None, kind: Kind::Head(volume), end, blocks, born, leaves });
    }

    pub fn freeze(&mut self, volume: VolumeId, kind: Kind) -> u32 {
        let head = self.find(Kind::Head(volume));
        let frozen = State { kind, ..self.versions[&head].clone() };
        let id = self.add(frozen);
        self.versions.get_mut(&head).expect("found").parent = Some(id);
        id
    }

    pub fn clone_from(&mut self, source: Source, volume: VolumeId, end: u64) {
        let parent = match source {
            Source::Head(from) => self.freeze(from, Kind::Hidden),
            Source::Snapshot(from) => self.find(Kind::Snapshot(from)),
        };
        let clone = State { parent: Some(parent), kind: Kind::Head(volume), end, ..self.versions[&parent].clone() };
        self.add(clone);
    }

    pub fn set(&mut self, volume: VolumeId, first: u64, location: u32, crcs: &[u32], seq: WriteSeq) {
        let head = self.head(volume);
        for (at, &crc) in crcs.iter().enumerate() {
            let block = first + at as u64;
            head.blocks.insert(block, (location + u32::try_from(at).unwrap(), crc));
            head.born.insert(block / 64, seq);
            head.leaves.insert(block / 1024);
        }
    }

    pub fn zero(&mut self, volume: VolumeId, first: u64, end: u64, seq: WriteSeq) {
        let head = self.head(volume);
        head.blocks.retain(|block, _| !(first..end).contains(block));
        for leaf in head.leaves.range(first / 1024..end.div_ceil(1024)) {
            for group in leaf * 16..(leaf + 1) * 16 {
                if group * 64 < end && first < (group + 1) * 64 {
                    head.born.insert(group, seq);
                }
            }
        }
    }

    /// `blocks`: which of the group's, and where.
    pub fn replace_group(&mut self, volume: VolumeId, group: u64, blocks: &[(u64, (u32, u32))], born: WriteSeq) {
        let head = self.head(volume);
        head.blocks.retain(|block, _| block / 64 != group);
        head.blocks.extend(blocks.iter().map(|&(bit, entry)| (group * 64 + bit, entry)));
        let stamp = head.born.entry(group).or_default();
        *stamp = born.max(*stamp);
        head.leaves.insert(group / 16);
    }

    pub fn restamp(&mut self, volume: VolumeId, after: WriteSeq, seq: WriteSeq) {
        let later = self.head(volume).born.values_mut().filter(|born| **born > after);
        later.for_each(|born| *born = seq.max(*born));
    }

    pub fn relocate(&mut self, from: u32, to: u32) {
        for entry in self.versions.values_mut().flat_map(|state| state.blocks.values_mut()) {
            if entry.0 == from {
                entry.0 = to;
            }
        }
    }

    pub fn delete(&mut self, kind: Kind) {
        let id = self.find(kind);
        self.versions.get_mut(&id).expect("found").kind = Kind::Hidden;
        while let Some(id) = self.superfluous() {
            let gone = self.versions.remove(&id).expect("found");
            for state in self.versions.values_mut().filter(|state| state.parent == Some(id)) {
                state.parent = gone.parent;
            }
        }
    }

    fn superfluous(&self) -> Option<u32> {
        let children = |id: u32| self.versions.values().filter(|state| state.parent == Some(id)).count();
        let hidden = self.versions.iter().filter(|(_, state)| state.kind == Kind::Hidden);
        hidden.map(|(&id, _)| id).find(|&id| children(id) <= 1)
    }

    pub fn live(&self) -> BTreeSet<u32> {
        self.versions.values().flat_map(|state| state.blocks.values()).map(|entry| entry.0).collect()
    }

    /// Blocks that only this version holds, and that would be free if it were deleted.
    pub fn exclusive_and_reclaimable(&self, kind: Kind) -> (u64, u64) {
        let id = self.find(kind);
        let others = self.versions.iter().filter(|&(&other, _)| other != id);
        let held: BTreeSet<u32> = others.flat_map(|(_, state)| state.blocks.values()).map(|entry| entry.0).collect();
        let exclusive = self.versions[&id].blocks.values().filter(|entry| !held.contains(&entry.0)).count();
        let mut without = self.clone();
        without.delete(kind);
        (exclusive as u64, (self.live().len() - without.live().len()) as u64)
    }

    pub fn heads(&self) -> Vec<VolumeId> {
        let heads = self.versions.values().filter_map(|state| match state.kind {
            Kind::Head(volume) => Some(volume),
            Kind::Snapshot(_) | Kind::Hidden => None,
        });
        heads.collect()
    }

    pub fn snapshots(&self) -> Vec<SnapshotId> {
        let snapshots = self.versions.values().filter_map(|state| match state.kind {
            Kind::Snapshot(snapshot) => Some(snapshot),
            Kind::Head(_) | Kind::Hidden => None,
        });
        snapshots.collect()
    }
}
