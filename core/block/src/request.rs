//! What a client may ask of a volume, and how it is refused, in no protocol's terms.

use crate::ByteRange;

/// One request. The bytes of a write travel beside it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Request {
    /// Bytes of the range.
    Read {
        /// What to read.
        range: ByteRange,
    },
    /// Store the bytes that come along.
    Write {
        /// Where to.
        range: ByteRange,
        /// Acknowledge only when it is on stable media.
        fua: bool,
    },
    /// Make every write acknowledged before now stable.
    Flush,
    /// The client does not need these bytes any more: whole blocks inside the range read as zeroes afterwards, the
    /// partial blocks at its ends are left alone.
    Discard {
        /// What to forget.
        range: ByteRange,
        /// Acknowledge only when it is on stable media.
        fua: bool,
    },
    /// The whole range, to the byte, reads as zeroes afterwards.
    WriteZeroes {
        /// What to zero.
        range: ByteRange,
        /// Acknowledge only when it is on stable media.
        fua: bool,
        /// Fail with [`Error::Unsupported`] when this would be slower than to write zeroes.
        fast_only: bool,
        /// Keep the space allocated: Plinth allocates at each write anyway, so this changes nothing.
        keep_allocated: bool,
    },
    /// Which parts of the range are allocated.
    BlockStatus {
        /// What to look at.
        range: ByteRange,
        /// Report the first extent only.
        first_only: bool,
    },
    /// Bring the range into a cache. Plinth has none, so it checks the range and does nothing.
    Cache {
        /// What would be cached.
        range: ByteRange,
    },
}

/// Why a request failed. Every frontend has its own number for each.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Error {
    /// Part of the range lies past the end of the volume.
    #[error("the range ends past the end of the volume")]
    OutOfRange,
    /// A change was asked for on a read-only export.
    #[error("the export is read-only")]
    ReadOnly,
    /// The pool has no room for the data; reads, discards and deletes still work.
    #[error("the pool is full; discards and deletes still work and free space")]
    NoSpace,
    /// The device failed, or the data it gave back is not what was written.
    #[error("the device failed or returned damaged data")]
    Media,
    /// The request makes no sense: unknown flags, zero length, bad combination.
    #[error("the request is malformed")]
    Invalid,
    /// A well-formed request that this export does not serve.
    #[error("the request is not supported")]
    Unsupported,
    /// The payload is larger than the advertised maximum.
    #[error("the request is larger than the advertised maximum")]
    TooLarge,
    /// The server is stopping.
    #[error("the server is stopping")]
    ShuttingDown,
}

impl Request {
    /// The range it is about; `None` for a flush.
    #[must_use]
    pub fn range(&self) -> Option<ByteRange> {
        match *self {
            Self::Read { range }
            | Self::Write { range, .. }
            | Self::Discard { range, .. }
            | Self::WriteZeroes { range, .. }
            | Self::BlockStatus { range, .. }
            | Self::Cache { range } => Some(range),
            Self::Flush => None,
        }
    }

    /// Whether it changes the volume.
    #[must_use]
    pub fn changes(&self) -> bool {
        match self {
            Self::Write { .. } | Self::Discard { .. } | Self::WriteZeroes { .. } => true,
            Self::Read { .. } | Self::Flush | Self::BlockStatus { .. } | Self::Cache { .. } => false,
        }
    }
}
