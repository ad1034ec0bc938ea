//! The node, its disk, its clients, and the one who decides what happens next: a sequence of random numbers.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use block::{Instant, PoolId, PoolOffset};
use node::{
    Answer, Command, ConnId, ControlError, ControlId, Door, Effect, Event, Intent, Node, NodeConfig, Offer, PeerFault,
    Relay, ReplicaObservation, Report, Why, limits,
};
use replication::Proposal;
use store::{BootId, FormatOptions, IoId, Job, JobId};

use crate::disk::{Disk, FAILED};
use crate::wire::{Listener, Reply, Request, hello};

pub const MIB: u64 = 1 << 20;

enum Pending {
    Write { io: IoId, at: PoolOffset },
    Read { io: IoId, at: PoolOffset },
    Sync { io: IoId },
    Job { id: JobId, job: Job },
}

/// One connection, seen from outside.
pub struct Peer {
    pub conn: ConnId,
    /// What the client sent and the node has not received.
    pub outgoing: VecDeque<u8>,
    pub listener: Listener,
    /// Whether the client takes what is sent to it.
    pub listens: bool,
    /// End of stream or reset.
    pub gone: bool,
    /// Address and length of an outstanding receive's target.
    receive: Option<(usize, usize)>,
    send: bool,
    close: bool,
    pub closed: bool,
    broken: bool,
    next_cookie: u64,
    /// The node handed it over.
    pub relay: Option<Relay>,
    /// Its listener is elsewhere: what it is sent is kept for that one.
    recorded: Option<Vec<u8>>,
}

pub struct Rig {
    pub node: Node,
    pub disk: Disk,
    pub now: Instant,
    pub peers: Vec<Peer>,
    pending: Vec<Pending>,
    /// Whether the disk completes anything.
    pub disk_runs: bool,
    /// Largest number of bytes a receive or send transfers.
    pub transfer_max: usize,
    seed: u64,
    pub answers: BTreeMap<u64, Result<Answer, ControlError>>,
    pub ended: Vec<(ConnId, Why)>,
    pub measured: u64,
    pub stopped: bool,
    next_control: u64,
    pub syncs: u64,
    /// How often the node said that there is something new to observe.
    pub news: u64,
    /// Nodes to be connected to.
    pub dials: Vec<PoolId>,
    pub proposals: Vec<Proposal>,
    /// What was wrong with connections of other nodes.
    pub faults: Vec<PeerFault>,
    /// Sends that ended, of which the node was not told.
    untold: Vec<(ConnId, usize)>,
}

pub fn config() -> NodeConfig {
    NodeConfig::default()
}

/// Of a node that lives by intents.
pub fn intended() -> NodeConfig {
    NodeConfig { offer: Offer::Intended, ..NodeConfig::default() }
}

/// A disk with an empty pool.
fn blank(pool_bytes: u64) -> Disk {
    named(PoolId(7), pool_bytes)
}

/// Of a node that has replicas of other nodes' volumes.
pub fn member() -> NodeConfig {
    NodeConfig { cold: false, ..intended() }
}

fn named(pool: PoolId, pool_bytes: u64) -> Disk {
    let mut disk = Disk::new(usize::try_from(pool_bytes).unwrap());
    let options = FormatOptions { zeroed: true, segment_pages: 512, ..FormatOptions::new(pool, pool_bytes, BootId(1)) };
    for (at, pages) in store::format(&options).unwrap() {
        disk.write(at, pages.bytes()).unwrap();
    }
    disk
}

impl Rig {
    /// A node on a new pool, with one volume `v`.
    pub fn new(pool_bytes: u64, volume_bytes: u64) -> Self {
        let mut rig = Self::empty(pool_bytes);
        rig.create("v", volume_bytes);
        rig
    }

    pub fn empty(pool_bytes: u64) -> Self {
        Self::on(blank(pool_bytes), config())
    }

    /// A node on what a disk holds.
    pub fn on(mut disk: Disk, config: NodeConfig) -> Self {
        let opened = store::open(&disk, disk.len_bytes(), BootId(1)).unwrap();
        for (at, pages) in opened.writes {
            disk.write(at, pages.bytes()).unwrap();
        }
        Self {
            node: Node::new(opened.store, config),
            disk,
            now: Instant(1_000_000_000),
            peers: Vec::new(),
            pending: Vec::new(),
            disk_runs: true,
            transfer_max: usize::MAX,
            seed: 0x9e37_79b9_7f4a_7c15,
            answers: BTreeMap::new(),
            ended: Vec::new(),
            measured: 0,
            stopped: false,
            next_control: 0,
            syncs: 0,
            news: 0,
            dials: Vec::new(),
            proposals: Vec::new(),
            faults: Vec::new(),
            untold: Vec::new(),
        }
    }

