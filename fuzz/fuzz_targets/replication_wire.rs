//! What another node sends: greetings and frames. Whatever the bytes are, they are refused or mean something that is
//! the same bytes again.
//!
//! The input is a message's number and bytes that change it; checksums that do not fit any more are mended, so that the
//! fields behind them are reached. Or it is taken as it is.
#![no_main]

use std::collections::BTreeMap;

use block::{
    BlockIndex, BlockRange, Checksum, Epoch, GroupIndex, Incarnation, Instant, PAGE_BYTES, Pages, PoolId, SnapshotId,
    VolumeId, WriteSeq,
};
use libfuzzer_sys::fuzz_target;
use replication::wire::{
    Answer, Answered, Channel, Envelope, Fault, Greeted, HEADER_BYTES, Hello, INPUT_BYTES_MAX, Parsed, Refusal, Signal,
    encode, encode_aside, encode_signal, parse, payloads,
};
use replication::{Aside, Change, Configuration, Entry, Found, GroupRange, GroupSet, Lost, Memory, Message, Payload, Snapshot};

const EPOCH: Epoch = Epoch(7);
/// Where frames and greetings keep what is mended.
const BODY_CHECKSUM: usize = 8;
const CHECKSUM: usize = 12;
const DIRTY_CHECKSUM: usize = HEADER_BYTES + 28;

fuzz_target!(|input: &[u8]| {
    let Some((kind, changes)) = input.split_first() else { return };
    match kind {
        0 => hello(changes.to_vec()),
        1 => answer(changes.to_vec()),
        2 => frame(changes.to_vec()),
        3 => hello(changed(valid_hello().encode(), changes)),
        4 => answer(changed(Answer::welcome(&valid_hello(), 5).encode(), changes)),
        5 => answer(changed(Answer::refused(&Refusal::Superseded { found: 1, newest: 2 }).encode(), changes)),
        kind => frame(changed(valid_frame(*kind - 6), changes)),
    }
});

fn changed(mut bytes: Vec<u8>, changes: &[u8]) -> Vec<u8> {
    bytes.iter_mut().zip(changes).for_each(|(byte, change)| *byte ^= change);
    // What is behind it may be longer then.
    bytes.extend(changes.get(bytes.len()..).unwrap_or_default());
    bytes
}

fn mend(bytes: &mut [u8], at: usize, checksum: Checksum) {
    bytes[at..at + 4].copy_from_slice(&checksum.0.to_le_bytes());
}

fn valid_hello() -> Hello {
    Hello::new(1, "a".to_owned(), "node-b".to_owned(), 3, Channel::Live)
}

fn hello(mut bytes: Vec<u8>) {
    if let Greeted::Refused(Refusal::Damaged { computed, .. }) = Hello::parse(&bytes) {
        mend(&mut bytes, CHECKSUM, computed);
    }
    match Hello::parse(&bytes) {
        Greeted::Incomplete { need_bytes } => assert!(need_bytes > bytes.len()),
        Greeted::Hello { consumed, hello } => {
            assert_eq!(hello.encode(), bytes[..consumed]);
            if let Some(refusal) = hello.refuse(1, "node-b") {
                answer(Answer::refused(&refusal).encode());
            }
            answer(Answer::welcome(&hello, 1).encode());
        }
        Greeted::Refused(refusal) => answer(Answer::refused(&refusal).encode()),
    }
}

fn answer(mut bytes: Vec<u8>) {
    if let Answered::Refused(Refusal::Damaged { computed, .. }) = Answer::parse(&bytes) {
        mend(&mut bytes, CHECKSUM, computed);
    }
    match Answer::parse(&bytes) {
        Answered::Incomplete { need_bytes } => assert!(need_bytes > bytes.len()),
        Answered::Answer { consumed, answer } => assert_eq!(answer.encode(), bytes[..consumed]),
        Answered::Refused(refusal) => assert!(!refusal.to_string().is_empty()),
    }
}

fn frame(mut bytes: Vec<u8>) {
    // The body's, the header's because of it, the payload's, and both again.
    for _ in 0..24 {
        match take(&bytes) {
            Ok(None) => return,
            Ok(Some(same)) => return assert_eq!(same, bytes[..same.len()]),
            Err(Fault::HeaderDamaged { computed, .. }) => mend(&mut bytes, CHECKSUM, computed),
            Err(Fault::BodyDamaged { computed, .. }) => mend(&mut bytes, BODY_CHECKSUM, computed),
            Err(Fault::DirtyDamaged { computed, .. }) => mend(&mut bytes, DIRTY_CHECKSUM, computed),
            Err(Fault::BlockDamaged { index, computed, .. }) => {
                let at = checksums_at(&bytes) + index * 4;
                mend(&mut bytes, at, computed);
            }
            Err(fault) => return assert!(!fault.to_string().is_empty()),
        }
    }
}

/// The checksums of a payload's blocks are the end of the body.
fn checksums_at(bytes: &[u8]) -> usize {
    let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes")) as usize;
    HEADER_BYTES + number(16) - number(20) / PAGE_BYTES * 4
}

