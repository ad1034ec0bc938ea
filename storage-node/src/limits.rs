//! How many connections and relays there may be: as many as are wanted, or as the limit on open files leaves room for.
//! Replicas come first: without clients there is nothing to do, but without each other replicas keep nothing safe.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::dial::DIALS_MAX;
use crate::relay::{FILES_PER_RELAY, RELAYS_MAX};
use crate::sockets::Rooms;

/// Client connections of a data thread.
#[expect(clippy::cast_possible_truncation, reason = "it is a thousand")]
pub(crate) const CONNECTIONS_MAX: u32 = node::limits::CONNECTIONS_MAX as u32;
/// Connections of a data thread with other nodes' replicas.
#[expect(clippy::cast_possible_truncation, reason = "it is a thousand")]
pub(crate) const REPLICAS_MAX: u32 = node::limits::PEERS_MAX as u32;
/// Other descriptors: standard streams, listeners, the pool, HTTP clients, the runtimes' own, connections being made.
const OTHER_FILES: u64 = 64 + DIALS_MAX as u64;
/// Of few descriptors replicas get one in so many.
const REPLICAS_SHARE: u64 = 4;

/// Lets the process open as many files as it may.
pub(crate) fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::debug!(%error, "the limit on open files stays as it is");
    }
}

/// Connections, with clients and, in a cluster, with other nodes' replicas. The limit on open files bounds the table of
/// registered files as well as the descriptors.
pub(crate) fn rooms(in_cluster: bool) -> Rooms {
    let wanted = if in_cluster { REPLICAS_MAX } else { 0 };
    let replicas = room_for("connections with other nodes", wanted, OTHER_FILES, REPLICAS_SHARE);
    let clients = room_for("connections", CONNECTIONS_MAX, OTHER_FILES + u64::from(replicas), 1);
    Rooms { clients, replicas }
}

/// Relays, beside as many connections as there may be.
pub(crate) fn relays_max() -> u32 {
    let others = OTHER_FILES + u64::from(CONNECTIONS_MAX) + u64::from(REPLICAS_MAX);
    room_for("relays", RELAYS_MAX, others, FILES_PER_RELAY)
}

fn room_for(what: &str, wanted: u32, others: u64, files_each: u64) -> u32 {
    let Some(limit) = getrlimit(Resource::Nofile).current else { return wanted };
    let room = u32::try_from(limit.saturating_sub(others) / files_each).unwrap_or(u32::MAX).max(1);
    if room < wanted {
        tracing::warn!(room, "the limit on open files (ulimit -n) leaves room for fewer {what} than {wanted}");
    }
    room.min(wanted)
}
