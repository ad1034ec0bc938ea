//! What the reactor drives: a storage node, or the null machine that measures the reactor itself.

use block::{Instant, PoolId, VolumeId};
use node::{CopyObservation, Effect, Event, Node, NodeStats, Observation, VolumeSummary};
use store::{DiskError, PoolSpace, Stats};

use crate::buffers::Buffers;
use crate::null::Null;

/// A pure machine: facts in, orders out, no clock, no sockets, no disk.
pub trait Machine: Buffers {
    /// Takes a fact; appends orders.
    fn handle(&mut self, now: Instant, event: Event, effects: &mut Vec<Effect>);

    /// When `Event::TurnEnded` must come at the latest.
    fn deadline(&self) -> Option<Instant>;

    /// What it can be seen to be doing; for metrics.
    fn observe(&self) -> Observed;

    /// What the control plane hears of it; none if it has no pool.
    fn holding(&self) -> Option<Holding>;
}

/// What a node holds, and the intent it goes by.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Holding {
    /// Where.
    pub pool: PoolId,
    /// What data may take there.
    pub capacity_bytes: u64,
    /// What it takes.
    pub used_bytes: u64,
    /// Whether the pool takes no writes any more.
    pub failed: bool,
    /// The replicas.
    pub observation: Observation,
}

/// A machine's state, as far as metrics show it.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// Every volume.
    pub volumes: Vec<VolumeSummary>,
    /// The replicas of those that have others on other nodes.
    pub copies: Vec<(VolumeId, CopyObservation)>,
    /// Blocks of each volume that no replica has.
    pub lost_blocks: Vec<(VolumeId, u64)>,
    /// All of it at a glance.
    pub node: NodeStats,
    /// The pool, if there is one.
    pub pool: Option<ObservedPool>,
}

/// A pool's state.
#[derive(Clone, Copy, Debug)]
pub struct ObservedPool {
    /// How full it is.
    pub space: PoolSpace,
    /// What was done to it.
    pub stats: Stats,
    /// Why it takes no more writes.
    pub poisoned: Option<DiskError>,
}

impl Machine for Node {
    fn handle(&mut self, now: Instant, event: Event, effects: &mut Vec<Effect>) {
        Self::handle(self, now, event, effects);
    }

    fn deadline(&self) -> Option<Instant> {
        Self::deadline(self)
    }

    fn observe(&self) -> Observed {
        let store = self.store();
        let pool = ObservedPool { space: store.space(), stats: *store.stats(), poisoned: store.poisoned() };
        let replicas = self.observation().replicas;
        let lost_blocks = replicas.iter().map(|replica| (replica.volume, replica.lost_blocks)).collect();
        Observed {
            volumes: self.volumes().collect(),
            copies: replicas.into_iter().filter_map(|replica| Some((replica.volume, replica.copy?))).collect(),
            lost_blocks,
            node: self.stats(),
            pool: Some(pool),
        }
    }

    fn holding(&self) -> Option<Holding> {
        let store = self.store();
        let space = store.space();
        Some(Holding {
            pool: store.pool(),
            capacity_bytes: space.capacity_bytes,
            used_bytes: space.live_bytes,
            failed: store.poisoned().is_some(),
            observation: self.observation(),
        })
    }
}

impl Machine for Null {
    fn handle(&mut self, _now: Instant, event: Event, effects: &mut Vec<Effect>) {
        Self::handle(self, &event, effects);
    }

    fn deadline(&self) -> Option<Instant> {
        None
    }

    fn observe(&self) -> Observed {
        Observed::default()
    }

    fn holding(&self) -> Option<Holding> {
        None
    }
}
