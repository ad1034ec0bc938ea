//! Whom to be connected with, and when to try.

use std::collections::BTreeSet;
use std::time::Duration;

use block::{Instant, PoolId, VolumeId};

use crate::event::ConnId;
use crate::inbox::Inbox;
use crate::limits::{PEER_PAUSE_MAX, PEER_PAUSE_MIN};
use crate::peers::{Order, PeerConnection, PeerFault, Peers, Stage};

/// Another node that holds replicas of volumes of this one.
#[derive(Debug)]
pub(crate) struct Target {
    pub address: String,
    pub volumes: BTreeSet<VolumeId>,
    pub dial: Dial,
}

/// What is done about a connection with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Dial {
    /// It connects to this node.
    Theirs,
    /// This node connects, then.
    Waiting { at: Instant, pause: Duration },
    /// It is being connected to.
    Dialling { pause: Duration },
    /// It is, or about to be.
    Connected { pause: Duration },
}

impl Dial {
    pub fn due(self) -> Option<Instant> {
        match self {
            Self::Waiting { at, .. } => Some(at),
            Self::Theirs | Self::Dialling { .. } | Self::Connected { .. } => None,
        }
    }

    /// It came to nothing.
    pub fn again(self, now: Instant) -> Self {
        match self {
            Self::Theirs => Self::Theirs,
            Self::Waiting { .. } => self,
            Self::Dialling { pause } | Self::Connected { pause } => {
                Self::Waiting { at: now + pause, pause: (pause * 2).min(PEER_PAUSE_MAX) }
            }
        }
    }
}

impl Peers {
    /// The volume is shared with these, and with nobody else.
    pub fn want<'a>(&mut self, volume: VolumeId, peers: impl Iterator<Item = (PoolId, &'a str)>, now: Instant) {
        self.targets.values_mut().for_each(|target| {
            target.volumes.remove(&volume);
        });
        for (peer, address) in peers {
            let dial = self.first_dial(peer, now);
            let target = self.targets.entry(peer).or_insert_with(|| Target {
                address: String::new(),
                volumes: BTreeSet::new(),
                dial,
            });
            address.clone_into(&mut target.address);
            target.volumes.insert(volume);
        }
        let idle: Vec<PoolId> =
            self.targets.iter().filter(|(_, target)| target.volumes.is_empty()).map(|(peer, _)| *peer).collect();
        for peer in idle {
            if !matches!(self.targets[&peer].dial, Dial::Dialling { .. }) {
                self.targets.remove(&peer);
            }
        }
    }

    /// What is done about a node with which nothing was shared. The connection may be there from the last time: another
    /// one would end it in the midst of what is said on it.
    fn first_dial(&self, peer: PoolId, now: Instant) -> Dial {
        let leads_there = |one: &PeerConnection| match one.stage {
            Stage::Asking { peer: other } | Stage::Open { peer: other } => other == peer,
            Stage::Answering | Stage::Leaving | Stage::Closing => false,
        };
        match self.me < peer {
            false => Dial::Theirs,
            true if self.connections.values().any(leads_there) => Dial::Connected { pause: PEER_PAUSE_MIN },
            true => Dial::Waiting { at: now, pause: PEER_PAUSE_MIN },
        }
    }

    /// Connects to those whose time has come, ends connections that say nothing, and says something on quiet ones.
    pub fn tick(&mut self, now: Instant) -> Vec<PoolId> {
        if !self.stopping {
            for (peer, target) in &mut self.targets {
                if let Dial::Waiting { at, pause } = target.dial
                    && at <= now
                {
                    target.dial = Dial::Dialling { pause };
                    self.orders.push(Order::Connect { peer: *peer, address: target.address.clone() });
                }
            }
        }
        let silent: Vec<ConnId> =
            self.connections.values().filter(|one| one.is_silent(now)).map(|one| one.conn).collect();
        let lost = silent.into_iter().filter_map(|conn| self.end(conn, PeerFault::Silent, now)).collect();
        let (connections, touched) = (&mut self.connections, &mut self.touched);
        for one in connections.values_mut().filter(|one| one.is_quiet(now)) {
            one.outbox.push_keepalive(self.me);
            touched.insert(one.conn);
        }
        lost
    }

    /// The reactor connected to it.
    pub fn connected(&mut self, now: Instant, peer: PoolId, conn: ConnId) {
        self.session += 1;
        let connection = PeerConnection::asking(conn, now, self.hello(peer), peer);
        self.insert(connection);
        match self.targets.get_mut(&peer) {
            Some(target) => {
                let pause = match target.dial {
                    Dial::Waiting { pause, .. } | Dial::Dialling { pause } | Dial::Connected { pause } => pause,
                    Dial::Theirs => PEER_PAUSE_MIN,
                };
                target.dial = Dial::Connected { pause };
            }
            None => {
                self.end(conn, PeerFault::Superseded, now);
            }
        }
    }

    /// The reactor could not.
    pub fn failed(&mut self, now: Instant, peer: PoolId) {
        if let Some(target) = self.targets.get_mut(&peer) {
            target.dial = target.dial.again(now);
        }
    }

    /// Somebody connected to this node.
    pub fn accepted(&mut self, now: Instant, conn: ConnId, inbox: Inbox) {
        let is_full = self.connections.len() >= crate::limits::PEERS_MAX;
        self.touched.insert(conn);
        self.connections.insert(conn, PeerConnection { inbox, ..PeerConnection::answering(conn, now) });
        if self.stopping || is_full {
            let fault = if is_full { PeerFault::TooMany } else { PeerFault::Stopping };
            self.end(conn, fault, now);
        }
    }

    fn insert(&mut self, connection: PeerConnection) {
        self.touched.insert(connection.conn);
        let conn = connection.conn;
        self.connections.insert(conn, connection);
        self.receive(conn);
    }
}

#[cfg(test)]
mod tests {
    use block::{Instant, PoolId, VolumeId};

    use crate::event::ConnId;
    use crate::peers::{Order, PeerFault, Peers};

    const OTHER: PoolId = PoolId(2);

    fn dials(peers: &mut Peers, now: Instant) -> usize {
        peers.tick(now);
        let orders = std::mem::take(&mut peers.orders);
        orders.iter().filter(|order| matches!(order, Order::Connect { .. })).count()
    }

    #[test]
    fn a_connection_that_is_there_is_used_for_the_next_volume_and_made_again_when_it_ends() {
        let (mut peers, now) = (Peers::new(PoolId(1), 0), Instant(1_000_000_000));
        peers.belong_to(7, now);
        let share =
            |peers: &mut Peers, volume: u64| peers.want(VolumeId(volume), std::iter::once((OTHER, "there:1")), now);
        share(&mut peers, 1);
        assert_eq!(dials(&mut peers, now), 1);
        let conn = ConnId { slot: 0, generation: 0 };
        peers.connected(now, OTHER, conn);
        peers.want(VolumeId(1), std::iter::empty(), now);
        assert!(peers.targets.is_empty());
        share(&mut peers, 2);
        assert_eq!(dials(&mut peers, now), 0, "it would end the one that is there");
        peers.end(conn, PeerFault::Broken, now);
        let later = peers.deadline(now).expect("it is made again");
        assert_eq!(dials(&mut peers, Instant(later.0 + 1_000_000_000)), 1);
    }
}
