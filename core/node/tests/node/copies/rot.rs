//! Blocks that are not what was written, and replicas that are compared.

use std::time::Duration;

use block::{BlockIndex, GroupIndex, VolumeId};
use node::{Answer, Command, ComparedReplica, ControlError, GroupRange};

use crate::copies::trio::{NODES, Trio, name};
use crate::rig::MIB;
use crate::wire::{READ, Request};

const VOLUME: VolumeId = VolumeId(1);
/// Blocks of the volume.
const BLOCKS: u64 = 1024;
const EIO: u32 = 5;

fn content(block: u64, number: u64) -> Vec<u8> {
    [block, number].repeat(256).into_iter().flat_map(u64::to_le_bytes).collect()
}

/// Turns a bit of a block where it lies on a node's disk.
fn rot(trio: &mut Trio, node: usize, block: u64) {
    let rig = &mut trio.nodes[node];
    let held = rig.node.store().held(VOLUME, BlockIndex(block)).expect("something is written there");
    rig.disk.flip(held.at);
}

/// A device error where a block lies on a node's disk.
fn make_unreadable(trio: &mut Trio, node: usize, block: u64) {
    let rig = &mut trio.nodes[node];
    let held = rig.node.store().held(VOLUME, BlockIndex(block)).expect("something is written there");
    rig.disk.bad.insert(usize::try_from(held.at.0 / 4096).unwrap());
}

fn counters(trio: &Trio, node: usize) -> (u64, u64, u64) {
    let rot = trio.nodes[node].node.stats().rot;
    (rot.found, rot.repaired, rot.lost)
}

/// Blocks written to a volume whose replicas are all in sync, and flushed.
fn written(blocks: u64) -> (Trio, (usize, usize)) {
    let mut trio = Trio::new(2);
    let client = trio.connect();
    (0..blocks).for_each(|block| trio.write(client, block * 4096, &content(block, 1)));
    trio.flush(client);
    (trio, client)
}

fn compare(trio: &mut Trio, node: usize, reads: bool) -> Result<Vec<ComparedReplica>, ControlError> {
    let groups = GroupRange { first: GroupIndex(0), count: 16 };
    let id = trio.nodes[node].command(Command::Compare { volume: VOLUME, groups, reads });
    let mut answer = None;
    trio.until("it is compared", |trio| {
        answer = trio.nodes[node].answers.remove(&id);
        answer.is_some()
    });
    match answer.expect("just seen") {
        Ok(Answer::Compared(replicas)) => Ok(replicas),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error),
    }
}

/// All members answered, and the same; what each read, repaired and lost.
fn equal(trio: &mut Trio, reads: bool) -> Vec<(u64, u64, u64)> {
    let primary = trio.until_served();
    let replicas = compare(trio, primary, reads).expect("it serves");
    assert_eq!(replicas.len(), NODES);
    let found: Vec<_> = replicas.iter().map(|replica| replica.found.as_ref().expect("it is connected")).collect();
    assert!(found.iter().all(|one| one.digests == found[0].digests && one.blocks == found[0].blocks));
    found.iter().map(|one| (one.read, one.repaired, one.lost)).collect()
}

#[test]
fn a_block_that_rotted_at_the_primary_is_read_rightly_and_repaired() {
    let (mut trio, client) = written(64);
    [0, 7, 8, 63].into_iter().for_each(|block| rot(&mut trio, client.0, block));
    let all = trio.read(client, 0, 64 * 4096);
    assert!(all == (0..64).flat_map(|block| content(block, 1)).collect::<Vec<_>>());
    assert_eq!(counters(&trio, client.0), (4, 4, 0));
    trio.read(client, 0, 64 * 4096);
    assert_eq!(counters(&trio, client.0), (4, 4, 0), "it was written again");
}

#[test]
fn a_block_that_the_disk_cannot_read_is_repaired_as_well() {
    let (mut trio, client) = written(16);
    [5, 9, 10].into_iter().for_each(|block| make_unreadable(&mut trio, client.0, block));
    assert!(trio.read(client, 0, 16 * 4096) == (0..16).flat_map(|block| content(block, 1)).collect::<Vec<_>>());
    assert_eq!(counters(&trio, client.0), (3, 3, 0), "these and no others");
}

