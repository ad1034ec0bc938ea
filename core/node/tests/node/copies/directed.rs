//! What replicas promise, one promise at a time.

use std::time::Duration;

use node::{Event, Intent, ReplicaIntent};

use crate::copies::trio::{NODES, Trio, name};
use crate::rig::{MIB, Rig};
use crate::wanted::{Holder, deletion, held, replica, route, token, whole};
use crate::wire::{FLUSH, READ, Request, TRIM, WRITE_ZEROES};

fn same(trio: Trio) {
    let contents = trio.contents();
    for node in 1..NODES {
        assert!(contents[0] == contents[node], "node {node} holds what node 0 holds");
    }
}

fn pattern(seed: u8, len_bytes: usize) -> Vec<u8> {
    (0..len_bytes).map(|at| u8::try_from((at * 31 + at / 251 + usize::from(seed)) % 255 + 1).unwrap()).collect()
}

#[test]
fn what_is_written_is_on_every_replica() {
    let mut trio = Trio::new(2);
    let client = trio.connect();
    let mut oracle = vec![0; 4 << 20];
    let mut put = |trio: &mut Trio, offset: usize, bytes: &[u8]| {
        trio.write(client, offset as u64, bytes);
        oracle[offset..offset + bytes.len()].copy_from_slice(bytes);
    };
    put(&mut trio, 0, &pattern(1, 4096));
    put(&mut trio, 5000, &pattern(2, 300));
    put(&mut trio, 100_001, &pattern(3, 1 << 20));
    put(&mut trio, 2 << 20, &pattern(4, 64 << 10));
    put(&mut trio, 4_194_300, &pattern(5, 4));
    let zero = Request::new(WRITE_ZEROES, 2_100_000, 9000);
    assert_eq!(trio.call(client, &zero).error, 0);
    oracle[2_100_000..2_109_000].fill(0);
    assert_eq!(trio.call(client, &Request::new(TRIM, 300_000, 200_000).fua()).error, 0);
    oracle[300_000_usize.next_multiple_of(4096)..500_000 / 4096 * 4096].fill(0);
    trio.flush(client);
    assert!(trio.read(client, 0, 4 << 20) == oracle);
    let contents = trio.contents();
    assert!(contents.iter().all(|content| *content == oracle));
}

#[test]
fn only_the_primary_lets_clients_in() {
    let mut trio = Trio::new(2);
    let primary = trio.until_served();
    for node in (0..NODES).filter(|node| *node != primary) {
        let peer = trio.nodes[node].connect_to("v", false);
        assert!(trio.nodes[node].peers[peer].listener.export.is_none());
    }
}

#[test]
fn a_primary_that_is_killed_is_replaced_and_nothing_acknowledged_is_lost() {
    let mut trio = Trio::new(2);
    let client = trio.connect();
    trio.write(client, 4096, &pattern(1, 8192));
    let before = trio.now;
    trio.kill(client.0);
    let next = trio.connect();
    assert_ne!(next.0, client.0);
    assert!(trio.now.since(before) < Duration::from_millis(2500), "{:?}", trio.now.since(before));
    assert_eq!(trio.read(next, 4096, 8192), pattern(1, 8192));
    trio.write(next, 6000, &pattern(2, 70_000));
    trio.start(client.0);
    trio.until_whole();
    trio.flush(next);
    same(trio);
}

#[test]
fn a_backup_that_comes_back_is_taught_what_it_missed() {
    let mut trio = Trio::new(2);
    let client = trio.connect();
    trio.write(client, 0, &pattern(1, 1 << 20));
    trio.flush(client);
    trio.kill(2);
    trio.write(client, 8192, &pattern(2, 4096));
    assert_eq!(trio.call(client, &Request::new(TRIM, 65_536, 131_072)).error, 0);
    trio.write(client, 2 << 20, &pattern(3, 300_000));
    trio.start(2);
    trio.until_whole();
    same(trio);
}

