//! Changing a head: the hot path.

use std::mem;

use block::{BlockCount, BlockIndex, BlockRange, Checksum, GROUP_BLOCKS, GroupIndex, WriteSeq};

use super::entry::{Entry, LEAF_BLOCKS, LeafIndex, Location, first_of_group, offset_in_leaf};
use super::leaf::Leaf;
use super::slots::Slots;
use super::tree::Tree;
use super::version::{Kind, VersionId};
use super::versions::Map;

/// What a group of blocks is to hold.
#[derive(Clone, Copy, Debug)]
pub struct PlacedGroup<'a> {
    /// Which.
    pub group: GroupIndex,
    /// Bit i is set when block i holds data. No bit past the end of the volume is.
    pub mapped: u64,
    /// Where the first of those blocks lies. The others lie behind it, in order.
    pub location: Location,
    /// Of those blocks, in order.
    pub crcs: &'a [Checksum],
}

/// The part of a range that lies in one leaf.
struct Piece {
    leaf: LeafIndex,
    /// First block, counted from the leaf's.
    offset: usize,
    /// Number of blocks.
    count: usize,
}

impl Piece {
    fn first_of(range: BlockRange) -> Self {
        let offset = offset_in_leaf(range.first);
        let count = (LEAF_BLOCKS - offset).min(range.count.0 as usize);
        Self { leaf: LeafIndex::of(range.first), offset, count }
    }

    /// What of `range` lies in `leaf`, with which the range has a block in common.
    fn of(range: BlockRange, leaf: LeafIndex) -> Self {
        let first = range.first.max(leaf.first_block());
        Self::first_of(rest(range, first))
    }
}

/// The range without what lies before `first`.
fn rest(range: BlockRange, first: BlockIndex) -> BlockRange {
    let count = u32::try_from(range.end().0 - first.0).expect("a part of a range is no longer than it");
    BlockRange { first, count: BlockCount(count) }
}

impl Map {
    /// The blocks from `first` on, one for each checksum, lie at `location` and behind it from now on. These places
    /// were not live before and are now; each place that died is appended to `dead`. Where a block lies already at its
    /// place, as when a log entry is applied twice, nothing dies.
    ///
    /// `head` is a head and holds the blocks: the owner has checked that.
    pub fn set(
        &mut self,
        head: VersionId,
        first: BlockIndex,
        location: Location,
        crcs: &[Checksum],
        seq: WriteSeq,
        dead: &mut Vec<Location>,
    ) {
        let count = u32::try_from(crcs.len()).expect("a write is at most 2^32 bytes");
        let mut range = BlockRange { first, count: BlockCount(count) };
        debug_assert!(count == 0 || !location.is_none(), "data lies somewhere");
        let mut tree = self.take_head(head, range);
        let (mut location, mut crcs) = (location, crcs);
        while range.count.0 > 0 {
            let piece = Piece::first_of(range);
            let (now, later) = crcs.split_at(piece.count);
            let inherited = inherited(&self.slots, head, piece.leaf);
            tree.change_leaf(piece.leaf, &mut self.ledger, |leaf| {
                let mut entry = Entry { location, crc: Checksum::default() };
                for (offset, &crc) in (piece.offset..).zip(now) {
                    entry.crc = crc;
                    replace(leaf, offset, entry, inherited, dead);
                    entry.location = entry.location.plus(1);
                }
                leaf.stamp(piece.offset, piece.count, seq);
                location = entry.location;
            });
            crcs = later;
            range = rest(range, BlockIndex(range.first.0 + piece.count as u64));
        }
        self.slots.get_mut(head).tree = tree;
    }

    /// The blocks read as zeroes from now on. Each place that died is appended to `dead`.
    ///
    /// Where the head has no leaf nothing is stamped: no version it descends from held data there, so the content does
    /// not change. Costs about a microsecond for each leaf that exists, whatever the range covers.
    ///
    /// `head` is a head and holds the blocks: the owner has checked that.
    pub fn zero(&mut self, head: VersionId, range: BlockRange, seq: WriteSeq, dead: &mut Vec<Location>) {
        if range.count.0 == 0 {
            return;
        }
        let mut tree = self.take_head(head, range);
        let mut from = LeafIndex::of(range.first);
        while let Some((index, _)) = tree.next_leaf(from).filter(|(index, _)| index.first_block() < range.end()) {
            let piece = Piece::of(range, index);
            let inherited = inherited(&self.slots, head, index);
            tree.change_leaf(index, &mut self.ledger, |leaf| {
                for offset in piece.offset..piece.offset + piece.count {
                    replace(leaf, offset, Entry::HOLE, inherited, dead);
                }
                leaf.stamp(piece.offset, piece.count, seq);
            });
            from = LeafIndex(index.0 + 1);
        }
        self.slots.get_mut(head).tree = tree;
    }

    /// The group's blocks lie where `placed` says from now on and read as zeroes everywhere else; `born` is its newest
    /// change unless it has a newer one. Even an empty group is stamped: what it held elsewhere may have been zeroed
    /// there. Each place that died is appended to `dead`; as with [`Map::set`].
    ///
    /// `head` is a head and the group has a block of it: the owner has checked that.
    pub fn replace_group(
        &mut self,
        head: VersionId,
        placed: PlacedGroup<'_>,
        born: WriteSeq,
        dead: &mut Vec<Location>,
    ) {
        let first = first_of_group(placed.group);
        let left = self.version(head).end.0.saturating_sub(first.0).min(GROUP_BLOCKS.into());
        let range = BlockRange::new(first.0, u32::try_from(left).expect("at most a group"));
        let mut tree = self.take_head(head, range);
        let piece = Piece::first_of(range);
        let inherited = inherited(&self.slots, head, piece.leaf);
        tree.change_leaf(piece.leaf, &mut self.ledger, |leaf| {
            let mut places = (placed.location.0..).map(Location).zip(placed.crcs);
            for bit in 0..piece.count {
                let place = if placed.mapped >> bit & 1 == 1 { places.next() } else { None };
                let entry = place.map_or(Entry::HOLE, |(location, &crc)| Entry { location, crc });
                replace(leaf, piece.offset + bit, entry, inherited, dead);
            }
            leaf.stamp(piece.offset, piece.count, born);
        });
        self.slots.get_mut(head).tree = tree;
    }

    /// The head's tree, to be put back when it was changed.
    fn take_head(&mut self, head: VersionId, range: BlockRange) -> Tree {
        let head = self.slots.get_mut(head);
        assert!(matches!(head.kind, Kind::Head(_)), "only a head is written");
        assert!(range.end() <= head.end, "the range lies in the volume");
        mem::take(&mut head.tree)
    }
}

/// What the head's parent version holds.
fn inherited(slots: &Slots, head: VersionId, index: LeafIndex) -> Option<&Leaf> {
    slots.parent_tree(head)?.leaf(index)
}

/// The old location dies iff the parent version does not hold it.
#[inline]
fn replace(leaf: &mut Leaf, offset: usize, entry: Entry, inherited: Option<&Leaf>, dead: &mut Vec<Location>) {
    let old = leaf.put(offset, entry);
    let stays =
        old.is_none() || old == entry.location || inherited.is_some_and(|parent| parent.location(offset) == old);
    if !stays {
        dead.push(old);
    }
}
