//! What a node says of itself: everything it holds, each time.

use block::{PoolId, VolumeId};

use crate::attachment::Generation;
use crate::command::Revision;

/// One node.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct NodeReport {
    /// The intent it goes by: nothing of an older one is under way, and nothing of one will be begun.
    pub heard: Revision,
    /// Every pool it has opened. Of one that is missing nothing is known.
    pub pools: Vec<PoolReport>,
}

/// One pool.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PoolReport {
    /// Which.
    pub id: PoolId,
    /// See [`crate::Pool`].
    pub capacity_bytes: u64,
    /// See [`crate::Pool`].
    pub used_bytes: u64,
    /// See [`crate::Pool`].
    pub tags: Vec<String>,
    /// See [`crate::Pool`].
    pub failed: bool,
    /// Every replica in it. One that is missing is not there.
    pub replicas: Vec<ReplicaReport>,
}

/// One replica.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReplicaReport {
    /// Of which volume.
    pub volume: VolumeId,
    /// Its size.
    pub size_bytes: u64,
    /// The attachments the node goes by; clients of earlier ones have been dropped.
    pub generation: Generation,
}
