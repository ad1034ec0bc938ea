//! The vocabulary every other crate speaks: ids, units, requests, errors, checksums and buffers.
//!
//! What is here has one meaning everywhere. A block is 4 KiB; ranges of blocks and ranges of bytes are
//! different types; nothing here does I/O, and nothing here allocates except [`Pages`].

mod ids;
mod outbox;
mod pages;
mod request;
mod units;

pub use ids::{Epoch, Incarnation, Lsn, PoolId, SnapshotId, VolumeId, WriteSeq};
pub use outbox::{Outbox, OutboxSlices};
pub use pages::{PAGE_BYTES, Page, Pages};
pub use request::{Error, Request};
pub use units::{
    BLOCK_BYTES, BLOCK_SHIFT, BlockCount, BlockIndex, BlockRange, ByteRange, Checksum, GROUP_BLOCKS, GroupIndex,
    Instant, PoolOffset, VOLUME_BYTES_MAX,
};
