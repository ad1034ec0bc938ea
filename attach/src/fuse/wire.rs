//! The kernel's FUSE protocol, as far as a file system of one file needs it. Numbers and structures: `linux/fuse.h`.
//!
//! Everything is in the byte order of this machine: the other side is its kernel.

use std::io::IoSlice;

use rustix::io::Errno;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The protocol's version; a later kernel speaks this one, too.
const MAJOR: u32 = 7;
const MINOR: u32 = 31;
/// From this on a request can have more than 32 pages: Linux 4.20.
const MINOR_MIN: u32 = 28;
/// The largest write that the kernel may ask for.
pub const WRITE_BYTES_MAX: u32 = 1 << 20;
const _: () = assert!(WRITE_BYTES_MAX <= nbd::PAYLOAD_BYTES_MAX, "a write is one request of the volume's");
/// What a request takes beside its payload, at most.
const OTHER_BYTES_MAX: usize = 4096;
/// The largest request.
pub const CALL_BYTES_MAX: usize = WRITE_BYTES_MAX as usize + OTHER_BYTES_MAX;

/// Requests for a file are sent by whoever reads or writes it, not one after the other.
const ASYNC_READ: u32 = 1 << 0;
const BIG_WRITES: u32 = 1 << 5;
const ASYNC_DIO: u32 = 1 << 15;
const MAX_PAGES: u32 = 1 << 22;
const FLAGS: u32 = ASYNC_READ | BIG_WRITES | ASYNC_DIO | MAX_PAGES;

/// Of an open file: nothing of it is kept in the page cache, and writers do not wait for each other.
const OPEN_DIRECT_IO: u32 = 1 << 0;
const OPEN_PARALLEL_DIRECT_WRITES: u32 = 1 << 6;

/// Which of the attributes is set.
const SET_SIZE: u32 = 1 << 3;
const PUNCH_HOLE: u32 = 0x02 | KEEP_SIZE;
const ZERO_RANGE: u32 = 0x10;
const KEEP_SIZE: u32 = 0x01;

/// Numbers of the two things there are.
pub const FOLDER: u64 = 1;
/// See [`FOLDER`].
pub const FILE: u64 = 2;

#[derive(FromBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Header {
    len_bytes: u32,
    operation: u32,
    unique: u64,
    node: u64,
    uid: u32,
    gid: u32,
    pid: u32,
    extensions: u16,
    reserved: u16,
}
const _: () = assert!(size_of::<Header>() == 40);

#[derive(FromBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Init {
    major: u32,
    minor: u32,
    max_readahead: u32,
    flags: u32,
}

/// Of reads and of writes.
#[derive(FromBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Transfer {
    handle: u64,
    offset: u64,
    len_bytes: u32,
    transfer_flags: u32,
    owner: u64,
    flags: u32,
    reserved: u32,
}
const _: () = assert!(size_of::<Transfer>() == 40);

#[derive(FromBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Fallocate {
    handle: u64,
    offset: u64,
    len_bytes: u64,
    mode: u32,
    reserved: u32,
}

/// What follows is not looked at.
#[derive(FromBytes, Immutable, KnownLayout)]
#[repr(C)]
struct SetAttributes {
    valid: u32,
    reserved: u32,
    handle: u64,
    size_bytes: u64,
}

/// What the kernel asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Call<'a> {
    /// Its name in the answer.
    pub unique: u64,
    /// What it is about: [`FOLDER`] or [`FILE`].
    pub node: u64,
    /// What to do.
    pub operation: Operation<'a>,
}

/// What to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation<'a> {
    /// Agree on the protocol.
    Init {
        /// The kernel's version.
        major: u32,
        /// See `major`.
        minor: u32,
        /// How far it reads ahead at most.
        max_readahead: u32,
        /// What it can.
        flags: u32,
    },
    /// Find what has this name in the folder.
    Lookup(&'a [u8]),
    /// Tell the attributes.
    Attributes,
    /// Change the size, or something else.
    SetAttributes {
        /// The size, where that is to change.
        size_bytes: Option<u64>,
    },
    /// Open the file.
    Open,
    /// Forget that it was open.
    Close,
    /// Read.
    Read {
        /// Where.
        offset: u64,
        /// How much.
        len_bytes: u32,
    },
    /// Write.
    Write {
        /// Where.
        offset: u64,
        /// What.
        payload: &'a [u8],
    },
    /// Have zeroes in a range, at the size that is.
    Zero {
        /// Where.
        offset: u64,
        /// How much.
        len_bytes: u64,
        /// Keep the space.
        keep_allocated: bool,
    },
    /// Make stable what was written.
    Sync,
    /// Tell the space.
    Space,
    /// Nothing, and no answer: it forgets something.
    Nothing,
    /// Something that this file system does not do.
    Unknown,
}

