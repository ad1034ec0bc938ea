//! The consensus of this project in openraft's terms, and its times.

use std::fmt;
use std::io::Cursor;
use std::sync::Arc;

use cluster::{Answer, Command, Refusal};
use openraft::{Config, ConfigError, SnapshotPolicy, TokioRuntime};

/// A leader tells that it leads about this often: openraft looks at its clock every one and a half of it.
const HEARTBEAT_MS: u64 = 100;
/// A voter that has not heard a leader for the maximum, and then for a time drawn between the two, asks to be elected:
/// after 0.9 to 1.2 s. Twice that with the next look at the clock is below the two seconds that a change of leaders may
/// take, unless the first election is split.
const ELECTION_MS: std::ops::Range<u64> = 300..600;
/// Entries between two snapshots.
pub(super) const SNAPSHOT_ENTRIES: u64 = 5000;
/// Entries kept behind a snapshot, for followers that are a little late.
const ENTRIES_KEPT: u64 = 1000;
/// A piece of a snapshot on its way.
pub(super) const PIECE_BYTES: u64 = 1 << 20;
/// Entries of one message.
const MESSAGE_ENTRIES_MAX: u64 = 300;
/// For a piece of a snapshot to arrive, and for the last one to be installed.
const SNAPSHOT_MS: u64 = 20_000;

/// The types that openraft is made of here.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct TypeConfig;

impl openraft::RaftTypeConfig for TypeConfig {
    type D = Command;
    type R = Applied;
    type NodeId = u64;
    type Node = Voter;
    type Entry = Entry;
    type SnapshotData = Cursor<Vec<u8>>;
    type AsyncRuntime = TokioRuntime;
    type Responder = openraft::impls::OneshotResponder<Self>;
}

/// An entry of the log.
pub(crate) type Entry = openraft::Entry<TypeConfig>;

/// What an entry led to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Applied {
    /// It was about the consensus itself.
    Nothing,
    /// It was a command.
    Answered(Result<Answer, Refusal>),
}

/// A voter as the others know it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Voter {
    /// Where it is reached: HOST:PORT.
    pub address: String,
    /// The store it votes with. Another one under the same id has lost what the first one promised.
    pub store: StoreId,
}

/// Drawn when a voter's store is made.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct StoreId(pub u128);

impl fmt::Display for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Openraft's configuration.
pub(super) fn config(snapshot_entries: u64) -> Result<Arc<Config>, ConfigError> {
    let config = Config {
        cluster_name: "plinth".to_owned(),
        heartbeat_interval: HEARTBEAT_MS,
        election_timeout_min: ELECTION_MS.start,
        election_timeout_max: ELECTION_MS.end,
        max_payload_entries: MESSAGE_ENTRIES_MAX,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(snapshot_entries),
        // Who is further behind than what is kept gets a snapshot.
        replication_lag_threshold: snapshot_entries + ENTRIES_KEPT,
        max_in_snapshot_log_to_keep: ENTRIES_KEPT.min(snapshot_entries),
        snapshot_max_chunk_size: PIECE_BYTES,
        install_snapshot_timeout: SNAPSHOT_MS,
        ..Config::default()
    };
    config.validate().map(Arc::new)
}
