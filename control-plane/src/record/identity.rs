//! Whose store it is.

use prost::Message;
use proto::record as wire;

use super::decode;
use super::invalid::{Invalid, bytes_of, cluster, number};
use crate::raft::StoreId;
use crate::store::Identity;

/// An identity, and the format of the store it was found in.
pub(crate) fn read_identity(bytes: &[u8]) -> Result<(u32, Identity), Invalid> {
    let found: wire::Identity = decode(bytes, "identity")?;
    let identity = Identity {
        voter: found.voter,
        store: StoreId(number(&found.store, "identity.store")?),
        cluster: cluster(&found.cluster, "identity.cluster")?,
    };
    Ok((found.format, identity))
}

pub(crate) fn write_identity(format: u32, identity: &Identity) -> Vec<u8> {
    let Identity { voter, store, cluster } = *identity;
    let cluster = cluster.map(|cluster| bytes_of(cluster.0)).unwrap_or_default();
    wire::Identity { format, voter, store: bytes_of(store.0), cluster }.encode_to_vec()
}