    /// A node on a new pool of this name that lives by intents, and has replicas.
    pub fn member(pool: PoolId, pool_bytes: u64) -> Self {
        Self::on(named(pool, pool_bytes), member())
    }

    /// The same node after its process was killed.
    pub fn killed(self) -> Self {
        let config = self.node.config().clone();
        let mut next = Self::on(self.disk, config);
        (next.now, next.seed) = (self.now, self.seed);
        next
    }

    /// Another node connects, or was connected to.
    pub fn join(&mut self, dialled: Option<PoolId>) -> usize {
        match dialled {
            None => {
                let peer = self.connect_by(Door::Peer);
                self.record(peer);
                peer
            }
            Some(pool) => {
                let peer = self.add_peer();
                self.record(peer);
                let conn = self.peers[peer].conn;
                self.handle(Event::PeerConnected { peer: pool, conn });
                peer
            }
        }
    }

    /// The connection is reset: what is on its way is lost.
    pub fn reset(&mut self, peer: usize) {
        self.peers[peer].outgoing.clear();
        self.peers[peer].gone = true;
    }

    /// A node on a new pool, set up so.
    pub fn empty_with(pool_bytes: u64, config: NodeConfig) -> Self {
        Self::on(blank(pool_bytes), config)
    }

    /// A node on a new pool that lives by intents.
    pub fn intended(pool_bytes: u64) -> Self {
        Self::on(blank(pool_bytes), intended())
    }

    /// The same node after a stop and a start.
    pub fn restarted(mut self) -> Self {
        self.handle(Event::Stop);
        self.run();
        assert!(self.stopped);
        let config = self.node.config().clone();
        Self::on(self.disk, config)
    }

    pub fn seed(&mut self, seed: u64) {
        self.seed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    }

    pub fn random(&mut self, below: usize) -> usize {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        usize::try_from(self.seed >> 33).unwrap() % below.max(1)
    }

    // What clients do.

    /// A client connects over a unix socket; nothing is said yet.
    pub fn connect_silent(&mut self) -> usize {
        self.connect_by(Door::Client { peer: None })
    }

    /// Somebody connects; nothing is said yet.
    pub fn connect_by(&mut self, door: Door) -> usize {
        let peer = self.add_peer();
        let conn = self.peers[peer].conn;
        self.handle(Event::Accepted { conn, door });
        peer
    }

    fn add_peer(&mut self) -> usize {
        let slot = u32::try_from(self.peers.len()).unwrap();
        let conn = ConnId { slot, generation: slot + 100 };
        self.peers.push(Peer {
            conn,
            outgoing: VecDeque::new(),
            listener: Listener::default(),
            listens: true,
            gone: false,
            receive: None,
            send: false,
            close: false,
            closed: false,
            broken: false,
            next_cookie: 1,
            relay: None,
            recorded: None,
        });
        self.peers.len() - 1
    }

    /// A client opens an export.
    pub fn connect_to(&mut self, export: &str, structured: bool) -> usize {
        let peer = self.connect_silent();
        self.peers[peer].outgoing.extend(hello(export, structured));
        self.run();
        peer
    }

    pub fn connect(&mut self) -> usize {
        let peer = self.connect_to("v", false);
        assert!(self.peers[peer].listener.export.is_some(), "the export opens");
        peer
    }

    /// Sends a request; the reply will be under the cookie.
    pub fn ask(&mut self, peer: usize, request: &Request) -> u64 {
        let peer = &mut self.peers[peer];
        let cookie = peer.next_cookie;
        peer.next_cookie += 1;
        let asked = (request.command, request.offset, request.len_bytes as usize);
        peer.listener.asked.insert(cookie, asked);
        peer.outgoing.extend(request.bytes(cookie));
        cookie
    }

    pub fn reply(&mut self, peer: usize, cookie: u64) -> Option<Reply> {
        self.peers[peer].listener.replies.remove(&cookie)
    }

