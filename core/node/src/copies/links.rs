//! A volume's links to its other replicas: they share connections, and each can end without the others.
//!
//! The node that makes the connection opens the links, and opens them again when they ended; see [`replication::wire::Link`].

use std::time::Duration;

use block::{Incarnation, PoolId, VolumeId};
use replication::wire::{Channel, Envelope, Heard, Lane, Signal};
use replication::{Aside, Event, Message, Payload};

use crate::copies::copy::Tie;
use crate::copies::look::{Asker, Question};
use crate::copies::mend::WantedBlock;
use crate::peers::Said;
use crate::pipeline::Pipeline;

/// Before a link that was ended is opened again.
const REOPEN_AFTER: Duration = Duration::from_millis(20);
/// The same, when the other node said that it has no such replica: it may not have heard of it yet.
const ASK_AFTER: Duration = Duration::from_millis(300);

/// Before lost blocks are asked for again when there is somebody else to ask.
const HOPE_AFTER: Duration = Duration::from_secs(2);

impl Pipeline {
    /// Whether this node opens the links with that peer.
    fn opens(&self, peer: PoolId) -> bool {
        self.copies.me < peer
    }

    fn envelope(&self, id: VolumeId, peer: PoolId) -> Option<Envelope> {
        let copy = self.volumes.get(&id)?.copy.as_deref()?;
        let link = copy.ties.get(&peer)?.link.number();
        Some(Envelope { volume: id, from: self.copies.me, incarnation: copy.incarnation, link })
    }

    fn tie(&mut self, id: VolumeId, peer: PoolId) -> Option<&mut Tie> {
        self.copy_mut(id)?.ties.get_mut(&peer)
    }

    fn signal(&mut self, id: VolumeId, peer: PoolId, signal: Signal) {
        if let Some(envelope) = self.envelope(id, peer) {
            self.copies.peers.signal(peer, &envelope, signal);
        }
    }

    /// Sends a message, if there is a link. Where the peer takes them too slowly, the link ends: what it had to say is
    /// said again from the beginning, as much as the receiver then lacks.
    pub(super) fn post(&mut self, id: VolumeId, to: PoolId, mut message: Message<Payload>) {
        if let Message::Ack { tight, .. } | Message::HeartbeatAck { tight, .. } = &mut message {
            *tight &= self.copies.peers.hears_of_room(to);
        }
        let Some(envelope) = self.envelope(id, to) else { return };
        let Some(tie) = self.tie(id, to).filter(|tie| tie.link.is_up()) else { return };
        let channel = tie.lane.next(&message);
        let is_beat = matches!(message, Message::Heartbeat { .. } | Message::HeartbeatAck { .. });
        if is_beat && channel == Channel::Control {
            self.copies.peers.send_beat(to, &envelope, message);
        } else if self.copies.peers.send(to, &envelope, message).is_err() {
            self.reset_link(id, to);
        }
    }

    /// Ends a link. What was sent on it and is still here is not sent any more.
    pub(super) fn reset_link(&mut self, id: VolumeId, peer: PoolId) {
        let reopen_at = self.opens(peer).then_some(self.copies.now + REOPEN_AFTER);
        let Some(tie) = self.tie(id, peer) else { return };
        let was_up = tie.link.is_up();
        if !tie.link.close() {
            return;
        }
        tie.open_at = reopen_at;
        self.copies.peers.drop_frames(peer, id);
        self.signal(id, peer, Signal::Close);
        if was_up {
            self.push_event(id, Event::Disconnected { peer });
        }
    }

    /// Says something beside the order, if it can be said.
    pub(super) fn post_aside(&mut self, id: VolumeId, to: PoolId, aside: &Aside) {
        let Some(envelope) = self.envelope(id, to) else { return };
        if self.tie(id, to).is_some_and(|tie| tie.link.is_up()) {
            self.copies.peers.send_aside(to, &envelope, aside);
        }
    }

    fn hear_aside(&mut self, id: VolumeId, peer: PoolId, aside: Aside) {
        match aside {
            Aside::Want { block, checksum, of } => self.heard_want(id, peer, WantedBlock { block, checksum, of }),
            Aside::Have { block, checksum, of, data } => {
                self.heard_have(id, peer, WantedBlock { block, checksum, of }, data.as_deref());
            }
            Aside::Compare { id: number, at, groups, reads, snapshots } => {
                let question = Question { asker: Asker::Peer { peer, number }, groups, reads, snapshots };
                self.asked_to_look(id, peer, at, question);
            }
            Aside::Compared { id: number, found } => self.heard_compared(peer, number, found),
        }
    }

    fn connected(&mut self, id: VolumeId, peer: PoolId) {
        if let Some(tie) = self.tie(id, peer) {
            tie.lane = Lane::default();
        }
        self.copies.rot.hope(&[id], self.copies.now + HOPE_AFTER);
        self.push_event(id, Event::Connected { peer });
    }

    fn push_event(&mut self, id: VolumeId, event: Event<Payload>) {
        if let Some(copy) = self.copy_mut(id) {
            copy.events.push_back(event);
            self.copies.stirred.insert(id);
        }
    }

