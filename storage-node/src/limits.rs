//! How many connections and relays there may be: as many as are wanted, or as the limit on open files leaves room for.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::relay::{FILES_PER_RELAY, RELAYS_MAX};

/// Client connections of a data thread.
#[expect(clippy::cast_possible_truncation, reason = "it is a thousand")]
pub(crate) const CONNECTIONS_MAX: u32 = node::limits::CONNECTIONS_MAX as u32;
/// Other descriptors: standard streams, listeners, the pool, HTTP clients, the runtimes' own.
const OTHER_FILES: u64 = 64;

/// Lets the process open as many files as it may.
pub(crate) fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::debug!(%error, "the limit on open files stays as it is");
    }
}

/// Client connections. The limit on open files bounds the table of registered files as well as the descriptors.
pub(crate) fn connections_max() -> u32 {
    room_for("connections", CONNECTIONS_MAX, OTHER_FILES, 1)
}

/// Relays, beside as many connections as there may be.
pub(crate) fn relays_max() -> u32 {
    room_for("relays", RELAYS_MAX, OTHER_FILES + u64::from(CONNECTIONS_MAX), FILES_PER_RELAY)
}

fn room_for(what: &str, wanted: u32, others: u64, files_each: u64) -> u32 {
    let Some(limit) = getrlimit(Resource::Nofile).current else { return wanted };
    let room = u32::try_from(limit.saturating_sub(others) / files_each).unwrap_or(u32::MAX).max(1);
    if room < wanted {
        tracing::warn!(room, "the limit on open files (ulimit -n) leaves room for fewer {what} than {wanted}");
    }
    room.min(wanted)
}
