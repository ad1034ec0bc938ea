//! What a replica asks about its content, and groups as they travel.

use block::{BLOCK_BYTES, GROUP_BLOCKS, GroupIndex, Pages, SnapshotId, VolumeId, WriteSeq};
use replication::{Content, GroupSet, Lost, Memory, Payload, Snapshot};
use store::{ReadData, SnapshotState, Source, Store};

/// One volume of a store.
pub(super) struct Held<'a> {
    pub store: &'a Store,
    pub volume: VolumeId,
}

impl Content for Held<'_> {
    fn changed_since(&self, seq: WriteSeq) -> GroupSet {
        let changed = self.store.changed(Source::Volume(self.volume), seq, GroupIndex(0));
        changed.into_iter().flatten().map(|changed| changed.group).collect()
    }

    fn snapshots(&self) -> Vec<Snapshot> {
        self.store.snapshots_of(self.volume).map(known).collect()
    }

    fn changed_in(&self, snapshot: SnapshotId, seq: WriteSeq) -> GroupSet {
        let changed = self.store.changed(Source::Snapshot(snapshot), seq, GroupIndex(0));
        changed.into_iter().flatten().map(|changed| changed.group).collect()
    }
}

/// A snapshot of the store as replicas know it.
pub(super) fn known(state: &SnapshotState) -> Snapshot {
    Snapshot { at: state.seq, id: state.id, blocks: state.size_bytes / BLOCK_BYTES as u64 }
}

/// What a group behind the end of everything holds.
pub(super) fn nothing() -> Payload {
    Memory::new(Pages::zeroed(0)).seal(0).with_holes(u64::MAX)
}

/// The content of a group of `blocks` blocks as it was read.
pub(super) fn packed(found: &ReadData, blocks: u32) -> Payload {
    // Blocks behind the volume's end have no data either.
    let holes = !found.mapped(blocks);
    let lost = found.lost.iter().fold(0, |bits, (block, _)| bits | 1_u64 << block);
    let data_blocks = (GROUP_BLOCKS - (holes | lost).count_ones()) as usize;
    let mut memory = Memory::new(Pages::zeroed(data_blocks));
    let data = (0..GROUP_BLOCKS as usize).filter(|block| (holes | lost) & 1 << block == 0);
    for (to, from) in data.enumerate() {
        let source = &found.buffer.bytes()[from * BLOCK_BYTES..(from + 1) * BLOCK_BYTES];
        memory.bytes_mut()[to * BLOCK_BYTES..(to + 1) * BLOCK_BYTES].copy_from_slice(source);
    }
    let content = memory.seal(data_blocks);
    if lost == 0 {
        return content.with_holes(holes);
    }
    let checksums = found.lost.iter().map(|(_, checksum)| *checksum).collect();
    content.with_lost(holes, Lost { blocks: lost, checksums })
}

/// Blocks of a group in what ends at this block.
pub(super) fn blocks_of(group: GroupIndex, end: u64) -> u32 {
    let left = end.saturating_sub(group.0 * u64::from(GROUP_BLOCKS));
    u32::try_from(left.min(u64::from(GROUP_BLOCKS))).expect("at most a group")
}

#[cfg(test)]
mod tests {
    use block::{BLOCK_BYTES, Pages};
    use store::{BlockExtent, ReadData};

    use super::packed;

    #[test]
    fn a_group_travels_without_its_holes_and_what_lies_behind_the_end() {
        let mut buffer = Pages::zeroed(64);
        buffer.bytes_mut().chunks_exact_mut(BLOCK_BYTES).zip(0..).for_each(|(block, number)| block.fill(number));
        let extents = [(3, false), (2, true), (5, false)].map(|(count, hole)| BlockExtent { count, hole }).to_vec();
        let content = packed(&ReadData { buffer, extents, lost: Vec::new() }, 10);
        assert_eq!((content.blocks(), content.holes()), (8, u64::MAX << 10 | 0b11_000));
        let first: Vec<u8> = content.bytes().chunks_exact(BLOCK_BYTES).map(|block| block[0]).collect();
        assert_eq!(first, [0, 1, 2, 5, 6, 7, 8, 9]);
    }

    #[test]
    fn a_full_group_has_no_holes() {
        let content = packed(&ReadData { buffer: Pages::zeroed(64), extents: Vec::new(), lost: Vec::new() }, 64);
        assert_eq!((content.blocks(), content.holes()), (64, 0));
    }
}
