//! Three nodes, what is on its way between them, and the time, which goes on in steps.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use block::{Instant, PoolId, SnapshotId, WriteSeq};
use node::{
    CopiesIntent, CopyObservation, Event, HoldState, Intent, ReplicaIntent, SnapshotIntent, SnapshotsIntent, Wanted,
};

use crate::copies::decider::Decider;
use crate::rig::{MIB, Rig};
use crate::wanted::replica;
use crate::wire::{Reply, Request};

pub const NODES: usize = 3;
/// Time goes on by this at a time.
const STEP: Duration = Duration::from_millis(5);
/// Longer than a promise lasts.
const PROMISE: Duration = Duration::from_millis(1100);

pub fn name(node: usize) -> PoolId {
    PoolId(node as u128 + 1)
}

fn index(pool: PoolId) -> usize {
    usize::try_from(pool.0).unwrap() - 1
}

/// A connection between two nodes: the peer's number at each, and what is on its way to each.
struct Wire {
    ends: [(usize, usize); 2],
    under_way: [VecDeque<(Instant, Vec<u8>)>; 2],
    /// Nothing arrives, and nobody notices.
    is_stuck: bool,
}

/// A request of a client that was not answered.
pub struct Asked {
    pub node: usize,
    pub peer: usize,
    pub cookie: u64,
}

pub struct Trio {
    pub nodes: Vec<Rig>,
    /// Nodes whose process is gone.
    pub down: BTreeSet<usize>,
    /// From where nothing arrives where.
    pub blocked: BTreeSet<(usize, usize)>,
    /// Nodes that the control plane is not heard by, nor hears.
    pub cut_off: BTreeSet<usize>,
    pub delay: Duration,
    pub decider: Decider,
    pub now: Instant,
    wires: Vec<Wire>,
    started: [Instant; NODES],
    revision: u64,
    /// The configuration each node heard of.
    heard: [u32; NODES],
    wanted: ReplicaIntent,
    hand_over: Option<PoolId>,
    /// What each node is told of its cluster.
    pub clusters: [u128; NODES],
    replicas: Wanted,
    is_alone: bool,
    doomed: Vec<SnapshotId>,
}

impl Trio {
    /// Three nodes with an empty volume of 4 MiB, all in sync.
    pub fn new(members_min: usize) -> Self {
        Self::sized(members_min, [128 * MIB; NODES], 4 * MIB)
    }

    pub fn sized(members_min: usize, pool_bytes: [u64; NODES], size_bytes: u64) -> Self {
        let mut trio = Self::unmade(members_min, pool_bytes, size_bytes);
        trio.replicate();
        trio.until_whole();
        trio
    }

    /// The first node has the volume, alone, and the others have nothing.
    pub fn alone() -> Self {
        let mut trio = Self::unmade(1, [128 * MIB; NODES], 4 * MIB);
        trio.is_alone = true;
        trio.until("it is made", |trio| trio.nodes[0].observed(1).is_some());
        trio
    }

    /// From now on all have it.
    pub fn replicate(&mut self) {
        self.is_alone = false;
        self.heard = [u32::MAX; NODES];
        self.until("replicas are registered", |trio| trio.decider.registered.len() == NODES);
        self.decider.begin(name(0));
    }

    fn unmade(members_min: usize, pool_bytes: [u64; NODES], size_bytes: u64) -> Self {
        Self {
            nodes: (0..NODES).map(|node| Rig::member(name(node), pool_bytes[node])).collect(),
            down: BTreeSet::new(),
            blocked: BTreeSet::new(),
            cut_off: BTreeSet::new(),
            delay: Duration::ZERO,
            decider: Decider::new(members_min),
            now: Instant(1_000_000_000),
            wires: Vec::new(),
            started: [Instant(0); NODES],
            revision: 0,
            heard: [u32::MAX; NODES],
            wanted: ReplicaIntent { open: true, size_bytes, ..replica() },
            hand_over: None,
            clusters: [77; NODES],
            replicas: Wanted::default(),
            is_alone: false,
            doomed: Vec::new(),
        }
    }

    /// The control plane wants something else of the volume than before, of every node.
    pub fn want(&mut self, wanted: ReplicaIntent) {
        self.wanted = wanted;
        self.heard = [u32::MAX; NODES];
    }

