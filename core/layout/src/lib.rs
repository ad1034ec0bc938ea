//! Bytes on a pool's disk and the checked records they stand for. The only crate that knows the disk format;
//! `FORMAT.md` beside this crate's manifest describes it.
//!
//! Two stages: `Raw*` structs are the bytes (little-endian, fixed offsets, no padding), the records beside them are
//! what remains after every check. Nothing here does I/O, allocates large buffers or decides anything.

mod batch;
mod entry;
mod lost;
mod node;
mod roots;
mod segment;
mod summary;
mod superblock;

pub use batch::{
    BATCH_BLOCKS_MAX, BatchHeader, BatchRecord, HEADER_BYTES, HeaderWriter, VOLUME_NAME_BYTES_MAX, VolumeParameters,
    entry_room,
};
pub use entry::{Entry, EntryKind};
pub use lost::{is_lost_page, lost_page};
pub use node::{
    GROUP_BLOCKS, GroupEntries, GroupRecord, InnerChild, LEAF_BLOCKS, NodeHeader, NodeKind, NodeReader, NodeWriter,
    inner_bytes, leaf_bytes,
};
pub use roots::{AliasRecord, RootTable, VersionKind, VersionRecord, VolumeRecord};
pub use segment::SegmentHeader;
pub use summary::{Summary, SummaryWriter, summary_pages};
pub use superblock::{Cut, Extent, LogPosition, SUPERBLOCK_OFFSETS, Superblock};

use block::{Checksum, PAGE_BYTES};

/// Version of everything that this crate writes. Raised whenever bytes change their meaning; see FORMAT.md.
pub const FORMAT_VERSION: u16 = 3;
/// The oldest version that it reads.
pub const FORMAT_VERSION_MIN: u16 = 1;

/// Why bytes are not the record they should be. What to do about it is the caller's business.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Damage {
    /// The first bytes are not this record's.
    #[error("magic number {found:#018x} where {expected:#018x} belongs")]
    Magic {
        /// What is there.
        found: u64,
        /// What should be.
        expected: u64,
    },
    /// Written by a version of Plinth this one does not know.
    #[error("format version {found}; this program reads versions {FORMAT_VERSION_MIN} to {FORMAT_VERSION}")]
    Version {
        /// What is there.
        found: u16,
    },
    /// The bytes changed since they were written, or were never wholly written.
    #[error("checksum {computed}, but {stored} was stored")]
    Checksum {
        /// What the bytes add up to.
        computed: Checksum,
        /// What the record says.
        stored: Checksum,
    },
    /// A field has a value that this program never writes.
    #[error("field `{field}` holds {found}")]
    Field {
        /// Which.
        field: &'static str,
        /// What it holds.
        found: u64,
    },
}

/// A page as bytes.
pub type PageBytes = [u8; PAGE_BYTES];

/// Checksum of a record whose own checksum field, 4 bytes at `at`, counts as zero.
fn checksum_without(bytes: &[u8], at: usize) -> Checksum {
    Checksum::of(&bytes[..at]).then(&[0; 4]).then(&bytes[at + 4..])
}

/// Whether this program knows what such bytes mean.
fn check_version(found: u16) -> Result<(), Damage> {
    if (FORMAT_VERSION_MIN..=FORMAT_VERSION).contains(&found) { Ok(()) } else { Err(Damage::Version { found }) }
}

fn expect_field(field: &'static str, ok: bool, found: impl Into<u64>) -> Result<(), Damage> {
    if ok { Ok(()) } else { Err(Damage::Field { field, found: found.into() }) }
}
