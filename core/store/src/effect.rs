//! What goes in and out of a store: events about its device, orders to its device, completions for its owner.

use block::{BLOCK_BYTES, BlockIndex, Checksum, Error, Lsn, Pages, PoolOffset, SnapshotId, VolumeId};

use crate::job::{Job, JobOutput};
use crate::map::Space;
use crate::requests::Source;

/// One device operation in flight. Reused after its completion was handled.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct IoId(pub u32);

/// One background job in flight.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct JobId(pub u32);

/// The owner's mark on a request; comes back in [`Effect::Completed`], never looked at.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Token(pub u64);

/// Why a device operation failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DiskError {
    /// The device reported an error; the number is the operating system's.
    #[error("the device reported error {errno}")]
    Failed {
        /// errno.
        errno: i32,
    },
    /// Fewer bytes were transferred than asked for, and asking again did not help.
    #[error("the device transferred {done_bytes} of {asked_bytes} bytes")]
    Short {
        /// Bytes transferred.
        done_bytes: usize,
        /// Bytes asked for.
        asked_bytes: usize,
    },
}

/// Something that happened to the store's device.
#[derive(Debug)]
pub enum Event {
    /// An [`Effect::Write`] ended.
    Written {
        /// Which.
        io: IoId,
        /// How.
        result: Result<(), DiskError>,
    },
    /// An [`Effect::Read`] ended.
    ReadEnded {
        /// Which.
        io: IoId,
        /// How.
        result: Result<(), DiskError>,
    },
    /// An [`Effect::Sync`] ended.
    Synced {
        /// Which.
        io: IoId,
        /// How.
        result: Result<(), DiskError>,
    },
    /// An [`Effect::Run`] ended.
    JobEnded {
        /// Which.
        job: JobId,
        /// What it found.
        output: JobOutput,
    },
}

/// What the store wants done. The owner carries effects out in order of arrival but need not wait for one before it
/// starts the next: the store itself waits where order matters.
#[derive(Debug)]
pub enum Effect {
    /// Write [`crate::Store::write_source`] of `io` at `at`.
    Write {
        /// Names the operation and its bytes.
        io: IoId,
        /// Where to.
        at: PoolOffset,
    },
    /// Fill [`crate::Store::read_target`] of `io` from `at`.
    Read {
        /// Names the operation and its buffer.
        io: IoId,
        /// Where from.
        at: PoolOffset,
    },
    /// fdatasync: every write that ended before this order was given must be on stable media when it ends.
    Sync {
        /// Names the operation.
        io: IoId,
    },
    /// Run the job somewhere that may take its time, and answer with [`Event::JobEnded`].
    Run {
        /// Names the job.
        id: JobId,
        /// What to run: [`Job::run`].
        job: Job,
    },
    /// A request ended.
    Completed {
        /// The owner's mark.
        token: Token,
        /// How it ended.
        outcome: Outcome,
    },
    /// Something the operator should know.
    Report(Report),
}

/// How a request ended.
#[derive(Debug)]
pub enum Outcome {
    /// Persisted, or stable when that was asked for.
    Done,
    /// The bytes that were asked for.
    Read(ReadData),
    /// A version's space.
    Space(VersionSpace),
    /// It failed.
    Failed(Error),
}

/// Space that a volume or snapshot takes, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct VersionSpace {
    /// Allocated in it, shared or not.
    pub logical_bytes: u64,
    /// Held by nothing else.
    pub exclusive_bytes: u64,
    /// Held by other versions as well.
    pub shared_bytes: u64,
    /// Comes back when it is deleted.
    pub reclaimable_bytes: u64,
}

impl VersionSpace {
    pub(crate) fn of(space: Space) -> Self {
        let bytes = |blocks: u64| blocks * BLOCK_BYTES as u64;
        Self {
            logical_bytes: bytes(space.logical),
            exclusive_bytes: bytes(space.exclusive),
            shared_bytes: bytes(space.logical - space.exclusive),
            reclaimable_bytes: bytes(space.reclaimable),
        }
    }
}

