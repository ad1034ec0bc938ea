//! Whose store it is, and who is refused.

use rocksdb::{DB, Options};

use super::{VOTER, fill, held};
use crate::raft::StoreId;
use crate::record;
use crate::store::database::{Column, Database, Durability};
use crate::store::{Identity, Store, StoreError};

#[test]
fn another_voter_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path());
    let error = Store::open(folder.path(), 3).err().unwrap();
    assert!(matches!(error, StoreError::OtherVoter { found: 1, expected: 3, .. }), "{error}");
    assert!(error.to_string().contains("--id 1"), "{error}");
}

#[test]
fn a_store_is_open_once() {
    let folder = tempfile::tempdir().unwrap();
    let first = Store::open(folder.path(), VOTER).unwrap();
    let error = Store::open(folder.path(), VOTER).err().unwrap();
    assert_eq!(error, StoreError::InUse(folder.path().to_owned()));
    drop(first);
    Store::open(folder.path(), VOTER).unwrap();
}

#[test]
fn a_later_format_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path()).unwrap();
    let identity = Identity { voter: VOTER, store: StoreId(1), cluster: None };
    let mut batch = database.batch();
    batch.put(Column::Meta, b"identity", &record::write_identity(2, &identity));
    batch.write(Durability::Synced).unwrap();
    drop(database);
    let error = Store::open(folder.path(), VOTER).err().unwrap();
    assert!(matches!(error, StoreError::Newer { found: 2, known: 1, .. }), "{error}");
}

#[test]
fn the_database_of_something_else_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = Options::default();
    options.create_if_missing(true);
    drop(DB::open(&options, folder.path().join("store")).unwrap());
    let error = Store::open(folder.path(), VOTER).err().unwrap();
    assert!(matches!(error, StoreError::Foreign { .. }), "{error}");
}

#[test]
fn a_store_that_lost_its_database_or_its_witness_is_refused() {
    for lost in ["store", "store/CURRENT", "witness"] {
        let folder = tempfile::tempdir().unwrap();
        fill(folder.path());
        let path = folder.path().join(lost);
        if path.is_dir() {
            std::fs::remove_dir_all(path).unwrap();
        } else {
            std::fs::remove_file(path).unwrap();
        }
        let error = held(folder.path()).err().unwrap();
        assert!(error.to_string().contains("replaced, not resurrected"), "{lost}: {error}");
    }
}

/// The folder is made, the database is not, or only the witness is not: nobody counted on it yet.
#[test]
fn a_store_that_was_not_made_to_the_end_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("store")).unwrap();
    std::fs::write(folder.path().join("store/MANIFEST-000001"), b"").unwrap();
    drop(Store::open(folder.path(), VOTER).unwrap());
    let folder = tempfile::tempdir().unwrap();
    drop(Database::open(folder.path()).unwrap());
    std::fs::remove_file(folder.path().join("witness")).unwrap();
    drop(Store::open(folder.path(), VOTER).unwrap());
}

#[test]
fn every_new_store_has_an_id_of_its_own_and_keeps_it() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let id = |folder: &tempfile::TempDir| Store::open(folder.path(), VOTER).unwrap().identity.store;
    assert_ne!(id(&one), id(&two));
    assert_eq!(id(&one), id(&one));
}
