//! Relays: a client that came to this node for a volume of another one is connected through.
//!
//! ```text
//!   data thread ── Handed ──> queue ──> opening: connect, say what the client said ──> pump: bytes both ways ──> end
//! ```
//! One thread carries all of them (`outbound`), so that the data thread never waits for another node, and no byte is
//! copied to user space on the way. A failure of either end is the end of both; when this node stops they all end. Not here: what NBD
//! is, and where a volume lies. The node has decided that before it let go of the connection.

mod counters;
mod opening;
mod pump;
mod socket;
#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use node::{ConnId, Relay};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::{JoinError, JoinSet};

pub(crate) use counters::RelayCounters;
pub use counters::RelayFigures;

use crate::lookup::{Lookup, LookupError};
use crate::report;
use opening::Open;
use socket::Socket;

/// Relays at once; one more is closed as it comes.
pub(crate) const RELAYS_MAX: u32 = 1024;
/// Descriptors of one: two sockets and two pipes.
pub(crate) const FILES_PER_RELAY: u64 = 6;
/// Connections on their way to the relay thread: all that a data thread has, should they come at once.
const HANDED_MAX: usize = node::limits::CONNECTIONS_MAX;

/// The data thread's end.
#[derive(Debug)]
pub(crate) struct Relays {
    /// None once it was stopped.
    queue: Option<Sender<Handed>>,
    counters: Arc<RelayCounters>,
}

/// A connection that has left the data thread.
#[derive(Debug)]
struct Handed {
    conn: ConnId,
    client: OwnedFd,
    relay: Box<Relay>,
}

/// Why a client was not relayed to the end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RelayError {
    /// There is no room.
    #[error("as many relays are open as there may be; connect to the node that has the volume")]
    TooMany,
    /// Could not connect.
    #[error("the node that has the volume cannot be reached: {0}; look whether it is up and its address is right")]
    Unreachable(#[source] io::Error),
    /// Its address leads nowhere.
    #[error("the node that has the volume cannot be found: {0}")]
    Lookup(#[from] LookupError),
    /// The peer said nothing for too long.
    #[error("the node that has the volume did not {doing} within {seconds} s; look whether it is up")]
    Late {
        /// What was waited for.
        doing: &'static str,
        /// How long.
        seconds: u64,
    },
    /// The peer hung up.
    #[error("the node that has the volume ended the connection before it answered; look at its log")]
    HungUp,
    /// The peer is no node.
    #[error(transparent)]
    Fault(#[from] nbd::RelayFault),
    /// A connection broke.
    #[error("a connection of it broke: {0}")]
    Broken(#[from] io::Error),
    /// One side had ended, and the other did not.
    #[error("the other side did not end within {0} s after the first")]
    Lingers(u64),
}

impl Relays {
    /// Both ends, for `relays_max` relays at once.
    pub fn new(relays_max: u32, counters: Arc<RelayCounters>, lookup: Lookup) -> (Self, Carrier) {
        let (queue, handed) = channel(HANDED_MAX);
        let carrier = Carrier { handed, relays_max: relays_max as usize, lookup, counters: Arc::clone(&counters) };
        (Self { queue: Some(queue), counters }, carrier)
    }

    /// Takes a connection. One that cannot be relayed is closed, and the log says why.
    pub fn take(&self, conn: ConnId, client: OwnedFd, relay: Box<Relay>) {
        // After a stop it is just closed, as every other connection is.
        let Some(queue) = &self.queue else { return };
        match queue.try_send(Handed { conn, client, relay }) {
            Ok(()) => {}
            Err(TrySendError::Full(refused) | TrySendError::Closed(refused)) => {
                self.counters.failed();
                self.counters.reporting(|| report::relay_failed(conn, &refused.relay.address, &RelayError::TooMany));
            }
        }
    }

    /// Ends all of them, and takes no more.
    pub fn stop(&mut self) {
        self.queue = None;
    }
}

/// The thread's end.
#[derive(Debug)]
pub(crate) struct Carrier {
    handed: Receiver<Handed>,
    relays_max: usize,
    lookup: Lookup,
    counters: Arc<RelayCounters>,
}

impl Carrier {
    /// Until the queue is closed; relays that are open then end with the set they are in.
    pub async fn carry(mut self) {
        let mut relays = JoinSet::new();
        loop {
            tokio::select! {
                handed = self.handed.recv() => match handed {
                    Some(handed) => self.begin(handed, &mut relays),
                    None => return,
                },
                Some(ended) = relays.join_next() => self.ended(ended),
            }
        }
    }

    fn begin(&self, handed: Handed, relays: &mut JoinSet<()>) {
        if relays.len() < self.relays_max {
            relays.spawn(relay(handed, self.lookup.clone(), Arc::clone(&self.counters)));
        } else {
            self.counters.failed();
            let Handed { conn, relay, .. } = handed;
            self.counters.reporting(|| report::relay_failed(conn, &relay.address, &RelayError::TooMany));
        }
    }

    fn ended(&self, ended: Result<(), JoinError>) {
        if let Err(error) = ended {
            self.counters.failed();
            tracing::error!(%error, "a relay panicked; its client was disconnected");
        }
    }
}

/// One relay, from its beginning to its end.
async fn relay(handed: Handed, lookup: Lookup, counters: Arc<RelayCounters>) {
    let Handed { conn, client, relay } = handed;
    let _open = counters.open();
    let address = relay.address.clone();
    match carry_one(conn, client, *relay, (&lookup, &counters)).await {
        Ok(()) => counters.reporting(|| report::relay_ended(conn, &address)),
        Err(error) => {
            counters.failed();
            counters.reporting(|| report::relay_failed(conn, &address, &error));
        }
    }
}

async fn carry_one(
    conn: ConnId,
    client: OwnedFd,
    relay: Relay,
    (lookup, counters): (&Lookup, &RelayCounters),
) -> Result<(), RelayError> {
    let address = relay.address.clone();
    let open = Open::between(Socket::new(client)?, relay, (lookup, counters)).await?;
    counters.reporting(|| report::relay_opened(conn, &address));
    pump::both_ways(&open.client, &open.peer, counters).await
}