/// The blocks a read asked for. Holes are zeroed in the buffer as well.
#[derive(Debug)]
pub struct ReadData {
    /// The blocks, from the buffer's first byte. The buffer may be longer. Give it back with
    /// [`crate::Store::recycle`].
    pub buffer: Pages,
    /// Runs of blocks that hold data (`hole == false`) or nothing, in order; empty when all is data.
    pub extents: Vec<BlockExtent>,
    /// Blocks that are not what was written, counted from the first, and what they should add up to; ascending. Only for
    /// [`crate::Store::read_group_with_lost`]: any other read fails then.
    pub lost: Vec<(u32, Checksum)>,
}

impl ReadData {
    /// Which of the blocks hold data, bit i for block i, when `count` blocks were asked for: at most 64, as of a group.
    #[must_use]
    pub fn mapped(&self, count: u32) -> u64 {
        let ones = |count: u32| u64::MAX.checked_shr(u64::BITS - count).unwrap_or(0);
        if self.extents.is_empty() {
            return ones(count);
        }
        let add = |(bits, first): (u64, u32), extent: &BlockExtent| {
            let data = if extent.hole { 0 } else { ones(extent.count) << first };
            (bits | data, first + extent.count)
        };
        self.extents.iter().fold((0, 0), add).0
    }
}

/// Consecutive blocks that are all allocated, or all not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlockExtent {
    /// How many blocks.
    pub count: u32,
    /// Whether they read as zeroes and take no space.
    pub hole: bool,
}

/// News for the operator. The store has already acted on it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Report {
    /// The device failed a write or a sync. The pool takes no more writes until it is opened anew.
    Poisoned {
        /// What the device said.
        error: DiskError,
        /// What was being done.
        during: &'static str,
    },
    /// A block did not match its checksum, or the device could not read it.
    BadBlock {
        /// Where it lies.
        at: PoolOffset,
        /// Which block of which volume or snapshot it is, where that is known: what a read asked for, or what holds it now;
        /// the volume, if that holds it as well.
        block: Option<(Source, BlockIndex)>,
        /// Whether the checksum differed (else the device failed the read).
        mismatch: bool,
    },
    /// A checkpoint was completed.
    Checkpointed {
        /// The first batch a recovery would replay.
        replay_from: Lsn,
        /// Map pages written for it.
        map_pages: u64,
    },
    /// A scrub pass over the whole pool ended.
    Scrubbed {
        /// Blocks verified.
        blocks: u64,
        /// Blocks that were bad.
        bad_blocks: u64,
    },
    /// A deleted volume's or snapshot's space is all back.
    Freed {
        /// Blocks that became free.
        blocks: u64,
    },
}

/// Why the store did not take a request. Nothing was changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// The pool is full up to its reserve.
    #[error("the pool is full: {free_bytes} bytes are left for data")]
    NoSpace {
        /// What is left.
        free_bytes: u64,
    },
    /// A write or sync failed before; see [`Report::Poisoned`].
    #[error("the pool stopped taking writes after a device error")]
    Poisoned,
    /// Too much is in flight: ask again when [`crate::Store::has_room`] says so.
    #[error("too much is in flight")]
    Busy,
    /// No such volume.
    #[error("volume {0} is not in this pool")]
    NoSuchVolume(VolumeId),
    /// No such snapshot.
    #[error("snapshot {0} is not in this pool")]
    NoSuchSnapshot(SnapshotId),
    /// The id or name is taken.
    #[error("the id or name is taken")]
    Exists,
    /// Past the end of the volume, or a size that cannot be.
    #[error("the range or size lies outside what the volume allows")]
    OutOfRange,
    /// The pool holds as many volumes and snapshots as it can.
    #[error("the pool holds its maximum of volumes and snapshots")]
    TooMany,
}
