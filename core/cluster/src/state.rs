//! The replicated state.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

use block::{PoolId, SnapshotId, VolumeId};

use crate::command::{Answer, RequestId, Revision, Time};
use crate::group::{Group, GroupId};
use crate::host::Host;
use crate::index::Index;
use crate::name::Name;
use crate::node::{Node, Pool, RemovedPool};
use crate::operation::{Operation, OperationId};
use crate::recovered::Recovered;
use crate::replication::Replication;
use crate::snapshot::{Grave, Keep, Snapshot};
use crate::volume::{Tombstone, Volume};

/// Volumes of a cluster.
pub const VOLUMES_MAX: usize = 100_000;
/// Storage nodes of a cluster.
pub const NODES_MAX: usize = 1000;
/// Answers kept for retries: at a thousand requests a second those of the last minute.
pub const REQUESTS_KEPT: usize = 60_000;

/// Drawn at random when a cluster is founded.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClusterId(pub u128);

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What an operator may set for the whole cluster.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    /// What may be promised to volumes, in percent of a pool's capacity.
    pub overcommit_percent: u64,
    /// How full a pool may be, in percent, to get another volume.
    pub full_percent: u64,
    /// How long a replica may be silent, in milliseconds, before another takes its place.
    pub replace_after_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { overcommit_percent: 300, full_percent: 90, replace_after_ms: 600_000 }
    }
}

/// All that a cluster knows. See the crate for how it changes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct State {
    pub(crate) contents: Contents,
    pub(crate) index: Index,
}

/// What is kept of a state; the rest follows from it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Contents {
    /// None before the first command.
    pub cluster: Option<ClusterId>,
    /// Storage nodes.
    pub nodes: BTreeMap<Name, Node>,
    /// Their pools, also of nodes that are lost.
    pub pools: BTreeMap<PoolId, Pool>,
    /// Pools that were removed, and are left alone when they come back.
    pub removed_pools: BTreeMap<PoolId, RemovedPool>,
    /// Hosts that use volumes, as they told of themselves.
    pub hosts: BTreeMap<Name, Host>,
    /// Volumes.
    pub volumes: BTreeMap<VolumeId, Volume>,
    /// Replicas that are not wanted any more and whose space is not free yet, by volume and pool.
    pub tombstones: BTreeMap<(VolumeId, PoolId), Tombstone>,
    /// Snapshots.
    pub snapshots: BTreeMap<SnapshotId, Snapshot>,
    /// Snapshots that pools are to delete.
    pub graves: BTreeMap<(SnapshotId, PoolId), Grave>,
    /// Group snapshots.
    pub groups: BTreeMap<GroupId, Group>,
    /// Snapshots that pools came with and whose numbers were not given here. They are left alone.
    pub foreign_snapshots: BTreeSet<SnapshotId>,
    /// What is going on, and what was for a while.
    pub operations: BTreeMap<OperationId, Operation>,
    /// Those of `operations` that have ended, oldest first.
    pub ended: VecDeque<OperationId>,
    /// Answers of the last requests.
    pub requests: BTreeMap<RequestId, Answer>,
    /// Their order.
    pub request_order: VecDeque<RequestId>,
    /// See [`Settings`].
    pub settings: Settings,
    /// Time of the last command.
    pub now: Time,
    /// When time was last looked at, see [`crate::Change::Tick`].
    pub ticked: Time,
    /// Commands applied.
    pub revision: Revision,
    /// The last volume's id.
    pub last_volume: u64,
    /// The last operation's number.
    pub last_operation: u64,
    /// The last snapshot's id.
    pub last_snapshot: u64,
    /// The last group's number.
    pub last_group: u64,
    /// None as long as the voters never lost their majority for good.
    pub recovered: Option<Recovered>,
}

