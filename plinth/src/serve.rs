//! Serving until a signal, or the end of the node.

use std::process::ExitCode;

use anyhow::{Context, Result};
use storage_node::StorageNode;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a shell reports for a process that was interrupted.
const INTERRUPTED: i32 = 130;

/// The runtime of the control thread, which is this one.
pub fn runtime() -> Result<Runtime> {
    Builder::new_current_thread().enable_all().build().context("cannot start the control thread")
}

/// Waits for SIGTERM or SIGINT and stops in good order; a second signal ends the process at once.
pub async fn until_signal(mut node: StorageNode, mut signals: Signals) -> Result<ExitCode> {
    tokio::select! {
        ended = node.ended() => {
            ended.context("the storage node failed")?;
            return Ok(ExitCode::SUCCESS);
        }
        () = signals.next() => {}
    }
    tracing::info!("stopping; a second signal ends it at once");
    node.control().stop().await;
    tokio::select! {
        ended = node.ended() => ended.context("the storage node failed while it stopped")?,
        () = signals.next() => std::process::exit(INTERRUPTED),
    }
    Ok(ExitCode::SUCCESS)
}

/// Stops a node in good order.
pub async fn stop(mut node: StorageNode) -> Result<()> {
    node.control().stop().await;
    node.ended().await.context("the storage node failed while it stopped")
}

/// SIGTERM and SIGINT. Until this is made they end the process, as they should while a pool is being recovered.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// From now on they stop the node in good order.
    pub fn new() -> Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen to signals");
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
