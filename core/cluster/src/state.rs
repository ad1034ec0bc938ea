//! The replicated state.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use block::{PoolId, VolumeId};

use crate::command::{Answer, RequestId, Revision, Time};
use crate::name::Name;
use crate::node::{Node, Pool};
use crate::operation::{Operation, OperationId};
use crate::volume::{Tombstone, Volume};

/// Volumes of a cluster.
pub const VOLUMES_MAX: usize = 100_000;
/// Storage nodes of a cluster.
pub const NODES_MAX: usize = 1000;
/// Answers kept for retries: at a thousand requests a second those of the last minute.
pub const REQUESTS_KEPT: usize = 60_000;

/// What an operator may set for the whole cluster.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    /// What may be promised to volumes, in percent of a pool's capacity.
    pub overcommit_percent: u64,
    /// How full a pool may be, in percent, to get another volume.
    pub full_percent: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { overcommit_percent: 300, full_percent: 90 }
    }
}

/// All that a cluster knows. See the crate for how it changes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct State {
    /// Storage nodes.
    pub(crate) nodes: BTreeMap<Name, Node>,
    /// Their pools, also of nodes that are lost.
    pub(crate) pools: BTreeMap<PoolId, Pool>,
    /// Pools that their nodes have opened.
    pub(crate) open: BTreeSet<PoolId>,
    /// Volumes.
    pub(crate) volumes: BTreeMap<VolumeId, Volume>,
    /// Their names.
    pub(crate) names: BTreeMap<Name, VolumeId>,
    /// Deleted volumes whose space is not free yet.
    pub(crate) tombstones: BTreeMap<VolumeId, Tombstone>,
    /// What is going on, and what was for a while.
    pub(crate) operations: BTreeMap<OperationId, Operation>,
    /// Those of `operations` that have ended, oldest first.
    pub(crate) ended: VecDeque<OperationId>,
    /// Answers of the last requests.
    pub(crate) requests: BTreeMap<RequestId, Answer>,
    /// Their order.
    pub(crate) request_order: VecDeque<RequestId>,
    /// Sizes of the replicas in each pool, tombstones included.
    pub(crate) promised: BTreeMap<PoolId, u64>,
    /// See [`Settings`].
    pub(crate) settings: Settings,
    /// Time of the last command.
    pub(crate) now: Time,
    pub(crate) revision: Revision,
    pub(crate) last_volume: u64,
    pub(crate) last_operation: u64,
}

impl State {
    /// Every node.
    pub fn nodes(&self) -> impl Iterator<Item = (&Name, &Node)> {
        self.nodes.iter()
    }

    /// One node.
    #[must_use]
    pub fn node(&self, name: &Name) -> Option<&Node> {
        self.nodes.get(name)
    }

    /// Every pool.
    pub fn pools(&self) -> impl Iterator<Item = (PoolId, &Pool)> {
        self.pools.iter().map(|(id, pool)| (*id, pool))
    }

    /// Volumes in order of their names, behind `after`: for pages.
    pub fn volumes(&self, after: Option<&Name>) -> impl Iterator<Item = (VolumeId, &Volume)> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, Excluded);
        self.names.range::<Name, _>((from, Unbounded)).map(|(_, id)| (*id, &self.volumes[id]))
    }

    /// One volume.
    #[must_use]
    pub fn volume(&self, name: &Name) -> Option<(VolumeId, &Volume)> {
        let id = self.names.get(name)?;
        Some((*id, &self.volumes[id]))
    }

    /// What deleted volumes left.
    pub fn tombstones(&self) -> impl Iterator<Item = (VolumeId, &Tombstone)> {
        self.tombstones.iter().map(|(id, tombstone)| (*id, tombstone))
    }

    /// An operation that is going on or ended a while ago.
    #[must_use]
    pub fn operation(&self, id: OperationId) -> Option<&Operation> {
        self.operations.get(&id)
    }

    /// Every operation that can be asked about.
    pub fn operations(&self) -> impl Iterator<Item = (OperationId, &Operation)> {
        self.operations.iter().map(|(id, operation)| (*id, operation))
    }

    /// The cluster's settings.
    #[must_use]
    pub fn settings(&self) -> Settings {
        self.settings
    }

    /// Whether a pool's node has opened it and is heard.
    #[must_use]
    pub fn is_open(&self, pool: PoolId) -> bool {
        self.open.contains(&pool)
    }
}
