//! What a node should be: derived from the state, sent whole when its stream begins, and then what changed.

use block::{PoolId, VolumeId};

use crate::attachment::Attachments;
use crate::command::Revision;
use crate::name::Name;
use crate::state::State;
use crate::volume::{Observed, Phase, Volume};

/// What one node should hold and whom it should let in.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct NodeIntent {
    /// A later intent takes the place of an earlier one.
    pub revision: Revision,
    /// Whether this is all there is; otherwise what changed.
    pub whole: bool,
    /// Replicas it should have.
    pub replicas: Vec<ReplicaIntent>,
    /// Replicas it should delete: only these, and only because somebody asked for it.
    pub deletions: Vec<(PoolId, VolumeId)>,
    /// Volumes of other nodes, for clients that come to this one.
    pub routes: Vec<Route>,
    /// Names that lead nowhere any more.
    pub lost_routes: Vec<Name>,
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
    /// Whether clients of open networks may use it while nobody has it attached.
    pub open: bool,
}

/// Where another node's volume is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Route {
    /// The volume.
    pub name: Name,
    /// The address for other nodes of the one that has it.
    pub address: String,
}

impl State {
    /// All that `node` should be.
    #[must_use]
    pub fn intent(&self, node: &Name) -> NodeIntent {
        let mut intent = NodeIntent { revision: self.revision(), whole: true, ..NodeIntent::default() };
        for id in self.contents.volumes.keys().chain(self.contents.tombstones.keys()) {
            self.add_intent(node, *id, &mut intent);
        }
        intent.lost_routes.clear();
        intent
    }

    /// What changed for `node` after `since`; `None` when nothing did. All of it when what changed is not known any more.
    #[must_use]
    pub fn intent_since(&self, node: &Name, since: Revision) -> Option<NodeIntent> {
        let Some(changed) = self.index.changed_since(since) else { return Some(self.intent(node)) };
        let mut intent = NodeIntent { revision: self.revision(), ..NodeIntent::default() };
        for id in changed {
            self.add_intent(node, id, &mut intent);
        }
        let NodeIntent { replicas, deletions, routes, lost_routes, .. } = &intent;
        let empty = replicas.is_empty() && deletions.is_empty() && routes.is_empty() && lost_routes.is_empty();
        (!empty).then_some(intent)
    }

    fn add_intent(&self, node: &Name, id: VolumeId, intent: &mut NodeIntent) {
        let node_of = |pool: PoolId| self.contents.pools.get(&pool).map(|pool| &pool.node);
        if let Some(volume) = self.contents.volumes.get(&id) {
            let Some(holder) = node_of(volume.replica.pool) else { return };
            if holder == node {
                intent.replicas.push(replica(id, volume));
            } else if let Some(there) = self.contents.nodes.get(holder) {
                let address = there.addresses.peers.clone();
                intent.routes.push(Route { name: volume.name.clone(), address });
            }
            return;
        }
        if let Some(tombstone) = self.contents.tombstones.get(&id)
            && node_of(tombstone.pool) == Some(node)
        {
            intent.deletions.push((tombstone.pool, id));
            return;
        }
        if let Some(name) = self.name_of(id)
            && !self.index.names().contains_key(name)
        {
            intent.lost_routes.push(name.clone());
        }
    }
}

fn replica(id: VolumeId, volume: &Volume) -> ReplicaIntent {
    ReplicaIntent {
        pool: volume.replica.pool,
        volume: id,
        name: volume.name.clone(),
        size_bytes: volume.size_bytes,
        may_create: volume.phase == Phase::Creating && volume.replica.observed == Observed::Nothing,
        attachments: volume.attachments.clone(),
        open: volume.spec.open,
    }
}
