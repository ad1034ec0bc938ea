//! The first bytes of a connection, from the node that made it: who it is, whom it means, what it speaks.
//!
//! The layout is the same in every version, so that nodes of any two can tell each other why they do not fit. What a
//! later version adds goes into features.

use block::Checksum;
use zerocopy::little_endian::{U16, U32, U64, U128};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::wire::channel::Channel;
use crate::wire::header::checksum_around;
use crate::wire::limits::NAME_BYTES_MAX;

/// What every such connection begins with.
pub const MAGIC: [u8; 8] = *b"PLNHELLO";
/// What this program speaks, and the oldest that it still does.
pub(crate) const VERSION: u16 = 1;
pub(crate) const VERSION_LOWEST: u16 = 1;
/// What this program can besides. Both sides use what both can.
pub(crate) const FEATURES: u64 = ASIDES | HEARTBEATS_APART | SNAPSHOTS | LOST | ROOM;
/// A feature: it can be told what is said beside the order, see [`crate::Aside`].
pub const ASIDES: u64 = 1 << 0;
/// A feature: it takes a connection for heartbeats beside the one for all else.
pub const HEARTBEATS_APART: u64 = 1 << 1;
/// A feature: it knows snapshots as places in the order.
pub const SNAPSHOTS: u64 = 1 << 2;
/// Copies tell which blocks are lost, and a lost block may be one of a snapshot.
pub const LOST: u64 = 1 << 3;
/// Acknowledgements may say that the pool is nearly full.
pub const ROOM: u64 = 1 << 4;
pub(crate) const CHECKSUM_AT: usize = 12;

const _: () = assert!(size_of::<RawHello>() == 64);
const _: () = assert!(std::mem::offset_of!(RawHello, checksum) == CHECKSUM_AT);
const _: () = assert!(std::mem::offset_of!(RawHello, channel) == 48);
const _: () = assert!(VERSION_LOWEST <= VERSION, "it speaks something");
const _: () = assert!(NAME_BYTES_MAX <= u8::MAX as usize, "a name's length fits its field");

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct RawHello {
    magic: [u8; 8],
    version: U16,
    version_lowest: U16,
    checksum: U32,
    cluster: U128,
    session: U64,
    features: U64,
    channel: u8,
    from_bytes: u8,
    to_bytes: u8,
    reserved: [u8; 13],
}

/// What a node says first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hello {
    /// The newest version of the protocol that it speaks.
    pub version: u16,
    /// The oldest one.
    pub version_lowest: u16,
    /// Its cluster's id.
    pub cluster: u128,
    /// Its name.
    pub from: String,
    /// The name of the node that it means to talk to.
    pub to: String,
    /// The same for all connections that belong together, and higher than any it used before with this node.
    pub session: u64,
    /// What this connection is for.
    pub channel: Channel,
    /// What it can besides: one bit each, unknown ones mean nothing.
    pub features: u64,
}

/// What the first bytes of a connection are.
#[derive(Debug)]
pub enum Greeted {
    /// Look again when there are this many bytes: more than now, at most [`crate::wire::HELLO_BYTES_MAX`].
    Incomplete {
        /// Bytes needed in one piece.
        need_bytes: usize,
    },
    /// A hello. [`Hello::refuse`] says whether its sender is welcome.
    Hello {
        /// Bytes done with.
        consumed: usize,
        /// What it says.
        hello: Hello,
    },
    /// Nobody to talk to. Say so in an answer, and end the connection.
    Refused(Refusal),
}

/// Why two nodes do not talk to each other: for the logs of both.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// No node of ours.
    #[error("the first bytes are {found:#018x}, not a node's; clients connect to the address for NBD")]
    Magic {
        /// What was found, as the bytes stand.
        found: u64,
    },
    /// Nodes of releases that are too far apart.
    #[error(
        "it speaks versions {lowest} to {highest} of replication, and the other node {VERSION_LOWEST} to {VERSION}; update \
         the older one"
    )]
    Version {
        /// The oldest that it speaks.
        lowest: u16,
        /// The newest one.
        highest: u16,
    },
    /// Not what was sent.
    #[error("its greeting has checksum {found} and should have {computed}; look for bad memory or network")]
    Damaged {
        /// What it says.
        found: Checksum,
        /// What its bytes say.
        computed: Checksum,
    },
    /// Nothing that a node of ours says.
    #[error("its greeting makes no sense: {what}; is it a node of this cluster?")]
    Malformed {
        /// What is wrong.
        what: &'static str,
    },
    /// Another cluster.
    #[error(
        "it is of cluster {found:032x}, and the other node of {expected:032x}; correct one node's control addresses"
    )]
    Cluster {
        /// Its cluster.
        found: u128,
        /// The other one.
        expected: u128,
    },
    /// It means another node.
    #[error("it is looking for node \"{found}\" and found \"{expected}\"; correct that node's address")]
    Node {
        /// Whom it means.
        found: String,
        /// Who this is.
        expected: String,
    },
    /// A connection that was long on its way.
    #[error("its session {found} is over: {newest} has begun since; nothing is to be done")]
    Superseded {
        /// Its session.
        found: u64,
        /// The newest one of the same node.
        newest: u64,
    },
}

