//! The consensus of this project in openraft's terms, and its times.

use std::fmt;
use std::io::Cursor;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use cluster::{Answer, Command, Refusal};
use openraft::{Config, SnapshotPolicy, TokioRuntime};

/// A leader speaks to each voter at least every one and a half of this, and waits this long for each answer.
const HEARTBEAT_MS: u64 = 100;
/// A voter that has not heard a leader for the maximum of its own part of this, and then for a time drawn from that part,
/// asks to be elected: 0.7 to 1.2 s after it last heard one. Every voter of three has another part, so that two seldom ask
/// at once and split the vote; an election that fails is repeated, which has been seen to take up to 3.6 s in all. A
/// device that takes some hundred milliseconds for a sync does not cost a leader its place.
const ELECTION_MS: Range<u64> = 300..600;
const PARTS: u64 = 3;
/// A leader that a majority has not answered for so long does not lead: another one may.
pub(super) const QUORUM_MAX: Duration = Duration::from_millis(2 * ELECTION_MS.end);
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

const _: () = assert!(HEARTBEAT_MS < ELECTION_MS.start, "one lost heartbeat is no reason for an election");
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

/// A voter's part of [`ELECTION_MS`].
fn part_of(voter: u64) -> Range<u64> {
    let len_ms = (ELECTION_MS.end - ELECTION_MS.start) / PARTS;
    let start = ELECTION_MS.start + voter % PARTS * len_ms;
    start..start + len_ms
}

/// Openraft's configuration for a voter.
pub(super) fn config(voter: u64, snapshot_entries: u64) -> Arc<Config> {
    let election_ms = part_of(voter);
    let config = Config {
        cluster_name: "plinth".to_owned(),
        heartbeat_interval: HEARTBEAT_MS,
        election_timeout_min: election_ms.start,
        election_timeout_max: election_ms.end,
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

#[cfg(test)]
mod tests {
    use super::{ELECTION_MS, part_of};

    #[test]
    fn three_voters_ask_to_be_elected_at_different_times() {
        let mut parts = [1, 2, 3].map(part_of);
        parts.sort_by_key(|part| part.start);
        assert!(parts[0].end <= parts[1].start && parts[1].end <= parts[2].start);
        assert_eq!((parts[0].start, parts[2].end), (ELECTION_MS.start, ELECTION_MS.end));
    }
}