    /// Sends a request and waits for its reply.
    pub fn call(&mut self, peer: usize, request: &Request) -> Reply {
        let cookie = self.ask(peer, request);
        self.run();
        self.reply(peer, cookie).unwrap_or_else(|| panic!("{request:?} is answered"))
    }

    pub fn read(&mut self, peer: usize, offset: u64, len_bytes: u32) -> Vec<u8> {
        let reply = self.call(peer, &Request::new(crate::wire::READ, offset, len_bytes));
        assert_eq!(reply.error, 0);
        reply.data
    }

    pub fn write(&mut self, peer: usize, offset: u64, bytes: &[u8]) {
        assert_eq!(self.call(peer, &Request::write(offset, bytes)).error, 0);
    }

    /// From now on, what a client is sent is kept.
    pub fn record(&mut self, peer: usize) {
        self.peers[peer].recorded = Some(Vec::new());
    }

    /// What a client was sent since it was recorded.
    pub fn heard_by(&mut self, peer: usize) -> Vec<u8> {
        self.peers[peer].recorded.replace(Vec::new()).expect("it is recorded")
    }

    /// A client opens an export, coming in by `door`.
    pub fn open_by(&mut self, door: Door, export: &str) -> usize {
        let peer = self.connect_by(door);
        self.peers[peer].outgoing.extend(hello(export, false));
        self.run();
        peer
    }

    /// All of a volume, as a client sees it.
    pub fn content(&mut self, peer: usize) -> Vec<u8> {
        let (size_bytes, _) = self.peers[peer].listener.export.expect("the export is open");
        self.read(peer, 0, u32::try_from(size_bytes).unwrap())
    }

    // What the control plane does.

    /// The node is told an intent, and does what it can.
    pub fn intend(&mut self, intent: Intent) {
        self.handle(Event::Intended(Box::new(intent)));
        self.run();
    }

    /// What the node says of a volume.
    pub fn observed(&self, volume: u64) -> Option<ReplicaObservation> {
        let observation = self.node.observation();
        observation.replicas.into_iter().find(|replica| replica.volume.0 == volume)
    }

    pub fn heard(&self) -> u64 {
        self.node.observation().heard
    }

    // What operators do.

    pub fn command(&mut self, command: Command) -> u64 {
        self.next_control += 1;
        self.handle(Event::Control { id: ControlId(self.next_control), command });
        self.next_control
    }

    pub fn order(&mut self, command: Command) -> Result<Answer, ControlError> {
        let id = self.command(command);
        self.run();
        self.answers.remove(&id).expect("every command is answered")
    }

    /// What a snapshot of 4 MiB holds, by way of a clone.
    pub fn snapshot_content(&mut self, snapshot: u64) -> Vec<u8> {
        let name = format!("s{snapshot}");
        let source = store::Source::Snapshot(block::SnapshotId(snapshot));
        let clone = Command::CloneVolume { source, name: name.clone(), size_bytes: 4 * MIB };
        self.order(clone).expect("there is such a snapshot");
        let peer = self.connect_to(&name, false);
        self.content(peer)
    }

    pub fn create(&mut self, name: &str, size_bytes: u64) {
        let answer = self.order(Command::CreateVolume { name: name.to_owned(), size_bytes });
        assert!(matches!(answer, Ok(Answer::Created(_))), "{answer:?}");
    }

    // What happens.

    pub fn handle(&mut self, event: Event) {
        for (conn, len_bytes) in std::mem::take(&mut self.untold) {
            self.tell(Event::Sent { conn, len_bytes });
        }
        self.tell(event);
    }

    fn tell(&mut self, event: Event) {
        let mut effects = Vec::new();
        self.node.handle(self.now, event, &mut effects);
        for effect in effects {
            self.carry_out(effect);
        }
    }

    /// Lets everything happen that can, until nothing can.
    pub fn run(&mut self) {
        for _ in 0..10_000_000 {
            self.turn();
            let able =
                (self.disk_runs && !self.pending.is_empty()) || (0..self.peers.len()).any(|peer| self.is_able(peer));
            let busy = self.node.deadline().is_some_and(|deadline| deadline <= self.now);
            if !able && !busy {
                return;
            }
        }
        panic!("it never comes to rest");
    }

    /// One turn: some things happen, then it ends.
    pub fn turn(&mut self) {
        for _ in 0..=self.random(8) {
            self.happen();
        }
        self.now = self.now + Duration::from_micros(10);
        self.handle(Event::TurnEnded);
        self.check_bounds();
    }

