//! Moving bytes both ways until both sides have ended, or one has failed.

use std::io;
use std::time::Duration;

use tokio::select;
use tokio::task::coop::consume_budget;
use tokio::time::timeout;

use super::socket::{Pipe, Socket};
use super::{RelayCounters, RelayError};

/// How long one direction may go on after the other has ended: a node answers what it has admitted, and hangs up.
const LINGER_MAX: Duration = Duration::from_secs(60);

/// Carries until both have said all.
pub(super) async fn both_ways(client: &Socket, peer: &Socket, counters: &RelayCounters) -> Result<(), RelayError> {
    let upstream = one_way(client, peer, counters);
    let downstream = one_way(peer, client, counters);
    tokio::pin!(upstream, downstream);
    let rest = select! {
        ended = &mut upstream => ended.map(|()| downstream)?,
        ended = &mut downstream => ended.map(|()| upstream)?,
    };
    Ok(timeout(LINGER_MAX, rest).await.map_err(|_| RelayError::Lingers(LINGER_MAX.as_secs()))??)
}

/// Passes bytes on, and then their end.
async fn one_way(from: &Socket, to: &Socket, counters: &RelayCounters) -> io::Result<()> {
    let pipe = Pipe::new()?;
    loop {
        // The pipe is empty here, so nothing but the socket can be what is waited for.
        let mut held_bytes = from.fill(&pipe).await?;
        if held_bytes == 0 {
            to.finish();
            return Ok(());
        }
        counters.carried(held_bytes);
        while held_bytes > 0 {
            held_bytes -= to.drain(&pipe, held_bytes).await?;
        }
        // Two fast ends could keep the thread from everybody else.
        consume_budget().await;
    }
}