#[test]
fn a_range_of_which_the_disk_can_read_nothing_comes_from_another_replica() {
    let mut trio = Trio::new(2);
    let client = trio.connect();
    let all: Vec<u8> = (0..512).flat_map(|block| content(block, 1)).collect();
    trio.write(client, 0, &all);
    trio.flush(client);
    (0..512).for_each(|block| make_unreadable(&mut trio, client.0, block));
    assert!(trio.read(client, 0, 512 * 4096) == all);
    assert_eq!(counters(&trio, client.0), (512, 512, 0));
}

#[test]
fn a_write_to_a_part_of_a_rotten_block_keeps_the_rest() {
    let (mut trio, client) = written(8);
    [2, 3].into_iter().for_each(|block| rot(&mut trio, client.0, block));
    let (first, second) = (content(2, 1), content(3, 1));
    trio.write(client, 2 * 4096 + 4000, &[7; 200]);
    let expected = [&first[..4000], &[7; 200], &second[104..]].concat();
    assert!(trio.read(client, 2 * 4096, 2 * 4096) == expected);
    assert_eq!(counters(&trio, client.0), (2, 2, 0));
}

#[test]
fn a_block_that_rotted_everywhere_is_an_error_for_it_alone_until_it_is_written() {
    let (mut trio, client) = written(8);
    (0..NODES).for_each(|node| rot(&mut trio, node, 3));
    let read = |block: u64| Request::new(READ, block * 4096, 4096);
    assert_eq!(trio.call(client, &read(3)).error, EIO);
    assert_eq!(trio.read(client, 2 * 4096, 4096), content(2, 1));
    let lost = |trio: &Trio| trio.nodes[client.0].observed(1).unwrap().lost_blocks;
    assert_eq!((counters(&trio, client.0).2, lost(&trio)), (1, 1));
    let before = trio.now;
    assert_eq!(trio.call(client, &read(3)).error, EIO);
    assert!(trio.now.since(before) < Duration::from_millis(50), "it is known, and not asked for again");
    trio.write(client, 3 * 4096, &content(3, 2));
    assert_eq!(lost(&trio), 0);
    assert_eq!(trio.read(client, 3 * 4096, 4096), content(3, 2));
}

#[test]
fn a_block_that_was_lost_comes_back_with_a_replica_that_has_it() {
    let (mut trio, client) = written(8);
    let away = (0..NODES).find(|node| *node != client.0).unwrap();
    trio.kill(away);
    trio.until("the others go on", |trio| trio.decider.decided.members.len() == NODES - 1);
    (0..NODES).filter(|node| *node != away).for_each(|node| rot(&mut trio, node, 3));
    let client = trio.connect();
    assert_eq!(trio.call(client, &Request::new(READ, 3 * 4096, 4096)).error, EIO);
    trio.start(away);
    trio.until_whole();
    trio.pass(Duration::from_secs(3));
    assert_eq!(trio.read(client, 3 * 4096, 4096), content(3, 1));
}

