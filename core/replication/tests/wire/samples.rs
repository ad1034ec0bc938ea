//! One message of every kind and shape.

use std::collections::BTreeMap;

use block::{
    BlockIndex, BlockRange, Checksum, Epoch, GroupIndex, Incarnation, Instant, PAGE_BYTES, Pages, PoolId, SnapshotId,
    VolumeId, WriteSeq,
};
use replication::wire::{Envelope, Fault, Parsed, encode, parse, payloads};
use replication::{
    Aside, Change, Configuration, Entry, Found, GroupRange, GroupSet, Lost, Memory, Message, Payload, Snapshot,
};

pub const EPOCH: Epoch = Epoch(0x0102_0304);

pub fn envelope() -> Envelope {
    Envelope {
        volume: VolumeId(0x1112_1314_1516_1718),
        from: PoolId(0x2122_2324_2526_2728_292a_2b2c_2d2e_2f30),
        incarnation: Incarnation(0x3132_3334_3536_3738),
        link: 0x4142_4344,
    }
}

/// Blocks whose bytes all are the block's number.
pub fn payload(blocks: u8) -> Payload {
    let mut memory = Memory::new(Pages::zeroed(usize::from(blocks)));
    memory.bytes_mut().chunks_exact_mut(PAGE_BYTES).zip(1..).for_each(|(page, number)| page.fill(number));
    memory.seal(usize::from(blocks))
}

pub fn write(n: u64, first: u64, blocks: u8, fua: bool) -> Entry<Payload> {
    let change = Change::Write { range: BlockRange::new(first, u32::from(blocks)), payload: payload(blocks) };
    Entry { seq: seq(0x0a, n), change, fua }
}

pub fn zero(n: u64) -> Entry<Payload> {
    let change = Change::Zero { range: BlockRange::new(0x7071, 0x7273_7475) };
    Entry { seq: seq(EPOCH.0, n), change, fua: false }
}

pub fn flush(n: u64) -> Entry<Payload> {
    Entry { seq: seq(EPOCH.0, n), change: Change::Flush, fua: false }
}

pub fn seq(epoch: u32, n: u64) -> WriteSeq {
    WriteSeq { epoch: Epoch(epoch), n }
}

pub fn configuration() -> Configuration {
    Configuration {
        epoch: EPOCH,
        primary: PoolId(6),
        members: BTreeMap::from([(PoolId(5), Incarnation(0x51)), (PoolId(6), Incarnation(0x61))]),
        members_min: 2,
        cache_generation: 0x71,
        recovery: true,
        history: Epoch(0x0d),
    }
}

fn dirty() -> GroupSet {
    (64..64 * 4).chain([640, 642]).map(GroupIndex).collect()
}

pub const SNAPSHOT: Snapshot = Snapshot {
    at: WriteSeq { epoch: Epoch(0x0a), n: 0xf1 },
    id: SnapshotId(0xf2f3_f4f5_f6f7_f8f9),
    blocks: 0x2_0304_0506,
};
pub const LATER: Snapshot = Snapshot { at: WriteSeq { epoch: Epoch(0x0b), n: 1 }, id: SnapshotId(1), blocks: 1 };

pub fn snapshot(n: u64) -> Entry<Payload> {
    let change = Change::Snapshot { id: SNAPSHOT.id, blocks: SNAPSHOT.blocks };
    Entry { seq: seq(EPOCH.0, n), change, fua: false }
}

pub fn join(dirty: GroupSet, snapshots: &[Snapshot]) -> Message<Payload> {
    let stable = seq(0x0b, 0x91);
    Message::Join { incarnation: Incarnation(0xc1), nonce: 0xc2, stable, dirty, snapshots: snapshots.to_vec() }
}

/// Every kind; the name is that of its golden bytes.
pub fn messages() -> Vec<(&'static str, Message<Payload>)> {
    let epoch = EPOCH;
    let sent = Instant(0x8182_8384_8586_8788);
    let stable = seq(0x0b, 0x91);
    let (acked, applied, durable) = (0x9293, 0xa1, 0xa2);
    vec![
        ("heartbeat", Message::Heartbeat { epoch, sent, unheard: true, acked, stable }),
        ("heartbeat ack", Message::HeartbeatAck { epoch, sent, tight: false }),
        ("heartbeat ack, tight", Message::HeartbeatAck { epoch, sent, tight: true }),
        ("prepare write", Message::Prepare { epoch, entry: write(7, 0x5051, 2, true), acked, stable }),
        ("prepare zero", Message::Prepare { epoch, entry: zero(8), acked, stable: WriteSeq::ZERO }),
        ("prepare flush", Message::Prepare { epoch, entry: flush(9), acked, stable }),
        ("ack", Message::Ack { epoch, applied, durable, tight: false }),
        ("ack, tight", Message::Ack { epoch, applied, durable, tight: true }),
        ("new epoch", Message::NewEpoch { configuration: configuration(), sent }),
        ("epoch ack", Message::EpochAck { epoch, received: 0xa0, applied, durable, sent }),
        ("fetch", Message::Fetch { epoch, after: 0xb1 }),
        ("entries", Message::Entries { epoch, entries: vec![write(4, 1, 1, false), flush(5), write(6, 2, 1, false)] }),
        ("no entries", Message::Entries { epoch, entries: vec![] }),
        ("join", join(dirty(), &[])),
        ("join, clean", join(GroupSet::default(), &[])),
        ("start", Message::Start { epoch, nonce: 0xd1, groups: 0xe5, snapshots: vec![] }),
        ("copy", Message::Copy { epoch, group: GroupIndex(0xe1), born: stable, content: group(!0b1010) }),
        ("copy of nothing", Message::Copy { epoch, group: GroupIndex(2), born: stable, content: group(u64::MAX) }),
        ("copy with lost blocks", copy_with_lost()),
        ("copied", Message::Copied { epoch }),
        ("relay", Message::Relay { epoch, entry: write(10, 3, 1, false) }),
        ("enter", Message::Enter { epoch, last: 12, tail: vec![zero(11), write(12, 4, 1, false)] }),
        ("enter, no tail", Message::Enter { epoch, last: 12, tail: vec![] }),
        ("flushed", Message::Flushed { epoch }),
        ("prepare snapshot", Message::Prepare { epoch, entry: snapshot(10), acked, stable }),
        ("join with snapshots", join(dirty(), &[SNAPSHOT, LATER])),
        ("start with snapshots", Message::Start { epoch, nonce: 0xd1, groups: 0xe5, snapshots: vec![SNAPSHOT] }),
        ("cut", Message::Cut { epoch, snapshot: SNAPSHOT }),
    ]
}

