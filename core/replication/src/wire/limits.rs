//! What a peer can make us hold at most, and what a sender must keep to.

use block::{BLOCK_BYTES, BLOCK_SHIFT, Checksum, GROUP_BLOCKS, VOLUME_BYTES_MAX};

use crate::snapshot::SNAPSHOTS_MAX;
use crate::wire::answer::RawAnswer;
use crate::wire::body::{RawEntry, RawJoin, RawMember, RawNewEpoch, RawSnapshot, RawTail};
use crate::wire::groups::RawRun;
use crate::wire::hello::RawHello;

/// Blocks of one write: 1 MiB, what fits a batch of the store.
pub const WRITE_BLOCKS_MAX: u32 = 256;
/// Entries of one message. Whoever has more to fetch sends the first ones, and is asked for the rest; a learner is let
/// in only when the tail fits.
pub const ENTRIES_MAX: usize = 4096;
/// Payload of one message's entries. As [`ENTRIES_MAX`].
pub const ENTRIES_BYTES_MAX: usize = 32 << 20;
/// Members of a configuration.
pub const MEMBERS_MAX: usize = 16;
/// Snapshots that a replica tells of: those of its order, and as many that are not.
pub const SNAPSHOTS_SENT_MAX: usize = 2 * SNAPSHOTS_MAX;
/// Name of a node.
pub const NAME_BYTES_MAX: usize = 128;
/// What a refusal says.
pub const SENTENCE_BYTES_MAX: usize = 512;

/// What every message begins with.
pub const HEADER_BYTES: usize = 64;
/// A message, header and payload included.
pub const FRAME_BYTES_MAX: usize = 40 << 20;
/// [`crate::wire::parse()`] never needs more bytes in one piece.
pub const INPUT_BYTES_MAX: usize = HEADER_BYTES + BODY_BYTES_MAX;
/// A hello never has more bytes.
pub const HELLO_BYTES_MAX: usize = size_of::<RawHello>() + 2 * NAME_BYTES_MAX;
/// An answer to it never has more bytes.
pub const ANSWER_BYTES_MAX: usize = size_of::<RawAnswer>() + SENTENCE_BYTES_MAX;

pub(crate) const WRITE_BYTES_MAX: usize = WRITE_BLOCKS_MAX as usize * BLOCK_BYTES;
pub(crate) const GROUP_BYTES: usize = GROUP_BLOCKS as usize * BLOCK_BYTES;
/// Blocks of the largest volume.
pub(crate) const BLOCKS_MAX: u64 = VOLUME_BYTES_MAX >> BLOCK_SHIFT;
/// Groups of the largest volume.
pub(crate) const GROUPS_MAX: u64 = BLOCKS_MAX / GROUP_BLOCKS as u64;
/// Words of a set of them.
pub(crate) const WORDS_MAX: u32 = 1 << 22;
/// Largest set of groups: a run's head costs as much as the word that must be missing before the next one, or as the
/// second word of a full run.
pub(crate) const DIRTY_BYTES_MAX: usize = WORDS_MAX as usize * size_of::<u64>() + 2 * size_of::<RawRun>();
/// Records and checksums of entries.
pub(crate) const TAIL_BYTES_MAX: usize = size_of::<RawTail>()
    + ENTRIES_MAX * size_of::<RawEntry>()
    + ENTRIES_BYTES_MAX / BLOCK_BYTES * size_of::<Checksum>();
/// Body of any message.
pub(crate) const BODY_BYTES_MAX: usize = TAIL_BYTES_MAX;
/// What follows the body of any message.
pub(crate) const PAYLOAD_BYTES_MAX: usize = DIRTY_BYTES_MAX;

const _: () = assert!(WORDS_MAX as u64 * 64 == GROUPS_MAX, "every group of the largest volume has its bit");
const _: () = assert!(ENTRIES_BYTES_MAX <= PAYLOAD_BYTES_MAX, "it is the largest payload");
const _: () =
    assert!(HEADER_BYTES + BODY_BYTES_MAX + PAYLOAD_BYTES_MAX <= FRAME_BYTES_MAX, "every message is sendable");
const _: () = assert!(WRITE_BYTES_MAX <= ENTRIES_BYTES_MAX, "any entry fits a message, so a fetch always gets on");
const _: () = assert!(WRITE_BYTES_MAX == 1 << 20 && GROUP_BYTES == 256 << 10, "as the store has it");
const _: () = assert!(INPUT_BYTES_MAX <= 161 << 10, "receive buffers are sized by it");
const _: () = assert!(
    size_of::<RawNewEpoch>() + MEMBERS_MAX * size_of::<RawMember>() <= BODY_BYTES_MAX,
    "it is the largest body"
);
const _: () = assert!(
    size_of::<RawJoin>() + SNAPSHOTS_SENT_MAX * size_of::<RawSnapshot>() <= BODY_BYTES_MAX,
    "it is the largest body"
);
