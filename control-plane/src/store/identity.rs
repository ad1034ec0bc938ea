//! Whose store it is.

use cluster::ClusterId;

use super::database::{Column, Database, Durability};
use super::failure::{Damage, StoreError};
use crate::raft::StoreId;
use crate::record;

/// Format of the store as a whole.
const FORMAT: u32 = 1;
const KEY: &[u8] = b"identity";

/// Whose store it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Identity {
    /// The voter.
    pub voter: u64,
    /// Drawn when the store was made.
    pub store: StoreId,
    /// None until it belongs to one; as it was when the store was opened.
    pub cluster: Option<ClusterId>,
}

impl Identity {
    /// Reads whose store it is; a new one becomes the voter's.
    pub(super) fn claim(database: &Database, voter: u64) -> Result<Self, StoreError> {
        let folder = database.folder();
        let Some(identity) = Self::read(database)? else {
            let identity = Self { voter, store: draw(database)?, cluster: None };
            identity.save(database)?;
            return Ok(identity);
        };
        if identity.voter != voter {
            let found = identity.voter;
            return Err(StoreError::OtherVoter { folder: folder.to_owned(), found, expected: voter });
        }
        Ok(identity)
    }

    /// Reads whose store it is; `None` for a new one.
    pub(super) fn read(database: &Database) -> Result<Option<Self>, StoreError> {
        let Some(bytes) = database.get(Column::Meta, KEY)? else { return Ok(None) };
        let (format, identity) = record::read_identity(&bytes)
            .map_err(|invalid| database.damaged(Damage::Record { record: "identity".to_owned(), invalid }))?;
        if format > FORMAT {
            return Err(StoreError::Newer { folder: database.folder().to_owned(), found: format, known: FORMAT });
        }
        Ok(Some(identity))
    }

    /// Keeps it.
    pub(super) fn save(&self, database: &Database) -> Result<(), StoreError> {
        let mut batch = database.batch();
        batch.put(Column::Meta, KEY, &record::write_identity(FORMAT, self));
        batch.write(Durability::Synced)
    }
}

fn draw(database: &Database) -> Result<StoreId, StoreError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| StoreError::Device {
        folder: database.folder().to_owned(),
        verb: "given an id",
        reason: error.to_string(),
    })?;
    Ok(StoreId(u128::from_be_bytes(bytes)))
}
