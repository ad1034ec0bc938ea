//! Connections to the nodes that hold other replicas: two with each, made by the node whose pool has the lower id. One is
//! for everything, in order. The other is for heartbeats, so that they do not wait where the network loses packets and
//! megabytes of changes have to be sent again first: a member that is not heard costs its clients a moment. It is made when
//! the first one is open, and ends with it; without it heartbeats take the first.
//!
//! ```text
//!   Waiting ── time ──> Dialling ── Connected ──> hello, answer ──> open ── broken, silent ──> Waiting (a longer one)
//! ```
//! Both sides say something at least every [`PEER_KEEPALIVE`](crate::limits::PEER_KEEPALIVE); a peer that says nothing for
//! [`PEER_SILENCE`](crate::limits::PEER_SILENCE) is gone. What is to be sent is bounded by
//! [`PEER_OUTBOX_BYTES_MAX`](crate::limits::PEER_OUTBOX_BYTES_MAX), and what does not fit is refused to the volume that
//! wanted it: its link ends, the connection and the other volumes go on.
//!
//! Deliberately not here: what is said (`copies`, `replication::wire`), who may say it: whoever reaches the address is
//! believed, as long as nodes have no certificates.

mod connection;
mod dial;
mod frames;
mod receive;
mod send;
mod turn;

use std::collections::{BTreeMap, BTreeSet};

use block::{Instant, PoolId, VolumeId};
use replication::wire::{ASIDES, Channel, Envelope, HEARTBEATS_APART, LOST, ROOM, SNAPSHOTS, Signal};
use replication::{Aside, Message, Payload};

pub(crate) use connection::{PeerConnection, Sending, Stage};
pub(crate) use dial::{Dial, Target};
pub use frames::FrameSlices;
pub(crate) use receive::Step;

use crate::event::ConnId;

/// What a peer says about a volume.
#[derive(Debug)]
pub(crate) enum Said {
    Signal(Signal),
    Message(Message<Payload>),
    Aside(Aside),
}

/// Something for the reactor to do.
#[derive(Debug)]
pub(crate) enum Order {
    Connect { peer: PoolId, address: String },
    Receive { conn: ConnId },
    Close { conn: ConnId },
}

/// Why a connection with another node ended.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PeerFault {
    /// End of stream or a socket error.
    #[error("the connection broke; it is made again")]
    Broken,
    /// It said nothing for too long.
    #[error("the other node said nothing for {} ms; it is connected to again", crate::limits::PEER_SILENCE.as_millis())]
    Silent,
    /// The control plane says that this node is of another cluster than before.
    #[error("this node is of another cluster now; the connection was of the one before")]
    OtherCluster,
    /// There is a newer one.
    #[error("the other node has connected anew; nothing is to be done")]
    Superseded,
    /// This node does not talk to it.
    #[error("the other node was refused: {0}")]
    Refused(String),
    /// It does not talk to this node.
    #[error("the other node refused: {0}")]
    RefusedBy(String),
    /// What it sent cannot be followed.
    #[error("what the other node sent cannot be followed: {0}")]
    Damaged(String),
    /// As many as there may be.
    #[error("{} other nodes are connected, and more must not be; look who they are", crate::limits::PEERS_MAX)]
    TooMany,
    /// The node is stopping.
    #[error("the node is stopping")]
    Stopping,
}

/// Every other node, and the connections with them.
#[derive(Debug)]
pub(crate) struct Peers {
    pub me: PoolId,
    /// The cluster's id, once the control plane has said it: nobody is talked to before.
    pub cluster: Option<u128>,
    /// Higher for every connection than for all before it.
    pub session: u64,
    pub targets: BTreeMap<PoolId, Target>,
    pub connections: BTreeMap<ConnId, PeerConnection>,
    /// The open connection with each.
    pub current: BTreeMap<PoolId, ConnId>,
    /// The open one for heartbeats, beside it.
    pub beats: BTreeMap<PoolId, ConnId>,
    /// Connections with something to send.
    pub touched: BTreeSet<ConnId>,
    pub orders: Vec<Order>,
    /// What ended, for the operator.
    pub faults: Vec<(Option<PoolId>, PeerFault)>,
    pub stopping: bool,
}

impl Peers {
    pub fn new(me: PoolId, session: u64) -> Self {
        Self {
            me,
            cluster: None,
            session,
            targets: BTreeMap::new(),
            connections: BTreeMap::new(),
            current: BTreeMap::new(),
            beats: BTreeMap::new(),
            touched: BTreeSet::new(),
            orders: Vec::new(),
            faults: Vec::new(),
            stopping: false,
        }
    }

