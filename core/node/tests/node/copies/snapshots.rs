//! Snapshots of a replicated volume: the same on every replica, whatever happens meanwhile.

use std::time::Duration;

use block::{Checksum, GroupIndex, VolumeId, WriteSeq};
use node::{Answer, Command, GroupRange, HoldState};

use crate::copies::trio::{NODES, Trio, name};
use crate::wire::{Request, TRIM};

fn pattern(seed: u8, len_bytes: usize) -> Vec<u8> {
    (0..len_bytes).map(|at| u8::try_from((at * 31 + at / 251 + usize::from(seed)) % 255 + 1).unwrap()).collect()
}

/// A volume of 4 MiB that holds these.
fn volume(writes: &[(usize, &[u8])]) -> Vec<u8> {
    let mut bytes = vec![0; 4 << 20];
    writes.iter().for_each(|(offset, write)| bytes[*offset..*offset + write.len()].copy_from_slice(write));
    bytes
}

/// Every node tells of these, at these places.
fn until_everywhere(trio: &mut Trio, expected: &[(u64, WriteSeq)]) {
    trio.until("every replica has them", |trio| (0..NODES).all(|node| trio.snapshots(node) == expected));
}

fn check(trio: Trio, snapshots: &[u64], expected: &[Vec<u8>]) {
    for (node, found) in trio.snapshot_contents(snapshots).into_iter().enumerate() {
        for ((found, expected), id) in found.iter().zip(expected).zip(snapshots) {
            assert!(found == expected, "snapshot {id} on node {node}");
        }
    }
}

#[test]
fn a_snapshot_holds_what_was_written_before_it_on_every_replica() {
    let mut trio = Trio::new(2);
    let client = trio.connect();
    let (one, two) = (pattern(1, 300_000), pattern(2, 200_000));
    trio.write(client, 5000, &one);
    let places = trio.snapshot(&[7]);
    trio.write(client, 100_000, &two);
    until_everywhere(&mut trio, &places);
    assert!(trio.read(client, 0, 4 << 20) == volume(&[(5000, &one), (100_000, &two)]));
    check(trio, &[7], &[volume(&[(5000, &one)])]);
}

#[test]
fn writes_go_on_while_a_snapshot_is_cut_and_it_is_at_one_place_among_them() {
    let mut trio = Trio::new(2);
    trio.delay = Duration::from_millis(10);
    let client = trio.connect();
    let pieces: Vec<Vec<u8>> = (0..40).map(|seed| pattern(seed, 8192)).collect();
    for (number, piece) in pieces.iter().enumerate() {
        if number == 17 {
            trio.want_snapshots(&[3], &[]);
        }
        trio.ask(client, &Request::write(number as u64 * 8192, piece));
        trio.step();
    }
    let places = trio.snapshot(&[3]);
    until_everywhere(&mut trio, &places);
    let found = trio.snapshot_contents(&[3]);
    assert!(found.iter().all(|one| *one == found[0]), "it is the same everywhere");
    let has: Vec<bool> = (0..40).map(|at| found[0][0][at * 8192..(at + 1) * 8192] == pieces[at]).collect();
    let count = has.iter().take_while(|has| **has).count();
    assert!(count >= 17 && has[count..].iter().all(|has| !has), "the first ones and no others: {has:?}");
    assert!(found[0][0][count * 8192..].iter().all(|byte| *byte == 0));
}

#[test]
fn a_replica_that_was_away_gets_the_snapshots_it_missed() {
    let mut trio = Trio::new(2);
    let client = trio.connect();
    let all: Vec<Vec<u8>> = (1..6).map(|seed| pattern(seed, 300_000)).collect();
    trio.write(client, 0, &all[0]);
    trio.flush(client);
    trio.kill(2);
    trio.write(client, 200_000, &all[1]);
    let first = trio.snapshot(&[1]);
    trio.write(client, 400_000, &all[2]);
    assert_eq!(trio.call(client, &Request::new(TRIM, 0, 131_072)).error, 0);
    trio.want_snapshots(&[1, 2], &first);
    let places = trio.snapshot(&[1, 2]);
    trio.write(client, 2_000_000, &all[3]);
    trio.start(2);
    trio.until_whole();
    until_everywhere(&mut trio, &places);
    let one = volume(&[(0, &all[0]), (200_000, &all[1])]);
    let mut two = volume(&[(0, &all[0]), (200_000, &all[1]), (400_000, &all[2])]);
    two[..131_072].fill(0);
    check(trio, &[1, 2], &[one, two]);
}

