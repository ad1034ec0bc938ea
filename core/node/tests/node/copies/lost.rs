//! Blocks that no replica has, and blocks of snapshots.

use std::time::Duration;

use block::{BlockIndex, GroupIndex, SnapshotId, VolumeId};
use node::{Answer, Command, ComparedReplica, GroupRange, LostBlock};
use store::Source;

use crate::copies::trio::{NODES, Trio};
use crate::wire::{READ, Request, TRIM};

const VOLUME: VolumeId = VolumeId(1);
const EIO: u32 = 5;

fn content(block: u64, number: u64) -> Vec<u8> {
    [block, number].repeat(256).into_iter().flat_map(u64::to_le_bytes).collect()
}

fn rot(trio: &mut Trio, node: usize, source: Source, block: u64) {
    let rig = &mut trio.nodes[node];
    let held = rig.node.store().held(source, BlockIndex(block)).expect("something is written there");
    rig.disk.flip(held.at);
}

fn rot_volume(trio: &mut Trio, node: usize, block: u64) {
    rot(trio, node, Source::Volume(VOLUME), block);
}

fn counters(trio: &Trio, node: usize) -> (u64, u64, u64) {
    let rot = trio.nodes[node].node.stats().rot;
    (rot.found, rot.repaired, rot.lost)
}

fn lost(trio: &Trio, node: usize) -> u64 {
    trio.nodes[node].observed(1).expect("it is there").lost_blocks
}

fn error_of(trio: &mut Trio, client: (usize, usize), block: u64) -> u32 {
    trio.call(client, &Request::new(READ, block * 4096, 4096)).error
}

fn written(members_min: usize, blocks: u64) -> (Trio, (usize, usize)) {
    let mut trio = Trio::new(members_min);
    let client = trio.connect();
    (0..blocks).for_each(|block| trio.write(client, block * 4096, &content(block, 1)));
    trio.flush(client);
    (trio, client)
}

fn someone_but(node: usize) -> usize {
    (0..NODES).find(|other| *other != node).unwrap()
}

/// One node goes, and the rest is told.
fn without(trio: &mut Trio, away: usize) -> (usize, usize) {
    trio.kill(away);
    trio.until("the others go on", |trio| trio.decider.decided.members.len() == NODES - 1);
    trio.connect()
}

fn serve_from(trio: &mut Trio, node: usize) -> (usize, usize) {
    trio.hand_over(Some(node));
    trio.until("it serves", |trio| trio.primary() == Some(node));
    trio.hand_over(None);
    trio.connect()
}

/// What every replica says when all of it is read; they are all there, and equal.
fn compared(trio: &mut Trio) -> Vec<ComparedReplica> {
    let primary = trio.until_served();
    let groups = GroupRange { first: GroupIndex(0), count: 16 };
    let id = trio.nodes[primary].command(Command::Compare { volume: VOLUME, groups, reads: true });
    let mut answer = None;
    trio.until("it is compared", |trio| {
        answer = trio.nodes[primary].answers.remove(&id);
        answer.is_some()
    });
    let Some(Ok(Answer::Compared(replicas))) = answer else { panic!("{answer:?}") };
    let digests = |index: usize| &replicas[index].found.as_ref().expect("it is there").digests;
    assert!((1..replicas.len()).all(|node| digests(node) == digests(0)), "{replicas:?}");
    replicas
}

fn lost_of_all(trio: &mut Trio) -> Vec<u64> {
    compared(trio).iter().map(|replica| replica.found.as_ref().expect("it is there").lost).collect()
}

/// Block 3 of eight was written when one node was away, and rotted on the two others before that one came back.
fn lost_before_it_came_back() -> (Trio, usize) {
    let (mut trio, client) = written(2, 8);
    let away = someone_but(client.0);
    let client = without(&mut trio, away);
    (0..8).for_each(|block| trio.write(client, block * 4096, &content(block, 2)));
    trio.flush(client);
    (0..NODES).filter(|node| *node != away).for_each(|node| rot_volume(&mut trio, node, 3));
    trio.start(away);
    trio.until_whole();
    (trio, away)
}

