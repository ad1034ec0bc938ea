//! What replicas promise, over real sockets and pools.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::client::{Client, Replies};
use crate::copies::group::Group;
use crate::copies::plane::{Seat, VOLUME_BYTES, World};
use crate::intents::export;
use crate::member::eventually;
use crate::obstacle::Obstacle;
use node::SnapshotObservation;

fn pattern(len_bytes: usize, seed: usize) -> Vec<u8> {
    (0..len_bytes).map(|index| u8::try_from((index / 7 + index * seed) % 251).unwrap()).collect()
}

/// Writes of many sizes, over each other; what the volume holds then.
fn fill(group: &Group, client: &mut Client, seed: usize) -> Vec<u8> {
    let mut expected = vec![0; 12 << 20];
    let writes = [(0, 4096), (5000, 300), (100_001, 1 << 20), (2 << 20, 5 << 20), (4_194_300, 4), (9 << 20, 65_536)];
    for (number, (offset, len_bytes)) in writes.into_iter().enumerate() {
        let bytes = pattern(len_bytes, seed + number);
        group.surely(client, |client| client.write(offset as u64, &bytes));
        expected[offset..offset + len_bytes].copy_from_slice(&bytes);
    }
    expected
}

fn check(group: &Group, client: &mut Client, expected: &[u8]) {
    assert!(group.surely(client, |client| client.read(0, expected.len())) == expected);
}

/// Every replica holds it: each node is left alone with it in turn.
fn check_each(group: &mut Group, expected: &[u8]) {
    for _ in 0..group.members.len() {
        let primary = group.primary();
        check(group, &mut group.client(), expected);
        group.stop(primary);
        group.until("another node serves", |world| world.primary().is_some());
        check(group, &mut group.client(), expected);
        group.start(primary);
        group.until("all are in sync", World::is_whole);
    }
}

#[test]
fn a_volume_of_two_replicas_is_on_both() {
    let mut group = Group::new(2, 1);
    let mut client = group.client();
    assert_eq!(client.size_bytes, VOLUME_BYTES);
    let expected = fill(&group, &mut client, 3);
    client.flush().unwrap();
    check(&group, &mut client, &expected);
    check_each(&mut group, &expected);
}

#[test]
fn a_volume_of_three_replicas_is_on_all_of_them() {
    let mut group = Group::new(3, 2);
    let mut client = group.client();
    let expected = fill(&group, &mut client, 3);
    client.flush().unwrap();
    check_each(&mut group, &expected);
}

#[test]
fn snapshots_are_on_every_replica_and_on_one_that_was_away() {
    let mut group = Group::new(3, 2);
    let mut client = group.client();
    fill(&group, &mut client, 3);
    let told = |world: &World| -> Vec<Vec<SnapshotObservation>> {
        let of = |seat: &Seat| seat.observed.as_ref().map(|replica| replica.snapshots.clone()).unwrap_or_default();
        world.nodes.values().map(of).collect()
    };
    let places = |all: &[SnapshotObservation]| all.iter().map(|found| (found.id, found.at)).collect::<Vec<_>>();
    let are_equal = |world: &World, count: usize, nodes: usize| {
        let all = told(world);
        all.len() == nodes && all.iter().all(|one| one.len() == count && places(one) == places(&all[0]))
    };
    group.plane.world().want_snapshot(1);
    group.until("every replica has it", |world| are_equal(world, 1, 3));
    let away = group.backup();
    group.stop(away);
    fill(&group, &mut client, 5);
    group.plane.world().want_snapshot(2);
    group.until("both that are there have it", |world| are_equal(world, 2, 2));
    let expected = fill(&group, &mut client, 7);
    group.start(away);
    group.until("all are in sync", World::is_whole);
    group.until("every replica has both", |world| are_equal(world, 2, 3));
    check_each(&mut group, &expected);
}

#[test]
fn a_client_comes_to_any_node_and_is_carried_through_to_the_primary() {
    let group = Group::new(2, 2);
    let mut direct = group.client();
    let expected = fill(&group, &mut direct, 5);
    drop(direct);
    let mut relayed =
        Client::open(group.member(group.backup()).nbd(), &export(1), Replies::Structured).expect("let in");
    assert!(relayed.read(0, expected.len()).unwrap() == expected);
    relayed.write(0, b"through another node").unwrap();
    let mut direct = group.client();
    assert_eq!(direct.read(0, 20).unwrap(), b"through another node");
}

#[test]
fn io_goes_on_when_a_backup_stops_and_it_comes_back() {
    let mut group = Group::new(3, 2);
    let mut client = group.client();
    let mut expected = fill(&group, &mut client, 3);
    let backup = group.backup();
    group.stop(backup);
    for round in 0..20_usize {
        let bytes = pattern(70_000, round);
        client.write(round as u64 * 50_000, &bytes).expect("the connection stays");
        expected[round * 50_000..round * 50_000 + 70_000].copy_from_slice(&bytes);
    }
    group.until("it is out", |world| world.decider.decided.members.len() == 2);
    group.start(backup);
    group.until("all are in sync", World::is_whole);
    check(&group, &mut client, &expected);
    check_each(&mut group, &expected);
}