/// Contents that no history can have led to.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the state contradicts itself: {0}")]
pub struct Contradiction(&'static str);

impl Contents {
    fn check(&self) -> Result<(), Contradiction> {
        let names: BTreeSet<(bool, &Name)> =
            self.volumes.values().map(|volume| (volume.retired.is_some(), &volume.name)).collect();
        let mut replicas =
            self.volumes.iter().flat_map(|(id, volume)| volume.replicas.keys().map(move |pool| (*id, *pool)));
        let buried = |replica: &(VolumeId, PoolId)| self.tombstones.contains_key(replica);
        let in_pools =
            replicas.clone().chain(self.tombstones.keys().copied()).all(|(_, pool)| self.pools.contains_key(&pool));
        let is_alone = |volume: &Volume| volume.is_replicated() || volume.replicas.len() == 1;
        let rows = [
            (names.len() == self.volumes.len(), "two volumes have one name"),
            (in_pools, "a volume is in a pool that is not there"),
            (self.volumes.values().all(|volume| !volume.replicas.is_empty()), "a volume has no replica"),
            (self.volumes.values().all(is_alone), "a volume has replicas that nobody decides about"),
            (self.volumes.values().all(has_its_members), "a member of a volume is none of its replicas"),
            (self.pools.values().all(|pool| self.nodes.contains_key(&pool.node)), "a pool is of no node"),
            (!replicas.any(|replica| buried(&replica)), "a volume is deleted and there"),
            (self.removed_pools.keys().all(|pool| !self.pools.contains_key(pool)), "a pool is removed and there"),
            (
                self.volumes.keys().chain(self.tombstones.keys().map(|(id, _)| id)).all(|id| id.0 <= self.last_volume),
                "a volume has an id that was not given yet",
            ),
            (
                self.operations.keys().all(|id| id.0 <= self.last_operation),
                "an operation has a number that was not given yet",
            ),
            (
                self.ended.iter().all(|id| self.operations.get(id).is_some_and(|operation| operation.ended.is_some())),
                "an operation that goes on is among those that ended",
            ),
            (
                self.request_order.len() == self.requests.len()
                    && self.request_order.iter().all(|request| self.requests.contains_key(request)),
                "the answers and their order differ",
            ),
        ];
        match rows.into_iter().chain(self.snapshot_rows()).find(|(holds, _)| !holds) {
            Some((_, sentence)) => Err(Contradiction(sentence)),
            None => Ok(()),
        }
    }

    fn snapshot_rows(&self) -> [(bool, &'static str); 6] {
        let named = || self.snapshots.values().filter(|snapshot| snapshot.keep == Keep::Named);
        let names: BTreeSet<&Name> = named().map(|snapshot| &snapshot.name).collect();
        let ids = || self.snapshots.keys().chain(self.graves.keys().map(|(id, _)| id));
        let groups = || self.groups.values().flat_map(|group| group.members.keys());
        [
            (names.len() == named().count(), "two snapshots have one name"),
            (
                self.snapshots.values().all(|snapshot| self.volumes.contains_key(&snapshot.source)),
                "a snapshot is of a volume that is not there",
            ),
            (
                self.graves.keys().all(|(_, pool)| self.pools.contains_key(pool)),
                "a snapshot is to be deleted from a pool that is not there",
            ),
            (ids().all(|id| id.0 <= self.last_snapshot), "a snapshot has an id that was not given yet"),
            (self.groups.keys().all(|id| id.0 <= self.last_group), "a group has a number that was not given yet"),
            (
                self.groups.values().all(|group| !group.members.is_empty())
                    && groups().all(|id| id.0 <= self.last_volume),
                "a group has no volume",
            ),
        ]
    }
}

/// Every member is a replica, and the primary is a member.
fn has_its_members(volume: &Volume) -> bool {
    let Some(Replication { configuration, .. }) = &volume.replication else { return true };
    let members = &configuration.members;
    members.contains_key(&configuration.primary) && members.keys().all(|member| volume.replicas.contains_key(member))
}

impl State {
    /// What has to be kept to have this state again.
    #[must_use]
    pub fn contents(&self) -> &Contents {
        &self.contents
    }

    /// The state that was kept.
    ///
    /// # Errors
    /// In words, when no history can have led to it.
    pub fn load(contents: Contents) -> Result<Self, Contradiction> {
        contents.check()?;
        let index = Index::of(&contents);
        Ok(Self { contents, index })
    }

    /// None before the first command.
    #[must_use]
    pub fn cluster(&self) -> Option<ClusterId> {
        self.contents.cluster
    }

    /// Commands applied so far.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.contents.revision
    }

    /// Every node.
    pub fn nodes(&self) -> impl Iterator<Item = (&Name, &Node)> {
        self.contents.nodes.iter()
    }

    /// One node.
    #[must_use]
    pub fn node(&self, name: &Name) -> Option<&Node> {
        self.contents.nodes.get(name)
    }

    /// Every host that told of itself.
    pub fn hosts(&self) -> impl Iterator<Item = (&Name, &Host)> {
        self.contents.hosts.iter()
    }

    /// One of them.
    #[must_use]
    pub fn host(&self, name: &Name) -> Option<&Host> {
        self.contents.hosts.get(name)
    }

    /// Every pool.
    pub fn pools(&self) -> impl Iterator<Item = (PoolId, &Pool)> {
        self.contents.pools.iter().map(|(id, pool)| (*id, pool))
    }

    /// One pool.
    #[must_use]
    pub fn pool(&self, id: PoolId) -> Option<&Pool> {
        self.contents.pools.get(&id)
    }

    /// Pools that were removed.
    pub fn removed_pools(&self) -> impl Iterator<Item = (PoolId, &RemovedPool)> {
        self.contents.removed_pools.iter().map(|(id, pool)| (*id, pool))
    }

    /// Pools that were removed or given up and that a node came with: it is told, for its own log.
    #[must_use]
    pub fn removed_pools_at(&self, node: &Name) -> Vec<PoolId> {
        let is_there = |pool: &RemovedPool| pool.back.as_ref().is_some_and(|(found, _)| found == node);
        let removed = self.removed_pools().filter(|(_, pool)| is_there(pool)).map(|(id, _)| id);
        let given_up = self.contents.recovered.iter().flat_map(|recovered| &recovered.given_up);
        removed.chain(given_up.filter(|(_, back)| back.as_ref() == Some(node)).map(|(id, _)| *id)).collect()
    }

    /// The pools of a node.
    pub fn pools_of(&self, node: &Name) -> impl Iterator<Item = (PoolId, &Pool)> {
        self.pools().filter(move |(_, pool)| pool.node == *node)
    }

    /// Volumes in order of their names, behind `after`: for pages.
    pub fn volumes(&self, after: Option<&Name>) -> impl Iterator<Item = (VolumeId, &Volume)> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, Excluded);
        self.index.names().range::<Name, _>((from, Unbounded)).map(|(_, id)| (*id, &self.contents.volumes[id]))
    }

    /// How many volumes there are, without those that are retired.
    #[must_use]
    pub fn volume_count(&self) -> usize {
        self.index.names().len()
    }

    /// One volume.
    #[must_use]
    pub fn volume(&self, name: &Name) -> Option<(VolumeId, &Volume)> {
        let id = self.index.names().get(name)?;
        Some((*id, &self.contents.volumes[id]))
    }

    /// The name of a volume, also of one that was deleted.
    #[must_use]
    pub fn name_of(&self, volume: VolumeId) -> Option<&Name> {
        let contents = &self.contents;
        let there = contents.volumes.get(&volume).map(|volume| &volume.name);
        there
            .or_else(|| self.tombstones_of(volume).next().map(|(_, tombstone)| &tombstone.name))
            .or_else(|| self.index.name_of_gone(volume))
    }

    /// What is left of replicas that are not wanted any more.
    pub fn tombstones(&self) -> impl Iterator<Item = (VolumeId, &Tombstone)> {
        self.contents.tombstones.iter().map(|((id, _), tombstone)| (*id, tombstone))
    }

    /// Those of one volume.
    pub(crate) fn tombstones_of(&self, volume: VolumeId) -> impl Iterator<Item = (PoolId, &Tombstone)> {
        let all = (volume, PoolId(u128::MIN))..=(volume, PoolId(u128::MAX));
        self.contents.tombstones.range(all).map(|((_, pool), tombstone)| (*pool, tombstone))
    }

    /// An operation that is going on or ended a while ago.
    #[must_use]
    pub fn operation(&self, id: OperationId) -> Option<&Operation> {
        self.contents.operations.get(&id)
    }

    /// Every operation that can be asked about.
    pub fn operations(&self) -> impl Iterator<Item = (OperationId, &Operation)> {
        self.contents.operations.iter().map(|(id, operation)| (*id, operation))
    }

    /// Operations that go on.
    pub fn running_operations(&self) -> impl Iterator<Item = OperationId> {
        self.index.running()
    }

    /// When the last command was proposed.
    #[must_use]
    pub fn now(&self) -> Time {
        self.contents.now
    }

    /// The cluster's settings.
    #[must_use]
    pub fn settings(&self) -> Settings {
        self.contents.settings
    }

    /// Sizes of the volumes in a pool.
    #[must_use]
    pub fn promised_bytes(&self, pool: PoolId) -> u64 {
        self.index.promised_bytes(pool)
    }

    /// How many volumes are in a pool.
    #[must_use]
    pub fn volumes_in(&self, pool: PoolId) -> usize {
        self.index.count_in(pool)
    }
}