impl Hello {
    /// One of this program.
    #[must_use]
    pub fn new(cluster: u128, from: String, to: String, session: u64, channel: Channel) -> Self {
        assert!(is_name(from.as_bytes()) && is_name(to.as_bytes()), "nodes have names");
        let (version, version_lowest, features) = (VERSION, VERSION_LOWEST, FEATURES);
        Self { version, version_lowest, cluster, from, to, session, channel, features }
    }

    /// As it travels.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let len = |name: &str| u8::try_from(name.len()).expect("names have at most 128 bytes");
        let raw = RawHello {
            magic: MAGIC,
            version: self.version.into(),
            version_lowest: self.version_lowest.into(),
            checksum: 0.into(),
            cluster: self.cluster.into(),
            session: self.session.into(),
            features: self.features.into(),
            channel: self.channel as u8,
            from_bytes: len(&self.from),
            to_bytes: len(&self.to),
            reserved: [0; 13],
        };
        sealed([raw.as_bytes(), self.from.as_bytes(), self.to.as_bytes()].concat())
    }

    /// Looks at the first bytes of a connection.
    #[must_use]
    pub fn parse(input: &[u8]) -> Greeted {
        match Self::take(input) {
            Ok(greeted) => greeted,
            Err(refusal) => Greeted::Refused(refusal),
        }
    }

    /// Whether `node` of `cluster` must not talk to who says this.
    #[must_use]
    pub fn refuse(&self, cluster: u128, node: &str) -> Option<Refusal> {
        if self.cluster != cluster {
            Some(Refusal::Cluster { found: self.cluster, expected: cluster })
        } else if self.to != node {
            Some(Refusal::Node { found: self.to.clone(), expected: node.to_owned() })
        } else {
            None
        }
    }

    fn take(input: &[u8]) -> Result<Greeted, Refusal> {
        let Ok((raw, names)) = RawHello::ref_from_prefix(input) else {
            return Ok(Greeted::Incomplete { need_bytes: size_of::<RawHello>() });
        };
        check_magic(raw.magic, MAGIC)?;
        let (lowest, highest) = (raw.version_lowest.get(), raw.version.get());
        if lowest > highest || lowest > VERSION || highest < VERSION_LOWEST {
            return Err(Refusal::Version { lowest, highest });
        }
        let (from_bytes, to_bytes) = (usize::from(raw.from_bytes), usize::from(raw.to_bytes));
        if from_bytes.max(to_bytes) > NAME_BYTES_MAX {
            return Err(Refusal::Malformed { what: "a name is too long" });
        }
        let consumed = size_of::<RawHello>() + from_bytes + to_bytes;
        let Some(bytes) = input.get(..consumed) else {
            return Ok(Greeted::Incomplete { need_bytes: consumed });
        };
        check_sum(bytes, Checksum(raw.checksum.get()))?;
        if raw.reserved != [0; 13] {
            return Err(Refusal::Malformed { what: "reserved bytes are not 0" });
        }
        let channel = Channel::of(raw.channel).ok_or(Refusal::Malformed { what: "no such kind of connection" })?;
        let hello = Self {
            version: highest,
            version_lowest: lowest,
            cluster: raw.cluster.get(),
            from: name(&names[..from_bytes])?,
            to: name(&names[from_bytes..from_bytes + to_bytes])?,
            session: raw.session.get(),
            channel,
            features: raw.features.get(),
        };
        Ok(Greeted::Hello { consumed, hello })
    }
}

/// The record with its checksum.
pub(crate) fn sealed(mut record: Vec<u8>) -> Vec<u8> {
    let checksum = checksum_around(&record, CHECKSUM_AT);
    record[CHECKSUM_AT..CHECKSUM_AT + 4].copy_from_slice(&checksum.0.to_le_bytes());
    record
}

pub(crate) fn check_magic(found: [u8; 8], expected: [u8; 8]) -> Result<(), Refusal> {
    if found == expected { Ok(()) } else { Err(Refusal::Magic { found: u64::from_be_bytes(found) }) }
}

pub(crate) fn check_sum(record: &[u8], found: Checksum) -> Result<(), Refusal> {
    let computed = checksum_around(record, CHECKSUM_AT);
    if found == computed { Ok(()) } else { Err(Refusal::Damaged { found, computed }) }
}

fn name(bytes: &[u8]) -> Result<String, Refusal> {
    let refusal = Refusal::Malformed { what: "a name is none: 1 to 128 characters of a-z, 0-9, '.', '_' and '-'" };
    let text = is_name(bytes).then(|| String::from_utf8(bytes.to_vec()).ok()).flatten();
    text.ok_or(refusal)
}

/// As the cluster has it. What a stranger sent goes into logs only if it is one.
fn is_name(bytes: &[u8]) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let starts = bytes.first().is_some_and(|byte| is_letter(*byte));
    starts && bytes.len() <= NAME_BYTES_MAX && bytes.iter().all(|byte| is_letter(*byte) || b"._-".contains(byte))
}
