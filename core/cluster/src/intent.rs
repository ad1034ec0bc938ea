//! What a node should be: derived from the state, sent whole whenever it changes and on every reconnect.

use block::{PoolId, VolumeId};

use crate::attachment::Attachments;
use crate::command::Revision;
use crate::name::Name;
use crate::state::State;
use crate::volume::{Observed, Phase};

/// What one node should hold and whom it should let in.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct NodeIntent {
    /// A later intent takes the place of an earlier one, whole.
    pub revision: Revision,
    /// Every replica it should have.
    pub replicas: Vec<ReplicaIntent>,
    /// Replicas it should delete: only these, and only because somebody asked for it.
    pub deletions: Vec<(PoolId, VolumeId)>,
}

/// One replica.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReplicaIntent {
    /// Where.
    pub pool: PoolId,
    /// Of which volume.
    pub volume: VolumeId,
    /// Its name.
    pub name: Name,
    /// The size it should have. A larger one stays as it is.
    pub size_bytes: u64,
    /// It may be made if it is not there. Never true again once it was seen.
    pub may_create: bool,
    /// Who may use it.
    pub attachments: Attachments,
}

impl State {
    /// What `node` should be.
    #[must_use]
    pub fn intent(&self, node: &Name) -> NodeIntent {
        let here = |pool: &PoolId| self.pools.get(pool).is_some_and(|pool| pool.node == *node);
        let volumes = self.volumes.iter().filter(|(_, volume)| here(&volume.replica.pool));
        let replicas = volumes.map(|(id, volume)| ReplicaIntent {
            pool: volume.replica.pool,
            volume: *id,
            name: volume.name.clone(),
            size_bytes: volume.size_bytes,
            may_create: volume.phase == Phase::Creating && volume.replica.observed == Observed::Nothing,
            attachments: volume.attachments.clone(),
        });
        let deletions = self.tombstones.iter().filter(|(_, tombstone)| here(&tombstone.pool));
        NodeIntent {
            revision: self.revision,
            replicas: replicas.collect(),
            deletions: deletions.map(|(id, tombstone)| (tombstone.pool, *id)).collect(),
        }
    }
}