/// Everything that is said beside the order.
pub fn asides() -> Vec<(&'static str, Aside)> {
    let (block, checksum) = (BlockIndex(0x5152), Checksum(0x5354_5556));
    let groups = GroupRange { first: GroupIndex(0x62), count: 256 };
    let snapshots = vec![SNAPSHOT, LATER];
    let digests = vec![Checksum(0x75), Checksum(0x76)];
    let found = Found { blocks: 0x71, read: 0x72, repaired: 0x73, lost: 0x74, digests };
    vec![
        ("want", Aside::Want { block, checksum, of: None }),
        ("have", Aside::Have { block, checksum, of: None, data: Some(Box::new([7; PAGE_BYTES])) }),
        ("have not", Aside::Have { block, checksum, of: None, data: None }),
        ("want of a snapshot", Aside::Want { block, checksum, of: Some(SNAPSHOT) }),
        (
            "have of a snapshot",
            Aside::Have { block, checksum, of: Some(SNAPSHOT), data: Some(Box::new([7; PAGE_BYTES])) },
        ),
        ("have not of a snapshot", Aside::Have { block, checksum, of: Some(SNAPSHOT), data: None }),
        ("compare", Aside::Compare { id: 0x61, at: seq(0x0b, 0x91), groups, reads: true, snapshots: vec![] }),
        ("compare with snapshots", Aside::Compare { id: 0x61, at: seq(0x0b, 0x91), groups, reads: true, snapshots }),
        ("compared", Aside::Compared { id: 0x61, found: Some(found) }),
        ("not compared", Aside::Compared { id: 0x61, found: None }),
    ]
}

/// Of the blocks that are no holes, 1, 3 and 5, the middle one is lost.
fn copy_with_lost() -> Message<Payload> {
    let lost = Lost { blocks: 0b1000, checksums: vec![Checksum(0x5758_595a)] };
    let content = payload(2).with_lost(!0b10_1010, lost);
    Message::Copy { epoch: EPOCH, group: GroupIndex(0xe1), born: seq(0x0b, 0x91), content }
}

fn group(holes: u64) -> Payload {
    payload(u8::try_from(holes.count_zeros()).unwrap()).with_holes(holes)
}

/// As it travels, payload included.
pub fn bytes_of(message: &Message<Payload>) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(&envelope(), message, &mut bytes).unwrap();
    payloads(message).for_each(|payload| bytes.extend_from_slice(payload.bytes()));
    bytes
}

/// What was read of a stream.
#[derive(Debug)]
pub enum Read {
    Incomplete,
    Message { consumed: usize, envelope: Envelope, message: Message<Payload> },
    Signal,
}

/// Takes one message, with its payload.
pub fn read(input: &[u8]) -> Result<Read, Fault> {
    match parse(input)? {
        Parsed::Incomplete { need_bytes } => {
            assert!(need_bytes > input.len() && need_bytes <= replication::wire::INPUT_BYTES_MAX);
            Ok(Read::Incomplete)
        }
        Parsed::Message { consumed, envelope, message } => Ok(Read::Message { consumed, envelope, message }),
        Parsed::Signal { .. } | Parsed::Aside { .. } => Ok(Read::Signal),
        Parsed::Payload { consumed, pending } => {
            let end = consumed + pending.payload_bytes();
            let Some(payload) = input.get(consumed..end) else { return Ok(Read::Incomplete) };
            let mut memory = Memory::new(Pages::zeroed(payload.len().div_ceil(PAGE_BYTES)));
            memory.bytes_mut()[..payload.len()].copy_from_slice(payload);
            let (envelope, message) = pending.complete(memory)?;
            Ok(Read::Message { consumed: end, envelope, message })
        }
    }
}

pub fn read_whole(input: &[u8]) -> Message<Payload> {
    match read(input) {
        Ok(Read::Message { consumed, envelope: found, message }) => {
            assert_eq!((consumed, found), (input.len(), envelope()));
            message
        }
        other => panic!("{other:?}"),
    }
}
