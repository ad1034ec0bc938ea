//! The node's side of its connections with others: events in, effects out.

use block::{Instant, PoolId};

use crate::event::{ConnId, Effect, Report};
use crate::inbox::Inbox;
use crate::node::Node;
use crate::peers::{Order, PeerFault, Sending, Stage, Step};

impl Node {
    /// Another node connected, and may have said something.
    pub(crate) fn peer_accepted(&mut self, conn: ConnId, inbox: Inbox) {
        self.pipeline.copies.peers.accepted(self.now, conn, inbox);
        self.peer_steps(conn);
    }

    /// This node connected to another.
    pub(crate) fn peer_connected(&mut self, peer: PoolId, conn: ConnId) {
        self.pipeline.copies.peers.connected(self.now, peer, conn);
    }

    pub(crate) fn peer_failed(&mut self, peer: PoolId) {
        self.pipeline.copies.peers.failed(self.now, peer);
    }

    /// Another node said something.
    pub(crate) fn peer_received(&mut self, conn: ConnId, len_bytes: usize) {
        self.pipeline.copies.peers.received(self.now, conn, len_bytes);
        self.peer_steps(conn);
    }

    /// Looks at all that it said.
    fn peer_steps(&mut self, conn: ConnId) {
        let now = self.now;
        loop {
            match self.pipeline.copies.peers.step(now, conn) {
                Step::Wait => break self.pipeline.copies.peers.receive(conn),
                Step::Up { peer } => self.pipeline.peer_up(peer),
                Step::Heard { peer, envelope, said } => self.pipeline.hear(peer, &envelope, said),
                Step::Ended { lost } => break self.peer_lost(lost),
            }
        }
    }

    fn peer_lost(&mut self, lost: Option<PoolId>) {
        if let Some(peer) = lost {
            self.pipeline.peer_down(peer);
        }
    }

    pub(crate) fn peer_sent(&mut self, conn: ConnId, len_bytes: usize) {
        let peers = &mut self.pipeline.copies.peers;
        let Some(connection) = peers.connections.get_mut(&conn) else { return };
        connection.sent(self.now, len_bytes);
        peers.touched.insert(conn);
    }

    pub(crate) fn peer_broken(&mut self, conn: ConnId) {
        let lost = self.pipeline.copies.peers.end(conn, PeerFault::Broken, self.now);
        self.peer_lost(lost);
    }

    pub(crate) fn peer_closed(&mut self, conn: ConnId) {
        self.pipeline.copies.peers.connections.remove(&conn);
    }

    /// Time has passed for peers and replicas.
    pub(crate) fn tick_peers(&mut self, now: Instant) {
        for peer in self.pipeline.copies.peers.tick(now) {
            self.pipeline.peer_down(peer);
        }
        self.pipeline.tick_copies();
    }

    /// Orders what peers need, and sends what they are owed.
    pub(crate) fn serve_peers(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let peers = &mut self.pipeline.copies.peers;
        for conn in std::mem::take(&mut peers.touched) {
            let Some(connection) = peers.connections.get_mut(&conn) else { continue };
            match connection.stage {
                Stage::Closing => {}
                _ if connection.send != Sending::No => {}
                Stage::Leaving if connection.outbox.is_empty() => {
                    peers.end(conn, PeerFault::Broken, now);
                }
                Stage::Asking { .. } | Stage::Answering | Stage::Open { .. } | Stage::Leaving => {
                    if !connection.outbox.is_empty() {
                        let awaited = connection.begin_send(now);
                        effects.push(Effect::Send { conn, awaited });
                    }
                }
            }
        }
        for order in std::mem::take(&mut peers.orders) {
            effects.push(match order {
                Order::Connect { peer, address } => Effect::Connect { peer, address },
                Order::Receive { conn } => Effect::Receive { conn },
                Order::Close { conn } => Effect::Close { conn },
            });
        }
        for (peer, fault) in std::mem::take(&mut peers.faults) {
            self.reports.push(now, Report::Peer { peer, fault }, effects);
        }
    }

    /// Ends every connection with other nodes.
    pub(crate) fn leave_peers(&mut self) {
        let now = self.now;
        self.pipeline.copies.peers.stopping = true;
        self.pipeline.give_up_mending();
        self.pipeline.give_up_comparing();
        let all: Vec<ConnId> = self.pipeline.copies.peers.connections.keys().copied().collect();
        for conn in all {
            let lost = self.pipeline.copies.peers.end(conn, PeerFault::Stopping, now);
            self.peer_lost(lost);
        }
    }
}
