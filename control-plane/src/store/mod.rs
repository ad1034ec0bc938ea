//! What a voter keeps on disk, and the state it keeps in memory.
//!
//! Promise: what the consensus was told to be kept is on the device before it hears so, and a store that has lost any of
//! it is refused when it is opened. A voter that forgets a vote or an entry breaks the promises of all the others; so it
//! is replaced, and never resurrected.
//!
//! - [`database`]: RocksDB, with a frame ([`frame`]) around each record and a witness ([`witness`]) beside it
//! - [`identity`]: whose store it is
//! - [`log`]: entries and votes, as openraft wants them
//! - [`machine`]: the cluster's state, made of the last snapshot ([`snapshots`]) and the entries behind it
//! - [`takeover`]: the last voter becomes the only one, on an operator's word
//! - [`check`]: what is looked at before any of it is used
//!
//! Not here: what a record looks like (`record`), messages (`raft`).

mod check;
mod database;
mod failure;
mod frame;
mod identity;
mod log;
mod machine;
mod snapshots;
mod takeover;
#[cfg(test)]
mod tests;
mod witness;

pub(crate) use failure::StoreError;
pub(crate) use identity::Identity;
pub(crate) use log::LogStore;
pub(crate) use machine::{Machine, Shared};
pub(crate) use snapshots::SNAPSHOT_BYTES_MAX;
pub use takeover::{LastVoter, LastVoterFacts, TakeoverError};

use std::path::Path;
use std::sync::Arc;

use cluster::ClusterId;

use database::Database;

/// An open store.
pub(crate) struct Store {
    database: Arc<Database>,
    /// Whose it is.
    pub identity: Identity,
}

impl Store {
    /// Opens the store of a voter, or makes it, and checks all of it.
    pub(crate) fn open(folder: &Path, voter: u64) -> Result<Self, StoreError> {
        let database = Database::open(folder)?;
        let identity = Identity::claim(&database, voter)?;
        check::check(&database)?;
        Ok(Self { database: Arc::new(database), identity })
    }

    /// The store belongs to this cluster from now on.
    pub(crate) async fn adopt(&self, cluster: ClusterId) -> Result<(), StoreError> {
        let identity = Identity { cluster: Some(cluster), ..self.identity };
        database::blocking(&self.database, move |database| identity.save(database)).await
    }

    /// The log.
    pub(crate) fn log(&self) -> LogStore {
        LogStore::new(Arc::clone(&self.database))
    }

    /// The state as of the last snapshot.
    pub(crate) fn machine(&self) -> Result<Machine, StoreError> {
        Machine::open(Arc::clone(&self.database))
    }
}
