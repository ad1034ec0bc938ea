//! The node: routes events to what they are about, and answers the reactor's questions.

use std::collections::{BTreeSet, VecDeque};

use block::{Instant, OutboxSlices, Pages, VolumeId};
use nbd::Exports;
use store::{IoId, Store};

use crate::agenda::Agenda;
use crate::command::{NodeStats, VolumeSummary};
use crate::connection::Connections;
use crate::control::Commands;
use crate::event::{ConnId, Effect, Event, Why};
use crate::limits;
use crate::mark::Mark;
use crate::network::Network;
use crate::peers::{FrameSlices, PeerConnection};
use crate::pipeline::Pipeline;
use crate::reports::Reports;
use crate::spaces::Spaces;
use crate::stop::Phase;
use crate::wishes::Wishes;

/// Where a node differs from another.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeConfig {
    /// Which volumes are offered, and to whom.
    pub offer: Offer,
    /// Where clients without a token may come from, besides unix sockets; for [`Offer::Intended`].
    pub open_networks: Vec<Network>,
    /// Whether clients may use several connections to one writable volume at once. It is safe here, since a flush
    /// covers every write completed on any connection; a client that reconnects while bytes of its old connection
    /// are still under way is not protected by it. Read-only exports always allow it.
    pub multi_conn: bool,
    /// Whether clients may list the exports.
    pub list_exports: bool,
    /// The export that the empty name stands for.
    pub default_export: Option<String>,
    /// Volumes whose exports refuse changes, by name.
    pub read_only: BTreeSet<String>,
    /// Power was lost since the pool was open, or may have been: see [`store::RecoveryReport::cold`].
    pub cold: bool,
}

/// What clients are offered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Offer {
    /// Every volume of the store, under its name, to everyone.
    Every,
    /// Nothing before the control plane says so, and then what it says, to whom it says.
    Intended,
}

impl Default for NodeConfig {
    fn default() -> Self {
        Self {
            offer: Offer::Every,
            open_networks: Vec::new(),
            multi_conn: true,
            list_exports: true,
            default_export: None,
            read_only: BTreeSet::new(),
            cold: true,
        }
    }
}

/// What is to be sent over a connection.
#[derive(Debug)]
pub enum SendSlices<'a> {
    /// To a client.
    Client(OutboxSlices<'a>),
    /// To another node.
    Peer(FrameSlices<'a>),
}

impl<'a> Iterator for SendSlices<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Client(slices) => slices.next(),
            Self::Peer(slices) => slices.next(),
        }
    }
}

/// A storage node.
#[derive(Debug)]
pub struct Node {
    pub(crate) config: NodeConfig,
    pub(crate) exports: Exports,
    pub(crate) pipeline: Pipeline,
    pub(crate) connections: Connections,
    /// Connections with something to look at, next first.
    pub(crate) ready: VecDeque<ConnId>,
    /// Connections that wait for room in the store.
    pub(crate) choked: Vec<ConnId>,
    /// Connections with something to send, or to end.
    pub(crate) touched: Vec<ConnId>,
    /// When to look at connections whose client may be too slow, soonest first.
    pub(crate) timers: VecDeque<(Instant, ConnId)>,
    pub(crate) commands: Commands,
    /// What the control plane wants, and what is being done about it.
    pub(crate) wishes: Wishes,
    pub(crate) agenda: Agenda,
    /// Volumes whose clients may not be those that the control plane wants, or not only.
    pub(crate) unconfirmed: BTreeSet<VolumeId>,
    /// New connections that wait for the last requests of those before them.
    pub(crate) successors: Vec<ConnId>,
    pub(crate) observation_changed: bool,
    pub(crate) told_heard: u64,
    pub(crate) reports: Reports,
    /// What snapshots take.
    pub(crate) spaces: Spaces,
    pub(crate) phase: Phase,
    /// Bytes to be sent over all connections, as noted when their turns ended.
    pub(crate) backlog_bytes: usize,
    /// The extents of the read being replied to.
    pub(crate) extents: Vec<nbd::Extent>,
    /// Requests taken in this turn.
    pub(crate) turn_requests: u32,
    pub(crate) accepted: u64,
    pub(crate) rejected: u64,
    pub(crate) now: Instant,
    from_store: Vec<store::Effect>,
}