/// What is understood, encoded again.
fn take(bytes: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
    let mut same = Vec::new();
    let (envelope, message) = match parse(bytes)? {
        Parsed::Incomplete { need_bytes } => {
            assert!(need_bytes > bytes.len() && need_bytes <= INPUT_BYTES_MAX);
            return Ok(None);
        }
        Parsed::Signal { envelope, signal, .. } => {
            encode_signal(&envelope, signal, &mut same);
            return Ok(Some(same));
        }
        Parsed::Aside { envelope, aside, .. } => {
            encode_aside(&envelope, &aside, &mut same);
            return Ok(Some(same));
        }
        Parsed::Message { envelope, message, .. } => (envelope, message),
        Parsed::Payload { consumed, pending } => {
            let end = consumed + pending.payload_bytes();
            let Some(payload) = bytes.get(consumed..end) else { return Ok(None) };
            let mut memory = Memory::new(Pages::zeroed(payload.len().div_ceil(PAGE_BYTES)));
            memory.bytes_mut()[..payload.len()].copy_from_slice(payload);
            pending.complete(memory)?
        }
    };
    encode(&envelope, &message, &mut same).expect("what was taken may be sent");
    payloads(&message).for_each(|payload| same.extend_from_slice(payload.bytes()));
    Ok(Some(same))
}

fn payload(blocks: usize) -> Payload {
    Memory::new(Pages::zeroed(blocks)).seal(blocks)
}

fn write(n: u64) -> Entry<Payload> {
    let change = Change::Write { range: BlockRange::new(9, 1), payload: payload(1) };
    Entry { seq: WriteSeq { epoch: EPOCH, n }, change, fua: true }
}

fn valid_frame(kind: u8) -> Vec<u8> {
    let envelope = Envelope { volume: VolumeId(1), from: PoolId(2), incarnation: Incarnation(3), link: 4 };
    let mut bytes = Vec::new();
    if let Some(aside) = valid_aside(kind % 27) {
        encode_aside(&envelope, &aside, &mut bytes);
        return bytes;
    }
    let signal = match kind % 27 {
        15 => Some(Signal::Open { to: PoolId(5) }),
        16 => Some(Signal::Opened),
        17 => Some(Signal::Close),
        _ => None,
    };
    if let Some(signal) = signal {
        encode_signal(&envelope, signal, &mut bytes);
        return bytes;
    }
    let message = valid_message(kind % 27);
    encode(&envelope, &message, &mut bytes).expect("the message may be sent");
    payloads(&message).for_each(|payload| bytes.extend_from_slice(payload.bytes()));
    bytes
}

fn valid_aside(kind: u8) -> Option<Aside> {
    let (block, checksum) = (BlockIndex(9), Checksum(7));
    let groups = GroupRange { first: GroupIndex(1), count: 2 };
    let snapshot = Snapshot { at: WriteSeq { epoch: EPOCH, n: 2 }, id: SnapshotId(9), blocks: 1 << 33 };
    let found = Found { blocks: 1, read: 2, repaired: 3, lost: 4, digests: vec![Checksum(5), Checksum(6)] };
    match kind {
        18 => Some(Aside::Want { block, checksum, of: None }),
        19 => Some(Aside::Have { block, checksum, of: None, data: Some(Box::new([1; PAGE_BYTES])) }),
        20 => Some(Aside::Compare { id: 1, at: WriteSeq { epoch: EPOCH, n: 2 }, groups, reads: true, snapshots: vec![snapshot] }),
        21 => Some(Aside::Compared { id: 1, found: Some(found) }),
        24 => Some(Aside::Want { block, checksum, of: Some(snapshot) }),
        25 => Some(Aside::Have { block, checksum, of: Some(snapshot), data: None }),
        _ => None,
    }
}

fn valid_message(kind: u8) -> Message<Payload> {
    let (epoch, sent, stable, acked) = (EPOCH, Instant(1), WriteSeq { epoch: EPOCH, n: 2 }, 3);
    let flush = Entry { seq: WriteSeq { epoch, n: 5 }, change: Change::Flush, fua: false };
    let snapshot = Snapshot { at: stable, id: SnapshotId(9), blocks: 1 << 33 };
    let cut = Change::Snapshot { id: snapshot.id, blocks: snapshot.blocks };
    match kind {
        0 => Message::Heartbeat { epoch, sent, unheard: false, acked, stable },
        1 => Message::HeartbeatAck { epoch, sent, tight: true },
        2 => Message::Prepare { epoch, entry: write(4), acked, stable },
        3 => Message::Ack { epoch, applied: 1, durable: 2, tight: true },
        4 => Message::NewEpoch { configuration: valid_configuration(), sent },
        5 => Message::EpochAck { epoch, received: 1, applied: 2, durable: 3, sent },
        6 => Message::Fetch { epoch, after: 1 },
        7 => Message::Entries { epoch, entries: vec![write(4), flush] },
        8 => {
            let dirty: GroupSet = (64..200).chain([1000]).map(GroupIndex).collect();
            Message::Join { incarnation: Incarnation(1), nonce: 2, stable, dirty, snapshots: vec![snapshot] }
        }
        9 => Message::Start { epoch, nonce: 1, groups: 7, snapshots: vec![snapshot] },
        10 => Message::Copy { epoch, group: GroupIndex(1), born: stable, content: payload(2).with_holes(!0b11) },
        11 => Message::Copied { epoch },
        12 => Message::Relay { epoch, entry: flush },
        13 => Message::Enter { epoch, last: 4, tail: vec![write(4)] },
        22 => Message::Cut { epoch, snapshot },
        26 => {
            let lost = Lost { blocks: 0b100, checksums: vec![Checksum(9)] };
            let content = payload(2).with_lost(!0b111, lost);
            Message::Copy { epoch, group: GroupIndex(1), born: stable, content }
        }
        23 => Message::Relay { epoch, entry: Entry { seq: stable, change: cut, fua: false } },
        _ => Message::Flushed { epoch },
    }
}

fn valid_configuration() -> Configuration {
    Configuration {
        epoch: EPOCH,
        primary: PoolId(1),
        members: BTreeMap::from([(PoolId(1), Incarnation(1)), (PoolId(2), Incarnation(1))]),
        members_min: 1,
        cache_generation: 1,
        recovery: false,
        history: Epoch(1),
    }
}