#[test]
fn writes_wait_while_too_few_replicas_are_in_sync_and_reads_go_on() {
    let mut trio = Trio::new(2);
    let client = trio.connect();
    trio.write(client, 0, &pattern(1, 4096));
    trio.kill(1);
    trio.kill(2);
    trio.until("one is left", |trio| trio.decider.decided.members.len() == 1);
    let asked = trio.ask(client, &Request::write(0, &pattern(2, 4096)));
    trio.pass(Duration::from_secs(3));
    assert_eq!(trio.read(client, 0, 4096), pattern(1, 4096));
    assert_eq!(trio.answer(&asked), None);
    trio.start(1);
    trio.until("it is written", |trio| trio.answer(&asked).is_some_and(|reply| reply.error == 0));
    assert_eq!(trio.read(client, 0, 4096), pattern(2, 4096));
    trio.start(2);
    trio.until_whole();
    same(trio);
}

#[test]
fn a_primary_alone_in_its_part_answers_nothing_and_its_clients_are_sent_away() {
    let mut trio = Trio::new(2);
    let old = trio.connect();
    trio.write(old, 0, &pattern(1, 4096));
    trio.isolate(old.0);
    trio.pass(Duration::from_millis(1100));
    let read = trio.ask(old, &Request::new(READ, 0, 4096));
    let write = trio.ask(old, &Request::write(0, &pattern(2, 4096)));
    let new = trio.connect();
    trio.write(new, 0, &pattern(3, 4096));
    trio.pass(Duration::from_secs(2));
    assert!(trio.answer(&read).is_none() && trio.answer(&write).is_none());
    trio.heal();
    trio.until_whole();
    assert!(trio.is_gone(old), "it is asked to come again elsewhere");
    assert_eq!(trio.read(new, 0, 4096), pattern(3, 4096));
    same(trio);
}

#[test]
fn a_device_that_fails_deposes_its_primary() {
    let mut trio = Trio::new(2);
    let old = trio.connect();
    trio.write(old, 0, &pattern(1, 4096));
    trio.nodes[old.0].disk.writes_fail = true;
    let asked = trio.ask(old, &Request::write(0, &pattern(2, 4096)));
    trio.until("its clients are sent away", |trio| trio.is_gone(old));
    let new = trio.connect();
    assert_ne!(new.0, old.0);
    assert_eq!(trio.answer(&asked), None, "nobody says that it failed: it may have been written");
    let found = trio.read(new, 0, 4096);
    assert!(found == pattern(1, 4096) || found == pattern(2, 4096));
    assert!(!trio.observed(old.0).unwrap().is_able);
    trio.write(new, 0, &pattern(3, 4096));
    assert_eq!(trio.decider.decided.members.len(), 2);
    assert!(!trio.decider.decided.members.contains_key(&name(old.0)));
}

#[test]
fn a_backup_that_is_full_leaves_and_the_others_go_on() {
    let mut trio = Trio::sized(2, [256 * MIB, 256 * MIB, 96 * MIB], 64 * MIB);
    let client = trio.connect();
    assert_ne!(client.0, 2);
    for mib in 0..60 {
        trio.write(client, mib << 20, &pattern(u8::try_from(mib).unwrap(), 1 << 20));
    }
    trio.until("the small one is out", |trio| !trio.decider.decided.members.contains_key(&name(2)));
    assert!(!trio.observed(2).unwrap().is_able);
    for mib in 0..60 {
        assert!(trio.read(client, mib << 20, 1 << 20) == pattern(u8::try_from(mib).unwrap(), 1 << 20));
    }
    assert_eq!(trio.call(client, &Request::new(TRIM, 0, 40 << 20)).error, 0);
    trio.until_whole();
    same(trio);
}

#[test]
fn a_primary_that_is_full_refuses_and_stays() {
    let mut trio = Trio::sized(2, [96 * MIB, 256 * MIB, 256 * MIB], 64 * MIB);
    let client = trio.connect();
    assert_eq!(client.0, 0);
    let mut refused = 0;
    for mib in 0..60_u64 {
        let reply = trio.call(client, &Request::write(mib << 20, &pattern(1, 1 << 20)));
        assert!([0, crate::wire::ENOSPC].contains(&reply.error));
        refused += u32::from(reply.error != 0);
    }
    assert!(refused > 0);
    assert_eq!(trio.decider.decided.members.len(), NODES);
    assert_eq!(trio.call(client, &Request::new(FLUSH, 0, 0)).error, 0);
    same(trio);
}

