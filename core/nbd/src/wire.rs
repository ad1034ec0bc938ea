//! The protocol's bytes and numbers, big-endian as they travel. Names follow `doc/proto.md` without its prefix.

use zerocopy::big_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

pub(crate) const GREETING_MAGIC: u64 = u64::from_be_bytes(*b"NBDMAGIC");
pub(crate) const OPTION_MAGIC: u64 = u64::from_be_bytes(*b"IHAVEOPT");
pub(crate) const OPTION_REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;
pub(crate) const REQUEST_MAGIC: u32 = 0x2560_9513;
pub(crate) const SIMPLE_REPLY_MAGIC: u32 = 0x6744_6698;
pub(crate) const CHUNK_MAGIC: u32 = 0x668e_33ef;

/// Flags of the greeting, and the client's answer to them, which has 32 bits.
pub(crate) const FLAG_FIXED_NEWSTYLE: u16 = 1 << 0;
pub(crate) const FLAG_NO_ZEROES: u16 = 1 << 1;
/// What a server of ours says it can.
pub(crate) const GREETING_FLAGS: u16 = FLAG_FIXED_NEWSTYLE | FLAG_NO_ZEROES;
/// Zeroes after the answer to EXPORT_NAME, unless both sides said `NO_ZEROES`.
pub(crate) const EXPORT_NAME_ZEROES: [u8; 124] = [0; 124];

pub(crate) const OPT_EXPORT_NAME: u32 = 1;
pub(crate) const OPT_ABORT: u32 = 2;
pub(crate) const OPT_LIST: u32 = 3;
pub(crate) const OPT_INFO: u32 = 6;
pub(crate) const OPT_GO: u32 = 7;
pub(crate) const OPT_STRUCTURED_REPLY: u32 = 8;
pub(crate) const OPT_LIST_META_CONTEXT: u32 = 9;
pub(crate) const OPT_SET_META_CONTEXT: u32 = 10;

pub(crate) const REP_ACK: u32 = 1;
pub(crate) const REP_SERVER: u32 = 2;
pub(crate) const REP_INFO: u32 = 3;
pub(crate) const REP_META_CONTEXT: u32 = 4;
pub(crate) const REP_ERR_UNSUP: u32 = (1 << 31) + 1;
pub(crate) const REP_ERR_POLICY: u32 = (1 << 31) + 2;
pub(crate) const REP_ERR_INVALID: u32 = (1 << 31) + 3;
pub(crate) const REP_ERR_UNKNOWN: u32 = (1 << 31) + 6;
pub(crate) const REP_ERR_TOO_BIG: u32 = (1 << 31) + 9;

pub(crate) const INFO_EXPORT: u16 = 0;
pub(crate) const INFO_NAME: u16 = 1;
pub(crate) const INFO_DESCRIPTION: u16 = 2;
pub(crate) const INFO_BLOCK_SIZE: u16 = 3;

/// The one metadata context, the query that stands for all of its namespace, and its number after SET.
pub(crate) const ALLOCATION_CONTEXT: &str = "base:allocation";
pub(crate) const BASE_WILDCARD: &str = "base:";
pub(crate) const ALLOCATION_CONTEXT_ID: u32 = 1;
/// LIST names contexts that have no number yet.
pub(crate) const LISTED_CONTEXT_ID: u32 = 0;

/// Transmission flags: what an export can do.
pub(crate) const HAS_FLAGS: u16 = 1 << 0;
pub(crate) const READ_ONLY: u16 = 1 << 1;
pub(crate) const SEND_FLUSH: u16 = 1 << 2;
pub(crate) const SEND_FUA: u16 = 1 << 3;
pub(crate) const SEND_TRIM: u16 = 1 << 5;
pub(crate) const SEND_WRITE_ZEROES: u16 = 1 << 6;
pub(crate) const SEND_DF: u16 = 1 << 7;
pub(crate) const CAN_MULTI_CONN: u16 = 1 << 8;
pub(crate) const SEND_CACHE: u16 = 1 << 10;
pub(crate) const SEND_FAST_ZERO: u16 = 1 << 11;

pub(crate) const CMD_READ: u16 = 0;
pub(crate) const CMD_WRITE: u16 = 1;
pub(crate) const CMD_DISC: u16 = 2;
pub(crate) const CMD_FLUSH: u16 = 3;
pub(crate) const CMD_TRIM: u16 = 4;
pub(crate) const CMD_CACHE: u16 = 5;
pub(crate) const CMD_WRITE_ZEROES: u16 = 6;
pub(crate) const CMD_BLOCK_STATUS: u16 = 7;

pub(crate) const CMD_FLAG_FUA: u16 = 1 << 0;
pub(crate) const CMD_FLAG_NO_HOLE: u16 = 1 << 1;
pub(crate) const CMD_FLAG_DF: u16 = 1 << 2;
pub(crate) const CMD_FLAG_REQ_ONE: u16 = 1 << 3;
pub(crate) const CMD_FLAG_FAST_ZERO: u16 = 1 << 4;

