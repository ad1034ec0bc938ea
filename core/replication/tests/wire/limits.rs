//! The largest messages there are, and those that are larger.

use std::collections::BTreeMap;

use block::{BlockRange, GroupIndex, Incarnation, PoolId, SnapshotId};
use replication::wire::{
    ENTRIES_MAX, FRAME_BYTES_MAX, INPUT_BYTES_MAX, MEMBERS_MAX, Parsed, SNAPSHOTS_SENT_MAX, Unsendable,
    WRITE_BLOCKS_MAX, encode, parse,
};
use replication::{Change, Configuration, Entry, GroupSet, Message, Payload, Snapshot};

use crate::samples::{EPOCH, bytes_of, configuration, envelope, flush, join, payload, read_whole, seq};

fn entry(n: u64, payload: Payload) -> Entry<Payload> {
    let range = BlockRange::new(0, payload.blocks());
    Entry { seq: seq(1, n), change: Change::Write { range, payload }, fua: false }
}

fn largest_write() -> Payload {
    let mut memory = replication::Memory::new(block::Pages::zeroed(WRITE_BLOCKS_MAX as usize));
    memory.bytes_mut().fill(7);
    memory.seal(WRITE_BLOCKS_MAX as usize)
}

#[test]
fn the_largest_tail_is_sent_and_read() {
    // 4096 entries of two blocks each: as many as there may be, with as much as there may be.
    let two = payload(2);
    let tail: Vec<_> = (1..=ENTRIES_MAX as u64).map(|n| entry(n, two.clone())).collect();
    let message = Message::Enter { epoch: EPOCH, last: ENTRIES_MAX as u64, tail };
    let bytes = bytes_of(&message);
    assert!(bytes.len() <= FRAME_BYTES_MAX);
    let Ok(Parsed::Payload { consumed, .. }) = parse(&bytes) else { panic!("it has a payload") };
    assert_eq!(consumed, INPUT_BYTES_MAX);
    assert_eq!(read_whole(&bytes), message);
}

#[test]
fn a_tail_that_is_too_large_is_not_sent() {
    let mut out = vec![1, 2, 3];
    let many = (1..=ENTRIES_MAX as u64 + 1).map(flush).collect();
    let heavy = (1..=33).map(|n| entry(n, largest_write())).collect();
    for entries in [many, heavy] {
        let message = Message::Entries { epoch: EPOCH, entries };
        let refused = encode(&envelope(), &message, &mut out);
        assert!(matches!(refused, Err(Unsendable::TooManyEntries { .. })), "{refused:?}");
        assert_eq!(out, [1, 2, 3]);
    }
}

#[test]
fn the_largest_write_and_the_largest_group_are_sent_and_read() {
    let write = Message::Relay { epoch: EPOCH, entry: entry(1, largest_write()) };
    assert_eq!(read_whole(&bytes_of(&write)), write);
    let content = largest_write().part(0..64).with_holes(0);
    let copy = Message::Copy { epoch: EPOCH, group: GroupIndex((1 << 28) - 1), born: seq(1, 0), content };
    assert_eq!(read_whole(&bytes_of(&copy)), copy);
}

#[test]
fn all_of_the_largest_volume_is_asked_for_in_a_few_bytes() {
    let mut dirty = GroupSet::default();
    (0..1 << 22).for_each(|index| dirty.insert_word(index, u64::MAX));
    let message = join(dirty, &[]);
    let bytes = bytes_of(&message);
    assert!(bytes.len() < 120, "{} bytes", bytes.len());
    assert_eq!(read_whole(&bytes), message);
}

#[test]
fn the_worst_set_of_groups_fits_a_message() {
    // Every second word: each costs its run's head, too.
    let mut dirty = GroupSet::default();
    (0..1 << 21).for_each(|index| dirty.insert_word(index * 2, 1 << (index % 64)));
    let message = join(dirty, &[]);
    let bytes = bytes_of(&message);
    assert!(bytes.len() > 32 << 20 && bytes.len() <= FRAME_BYTES_MAX);
    assert_eq!(read_whole(&bytes), message);
}

#[test]
fn a_volume_has_as_many_snapshots_as_there_may_be_and_no_more() {
    let some = |count: usize| {
        let all = (1..=count as u64).map(|n| Snapshot { at: seq(1, n), id: SnapshotId(9999 - n), blocks: 1 << 34 });
        all.collect::<Vec<_>>()
    };
    let most = join(GroupSet::default(), &some(SNAPSHOTS_SENT_MAX));
    assert_eq!(read_whole(&bytes_of(&most)), most);
    let more = join(GroupSet::default(), &some(SNAPSHOTS_SENT_MAX + 1));
    assert!(encode(&envelope(), &more, &mut Vec::new()).is_err());
}

#[test]
fn a_configuration_has_as_many_members_as_there_may_be_and_no_more() {
    let with = |count: u128| {
        let members = (0..count).map(|pool| (PoolId(pool), Incarnation(1))).collect::<BTreeMap<_, _>>();
        let configuration = Configuration { primary: PoolId(0), members, ..configuration() };
        Message::NewEpoch { configuration, sent: block::Instant(1) }
    };
    let most = with(MEMBERS_MAX as u128);
    assert_eq!(read_whole(&bytes_of(&most)), most);
    for count in [0, MEMBERS_MAX as u128 + 1] {
        assert!(encode(&envelope(), &with(count), &mut Vec::new()).is_err());
    }
}
