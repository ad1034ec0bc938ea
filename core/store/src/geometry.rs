//! How a pool is cut into segments, and what a [`Location`] means in bytes.

use block::{PAGE_BYTES, PoolOffset};
use layout::{BATCH_BLOCKS_MAX, SUPERBLOCK_OFFSETS};

use crate::map::Location;

/// Pages before the first segment: both superblocks and the room around them.
const FIRST_PAGE: u32 = 512;
/// Pages of a segment in every pool we format: 8 MiB.
pub const SEGMENT_PAGES: u32 = 2048;
/// Fewest segments that leave room for data beside the reserve: those of 256 MiB.
pub const SEGMENTS_MIN: u32 = 31;

const _: () = assert!(
    FIRST_PAGE as u64 * PAGE_BYTES as u64 == SUPERBLOCK_OFFSETS[1] + (1 << 20),
    "segments begin after the second superblock's MiB"
);
const _: () = assert!(SEGMENT_PAGES as usize >= 4 * (BATCH_BLOCKS_MAX + 2), "a segment holds several full batches");

/// The shape of a pool.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Geometry {
    /// Pages of a segment.
    pub segment_pages: u32,
    /// Number of segments.
    pub segments: u32,
}

/// A page of a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Spot {
    pub segment: u32,
    pub page: u32,
}

impl Geometry {
    /// As many segments as fit `pool_bytes`, at most what 32-bit locations can name (16 TiB).
    #[must_use]
    pub fn for_pool(pool_bytes: u64, segment_pages: u32) -> Self {
        let pages = (pool_bytes / PAGE_BYTES as u64).min(u64::from(u32::MAX));
        let pages = u32::try_from(pages).expect("just limited");
        Self { segment_pages, segments: pages.saturating_sub(FIRST_PAGE) / segment_pages }
    }

    /// Bytes a pool of this shape uses.
    #[must_use]
    pub fn pool_bytes(&self) -> u64 {
        (u64::from(FIRST_PAGE) + u64::from(self.segments) * u64::from(self.segment_pages)) * PAGE_BYTES as u64
    }

    /// Bytes of a segment.
    #[must_use]
    pub fn segment_bytes(&self) -> u64 {
        u64::from(self.segment_pages) * PAGE_BYTES as u64
    }

    /// Pages of a segment that can hold data when reclaim fills it: the rest are the segment's header, the headers of
    /// its batches, which name at most 91 blocks that lie apart, and their second copies in the summary.
    pub(crate) fn data_pages(&self) -> u32 {
        self.segment_pages - 2 - 2 * self.segment_pages.div_ceil(91)
    }

    pub(crate) fn location(&self, spot: Spot) -> Location {
        Location(FIRST_PAGE + spot.segment * self.segment_pages + spot.page)
    }

    /// Where a location of this pool lies; `None` when it lies in no segment.
    pub(crate) fn spot(&self, location: Location) -> Option<Spot> {
        let page = location.0.checked_sub(FIRST_PAGE)?;
        let segment = page / self.segment_pages;
        (segment < self.segments).then_some(Spot { segment, page: page % self.segment_pages })
    }

    /// The segment of a location that the map holds.
    pub(crate) fn segment_of(&self, location: Location) -> u32 {
        (location.0 - FIRST_PAGE) / self.segment_pages
    }

    pub(crate) fn segment_offset(&self, segment: u32) -> PoolOffset {
        offset_of(self.location(Spot { segment, page: 0 }))
    }
}

/// Byte offset of a location.
pub(crate) fn offset_of(location: Location) -> PoolOffset {
    PoolOffset(u64::from(location.0) * PAGE_BYTES as u64)
}

#[cfg(test)]
mod tests {
    use super::{Geometry, Spot, offset_of};
    use crate::map::Location;
    use block::PoolOffset;

    #[test]
    fn locations_and_spots_are_each_others_inverse() {
        let geometry = Geometry::for_pool(1 << 30, 2048);
        assert_eq!(geometry.segments, 127);
        for spot in [Spot { segment: 0, page: 0 }, Spot { segment: 5, page: 2047 }, Spot { segment: 126, page: 1 }] {
            assert_eq!(geometry.spot(geometry.location(spot)), Some(spot));
        }
        assert_eq!(geometry.spot(Location(511)), None);
        assert_eq!(geometry.spot(geometry.location(Spot { segment: 127, page: 0 })), None);
        assert_eq!(offset_of(geometry.location(Spot { segment: 0, page: 0 })), PoolOffset(2 << 20));
        assert!(geometry.pool_bytes() <= 1 << 30);
    }
}