impl Node {
    /// A node that serves what is in `store`, as far as it is offered.
    #[must_use]
    pub fn new(store: Store, config: NodeConfig) -> Self {
        let (exports, volumes) = crate::exports::of(&store, &config);
        let cold = config.cold;
        Self {
            config,
            exports,
            commands: Commands::new(volumes.keys().next_back().copied()),
            pipeline: Pipeline::new(store, volumes, cold),
            connections: Connections::default(),
            ready: VecDeque::new(),
            choked: Vec::new(),
            touched: Vec::new(),
            timers: VecDeque::new(),
            wishes: Wishes::default(),
            agenda: Agenda::default(),
            unconfirmed: BTreeSet::new(),
            successors: Vec::new(),
            observation_changed: false,
            told_heard: 0,
            reports: Reports::default(),
            spaces: Spaces::default(),
            phase: Phase::Running,
            backlog_bytes: 0,
            extents: Vec::new(),
            turn_requests: 0,
            accepted: 0,
            rejected: 0,
            now: Instant::default(),
            from_store: Vec::new(),
        }
    }

    /// Takes note of an event. Most of what follows from it is ordered when the turn ends.
    pub fn handle(&mut self, now: Instant, event: Event, effects: &mut Vec<Effect>) {
        self.now = now;
        self.pipeline.copies.now = now;
        match event {
            Event::Accepted { conn, door } => self.accepted(now, conn, door, effects),
            Event::Received { conn, len_bytes } => self.received(now, conn, len_bytes, effects),
            Event::Sent { conn, len_bytes } => self.sent(conn, len_bytes),
            Event::Broken { conn } => self.close(now, conn, Why::Broken, effects),
            Event::Closed { conn } => self.closed(conn),
            Event::PeerConnected { peer, conn } => self.peer_connected(peer, conn),
            Event::PeerFailed { peer } => self.peer_failed(peer),
            Event::Disk(event) => self.disk(now, event, effects),
            Event::Control { id, command } => self.control(id, command, effects),
            Event::Intended(intent) => self.intended(now, *intent, effects),
            Event::TurnEnded => self.turn_ended(now, effects),
            Event::Stop => self.stop(now, effects),
        }
    }