pub(crate) const CHUNK_FLAG_DONE: u16 = 1 << 0;
pub(crate) const CHUNK_OFFSET_DATA: u16 = 1;
pub(crate) const CHUNK_OFFSET_HOLE: u16 = 2;
pub(crate) const CHUNK_BLOCK_STATUS: u16 = 5;
pub(crate) const CHUNK_ERROR: u16 = (1 << 15) + 1;

/// State of an extent that has no blocks and reads as zeroes.
pub(crate) const STATE_HOLE_ZERO: u32 = 0b11;
pub(crate) const STATE_DATA: u32 = 0;

pub(crate) const EPERM: u32 = 1;
pub(crate) const EIO: u32 = 5;
pub(crate) const EINVAL: u32 = 22;
pub(crate) const ENOSPC: u32 = 28;
pub(crate) const EOVERFLOW: u32 = 75;
pub(crate) const ENOTSUP: u32 = 95;
pub(crate) const ESHUTDOWN: u32 = 108;

const _: () = assert!(size_of::<Greeting>() == 18);
const _: () = assert!(size_of::<OptionHeader>() == 16);
const _: () = assert!(size_of::<OptionReply>() == 20);
const _: () = assert!(size_of::<ExportNameReply>() == 10);
const _: () = assert!(size_of::<InfoExport>() == 12);
const _: () = assert!(size_of::<InfoBlockSize>() == 14);
const _: () = assert!(size_of::<Request>() == 28);
const _: () = assert!(size_of::<SimpleReply>() == 16);
const _: () = assert!(size_of::<Chunk>() == 20);
const _: () = assert!(size_of::<DataChunk>() == 20 + 8);
const _: () = assert!(size_of::<HoleChunk>() == 20 + 12);
const _: () = assert!(size_of::<StatusChunk>() == 20 + 4);
const _: () = assert!(size_of::<StatusExtent>() == 8);
const _: () = assert!(size_of::<ErrorChunk>() == 20 + 6);

/// The first bytes of a connection, from the server.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Greeting {
    pub(crate) magic: U64,
    pub(crate) option_magic: U64,
    pub(crate) flags: U16,
}

/// Stands before the data of an option.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct OptionHeader {
    pub(crate) magic: U64,
    pub(crate) option: U32,
    pub(crate) data_bytes: U32,
}

/// Stands before the data of an answer to an option.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct OptionReply {
    pub(crate) magic: U64,
    /// The option it answers, as the client numbered it.
    pub(crate) option: U32,
    pub(crate) kind: U32,
    pub(crate) data_bytes: U32,
}

/// The answer to EXPORT_NAME, which has no header.
#[derive(IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct ExportNameReply {
    pub(crate) size_bytes: U64,
    pub(crate) flags: U16,
}

/// Data of REP_INFO about an export's size and abilities.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct InfoExport {
    pub(crate) kind: U16,
    pub(crate) size_bytes: U64,
    pub(crate) flags: U16,
}

/// Data of REP_INFO about sizes of requests.
#[derive(IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct InfoBlockSize {
    pub(crate) kind: U16,
    pub(crate) min_bytes: U32,
    pub(crate) preferred_bytes: U32,
    pub(crate) max_bytes: U32,
}

/// A request; the payload of a write follows.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Request {
    pub(crate) magic: U32,
    pub(crate) flags: U16,
    pub(crate) command: U16,
    /// The client's name for the request; the reply carries it back.
    pub(crate) cookie: U64,
    pub(crate) offset: U64,
    pub(crate) len_bytes: U32,
}

/// A simple reply; the data of a successful read follows.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct SimpleReply {
    pub(crate) magic: U32,
    pub(crate) error: U32,
    pub(crate) cookie: U64,
}

/// Stands before the payload of a chunk of a structured reply.
#[derive(IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct Chunk {
    pub(crate) magic: U32,
    pub(crate) flags: U16,
    pub(crate) kind: U16,
    pub(crate) cookie: U64,
    /// Bytes that follow this header.
    pub(crate) payload_bytes: U32,
}

/// A chunk of data; the data follows.
#[derive(IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct DataChunk {
    pub(crate) chunk: Chunk,
    pub(crate) offset: U64,
}

/// A chunk that stands for zeroes.
#[derive(IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct HoleChunk {
    pub(crate) chunk: Chunk,
    pub(crate) offset: U64,
    pub(crate) len_bytes: U32,
}

/// A chunk of block status; its extents follow.
#[derive(IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct StatusChunk {
    pub(crate) chunk: Chunk,
    pub(crate) context: U32,
}

/// One extent of a [`StatusChunk`].
#[derive(IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct StatusExtent {
    pub(crate) len_bytes: U32,
    pub(crate) state: U32,
}

/// A chunk that says why a request failed; the text for a human follows.
#[derive(IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct ErrorChunk {
    pub(crate) chunk: Chunk,
    pub(crate) error: U32,
    pub(crate) text_bytes: U16,
}
