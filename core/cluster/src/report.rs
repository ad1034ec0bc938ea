//! What a node says of itself: everything it holds, and then what changed.

use std::collections::BTreeMap;

use block::{PoolId, SnapshotId, VolumeId};

use crate::attachment::Generation;
use crate::command::Revision;
use crate::replica::{Observed, Standing};
use crate::snapshot::SnapshotCopy;

/// One node.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct NodeReport {
    /// The intent it goes by: nothing of an older one is under way, and nothing of one will be begun.
    pub heard: Revision,
    /// Pools it has opened, each when it is opened and when something of it changed.
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
    /// What is in it.
    pub replicas: Replicas,
}

/// The replicas in a pool.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Replicas {
    /// Every one: one that is missing is not there. The first report of a node's stream has this.
    All(Vec<ReplicaReport>),
    /// What changed since the report before.
    Changed {
        /// New ones, and ones that are not as they were.
        present: Vec<ReplicaReport>,
        /// Ones that are not there any more.
        gone: Vec<VolumeId>,
    },
}

/// One replica.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReplicaReport {
    /// Of which volume.
    pub volume: VolumeId,
    /// Its size.
    pub size_bytes: u64,
    /// The attachments the node goes by; clients of earlier ones have been dropped.
    pub generation: Generation,
    /// What it is among the volume's replicas.
    pub standing: Standing,
    /// Snapshots of the volume that are in the pool and on stable media.
    pub snapshots: BTreeMap<SnapshotId, SnapshotCopy>,
}

impl ReplicaReport {
    pub(crate) fn observed(&self) -> Observed {
        Observed::Present { size_bytes: self.size_bytes, generation: self.generation, standing: self.standing }
    }
}
