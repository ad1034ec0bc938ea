//! Quantities: blocks, bytes, places in a pool, checksums, time. No bare integers cross a crate's edge.

use std::fmt;
use std::ops::Add;
use std::time::Duration;

/// Size of a block: the unit of mapping, checksums and device I/O.
pub const BLOCK_BYTES: usize = 1 << BLOCK_SHIFT;
/// log2 of [`BLOCK_BYTES`].
pub const BLOCK_SHIFT: u32 = 12;
/// Largest volume: 64 TiB.
pub const VOLUME_BYTES_MAX: u64 = 64 << 40;

/// Place of a block in a volume, from 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct BlockIndex(pub u64);

/// Blocks of a group: what is changed in one is known by its newest change.
pub const GROUP_BLOCKS: u32 = 64;

/// A group of blocks of a volume, from 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct GroupIndex(pub u64);

/// A number of blocks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct BlockCount(pub u32);

/// Consecutive blocks of a volume.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct BlockRange {
    /// First block.
    pub first: BlockIndex,
    /// How many.
    pub count: BlockCount,
}

/// Consecutive bytes of a volume, as a client names them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ByteRange {
    /// First byte.
    pub offset: u64,
    /// How many; a request of any protocol fits 32 bits.
    pub len_bytes: u32,
}

/// Place of a byte in a pool.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PoolOffset(pub u64);

/// crc32c (Castagnoli) of some bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Checksum(pub u32);

/// Nanoseconds since an arbitrary start that is the same for one process, counted by a clock that does not stop in
/// suspend (`CLOCK_BOOTTIME`). Arrives in events; core never reads a clock.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Instant(pub u64);

impl BlockRange {
    /// `count` blocks from `first`.
    #[must_use]
    pub fn new(first: u64, count: u32) -> Self {
        Self { first: BlockIndex(first), count: BlockCount(count) }
    }

    /// The block after the last one.
    #[must_use]
    pub fn end(self) -> BlockIndex {
        BlockIndex(self.first.0 + u64::from(self.count.0))
    }

    /// Every block of the range.
    pub fn blocks(self) -> impl Iterator<Item = BlockIndex> {
        (self.first.0..self.end().0).map(BlockIndex)
    }

    /// Whether the two have a block in common.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        self.first < other.end() && other.first < self.end()
    }
}

impl ByteRange {
    /// `len_bytes` bytes from `offset`.
    #[must_use]
    pub fn new(offset: u64, len_bytes: u32) -> Self {
        Self { offset, len_bytes }
    }

    /// The byte after the last one; `None` when that is past 2^64, which no volume reaches.
    #[must_use]
    pub fn end(self) -> Option<u64> {
        self.offset.checked_add(u64::from(self.len_bytes))
    }

    /// Whether both ends lie on a block boundary.
    #[must_use]
    pub fn is_aligned(self) -> bool {
        (self.offset | u64::from(self.len_bytes)) & (BLOCK_BYTES as u64 - 1) == 0
    }

    /// The blocks the range touches. The range lies in a volume, so its end fits.
    #[must_use]
    pub fn covering(self) -> BlockRange {
        let first = self.offset >> BLOCK_SHIFT;
        let last = (self.offset + u64::from(self.len_bytes)).div_ceil(BLOCK_BYTES as u64);
        let count = u32::try_from(last.saturating_sub(first)).expect("2^32 bytes are at most 2^20 + 1 blocks");
        BlockRange::new(first, count)
    }

    /// The whole blocks inside the range; the count is 0 when there is none.
    #[must_use]
    pub fn inside(self) -> BlockRange {
        let first = self.offset.div_ceil(BLOCK_BYTES as u64);
        let last = (self.offset + u64::from(self.len_bytes)) >> BLOCK_SHIFT;
        let count = u32::try_from(last.saturating_sub(first)).expect("2^32 bytes are at most 2^20 blocks");
        BlockRange::new(first, count)
    }
}

impl Checksum {
    /// Checksum of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(crc32c::crc32c(bytes))
    }

    /// Checksum of what `self` covered followed by `bytes`.
    #[must_use]
    pub fn then(self, bytes: &[u8]) -> Self {
        Self(crc32c::crc32c_append(self.0, bytes))
    }
}

impl Instant {
    /// Time passed since `earlier`; zero when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(rhs.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl fmt::Display for BlockIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for PoolOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::{BlockRange, ByteRange, Checksum};

    #[test]
    fn covering_and_inside_differ_by_the_partial_blocks() {
        let range = ByteRange::new(4095, 4098);
        assert_eq!(range.covering(), BlockRange::new(0, 3));
        assert_eq!(range.inside(), BlockRange::new(1, 1));
        assert_eq!(ByteRange::new(100, 200).inside().count.0, 0);
        assert_eq!(ByteRange::new(4096, 8192).covering(), ByteRange::new(4096, 8192).inside());
    }

    #[test]
    fn the_checksum_is_castagnolis() {
        // RFC 3720, B.4: 32 bytes of zeroes.
        assert_eq!(Checksum::of(&[0; 32]).0, 0x8a91_36aa);
        assert_eq!(Checksum::of(b"12").then(b"3456789"), Checksum::of(b"123456789"));
    }
}