    /// The volume should have this size, and these snapshots.
    pub fn want_sized(&mut self, size_bytes: u64, snapshots: &[(u64, Option<WriteSeq>)]) {
        let snapshots = crate::wanted::cut(snapshots);
        self.want(ReplicaIntent { size_bytes, snapshots, ..self.wanted.clone() });
    }

    /// Another node should be primary.
    pub fn hand_over(&mut self, to: Option<usize>) {
        self.hand_over = to.map(name);
        self.heard = [u32::MAX; NODES];
    }

    /// All replicas but these are wanted, and so many members stay.
    pub fn want_all_but(&mut self, unwanted: &[usize], copies: usize) {
        let unwanted = unwanted.iter().map(|node| name(*node)).collect();
        self.replicas = Wanted { unwanted, copies };
        self.heard = [u32::MAX; NODES];
    }

    // Time.

    pub fn step(&mut self) {
        self.now = self.now + STEP;
        for node in 0..NODES {
            if !self.down.contains(&node) {
                self.nodes[node].now = self.nodes[node].now.max(self.now);
                self.nodes[node].run();
            }
        }
        self.dial();
        self.carry();
        self.control();
    }

    pub fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.step();
        }
    }

    pub fn until(&mut self, what: &str, mut is_so: impl FnMut(&mut Self) -> bool) {
        for _ in 0..6000 {
            if is_so(self) {
                return;
            }
            self.step();
        }
        let states: Vec<_> = (0..NODES).map(|node| self.observed(node)).collect();
        panic!("it never comes to pass that {what}: {:?} {states:?}", self.decider.decided);
    }

    /// Every node is a member, and somebody serves.
    pub fn until_whole(&mut self) {
        self.until("all are in sync", |trio| {
            let primary = trio.decider.decided.primary;
            trio.decider.decided.members.len() == NODES
                && (0..NODES).all(|node| {
                    let role = if name(node) == primary { "primary" } else { "backup" };
                    trio.observed(node)
                        .is_some_and(|copy| copy.role == role && copy.epoch == trio.decider.decided.epoch)
                })
        });
    }

    // The network.

    fn dial(&mut self) {
        for node in 0..NODES {
            for pool in std::mem::take(&mut self.nodes[node].dials) {
                let other = index(pool);
                let is_free = !self.blocked.contains(&(node, other)) && !self.blocked.contains(&(other, node));
                if self.down.contains(&node) {
                    continue;
                }
                if self.down.contains(&other) || !is_free {
                    self.nodes[node].handle(Event::PeerFailed { peer: pool });
                    continue;
                }
                let ends = [(node, self.nodes[node].join(Some(pool))), (other, self.nodes[other].join(None))];
                self.wires.push(Wire { ends, under_way: [VecDeque::new(), VecDeque::new()], is_stuck: false });
            }
        }
    }

    fn carry(&mut self) {
        let mut wires = std::mem::take(&mut self.wires);
        wires.retain_mut(|wire| self.carry_wire(wire));
        self.wires = wires;
    }

    /// Whether the connection lives.
    fn carry_wire(&mut self, wire: &mut Wire) -> bool {
        let is_closed = |trio: &Self, (node, peer): (usize, usize)| trio.nodes[node].peers[peer].closed;
        let [a, b] = wire.ends;
        for (side, (from, to)) in [(a, b), (b, a)].into_iter().enumerate() {
            if is_closed(self, from) {
                if !is_closed(self, to) && !self.blocked.contains(&(from.0, to.0)) {
                    // What was said before the end arrives before it.
                    let last = self.nodes[from.0].heard_by(from.1);
                    let rest = wire.under_way[side].drain(..).flat_map(|(_, bytes)| bytes).chain(last);
                    let peer = &mut self.nodes[to.0].peers[to.1];
                    peer.outgoing.extend(rest);
                    peer.gone = true;
                }
                return !is_closed(self, to) && self.blocked.contains(&(from.0, to.0));
            }
        }
        for (side, (from, to)) in [(a, b), (b, a)].into_iter().enumerate() {
            if self.down.contains(&from.0) || self.down.contains(&to.0) {
                continue;
            }
            let bytes = self.nodes[from.0].heard_by(from.1);
            if !bytes.is_empty() {
                wire.under_way[side].push_back((self.now + self.delay, bytes));
            }
            while !wire.is_stuck
                && !self.blocked.contains(&(from.0, to.0))
                && wire.under_way[side].front().is_some_and(|(due, _)| *due <= self.now)
            {
                let (_, bytes) = wire.under_way[side].pop_front().unwrap();
                self.nodes[to.0].peers[to.1].outgoing.extend(bytes);
            }
        }
        true
    }

    /// Every connection between the two breaks.
    pub fn cut(&mut self, a: usize, b: usize) {
        for wire in &self.wires {
            let [(one, first), (other, second)] = wire.ends;
            if (one, other) == (a, b) || (one, other) == (b, a) {
                self.nodes[one].reset(first);
                self.nodes[other].reset(second);
            }
        }
        self.wires.retain(|wire| {
            let nodes = [wire.ends[0].0, wire.ends[1].0];
            nodes != [a, b] && nodes != [b, a]
        });
    }

    fn wires_of(&mut self, a: usize, b: usize) -> impl Iterator<Item = &mut Wire> {
        self.wires.iter_mut().filter(move |wire| {
            let nodes = [wire.ends[0].0, wire.ends[1].0];
            nodes == [a, b] || nodes == [b, a]
        })
    }

    /// How many connections the two have.
    pub fn connections(&mut self, a: usize, b: usize) -> usize {
        self.wires_of(a, b).count()
    }

    /// The two's first connection, which is for all but heartbeats, stands still, or goes on.
    pub fn hold_up(&mut self, a: usize, b: usize, is_stuck: bool) {
        self.wires_of(a, b).next().expect("they are connected").is_stuck = is_stuck;
    }

    pub fn is_held_up(&mut self, a: usize, b: usize) -> bool {
        self.wires_of(a, b).any(|wire| wire.is_stuck)
    }

    /// The two's last connection, which is for heartbeats, breaks.
    pub fn cut_beats(&mut self, a: usize, b: usize) {
        let ends = self.wires_of(a, b).last().expect("they are connected").ends;
        ends.into_iter().for_each(|(node, peer)| self.nodes[node].reset(peer));
        self.wires.retain(|wire| wire.ends != ends);
    }

    /// Nothing goes between the two any more, and nobody notices.
    pub fn block(&mut self, a: usize, b: usize) {
        self.blocked.extend([(a, b), (b, a)]);
    }

    /// The node has nobody any more.
    pub fn isolate(&mut self, node: usize) {
        (0..NODES).filter(|other| *other != node).for_each(|other| self.block(node, other));
        self.cut_off.insert(node);
    }

    pub fn heal(&mut self) {
        self.blocked.clear();
        self.cut_off.clear();
    }

    // Processes.

    pub fn kill(&mut self, node: usize) {
        self.down.insert(node);
        (0..NODES).filter(|other| *other != node).for_each(|other| self.cut(node, other));
    }

    pub fn start(&mut self, node: usize) {
        assert!(self.down.remove(&node), "it is down");
        let killed = std::mem::replace(&mut self.nodes[node], Rig::empty(64 * MIB));
        self.nodes[node] = killed.killed();
        self.nodes[node].now = self.now;
        self.started[node] = self.now;
        self.heard[node] = u32::MAX;
    }

    // The control plane.

    fn control(&mut self) {
        for node in 0..NODES {
            let proposals = std::mem::take(&mut self.nodes[node].proposals);
            if self.down.contains(&node) || self.cut_off.contains(&node) {
                continue;
            }
            self.decider.proposals.extend(proposals);
            if let Some(copy) = self.observed(node) {
                self.decider.registered.insert(name(node), copy);
            }
        }
        self.decider.decide();
        let (down, cut_off, started, now) = (&self.down, &self.cut_off, &self.started, self.now);
        self.decider.recover(|pool| {
            let node = index(pool);
            !down.contains(&node) && !cut_off.contains(&node) && started[node] + PROMISE < now
        });
        for node in 0..NODES {
            let is_told = self.heard[node] == self.decider.decided.epoch.0;
            if !is_told && !self.down.contains(&node) && !self.cut_off.contains(&node) {
                self.heard[node] = self.decider.decided.epoch.0;
                self.tell(node);
            }
        }
    }

    fn tell(&mut self, node: usize) {
        self.revision += 1;
        let peers: BTreeMap<PoolId, String> = (0..NODES).map(|node| (name(node), format!("n{node}"))).collect();
        let (configuration, hand_over) = (self.decider.decided.clone(), self.hand_over);
        let copies = CopiesIntent { configuration, peers, hand_over, wanted: self.replicas.clone() };
        let replica = ReplicaIntent { copies: Some(copies).filter(|_| !self.is_alone), ..self.wanted.clone() };
        let replicas = if self.is_alone && node > 0 { Vec::new() } else { vec![replica] };
        let (cluster, revision) = (self.clusters[node], self.revision);
        let snapshot_deletions = self.doomed.clone();
        let intent = Intent { cluster, revision, whole: true, replicas, snapshot_deletions, ..Intent::default() };
        self.nodes[node].handle(Event::Intended(Box::new(intent)));
    }

    pub fn observed(&self, node: usize) -> Option<CopyObservation> {
        if self.down.contains(&node) {
            return None;
        }
        self.nodes[node].observed(1)?.copy
    }

    // Clients.

    /// Who serves.
    pub fn primary(&self) -> Option<usize> {
        (0..NODES).find(|node| {
            let is_decided = name(*node) == self.decider.decided.primary;
            is_decided && self.observed(*node).is_some_and(|copy| copy.is_serving)
        })
    }

    pub fn until_served(&mut self) -> usize {
        self.until("somebody serves", |trio| trio.primary().is_some());
        self.primary().unwrap()
    }

    /// A client connects to whoever serves.
    pub fn connect(&mut self) -> (usize, usize) {
        let node = self.until_served();
        let peer = self.nodes[node].connect_to("v", false);
        assert!(self.nodes[node].peers[peer].listener.export.is_some(), "the export opens");
        (node, peer)
    }

    pub fn ask(&mut self, (node, peer): (usize, usize), request: &Request) -> Asked {
        Asked { node, peer, cookie: self.nodes[node].ask(peer, request) }
    }

    pub fn answer(&mut self, asked: &Asked) -> Option<Reply> {
        self.nodes[asked.node].reply(asked.peer, asked.cookie)
    }

    pub fn is_gone(&self, (node, peer): (usize, usize)) -> bool {
        self.down.contains(&node) || self.nodes[node].peers.get(peer).is_none_or(|peer| peer.closed)
    }

    /// Sends a request and waits for its reply.
    pub fn call(&mut self, client: (usize, usize), request: &Request) -> Reply {
        let asked = self.ask(client, request);
        let mut found = None;
        self.until("it is answered", |trio| {
            found = trio.answer(&asked);
            found.is_some()
        });
        found.unwrap()
    }

    pub fn write(&mut self, client: (usize, usize), offset: u64, bytes: &[u8]) {
        assert_eq!(self.call(client, &Request::write(offset, bytes)).error, 0);
    }

    pub fn read(&mut self, client: (usize, usize), offset: u64, len_bytes: u32) -> Vec<u8> {
        let reply = self.call(client, &Request::new(crate::wire::READ, offset, len_bytes));
        assert_eq!(reply.error, 0);
        reply.data
    }

    pub fn flush(&mut self, client: (usize, usize)) {
        assert_eq!(self.call(client, &Request::new(crate::wire::FLUSH, 0, 0)).error, 0);
    }

    /// The content of every replica, as it lies in its pool; the end of this world.
    pub fn contents(mut self) -> Vec<Vec<u8>> {
        self.pass(Duration::from_millis(500));
        self.nodes.into_iter().map(content_of).collect()
    }
}

