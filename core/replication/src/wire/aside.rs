//! What is said beside the order, as bytes. All of it is in the body: none of it is large.

use block::{BLOCK_BYTES, BlockIndex, Checksum, Epoch, GroupIndex};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::aside::{Aside, COMPARED_GROUPS_MAX, Found, GroupRange};
use crate::wire::body::{Body, RawSeq};
use crate::wire::encode::{Begun, finish, push, push_snapshots};
use crate::wire::fault::Fault;
use crate::wire::header::{Envelope, Kind};
use crate::wire::limits::{BLOCKS_MAX, BODY_BYTES_MAX, GROUPS_MAX, HEADER_BYTES};

const _: () = assert!(size_of::<RawWant>() == 16);
const _: () = assert!(size_of::<RawHave>() == 16);
const _: () = assert!(size_of::<RawCompare>() == 40);
const _: () = assert!(size_of::<RawCompared>() == 48);
const _: () = assert!(size_of::<RawHave>() + BLOCK_BYTES <= BODY_BYTES_MAX, "a block fits a body");
const _: () = assert!(
    size_of::<RawCompared>() + COMPARED_GROUPS_MAX as usize * size_of::<U32>() <= BODY_BYTES_MAX,
    "what was found fits a body"
);

/// A block that was lost; the snapshot that it is of follows, if it is of one.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawWant {
    block: U64,
    checksum: U32,
    reserved: [u8; 4],
}

/// The answer; the block follows if `present` is 1, then the snapshot, as with the question.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawHave {
    block: U64,
    checksum: U32,
    present: u8,
    reserved: [u8; 3],
}

/// What groups are to be compared, and where in the order.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawCompare {
    id: U64,
    at: RawSeq,
    count: U32,
    first: U64,
    reads: u8,
    reserved: [u8; 7],
}

/// What was found there; a digest for each group follows, none if `found` is 0.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawCompared {
    id: U64,
    blocks: U64,
    read: U64,
    repaired: U64,
    lost: U64,
    count: U32,
    found: u8,
    reserved: [u8; 3],
}

/// Appends a whole frame.
pub fn encode_aside(envelope: &Envelope, aside: &Aside, out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + HEADER_BYTES, 0);
    let kind = match aside {
        Aside::Want { block, checksum, of } => {
            push(out, &RawWant { block: block.0.into(), checksum: checksum.0.into(), reserved: [0; 4] });
            push_snapshots(of.as_slice(), out);
            Kind::Want
        }
        Aside::Have { block, checksum, of, data } => {
            let (block, checksum) = (block.0.into(), checksum.0.into());
            push(out, &RawHave { block, checksum, present: u8::from(data.is_some()), reserved: [0; 3] });
            data.iter().for_each(|data| out.extend_from_slice(&data[..]));
            push_snapshots(of.as_slice(), out);
            Kind::Have
        }
        Aside::Compare { id, at, groups, reads, snapshots } => {
            push(out, &compare(*id, (*at).into(), *groups, *reads));
            push_snapshots(snapshots, out);
            Kind::Compare
        }
        Aside::Compared { id, found } => {
            push_found(*id, found.as_ref(), out);
            Kind::Compared
        }
    };
    finish(envelope, &Begun { kind, flags: 0, epoch: Epoch(0), body_bytes: None }, 0, &mut out[start..]);
}

fn compare(id: u64, at: RawSeq, groups: GroupRange, reads: bool) -> RawCompare {
    let (first, count) = (groups.first.0.into(), groups.count.into());
    RawCompare { id: id.into(), at, count, first, reads: u8::from(reads), reserved: [0; 7] }
}

