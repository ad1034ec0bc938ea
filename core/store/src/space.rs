//! What still fits the pool: how much clients may make live, and how many segments everybody leaves to those who can
//! make room.
//!
//! The rule behind the numbers: whatever was admitted, reclaim can bring the free segments above the floor at which
//! clients go on. With S segments, a reserve of R, live blocks and map pages within the limits below and segments
//! filled as far as is worth the moving, at least R - SLACK - 4 plus the map's own segments come free; the floor is
//! the map's segments, two, and what clients leave.

use block::{BLOCK_BYTES, BlockRange, VolumeId};

use crate::Store;
use crate::effect::Refusal;
use crate::geometry::Geometry;
use crate::map::{RestampCost, VersionId};

/// Free segments that clients leave to reclaim.
const CLIENT_SEGMENTS: u32 = 3;
/// Fewest segments kept from data and map.
const RESERVE_MIN: u32 = 16;
/// Segments of the reserve that the map may grow into when a discard copies nodes, or a version is made.
const SLACK_SEGMENTS: u32 = 2;
/// Pages that the map may grow by when up to a batch of blocks is written: leaves of three pages and what leads there,
/// twice.
const WRITE_GROWTH: u64 = 2 * (3 + 3);
/// Pages that the map may grow by for each shared leaf that is changed.
const LEAF_GROWTH: u64 = 6;
/// Bytes a version, a volume and an alias take in the root table, at most together.
const VERSION_BYTES: u64 = 80 + 200 + 16;

/// Blocks that this node's clients leave to other nodes' primaries, at most: what one has in flight.
const IN_FLIGHT_BLOCKS: u64 = 8192;
/// The part of the pool that is at most.
const IN_FLIGHT_PART: u64 = 32;

/// The part of the reserve that clients leave to crashes: each abandons the open segment.
const CRASH_PART: u32 = 4;

const _: () = assert!(
    RESERVE_MIN - SLACK_SEGMENTS - 4 > 2 + CLIENT_SEGMENTS + RESERVE_MIN / CRASH_PART,
    "what reclaim can free is more than what clients must leave"
);

/// Segments and blocks that are kept from clients, so that reclaim and checkpoints always can go on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Blocks that data and map may take.
    pub capacity_blocks: u64,
    /// Of these, those that this node's clients leave.
    in_flight_blocks: u64,
    /// Blocks beyond that which the map may take when nothing is written.
    slack_blocks: u64,
    /// Free segments that clients leave beside those that a checkpoint needs.
    client_segments: u32,
    /// Free segments below which reclaim runs.
    pub reclaim_below: u32,
    /// Empty segments for whose sake a checkpoint is written early.
    pub worth_a_checkpoint: usize,
}

impl Limits {
    /// A thirty-second of the pool, at least sixteen segments, stays free of data; the others are filled to fifteen
    /// sixteenths at most, for the rest is what reclaim lives on.
    pub fn of(geometry: Geometry) -> Self {
        let reserve = (geometry.segments / 32).max(RESERVE_MIN);
        let blocks = |segments: u32| u64::from(segments) * u64::from(geometry.data_pages()) / 16 * 15;
        let capacity_blocks = blocks(geometry.segments - reserve);
        Self {
            capacity_blocks,
            in_flight_blocks: IN_FLIGHT_BLOCKS.min(capacity_blocks / IN_FLIGHT_PART),
            slack_blocks: blocks(SLACK_SEGMENTS),
            client_segments: CLIENT_SEGMENTS + reserve / CRASH_PART,
            reclaim_below: reserve + (geometry.segments / 32).clamp(2, 64),
            worth_a_checkpoint: (geometry.segments as usize / 64).max(2),
        }
    }
}

impl Store {
    /// Free segments that reclaim leaves: a checkpoint must find room, also one that begins anew after a crash.
    pub(crate) fn reclaim_floor(&self) -> u32 {
        self.checkpoint_segments(0)
    }

    /// Segments that a checkpoint needs if so many pages more must be written anew.
    fn checkpoint_segments(&self, more: u64) -> u32 {
        let pages = self.contents.map.unwritten_pages() + self.checkpoint.uncounted_pages() + self.root_pages() + more;
        let segments = (pages + WRITE_GROWTH).div_ceil(u64::from(self.geometry.data_pages()));
        u32::try_from(segments).unwrap_or(u32::MAX / 2)
    }

    /// Free segments that clients leave.
    pub(crate) fn client_floor(&self) -> u32 {
        self.reclaim_floor() + self.limits.client_segments
    }

    /// Pages of a checkpoint that writes everything.
    fn map_pages(&self) -> u64 {
        self.contents.map.counts().pages + self.root_pages()
    }

    fn root_pages(&self) -> u64 {
        (self.contents.map.versions_count() as u64 * VERSION_BYTES).div_ceil(BLOCK_BYTES as u64)
    }

    /// Blocks that clients may still make live. The map counts twice: a checkpoint writes it beside the last one.
    pub(crate) fn free_blocks(&self) -> u64 {
        self.limits.capacity_blocks.saturating_sub(self.taken_blocks())
    }