impl Trio {
    /// What these snapshots hold on each node, as it lies in its pool; the end of this world.
    pub fn snapshot_contents(mut self, snapshots: &[u64]) -> Vec<Vec<Vec<u8>>> {
        self.pass(Duration::from_millis(500));
        let of = |rig: Rig| {
            let mut alone = Rig::on(rig.disk, crate::rig::config());
            snapshots.iter().map(|snapshot| alone.snapshot_content(*snapshot)).collect()
        };
        self.nodes.into_iter().map(of).collect()
    }

    /// See [`Trio::contents`] and [`Trio::snapshot_contents`].
    pub fn contents_with(mut self, snapshots: &[u64]) -> (Vec<Vec<u8>>, Vec<Vec<Vec<u8>>>) {
        self.pass(Duration::from_millis(500));
        let mut all: Vec<_> = self.nodes.into_iter().map(|rig| Rig::on(rig.disk, crate::rig::config())).collect();
        let of_snapshots = |alone: &mut Rig| snapshots.iter().map(|id| alone.snapshot_content(*id)).collect();
        let cut = all.iter_mut().map(of_snapshots).collect();
        (all.iter_mut().map(content_of_pool).collect(), cut)
    }

    /// The snapshots that a node tells of, with their places.
    pub fn snapshots(&self, node: usize) -> Vec<(u64, WriteSeq)> {
        if self.down.contains(&node) {
            return Vec::new();
        }
        let observed = self.nodes[node].observed(1);
        observed.into_iter().flat_map(|replica| replica.snapshots).map(|found| (found.id.0, found.at)).collect()
    }