#[test]
fn a_snapshot_that_is_cut_while_a_replica_is_taught_is_there_too() {
    let mut trio = Trio::new(1);
    let client = trio.connect();
    let (one, two) = (pattern(1, 4 << 20), pattern(2, 100_000));
    trio.kill(2);
    trio.write(client, 0, &one);
    trio.start(2);
    trio.until("it is taught", |trio| trio.observed(2).is_some_and(|copy| copy.role == "learner"));
    trio.want_snapshots(&[5], &[]);
    trio.step();
    trio.write(client, 3_000_000, &two);
    let places = trio.snapshot(&[5]);
    trio.until_whole();
    until_everywhere(&mut trio, &places);
    let found = trio.snapshot_contents(&[5]);
    assert!(found.iter().all(|one| *one == found[0]));
    assert!(found[0][0][..2_900_000] == one[..2_900_000]);
}

#[test]
fn what_only_a_deposed_primary_cut_is_replaced_by_what_the_next_one_cut() {
    let mut trio = Trio::new(2);
    let old = trio.connect();
    let (one, two) = (pattern(1, 50_000), pattern(2, 50_000));
    trio.write(old, 0, &one);
    trio.isolate(old.0);
    // It hears that a snapshot is wanted, and nobody hears of it.
    trio.cut_off.remove(&old.0);
    trio.want_snapshots(&[9], &[]);
    trio.step();
    trio.cut_off.insert(old.0);
    trio.pass(Duration::from_millis(200));
    assert!(trio.snapshots(old.0).is_empty(), "it does not tell of what may be nowhere else");
    trio.until("another one serves", |trio| trio.primary().is_some_and(|node| node != old.0));
    let new = trio.connect();
    let places = trio.snapshot(&[9]);
    trio.write(new, 0, &two);
    trio.heal();
    trio.until_whole();
    until_everywhere(&mut trio, &places);
    let expected = volume(&[(0, &one)]);
    check(trio, &[9], &[expected]);
}

#[test]
fn a_snapshot_survives_the_end_of_every_process_and_a_change_of_primary() {
    let mut trio = Trio::new(2);
    let client = trio.connect();
    let one = pattern(1, 70_000);
    trio.write(client, 8192, &one);
    let places = trio.snapshot(&[4]);
    trio.want_snapshots(&[4], &places);
    trio.write(client, 8192, &pattern(2, 70_000));
    (0..NODES).for_each(|node| trio.kill(node));
    (0..NODES).for_each(|node| trio.start(node));
    trio.until_whole();
    until_everywhere(&mut trio, &places);
    let next = (trio.until_served() + 1) % NODES;
    trio.hand_over(Some(next));
    let before = trio.decider.decided.primary;
    trio.until("another one serves", |trio| trio.primary().is_some_and(|node| name(node) != before));
    until_everywhere(&mut trio, &places);
    let expected = volume(&[(8192, &one)]);
    check(trio, &[4], &[expected]);
}

#[test]
fn a_deleted_snapshot_goes_everywhere_and_its_blocks_stay_where_others_hold_them() {
    let mut trio = Trio::new(2);
    let client = trio.connect();
    let one = pattern(1, 500_000);
    trio.write(client, 0, &one);
    let first = trio.snapshot(&[1]);
    trio.want_snapshots(&[1], &first);
    trio.write(client, 0, &pattern(2, 500_000));
    let both = trio.snapshot(&[1, 2]);
    trio.kill(2);
    trio.want_snapshots(&[2], &both);
    trio.doom(&[1]);
    let second: Vec<_> = both.into_iter().filter(|(id, _)| *id == 2).collect();
    trio.until("it goes where it can", |trio| trio.snapshots(0) == second && trio.snapshots(1) == second);
    trio.start(2);
    trio.until_whole();
    until_everywhere(&mut trio, &second);
    let expected = volume(&[(0, &pattern(2, 500_000))]);
    check(trio, &[2], &[expected]);
}

#[test]
fn a_retired_volume_keeps_what_its_snapshots_hold_on_every_replica() {
    let mut trio = Trio::new(2);
    let client = trio.connect();
    let one = pattern(1, 3_000_000);
    trio.write(client, 4096, &one);
    let places = trio.snapshot(&[6]);
    trio.write(client, 0, &pattern(2, 1 << 20));
    trio.retire(&places);
    trio.until("its client is gone", |trio| trio.is_gone(client));
    trio.pass(Duration::from_secs(1));
    let empty = |trio: &Trio, node: usize| {
        let store = trio.nodes[node].node.store();
        let digests = store.digests(block::VolumeId(1), block::GroupIndex(0), 16).unwrap();
        digests.iter().all(|group| group.blocks == 0)
    };
    trio.until("all of it is zeroes", |trio| (0..NODES).all(|node| empty(trio, node)));
    until_everywhere(&mut trio, &places);
    let expected = volume(&[(4096, &one)]);
    check(trio, &[6], &[expected]);
}

