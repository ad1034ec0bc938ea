//! Snapshots of a volume: each is a place in its order, and what every replica held there.

use block::{SnapshotId, WriteSeq};

/// Snapshots of one volume: with more of them no other is made.
pub const SNAPSHOTS_MAX: usize = 1024;

/// A snapshot. Two of the same number that were cut at different places are different: one of them is not of this order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Snapshot {
    /// Its place: it holds every change before it, and none after it.
    pub at: WriteSeq,
    /// Its number.
    pub id: SnapshotId,
    /// How many blocks the volume had there, as the primary knew it: it may have grown elsewhere by then.
    pub blocks: u64,
}

impl Snapshot {
    /// Whether it is the same one.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        (self.id, self.at) == (other.id, other.at)
    }
}