#[test]
fn a_planned_hand_over_takes_no_longer_than_a_moment_and_loses_nothing() {
    let mut trio = Trio::new(2);
    let old = trio.connect();
    trio.write(old, 0, &pattern(1, 100_000));
    trio.hand_over(Some(1));
    let before = trio.now;
    trio.until("another serves", |trio| trio.primary() == Some(1));
    assert!(trio.now.since(before) < Duration::from_millis(250), "{:?}", trio.now.since(before));
    assert!(trio.is_gone(old));
    let new = trio.connect();
    assert_eq!(trio.read(new, 0, 100_000), pattern(1, 100_000));
    assert_eq!(trio.decider.decided.members.len(), NODES, "nobody had to be taught");
    trio.write(new, 50_000, &pattern(2, 100_000));
    trio.flush(new);
    same(trio);
}

#[test]
fn a_generation_is_confirmed_by_the_serving_primary_only_and_when_all_before_it_is_committed() {
    let mut trio = Trio::new(2);
    let wanted = held(1, &[Holder::Writer { client: 1, generation: 1 }]);
    trio.want(wanted);
    trio.step();
    let generation = |trio: &Trio, node: usize| trio.nodes[node].observed(1).unwrap().generation;
    trio.until("it is confirmed", |trio| generation(trio, 0) == 1);
    assert_eq!((generation(&trio, 1), generation(&trio, 2)), (0, 0));
    let export = format!("v@{}", token(1, 1));
    let client = (0, trio.nodes[0].connect_to(&export, false));
    trio.block(0, 1);
    trio.ask(client, &Request::write(0, &pattern(1, 4096)));
    trio.pass(Duration::from_millis(20));
    trio.want(held(2, &[]));
    trio.pass(Duration::from_millis(50));
    assert!(trio.is_gone(client), "it is shut out at once");
    assert_eq!(generation(&trio, 0), 1, "what it asked for may still change something");
    trio.until("the silent member is removed", |trio| trio.decider.decided.members.len() == 2);
    trio.until("the next generation is confirmed", |trio| generation(trio, 0) == 2);
    trio.heal();
    trio.kill(0);
    let next = trio.until_served();
    trio.until("whoever serves now confirms it", |trio| generation(trio, next) == 2);
}

#[test]
fn a_volume_that_was_replicated_is_not_served_as_if_it_were_alone() {
    let mut trio = Trio::new(1);
    trio.until_served();
    let mut rig = trio.nodes.remove(0).killed();
    rig.intend(whole(1, vec![ReplicaIntent { open: true, ..replica() }]));
    let peer = rig.connect_to("v", false);
    assert!(rig.peers[peer].listener.export.is_none());
}

#[test]
fn a_replicated_volume_is_deleted_whatever_waits_for_others() {
    let mut trio = Trio::new(2);
    let client = trio.connect();
    trio.kill(1);
    trio.kill(2);
    trio.until("one is left", |trio| trio.decider.decided.members.len() == 1);
    trio.ask(client, &Request::write(0, &pattern(2, 4096)));
    trio.pass(Duration::from_millis(50));
    let rig = &mut trio.nodes[0];
    rig.intend(deletion(1 << 40, 1));
    assert!(rig.observed(1).is_none() && rig.peers[client.1].closed);
    rig.assert_idle();
}

#[test]
fn connections_that_break_all_the_time_cost_time_and_nothing_else() {
    let mut trio = Trio::new(2);
    let client = trio.connect();
    for round in 0..40_u8 {
        let asked = trio.ask(client, &Request::write(u64::from(round) * 5000, &pattern(round, 9000)));
        trio.pass(Duration::from_millis(10));
        trio.cut(0, 1 + usize::from(round % 2));
        trio.until("it is written", |trio| trio.answer(&asked).is_some_and(|reply| reply.error == 0));
    }
    trio.until_whole();
    assert!(!trio.is_gone(client), "the primary stays");
    trio.flush(client);
    same(trio);
}

