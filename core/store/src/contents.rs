//! What a pool holds: its volumes, their versions, and which of its blocks are live. Every change of it is a log
//! entry, applied here in log order: by the live store when the entry is appended, by recovery when it is replayed.
//! One function for both is what makes recovery arrive at the same state.

use std::collections::{BTreeMap, BTreeSet};

use block::{
    BLOCK_BYTES, BlockCount, BlockIndex, BlockRange, Checksum, Epoch, GROUP_BLOCKS, GroupIndex, Lsn, SnapshotId,
    VolumeId, WriteSeq,
};
use layout::{Entry, EntryKind, VolumeParameters};

use crate::map::{Location, Map, PlacedGroup, Progress, Restamp, Source, VersionError, VersionId};
use crate::segments::Segments;

/// A volume as its pool knows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VolumeState {
    /// Its id.
    pub id: VolumeId,
    /// Its name, unique in the pool.
    pub name: String,
    /// Its size, a multiple of 4 KiB.
    pub size_bytes: u64,
    /// The highest epoch and the highest number of all changes it was given. Mostly they are one change's; but what comes
    /// from another replica may have a later epoch and a lower number, and numbers go on across epochs.
    pub last_seq: WriteSeq,
    /// Highest epoch seen.
    pub epoch: Epoch,
    /// Its common stable point.
    pub stable: WriteSeq,
    pub(crate) version: VersionId,
}

impl VolumeState {
    pub(crate) fn end(&self) -> BlockIndex {
        BlockIndex(self.size_bytes / BLOCK_BYTES as u64)
    }

    /// The blocks of a group, if it has any: the last group may be shorter than the others.
    pub(crate) fn group_range(&self, group: GroupIndex) -> Option<BlockRange> {
        group_range(group, self.end())
    }

    /// The blocks of a group, if it has any and those of `mapped` are among them.
    pub(crate) fn copied_range(&self, group: GroupIndex, mapped: u64) -> Option<BlockRange> {
        self.group_range(group).filter(|range| mapped.checked_shr(range.count.0).unwrap_or(0) == 0)
    }

    fn note(&mut self, seq: WriteSeq) {
        let WriteSeq { epoch, n } = self.last_seq;
        self.last_seq = WriteSeq { epoch: epoch.max(seq.epoch), n: n.max(seq.n) };
    }
}

/// A snapshot as its pool knows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SnapshotState {
    /// Its id.
    pub id: SnapshotId,
    /// The volume it is of.
    pub volume: VolumeId,
    /// Its size.
    pub size_bytes: u64,
    /// The last entry of the write order that it contains.
    pub seq: WriteSeq,
    pub(crate) version: VersionId,
}

/// Why a log entry cannot be applied: only damage or a bug can lead here.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReplayError {
    /// It is about a volume the pool does not hold.
    #[error("it is about volume {0}, which the pool does not hold")]
    NoSuchVolume(VolumeId),
    /// It lies outside its volume.
    #[error("blocks {first} to {end} lie outside volume {volume}")]
    OutOfRange {
        /// The volume.
        volume: VolumeId,
        /// First block.
        first: u64,
        /// Block after the last.
        end: u64,
    },
    /// The version tree refuses it.
    #[error(transparent)]
    Version(#[from] VersionError),
    /// It makes or clones a volume, and its parameters cannot be read.
    #[error("its volume parameters cannot be read")]
    Parameters,
}

#[derive(Debug)]
pub(crate) struct Contents {
    pub map: Map,
    pub segments: Segments,
    pub volumes: BTreeMap<VolumeId, VolumeState>,
    pub snapshots: BTreeMap<SnapshotId, SnapshotState>,
    /// The same by their volumes.
    snapshots_of: BTreeSet<(VolumeId, SnapshotId)>,
    dead: Vec<Location>,
}

impl Contents {
    pub fn new(map: Map, segments: Segments) -> Self {
        Self {
            map,
            segments,
            volumes: BTreeMap::new(),
            snapshots: BTreeMap::new(),
            snapshots_of: BTreeSet::new(),
            dead: Vec::new(),
        }
    }