    fn taken_blocks(&self) -> u64 {
        self.contents.segments.live_blocks() + 2 * self.map_pages()
    }

    /// Refuses a write that would take more than the pool may hold. An overwrite always fits.
    pub(crate) fn check_space(&self, version: VersionId, range: BlockRange) -> Result<(), Refusal> {
        let free = self.free_blocks();
        let count = u64::from(range.count.0);
        let new = if count + 2 * WRITE_GROWTH <= free { 0 } else { count - self.replaced_by(version, range) };
        if new == 0 || new + 2 * WRITE_GROWTH <= free { Ok(()) } else { Err(self.no_space()) }
    }

    /// Whether the pool is nearly full: what is left is for changes that have their place in a volume's order already, and
    /// that a backup cannot refuse without leaving.
    #[must_use]
    pub fn is_tight(&self) -> bool {
        self.free_blocks() < self.limits.in_flight_blocks
    }

    /// Whether a write to the range takes more of the pool than what it replaces. Unknown volumes take nothing.
    #[must_use]
    pub fn would_grow(&self, volume: VolumeId, range: BlockRange) -> bool {
        let found = self.find_range(volume, range);
        found.is_ok_and(|state| self.replaced_by(state.version, range) < u64::from(range.count.0))
    }

    /// Refuses a client's write that takes more of a pool that is nearly full.
    ///
    /// # Errors
    /// [`Refusal::NoSpace`].
    pub fn check_growth(&self, volume: VolumeId, range: BlockRange) -> Result<(), Refusal> {
        if self.is_tight() && self.would_grow(volume, range) { Err(self.no_space()) } else { Ok(()) }
    }

    /// Blocks that a write to the range would free. Their leaves are no other version's.
    fn replaced_by(&self, version: VersionId, range: BlockRange) -> u64 {
        let map = &self.contents.map;
        let parent = map.version(version).parent();
        let dies = |block: &block::BlockIndex| {
            let held = map.lookup(version, *block);
            held.is_some() && parent.is_none_or(|parent| map.lookup(parent, *block) != held)
        };
        range.blocks().filter(dies).count() as u64
    }

    /// Refuses a discard that would free nothing and only make the map larger than the pool can bear: one of blocks
    /// that a snapshot holds as well.
    pub(crate) fn check_zero_space(&self, version: VersionId, range: BlockRange) -> Result<(), Refusal> {
        let fits = |leaves: u64| 2 * LEAF_GROWTH * leaves <= self.map_room();
        let all = self.contents.map.counts().leaves;
        if fits(all) || fits(self.contents.map.leaves_shared_with_parent(version, range)) {
            return Ok(());
        }
        Err(self.no_space())
    }

    /// Refuses to put `count` blocks in the place of everything in the range, which lies in one leaf, if the pool would
    /// hold more than it may. As with writes, what takes no more than before always fits; as with discards, what frees
    /// nothing may make the map only so much larger.
    pub(crate) fn check_copy_space(&self, version: VersionId, range: BlockRange, count: u32) -> Result<(), Refusal> {
        let (count, free) = (u64::from(count), self.free_blocks());
        if count + 2 * WRITE_GROWTH <= free {
            return Ok(());
        }
        let new = count.saturating_sub(self.replaced_by(version, range));
        let in_place = self.contents.map.has_own_leaf(version, range.first);
        let fits = match new {
            0 => in_place || 2 * LEAF_GROWTH <= self.map_room(),
            _ => new + 2 * WRITE_GROWTH <= free,
        };
        if fits { Ok(()) } else { Err(self.no_space()) }
    }

    /// Refuses to stamp so much anew at once that a checkpoint would not find room for it, or that the copies of what a
    /// snapshot holds as well would overfill the pool.
    pub(crate) fn check_restamp_space(&self, cost: RestampCost) -> Result<(), Refusal> {
        let copies = LEAF_GROWTH * cost.shared;
        let rewritten = (LEAF_GROWTH * cost.leaves).min(self.map_pages() + copies);
        let left = self.checkpoint_segments(rewritten) + self.limits.client_segments;
        let fits = 2 * copies <= self.map_room() && self.contents.segments.free_count() > left;
        if fits { Ok(()) } else { Err(self.no_space()) }
    }

    /// Pages that the map may grow by when nothing is written.
    fn map_room(&self) -> u64 {
        (self.limits.capacity_blocks + self.limits.slack_blocks).saturating_sub(self.taken_blocks())
    }

    /// Refuses a new version when the pool is full to the brim.
    pub(crate) fn check_version_space(&self) -> Result<(), Refusal> {
        let full = self.taken_blocks() + 2 > self.limits.capacity_blocks + self.limits.slack_blocks;
        if full { Err(self.no_space()) } else { Ok(()) }
    }

    fn no_space(&self) -> Refusal {
        Refusal::NoSpace { free_bytes: self.free_blocks() * BLOCK_BYTES as u64 }
    }
}
