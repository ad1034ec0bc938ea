//! An entry: one change, 40 bytes of a batch header. What its two arguments mean depends on its kind.

use block::{BlockIndex, Checksum, Epoch, GROUP_BLOCKS, GroupIndex, SnapshotId, VolumeId, WriteSeq};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{Damage, expect_field};

/// Bytes of an entry.
pub(crate) const ENTRY_BYTES: usize = size_of::<RawEntry>();

const _: () = assert!(size_of::<RawEntry>() == 40, "FORMAT.md says 40");
const _: () = assert!(GROUP_BLOCKS == u64::BITS, "a copy has one bit for each block of a group");
const _: () = assert!(
    block::VOLUME_BYTES_MAX >> block::BLOCK_SHIFT <= (GROUP_BLOCKS as u64) << u32::BITS,
    "a copy's number of a group is 32 bits"
);

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy)]
#[repr(C)]
struct RawEntry {
    volume: U64,
    seq: U64,
    epoch: U32,
    kind: u8,
    reserved: [u8; 3],
    first: U64,
    count: U32,
    aux: U32,
}

/// What an entry does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum EntryKind {
    /// `count` blocks from block `first` are the entry's data blocks.
    Data = 1,
    /// `count` blocks from block `first` read as zeroes. No data.
    Zero = 2,
    /// What a group of 64 blocks holds on another replica, holes included; made by [`Entry::copy`].
    Copy = 3,
    /// The entry's blocks moved here from the `count` consecutive locations at `aux`; content and seq are unchanged.
    Reclaim = 4,
    /// Nodes of the block map, for a checkpoint. Nothing to replay.
    Map = 5,
    /// Part of a checkpoint's root table. Nothing to replay.
    Root = 6,
    /// A new volume; one data block holds its [`crate::VolumeParameters`].
    Create = 7,
    /// A new volume that starts as its source; one data block holds its [`crate::VolumeParameters`].
    Clone = 8,
    /// The volume is gone.
    Delete = 9,
    /// The volume as it is now becomes snapshot `first`.
    Snapshot = 10,
    /// Snapshot `first` is gone.
    DeleteSnapshot = 11,
    /// The volume is `first` bytes long.
    Resize = 12,
    /// The volume's common stable point is the entry's seq.
    Stable = 13,
    /// The entry's epoch was seen for the volume.
    Epoch = 14,
    /// What was changed after a place in the volume's order counts as changed by the entry's seq; made by
    /// [`Entry::restamp`].
    Restamp = 15,
    /// Block `first` has a checksum, and no replica has the bytes that add up to it; made by [`Entry::lost`].
    Lost = 16,
}

impl EntryKind {
    fn parse(found: u8) -> Result<Self, Damage> {
        const KINDS: [EntryKind; 16] = [
            EntryKind::Data,
            EntryKind::Zero,
            EntryKind::Copy,
            EntryKind::Reclaim,
            EntryKind::Map,
            EntryKind::Root,
            EntryKind::Create,
            EntryKind::Clone,
            EntryKind::Delete,
            EntryKind::Snapshot,
            EntryKind::DeleteSnapshot,
            EntryKind::Resize,
            EntryKind::Stable,
            EntryKind::Epoch,
            EntryKind::Restamp,
            EntryKind::Lost,
        ];
        let kind = KINDS.into_iter().find(|kind| *kind as u8 == found);
        kind.ok_or(Damage::Field { field: "entry kind", found: found.into() })
    }
}

/// One change, as it stands in a batch header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The volume it belongs to.
    pub volume: VolumeId,
    /// Its place in the volume's write order.
    pub seq: WriteSeq,
    /// What it does.
    pub kind: EntryKind,
    /// First block, or the kind's argument.
    pub first: u64,
    /// Blocks it is about.
    pub count: u32,
    /// The kind's second argument.
    pub aux: u32,
}

impl Entry {
    /// The group holds the entry's data blocks where a bit of `mapped` is set, holes elsewhere, and `born` as its newest
    /// change. The group lies in a volume.
    #[must_use]
    pub fn copy(volume: VolumeId, born: WriteSeq, group: GroupIndex, mapped: u64) -> Self {
        let aux = u32::try_from(group.0).expect("a volume's groups are counted in 32 bits");
        Self { volume, seq: born, kind: EntryKind::Copy, first: mapped, count: mapped.count_ones(), aux }
    }

    /// Every group whose newest change comes after `after` has `seq` as its newest change, or what it has if that is
    /// later. The entry carries `after`, so that replay depends on no other entry.
    #[must_use]
    pub fn restamp(volume: VolumeId, seq: WriteSeq, after: WriteSeq) -> Self {
        Self { volume, seq, kind: EntryKind::Restamp, first: after.n, count: 0, aux: after.epoch.0 }
    }

