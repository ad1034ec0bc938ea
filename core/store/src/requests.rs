//! What a store's owner may ask. Every call is checked whole before anything changes; afterwards it cannot fail but by
//! the device.

use block::{BLOCK_BYTES, BlockCount, BlockIndex, BlockRange, Error, PAGE_BYTES, SnapshotId, VolumeId, WriteSeq};
use layout::{BATCH_BLOCKS_MAX, Entry, EntryKind, VOLUME_NAME_BYTES_MAX, VolumeParameters};

use crate::Store;
use crate::blocks::Blocks;
use crate::buffers::Payload;
use crate::contents::{SnapshotState, VolumeState, clone_source};
use crate::effect::{BlockExtent, Effect, Outcome, Refusal, Token};
use crate::job::Work;
use crate::map::{Kind, Run, VersionError, VersionId};
use crate::read::{ReadKind, push_extent};

/// Largest read: 32 MiB.
pub const READ_BLOCKS_MAX: u32 = 8192;
/// Volumes of a pool.
pub const VOLUMES_MAX: usize = 16 << 10;

/// What a read or a clone starts from.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Source {
    /// A volume as it is now.
    Volume(VolumeId),
    /// A snapshot.
    Snapshot(SnapshotId),
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Volume(volume) => write!(f, "volume {volume}"),
            Self::Snapshot(snapshot) => write!(f, "snapshot {snapshot}"),
        }
    }
}

impl From<VolumeId> for Source {
    fn from(volume: VolumeId) -> Self {
        Self::Volume(volume)
    }
}

impl Store {
    /// Every volume.
    pub fn volumes(&self) -> impl Iterator<Item = &VolumeState> {
        self.contents.volumes.values()
    }

    /// One volume.
    #[must_use]
    pub fn volume(&self, id: VolumeId) -> Option<&VolumeState> {
        self.contents.volumes.get(&id)
    }

    /// One snapshot.
    #[must_use]
    pub fn snapshot_state(&self, id: SnapshotId) -> Option<&SnapshotState> {
        self.contents.snapshots.get(&id)
    }

    /// The snapshots from this number on, by their numbers.
    pub fn snapshots_from(&self, first: SnapshotId) -> impl Iterator<Item = &SnapshotState> {
        self.contents.snapshots.range(first..).map(|(_, state)| state)
    }

    /// The snapshots of a volume, by their numbers.
    pub fn snapshots_of(&self, volume: VolumeId) -> impl Iterator<Item = &SnapshotState> {
        self.contents.snapshots_of(volume)
    }

    /// How many deleted snapshots are kept in the tree because a volume and others began as them, above this one.
    #[must_use]
    pub fn branch_points(&self, volume: VolumeId) -> u32 {
        let map = &self.contents.map;
        let parent = |id: &VersionId| map.version(*id).parent();
        let above = std::iter::successors(map.head(volume).and_then(|head| parent(&head)), parent);
        let is_one = |id: &VersionId| map.version(*id).kind() == Kind::Hidden && map.version(*id).children().len() > 1;
        u32::try_from(above.filter(is_one).count()).unwrap_or(u32::MAX)
    }

    /// Every snapshot.
    pub fn snapshots(&self) -> impl Iterator<Item = &SnapshotState> {
        self.contents.snapshots.values()
    }