    /// The cluster that this node is of. Who is of another one is talked to no more.
    pub fn belong_to(&mut self, cluster: u128, now: Instant) -> Vec<PoolId> {
        let before = self.cluster.replace(cluster);
        if before.is_none_or(|before| before == cluster) {
            return Vec::new();
        }
        let all: Vec<ConnId> = self.connections.keys().copied().collect();
        all.into_iter().filter_map(|conn| self.end(conn, PeerFault::OtherCluster, now)).collect()
    }

    /// Whether messages can be sent.
    pub fn is_open(&self, peer: PoolId) -> bool {
        self.current.contains_key(&peer)
    }

    /// Volumes shared with it.
    pub fn volumes_of(&self, peer: PoolId) -> Vec<VolumeId> {
        self.targets.get(&peer).map_or(Vec::new(), |target| target.volumes.iter().copied().collect())
    }

    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        let targets = self.targets.iter().filter(|_| !self.stopping);
        let dials = targets.filter_map(|(peer, target)| target.due(self.takes_beats(*peer)));
        let connections = self.connections.values().filter_map(|one| one.deadline(self.last_beat(one)));
        let left = (!self.orders.is_empty()).then_some(now);
        dials.chain(connections).chain(left).min()
    }

    /// When something came last on the connection that heartbeats have beside this one.
    fn last_beat(&self, connection: &PeerConnection) -> Option<Instant> {
        let Stage::Open { peer } = connection.stage else { return None };
        let beats = self.connections.get(self.beats.get(&peer)?)?;
        (connection.channel == Channel::Live).then_some(beats.heard)
    }

    /// Whether a connection for heartbeats may be made to it.
    fn takes_beats(&self, peer: PoolId) -> bool {
        let current = self.current.get(&peer).and_then(|conn| self.connections.get(conn));
        current.is_some_and(|connection| connection.features & HEARTBEATS_APART != 0)
    }

    fn open_mut(&mut self, peer: PoolId) -> Option<&mut PeerConnection> {
        let conn = self.current.get(&peer)?;
        self.touched.insert(*conn);
        self.connections.get_mut(conn)
    }

    /// Sends a message.
    pub fn send(&mut self, peer: PoolId, envelope: &Envelope, message: Message<Payload>) -> Result<(), send::Full> {
        self.open_mut(peer).map_or(Ok(()), |connection| connection.outbox.push(envelope, message))
    }

    /// Sends a heartbeat, or the answer to one, beside everything else. Without room it is lost.
    pub fn send_beat(&mut self, peer: PoolId, envelope: &Envelope, message: Message<Payload>) {
        let Some(conn) = self.beats.get(&peer).or_else(|| self.current.get(&peer)) else { return };
        self.touched.insert(*conn);
        if let Some(connection) = self.connections.get_mut(conn) {
            let _ = connection.outbox.push(envelope, message);
        }
    }

    /// Whether it can be told what is said beside the order: nodes of earlier versions cannot.
    pub fn hears_asides(&self, peer: PoolId) -> bool {
        self.has_feature(peer, ASIDES)
    }

    /// Whether it knows snapshots, likewise.
    pub fn knows_snapshots(&self, peer: PoolId) -> bool {
        self.has_feature(peer, SNAPSHOTS)
    }

    /// Whether it can be told that blocks are lost, and be asked for those of snapshots, likewise.
    pub fn knows_lost(&self, peer: PoolId) -> bool {
        self.has_feature(peer, LOST)
    }

    /// Whether it can be told that a pool is nearly full, likewise.
    pub fn hears_of_room(&self, peer: PoolId) -> bool {
        self.has_feature(peer, ROOM)
    }

    fn has_feature(&self, peer: PoolId, feature: u64) -> bool {
        let connection = self.current.get(&peer).and_then(|conn| self.connections.get(conn));
        connection.is_some_and(|connection| connection.features & feature != 0)
    }

    /// Says something beside the order. Without room it is not said.
    pub fn send_aside(&mut self, peer: PoolId, envelope: &Envelope, aside: &Aside) {
        if !self.hears_asides(peer) {
            return;
        }
        if let Some(connection) = self.open_mut(peer) {
            connection.outbox.push_aside(envelope, aside);
        }
    }

    /// Says something about a link. There is always room: a link says little.
    pub fn signal(&mut self, peer: PoolId, envelope: &Envelope, signal: Signal) {
        if let Some(connection) = self.open_mut(peer) {
            connection.outbox.push_signal(envelope, signal);
        }
    }

    /// What waits to be sent of a volume is not sent any more.
    pub fn drop_frames(&mut self, peer: PoolId, volume: VolumeId) {
        if let Some(connection) = self.open_mut(peer) {
            connection.outbox.drop_volume(volume);
        }
    }
}