    fn bury(&mut self, lsn: Lsn) {
        for location in self.dead.drain(..) {
            self.segments.remove_live(location, lsn);
        }
    }

    /// Blocks from `first` now lie at `location`. The range lies in the volume.
    pub fn set(
        &mut self,
        volume: VolumeId,
        first: BlockIndex,
        location: Location,
        checksums: &[Checksum],
        stamp: (WriteSeq, Lsn),
    ) {
        let (seq, lsn) = stamp;
        let state = self.volumes.get_mut(&volume).expect("the caller looked the volume up");
        state.note(seq);
        let count = u32::try_from(checksums.len()).expect("at most a batch");
        self.segments.add_live(location, count);
        self.map.set(state.version, first, location, checksums, seq, &mut self.dead);
        self.bury(lsn);
    }

    /// A group, which the volume has, now holds what lies at `placed`, and nothing else.
    pub fn replace_group(&mut self, volume: VolumeId, placed: PlacedGroup<'_>, born: WriteSeq, lsn: Lsn) {
        let state = self.volumes.get_mut(&volume).expect("the caller looked the volume up");
        state.note(born);
        if !placed.crcs.is_empty() {
            self.segments.add_live(placed.location, placed.mapped.count_ones());
        }
        self.map.replace_group(state.version, placed, born, &mut self.dead);
        self.bury(lsn);
    }

    /// Groups that were changed after `restamp.after` count as changed by `restamp.seq`.
    pub fn restamp(&mut self, volume: VolumeId, restamp: Restamp) {
        let state = self.volumes.get_mut(&volume).expect("the caller looked the volume up");
        state.note(restamp.seq);
        self.map.restamp(state.version, restamp);
    }

    /// The range, which lies in the volume, reads as zeroes.
    pub fn zero(&mut self, volume: VolumeId, range: BlockRange, seq: WriteSeq, lsn: Lsn) {
        let state = self.volumes.get_mut(&volume).expect("the caller looked the volume up");
        state.note(seq);
        self.map.zero(state.version, range, seq, &mut self.dead);
        self.bury(lsn);
    }

    /// A block moved. Whether anybody still held it.
    pub fn relocate(&mut self, writer: VolumeId, block: BlockIndex, from: Location, to: Location, lsn: Lsn) -> bool {
        let moved = self.map.relocate(writer, block, from, to);
        if moved {
            self.segments.add_live(to, 1);
            self.segments.remove_live(from, lsn);
        }
        moved
    }

    pub fn create(&mut self, id: VolumeId, name: &str, size_bytes: u64) -> Result<(), VersionError> {
        let end = BlockIndex(size_bytes / BLOCK_BYTES as u64);
        let version = self.map.create_head(id, end)?;
        self.insert_volume(id, name, size_bytes, version);
        Ok(())
    }

    pub fn clone_from(
        &mut self,
        source: Source,
        id: VolumeId,
        name: &str,
        size_bytes: u64,
    ) -> Result<(), VersionError> {
        let end = BlockIndex(size_bytes / BLOCK_BYTES as u64);
        let version = self.map.clone_from(source, id, end)?;
        let origin = match source {
            Source::Snapshot(snapshot) => self.snapshots.get(&snapshot).map(|state| state.seq),
            Source::Head(_) => None,
        };
        self.insert_volume(id, name, size_bytes, version);
        if let (Some(seq), Some(state)) = (origin, self.volumes.get_mut(&id)) {
            // Its order goes on behind the snapshot's place; and everybody who cloned the same snapshot has the same.
            (state.last_seq, state.stable) = (seq, seq);
        }
        Ok(())
    }

    fn insert_volume(&mut self, id: VolumeId, name: &str, size_bytes: u64, version: VersionId) {
        let state = VolumeState {
            id,
            name: name.to_owned(),
            size_bytes,
            last_seq: WriteSeq::ZERO,
            epoch: Epoch(0),
            stable: WriteSeq::ZERO,
            version,
        };
        self.volumes.insert(id, state);
    }

