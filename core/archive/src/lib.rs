//! A snapshot of a volume, or what changed between two, as a stream of bytes: ARCHIVE.md beside this crate's manifest has
//! every byte of it.
//!
//! ```text
//!   Header ── encode ──> Chain ── seal, accept ──> Record ── end
//! ```
//! Promise: what is accepted is what was sealed, in the same order and without gaps, up to the end; whatever the bytes are,
//! nothing here panics or holds more than a record. Not here: where the bytes come from, and the data itself, which the
//! owner moves and whose checksum it compares.

mod header;
mod record;

pub use header::{HEADER_BYTES, Header, NAME_BYTES_MAX};
pub use record::{Chain, DATA_BLOCKS_MAX, RECORD_BYTES, Record};

use block::Checksum;

/// Version of the format.
pub const VERSION: u16 = 1;

/// Why bytes are not an archive, or not the one that began.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Fault {
    /// No archive.
    #[error("it begins with {found:#018x}, and an archive begins with \"PLNARCHV\"; is it the right file?")]
    Magic {
        /// What is there.
        found: u64,
    },
    /// Of a later release.
    #[error("it is an archive of version {found}, and this program reads version {VERSION}; use a newer plinth")]
    Version {
        /// What is there.
        found: u16,
    },
    /// Not what was written.
    #[error(
        "{what} has checksum {computed}, and {stored} was written: it was damaged on its way, or a part is missing"
    )]
    Checksum {
        /// The header or a record.
        what: &'static str,
        /// What its bytes add up to.
        computed: Checksum,
        /// What it says.
        stored: Checksum,
    },
    /// What no export writes.
    #[error("{what} is {found}, which no export writes; the archive is of no use")]
    Field {
        /// Which field.
        what: &'static str,
        /// What it holds.
        found: u64,
    },
}

fn field(what: &'static str, found: impl Into<u64>) -> Fault {
    Fault::Field { what, found: found.into() }
}