#[test]
fn a_learner_joins_although_a_block_is_lost_everywhere() {
    let (mut trio, away) = lost_before_it_came_back();
    assert_eq!(lost(&trio, away), 1, "it was told");
    let client = serve_from(&mut trio, away);
    assert_eq!(error_of(&mut trio, client, 3), EIO, "neither zeroes nor what was there before");
    (0..8).filter(|block| *block != 3).for_each(|block| {
        assert_eq!(trio.read(client, block * 4096, 4096), content(block, 2));
    });
    assert_eq!(lost_of_all(&mut trio), [1; NODES]);
    let named: Vec<LostBlock> = compared(&mut trio).into_iter().flat_map(|replica| replica.lost).collect();
    assert_eq!(named, [LostBlock { snapshot: None, block: BlockIndex(3) }]);
    trio.write(client, 3 * 4096, &content(3, 3));
    assert_eq!(trio.read(client, 3 * 4096, 4096), content(3, 3));
    assert_eq!((lost(&trio, away), lost_of_all(&mut trio)), (0, vec![0; NODES]));
    assert!(trio.contents().windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn a_lost_block_that_is_discarded_reads_as_zeroes() {
    let (mut trio, away) = lost_before_it_came_back();
    let client = serve_from(&mut trio, away);
    assert_eq!(trio.call(client, &Request::new(TRIM, 3 * 4096, 4096)).error, 0);
    assert_eq!(trio.read(client, 3 * 4096, 4096), vec![0; 4096]);
    assert_eq!(lost_of_all(&mut trio), [0; NODES]);
}

#[test]
fn a_lost_block_is_lost_after_restarts_and_in_snapshots_and_in_its_own_memory() {
    let (mut trio, away) = lost_before_it_came_back();
    let places = trio.snapshot(&[7]);
    trio.want_snapshots(&[7], &places);
    let client = trio.connect();
    trio.write(client, 3 * 4096, &content(3, 3));
    trio.flush(client);
    (0..NODES).for_each(|node| trio.kill(node));
    (0..NODES).for_each(|node| trio.start(node));
    trio.until_whole();
    let client = serve_from(&mut trio, away);
    assert_eq!(trio.read(client, 3 * 4096, 4096), content(3, 3));
    assert_eq!(lost_of_all(&mut trio), [1; NODES], "the snapshot's, on every replica");
}

#[test]
fn what_came_as_lost_is_lost_after_a_restart_of_all() {
    let (mut trio, away) = lost_before_it_came_back();
    (0..NODES).for_each(|node| trio.kill(node));
    (0..NODES).for_each(|node| trio.start(node));
    trio.until_whole();
    let client = serve_from(&mut trio, away);
    assert_eq!(error_of(&mut trio, client, 3), EIO);
    assert_eq!(trio.read(client, 2 * 4096, 4096), content(2, 2));
}

#[test]
fn what_a_learner_has_and_others_lost_is_not_taken_from_it() {
    let (mut trio, client) = written(2, 8);
    let away = someone_but(client.0);
    let client = without(&mut trio, away);
    // The group is copied, and block 3 of it is the same as before.
    trio.write(client, 5 * 4096, &content(5, 2));
    trio.flush(client);
    (0..NODES).filter(|node| *node != away).for_each(|node| rot_volume(&mut trio, node, 3));
    assert_eq!(error_of(&mut trio, client, 3), EIO);
    trio.start(away);
    trio.until_whole();
    let client = trio.connect();
    assert_eq!(trio.read(client, 3 * 4096, 4096), content(3, 1));
    assert_eq!(lost_of_all(&mut trio), [0; NODES]);
}

/// Snapshot 7 holds the first content, the volume another one.
fn with_snapshot() -> (Trio, (usize, usize), Source) {
    let (mut trio, client) = written(2, 8);
    let places = trio.snapshot(&[7]);
    trio.want_snapshots(&[7], &places);
    trio.until("all have it", |trio| (0..NODES).all(|node| trio.snapshots(node) == places));
    (0..8).for_each(|block| trio.write(client, block * 4096, &content(block, 2)));
    trio.flush(client);
    (trio, client, Source::Snapshot(SnapshotId(7)))
}

#[test]
fn a_block_that_rotted_in_a_snapshot_only_is_repaired_from_the_same_snapshot_elsewhere() {
    let (mut trio, client, snapshot) = with_snapshot();
    let backup = someone_but(client.0);
    rot(&mut trio, client.0, snapshot, 3);
    rot(&mut trio, backup, snapshot, 5);
    assert_eq!(lost_of_all(&mut trio), [0; NODES]);
    assert_eq!((counters(&trio, client.0), counters(&trio, backup)), ((1, 1, 0), (1, 1, 0)));
    let contents = trio.snapshot_contents(&[7]);
    let expected: Vec<u8> = (0..8).flat_map(|block| content(block, 1)).collect();
    assert!(contents.iter().all(|found| found[0][..expected.len()] == expected));
}

#[test]
fn a_layer_with_a_rotten_block_is_repaired_before_it_is_taught() {
    let (mut trio, client) = written(2, 8);
    let away = someone_but(client.0);
    let client = without(&mut trio, away);
    (0..8).for_each(|block| trio.write(client, block * 4096, &content(block, 2)));
    let places = trio.snapshot(&[7]);
    trio.want_snapshots(&[7], &places);
    (0..8).for_each(|block| trio.write(client, block * 4096, &content(block, 3)));
    trio.flush(client);
    rot(&mut trio, client.0, Source::Snapshot(SnapshotId(7)), 3);
    trio.start(away);
    trio.until_whole();
    trio.until("all have it", |trio| (0..NODES).all(|node| trio.snapshots(node) == places));
    assert_eq!(counters(&trio, client.0), (1, 1, 0));
    let contents = trio.snapshot_contents(&[7]);
    let expected: Vec<u8> = (0..8).flat_map(|block| content(block, 2)).collect();
    assert!(contents.iter().all(|found| found[0][..expected.len()] == expected));
}

#[test]
fn a_learner_gets_a_snapshot_of_which_a_block_is_lost_everywhere() {
    let (mut trio, client) = written(2, 8);
    let away = someone_but(client.0);
    let client = without(&mut trio, away);
    (0..8).for_each(|block| trio.write(client, block * 4096, &content(block, 2)));
    let places = trio.snapshot(&[7]);
    trio.want_snapshots(&[7], &places);
    (0..8).for_each(|block| trio.write(client, block * 4096, &content(block, 3)));
    trio.flush(client);
    let snapshot = Source::Snapshot(SnapshotId(7));
    (0..NODES).filter(|node| *node != away).for_each(|node| rot(&mut trio, node, snapshot, 3));
    trio.start(away);
    trio.until_whole();
    trio.until("all have it", |trio| (0..NODES).all(|node| trio.snapshots(node) == places));
    let client = serve_from(&mut trio, away);
    assert_eq!(trio.read(client, 3 * 4096, 4096), content(3, 3));
    // So that the primary vouches for the snapshot.
    trio.flush(client);
    assert_eq!(lost_of_all(&mut trio), [1; NODES]);
}

#[test]
fn a_block_is_not_lost_while_a_member_that_may_have_it_cannot_be_reached() {
    let (mut trio, client) = written(2, 8);
    rot_volume(&mut trio, client.0, 3);
    let others: Vec<usize> = (0..NODES).filter(|node| *node != client.0).collect();
    // Nobody can decide on a configuration without them.
    (0..NODES).for_each(|node| {
        trio.cut_off.insert(node);
    });
    others.iter().for_each(|other| trio.block(client.0, *other));
    let read = trio.ask(client, &Request::new(READ, 3 * 4096, 4096));
    trio.pass(Duration::from_millis(700));
    assert!(trio.answer(&read).is_none(), "it waits");
    assert_eq!(counters(&trio, client.0).2, 0);
    trio.heal();
    trio.until("it is repaired", |trio| counters(trio, client.0).1 == 1);
    let client = trio.connect();
    assert_eq!(trio.read(client, 3 * 4096, 4096), content(3, 1));
}

#[test]
fn members_that_never_answer_are_waited_for_so_long_and_no_longer() {
    let (mut trio, client) = written(2, 8);
    rot_volume(&mut trio, client.0, 3);
    (0..NODES).for_each(|node| {
        trio.cut_off.insert(node);
    });
    (0..NODES).filter(|node| *node != client.0).for_each(|other| trio.block(client.0, other));
    trio.ask(client, &Request::new(READ, 3 * 4096, 4096));
    trio.pass(Duration::from_secs(10));
    assert_eq!(counters(&trio, client.0).2, 0);
    trio.pass(Duration::from_secs(12));
    assert_eq!(counters(&trio, client.0).2, 1);
}
