//! Snapshots on disk: pieces in their own column, and a record that says which generation of them is in force. A new
//! one takes the place of the old one in a single synced write.

use openraft::SnapshotMeta;

use super::database::{Column, Database, Durability, Scan};
use super::failure::{Damage, StoreError};
use super::log::mark;
use crate::raft::Voter;
use crate::record::{self, Current};

/// Largest snapshot: ten times what the largest cluster needs.
pub(crate) const SNAPSHOT_BYTES_MAX: u64 = 1 << 30;

const CURRENT: &[u8] = b"snapshot";
const PIECE_BYTES: usize = 1 << 20;

/// A snapshot's meaning and its bytes.
pub(super) type Whole = (SnapshotMeta<u64, Voter>, Vec<u8>);

/// Keeps a snapshot in the place of the one there is, unless that one holds more.
pub(super) fn save(database: &Database, meta: &SnapshotMeta<u64, Voter>, bytes: &[u8]) -> Result<(), StoreError> {
    let current = mark(database, CURRENT, record::read_current)?;
    if current.as_ref().is_some_and(|current| current.meta.last_log_id > meta.last_log_id) {
        return Ok(());
    }
    let generation = current.map_or(0, |current| current.generation) + 1;
    // What a crash may have left of an earlier attempt.
    let mut batch = database.batch();
    batch.remove_range(Column::Snapshot, &generation.to_be_bytes(), &[0xff; 17]);
    batch.write(Durability::Buffered)?;
    for (number, piece) in bytes.chunks(PIECE_BYTES).enumerate() {
        let mut batch = database.batch();
        batch.put(Column::Snapshot, &key(generation, number as u64), piece);
        batch.write(Durability::Buffered)?;
    }
    let current =
        Current { meta: meta.clone(), generation, len_bytes: bytes.len() as u64, checksum: crc32c::crc32c(bytes) };
    let mut batch = database.batch();
    batch.put(Column::Meta, CURRENT, &record::write_current(&current));
    batch.remove_range(Column::Snapshot, &[], &generation.to_be_bytes());
    batch.write(Durability::Synced)
}

/// The snapshot in force, if there is one.
pub(super) fn load(database: &Database) -> Result<Option<Whole>, StoreError> {
    let Some(current) = mark(database, CURRENT, record::read_current)? else { return Ok(None) };
    let mut bytes = Vec::new();
    let behind = (current.generation + 1).to_be_bytes();
    database.scan(Column::Snapshot, &current.generation.to_be_bytes(), |key, piece| {
        if key >= behind.as_slice() {
            return Ok(Scan::Enough);
        }
        bytes.extend_from_slice(piece);
        Ok(Scan::Next)
    })?;
    if bytes.len() as u64 != current.len_bytes || crc32c::crc32c(&bytes) != current.checksum {
        return Err(database.damaged(Damage::Snapshot));
    }
    Ok(Some((current.meta, bytes)))
}

fn key(generation: u64, number: u64) -> [u8; 16] {
    (u128::from(generation) << 64 | u128::from(number)).to_be_bytes()
}