fn push_found(id: u64, found: Option<&Found>, out: &mut Vec<u8>) {
    let nothing = Found::default();
    let (is_found, found) = (u8::from(found.is_some()), found.unwrap_or(&nothing));
    assert!(found.digests.len() <= COMPARED_GROUPS_MAX as usize, "no more than was asked for");
    let raw = RawCompared {
        id: id.into(),
        blocks: found.blocks.into(),
        read: found.read.into(),
        repaired: found.repaired.into(),
        lost: found.lost.into(),
        count: u32::try_from(found.digests.len()).expect("a few hundred").into(),
        found: is_found,
        reserved: [0; 3],
    };
    push(out, &raw);
    found.digests.iter().for_each(|digest| push(out, &U32::new(digest.0)));
}

/// Takes the body of one of these kinds; `None` for any other.
pub(crate) fn take(body: &mut Body<'_>) -> Result<Option<Aside>, Fault> {
    match body.kind {
        Kind::Want => take_want(body).map(Some),
        Kind::Have => take_have(body).map(Some),
        Kind::Compare => take_compare(body).map(Some),
        Kind::Compared => take_compared(body).map(Some),
        Kind::Heartbeat | Kind::HeartbeatAck | Kind::Prepare | Kind::Ack | Kind::NewEpoch | Kind::EpochAck => Ok(None),
        Kind::Fetch | Kind::Entries | Kind::Join | Kind::Start | Kind::Copy | Kind::Copied | Kind::Relay => Ok(None),
        Kind::Cut | Kind::Enter | Kind::Flushed | Kind::Open | Kind::Opened | Kind::Close => Ok(None),
    }
}

fn take_want(body: &mut Body<'_>) -> Result<Aside, Fault> {
    let raw: &RawWant = body.take()?;
    check(body.kind, raw.block.get() < BLOCKS_MAX && raw.reserved == [0; 4])?;
    let of = body.snapshot_left()?;
    Ok(Aside::Want { block: BlockIndex(raw.block.get()), checksum: Checksum(raw.checksum.get()), of })
}

fn take_have(body: &mut Body<'_>) -> Result<Aside, Fault> {
    let raw: &RawHave = body.take()?;
    check(body.kind, raw.block.get() < BLOCKS_MAX && raw.present <= 1 && raw.reserved == [0; 3])?;
    let data = match raw.present {
        0 => None,
        _ => Some(Box::new(*body.take::<[u8; BLOCK_BYTES]>()?)),
    };
    let of = body.snapshot_left()?;
    Ok(Aside::Have { block: BlockIndex(raw.block.get()), checksum: Checksum(raw.checksum.get()), of, data })
}

fn take_compare(body: &mut Body<'_>) -> Result<Aside, Fault> {
    let raw: &RawCompare = body.take()?;
    let (first, count) = (raw.first.get(), raw.count.get());
    let is_range = first < GROUPS_MAX && (1..=COMPARED_GROUPS_MAX).contains(&count);
    check(body.kind, is_range && raw.reads <= 1 && raw.reserved == [0; 7])?;
    let groups = GroupRange { first: GroupIndex(first), count };
    let (id, at, reads) = (raw.id.get(), raw.at.get(), raw.reads == 1);
    Ok(Aside::Compare { id, at, groups, reads, snapshots: body.snapshots()? })
}

fn take_compared(body: &mut Body<'_>) -> Result<Aside, Fault> {
    let raw: &RawCompared = body.take()?;
    let count = raw.count.get();
    check(body.kind, raw.found <= 1 && count <= COMPARED_GROUPS_MAX && raw.reserved == [0; 3])?;
    let digests = body.checksums(count as usize)?;
    let (blocks, read) = (raw.blocks.get(), raw.read.get());
    let found = Found { blocks, read, repaired: raw.repaired.get(), lost: raw.lost.get(), digests };
    check(body.kind, raw.found == 1 || found == Found::default())?;
    Ok(Aside::Compared { id: raw.id.get(), found: (raw.found == 1).then_some(found) })
}

fn check(kind: Kind, is_right: bool) -> Result<(), Fault> {
    if is_right { Ok(()) } else { Err(Fault::Aside { kind }) }
}
