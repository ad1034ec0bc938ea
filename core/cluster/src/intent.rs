//! What a node should be: derived from the state, sent whole when its stream begins, and then what changed.

use block::{PoolId, SnapshotId, VolumeId, WriteSeq};

use crate::attachment::Attachments;
use crate::command::Revision;
use crate::configuration::Configuration;
use crate::group::GroupId;
use crate::name::Name;
use crate::replica::{Fate, Replica};
use crate::snapshot::{Cut, Snapshot};
use crate::state::State;
use crate::volume::Volume;

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
    /// Snapshots it should delete: only these, and only because somebody asked for it.
    pub snapshot_deletions: Vec<(PoolId, SnapshotId)>,
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
    /// `None` for a volume of a single replica that was never more.
    pub replication: Option<ReplicationIntent>,
    /// Every snapshot of the volume that should be there, in order of their ids.
    pub snapshots: Vec<SnapshotIntent>,
    /// What it is made of, as long as it may be made. Where the pool does not have it, it is not made.
    pub origin: Option<Origin>,
    /// The group snapshot for which the primary is to acknowledge no write for now.
    pub hold: Option<GroupId>,
    /// Nobody uses it any more, and only its snapshots are wanted.
    pub retired: bool,
}

/// A snapshot that should be there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SnapshotIntent {
    /// Which.
    pub id: SnapshotId,
    /// Where it was cut; `None` as long as the primary is to cut it.
    pub at: Option<WriteSeq>,
    /// It is cut only while the primary holds for this group.
    pub group: Option<GroupId>,
}

/// A snapshot that a volume starts as.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Origin {
    /// Which.
    pub snapshot: SnapshotId,
    /// Where it was cut.
    pub at: WriteSeq,
}

/// What a replica has to know of the others. It goes by a configuration only when an intent names it, for attachments
/// come with it: whoever becomes primary knows whom to let in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReplicationIntent {
    /// Nothing that is common to replicas of different lineages can be counted on.
    pub lineage: u64,
    /// In force; `None` before the first.
    pub configuration: Option<Configuration>,
    /// Every other replica.
    pub peers: Vec<Peer>,
    /// The member that the primary is to hand over to.
    pub hand_over_to: Option<PoolId>,
    /// Whether this replica itself is wanted: see [`Peer::wanted`].
    pub wanted: bool,
    /// So many members stay when one that is not wanted goes.
    pub copies: usize,
}

/// Another replica of the volume.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Peer {
    /// Where.
    pub pool: PoolId,
    /// Whose pool that is.
    pub node: Name,
    /// Its address for other nodes.
    pub address: String,
    /// Otherwise the primary asks for a configuration without it, and takes it in no more.
    pub wanted: bool,
}

/// Where another node's volume is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Route {
    /// The volume.
    pub name: Name,
    /// The address for other nodes of the one that has it; of several, that of the primary.
    pub address: String,
}

