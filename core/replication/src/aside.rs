//! What replicas of one volume say to each other beside its order: about blocks that were lost, and about being equal.
//!
//! Nothing of it changes what a replica is or promises, and none of it must arrive. Only nodes that can
//! [`crate::wire::ASIDES`] are told any.

use block::{BLOCK_BYTES, BlockIndex, Checksum, GroupIndex, WriteSeq};

use crate::snapshot::Snapshot;

/// Groups that are compared at once: 64 MiB.
pub const COMPARED_GROUPS_MAX: u32 = 256;

/// Something said beside the order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Aside {
    /// A block was lost here whose checksum was this: send it, if you hold just that.
    Want {
        /// Which.
        block: BlockIndex,
        /// Of what is wanted.
        checksum: Checksum,
        /// The snapshot that it was lost of; `None`: the volume.
        of: Option<Snapshot>,
    },
    /// The answer.
    Have {
        /// Which.
        block: BlockIndex,
        /// Of what was wanted.
        checksum: Checksum,
        /// As it was asked.
        of: Option<Snapshot>,
        /// The block; `None` when it holds something else here, or was lost here as well.
        data: Option<Box<[u8; BLOCK_BYTES]>>,
    },
    /// Primary: what do you hold, as of the change that is the last one now?
    Compare {
        /// Comes back.
        id: u64,
        /// The last change, with the epoch in force: the answer is of just this place of the order.
        at: WriteSeq,
        /// The groups meant.
        groups: GroupRange,
        /// Read all of it from the disk and verify it, too.
        reads: bool,
        /// Snapshots of which the same is meant, by rising place.
        snapshots: Vec<Snapshot>,
    },
    /// Member: this.
    Compared {
        /// Of the question.
        id: u64,
        /// `None` when it was not at that place.
        found: Option<Found>,
    },
}

/// Consecutive groups: 1 to [`COMPARED_GROUPS_MAX`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GroupRange {
    /// The first one.
    pub first: GroupIndex,
    /// How many.
    pub count: u32,
}

/// What a replica holds in some groups.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Found {
    /// Blocks that are not zeroes.
    pub blocks: u64,
    /// Blocks that were read from the disk.
    pub read: u64,
    /// Of those: were not what was written, and were repaired.
    pub repaired: u64,
    /// Of those: were not what was written, and nobody has them.
    pub lost: u64,
    /// For each group a digest of where its blocks are not zeroes, and of their checksums; of the snapshots' groups, too.
    pub digests: Vec<Checksum>,
}