    /// Makes an empty volume. Ends when it is stable.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn create_volume(&mut self, id: VolumeId, name: &str, size_bytes: u64, token: Token) -> Result<(), Refusal> {
        self.check_room()?;
        self.check_new_volume(id, name, size_bytes)?;
        self.contents.create(id, name, size_bytes).map_err(refusal)?;
        let parameters =
            VolumeParameters { name: name.to_owned(), size_bytes, source_snapshot: None, source_volume: 0 };
        self.append_parameters(EntryKind::Create, id, &parameters, token);
        Ok(())
    }

    /// Makes a volume that starts as its source, of the same size or larger. Ends when it is stable.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn clone_volume(
        &mut self,
        source: Source,
        id: VolumeId,
        name: &str,
        size_bytes: u64,
        token: Token,
    ) -> Result<(), Refusal> {
        self.check_room()?;
        self.check_new_volume(id, name, size_bytes)?;
        let (source_snapshot, source_volume) = match source {
            Source::Snapshot(snapshot) => (Some(snapshot.0), 0),
            Source::Volume(volume) => (None, volume.0),
        };
        let parameters = VolumeParameters { name: name.to_owned(), size_bytes, source_snapshot, source_volume };
        self.contents.clone_from(clone_source(&parameters), id, name, size_bytes).map_err(refusal)?;
        self.append_parameters(EntryKind::Clone, id, &parameters, token);
        Ok(())
    }

    fn check_new_volume(&self, id: VolumeId, name: &str, size_bytes: u64) -> Result<(), Refusal> {
        let taken = self.volumes().any(|volume| volume.id == id || volume.name == name);
        if taken {
            return Err(Refusal::Exists);
        }
        if self.contents.volumes.len() >= VOLUMES_MAX {
            return Err(Refusal::TooMany);
        }
        self.check_version_space()?;
        let named = !name.is_empty() && name.len() <= VOLUME_NAME_BYTES_MAX;
        if named && is_volume_size(size_bytes) { Ok(()) } else { Err(Refusal::OutOfRange) }
    }

    fn append_parameters(&mut self, kind: EntryKind, id: VolumeId, parameters: &VolumeParameters, token: Token) {
        let mut page = [0; PAGE_BYTES];
        parameters.encode(&mut page);
        self.append_change(Entry { volume: id, seq: WriteSeq::ZERO, kind, first: 0, count: 1, aux: 0 }, &page);
        self.wait_for_batch(token, true);
    }

    /// Deletes a volume: it is gone at once, its space comes back in steps. Ends when the deletion is stable.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn delete_volume(&mut self, id: VolumeId, token: Token) -> Result<(), Refusal> {
        self.check_room()?;
        self.contents.delete(id).map_err(refusal)?;
        self.append_control(EntryKind::Delete, id, WriteSeq::ZERO, 0, token);
        self.deleting = true;
        Ok(())
    }

    /// Makes a volume larger. Ends when that is stable.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn resize_volume(&mut self, id: VolumeId, seq: WriteSeq, size_bytes: u64, token: Token) -> Result<(), Refusal> {
        self.check_room()?;
        if !is_volume_size(size_bytes) {
            return Err(Refusal::OutOfRange);
        }
        self.contents.resize(id, size_bytes, seq).map_err(refusal)?;
        self.append_control(EntryKind::Resize, id, seq, size_bytes, token);
        Ok(())
    }

    /// The volume as it is now becomes a snapshot. Ends when that is stable.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn snapshot(
        &mut self,
        volume: VolumeId,
        seq: WriteSeq,
        snapshot: SnapshotId,
        token: Token,
    ) -> Result<(), Refusal> {
        let size_bytes = self.find(volume)?.size_bytes;
        self.snapshot_sized(volume, seq, snapshot, size_bytes, token)
    }

    /// As [`Store::snapshot`], of a volume that may have grown here and not yet where the snapshot was wanted: the
    /// snapshot ends earlier, and nothing was ever written behind its end.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn snapshot_sized(
        &mut self,
        volume: VolumeId,
        seq: WriteSeq,
        snapshot: SnapshotId,
        size_bytes: u64,
        token: Token,
    ) -> Result<(), Refusal> {
        self.check_room()?;
        self.check_version_space()?;
        if !is_volume_size(size_bytes) {
            return Err(Refusal::OutOfRange);
        }
        let end = BlockIndex(size_bytes / BLOCK_BYTES as u64);
        self.contents.snapshot(volume, snapshot, seq, end).map_err(refusal)?;
        self.append_change(Entry::snapshot(volume, seq, snapshot, end.0), &[]);
        self.wait_for_batch(token, true);
        Ok(())
    }

    /// Whether [`Store::snapshot`] would be taken now.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn would_snapshot(&self, volume: VolumeId, snapshot: SnapshotId) -> Result<(), Refusal> {
        self.check_room()?;
        self.check_version_space()?;
        self.find(volume)?;
        let taken = self.contents.snapshots.contains_key(&snapshot);
        if taken { Err(Refusal::Exists) } else { Ok(()) }
    }

    /// Deletes a snapshot: it is gone at once, its space comes back in steps. Ends when the deletion is stable.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn delete_snapshot(&mut self, snapshot: SnapshotId, token: Token) -> Result<(), Refusal> {
        self.check_room()?;
        self.contents.delete_snapshot(snapshot).map_err(refusal)?;
        self.append_control(EntryKind::DeleteSnapshot, VolumeId(0), WriteSeq::ZERO, snapshot.0, token);
        self.deleting = true;
        Ok(())
    }

    /// Persists a volume's common stable point. Ends when it is persisted.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn stable(&mut self, volume: VolumeId, seq: WriteSeq, token: Token) -> Result<(), Refusal> {
        self.check_room()?;
        self.find(volume)?;
        self.contents.stable(volume, seq);
        self.append_change(control_entry(EntryKind::Stable, volume, seq, 0), &[]);
        self.wait_for_batch(token, false);
        Ok(())
    }

    /// Persists the highest epoch seen for a volume. Ends when it is stable: it is a promise.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn epoch(&mut self, volume: VolumeId, epoch: block::Epoch, token: Token) -> Result<(), Refusal> {
        self.check_room()?;
        self.find(volume)?;
        self.contents.epoch(volume, epoch);
        self.append_control(EntryKind::Epoch, volume, WriteSeq { epoch, n: 0 }, 0, token);
        Ok(())
    }

    fn append_control(&mut self, kind: EntryKind, volume: VolumeId, seq: WriteSeq, first: u64, token: Token) {
        self.append_change(control_entry(kind, volume, seq, first), &[]);
        self.wait_for_batch(token, true);
    }

    /// Writes whole blocks, copied before the call returns. Ends when they are persisted, with `fua`
    /// when they are stable.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn write<'d>(
        &mut self,
        volume: VolumeId,
        seq: WriteSeq,
        first: BlockIndex,
        data: impl Into<Blocks<'d>>,
        fua: bool,
        token: Token,
    ) -> Result<(), Refusal> {
        let data = data.into();
        let (blocks, rest) = (data.len_bytes() / BLOCK_BYTES, data.len_bytes() % BLOCK_BYTES);
        assert!(rest == 0 && (1..=BATCH_BLOCKS_MAX).contains(&blocks), "whole blocks, a batch");
        self.check_write(volume, first, blocks)?;
        self.append_data(volume, seq, first, data);
        self.wait_for_batch(token, fua);
        Ok(())
    }

    /// Memory for a large write of at most [`BATCH_BLOCKS_MAX`] blocks.
    pub fn payload(&mut self, blocks: u32) -> Payload {
        self.buffers.take_payload(blocks as usize)
    }

    /// As [`Store::write`], without a copy. The payload is used up even when it is refused.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn write_payload(
        &mut self,
        volume: VolumeId,
        seq: WriteSeq,
        first: BlockIndex,
        payload: Payload,
        fua: bool,
        token: Token,
    ) -> Result<(), Refusal> {
        if let Err(refusal) = self.check_write(volume, first, payload.blocks) {
            self.buffers.give_batch(payload.pages, true);
            return Err(refusal);
        }
        self.append_payload(volume, seq, first, payload);
        self.wait_for_batch(token, fua);
        Ok(())
    }

    /// Takes a payload back that is not written after all.
    pub fn recycle_payload(&mut self, payload: Payload) {
        self.buffers.give_batch(payload.pages, true);
    }

    fn check_write(&self, volume: VolumeId, first: BlockIndex, blocks: usize) -> Result<(), Refusal> {
        self.check_room()?;
        let count = BlockCount(u32::try_from(blocks).expect("at most a batch"));
        let state = self.find_range(volume, BlockRange { first, count })?;
        self.check_space(state.version, BlockRange { first, count })
    }

    /// The range reads as zeroes and takes no space. Ends when that is persisted, with `fua` when it is stable.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn zero(
        &mut self,
        volume: VolumeId,
        seq: WriteSeq,
        range: BlockRange,
        fua: bool,
        token: Token,
    ) -> Result<(), Refusal> {
        self.check_room()?;
        let version = self.find_range(volume, range)?.version;
        self.check_zero_space(version, range)?;
        self.append_zero(volume, seq, range);
        self.wait_for_batch(token, fua);
        Ok(())
    }

    /// Ends when everything that ended before this call is stable.
    ///
    /// # Errors
    /// [`Refusal::Poisoned`].
    pub fn flush(&mut self, token: Token) -> Result<(), Refusal> {
        if self.poisoned.is_some() {
            return Err(Refusal::Poisoned);
        }
        let persisted = self.log.persisted();
        if self.durability.durable() >= persisted {
            self.complete(token, Outcome::Done);
        } else {
            self.durability.wait(persisted, token);
        }
        Ok(())
    }

    /// Reads blocks. Ends with [`Outcome::Read`].
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn read(&mut self, source: Source, range: BlockRange, token: Token) -> Result<(), Refusal> {
        self.read_as(source, range, ReadKind::Fails, token)
    }

    pub(crate) fn read_as(
        &mut self,
        source: Source,
        range: BlockRange,
        kind: ReadKind,
        token: Token,
    ) -> Result<(), Refusal> {
        let (version, end) = self.find_source(source)?;
        if range.end() > end || range.count.0 == 0 || range.count.0 > READ_BLOCKS_MAX {
            return Err(Refusal::OutOfRange);
        }
        let count = range.count.0 as usize;
        let buffer = self.buffers.take_read(count);
        let read = self.reads.start(token, (source, range.first), kind, buffer);
        let state = self.reads.get(read);
        state.checksums.resize(count, block::Checksum(0));
        let mut runs = std::mem::take(&mut self.read_runs);
        let mut page = 0;
        let mut holes = false;
        for run in self.contents.map.runs(version, range) {
            let (blocks, hole) = match run {
                Run::Hole { count } => {
                    fill_hole(&mut state.buffer, page, count.0);
                    (count.0, true)
                }
                Run::Mapped { entries } => {
                    let blocks = u32::try_from(entries.len()).expect("a run lies in a leaf");
                    let at = entries[0].location;
                    let checksums = &mut state.checksums[page as usize..(page + blocks) as usize];
                    checksums.iter_mut().zip(entries).for_each(|(slot, entry)| *slot = entry.crc);
                    if let Some((bytes, lsn)) = self.log.in_memory(at) {
                        state.copy_in(page, &bytes[..blocks as usize * PAGE_BYTES]);
                        state.depends_on = state.depends_on.max(lsn);
                    } else {
                        runs.push((page, blocks, at));
                    }
                    (blocks, false)
                }
            };
            holes |= hole;
            page += blocks;
            push_extent(&mut state.extents, blocks, hole);
        }
        if !holes {
            state.extents.clear();
        }
        for (page, blocks, at) in runs.drain(..) {
            self.get_blocks(read, page, blocks, at);
        }
        self.read_runs = runs;
        self.read_ahead(version, range);
        self.finish_read(read);
        Ok(())
    }

    /// Which parts of the range are allocated, at most `extents_max` extents from its start.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn block_status(
        &self,
        source: Source,
        range: BlockRange,
        extents_max: usize,
    ) -> Result<Vec<BlockExtent>, Refusal> {
        let (version, end) = self.find_source(source)?;
        if range.end() > end {
            return Err(Refusal::OutOfRange);
        }
        let mut extents = Vec::new();
        for run in self.contents.map.runs(version, range) {
            let (count, hole) = match run {
                Run::Hole { count } => (count.0, true),
                Run::Mapped { entries } => (u32::try_from(entries.len()).expect("a run lies in a leaf"), false),
            };
            push_extent(&mut extents, count, hole);
            if extents.len() > extents_max {
                extents.pop();
                break;
            }
        }
        Ok(extents)
    }

    /// Accounts for the space of one version. Ends with [`Outcome::Space`].
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn request_space(&mut self, source: Source, token: Token) -> Result<(), Refusal> {
        let version = self.version_of(source)?;
        let query = self.contents.map.space_query(version);
        let job = self.run(Work::Space(query));
        self.space_requests.push((job, token));
        Ok(())
    }

    /// Takes the buffer of a read back.
    pub fn recycle(&mut self, buffer: block::Pages) {
        self.buffers.give_read(buffer);
    }

    pub(crate) fn find(&self, volume: VolumeId) -> Result<&VolumeState, Refusal> {
        self.contents.volumes.get(&volume).ok_or(Refusal::NoSuchVolume(volume))
    }

    pub(crate) fn find_range(&self, volume: VolumeId, range: BlockRange) -> Result<&VolumeState, Refusal> {
        let state = self.find(volume)?;
        if range.end() > state.end() || range.count.0 == 0 {
            return Err(Refusal::OutOfRange);
        }
        Ok(state)
    }

    fn find_source(&self, source: Source) -> Result<(VersionId, BlockIndex), Refusal> {
        match source {
            Source::Volume(volume) => {
                let state = self.find(volume)?;
                Ok((state.version, state.end()))
            }
            Source::Snapshot(snapshot) => {
                let state = self.contents.snapshots.get(&snapshot).ok_or(Refusal::NoSuchSnapshot(snapshot))?;
                let version = self.contents.map.version(state.version);
                debug_assert!(matches!(version.kind(), Kind::Snapshot(id) if id == snapshot));
                Ok((state.version, version.end()))
            }
        }
    }

    pub(crate) fn version_of(&self, source: Source) -> Result<VersionId, Refusal> {
        self.find_source(source).map(|(version, _)| version)
    }

    pub(crate) fn complete(&mut self, token: Token, outcome: Outcome) {
        self.effects.push(Effect::Completed { token, outcome });
    }

    pub(crate) fn fail(&mut self, token: Token) {
        self.complete(token, Outcome::Failed(Error::Media));
    }
}

fn fill_hole(buffer: &mut block::Pages, first_page: u32, count: u32) {
    let range = first_page as usize * PAGE_BYTES..(first_page + count) as usize * PAGE_BYTES;
    buffer.bytes_mut()[range].fill(0);
}

fn is_volume_size(size_bytes: u64) -> bool {
    size_bytes > 0 && size_bytes.is_multiple_of(BLOCK_BYTES as u64) && size_bytes <= block::VOLUME_BYTES_MAX
}

fn control_entry(kind: EntryKind, volume: VolumeId, seq: WriteSeq, first: u64) -> Entry {
    Entry { volume, seq, kind, first, count: 0, aux: 0 }
}

fn refusal(error: VersionError) -> Refusal {
    match error {
        VersionError::NoSuchVolume(volume) => Refusal::NoSuchVolume(volume),
        VersionError::NoSuchSnapshot(snapshot) => Refusal::NoSuchSnapshot(snapshot),
        VersionError::VolumeExists(_) | VersionError::SnapshotExists(_) => Refusal::Exists,
        VersionError::Size { .. } => Refusal::OutOfRange,
        VersionError::TooMany => Refusal::TooMany,
    }
}
