//! The control plane of one replicated volume: a thread that hears what nodes hold and wish, decides, and tells them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use block::{PoolId, SnapshotId};
use node::Proposal;
use node::{
    Attachment, CopiesIntent, Intent, ReplicaIntent, ReplicaObservation, Route, SnapshotIntent, SnapshotsIntent,
    TokenHash, Wanted,
};
use storage_node::Control;
use tokio::time::timeout;

use crate::copies::decider::Decider;
use crate::intents::TOKEN;

pub const VOLUME: block::VolumeId = block::VolumeId(1);
pub const VOLUME_BYTES: u64 = 32 << 20;
/// Between two looks at the nodes.
const PAUSE: Duration = Duration::from_millis(3);
/// Longer than a promise lasts.
const PROMISE: Duration = Duration::from_millis(1100);

/// Goes on deciding until it is dropped.
pub struct Plane {
    world: Arc<Mutex<World>>,
    ending: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// What it knows.
pub struct World {
    pub decider: Decider,
    pub nodes: BTreeMap<PoolId, Seat>,
    /// Other ways from a node to another than to its door.
    pub detours: BTreeMap<(PoolId, PoolId), String>,
    /// Snapshots that are wanted.
    pub snapshots: SnapshotsIntent,
    /// Replicas there are to be before the volume begins.
    replicas: usize,
    revision: u64,
}

/// A node that runs.
pub struct Seat {
    pub control: Control,
    /// Where other nodes bring clients.
    pub relay: String,
    /// Where their replicas come to.
    pub door: String,
    pub since: Instant,
    pub observed: Option<ReplicaObservation>,
    /// The last intent, but for its revision.
    told: Option<Intent>,
}

impl Plane {
    pub fn new(replicas: usize, members_min: usize) -> Self {
        let (nodes, detours) = (BTreeMap::new(), BTreeMap::new());
        let decider = Decider::new(members_min);
        let world = Arc::new(Mutex::new(World {
            decider,
            nodes,
            detours,
            snapshots: SnapshotsIntent::default(),
            replicas,
            revision: 0,
        }));
        let ending = Arc::new(AtomicBool::new(false));
        let (shared, is_over) = (Arc::clone(&world), Arc::clone(&ending));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let run = move || {
            while !is_over.load(Ordering::SeqCst) {
                runtime.block_on(turn(&shared));
                thread::sleep(PAUSE);
            }
        };
        Self { world, ending, thread: Some(thread::spawn(run)) }
    }

    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::SeqCst);
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || thread::panicking(), "the control plane panicked");
    }
}

/// Hears all nodes once, and tells them what follows.
async fn turn(world: &Mutex<World>) {
    let controls: Vec<(PoolId, Control)> =
        world.lock().unwrap().nodes.iter().map(|(pool, seat)| (*pool, seat.control.clone())).collect();
    let mut proposals = Vec::new();
    for (pool, control) in controls {
        while let Ok(Some((_, proposal))) = timeout(Duration::ZERO, control.proposal()).await {
            proposals.push(proposal);
        }
        let Ok(Some(holding)) = control.observe().await else { continue };
        let observed = holding.observation.replicas.into_iter().find(|replica| replica.volume == VOLUME);
        let mut world = world.lock().unwrap();
        if let Some(seat) = world.nodes.get_mut(&pool) {
            seat.observed.clone_from(&observed);
            world.decider.registered.extend(observed.and_then(|replica| replica.copy).map(|copy| (pool, copy)));
        }
    }
    let intents = world.lock().unwrap().decide(proposals);
    for (control, intent) in intents {
        drop(control.intend(Box::new(intent)).await);
    }
}

impl Seat {
    pub fn new(control: Control, relay: String, door: String) -> Self {
        Self { control, relay, door, since: Instant::now(), observed: None, told: None }
    }
}

impl World {
    /// What every node is to be told that was told something else before.
    fn decide(&mut self, proposals: Vec<Proposal>) -> Vec<(Control, Intent)> {
        for proposal in proposals {
            self.decider.decide(proposal);
        }
        if self.decider.decided.epoch.0 == 0 && self.decider.registered.len() == self.replicas {
            self.decider.begin(*self.decider.registered.keys().next().unwrap());
        }
        let nodes = &self.nodes;
        self.decider.recover(|pool| nodes.get(&pool).is_some_and(|seat| seat.since.elapsed() > PROMISE));
        let all: Vec<PoolId> = self.nodes.keys().copied().collect();
        all.into_iter().filter_map(|pool| self.news_for(pool)).collect()
    }

    fn news_for(&mut self, pool: PoolId) -> Option<(Control, Intent)> {
        let intent = self.intent(pool);
        let revision = self.revision + 1;
        let seat = self.nodes.get_mut(&pool).filter(|seat| seat.told.as_ref() != Some(&intent))?;
        seat.told = Some(intent.clone());
        self.revision = revision;
        Some((seat.control.clone(), Intent { revision, ..intent }))
    }

    fn intent(&self, pool: PoolId) -> Intent {
        let way = |other: &PoolId, seat: &Seat| self.detours.get(&(pool, *other)).unwrap_or(&seat.door).clone();
        let peers = self.nodes.iter().map(|(other, seat)| (*other, way(other, seat))).collect();
        let configuration = self.decider.decided.clone();
        let primary = self.nodes.get(&configuration.primary).filter(|_| configuration.primary != pool);
        let attachment = Attachment {
            client: "client".to_owned(),
            read_only: false,
            generation: 1,
            token: TokenHash::of_text(TOKEN).unwrap(),
        };
        let replica = ReplicaIntent {
            volume: VOLUME,
            name: "v1".to_owned(),
            size_bytes: VOLUME_BYTES,
            may_create: true,
            generation: 1,
            attachments: vec![attachment],
            open: false,
            snapshots: self.snapshots.clone(),
            copies: Some(CopiesIntent { configuration, peers, hand_over: None, wanted: Wanted::default() }),
        };
        Intent {
            whole: true,
            replicas: vec![replica],
            routes: primary
                .map(|seat| Route { name: "v1".to_owned(), address: seat.relay.clone() })
                .into_iter()
                .collect(),
            ..Intent::default()
        }
    }

    /// One snapshot more is wanted.
    pub fn want_snapshot(&mut self, id: u64) {
        self.snapshots.wanted.push(SnapshotIntent { id: SnapshotId(id), at: None, group: 0 });
    }

    /// Who serves.
    pub fn primary(&self) -> Option<PoolId> {
        let primary = self.decider.decided.primary;
        let copy = self.nodes.get(&primary)?.observed.as_ref()?.copy?;
        copy.is_serving.then_some(primary)
    }

    /// Whether every replica is a member and goes by the newest configuration.
    pub fn is_whole(&self) -> bool {
        let decided = &self.decider.decided;
        let is_in = |(pool, seat): (&PoolId, &Seat)| {
            seat.observed.as_ref().and_then(|replica| replica.copy).is_some_and(|copy| {
                let role = if *pool == decided.primary { "primary" } else { "backup" };
                copy.role == role && copy.epoch == decided.epoch
            })
        };
        decided.members.len() == self.replicas && self.nodes.len() == self.replicas && self.nodes.iter().all(is_in)
    }
}
