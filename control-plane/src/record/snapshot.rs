//! What a snapshot stands for, and the record that says which one is in force.

use openraft::SnapshotMeta;
use prost::Message;
use proto::record as wire;

use super::decode;
use super::invalid::{Invalid, required};
use super::log::{encode_log_id, encode_stored, parse_log_id_if_any, parse_stored};
use crate::raft::Voter;

/// The snapshot in force on disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Current {
    /// What it stands for.
    pub meta: SnapshotMeta<u64, Voter>,
    /// Which pieces are its.
    pub generation: u64,
    /// Their length together.
    pub len_bytes: u64,
    /// Their crc32c together.
    pub checksum: u32,
}

pub(crate) fn parse_meta(found: wire::SnapshotMeta) -> Result<SnapshotMeta<u64, Voter>, Invalid> {
    Ok(SnapshotMeta {
        last_log_id: parse_log_id_if_any(found.last),
        last_membership: parse_stored(required(found.membership, "snapshot_meta.membership")?)?,
        snapshot_id: found.id,
    })
}

pub(crate) fn encode_meta(meta: &SnapshotMeta<u64, Voter>) -> wire::SnapshotMeta {
    wire::SnapshotMeta {
        last: meta.last_log_id.as_ref().map(encode_log_id),
        membership: Some(encode_stored(&meta.last_membership)),
        id: meta.snapshot_id.clone(),
    }
}

pub(crate) fn read_current(bytes: &[u8]) -> Result<Current, Invalid> {
    let found: wire::CurrentSnapshot = decode(bytes, "current snapshot")?;
    let meta = parse_meta(required(found.meta, "current_snapshot.meta")?)?;
    let wire::CurrentSnapshot { generation, len_bytes, checksum, .. } = found;
    Ok(Current { meta, generation, len_bytes, checksum })
}

pub(crate) fn write_current(current: &Current) -> Vec<u8> {
    let Current { meta, generation, len_bytes, checksum } = current;
    wire::CurrentSnapshot {
        meta: Some(encode_meta(meta)),
        generation: *generation,
        len_bytes: *len_bytes,
        checksum: *checksum,
    }
    .encode_to_vec()
}