#[test]
fn a_primary_that_stops_is_replaced_and_nothing_acknowledged_is_lost() {
    let mut group = Group::new(3, 2);
    let mut client = group.client();
    let mut expected = fill(&group, &mut client, 3);
    let old = group.primary();
    group.stop(old);
    let start = Instant::now();
    let bytes = pattern(200_000, 9);
    group.surely(&mut client, |client| client.write(1_000_000, &bytes));
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    expected[1_000_000..1_200_000].copy_from_slice(&bytes);
    assert_ne!(group.primary(), old);
    check(&group, &mut client, &expected);
    group.start(old);
    group.until("all are in sync", World::is_whole);
    check(&group, &mut client, &expected);
}

#[test]
fn a_node_that_says_nothing_any_more_is_done_without() {
    let mut group = Group::apart(3, 2);
    let mut all: Vec<_> = group.members.iter().map(|node| node.pool).collect();
    all.sort_unstable();
    // The one with the highest id connects to nobody: whoever comes to it comes through an obstacle.
    let mute = all[2];
    let position = group.members.iter().position(|node| node.pool == mute).unwrap();
    let obstacle = Obstacle::before(&group.member(position).peers());
    for pool in &all[..2] {
        group.plane.world().detours.insert((*pool, mute), obstacle.address());
    }
    let Group { plane, members } = &mut group;
    members.iter_mut().for_each(|node| node.join(plane));
    group.until("all are in sync", World::is_whole);
    let mut client = group.client();
    let mut expected = fill(&group, &mut client, 3);
    assert_ne!(group.primary(), position);
    obstacle.block();
    let start = Instant::now();
    client.write(0, b"while one is mute").expect("the connection stays");
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    expected[..17].copy_from_slice(b"while one is mute");
    group.until("it is out", |world| !world.decider.decided.members.contains_key(&mute));
    check(&group, &mut client, &expected);
    // There is a way again.
    group.plane.world().detours.clear();
    group.until("all are in sync", World::is_whole);
    check(&group, &mut client, &expected);
}

#[test]
fn all_nodes_stop_and_go_on_from_what_was_acknowledged() {
    let mut group = Group::new(3, 2);
    let mut client = group.client();
    let expected = fill(&group, &mut client, 3);
    (0..3).for_each(|node| group.stop(node));
    (0..3).for_each(|node| group.start(node));
    group.until("all are in sync", World::is_whole);
    check(&group, &mut client, &expected);
    group.surely(&mut client, |client| client.write(0, b"and on"));
}

#[test]
fn a_node_stops_while_it_connects_to_one_that_is_not_there() {
    let mut group = Group::apart(2, 1);
    let (first, second) = (group.members[0].pool, group.members[1].pool);
    for (from, to) in [(first, second), (second, first)] {
        group.plane.world().detours.insert((from, to), "192.0.2.1:9".to_owned());
    }
    let Group { plane, members } = &mut group;
    members.iter_mut().for_each(|node| node.join(plane));
    let lower = usize::from(second < first);
    eventually("it was told", || group.plane.world().decider.decided.epoch.0 > 0);
    group.stop(lower);
    group.stop(1 - lower);
}

#[test]
fn each_node_has_one_connection_with_each_other_and_says_so() {
    let mut group = Group::new(3, 2);
    let expected = fill(&group, &mut group.client(), 3);
    for node in 0..3 {
        group.stop(node);
        group.start(node);
        group.until("all are in sync", World::is_whole);
    }
    // Each is counted where it was made.
    let links = |node| group.member(node).figures().replicas;
    eventually("one is left between every two", || (0..3).map(|node| links(node).open).sum::<usize>() == 3);
    let made: Vec<_> = (0..3).map(links).filter(|links| links.open > 0).collect();
    assert!(made.iter().all(|links| links.traffic.received_bytes > 0 && links.traffic.sent_bytes > 0));
    check(&group, &mut group.client(), &expected);
    let metrics = group.member(group.primary()).get("/metrics");
    for line in [
        "plinth_replica_connections ",
        "plinth_replica_role{volume=\"v1\",role=\"primary\"} 1",
        "plinth_replica_serving{volume=\"v1\"} 1",
        "plinth_replica_able{volume=\"v1\"} 1",
        "plinth_replica_groups_to_teach{volume=\"v1\"} 0",
    ] {
        assert!(metrics.contains(line), "{line} is missing in {metrics}");
    }
}

#[test]
fn clients_that_take_all_the_room_there_is_for_them_do_not_keep_replicas_apart() {
    // All there may be but those for whom accepts at other doors are under way.
    const CROWD: usize = 1024 - 2;
    const WAITING: usize = 64;
    let mut group = Group::new(2, 1);
    let expected = fill(&group, &mut group.client(), 3);
    let (primary, backup) = (group.primary(), group.backup());
    group.stop(backup);
    let address = group.member(primary).nbd();
    let mut crowd = Vec::new();
    // Not more at once than the kernel's queue holds, and at the end some that nobody lets in.
    while crowd.len() <= CROWD {
        eventually("they are let in", || group.member(primary).figures().connections >= crowd.len().min(CROWD));
        crowd.extend((0..WAITING).map(|_| TcpStream::connect(address).expect("there is room in the queue")));
    }
    eventually("there is no room for more", || group.member(primary).figures().connections == CROWD);
    group.start(backup);
    group.until("all are in sync", World::is_whole);
    drop(crowd);
    check(&group, &mut group.client(), &expected);
}