#[test]
fn a_member_whose_changes_are_held_up_for_a_while_stays_because_its_heartbeats_arrive() {
    let mut trio = Trio::new(2);
    trio.until("heartbeats have their own connections", |trio| trio.connections(0, 1) == 2);
    let before = trio.decider.decided.epoch;
    trio.hold_up(0, 1, true);
    trio.pass(Duration::from_millis(1500));
    assert_eq!(trio.decider.decided.epoch, before, "nobody had to go");
    trio.hold_up(0, 1, false);
    trio.pass(Duration::from_millis(300));
    assert_eq!((trio.decider.decided.epoch, trio.connections(0, 1)), (before, 2));
    trio.hold_up(0, 1, true);
    trio.until("it is connected to anew", |trio| !trio.is_held_up(0, 1) && trio.connections(0, 1) == 2);
    trio.until_whole();
}

#[test]
fn heartbeats_take_the_other_connection_while_theirs_is_gone() {
    let mut trio = Trio::new(2);
    let before = trio.decider.decided.epoch;
    for _ in 0..5 {
        trio.until("heartbeats have their own connections", |trio| trio.connections(0, 1) == 2);
        trio.cut_beats(0, 1);
        trio.pass(Duration::from_millis(400));
    }
    assert_eq!(trio.decider.decided.epoch, before, "nobody had to go");
}

#[test]
fn of_other_nodes_volumes_the_route_is_gone_by() {
    let mut trio = Trio::new(2);
    trio.until_served();
    let intent = Intent { cluster: 77, revision: 1 << 40, routes: vec![route("v", "n0")], ..Intent::default() };
    trio.nodes[1].intend(intent);
    let peer = trio.nodes[1].connect_to("v", false);
    assert_eq!(trio.nodes[1].peers[peer].relay.as_ref().map(|relay| relay.address.as_str()), Some("n0"));
}

#[test]
fn a_primary_that_stops_lets_another_serve_first() {
    let mut trio = Trio::new(2);
    let old = trio.connect();
    trio.write(old, 0, &pattern(1, 100_000));
    let asked = trio.ask(old, &Request::write(4096, &pattern(2, 4096)));
    trio.nodes[old.0].handle(Event::Stop);
    let before = trio.now;
    trio.until("another serves", |trio| trio.primary().is_some_and(|node| node != old.0));
    assert!(trio.now.since(before) < Duration::from_millis(250), "{:?}", trio.now.since(before));
    trio.until("it has stopped", |trio| trio.nodes[old.0].stopped);
    let was_answered = trio.answer(&asked).is_some();
    let new = trio.connect();
    let found = trio.read(new, 4096, 4096);
    assert!(found == pattern(2, 4096) || (!was_answered && found == pattern(1, 100_000)[4096..8192]));
}

#[test]
fn a_read_does_not_show_what_may_be_taken_back() {
    let mut trio = Trio::new(2);
    let client = trio.connect();
    trio.write(client, 0, &pattern(1, 8192));
    trio.block(0, 1);
    let write = trio.ask(client, &Request::write(4096, &pattern(2, 4096)));
    trio.pass(Duration::from_millis(10));
    let read = trio.ask(client, &Request::new(READ, 0, 8192));
    trio.pass(Duration::from_millis(300));
    assert_eq!(trio.read(client, 0, 4096), pattern(1, 4096), "others go on");
    assert!(trio.answer(&write).is_none() && trio.answer(&read).is_none());
    trio.until("the silent member is removed", |trio| trio.answer(&write).is_some());
    let mut expected = pattern(1, 8192);
    expected[4096..].copy_from_slice(&pattern(2, 4096));
    let mut found = None;
    trio.until("it is read", |trio| {
        found = found.take().or_else(|| trio.answer(&read));
        found.is_some()
    });
    assert_eq!(found.unwrap().data, expected);
}