    /// The volume as it is becomes a snapshot of `size_blocks` blocks: what lies behind them was never written. Not more
    /// than the volume has, which may have grown since somewhere else.
    #[must_use]
    pub fn snapshot(volume: VolumeId, seq: WriteSeq, snapshot: SnapshotId, size_blocks: u64) -> Self {
        let half = |bits: u64| u32::try_from(bits & u64::from(u32::MAX)).expect("masked to 32 bits");
        let (count, aux) = (half(size_blocks), half(size_blocks >> u32::BITS));
        Self { volume, seq, kind: EntryKind::Snapshot, first: snapshot.0, count, aux }
    }

    /// A block of which only the checksum is known. Its data block is a page that cannot be mistaken for it, see
    /// [`crate::lost_page`].
    #[must_use]
    pub fn lost(volume: VolumeId, seq: WriteSeq, block: BlockIndex, checksum: Checksum) -> Self {
        Self { volume, seq, kind: EntryKind::Lost, first: block.0, count: 1, aux: checksum.0 }
    }

    /// What the bytes of a [`EntryKind::Lost`] would have to add up to.
    #[must_use]
    pub fn lost_checksum(&self) -> Checksum {
        Checksum(self.aux)
    }

    /// How many blocks a [`EntryKind::Snapshot`] has; `None` in one by a program that gave it all that its volume had.
    #[must_use]
    pub fn snapshot_blocks(&self) -> Option<u64> {
        Some(u64::from(self.aux) << u32::BITS | u64::from(self.count)).filter(|blocks| *blocks > 0)
    }

    /// The group of a [`EntryKind::Copy`].
    #[must_use]
    pub fn group(&self) -> GroupIndex {
        GroupIndex(self.aux.into())
    }

    /// Which blocks of its group a [`EntryKind::Copy`] brings.
    #[must_use]
    pub fn mapped(&self) -> u64 {
        self.first
    }

    /// The place after which a [`EntryKind::Restamp`] begins.
    #[must_use]
    pub fn after(&self) -> WriteSeq {
        WriteSeq { epoch: Epoch(self.aux), n: self.first }
    }

    /// Which block of the volume data block `index` of the entry is, for the kinds that hold blocks of a volume.
    #[must_use]
    pub fn block(&self, index: u32) -> BlockIndex {
        match self.kind {
            EntryKind::Copy => {
                let later = (0..index).fold(self.mapped(), |bits, _| bits & bits.saturating_sub(1));
                BlockIndex(self.group().0 * u64::from(GROUP_BLOCKS) + u64::from(later.trailing_zeros()))
            }
            EntryKind::Data
            | EntryKind::Reclaim
            | EntryKind::Zero
            | EntryKind::Map
            | EntryKind::Root
            | EntryKind::Create
            | EntryKind::Clone
            | EntryKind::Delete
            | EntryKind::Snapshot
            | EntryKind::DeleteSnapshot
            | EntryKind::Resize
            | EntryKind::Stable
            | EntryKind::Epoch
            | EntryKind::Restamp
            | EntryKind::Lost => BlockIndex(self.first + u64::from(index)),
        }
    }

    /// How many of the batch's data blocks are this entry's.
    #[must_use]
    pub fn data_blocks(&self) -> u32 {
        match self.kind {
            EntryKind::Data | EntryKind::Copy | EntryKind::Reclaim | EntryKind::Map | EntryKind::Root => self.count,
            EntryKind::Create | EntryKind::Clone | EntryKind::Lost => 1,
            EntryKind::Zero
            | EntryKind::Delete
            | EntryKind::Snapshot
            | EntryKind::DeleteSnapshot
            | EntryKind::Resize
            | EntryKind::Stable
            | EntryKind::Epoch
            | EntryKind::Restamp => 0,
        }
    }

    /// The first block, for kinds where that is what `first` means.
    #[must_use]
    pub fn first_block(&self) -> BlockIndex {
        BlockIndex(self.first)
    }

