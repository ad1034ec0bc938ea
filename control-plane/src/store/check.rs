//! What is looked at when a store is opened, before anybody counts on it: every record of the log and every single one
//! is whole and valid, and the log has no hole. The snapshot is looked at when the state is made of it.

use super::database::{Column, Database, Scan};
use super::failure::{Damage, StoreError};
use super::log::{COMMITTED, PURGED, VOTE, entry, mark};
use crate::record;

/// Checks all but the snapshot.
pub(super) fn check(database: &Database) -> Result<(), StoreError> {
    mark(database, VOTE, record::read_vote)?;
    mark(database, COMMITTED, record::read_log_id)?;
    let purged = mark(database, PURGED, record::read_log_id)?;
    let mut expected = purged.map_or(0, |id| id.index + 1);
    database.scan(Column::Log, &[], |key, bytes| {
        let found = entry(database, key, bytes)?.log_id.index;
        if found != expected || key != found.to_be_bytes() {
            return Err(database.damaged(Damage::Hole { expected }));
        }
        expected += 1;
        Ok(Scan::Next)
    })
}