    pub fn delete(&mut self, id: VolumeId) -> Result<(), VersionError> {
        self.map.delete_head(id)?;
        self.volumes.remove(&id);
        Ok(())
    }

    pub fn snapshot(
        &mut self,
        volume: VolumeId,
        id: SnapshotId,
        seq: WriteSeq,
        end: BlockIndex,
    ) -> Result<(), VersionError> {
        let version = self.map.snapshot_until(volume, id, end)?;
        let state = self.volumes.get_mut(&volume).expect("the map knows the volume");
        state.note(seq);
        let size_bytes = end.0 * BLOCK_BYTES as u64;
        self.insert_snapshot(SnapshotState { id, volume, size_bytes, seq, version });
        Ok(())
    }

    pub fn insert_snapshot(&mut self, state: SnapshotState) {
        self.snapshots_of.insert((state.volume, state.id));
        self.snapshots.insert(state.id, state);
    }

    pub fn snapshots_of(&self, volume: VolumeId) -> impl Iterator<Item = &SnapshotState> {
        let all = (volume, SnapshotId(0))..=(volume, SnapshotId(u64::MAX));
        self.snapshots_of.range(all).filter_map(|(_, id)| self.snapshots.get(id))
    }

    pub fn delete_snapshot(&mut self, id: SnapshotId) -> Result<(), VersionError> {
        self.map.delete_snapshot(id)?;
        if let Some(state) = self.snapshots.remove(&id) {
            self.snapshots_of.remove(&(state.volume, id));
        }
        Ok(())
    }

    pub fn resize(&mut self, volume: VolumeId, size_bytes: u64, seq: WriteSeq) -> Result<(), VersionError> {
        self.map.resize(volume, BlockIndex(size_bytes / BLOCK_BYTES as u64))?;
        let state = self.volumes.get_mut(&volume).expect("the map knows the volume");
        state.size_bytes = size_bytes;
        state.note(seq);
        Ok(())
    }

    pub fn stable(&mut self, volume: VolumeId, seq: WriteSeq) {
        if let Some(state) = self.volumes.get_mut(&volume) {
            state.stable = state.stable.max(seq);
        }
    }

    pub fn epoch(&mut self, volume: VolumeId, epoch: Epoch) {
        if let Some(state) = self.volumes.get_mut(&volume) {
            state.epoch = state.epoch.max(epoch);
        }
    }

    /// Goes on freeing what deleted versions held; answers how many blocks became free, and whether there is more.
    pub fn delete_step(&mut self, budget: usize, lsn: Lsn) -> (u64, Progress) {
        let progress = self.map.delete_step(budget, &mut self.dead);
        let freed = self.dead.len() as u64;
        self.bury(lsn);
        (freed, progress)
    }