    /// These snapshots are wanted; waits until the primary tells of all of them, and answers their places.
    pub fn snapshot(&mut self, snapshots: &[u64]) -> Vec<(u64, WriteSeq)> {
        self.want_snapshots(snapshots, &[]);
        let mut told = Vec::new();
        self.until("the primary tells of them", |trio| {
            told = trio.primary().map(|node| trio.snapshots(node)).unwrap_or_default();
            snapshots.iter().all(|wanted| told.iter().any(|(id, _)| id == wanted))
        });
        told
    }

    /// These snapshots are wanted, and those are known by their places.
    pub fn want_snapshots(&mut self, snapshots: &[u64], known: &[(u64, WriteSeq)]) {
        let place = |id: &u64| (*id, known.iter().find(|(known, _)| known == id).map(|(_, at)| *at));
        let wanted: Vec<_> = snapshots.iter().map(place).collect();
        self.want(ReplicaIntent { snapshots: crate::wanted::cut(&wanted), ..self.wanted.clone() });
    }

    /// Only these snapshots are wanted of the volume.
    pub fn retire(&mut self, known: &[(u64, WriteSeq)]) {
        let wanted: Vec<_> = known.iter().map(|(id, at)| (*id, Some(*at))).collect();
        let snapshots = SnapshotsIntent { retired: true, ..crate::wanted::cut(&wanted) };
        self.want(ReplicaIntent { snapshots, ..self.wanted.clone() });
    }