    pub fn wait(&mut self, time: Duration) {
        self.run();
        self.now = self.now + time;
        self.run();
    }

    fn happen(&mut self) {
        let disk = if self.disk_runs { self.pending.len() } else { 0 };
        let able: Vec<usize> = (0..self.peers.len()).filter(|&peer| self.is_able(peer)).collect();
        if disk + able.len() == 0 {
            return;
        }
        let choice = self.random(disk + able.len());
        if choice < disk { self.complete(choice) } else { self.transfer(able[choice - disk]) }
    }

    fn is_able(&self, peer: usize) -> bool {
        let peer = &self.peers[peer];
        if peer.closed {
            return false;
        }
        let receives = peer.receive.is_some() && !peer.outgoing.is_empty();
        let breaks = peer.gone && !peer.broken && (peer.receive.is_some() || peer.send) && peer.outgoing.is_empty();
        let sends = peer.send && peer.listens && !peer.gone;
        receives || sends || breaks || peer.close
    }

    fn transfer(&mut self, index: usize) {
        let conn = self.peers[index].conn;
        let coin = self.random(2);
        let peer = &mut self.peers[index];
        if peer.close {
            // What was under way may still come to its end.
            if coin == 0 && peer.receive.is_some() && !peer.outgoing.is_empty() {
                return self.receive(index);
            }
            peer.closed = true;
            return self.handle(Event::Closed { conn });
        }
        if peer.gone && !peer.broken && peer.outgoing.is_empty() {
            (peer.broken, peer.receive) = (true, None);
            return self.handle(Event::Broken { conn });
        }
        let sends = peer.send && peer.listens && !peer.gone;
        if sends && (peer.receive.is_none() || peer.outgoing.is_empty() || self.random(2) == 0) {
            self.send(index);
        } else {
            self.receive(index);
        }
    }

    fn receive(&mut self, index: usize) {
        let len_bytes = 1 + self.random(self.peers[index].outgoing.len().min(self.transfer_max));
        self.receive_some(index, len_bytes);
    }

    /// Whether the node waits for bytes of the client.
    pub fn receives(&self, index: usize) -> bool {
        self.peers[index].receive.is_some()
    }

    /// Everything the client sent arrives at once; it has to fit.
    pub fn deliver(&mut self, index: usize) {
        self.receive_some(index, usize::MAX);
        assert!(self.peers[index].outgoing.is_empty());
    }

    fn receive_some(&mut self, index: usize, len_bytes: usize) {
        let (address, target_bytes) = self.peers[index].receive.take().expect("a receive is outstanding");
        let available = self.peers[index].outgoing.len().min(target_bytes);
        let conn = self.peers[index].conn;
        let len_bytes = len_bytes.min(available);
        let target = self.node.receive_target(conn);
        assert_eq!(target.as_ptr() as usize, address, "the target of a receive stays where it was");
        let outgoing = &mut self.peers[index].outgoing;
        let from_front = len_bytes.min(outgoing.as_slices().0.len());
        target[..from_front].copy_from_slice(&outgoing.as_slices().0[..from_front]);
        target[from_front..len_bytes].copy_from_slice(&outgoing.as_slices().1[..len_bytes - from_front]);
        outgoing.drain(..len_bytes);
        self.handle(Event::Received { conn, len_bytes });
    }

    fn send(&mut self, index: usize) {
        let conn = self.peers[index].conn;
        let available = self.unsent_bytes(conn);
        let len_bytes = (1 + self.random(available.min(self.transfer_max))).min(available);
        self.transmit(index, len_bytes);
        self.handle(Event::Sent { conn, len_bytes });
    }

    /// A send that nobody waits for is told with the next event, should all of it go out at once.
    fn try_send(&mut self, index: usize) {
        let conn = self.peers[index].conn;
        let available = self.unsent_bytes(conn);
        let is_able = self.peers[index].listens && !self.peers[index].gone;
        if is_able && available <= self.transfer_max && self.random(4) > 0 {
            self.transmit(index, available);
            self.untold.push((conn, available));
        }
    }

    fn unsent_bytes(&self, conn: ConnId) -> usize {
        let available = self.node.send_source(conn).expect("known").map(<[u8]>::len).sum();
        assert!(available > 0, "there is something to send");
        available
    }