    /// Reads an entry from its [`ENTRY_BYTES`] bytes.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Damage> {
        let raw = RawEntry::ref_from_bytes(bytes).expect("chunks have an entry's size");
        expect_field("reserved bytes of an entry", raw.reserved == [0; 3], 1u64)?;
        let entry = Self {
            volume: VolumeId(raw.volume.get()),
            seq: WriteSeq { epoch: Epoch(raw.epoch.get()), n: raw.seq.get() },
            kind: EntryKind::parse(raw.kind)?,
            first: raw.first.get(),
            count: raw.count.get(),
            aux: raw.aux.get(),
        };
        let counted = entry.kind != EntryKind::Copy || entry.mapped().count_ones() == entry.count;
        expect_field("blocks of a copy", counted, entry.count)?;
        expect_field("blocks of a lost block", entry.kind != EntryKind::Lost || entry.count == 1, entry.count)?;
        Ok(entry)
    }

    pub(crate) fn encode(&self) -> [u8; ENTRY_BYTES] {
        let raw = RawEntry {
            volume: self.volume.0.into(),
            seq: self.seq.n.into(),
            epoch: self.seq.epoch.0.into(),
            kind: self.kind as u8,
            reserved: [0; 3],
            first: self.first.into(),
            count: self.count.into(),
            aux: self.aux.into(),
        };
        zerocopy::transmute!(raw)
    }
}

#[cfg(test)]
mod tests {
    use block::{BlockIndex, Checksum, Epoch, GroupIndex, VolumeId, WriteSeq};

    use super::{Entry, EntryKind};
    use crate::Damage;

    const SEQ: WriteSeq = WriteSeq { epoch: Epoch(3), n: 77 };

    #[test]
    fn a_snapshot_keeps_a_size_of_any_volume() {
        for blocks in [1, 255, u64::from(u32::MAX), 1 << 32, 1 << 34] {
            let entry = Entry::snapshot(VolumeId(1), SEQ, block::SnapshotId(9), blocks);
            assert_eq!((entry.first, entry.snapshot_blocks(), entry.data_blocks()), (9, Some(blocks), 0));
        }
        let older = Entry { count: 0, aux: 0, ..Entry::snapshot(VolumeId(1), SEQ, block::SnapshotId(9), 7) };
        assert_eq!(older.snapshot_blocks(), None);
    }

    #[test]
    fn a_copy_names_the_block_of_each_of_its_data_blocks() {
        let entry = Entry::copy(VolumeId(1), SEQ, GroupIndex(5), 1 << 63 | 0b1010);
        let blocks: Vec<_> = (0..entry.data_blocks()).map(|index| entry.block(index).0).collect();
        assert_eq!(blocks, [5 * 64 + 1, 5 * 64 + 3, 5 * 64 + 63]);
        let full = Entry::copy(VolumeId(1), SEQ, GroupIndex(0), u64::MAX);
        assert!((0..64).all(|index| full.block(index) == BlockIndex(index.into())));
        let data = Entry { kind: EntryKind::Data, first: 9, aux: 0, ..entry };
        assert_eq!(data.block(2), BlockIndex(11));
    }

    #[test]
    fn copies_and_restamps_read_back_as_they_were_written() {
        let last = GroupIndex((1 << 28) - 1);
        for mapped in [0, 1, 0xff00, u64::MAX] {
            let copy = Entry::copy(VolumeId(1), SEQ, last, mapped);
            assert_eq!(Entry::parse(&copy.encode()), Ok(copy));
            assert_eq!((copy.group(), copy.mapped(), copy.data_blocks()), (last, mapped, mapped.count_ones()));
        }
        let after = WriteSeq { epoch: Epoch(2), n: 1 << 40 };
        let restamp = Entry::restamp(VolumeId(1), SEQ, after);
        assert_eq!(Entry::parse(&restamp.encode()), Ok(restamp));
        assert_eq!((restamp.after(), restamp.data_blocks()), (after, 0));
    }

    #[test]
    fn a_lost_block_keeps_its_checksum_and_is_one() {
        let lost = Entry::lost(VolumeId(1), SEQ, BlockIndex(1 << 33), Checksum(0xdead_beef));
        assert_eq!(Entry::parse(&lost.encode()), Ok(lost));
        let found = (lost.block(0), lost.lost_checksum(), lost.data_blocks());
        assert_eq!(found, (BlockIndex(1 << 33), Checksum(0xdead_beef), 1));
        let wrong = Entry { count: 2, ..lost };
        assert_eq!(Entry::parse(&wrong.encode()), Err(Damage::Field { field: "blocks of a lost block", found: 2 }));
    }

    #[test]
    fn a_copy_of_another_number_of_blocks_than_it_maps_is_refused() {
        let wrong = Entry { count: 3, ..Entry::copy(VolumeId(1), SEQ, GroupIndex(5), 0b11) };
        assert_eq!(Entry::parse(&wrong.encode()), Err(Damage::Field { field: "blocks of a copy", found: 3 }));
    }
}
