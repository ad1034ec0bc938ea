//! What is replicated: a volume's changes in their order.

use std::ops::RangeInclusive;

use block::{BlockRange, GROUP_BLOCKS, SnapshotId, WriteSeq};

/// One change with its place in the order. `P` is how the owner holds the bytes of a write; cloning it must be cheap.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry<P> {
    /// Its place. The epoch is the one in which it was admitted and stays, whoever is primary later.
    pub seq: WriteSeq,
    /// What changes.
    pub change: Change<P>,
    /// It is acknowledged when it is on stable media.
    pub fua: bool,
}

/// What changes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change<P> {
    /// Blocks get new content.
    Write {
        /// Which.
        range: BlockRange,
        /// Their bytes.
        payload: P,
    },
    /// Blocks read as zeroes and take no space.
    Zero {
        /// Which.
        range: BlockRange,
    },
    /// Nothing: it ends when everything before it is on stable media.
    Flush,
    /// No block. What the volume holds here, with everything before it and nothing after it, becomes a snapshot. It ends as a
    /// flush does.
    Snapshot {
        /// Its number.
        id: SnapshotId,
        /// How many blocks it has.
        blocks: u64,
    },
}

impl<P> Entry<P> {
    /// Whether it ends only on stable media.
    #[must_use]
    pub fn is_durable(&self) -> bool {
        self.fua || matches!(self.change, Change::Flush | Change::Snapshot { .. })
    }
}

impl<P> Change<P> {
    /// The blocks it changes.
    #[must_use]
    pub fn range(&self) -> Option<BlockRange> {
        match self {
            Self::Write { range, .. } | Self::Zero { range } => Some(*range),
            Self::Flush | Self::Snapshot { .. } => None,
        }
    }

    /// The blocks whose bytes it carries.
    pub(crate) fn payload_blocks(&self) -> u32 {
        match self {
            Self::Write { range, .. } => range.count.0,
            Self::Zero { .. } | Self::Flush | Self::Snapshot { .. } => 0,
        }
    }

    /// The groups it changes.
    pub(crate) fn groups(&self) -> Option<RangeInclusive<u64>> {
        let range = self.range()?;
        let last = range.end().0.saturating_sub(1).max(range.first.0);
        Some(range.first.0 / u64::from(GROUP_BLOCKS)..=last / u64::from(GROUP_BLOCKS))
    }
}