    /// Opens links that are to be opened by now.
    pub(super) fn open_links(&mut self, id: VolumeId) {
        let now = self.copies.now;
        let Some(copy) = self.copy_mut(id) else { return };
        let due = copy.ties.iter().filter(|(_, tie)| tie.open_at.is_some_and(|at| at <= now));
        let peers: Vec<PoolId> = due.map(|(peer, _)| *peer).collect();
        peers.into_iter().for_each(|peer| self.open_link(id, peer));
    }

    fn open_link(&mut self, id: VolumeId, peer: PoolId) {
        let Some(tie) = self.tie(id, peer) else { return };
        tie.open_at = None;
        if tie.link.is_up() || !self.copies.peers.is_open(peer) {
            return;
        }
        if self.tie(id, peer).is_some_and(|tie| tie.link.close()) {
            self.signal(id, peer, Signal::Close);
        }
        if let Some(tie) = self.tie(id, peer) {
            tie.link.open();
            self.signal(id, peer, Signal::Open { to: peer });
        }
    }

    /// There is a new connection: links begin anew, in whatever state the last one left them.
    pub(crate) fn peer_up(&mut self, peer: PoolId) {
        self.peer_down(peer);
        let (shared, soon) = (self.copies.peers.volumes_of(peer), self.copies.now + HOPE_AFTER);
        self.copies.rot.hope(&shared, soon);
        for id in self.copies.peers.volumes_of(peer) {
            if self.opens(peer) {
                self.open_link(id, peer);
            }
        }
        self.pump();
    }

    /// The connection is gone.
    pub(crate) fn peer_down(&mut self, peer: PoolId) {
        for id in self.copies.peers.volumes_of(peer) {
            let Some(tie) = self.tie(id, peer) else { continue };
            let before = std::mem::take(tie);
            if before.link.is_up() {
                self.push_event(id, Event::Disconnected { peer });
            }
        }
        self.pump();
    }

    /// Whom a volume is shared with, from now on.
    pub(super) fn share(&mut self, id: VolumeId, peers: impl Iterator<Item = PoolId>) {
        let wanted: std::collections::BTreeSet<PoolId> = peers.collect();
        let Some(copy) = self.copy_mut(id) else { return };
        let gone: Vec<PoolId> = copy.ties.keys().copied().filter(|peer| !wanted.contains(peer)).collect();
        for peer in gone {
            self.reset_link(id, peer);
            if let Some(copy) = self.copy_mut(id) {
                copy.ties.remove(&peer);
            }
        }
        for peer in wanted {
            let Some(copy) = self.copy_mut(id) else { return };
            if let std::collections::btree_map::Entry::Vacant(place) = copy.ties.entry(peer) {
                place.insert(Tie::default());
                if self.opens(peer) {
                    self.open_link(id, peer);
                }
            }
        }
    }

    /// A peer says something about a volume.
    pub(crate) fn hear(&mut self, peer: PoolId, envelope: &Envelope, said: Said) {
        let id = envelope.volume;
        let is_meant = match &said {
            Said::Signal(Signal::Open { to }) => *to == self.copies.me,
            Said::Signal(Signal::Opened | Signal::Close) | Said::Message(_) | Said::Aside(_) => true,
        };
        let asks = matches!(said, Said::Signal(Signal::Open { .. }));
        let Some(tie) = self.tie(id, peer).filter(|_| is_meant && envelope.from == peer) else {
            if asks {
                self.deny(peer, envelope);
            }
            return;
        };
        let (signal, message, aside) = match said {
            Said::Signal(signal) => (Some(signal), None, None),
            Said::Message(message) => (None, Some(message), None),
            Said::Aside(aside) => (None, None, Some(aside)),
        };
        let heard = tie.link.hear(envelope.link, signal);
        let ended = signal == Some(Signal::Close) && !tie.link.is_up();
        match heard {
            Heard::Nothing => {}
            Heard::Message => {}
            Heard::Connected => self.connected(id, peer),
            Heard::Accepted => {
                self.signal(id, peer, Signal::Opened);
                self.connected(id, peer);
            }
            Heard::Disconnected => self.push_event(id, Event::Disconnected { peer }),
        }
        if ended && self.opens(peer) {
            let after = if heard == Heard::Disconnected { REOPEN_AFTER } else { ASK_AFTER };
            let at = self.copies.now + after;
            if let Some(tie) = self.tie(id, peer) {
                tie.open_at.get_or_insert(at);
            }
            self.copies.stirred.insert(id);
        }
        // Who cannot be told of the snapshots is not taught.
        let is_behind = matches!(message, Some(Message::Join { .. }))
            && !self.copies.peers.knows_snapshots(peer)
            && self.store.snapshots_of(id).next().is_some();
        if let (Heard::Message | Heard::Connected, Some(message), false) = (heard, message, is_behind) {
            self.push_event(id, Event::Received { from: peer, incarnation: envelope.incarnation, message });
        }
        self.pump();
        if let (Heard::Message | Heard::Connected, Some(aside)) = (heard, aside) {
            self.hear_aside(id, peer, aside);
            self.pump();
        }
    }

    /// There is no such replica here.
    fn deny(&mut self, peer: PoolId, envelope: &Envelope) {
        let answer = Envelope {
            volume: envelope.volume,
            from: self.copies.me,
            incarnation: Incarnation(1),
            link: envelope.link,
        };
        self.copies.peers.signal(peer, &answer, Signal::Close);
    }
}