    /// The volume holds for this group, and this snapshot of it is wanted, if any.
    pub fn hold(&mut self, group: u64, snapshot: Option<u64>) {
        let wanted = |id| SnapshotIntent { id: SnapshotId(id), at: None, group: 4 };
        let wanted = snapshot.into_iter().map(wanted).collect();
        let snapshots = SnapshotsIntent { wanted, hold: group, ..SnapshotsIntent::default() };
        self.want(ReplicaIntent { snapshots, ..self.wanted.clone() });
    }

    /// What became of a node's last hold.
    pub fn held(&self, node: usize) -> Option<HoldState> {
        self.nodes[node].observed(1)?.hold.map(|hold| hold.state)
    }

    /// Snapshots that every node is to delete from now on.
    pub fn doom(&mut self, snapshots: &[u64]) {
        self.doomed = snapshots.iter().map(|id| SnapshotId(*id)).collect();
        self.heard = [u32::MAX; NODES];
    }
}

/// The content of a node's replica, by another program.
fn content_of(rig: Rig) -> Vec<u8> {
    content_of_pool(&mut Rig::on(rig.disk, crate::rig::config()))
}

fn content_of_pool(alone: &mut Rig) -> Vec<u8> {
    let peer = alone.connect_to("v@1", false);
    let (size_bytes, _) = alone.peers[peer].listener.export.expect("the export is open");
    let piece = |at: u64| u32::try_from((size_bytes - at).min(4 * MIB)).expect("a piece");
    (0..size_bytes).step_by(4 << 20).flat_map(|at| alone.read(peer, at, piece(at))).collect()
}