    /// Applies an entry found in the log. `location` is that of its first data block.
    pub fn replay(
        &mut self,
        entry: &Entry,
        location: Location,
        checksums: &[Checksum],
        parameters: Option<&VolumeParameters>,
        lsn: Lsn,
    ) -> Result<(), ReplayError> {
        match entry.kind {
            EntryKind::Data => {
                self.check_range(entry)?;
                self.set(entry.volume, entry.first_block(), location, checksums, (entry.seq, lsn));
            }
            EntryKind::Zero => {
                let range = self.check_range(entry)?;
                self.zero(entry.volume, range, entry.seq, lsn);
            }
            EntryKind::Copy => {
                self.check_copy(entry)?;
                let (group, mapped) = (entry.group(), entry.mapped());
                let placed = PlacedGroup { group, mapped, location, crcs: checksums };
                self.replace_group(entry.volume, placed, entry.seq, lsn);
            }
            EntryKind::Restamp => {
                self.find(entry.volume)?;
                self.restamp(entry.volume, Restamp { after: entry.after(), seq: entry.seq });
            }
            EntryKind::Lost => {
                self.check_range(entry)?;
                let checksum = [entry.lost_checksum()];
                self.set(entry.volume, entry.first_block(), location, &checksum, (entry.seq, lsn));
            }
            EntryKind::Reclaim => self.replay_reclaim(entry, location, lsn),
            EntryKind::Map | EntryKind::Root => {}
            EntryKind::Create => {
                let parameters = parameters.ok_or(ReplayError::Parameters)?;
                self.create(entry.volume, &parameters.name, parameters.size_bytes)?;
            }
            EntryKind::Clone => {
                let parameters = parameters.ok_or(ReplayError::Parameters)?;
                let source = clone_source(parameters);
                self.clone_from(source, entry.volume, &parameters.name, parameters.size_bytes)?;
            }
            EntryKind::Delete => {
                self.delete(entry.volume)?;
                self.finish_deletions(lsn);
            }
            EntryKind::Snapshot => {
                let whole = self.find(entry.volume)?.end();
                let end = entry.snapshot_blocks().map_or(whole, BlockIndex);
                self.snapshot(entry.volume, SnapshotId(entry.first), entry.seq, end)?;
            }
            EntryKind::DeleteSnapshot => {
                self.delete_snapshot(SnapshotId(entry.first))?;
                self.finish_deletions(lsn);
            }
            EntryKind::Resize => self.resize(entry.volume, entry.first, entry.seq)?,
            EntryKind::Stable => self.stable(entry.volume, entry.seq),
            EntryKind::Epoch => self.epoch(entry.volume, entry.seq.epoch),
        }
        Ok(())
    }

    /// The live store frees deleted versions step by step and may have reused their segments since; a recovery that
    /// still counted them as live would count blocks of the segments' later use.
    pub fn finish_deletions(&mut self, lsn: Lsn) {
        while self.delete_step(usize::MAX, lsn).1 == Progress::More {}
    }

    fn replay_reclaim(&mut self, entry: &Entry, to: Location, lsn: Lsn) {
        for index in 0..entry.count {
            let block = BlockIndex(entry.first + u64::from(index));
            self.relocate(entry.volume, block, Location(entry.aux).plus(index), to.plus(index), lsn);
        }
    }

    fn find(&self, volume: VolumeId) -> Result<&VolumeState, ReplayError> {
        self.volumes.get(&volume).ok_or(ReplayError::NoSuchVolume(volume))
    }

    fn check_copy(&self, entry: &Entry) -> Result<(), ReplayError> {
        let first = entry.group().0 * u64::from(GROUP_BLOCKS);
        let end = first + u64::from(u64::BITS - entry.mapped().leading_zeros()).max(1);
        let inside = self.find(entry.volume)?.copied_range(entry.group(), entry.mapped());
        inside.map(|_| ()).ok_or(ReplayError::OutOfRange { volume: entry.volume, first, end })
    }

    fn check_range(&self, entry: &Entry) -> Result<BlockRange, ReplayError> {
        let volume = entry.volume;
        let state = self.find(volume)?;
        let end = entry.first.saturating_add(u64::from(entry.count));
        if end > state.end().0 {
            return Err(ReplayError::OutOfRange { volume, first: entry.first, end });
        }
        Ok(BlockRange { first: entry.first_block(), count: BlockCount(entry.count) })
    }
}

/// The blocks of a group that lie before `end`, if there are any.
pub(crate) fn group_range(group: GroupIndex, end: BlockIndex) -> Option<BlockRange> {
    let first = group.0.checked_mul(GROUP_BLOCKS.into())?;
    let count = end.0.checked_sub(first).filter(|left| *left > 0)?.min(GROUP_BLOCKS.into());
    Some(BlockRange::new(first, u32::try_from(count).expect("at most a group")))
}

/// The source that a clone's parameters name.
pub(crate) fn clone_source(parameters: &VolumeParameters) -> Source {
    match parameters.source_snapshot {
        Some(snapshot) => Source::Snapshot(SnapshotId(snapshot)),
        None => Source::Head(VolumeId(parameters.source_volume)),
    }
}