impl State {
    /// All that `node` should be.
    #[must_use]
    pub fn intent(&self, node: &Name) -> NodeIntent {
        let mut intent = NodeIntent { revision: self.revision(), whole: true, ..NodeIntent::default() };
        let mut left: Vec<VolumeId> = self.contents.tombstones.keys().map(|(id, _)| *id).collect();
        left.dedup();
        left.retain(|id| !self.contents.volumes.contains_key(id));
        for id in self.contents.volumes.keys().chain(&left) {
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
        let NodeIntent { replicas, deletions, routes, lost_routes, snapshot_deletions, .. } = &intent;
        let deletes = !deletions.is_empty() || !snapshot_deletions.is_empty();
        let empty = replicas.is_empty() && !deletes && routes.is_empty() && lost_routes.is_empty();
        (!empty).then_some(intent)
    }

    fn add_intent(&self, node: &Name, id: VolumeId, intent: &mut NodeIntent) {
        let is_ours = |pool: &PoolId| self.contents.pools.get(pool).is_some_and(|pool| pool.node == *node);
        let buried = self.tombstones_of(id).map(|(pool, _)| pool).filter(is_ours).map(|pool| (pool, id));
        intent.deletions.extend(buried);
        let graves = self.index.snapshots.graves_of(id).filter(|(_, pool)| is_ours(pool));
        intent.snapshot_deletions.extend(graves.map(|(snapshot, pool)| (pool, snapshot)));
        if let Some(volume) = self.contents.volumes.get(&id) {
            let ours = volume.replicas.iter().filter(|(pool, _)| is_ours(pool));
            let before = intent.replicas.len();
            intent.replicas.extend(ours.map(|(pool, replica)| self.replica(id, volume, *pool, replica)));
            // Whoever holds a replica and does not serve it passes clients on, like everybody else.
            let is_served_there = volume.replication.is_some() && !is_ours(&volume.home());
            if let Some(retired) = &volume.retired {
                // Under its name there is nothing any more, or another volume.
                let is_free = !self.index.names().contains_key(&retired.name);
                intent.lost_routes.extend(is_free.then(|| retired.name.clone()));
            } else if intent.replicas.len() == before || is_served_there {
                self.add_route(volume, intent);
            }
            return;
        }
        // Also when it is to delete what is left of it: it may have had a route to another replica besides.
        if let Some(name) = self.name_of(id)
            && !self.index.names().contains_key(name)
        {
            intent.lost_routes.push(name.clone());
        }
    }

    fn add_route(&self, volume: &Volume, intent: &mut NodeIntent) {
        let is_served = !volume.is_replicated() || volume.replication.is_some();
        match self.node_of(volume.home()).filter(|_| is_served) {
            Some((_, address)) => intent.routes.push(Route { name: volume.name.clone(), address }),
            // Another volume of the name may have had one.
            None => intent.lost_routes.push(volume.name.clone()),
        }
    }

    /// Whose pool it is, and where that node is reached by others.
    fn node_of(&self, pool: PoolId) -> Option<(Name, String)> {
        let name = self.contents.pools.get(&pool)?.node.clone();
        let address = self.contents.nodes.get(&name)?.addresses.peers.clone();
        Some((name, address))
    }

    fn replica(&self, id: VolumeId, volume: &Volume, pool: PoolId, replica: &Replica) -> ReplicaIntent {
        let wanted = || self.snapshots_of(id);
        let is_cut = wanted().all(|(_, snapshot)| snapshot.at().is_some());
        let origin = self.origin(volume, pool).filter(|_| replica.may_create());
        let group = volume.group.and_then(|group| self.contents.groups.get(&group));
        ReplicaIntent {
            pool,
            volume: id,
            name: volume.name.clone(),
            size_bytes: volume.size_bytes,
            may_create: replica.may_create() && (origin.is_some() || volume.may_begin_empty()),
            attachments: volume.attachments.clone(),
            open: volume.spec.open,
            replication: volume.is_replicated().then(|| self.replication(volume, pool)),
            snapshots: wanted().filter_map(|(id, snapshot)| self.snapshot_intent(id, snapshot)).collect(),
            origin,
            hold: group.and_then(crate::group::Group::holds),
            // What is still to be cut must not be zeroed before.
            retired: volume.retired.is_some() && is_cut,
        }
    }

    /// `None` for one of a group whose volumes do not all hold yet.
    fn snapshot_intent(&self, id: SnapshotId, snapshot: &Snapshot) -> Option<SnapshotIntent> {
        let group =
            snapshot.group.and_then(|group| self.contents.groups.get(&group)).filter(|group| group.is_running());
        match (snapshot.cut, group) {
            (Cut::At(at), _) => Some(SnapshotIntent { id, at: Some(at), group: None }),
            (Cut::Wanted { .. }, None) => Some(SnapshotIntent { id, at: None, group: None }),
            (Cut::Wanted { .. }, Some(group)) => Some(SnapshotIntent { id, at: None, group: Some(group.cuts()?) }),
        }
    }

    /// What a replica of a clone is made of in a pool that has it.
    fn origin(&self, volume: &Volume, pool: PoolId) -> Option<Origin> {
        let source = volume.source.as_ref()?;
        let (snapshot, at) = (source.snapshot, source.at?);
        let of = self.contents.volumes.get(&self.contents.snapshots.get(&snapshot)?.source)?;
        of.has_snapshot(pool, snapshot, at).then_some(Origin { snapshot, at })
    }

    fn replication(&self, volume: &Volume, me: PoolId) -> ReplicationIntent {
        let peer = |(pool, replica): (&PoolId, &Replica)| {
            let (node, address) = self.node_of(*pool)?;
            Some(Peer { pool: *pool, node, address, wanted: replica.fate != Fate::Goes })
        };
        let decided = volume.replication.as_ref();
        ReplicationIntent {
            lineage: decided.map_or(1, |decided| decided.lineage),
            configuration: decided.map(|decided| decided.configuration.clone()),
            peers: volume.replicas.iter().filter(|(pool, _)| **pool != me).filter_map(peer).collect(),
            hand_over_to: decided.and_then(|decided| decided.hand_over_to),
            wanted: volume.replicas.get(&me).is_none_or(|replica| replica.fate != Fate::Goes),
            copies: volume.spec.replicas.into(),
        }
    }
}
