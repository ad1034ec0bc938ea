//! What follows a header, for each kind of message. Little-endian, without padding.

use block::{Checksum, Epoch, WriteSeq};
use zerocopy::little_endian::{U32, U64, U128};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::wire::fault::Fault;
use crate::wire::header::Kind;

const _: () = assert!(size_of::<RawSeq>() == 12);
const _: () = assert!(size_of::<RawTold>() == 20);
const _: () = assert!(size_of::<RawHeartbeat>() == 28);
const _: () = assert!(size_of::<RawAck>() == 16);
const _: () = assert!(size_of::<RawNewEpoch>() == 44);
const _: () = assert!(size_of::<RawMember>() == 24);
const _: () = assert!(size_of::<RawEpochAck>() == 32);
const _: () = assert!(size_of::<RawTail>() == 12);
const _: () = assert!(size_of::<RawJoin>() == 32);
const _: () = assert!(size_of::<RawCopy>() == 28);
const _: () = assert!(size_of::<RawEntry>() == 32);
const _: () = assert!(size_of::<RawOpen>() == 16);

/// A place in the order.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct RawSeq {
    n: U64,
    epoch: U32,
}

/// What a primary tells of all members.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct RawTold {
    pub acked: U64,
    pub stable: RawSeq,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct RawHeartbeat {
    pub sent: U64,
    pub told: RawTold,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct RawAck {
    pub applied: U64,
    pub durable: U64,
}

/// The pool that a link is to be opened to.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct RawOpen {
    pub to: U128,
}

/// A configuration; its members follow.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct RawNewEpoch {
    pub sent: U64,
    pub primary: U128,
    pub cache_generation: U64,
    pub members_min: U32,
    pub members: U32,
    pub history: U32,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct RawMember {
    pub pool: U128,
    pub incarnation: U64,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct RawEpochAck {
    pub received: U64,
    pub applied: U64,
    pub durable: U64,
    pub sent: U64,
}

/// Stands before several entries.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct RawTail {
    /// Of Enter: the last change; of Entries, which have no such thing: 0.
    pub last: U64,
    pub entries: U32,
}

/// A request to be taught; the payload is what was written since `stable`.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct RawJoin {
    pub incarnation: U64,
    pub nonce: U64,
    pub stable: RawSeq,
    pub dirty_checksum: U32,
}

/// The answer to a request to be taught.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct RawStart {
    pub nonce: U64,
    /// How far the learner is, it can tell by these.
    pub groups: U64,
}

/// A group; the checksums of its blocks follow, and they are the payload.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct RawCopy {
    pub group: U64,
    pub born: RawSeq,
    pub holes: U64,
}

/// An entry. Where there are several, their records come first, then the checksums of all their blocks.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct RawEntry {
    pub seq: RawSeq,
    pub first: U64,
    pub count: U32,
    pub change: u8,
    pub flags: u8,
    pub reserved: [u8; 6],
}

impl From<WriteSeq> for RawSeq {
    fn from(seq: WriteSeq) -> Self {
        Self { n: seq.n.into(), epoch: seq.epoch.0.into() }
    }
}

impl RawSeq {
    pub fn get(&self) -> WriteSeq {
        WriteSeq { epoch: Epoch(self.epoch.get()), n: self.n.get() }
    }
}

/// A body being read.
pub(crate) struct Body<'a> {
    pub kind: Kind,
    rest: &'a [u8],
}

impl<'a> Body<'a> {
    pub fn new(kind: Kind, bytes: &'a [u8]) -> Self {
        Self { kind, rest: bytes }
    }

    /// The next record.
    pub fn take<T: FromBytes + KnownLayout + Immutable + Unaligned>(&mut self) -> Result<&'a T, Fault> {
        let (record, rest) = T::ref_from_prefix(self.rest).map_err(|_| self.too_short(size_of::<T>()))?;
        self.rest = rest;
        Ok(record)
    }

    /// The next `count` records.
    pub fn take_all<T: FromBytes + KnownLayout + Immutable + Unaligned>(
        &mut self,
        count: usize,
    ) -> Result<&'a [T], Fault> {
        let short = self.too_short(count.saturating_mul(size_of::<T>()));
        let (records, rest) = <[T]>::ref_from_prefix_with_elems(self.rest, count).map_err(|_| short)?;
        self.rest = rest;
        Ok(records)
    }

    /// The checksums of the next `blocks` blocks of the payload.
    pub fn checksums(&mut self, blocks: usize) -> Result<Vec<Checksum>, Fault> {
        Ok(self.take_all::<U32>(blocks)?.iter().map(|checksum| Checksum(checksum.get())).collect())
    }

    /// There must be nothing more.
    pub fn end(&self) -> Result<(), Fault> {
        match self.rest.len() {
            0 => Ok(()),
            found => Err(Fault::BodyTooMuch { kind: self.kind, found }),
        }
    }

    fn too_short(&self, expected: usize) -> Fault {
        Fault::BodyTooShort { kind: self.kind, found: self.rest.len(), expected }
    }
}