impl<'a> Call<'a> {
    /// Of what was read. `None` when it makes no sense, which a kernel never sends.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (header, body) = Header::read_from_prefix(bytes).ok()?;
        let operation = Operation::parse(header.operation, body)?;
        Some(Self { unique: header.unique, node: header.node, operation })
    }
}

impl<'a> Operation<'a> {
    fn parse(number: u32, body: &'a [u8]) -> Option<Self> {
        Some(match number {
            1 => Self::Lookup(body.split(|byte| *byte == 0).next()?),
            2 | 42 => Self::Nothing,
            3 => Self::Attributes,
            4 => {
                let (wish, _) = SetAttributes::read_from_prefix(body).ok()?;
                Self::SetAttributes { size_bytes: (wish.valid & SET_SIZE != 0).then_some(wish.size_bytes) }
            }
            14 => Self::Open,
            15 => {
                let (read, _) = Transfer::read_from_prefix(body).ok()?;
                Self::Read { offset: read.offset, len_bytes: read.len_bytes }
            }
            16 => {
                let (write, payload) = Transfer::read_from_prefix(body).ok()?;
                let payload = (payload.len() == write.len_bytes as usize).then_some(payload)?;
                Self::Write { offset: write.offset, payload }
            }
            17 => Self::Space,
            18 => Self::Close,
            20 => Self::Sync,
            26 => {
                let (init, _) = Init::read_from_prefix(body).ok()?;
                let Init { major, minor, max_readahead, flags } = init;
                Self::Init { major, minor, max_readahead, flags }
            }
            43 => Self::parse_fallocate(body)?,
            _ => Self::Unknown,
        })
    }

    fn parse_fallocate(body: &[u8]) -> Option<Self> {
        let (wish, _) = Fallocate::read_from_prefix(body).ok()?;
        let zero = |keep_allocated| Self::Zero { offset: wish.offset, len_bytes: wish.len_bytes, keep_allocated };
        Some(match wish.mode {
            PUNCH_HOLE => zero(false),
            mode if mode & !KEEP_SIZE == ZERO_RANGE => zero(true),
            _ => Self::Unknown,
        })
    }
}

/// The answer to an agreement on the protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug, IntoBytes, Immutable)]
#[repr(C)]
pub struct Agreed {
    major: u32,
    minor: u32,
    max_readahead: u32,
    flags: u32,
    max_background: u16,
    congestion_threshold: u16,
    max_write: u32,
    time_granularity: u32,
    max_pages: u16,
    map_alignment: u16,
    reserved: [u32; 8],
}
const _: () = assert!(size_of::<Agreed>() == 64);

impl Agreed {
    /// With so many requests at a time; `None` when this kernel is too old.
    pub fn new(major: u32, minor: u32, flags: u32, max_readahead: u32, requests: u16) -> Option<Self> {
        let page_bytes = u32::try_from(rustix::param::page_size()).ok()?;
        let is_fit = major == MAJOR && minor >= MINOR_MIN && flags & FLAGS == FLAGS;
        is_fit.then_some(Self {
            major: MAJOR,
            minor: MINOR,
            max_readahead,
            flags: FLAGS,
            max_background: requests,
            congestion_threshold: requests,
            max_write: WRITE_BYTES_MAX,
            time_granularity: 1,
            max_pages: u16::try_from(WRITE_BYTES_MAX / page_bytes).ok()?,
            map_alignment: 0,
            reserved: [0; 8],
        })
    }
}

