//! Why a store cannot be opened, read or written.

use std::path::PathBuf;

use super::frame::Flaw;
use crate::record::Invalid;

/// A failure. Whatever it is, the voter stops: nothing is retried blindly.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// Another process has it open.
    #[error("{} is in use by another process: stop it, or give this voter a folder of its own", .0.display())]
    InUse(PathBuf),
    /// It is something else's.
    #[error("{} is not the store of a voter ({reason}): give the voter a folder of its own", folder.display())]
    Foreign {
        /// The folder.
        folder: PathBuf,
        /// What gives it away.
        reason: String,
    },
    /// It is another voter's.
    #[error("{} is the store of voter {found}, not of voter {expected}: start it with --id {found}, or use another folder", folder.display())]
    OtherVoter {
        /// The folder.
        folder: PathBuf,
        /// Whose it is.
        found: u64,
        /// Who asked.
        expected: u64,
    },
    /// A later program wrote it.
    #[error("{} has format {found}, and this program knows formats up to {known}: start the program that wrote it", folder.display())]
    Newer {
        /// The folder.
        folder: PathBuf,
        /// Its format.
        found: u32,
        /// The last one known.
        known: u32,
    },
    /// It lost something that was promised to be kept.
    #[error(
        "{} is damaged: {flaw}. Do not go on with it: a voter that lost its disk is replaced, not resurrected. \
         Remove it from the cluster and add a new one with a new id and an empty folder",
        folder.display()
    )]
    Damaged {
        /// The folder.
        folder: PathBuf,
        /// What is wrong.
        flaw: Damage,
    },
    /// The leader sent a snapshot that makes no sense here. The store is as it was.
    #[error("the leader's snapshot cannot be used: {0}")]
    Received(String),
    /// The device or the file system failed.
    #[error("{} cannot be {verb}: {reason}", folder.display())]
    Device {
        /// The folder.
        folder: PathBuf,
        /// What was tried.
        verb: &'static str,
        /// What the system said.
        reason: String,
    },
}

/// What is wrong with a store.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum Damage {
    /// A record that is not as it was written.
    #[error("the record {record} is not whole: {flaw}")]
    Frame {
        /// Which.
        record: String,
        /// What is wrong.
        flaw: Flaw,
    },
    /// A whole record that makes no sense.
    #[error("the record {record} is not valid: {invalid}")]
    Record {
        /// Which.
        record: String,
        /// What is wrong.
        invalid: Invalid,
    },
    /// What was written last is gone.
    #[error("it was written up to number {noted}, and it ends at {found}")]
    Behind {
        /// What the witness saw.
        noted: u64,
        /// What is there.
        found: u64,
    },
    /// The witness itself.
    #[error("its witness {0}")]
    Witness(&'static str),
    /// The log has a hole.
    #[error("entry {expected} of its log is missing")]
    Hole {
        /// The first that is missing.
        expected: u64,
    },
    /// The snapshot's pieces are not what was written.
    #[error("its snapshot is not whole")]
    Snapshot,
    /// The snapshot stands for a state that cannot be.
    #[error("its snapshot is not valid: {0}")]
    State(String),
    /// RocksDB found a corruption.
    #[error("{0}")]
    Database(String),
}
