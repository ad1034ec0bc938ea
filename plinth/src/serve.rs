//! Serving until a signal, or the end of what serves.

use std::future::poll_fn;
use std::process::ExitCode;
use std::task::Poll;

use anyhow::{Context, Result, bail};
use control_plane::ControlPlane;
use storage_node::StorageNode;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a shell reports for a process that was interrupted.
pub const INTERRUPTED: i32 = 130;

/// What serves in this process.
pub struct Running {
    /// Storage nodes; they stop first.
    pub nodes: Vec<StorageNode>,
    /// A voter, which outlives them: what they say last is heard.
    pub voter: Option<ControlPlane>,
}

impl Running {
    /// A node alone.
    pub fn of(node: StorageNode) -> Self {
        Self { nodes: vec![node], voter: None }
    }

    /// Waits until one of them ends, which none does unasked.
    async fn ended(&mut self) -> Result<()> {
        let Self { nodes, voter } = self;
        tokio::select! {
            ended = first_to_end(nodes) => ended.context("the storage node failed"),
            ended = voter_ends(voter) => ended.context("the voter failed"),
        }
    }

    /// Stops all in good order.
    ///
    /// # Errors
    /// The first failure; the others are stopped all the same.
    pub async fn stop(mut self) -> Result<()> {
        for node in &self.nodes {
            node.control().stop().await;
        }
        let mut stopped = Ok(());
        for node in &mut self.nodes {
            let ended = node.ended().await.context("the storage node failed while it stopped");
            stopped = stopped.and(ended);
        }
        if let Some(voter) = self.voter {
            voter.stop().await;
        }
        stopped
    }
}

async fn first_to_end(nodes: &mut [StorageNode]) -> Result<()> {
    let mut ends: Vec<_> = nodes.iter_mut().map(|node| Box::pin(node.ended())).collect();
    let ended = poll_fn(|context| {
        let ended = ends.iter_mut().find_map(|end| match end.as_mut().poll(context) {
            Poll::Ready(ended) => Some(ended),
            Poll::Pending => None,
        });
        ended.map_or(Poll::Pending, Poll::Ready)
    });
    Ok(ended.await?)
}

async fn voter_ends(voter: &mut Option<ControlPlane>) -> Result<()> {
    match voter {
        Some(voter) => voter.ended().await?,
        None => std::future::pending().await,
    }
    bail!("its server ended unasked")
}

/// The runtime of the control thread, which is this one.
pub fn runtime() -> Result<Runtime> {
    Builder::new_current_thread().enable_all().build().context("cannot start the control thread")
}

/// Waits for SIGTERM or SIGINT and stops in good order; a second signal ends the process at once.
pub async fn until_signal(mut running: Running, mut signals: Signals) -> Result<ExitCode> {
    tokio::select! {
        ended = running.ended() => {
            // What failed is told; that the others stopped as well or not adds nothing.
            let _ = stop(running, signals).await;
            ended?;
            return Ok(ExitCode::SUCCESS);
        }
        () = signals.next() => {}
    }
    stop(running, signals).await?;
    Ok(ExitCode::SUCCESS)
}

/// Stops in good order; a signal ends the process at once.
pub async fn stop(running: Running, mut signals: Signals) -> Result<()> {
    tracing::info!("stopping; a signal ends it at once");
    tokio::select! {
        stopped = running.stop() => stopped,
        () = signals.next() => std::process::exit(INTERRUPTED),
    }
}

/// SIGTERM and SIGINT. Until this is made they end the process, as they should while a pool is being recovered.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// From now on they stop what serves in good order.
    pub fn new() -> Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen to signals");
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    /// Waits for one.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