#[test]
fn a_learner_is_taught_what_its_teacher_lost() {
    let (mut trio, client) = written(8);
    let away = (0..NODES).find(|node| *node != client.0).unwrap();
    trio.kill(away);
    trio.until("the others go on", |trio| trio.decider.decided.members.len() == NODES - 1);
    let client = trio.connect();
    (0..8).for_each(|block| trio.write(client, block * 4096, &content(block, 2)));
    trio.flush(client);
    [0, 5].into_iter().for_each(|block| rot(&mut trio, client.0, block));
    trio.start(away);
    trio.until_whole();
    assert_eq!(counters(&trio, client.0), (2, 2, 0));
    assert!(trio.contents().windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn a_backup_repairs_what_a_look_at_its_disk_finds() {
    let (mut trio, client) = written(130);
    let backup = (0..NODES).find(|node| *node != client.0).unwrap();
    [1, 2, 70, 129].into_iter().for_each(|block| rot(&mut trio, backup, block));
    rot(&mut trio, client.0, 4);
    let found = equal(&mut trio, true);
    assert_eq!((found[backup], found[client.0]), ((130, 4, 0), (130, 1, 0)));
    assert_eq!((counters(&trio, backup), counters(&trio, client.0)), ((4, 4, 0), (1, 1, 0)));
    assert!(equal(&mut trio, true).iter().all(|found| *found == (130, 0, 0)));
}

#[test]
fn what_is_lost_everywhere_is_told_by_a_look() {
    let (mut trio, client) = written(8);
    (0..NODES).for_each(|node| rot(&mut trio, node, 3));
    let found = equal(&mut trio, true);
    assert!(found.iter().all(|found| *found == (8, 0, 1)), "{found:?}");
    assert_eq!(trio.read(client, 0, 4096), content(0, 1));
}

#[test]
fn scrub_has_repaired_what_it_finds() {
    let (mut trio, client) = written(64);
    trio.pass(Duration::from_millis(500));
    let backup = (0..NODES).find(|node| *node != client.0).unwrap();
    // Only a closed segment is scrubbed.
    let full = vec![9; 1 << 20];
    (0..20).for_each(|_| trio.write(client, 2 << 20, &full));
    trio.flush(client);
    rot(&mut trio, backup, 9);
    // The first pass begins an hour after the start.
    trio.now = trio.now + Duration::from_secs(2 * 3600);
    trio.until("it is repaired", |trio| counters(trio, backup) == (1, 1, 0));
}

#[test]
fn replicas_are_equal_at_every_place_of_the_order() {
    let mut trio = Trio::new(2);
    let client = trio.connect();
    trio.delay = Duration::from_millis(30);
    let mut asked = Vec::new();
    for round in 0..40 {
        for block in 0..8 {
            let offset = (round * 37 + block * 5) % BLOCKS * 4096;
            asked.push(trio.ask(client, &Request::write(offset, &content(round, block))));
        }
        equal(&mut trio, false);
    }
    for asked in asked {
        trio.until("it is answered", |trio| trio.answer(&asked).is_some());
    }
}

#[test]
fn a_member_whose_disk_is_behind_answers_of_the_same_place() {
    let (mut trio, client) = written(8);
    let backup = (0..NODES).find(|node| *node != client.0).unwrap();
    trio.nodes[backup].disk_runs = false;
    let large = |seed: u64| content(seed, seed).repeat(256);
    let asked: Vec<_> = (0..40).map(|seed| trio.ask(client, &Request::write(seed % 4 * MIB, &large(seed)))).collect();
    trio.pass(Duration::from_millis(50));
    assert!(!trio.nodes[backup].node.store().has_room(), "its store takes no more for now");
    let groups = GroupRange { first: GroupIndex(0), count: 16 };
    let id = trio.nodes[client.0].command(Command::Compare { volume: VOLUME, groups, reads: false });
    trio.pass(Duration::from_millis(100));
    assert!(trio.nodes[client.0].answers.is_empty(), "it has not answered");
    trio.nodes[backup].disk_runs = true;
    let mut answer = None;
    trio.until("it is compared", |trio| {
        answer = trio.nodes[client.0].answers.remove(&id);
        answer.is_some()
    });
    let Some(Ok(Answer::Compared(found))) = answer else { panic!("{answer:?}") };
    let digests = |index: usize| &found[index].found.as_ref().expect("it is there").digests;
    assert!((1..NODES).all(|node| digests(node) == digests(0)), "{found:?}");
    for asked in asked {
        trio.until("it is answered", |trio| trio.answer(&asked).is_some());
    }
}

#[test]
fn zeroes_that_were_written_and_holes_are_equal() {
    let (mut trio, client) = written(4);
    let before = equal(&mut trio, false);
    trio.write(client, 100 * 4096, &vec![0; 8 * 4096]);
    assert_eq!(equal(&mut trio, false), before);
}

#[test]
fn who_is_not_primary_or_not_there_is_told_apart() {
    let (mut trio, client) = written(4);
    let backup = (0..NODES).find(|node| *node != client.0).unwrap();
    assert_eq!(compare(&mut trio, backup, false), Err(ControlError::NotServed));
    trio.block(client.0, backup);
    let replicas = compare(&mut trio, client.0, false).unwrap();
    let absent: Vec<_> = replicas.iter().filter(|one| one.found.is_err()).map(|one| one.pool).collect();
    assert_eq!(absent, [name(backup)], "{replicas:?}");
}

#[test]
fn a_volume_without_other_replicas_can_be_looked_at() {
    let mut rig = crate::rig::Rig::new(64 * MIB, 4 * MIB);
    let peer = rig.connect();
    rig.write(peer, 0, &content(0, 1));
    rig.write(peer, 8192, &content(2, 1));
    let volume = rig.node.store().volumes().next().unwrap().id;
    let groups = GroupRange { first: GroupIndex(0), count: 256 };
    let Ok(Answer::Compared(found)) = rig.order(Command::Compare { volume, groups, reads: true }) else { panic!() };
    let found = found[0].found.as_ref().unwrap();
    assert_eq!((found.blocks, found.read, found.lost), (2, 2, 0));
    let at = rig.node.store().held(volume, BlockIndex(2)).unwrap().at;
    rig.disk.flip(at);
    let Ok(Answer::Compared(found)) = rig.order(Command::Compare { volume, groups, reads: true }) else { panic!() };
    assert_eq!(found[0].found.as_ref().unwrap().lost, 1);
    assert_eq!(rig.node.stats().rot.lost, 1);
}

#[test]
fn the_same_block_in_another_place_is_a_difference() {
    let digest = |block: u64| {
        let mut rig = crate::rig::Rig::new(64 * MIB, 4 * MIB);
        let peer = rig.connect();
        rig.write(peer, block * 4096, &content(0, 1));
        let volume = rig.node.store().volumes().next().unwrap().id;
        rig.node.store().digests(volume, GroupIndex(0), 1).unwrap()
    };
    assert_eq!(digest(1), digest(1));
    assert_ne!(digest(1), digest(2));
}

#[test]
fn a_block_that_is_written_while_it_is_repaired_is_left_alone() {
    let (mut trio, client) = written(8);
    rot(&mut trio, client.0, 3);
    trio.delay = Duration::from_millis(20);
    let read = trio.ask(client, &Request::new(READ, 3 * 4096, 4096));
    trio.until("it is found", |trio| counters(trio, client.0).0 == 1);
    trio.write(client, 3 * 4096, &content(3, 2));
    trio.until("the read is answered", |trio| {
        trio.answer(&read).is_some_and(|reply| {
            assert_eq!(reply.error, 0);
            reply.data == content(3, 1) || reply.data == content(3, 2)
        })
    });
    assert_eq!(trio.read(client, 3 * 4096, 4096), content(3, 2));
    assert_eq!(counters(&trio, client.0).0, 1, "what was written then is not rotten");
}

/// Every block rots on one replica only, while it is read and written.
#[test]
fn while_one_replica_has_it_nothing_wrong_is_read_and_all_is_repaired() {
    for seed in 1..=6 {
        let (mut trio, mut client) = written(64);
        trio.nodes.iter_mut().enumerate().for_each(|(node, rig)| rig.seed(seed * 3 + node as u64));
        let mut numbers = vec![1; 64];
        for round in 2..150_u64 {
            let block = (trio.nodes[0].random(64)) as u64;
            let place = usize::try_from(block).unwrap();
            match trio.nodes[0].random(8) {
                0..3 => rot(&mut trio, (place + usize::try_from(seed).unwrap()) % NODES, block),
                3 => {
                    trio.write(client, block * 4096, &content(block, round));
                    numbers[place] = round;
                }
                4 => {
                    // The rest of the block is read first.
                    let bytes = content(block, numbers[place]);
                    trio.write(client, block * 4096 + 100, &bytes[100..300]);
                }
                5 => trio.flush(client),
                6 if round % 40 == 0 => {
                    trio.hand_over(Some((client.0 + 1) % NODES));
                    let before = client.0;
                    trio.until("another one serves", |trio| trio.primary().is_some_and(|node| node != before));
                    trio.hand_over(None);
                    client = trio.connect();
                }
                _ => assert!(trio.read(client, block * 4096, 4096) == content(block, numbers[place]), "block {block}"),
            }
        }
        let found = equal(&mut trio, true);
        assert!(found.iter().all(|(_, _, lost)| *lost == 0), "seed {seed}: {found:?}");
        assert!(equal(&mut trio, true).iter().all(|(_, repaired, _)| *repaired == 0), "all is repaired");
        assert!((0..NODES).map(|node| counters(&trio, node).1).sum::<u64>() > 10);
        let contents = trio.contents();
        let expected: Vec<u8> =
            (0..64).flat_map(|block| content(block, numbers[usize::try_from(block).unwrap()])).collect();
        assert!(contents.iter().all(|found| found[..64 * 4096] == expected));
    }
}