/// What something is, and how large.
#[derive(Clone, Copy, PartialEq, Eq, Debug, IntoBytes, Immutable)]
#[repr(C)]
pub struct Attributes {
    node: u64,
    size_bytes: u64,
    blocks: u64,
    times: [u64; 3],
    nanoseconds: [u32; 3],
    mode: u32,
    links: u32,
    uid: u32,
    gid: u32,
    device: u32,
    block_bytes: u32,
    flags: u32,
}
const _: () = assert!(size_of::<Attributes>() == 88);

impl Attributes {
    /// Of the folder or the file; for root only.
    pub fn new(node: u64, size_bytes: u64) -> Self {
        let (mode, links) = if node == FOLDER { (0o040_500, 2) } else { (0o100_600, 1) };
        let blocks = size_bytes.div_ceil(512);
        let (times, nanoseconds, block_bytes) = ([0; 3], [0; 3], 4096);
        Self {
            node,
            size_bytes,
            blocks,
            times,
            nanoseconds,
            mode,
            links,
            uid: 0,
            gid: 0,
            device: 0,
            block_bytes,
            flags: 0,
        }
    }
}

/// An answer with attributes, which are true for no time at all: whoever wants them asks again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, IntoBytes, Immutable)]
#[repr(C)]
pub struct Told {
    valid: [u64; 2],
    attributes: Attributes,
}

impl Told {
    /// These.
    pub fn new(attributes: Attributes) -> Self {
        Self { valid: [0; 2], attributes }
    }
}

/// An answer to a look-up.
#[derive(Clone, Copy, PartialEq, Eq, Debug, IntoBytes, Immutable)]
#[repr(C)]
pub struct Found {
    node: u64,
    generation: u64,
    valid: [u64; 3],
    attributes: Attributes,
}
const _: () = assert!(size_of::<Found>() == 128);

impl Found {
    /// The file.
    pub fn new(attributes: Attributes) -> Self {
        Self { node: attributes.node, generation: 0, valid: [0; 3], attributes }
    }
}

/// An answer to an open.
#[derive(Clone, Copy, PartialEq, Eq, Debug, IntoBytes, Immutable)]
#[repr(C)]
pub struct Opened {
    handle: u64,
    flags: u32,
    reserved: u32,
}

impl Opened {
    /// For direct I/O only.
    pub const DIRECT: Self = Self { handle: 0, flags: OPEN_DIRECT_IO | OPEN_PARALLEL_DIRECT_WRITES, reserved: 0 };
}

/// An answer to a write.
#[derive(Clone, Copy, PartialEq, Eq, Debug, IntoBytes, Immutable)]
#[repr(C)]
pub struct Written {
    len_bytes: u32,
    reserved: u32,
}

impl Written {
    /// So much.
    pub fn new(len_bytes: u32) -> Self {
        Self { len_bytes, reserved: 0 }
    }
}

/// An answer about space: none is free, and blocks are of 4 KiB.
#[derive(Clone, Copy, PartialEq, Eq, Debug, IntoBytes, Immutable)]
#[repr(C)]
pub struct Space {
    blocks: u64,
    free: [u64; 2],
    files: [u64; 2],
    block_bytes: u32,
    name_bytes_max: u32,
    fragment_bytes: u32,
    reserved: [u32; 7],
}
const _: () = assert!(size_of::<Space>() == 80);

impl Space {
    /// Of a file of this size.
    pub fn new(size_bytes: u64) -> Self {
        let (block_bytes, fragment_bytes) = (4096, 4096);
        let blocks = size_bytes / u64::from(block_bytes);
        Self { blocks, free: [0; 2], files: [1, 0], block_bytes, name_bytes_max: 255, fragment_bytes, reserved: [0; 7] }
    }
}

#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct ReplyHeader {
    len_bytes: u32,
    error: i32,
    unique: u64,
}

/// Has `send` write an answer as a whole: nothing but an error, or the bytes.
pub fn reply<T>(unique: u64, result: Result<&[u8], Errno>, send: impl FnOnce(&[IoSlice<'_>]) -> T) -> T {
    let (error, body) = match result {
        Ok(body) => (0, body),
        Err(errno) => (-errno.raw_os_error(), [].as_slice()),
    };
    let len_bytes = u32::try_from(size_of::<ReplyHeader>() + body.len()).expect("no answer is longer than a request");
    let header = ReplyHeader { len_bytes, error, unique };
    send(&[IoSlice::new(header.as_bytes()), IoSlice::new(body)])
}
