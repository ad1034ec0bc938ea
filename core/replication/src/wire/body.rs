//! What follows a header, for each kind of message. Little-endian, without padding.

use block::{Checksum, Epoch, SnapshotId, WriteSeq};
use zerocopy::little_endian::{U16, U32, U64, U128};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::snapshot::Snapshot;
use crate::wire::fault::Fault;
use crate::wire::header::Kind;
use crate::wire::limits::{BLOCKS_MAX, SNAPSHOTS_SENT_MAX};

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
const _: () = assert!(size_of::<RawSnapshot>() == 28);

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

/// A snapshot: one that is cut, or one of those that stand behind a request to be taught or its answer, by rising place.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct RawSnapshot {
    pub at: RawSeq,
    pub id: U64,
    pub blocks: U64,
}

/// A group; the checksums of its blocks that are not holes follow. Then, if some of them are lost, which (8, a bit for each
/// block of the group); the others are the payload.
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
    /// Of a snapshot, whose blocks may be more than 32 bits count.
    pub count_high: U16,
    pub reserved: [u8; 4],
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

    /// Snapshots: all that is left.
    pub fn snapshots(&mut self) -> Result<Vec<Snapshot>, Fault> {
        let count = self.rest.len() / size_of::<RawSnapshot>();
        let mut found: Vec<Snapshot> = Vec::with_capacity(count.min(SNAPSHOTS_SENT_MAX));
        for raw in self.take_all::<RawSnapshot>(count)? {
            let snapshot = self.snapshot(raw)?;
            if found.len() >= SNAPSHOTS_SENT_MAX || found.last().is_some_and(|last| *last >= snapshot) {
                return Err(Fault::Snapshot { kind: self.kind, id: snapshot.id });
            }
            found.push(snapshot);
        }
        Ok(found)
    }

    /// A snapshot, if anything is left.
    pub fn snapshot_left(&mut self) -> Result<Option<Snapshot>, Fault> {
        if self.is_over() {
            return Ok(None);
        }
        let raw: &RawSnapshot = self.take()?;
        self.snapshot(raw).map(Some)
    }

    /// Whether nothing is left.
    pub fn is_over(&self) -> bool {
        self.rest.is_empty()
    }

    /// A snapshot, if it can be one.
    pub fn snapshot(&self, raw: &RawSnapshot) -> Result<Snapshot, Fault> {
        let snapshot = Snapshot { at: raw.at.get(), id: SnapshotId(raw.id.get()), blocks: raw.blocks.get() };
        let can_be = snapshot.at.n > 0 && (1..=BLOCKS_MAX).contains(&snapshot.blocks);
        if can_be { Ok(snapshot) } else { Err(Fault::Snapshot { kind: self.kind, id: snapshot.id }) }
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