    /// When [`Event::TurnEnded`] must come at the latest; not after now when there is work left.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let waits_for_room = self.pipeline.postponed_count() > 0
            || !self.choked.is_empty()
            || self.commands.waits_for_room()
            || self.pipeline.copies.waits_for_room()
            || (self.agenda.has_due() && !self.phase.is_stopping());
        let work_left = self.pipeline.is_stirred()
            || (!self.ready.is_empty() && !self.is_full())
            || (waits_for_room && self.pipeline.store.has_room());
        let timer = self.timers.front().map(|&(due, _)| due);
        let copies = self.pipeline.copies.deadline();
        let wakes = [timer, self.phase.deadline(), self.pipeline.store.deadline(), self.agenda.deadline(), copies];
        let wakes = wakes.into_iter().chain([self.pipeline.hold_deadline(), self.spaces_deadline()]);
        wakes.into_iter().chain([work_left.then_some(self.now)]).flatten().min()
    }

    /// Where to receive to; not empty while an [`Effect::Receive`] is outstanding, and the same place.
    pub fn receive_target(&mut self, conn: ConnId) -> &mut [u8] {
        match self.connections.get_mut(conn) {
            Some(connection) => connection.receive_target(),
            None => {
                let peers = &mut self.pipeline.copies.peers;
                peers.connections.get_mut(&conn).map_or(&mut [], PeerConnection::receive_target)
            }
        }
    }

    /// What to send; the same while an [`Effect::Send`] is outstanding. Empty when the connection is not known.
    #[must_use]
    pub fn send_source(&self, conn: ConnId) -> Option<SendSlices<'_>> {
        if let Some(connection) = self.connections.get(conn) {
            return Some(SendSlices::Client(connection.sending.slices()));
        }
        let peer = self.pipeline.copies.peers.connections.get(&conn)?;
        Some(SendSlices::Peer(peer.outbox.slices()))
    }

    /// The bytes of an [`Effect::Write`], and the number of their registered buffer if they lie in one.
    #[must_use]
    pub fn write_source(&self, io: IoId) -> (&[u8], Option<u16>) {
        self.pipeline.store.write_source(io)
    }

    /// The buffer of an [`Effect::Read`], likewise.
    pub fn read_target(&mut self, io: IoId) -> (&mut [u8], Option<u16>) {
        self.pipeline.store.read_target(io)
    }

    /// Buffers worth registering with the kernel, before the first event.
    pub fn preallocated(&mut self) -> Vec<&mut Pages> {
        self.pipeline.store.preallocated()
    }

    /// How the node was set up.
    #[must_use]
    pub fn config(&self) -> &NodeConfig {
        &self.config
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.pipeline.store
    }

    /// The node at a glance.
    #[must_use]
    pub fn stats(&self) -> NodeStats {
        NodeStats {
            connections: self.connections.len() as u64,
            accepted: self.accepted,
            rejected: self.rejected,
            requests: self.pipeline.requests() as u64,
            in_flight_bytes: self.pipeline.in_flight_bytes(),
            backlog_bytes: self.backlog_bytes as u64,
            rot: self.pipeline.copies.rot.counters,
        }
    }

    /// Every volume with its counters, by id.
    pub fn volumes(&self) -> impl Iterator<Item = VolumeSummary> {
        self.pipeline.volumes.values().map(crate::exports::summary)
    }

    /// Whether there is such a volume, and what was done to it.
    #[must_use]
    pub fn volume(&self, id: VolumeId) -> Option<VolumeSummary> {
        self.pipeline.volumes.get(&id).map(crate::exports::summary)
    }

    fn disk(&mut self, now: Instant, event: store::Event, effects: &mut Vec<Effect>) {
        let mut from_store = std::mem::take(&mut self.from_store);
        self.pipeline.store.handle(now, event, &mut from_store);
        self.route(now, from_store, effects);
    }

    /// Lets the store act on what was asked of it.
    pub(crate) fn end_store_turn(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let mut from_store = std::mem::take(&mut self.from_store);
        self.pipeline.take_stirred();
        self.pipeline.store.turn_ended(now, &mut from_store);
        self.route(now, from_store, effects);
    }

    /// Passes the store's orders on and its completions to where they belong.
    fn route(&mut self, now: Instant, mut from_store: Vec<store::Effect>, effects: &mut Vec<Effect>) {
        for effect in from_store.drain(..) {
            match effect {
                store::Effect::Write { io, at } => effects.push(Effect::Write { io, at }),
                store::Effect::Read { io, at } => effects.push(Effect::Read { io, at }),
                store::Effect::Sync { io } => effects.push(Effect::Sync { io }),
                store::Effect::Run { id, job } => effects.push(Effect::Run { id, job }),
                store::Effect::Report(report) => {
                    if matches!(report, store::Report::Poisoned { .. }) {
                        self.pipeline.device_failed();
                    }
                    if let store::Report::BadBlock { at, block: Some((source, block)), .. } = report {
                        self.pipeline.rot_found(source, block, at);
                    }
                    effects.push(Effect::Report(crate::event::Report::Store(report)));
                }
                store::Effect::Completed { token, outcome } => match Mark::of(token) {
                    Mark::Command(command) => self.command_ended(command, &outcome, effects),
                    mark @ (Mark::Op(_) | Mark::Part(_) | Mark::Head(_) | Mark::Tail(_) | Mark::Work(_)) => {
                        self.pipeline.completed(mark, outcome);
                    }
                },
            }
        }
        self.from_store = from_store;
        self.pipeline.pump();
        self.reply_ended(now, effects);
    }

    /// Whether no request at all is taken now.
    pub(crate) fn is_full(&self) -> bool {
        let bytes = self.pipeline.in_flight_bytes() + u64::from(limits::PAYLOAD_BYTES_MAX);
        bytes > limits::IN_FLIGHT_BYTES_MAX
    }
}