#[test]
fn a_node_of_another_cluster_is_refused_with_a_sentence() {
    let mut trio = Trio::new(1);
    trio.until_served();
    trio.kill(0);
    trio.nodes[0] = Rig::member(name(0), 64 * MIB);
    trio.clusters[0] = 78;
    trio.down.remove(&0);
    trio.want_all_but(&[], 1);
    trio.until("both have said so", |trio| {
        let says =
            |node: usize, word: &str| trio.nodes[node].faults.iter().any(|fault| fault.to_string().contains(word));
        says(0, "the other node refused: it is of cluster") && says(1, "the other node was refused: it is of cluster")
    });
}

#[test]
fn a_primary_that_is_not_wanted_hands_over_and_nothing_is_lost() {
    let mut trio = Trio::new(2);
    let client = trio.connect();
    assert_eq!(client.0, 0);
    trio.write(client, 0, &pattern(1, 8192));
    trio.want_all_but(&[0], 2);
    trio.until("it is no member any more", |trio| !trio.decider.decided.members.contains_key(&name(0)));
    assert!(trio.is_gone(client), "its client asks elsewhere");
    let client = trio.connect();
    assert_ne!(client.0, 0);
    assert_eq!(trio.read(client, 0, 8192), pattern(1, 8192));
    trio.pass(Duration::from_secs(5));
    assert_eq!(trio.decider.decided.members.len(), 2, "nobody teaches it");
    trio.want_all_but(&[], 3);
    trio.until_whole();
}

#[test]
fn a_replica_says_how_far_it_is_filled() {
    let mut trio = Trio::sized(1, [512 * MIB; 3], 128 * MIB);
    trio.kill(2);
    let client = trio.connect();
    for piece in 0..64_u8 {
        trio.write(client, u64::from(piece) << 20, &pattern(piece, 4096));
    }
    trio.start(2);
    let mut seen = Vec::new();
    trio.until("it is in sync again", |trio| {
        let copy = trio.observed(2);
        seen.extend(copy.and_then(|copy| copy.copying));
        copy.is_some_and(|copy| copy.role == "backup")
    });
    assert!(seen.iter().all(|one| one.groups >= 64 && one.left <= one.groups), "{seen:?}");
    assert!(seen.is_sorted_by_key(|one| std::cmp::Reverse(one.left)), "it never goes back: {seen:?}");
    let groups = seen.last().map(|one| one.groups).expect("it was seen while it was taught");
    assert!(seen.iter().any(|one| one.left > 0 && one.left < groups), "{seen:?}");
}

#[test]
fn a_volume_that_was_alone_gets_others_while_it_is_written() {
    let mut trio = Trio::alone();
    let client = (0, trio.nodes[0].connect_to("v", false));
    trio.write(client, 0, &pattern(1, 64 * 1024));
    // Some of them change parts of blocks, which takes a read first.
    let writes: Vec<(u64, Vec<u8>)> =
        (0..16_u8).map(|at| (u64::from(at) * 8192 + 100, pattern(at + 10, 4096 + usize::from(at)))).collect();
    let asked: Vec<_> =
        writes.iter().map(|(offset, bytes)| trio.ask(client, &Request::write(*offset, bytes))).collect();
    trio.replicate();
    let mut answers: Vec<_> = asked.iter().map(|asked| trio.answer(asked)).collect();
    trio.until_whole();
    for (answer, asked) in answers.iter_mut().zip(&asked) {
        *answer = answer.take().or_else(|| trio.answer(asked));
    }
    assert!(trio.is_gone(client), "its client comes again");
    let client = trio.connect();
    for (answer, (offset, bytes)) in answers.iter().zip(&writes) {
        let is_acknowledged = answer.as_ref().is_some_and(|reply| reply.error == 0);
        let len_bytes = u32::try_from(bytes.len()).unwrap();
        let is_there = trio.read(client, *offset, len_bytes) == *bytes;
        assert!(is_there || !is_acknowledged, "the write at {offset} was acknowledged");
    }
    trio.write(client, 0, &pattern(2, 4096));
    let contents = trio.contents();
    assert!(contents.windows(2).all(|pair| pair[0] == pair[1]), "all have the same");
}
