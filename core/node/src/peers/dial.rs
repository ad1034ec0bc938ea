//! Whom to be connected with, and when to try.

use std::collections::BTreeSet;
use std::time::Duration;

use block::{Instant, PoolId, VolumeId};
use replication::wire::Channel;

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
    /// The same for the connection that is for heartbeats.
    pub beats: Dial,
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

impl Target {
    /// When a connection is to be made, one at a time.
    pub fn due(&self, takes_beats: bool) -> Option<Instant> {
        match self.dial {
            Dial::Connected { .. } if takes_beats => self.beats.due(),
            Dial::Theirs | Dial::Waiting { .. } | Dial::Dialling { .. } | Dial::Connected { .. } => self.dial.due(),
        }
    }
}

impl Dial {
    pub fn due(self) -> Option<Instant> {
        match self {
            Self::Waiting { at, .. } => Some(at),
            Self::Theirs | Self::Dialling { .. } | Self::Connected { .. } => None,
        }
    }

    fn connected(self) -> Self {
        match self {
            Self::Waiting { pause, .. } | Self::Dialling { pause } | Self::Connected { pause } => {
                Self::Connected { pause }
            }
            Self::Theirs => Self::Connected { pause: PEER_PAUSE_MIN },
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
            let (dial, beats) =
                (self.first_dial(peer, Channel::Live, now), self.first_dial(peer, Channel::Control, now));
            let target = self.targets.entry(peer).or_insert_with(|| Target {
                address: String::new(),
                volumes: BTreeSet::new(),
                dial,
                beats,
            });
            address.clone_into(&mut target.address);
            target.volumes.insert(volume);
        }
        let idle: Vec<PoolId> =
            self.targets.iter().filter(|(_, target)| target.volumes.is_empty()).map(|(peer, _)| *peer).collect();
        for peer in idle {
            let Target { dial, beats, .. } = self.targets[&peer];
            if !matches!((dial, beats), (Dial::Dialling { .. }, _) | (_, Dial::Dialling { .. })) {
                self.targets.remove(&peer);
            }
        }
    }

    /// What is done about a node with which nothing was shared. The connection may be there from the last time: another
    /// one would end it in the midst of what is said on it.
    fn first_dial(&self, peer: PoolId, channel: Channel, now: Instant) -> Dial {
        let leads_there = |one: &PeerConnection| match one.stage {
            Stage::Asking { peer: other } | Stage::Open { peer: other } => other == peer && one.channel == channel,
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
        let is_due = |(peer, target): &(&PoolId, &Target)| {
            !self.stopping && target.due(self.takes_beats(**peer)).is_some_and(|at| at <= now)
        };
        let due: Vec<PoolId> = self.targets.iter().filter(is_due).map(|(peer, _)| *peer).collect();
        due.into_iter().for_each(|peer| self.dial(peer));
        let is_silent =
            |one: &&PeerConnection| one.stage != Stage::Closing && one.silent_at(self.last_beat(one)) <= now;
        let silent: Vec<ConnId> = self.connections.values().filter(is_silent).map(|one| one.conn).collect();
        let lost = silent.into_iter().filter_map(|conn| self.end(conn, PeerFault::Silent, now)).collect();
        let (connections, touched) = (&mut self.connections, &mut self.touched);
        for one in connections.values_mut().filter(|one| one.is_quiet(now)) {
            one.outbox.push_keepalive(self.me);
            touched.insert(one.conn);
        }
        lost
    }

    fn dial(&mut self, peer: PoolId) {
        let Some(target) = self.targets.get_mut(&peer) else { return };
        let dial = match target.dial {
            Dial::Connected { .. } => &mut target.beats,
            Dial::Theirs | Dial::Waiting { .. } | Dial::Dialling { .. } => &mut target.dial,
        };
        if let Dial::Waiting { pause, .. } = *dial {
            *dial = Dial::Dialling { pause };
            self.orders.push(Order::Connect { peer, address: target.address.clone() });
        }
    }

    /// The reactor connected to it. The connection for everything comes before the one for heartbeats.
    pub fn connected(&mut self, now: Instant, peer: PoolId, conn: ConnId) {
        let session =
            self.current.get(&peer).and_then(|current| self.connections.get(current)).map(|live| live.session);
        let target = self.targets.get_mut(&peer);
        let (is_wanted, channel) = match target.map(|target| (&mut target.dial, &mut target.beats)) {
            Some((Dial::Connected { .. }, beats)) => {
                *beats = beats.connected();
                (session.is_some(), Channel::Control)
            }
            Some((dial, _)) => {
                *dial = dial.connected();
                (true, Channel::Live)
            }
            None => (false, Channel::Live),
        };
        if channel == Channel::Live {
            self.session += 1;
        }
        let hello = self.hello(peer, session.filter(|_| channel == Channel::Control), channel);
        self.insert(PeerConnection::asking(conn, now, &hello, peer));
        if !is_wanted {
            self.end(conn, PeerFault::Superseded, now);
        }
    }

    /// The reactor could not.
    pub fn failed(&mut self, now: Instant, peer: PoolId) {
        if let Some(target) = self.targets.get_mut(&peer) {
            match target.dial {
                Dial::Connected { .. } => target.beats = target.beats.again(now),
                Dial::Theirs | Dial::Waiting { .. } | Dial::Dialling { .. } => target.dial = target.dial.again(now),
            }
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
