//! A client that wants a volume of another node: what the reactor needs to pass it on.

use std::fmt;

use block::{Instant, Outbox};
use nbd::RelayHandshake;
use replication::wire::HELLO_MAGIC;

use crate::connection::Stage;
use crate::door::Entrance;
use crate::event::{ConnId, Effect, Why};
use crate::node::Node;
use crate::serve::Served;
use crate::wire::{PREAMBLE_BYTES, Preamble};

/// A client that is handed over. The reactor connects to `address`, sends `upstream`, feeds what the peer answers to
/// `handshake` until that is done, and from then on passes bytes on both ways; `downstream` goes to the client first.
#[derive(Clone, PartialEq, Eq)]
pub struct Relay {
    /// [`crate::Route::address`].
    pub address: String,
    /// Bytes for the peer before any other: the preamble, the negotiation so far, and what the client sent that was
    /// not looked at yet.
    pub upstream: Vec<u8>,
    /// Bytes still owed to the client.
    pub downstream: Vec<u8>,
    /// Swallows what the peer answers to the negotiation so far.
    pub handshake: RelayHandshake,
}

/// A client's token is among the bytes, so none of them are shown.
impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (upstream_bytes, downstream_bytes) = (self.upstream.len(), self.downstream.len());
        write!(f, "Relay {{ to {}, {upstream_bytes} bytes up, {downstream_bytes} down }}", self.address)
    }
}

impl Node {
    /// Hands a connection over of which nothing is outstanding, and forgets it.
    pub(crate) fn hand_over(&mut self, id: ConnId, effects: &mut Vec<Effect>) {
        let Some(mut connection) = self.connections.remove(id) else { return };
        self.backlog_bytes -= connection.noted_backlog_bytes;
        let Stage::Leaving { address, .. } = connection.stage else { unreachable!("it is leaving") };
        let handshake = connection.session.relay().expect("whoever leaves is negotiating");
        let preamble = Preamble { trusted: connection.entrance.is_trusted() };
        let upstream = [&preamble.encode()[..], &handshake.replay(), connection.inbox.unread()].concat();
        let downstream = [unsent(&mut connection.sending), unsent(&mut connection.pending)].concat();
        effects
            .push(Effect::HandOver { conn: id, relay: Box::new(Relay { address, upstream, downstream, handshake }) });
    }

    /// Another node says on whose behalf it comes: a client's, whose volume is here, or its own replicas'.
    pub(crate) fn introduced(&mut self, now: Instant, id: ConnId, effects: &mut Vec<Effect>) -> Served {
        let Some(connection) = self.connections.get_mut(id) else { return Served::Waits };
        let Some(bytes) = connection.inbox.unread().first_chunk() else {
            self.receive(now, id, PREAMBLE_BYTES, effects);
            return Served::Waits;
        };
        if bytes.starts_with(&HELLO_MAGIC) {
            self.become_peer(id);
            return Served::Waits;
        }
        match Preamble::parse(bytes) {
            Ok(preamble) => {
                connection.entrance = Entrance::relayed(preamble);
                connection.inbox.consume(PREAMBLE_BYTES);
                self.touch(id);
            }
            Err(fault) => self.drain(now, id, Why::Preamble(fault)),
        }
        Served::More
    }

    /// It is no client's: what it said so far belongs to the replicas.
    fn become_peer(&mut self, id: ConnId) {
        if let Some(connection) = self.connections.remove(id) {
            self.backlog_bytes -= connection.noted_backlog_bytes;
            self.peer_accepted(id, connection.inbox);
        }
    }
}

/// What is left to be sent. Nothing that is said before an export is open lies in a buffer of the store.
fn unsent(outbox: &mut Outbox) -> Vec<u8> {
    outbox.seal();
    outbox.slices().collect::<Vec<_>>().concat()
}
