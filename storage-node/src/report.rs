//! The log: news of the machine and of relays, in words. Who reports has already acted on all of it.

use node::{ConnId, Report, Why};
use store::RecoveryReport;

use crate::relay::RelayError;
use crate::sockets::Arrival;

/// A client connected.
pub(crate) fn accepted(arrival: &Arrival) {
    let peer = arrival.peer.map_or_else(|| "unix socket".to_owned(), |peer| peer.to_string());
    tracing::debug!(connection = %Name(arrival.conn), peer, door = ?arrival.door, "client connected");
}

/// A client is connected through to another node.
pub(crate) fn relay_opened(conn: ConnId, peer: &str) {
    tracing::info!(connection = %Name(conn), peer, "client is relayed to the node that has its volume");
}

/// Both ends of a relay ended in good order.
pub(crate) fn relay_ended(conn: ConnId, peer: &str) {
    tracing::info!(connection = %Name(conn), peer, "relayed client is gone");
}

/// A client was disconnected because it could not be relayed, or not to the end.
pub(crate) fn relay_failed(conn: ConnId, peer: &str, error: &RelayError) {
    tracing::warn!(connection = %Name(conn), peer, "relayed client was disconnected: {error}");
}

/// The pool is open.
pub(crate) fn recovered(report: &RecoveryReport) {
    let RecoveryReport { pool, replayed_batches, replayed_pages, last_lsn, incarnation, .. } = *report;
    tracing::info!(%pool, incarnation, replayed_batches, replayed_pages, %last_lsn, clean = report.clean, "pool is open");
    if report.cold {
        tracing::warn!(
            %pool, cold_starts = report.cold_starts,
            "the machine went down without closing the pool: what was written and not flushed may be lost"
        );
    }
}

/// Logs what the machine reports.
pub(crate) fn log(report: &Report) {
    match report {
        Report::Store(report) => log_store(report),
        Report::Opened { conn, volume } => {
            tracing::info!(connection = %Name(*conn), %volume, "client opened a volume");
        }
        Report::Ended { conn, volume, why } => {
            let volume = volume.map(|volume| volume.to_string());
            tracing::info!(connection = %Name(*conn), volume, "client is gone: {}", Reason(*why));
        }
        Report::Peer { peer, fault } => {
            let peer = peer.map(|peer| peer.to_string());
            tracing::info!(peer, "connection with another node is gone: {fault}");
        }
        Report::Suppressed { count } => tracing::warn!(count, "reports about connections left out: too many at once"),
    }
}

fn log_store(report: &store::Report) {
    match report {
        store::Report::Poisoned { error, during } => {
            tracing::error!(
                %error, during,
                "the device failed: the pool takes no more writes. Reads go on; look at the device, then start again"
            );
        }
        store::Report::BadBlock { at, block, mismatch } => {
            let of = block.map(|(source, _)| source.to_string());
            let block = block.map(|(_, block)| block.0);
            let what = if *mismatch { "does not match its checksum" } else { "cannot be read" };
            tracing::error!(%at, of, block, "a block {what}");
        }
        store::Report::Checkpointed { replay_from, map_pages } => {
            tracing::debug!(%replay_from, map_pages, "checkpoint completed");
        }
        store::Report::Scrubbed { blocks, bad_blocks: 0 } => tracing::info!(blocks, "scrub found no damage"),
        store::Report::Scrubbed { blocks, bad_blocks } => tracing::error!(blocks, bad_blocks, "scrub found damage"),
        store::Report::Freed { blocks } => tracing::info!(blocks, "space of deleted volumes and snapshots is free"),
    }
}

/// A connection's name in the log.
struct Name(ConnId);

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.0.slot, self.0.generation)
    }
}

struct Reason(Why);

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Why::Session(reason) => reason.fmt(f),
            Why::Broken => f.write_str("the connection broke"),
            Why::Stalled => f.write_str("the payload of a write stopped coming"),
            Why::Abrupt => f.write_str("it took too long to end in good order"),
            Why::TooSlow => f.write_str("it opened no export in time"),
            Why::TooMany => f.write_str("there are as many connections as there may be"),
            Why::VolumeDeleted => f.write_str("its volume was deleted"),
            Why::ShutOut => f.write_str("the control plane does not let it in any more"),
            Why::Deposed => f.write_str("its volume is served by another node, or by none for a moment"),
            Why::Superseded => f.write_str("the same client came again"),
            Why::Preamble(fault) => fault.fmt(f),
            Why::Stopping => f.write_str("the node is stopping"),
        }
    }
}
