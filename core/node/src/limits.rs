//! Every bound of a node, and how they depend on each other. What is full stops reading sockets; nothing fails.

use std::time::Duration;

use block::{BLOCK_BYTES, BLOCK_SHIFT};
use store::BATCH_BLOCKS_MAX;

use crate::inbox::INBOX_BYTES;

/// Connections at once; one more is closed as it comes.
pub const CONNECTIONS_MAX: usize = 1024;
/// Requests of one connection between their arrival and their reply. Clients keep up to 128 in flight (the kernel's
/// queue depth, fio at its usual deepest); twice that so that reading on is never what they wait for.
pub const REQUESTS_MAX: u32 = 256;
/// Bytes named by one connection's requests in flight.
pub const CONNECTION_BYTES_MAX: u64 = 64 << 20;
/// Bytes held for all requests in flight.
pub const IN_FLIGHT_BYTES_MAX: u64 = 256 << 20;
/// Largest payload of a read or write.
pub const PAYLOAD_BYTES_MAX: u32 = nbd::PAYLOAD_BYTES_MAX;
/// What a request without payload counts as; bounds the number of requests by the bounds on bytes.
pub const REQUEST_BYTES_MIN: u64 = BLOCK_BYTES as u64;
/// A connection with more than this to be sent is not read from.
pub const BACKLOG_BYTES_MAX: usize = 8 << 20;
/// With more than this to be sent over all connections, only those that owe and are owed nothing are read from.
pub const BACKLOG_BYTES_TOTAL_MAX: usize = 256 << 20;
/// A send of more than this is awaited: it may not fit the socket's buffer, and holds memory that others could use.
pub(crate) const UNAWAITED_BYTES_MAX: usize = 256 << 10;
/// Requests taken from one connection before the next one's turn.
pub(crate) const QUANTUM: u32 = 8;
/// Requests taken in one turn; the rest follows in the next.
pub(crate) const TURN_REQUESTS_MAX: u32 = 4096;
/// Blocks zeroed or discarded by one request to the store.
pub(crate) const ZERO_STEP_BLOCKS: u32 = (64 << 20) >> BLOCK_SHIFT;
/// Blocks looked at for one block status reply; the client asks again for the rest.
pub(crate) const STATUS_BLOCKS_MAX: u32 = (1 << 30) >> BLOCK_SHIFT;
/// Operators' commands being carried out.
pub(crate) const COMMANDS_MAX: usize = 64;
/// Volumes, deletions and routes that intents may name, of each: a cluster has no more.
pub(crate) const INTENT_ENTRIES_MAX: usize = 100_000;
/// Attachments of one volume: its readers and some more.
pub(crate) const INTENT_ATTACHMENTS_MAX: usize = 1024;
/// Volumes being made, grown or deleted at once because the control plane wants it.
pub(crate) const STEPS_MAX: usize = 32;
/// Volumes looked at in one turn, whether something is to be done about them.
pub(crate) const LOOKS_MAX: u32 = 1024;
/// What could not be done is tried again after this time, so many at once.
pub(crate) const RETRIES_MAX: usize = 16;
/// See [`RETRIES_MAX`].
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Reports about connections in [`REPORTS_WINDOW`].
pub(crate) const REPORTS_MAX: u32 = 100;
/// See [`REPORTS_MAX`].
pub(crate) const REPORTS_WINDOW: Duration = Duration::from_secs(1);
/// How long a client may take to open an export, and how long a connection may take to end in good order, one by one
/// and all at a stop.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// How long a node that stops waits for others to become primary of what it serves.
pub const HAND_OVER_PATIENCE: Duration = Duration::from_secs(1);
/// How long it goes on afterwards: the next primary waits for its word that it goes by the new configuration.
pub const HAND_OVER_GRACE: Duration = Duration::from_millis(100);

/// How long the payload of a write may make no progress. Its memory is held that long.
pub const PAYLOAD_PATIENCE: Duration = Duration::from_secs(60);

/// Connections with other nodes' replicas: two with each.
pub const PEERS_MAX: usize = 2048;
/// Bytes to be sent to one other node; a volume that wants to send more begins anew.
pub const PEER_OUTBOX_BYTES_MAX: usize = 64 << 20;
/// Without anything else to say, something is said after this time.
pub const PEER_KEEPALIVE: Duration = Duration::from_millis(200);
/// Another node that says nothing for so long is not there.
pub const PEER_SILENCE: Duration = Duration::from_millis(1000);
/// The same on the connection for all else, while heartbeats arrive on theirs: the network loses packets, and what is large
/// waits longer for the ones that were lost. Members that do not keep up for two seconds go before.
pub const PEER_STUCK: Duration = Duration::from_millis(3000);
/// Before another node is connected to again: first, and at most.
pub const PEER_PAUSE_MIN: Duration = Duration::from_millis(20);
/// See [`PEER_PAUSE_MIN`].
pub const PEER_PAUSE_MAX: Duration = Duration::from_secs(1);

const _: () = assert!(
    PEER_OUTBOX_BYTES_MAX > replication::wire::FRAME_BYTES_MAX,
    "every message can be sent once the outbox is empty"
);
const _: () =
    assert!(PEER_KEEPALIVE.as_millis() * 3 < PEER_SILENCE.as_millis(), "one that is late is not taken for the end");
const _: () = assert!(
    INBOX_BYTES / BLOCK_BYTES + 2 <= BATCH_BLOCKS_MAX as usize,
    "what lies in an inbox fits one part of a write, so that it can be copied out at once"
);
const _: () = assert!(
    CONNECTION_BYTES_MAX >= 2 * PAYLOAD_BYTES_MAX as u64 && IN_FLIGHT_BYTES_MAX >= 4 * CONNECTION_BYTES_MAX,
    "the largest request is taken while another is in flight, and one connection does not fill the node"
);
const _: () = assert!(
    INBOX_BYTES > 2 * nbd::INPUT_BYTES_MAX,
    "whatever a session needs in one piece fits the inbox, with room for what follows"
);
const _: () = assert!(BACKLOG_BYTES_MAX > nbd::NEGOTIATION_BYTES_MAX, "a negotiation never stops for its own answers");