#[test]
fn a_hold_keeps_every_answer_back_and_the_snapshot_is_cut_in_between() {
    let mut trio = Trio::new(2);
    let client = trio.connect();
    trio.write(client, 0, &pattern(1, 4096));
    trio.hold(4, None);
    trio.until("it holds", |trio| trio.held(client.0) == Some(HoldState::Held));
    let before = trio.ask(client, &Request::write(0, &pattern(2, 4096)));
    trio.pass(Duration::from_millis(40));
    trio.hold(4, Some(11));
    trio.until("it is cut", |trio| trio.held(client.0) == Some(HoldState::Cut));
    let after = trio.ask(client, &Request::write(0, &pattern(3, 4096)));
    trio.pass(Duration::from_millis(40));
    assert!(trio.answer(&before).is_none() && trio.answer(&after).is_none());
    trio.hold(0, Some(11));
    trio.until("it is released", |trio| trio.held(client.0) == Some(HoldState::Released));
    assert!((0..NODES).filter(|node| *node != client.0).all(|node| trio.held(node).is_none()));
    trio.until("they are answered", |trio| trio.answer(&before).is_some() && trio.answer(&after).is_some());
    trio.until("it is told of", |trio| trio.snapshots(client.0).len() == 1);
    trio.until("it is everywhere", |trio| (0..NODES).all(|node| trio.snapshots(node).len() == 1));
    let expected = volume(&[(0, &pattern(2, 4096))]);
    check(trio, &[11], &[expected]);
}

#[test]
fn a_hold_is_broken_when_another_replica_is_primary_which_holds_anew() {
    let mut trio = Trio::new(2);
    let client = trio.connect();
    trio.hold(4, None);
    trio.until("it holds", |trio| trio.held(client.0) == Some(HoldState::Held));
    let asked = trio.ask(client, &Request::write(0, &pattern(2, 4096)));
    trio.hand_over(Some((client.0 + 1) % NODES));
    trio.pass(Duration::from_millis(150));
    trio.until("another one serves", |trio| trio.primary().is_some_and(|node| node != client.0));
    let next = trio.until_served();
    trio.until("its hold is over", |trio| trio.held(client.0) == Some(HoldState::Broken));
    assert_ne!(trio.answer(&asked).map(|reply| reply.error), Some(5), "it was done, whether it is said or not");
    assert!(trio.held(next).is_some(), "it was asked as well");
    trio.pass(Duration::from_millis(300));
    assert_eq!(trio.held(next), Some(HoldState::Broken), "nobody released it");
}

/// A comparison of the whole volume, until every member was there: the digests of each.
fn compared(trio: &mut Trio, node: usize) -> Vec<Vec<Checksum>> {
    let groups = GroupRange { first: GroupIndex(0), count: 16 };
    for _ in 0..100 {
        let id = trio.nodes[node].command(Command::Compare { volume: VolumeId(1), groups, reads: false });
        let mut answer = None;
        trio.until("it is compared", |trio| {
            answer = trio.nodes[node].answers.remove(&id);
            answer.is_some()
        });
        let Some(Ok(Answer::Compared(replicas))) = answer else { panic!("{answer:?}") };
        let found: Vec<_> = replicas.into_iter().filter_map(|replica| replica.found.ok()).collect();
        if found.len() == NODES {
            return found.into_iter().map(|found| found.digests).collect();
        }
        trio.step();
    }
    panic!("somebody is never there");
}

#[test]
fn replicas_are_compared_with_their_snapshots() {
    let mut trio = Trio::new(2);
    let client = trio.connect();
    trio.write(client, 0, &pattern(1, 300_000));
    let without = compared(&mut trio, client.0);
    let first = trio.snapshot(&[1]);
    trio.want_snapshots(&[1, 2], &first);
    trio.write(client, 4096, &pattern(2, 4096));
    let places = trio.snapshot(&[1, 2]);
    trio.write(client, 4096, &pattern(1, 300_000)[4096..8192]);
    until_everywhere(&mut trio, &places);
    let with = compared(&mut trio, client.0);
    assert!(with.iter().all(|one| *one == with[0]), "they are equal");
    assert_ne!(with[0][0], without[0][0], "the volume holds what it did, and its snapshots count as well");
}
