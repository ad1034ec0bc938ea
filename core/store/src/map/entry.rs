//! What the map says about a block, and about a node of its own.

use block::{BlockIndex, Checksum, GROUP_BLOCKS, GroupIndex};

/// Blocks a leaf covers.
pub const LEAF_BLOCKS: usize = 1024;
/// Groups of a leaf, each with one stamp.
pub(super) const LEAF_GROUPS: usize = LEAF_BLOCKS / GROUP_BLOCKS as usize;
/// Children of an inner node.
pub const FANOUT: usize = 256;

const LEAF_SHIFT: u32 = LEAF_BLOCKS.trailing_zeros();
const GROUP_SHIFT: u32 = GROUP_BLOCKS.trailing_zeros();
const LEVEL_SHIFT: u32 = FANOUT.trailing_zeros();

/// Level of the root that covers the largest volume: 3 levels above the leaves, 2^24 leaves.
pub const LEVEL_MAX: u8 = 3;

const _: () = assert!(LEAF_BLOCKS.is_multiple_of(GROUP_BLOCKS as usize), "groups do not straddle leaves");
const _: () = assert!(
    block::VOLUME_BYTES_MAX >> block::BLOCK_SHIFT == 1 << (LEAF_SHIFT + LEVEL_SHIFT * LEVEL_MAX as u32),
    "the highest tree covers the largest volume exactly"
);

/// Place in the pool in blocks of 4 KiB. 0 is nowhere: not mapped, reads as zeroes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Location(pub u32);

/// Where a block lies and what its bytes must check against.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C, align(8))]
pub struct Entry {
    /// Where.
    pub location: Location,
    /// crc32c of the 4 KiB.
    pub crc: Checksum,
}

/// Where the newest checkpointed copy of a node lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DiskRef {
    /// First page.
    pub at: Location,
    /// How many pages.
    pub pages: u8,
    /// crc32c of the encoded node.
    pub crc: Checksum,
}

/// Position of a node in any tree: the `index`-th of its level, counted from the volume's start. Level 0 are leaves.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Place {
    /// Height above the leaves.
    pub level: u8,
    /// Which of the level.
    pub index: u32,
}

/// Number of a leaf in a volume.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct LeafIndex(pub u32);

impl Location {
    /// Nothing is mapped.
    pub const NONE: Self = Self(0);

    /// Whether nothing is mapped.
    #[must_use]
    pub fn is_none(self) -> bool {
        self == Self::NONE
    }

    /// `count` blocks further.
    #[must_use]
    pub fn plus(self, count: u32) -> Self {
        Self(self.0 + count)
    }
}

impl Entry {
    /// Reads as zeroes.
    pub const HOLE: Self = Self { location: Location::NONE, crc: Checksum(0) };

    /// Whether the block reads as zeroes and takes no space.
    #[must_use]
    pub fn is_hole(self) -> bool {
        self.location.is_none()
    }
}

impl Place {
    pub(super) fn of_leaf(index: LeafIndex) -> Self {
        Self { level: 0, index: index.0 }
    }

    /// Lowest level of a root above this place.
    pub(super) fn level_covering(self) -> u8 {
        let bits = u32::BITS - self.index.leading_zeros();
        self.level + u8::try_from(bits.div_ceil(LEVEL_SHIFT)).expect("32 bits are 4 levels")
    }

    /// Which child to take at a node of `level`, above this place, to come nearer.
    pub(super) fn child_at(self, level: u8) -> usize {
        (self.index >> span_shift(level - 1 - self.level)) as usize % FANOUT
    }
}

/// log2 of how many nodes lie below one, `levels` further down.
pub(super) fn span_shift(levels: u8) -> u32 {
    LEVEL_SHIFT * u32::from(levels)
}

impl LeafIndex {
    pub(super) fn of(block: BlockIndex) -> Self {
        Self(u32::try_from(block.0 >> LEAF_SHIFT).expect("the largest volume has 2^24 leaves"))
    }

    pub(super) fn first_block(self) -> BlockIndex {
        BlockIndex(u64::from(self.0) << LEAF_SHIFT)
    }
}

/// First block of a group.
pub(super) fn first_of_group(group: GroupIndex) -> BlockIndex {
    BlockIndex(group.0 << GROUP_SHIFT)
}

/// Place of a group in its leaf.
pub(super) fn group_in_leaf(group: GroupIndex) -> usize {
    usize::try_from(group.0 % LEAF_GROUPS as u64).expect("fewer than a leaf has")
}

/// Place of a block in its leaf.
pub(super) fn offset_in_leaf(block: BlockIndex) -> usize {
    usize::try_from(block.0 % LEAF_BLOCKS as u64).expect("less than 1024")
}
