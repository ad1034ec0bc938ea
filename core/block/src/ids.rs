//! Names of things. Each is a number that is never used for anything else.

use std::fmt;

/// A volume, unique in its cluster and never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct VolumeId(pub u64);

/// A snapshot, unique in its cluster and never reused. Drawn from another sequence than [`VolumeId`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SnapshotId(pub u64);

/// A pool's identity, drawn at random when the pool is formatted; shown as a UUID.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolId(pub u128);

/// Number of a volume's configuration. Raised at every change, never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Epoch(pub u32);

/// Which life of a replica: raised whenever it forgets what it promised or what was on its way, so at every start.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Incarnation(pub u64);

/// Place of a write in its volume's order: `n` grows by one with every write, across epochs; `epoch` is the one
/// in which the primary assigned it. Two entries with one `n` differ in their epoch, and the higher epoch wins.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct WriteSeq {
    /// Epoch in which the number was assigned.
    pub epoch: Epoch,
    /// The number; 0 stands before every write.
    pub n: u64,
}

/// Log sequence number: place of a batch in its pool's log, grows by one with every batch, starting at 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Lsn(pub u64);

impl WriteSeq {
    /// Before the first write of any volume.
    pub const ZERO: Self = Self { epoch: Epoch(0), n: 0 };

    /// The next place in the order, in the same epoch.
    #[must_use]
    pub fn next(self) -> Self {
        Self { epoch: self.epoch, n: self.n + 1 }
    }
}

impl Lsn {
    /// The batch after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for PoolId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = format!("{:032x}", self.0);
        write!(f, "{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }
}

impl fmt::Debug for PoolId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

macro_rules! displayed_as_number {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    )*};
}
displayed_as_number!(VolumeId, SnapshotId, Epoch, Incarnation, Lsn);

impl fmt::Display for WriteSeq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.n)
    }
}

#[cfg(test)]
mod tests {
    use super::{Epoch, PoolId, WriteSeq};

    #[test]
    fn a_pool_id_is_shown_as_a_uuid() {
        let id = PoolId(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
        assert_eq!(id.to_string(), "01234567-89ab-cdef-0123-456789abcdef");
    }

    #[test]
    fn a_later_epoch_orders_after_any_number_of_an_earlier_one() {
        let ghost = WriteSeq { epoch: Epoch(3), n: 105 };
        let flushed = WriteSeq { epoch: Epoch(4), n: 104 };
        assert!(ghost < flushed);
    }
}