    /// The first bytes of what is to be sent go out.
    fn transmit(&mut self, index: usize, len_bytes: usize) {
        let conn = self.peers[index].conn;
        let mut left = len_bytes;
        let peer = &mut self.peers[index];
        peer.send = false;
        for slice in self.node.send_source(conn).expect("known") {
            let heard = left.min(slice.len());
            match &mut peer.recorded {
                Some(recorded) => recorded.extend_from_slice(&slice[..heard]),
                None => peer.listener.hear(&slice[..heard]),
            }
            left -= heard;
        }
    }

    fn complete(&mut self, choice: usize) {
        let event = match self.pending.swap_remove(choice) {
            Pending::Write { io, at } => {
                let result = self.disk.write(at, self.node.write_source(io).0);
                store::Event::Written { io, result }
            }
            Pending::Read { io, at } => {
                let result = self.disk.fill(at, self.node.read_target(io).0);
                store::Event::ReadEnded { io, result }
            }
            Pending::Sync { io } => {
                self.syncs += 1;
                store::Event::Synced { io, result: if self.disk.syncs_fail { Err(FAILED) } else { Ok(()) } }
            }
            Pending::Job { id, job } => store::Event::JobEnded { job: id, output: job.run(&self.disk) },
        };
        self.handle(Event::Disk(event));
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Receive { conn } => {
                let target = self.node.receive_target(conn);
                let target = (target.as_ptr() as usize, target.len());
                assert!(target.1 > 0, "there is room to receive to");
                let peer = self.peer(conn);
                assert!(peer.receive.is_none() && !peer.close, "one receive at a time");
                peer.receive = Some(target);
            }
            Effect::Send { conn, awaited } => {
                let peer = self.peer(conn);
                assert!(!peer.send && !peer.close, "one send at a time");
                assert!(self.untold.iter().all(|(untold, _)| *untold != conn), "one send at a time");
                self.peer(conn).send = true;
                if !awaited {
                    let index = self.peers.iter().position(|peer| peer.conn == conn).expect("it is there");
                    self.try_send(index);
                }
            }
            Effect::Close { conn } => {
                let peer = self.peer(conn);
                assert!(!peer.close, "closed once");
                peer.close = true;
            }
            Effect::Write { io, at } => self.pending.push(Pending::Write { io, at }),
            Effect::Read { io, at } => self.pending.push(Pending::Read { io, at }),
            Effect::Sync { io } => self.pending.push(Pending::Sync { io }),
            Effect::Run { id, job } => self.pending.push(Pending::Job { id, job }),
            Effect::Answered { id, answer } => assert!(self.answers.insert(id.0, answer).is_none(), "answered once"),
            Effect::Measured { .. } => self.measured += 1,
            Effect::ObservationChanged => self.news += 1,
            Effect::Connect { peer, .. } => self.dials.push(peer),
            Effect::Propose { proposal, .. } => self.proposals.push(proposal),
            Effect::HandOver { conn, relay } => {
                let peer = self.peer(conn);
                assert!(peer.receive.is_none() && !peer.send && !peer.close, "nothing is outstanding");
                assert!(peer.relay.is_none() && !peer.closed, "handed over once");
                peer.relay = Some(*relay);
                peer.closed = true;
            }
            Effect::Report(Report::Ended { conn, why, .. }) => self.ended.push((conn, why)),
            Effect::Report(Report::Peer { fault, .. }) => self.faults.push(fault),
            Effect::Report(_) => {}
            Effect::Stopped => {
                assert!(!self.stopped, "stopped once");
                self.stopped = true;
            }
        }
    }

    fn peer(&mut self, conn: ConnId) -> &mut Peer {
        self.peers.iter_mut().find(|peer| peer.conn == conn).expect("only connections that are")
    }

    fn check_bounds(&self) {
        let stats = self.node.stats();
        assert!(stats.in_flight_bytes <= limits::IN_FLIGHT_BYTES_MAX, "{stats:?}");
        assert!(stats.connections <= limits::CONNECTIONS_MAX as u64, "{stats:?}");
        let most = stats.connections * u64::from(limits::REQUESTS_MAX);
        assert!(self.peers.iter().any(|peer| peer.close) || stats.requests <= most, "{stats:?}");
    }

    /// Nothing is held for anybody.
    pub fn assert_idle(&mut self) {
        self.handle(Event::TurnEnded);
        let stats = self.node.stats();
        assert_eq!((stats.requests, stats.in_flight_bytes, stats.backlog_bytes), (0, 0, 0), "{stats:?}");
    }
}
