//! The consensus of this project in openraft's terms, and its times.

use std::fmt;
use std::io::Cursor;
use std::sync::Arc;
use std::time::Duration;

use cluster::{Answer, Command, Refusal};
use openraft::{Config, SnapshotPolicy, TokioRuntime};

/// A leader speaks to each voter at least every one and a half of this, and waits this long for each answer.
const HEARTBEAT_MS: u64 = 100;
/// For so long after it heard a leader a voter votes for nobody else.
pub(super) const LEASE: Duration = Duration::from_millis(600);
/// A voter that has not heard a leader for so long asks around whether it should ask for votes, see `campaign`. A device
/// that takes some hundred milliseconds for a sync does not cost a leader its place.
pub(super) const SILENCE_MAX: Duration = Duration::from_millis(700);
/// How long a vote may take, and a new leader to be heard: before that nobody asks for votes again.
pub(super) const VOTE_MAX: Duration = Duration::from_millis(500);
/// A leader that a majority has not answered for so long does not lead: another one may.
pub(super) const QUORUM_MAX: Duration = Duration::from_millis(1200);
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

/// Longest command, as a record: a node's report of a hundred thousand replicas takes a third of it.
pub(super) const COMMAND_BYTES_MAX: usize = 8 << 20;
/// Longest message: several entries up to what is read of the log at a time, or one of any length.
pub(super) const MESSAGE_BYTES_MAX: usize = 12 << 20;

const _: () = assert!(4 * HEARTBEAT_MS as u128 <= LEASE.as_millis(), "one lost heartbeat is no reason for an election");
const _: () = assert!(LEASE.as_millis() < SILENCE_MAX.as_millis(), "who asks for votes has a chance");
const _: () = assert!(VOTE_MAX.as_millis() < LEASE.as_millis(), "openraft wants it so");
const _: () = assert!(COMMAND_BYTES_MAX + (2 << 20) < MESSAGE_BYTES_MAX, "the longest command can be sent");
const _: () = assert!(2 * PIECE_BYTES < MESSAGE_BYTES_MAX as u64, "a piece of a snapshot can be sent");

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
pub(super) fn config(snapshot_entries: u64) -> Arc<Config> {
    let in_ms = |time: Duration| u64::try_from(time.as_millis()).expect("less than a second");
    let config = Config {
        cluster_name: "plinth".to_owned(),
        heartbeat_interval: HEARTBEAT_MS,
        // Whoever should ask for votes is found out in `campaign`. What openraft takes from these is how long it waits
        // for a vote, and for how long after it heard a leader it gives none.
        enable_elect: false,
        election_timeout_min: in_ms(VOTE_MAX),
        election_timeout_max: in_ms(LEASE),
        max_payload_entries: MESSAGE_ENTRIES_MAX,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(snapshot_entries),
        // Who is further behind than what is kept gets a snapshot.
        replication_lag_threshold: snapshot_entries + ENTRIES_KEPT,
        max_in_snapshot_log_to_keep: ENTRIES_KEPT.min(snapshot_entries),
        snapshot_max_chunk_size: PIECE_BYTES,
        install_snapshot_timeout: SNAPSHOT_MS,
        ..Config::default()
    };
    Arc::new(config.validate().expect("the times are in their order, and a message has entries"))
}
