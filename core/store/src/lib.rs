//! A pool's engine. One [`Store`] owns one pool: a log of batches, and a map from every block of every volume and
//! snapshot to its place in that log. Pure: facts arrive as [`Event`]s and calls, orders leave as [`Effect`]s.
//!
//! Promises: a write that completed is found again after the process is killed; one that completed with `fua`, or
//! before a completed flush, is found again after power loss; what recovery finds is a prefix of the write order;
//! a read gives back exactly what was written last, or fails. FORMAT.md in `layout` says what is on disk.
//!
//! Not here: who may write (`node`), other replicas (`replication`), bytes on disk (`layout`).

pub mod map;

mod ahead;
mod append;
mod blocks;
mod buffers;
mod checkpoint;
mod contents;
mod digest;
mod drive;
mod durability;
mod effect;
mod format;
mod geometry;
mod inspect;
mod io;
mod job;
mod load;
mod log;
mod open;
mod read;
mod reclaim;
mod repair;
mod replay;
mod replica;
mod requests;
mod segments;
mod space;
mod stats;
mod would;
mod zeroing;

pub use blocks::Blocks;
pub use buffers::Payload;
pub use contents::{ReplayError, SnapshotState, VolumeState};
pub use digest::{GroupDigest, HeldBlock};
pub use effect::{
    BlockExtent, DiskError, Effect, Event, IoId, JobId, Outcome, ReadData, Refusal, Report, Token, VersionSpace,
};
pub use format::{FormatError, FormatOptions, Probe, format, probe};
pub use geometry::{Geometry, SEGMENT_PAGES, SEGMENTS_MIN};
pub use inspect::{
    BadBlock, CheckReport, Inspection, SuperblockCopy, VersionFacts, VersionName, check, inspect, volume_checksums,
};
pub use job::{Job, JobOutput, Media};
pub use open::{OpenError, Opened, RecoveryReport, open};
pub use repair::RepairError;
pub use replica::{GroupContent, LostBlocks};
pub use requests::{READ_BLOCKS_MAX, Source, VOLUMES_MAX};
pub use stats::{PoolSpace, Stats};

use block::{BLOCK_BYTES, Instant};

use ahead::Ahead;
use buffers::Buffers;
use checkpoint::Checkpoint;
use contents::Contents;
use durability::Durability;
use io::IoTable;
use log::Log;
use read::Reads;
use reclaim::Reclaim;
use space::Limits;
use zeroing::Zeroing;

/// Largest write: 1 MiB.
pub const BATCH_BLOCKS_MAX: u32 = 256;
const _: () = assert!(BATCH_BLOCKS_MAX as usize == layout::BATCH_BLOCKS_MAX, "a write fits a batch");

/// Boot id of a machine: changes when its device caches may have been lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BootId(pub u128);

/// One pool.
#[derive(Debug)]
pub struct Store {
    geometry: Geometry,
    limits: Limits,
    contents: Contents,
    log: Log,
    io: IoTable,
    reads: Reads,
    ahead: Ahead,
    /// Kept for its memory: pieces of the read that is being started.
    read_runs: Vec<(u32, u32, map::Location)>,
    durability: Durability,
    checkpoint: Checkpoint,
    reclaim: Reclaim,
    zeroing: Zeroing,
    buffers: Buffers,
    effects: Vec<Effect>,
    stats: Stats,
    /// Why the pool takes no more writes.
    poisoned: Option<DiskError>,
    stopping: bool,
    /// Deleted versions are still being taken apart.
    deleting: bool,
    /// Trees that checkpoints froze are still being taken apart.
    releasing: bool,
    freed_blocks: u64,
    next_job: u32,
    jobs_running: usize,
    space_requests: Vec<(JobId, Token)>,
}

/// Leaves of a map (4 MiB of a volume each) that a piece of an answer about differences looks at.
const DIFFERENCE_LEAVES_MAX: usize = 256;

/// What a snapshot is compared with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DifferenceBase {
    /// With nothing: all of its blocks that do not read as zeroes.
    Nothing,
    /// With another snapshot, block by block.
    Snapshot(block::SnapshotId),
    /// With the volume as it was when this was its last change, in groups of 64 blocks: never too little.
    Before(block::WriteSeq),
}

impl Store {
    /// How full the pool is.
    #[must_use]
    pub fn space(&self) -> PoolSpace {
        let bytes = |blocks: u64| blocks * BLOCK_BYTES as u64;
        let segments = &self.contents.segments;
        PoolSpace {
            capacity_bytes: bytes(self.limits.capacity_blocks),
            live_bytes: bytes(segments.live_blocks()),
            free_bytes: bytes(self.free_blocks()),
            map_bytes: bytes(segments.live_map_pages()),
            segments: self.geometry.segments,
            free_segments: segments.free_count(),
            segment_bytes: self.geometry.segment_bytes(),
        }
    }

    /// What the store did since it was opened.
    #[must_use]
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// The shape of the pool.
    #[must_use]
    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// The pool's identity.
    #[must_use]
    pub fn pool(&self) -> block::PoolId {
        self.checkpoint.superblock.pool
    }

    /// Whether a device error ended all writing.
    #[must_use]
    pub fn poisoned(&self) -> Option<DiskError> {
        self.poisoned
    }

    /// A scrub pass begins soon, unless one is under way.
    pub fn scrub(&mut self, now: Instant) {
        self.reclaim.schedule_scrub(now);
    }

    /// Read requests and device operations in flight.
    #[must_use]
    pub fn in_flight(&self) -> (usize, usize) {
        (self.reads.count(), self.io.count())
    }

    /// Buffers worth registering with the kernel, before the first request.
    pub fn preallocated(&mut self) -> Vec<&mut block::Pages> {
        self.buffers.all_mut()
    }

    /// In what a snapshot differs from `base`, from `from` on: a piece of the answer, which takes no longer than a moment.
    ///
    /// # Errors
    /// [`Refusal::NoSuchSnapshot`], also for a base.
    pub fn differences(
        &self,
        snapshot: block::SnapshotId,
        base: DifferenceBase,
        from: block::BlockIndex,
    ) -> Result<map::Differences, Refusal> {
        let version = self.version_of(Source::Snapshot(snapshot))?;
        let base = match base {
            DifferenceBase::Nothing => map::Base::Nothing,
            DifferenceBase::Snapshot(other) => map::Base::Version(self.version_of(Source::Snapshot(other))?),
            DifferenceBase::Before(seq) => map::Base::Before(seq),
        };
        Ok(self.contents.map.differences(version, base, from, DIFFERENCE_LEAVES_MAX))
    }

    /// The groups of a volume or snapshot, from `from` on, that were changed after `since`.
    ///
    /// # Errors
    /// [`Refusal::NoSuchVolume`], [`Refusal::NoSuchSnapshot`].
    pub fn changed(
        &self,
        source: Source,
        since: block::WriteSeq,
        from: block::GroupIndex,
    ) -> Result<map::Changed<'_>, Refusal> {
        let version = self.version_of(source)?;
        Ok(self.contents.map.changed(version, since, from))
    }
}
