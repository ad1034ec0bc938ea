//! The beginning of a relay: the peer is told what the client has said so far, and what it answers to that is taken away,
//! since the client has its answers already.

use std::time::Duration;

use nbd::{RelayHandshake, Swallowed};
use node::Relay;
use tokio::time::timeout;

use super::socket::Socket;
use super::{RelayCounters, RelayError};
use crate::lookup::Lookup;

/// How long connecting may take, with looking the address up.
const CONNECT_MAX: Duration = Duration::from_secs(3);
/// How long the peer may take to answer what was replayed, and the client to take what it is owed.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// Received at once; the answers are short.
const PIECE_BYTES: usize = 4096;

/// Two connections whose further bytes are passed on as they are.
#[derive(Debug)]
pub(super) struct Open {
    pub client: Socket,
    pub peer: Socket,
}

impl Open {
    /// Connects `client` through to where its relay leads.
    pub async fn between(
        client: Socket,
        relay: Relay,
        (lookup, counters): (&Lookup, &RelayCounters),
    ) -> Result<Self, RelayError> {
        let Relay { address, upstream, downstream, handshake } = relay;
        let connect = async {
            let hosts = lookup.find(&address).await?;
            Socket::connect(&hosts).await.map_err(RelayError::Unreachable)
        };
        let peer = bounded("take a connection", CONNECT_MAX, connect).await?;
        bounded("answer", ANSWER_MAX, async {
            peer.send(&upstream).await?;
            let early = swallow(&peer, handshake).await?;
            client.send(&downstream).await?;
            client.send(&early).await?;
            counters.carried(early.len());
            Ok(Self { client, peer })
        })
        .await
    }
}

/// Receives what is not for the client; answers what came behind it, which is.
async fn swallow(peer: &Socket, mut handshake: RelayHandshake) -> Result<Vec<u8>, RelayError> {
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let received = match peer.receive(&mut piece).await? {
            0 => return Err(RelayError::HungUp),
            len_bytes => &piece[..len_bytes],
        };
        match handshake.swallow(received)? {
            Swallowed::All => {}
            Swallowed::Done { len_bytes } => return Ok(received[len_bytes..].to_vec()),
        }
    }
}

async fn bounded<T>(
    doing: &'static str,
    limit: Duration,
    work: impl Future<Output = Result<T, RelayError>>,
) -> Result<T, RelayError> {
    let late = |_| RelayError::Late { doing, seconds: limit.as_secs() };
    timeout(limit, work).await.map_err(late)?
}
