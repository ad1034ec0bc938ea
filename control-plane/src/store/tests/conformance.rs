//! Openraft's own suite.

use openraft::StorageError;
use openraft::testing::{StoreBuilder, Suite};
use tempfile::TempDir;

use super::VOTER;
use crate::raft::TypeConfig;
use crate::store::{LogStore, Machine, Store};

struct Stores;

impl StoreBuilder<TypeConfig, LogStore, Machine, TempDir> for Stores {
    async fn build(&self) -> Result<(TempDir, LogStore, Machine), StorageError<u64>> {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), VOTER).unwrap();
        Ok((folder, store.log(), store.machine().unwrap()))
    }
}

#[test]
fn the_store_is_what_openraft_expects() {
    Suite::test_all(Stores).unwrap();
}
