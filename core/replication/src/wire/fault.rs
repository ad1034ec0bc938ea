//! Why a stream of messages cannot be followed.

use block::{BlockIndex, Checksum, Epoch, SnapshotId};

use crate::wire::header::Kind;
use crate::wire::limits::{BLOCKS_MAX, ENTRIES_BYTES_MAX, ENTRIES_MAX, GROUPS_MAX, MEMBERS_MAX, WRITE_BLOCKS_MAX};

/// What is wrong with a message. The connection ends: nobody can say where the next one begins, or what was meant.
///
/// Two kinds: bytes were damaged on their way, or the sender is not what it should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Fault {
    /// The stream is not one of messages, or no longer.
    #[error("a message begins with {found:#010x} instead of {expected:#010x}: the stream is out of step, connect anew")]
    Magic {
        /// What was found.
        found: u32,
        /// What was expected.
        expected: u32,
    },
    /// Another version than the hello agreed on.
    #[error("a message has version {found}, and version {expected} was agreed on: update the older node")]
    Version {
        /// What was found.
        found: u16,
        /// What was expected.
        expected: u16,
    },
    /// The header is not what was sent.
    #[error("a header has checksum {found} and should have {computed}: look for bad memory or network, connect anew")]
    HeaderDamaged {
        /// What it says.
        found: Checksum,
        /// What its bytes say.
        computed: Checksum,
    },
    /// The body is not what was sent.
    #[error("{kind:?}: the body's checksum is {computed}, not {found}: look for bad memory or network, connect anew")]
    BodyDamaged {
        /// Of which message.
        kind: Kind,
        /// What the header says.
        found: Checksum,
        /// What the bytes say.
        computed: Checksum,
    },
    /// A block is not what was sent.
    #[error(
        "{kind:?}: block {index} of the payload has checksum {computed}, not {found}: look for bad memory or network, \
         connect anew"
    )]
    BlockDamaged {
        /// Of which message.
        kind: Kind,
        /// Which of its blocks, from 0.
        index: usize,
        /// What the body says.
        found: Checksum,
        /// What the bytes say.
        computed: Checksum,
    },
    /// The set of groups is not what was sent.
    #[error("the groups to copy have checksum {computed}, not {found}: look for bad memory or network, connect anew")]
    DirtyDamaged {
        /// What the body says.
        found: Checksum,
        /// What the bytes say.
        computed: Checksum,
    },
    /// No message of this version.
    #[error("a message is of kind {found}; 1 to 23 are known: update the older node")]
    Kind {
        /// What was found.
        found: u8,
    },
    /// Something that must not be passed over.
    #[error("{kind:?}: flags {found:#x}, of which only {known:#x} are known: update the older node")]
    Flags {
        /// Of which message.
        kind: Kind,
        /// What was found.
        found: u8,
        /// What there may be.
        known: u8,
    },
    /// Nobody speaks in epoch 0, and who asks to be taught or for a link speaks in none.
    #[error(
        "{kind:?}: the epoch is {found}; it is 0 where there is none, and only there: the sender is broken, report it"
    )]
    Epoch {
        /// Of which message.
        kind: Kind,
        /// What was found.
        found: Epoch,
    },
    /// Nobody is incarnation 0.
    #[error("{kind:?}: an incarnation is 0, and they begin with 1: the sender is broken, report it")]
    NoIncarnation {
        /// Of which message.
        kind: Kind,
    },
    /// Nothing is said without a link.
    #[error("{kind:?}: the link is 0, and they begin with 1: the sender is broken, report it")]
    NoLink {
        /// Of which message.
        kind: Kind,
    },
    /// More than is taken.
    #[error(
        "{kind:?}: a {what} of {found} bytes, more than the {max} that are allowed: the sender is broken, report it"
    )]
    TooLong {
        /// Of which message.
        kind: Kind,
        /// Of what.
        what: &'static str,
        /// What was found.
        found: usize,
        /// What is allowed.
        max: usize,
    },
    /// The body ends before what it should hold.
    #[error("{kind:?}: {found} bytes of the body are left where {expected} should be: the sender is broken, report it")]
    BodyTooShort {
        /// Of which message.
        kind: Kind,
        /// What is left.
        found: usize,
        /// What is needed.
        expected: usize,
    },
    /// The body goes on behind what it should hold.
    #[error("{kind:?}: {found} bytes of the body are left where it should end: the sender is broken, report it")]
    BodyTooMuch {
        /// Of which message.
        kind: Kind,
        /// What is left.
        found: usize,
    },
    /// The payload is not as long as the body says.
    #[error("{kind:?}: a payload of {found} bytes where the body tells of {expected}: the sender is broken, report it")]
    PayloadBytes {
        /// Of which message.
        kind: Kind,
        /// What the header says.
        found: usize,
        /// What the body says.
        expected: usize,
    },
    /// No change of this version.
    #[error("{kind:?}: a change of kind {found}; 1 to 4 are known: update the older node")]
    Change {
        /// Of which message.
        kind: Kind,
        /// What was found.
        found: u8,
    },
    /// Something that must not be passed over.
    #[error(
        "{kind:?}: a change has flags {flags:#x}, of which only 0x1 is known, or reserved bytes: update the older node"
    )]
    ChangeFlags {
        /// Of which message.
        kind: Kind,
        /// What was found.
        flags: u8,
    },
    /// No blocks of a volume.
    #[error(
        "{kind:?}: a change of {count} blocks from block {first}; a write has 1 to {WRITE_BLOCKS_MAX}, a flush none from \
         0, a snapshot those of a volume, and a volume ends before block {BLOCKS_MAX}: the sender is broken, report it"
    )]
    Range {
        /// Of which message.
        kind: Kind,
        /// Where.
        first: BlockIndex,
        /// How many.
        count: u32,
    },
    /// A place that no change can have.
    #[error("{kind:?}: a change has place {epoch}.{n} in epoch {in_force}: the sender is broken, report it")]
    Place {
        /// Of which message.
        kind: Kind,
        /// Its epoch.
        epoch: Epoch,
        /// Its number.
        n: u64,
        /// The message's.
        in_force: Epoch,
    },
    /// Changes have a gap, or do not end where they should.
    #[error("{kind:?}: change {found} comes where change {expected} should: the sender is broken, report it")]
    Order {
        /// Of which message.
        kind: Kind,
        /// What was found.
        found: u64,
        /// What was expected.
        expected: u64,
    },
    /// Too many entries, or too much in them.
    #[error(
        "{kind:?}: {entries} changes; one message has at most {ENTRIES_MAX}, with at most {ENTRIES_BYTES_MAX} bytes: the \
         sender is broken, report it"
    )]
    Entries {
        /// Of which message.
        kind: Kind,
        /// How many.
        entries: u32,
    },
    /// No configuration of ours.
    #[error(
        "a configuration of {members} members with a minimum of {members_min}; there are 1 to {MEMBERS_MAX}, in order, \
         and the primary is one: the sender is broken, report it"
    )]
    Configuration {
        /// How many there are.
        members: u32,
        /// How many there must be for writes.
        members_min: u32,
    },
    /// No group of a volume.
    #[error("a copy of group {found}, and a volume ends before group {GROUPS_MAX}: the sender is broken, report it")]
    Group {
        /// What was found.
        found: u64,
    },
    /// What is lost of a group cannot be.
    #[error(
        "a copy of a group with holes {holes:#x} that has lost blocks {found:#x}: there must be some, and none of them \
         holes; the sender is broken, report it"
    )]
    Lost {
        /// A bit for each.
        found: u64,
        /// A bit for each.
        holes: u64,
    },
    /// Nothing that is said beside the order.
    #[error(
        "{kind:?}: a block, a range or a flag is none, or reserved bytes are not 0: the sender is broken, report it"
    )]
    Aside {
        /// Of which message.
        kind: Kind,
    },
    /// No snapshot, or one out of order.
    #[error(
        "{kind:?}: snapshot {id} has no place or no size, or comes where a later one should: the sender is broken, report it"
    )]
    Snapshot {
        /// Of which message.
        kind: Kind,
        /// Which.
        id: SnapshotId,
    },
    /// Not how a set of groups is written.
    #[error("the groups to copy make no sense at byte {at}: the sender is broken, report it")]
    Groups {
        /// Where.
        at: usize,
    },
}
