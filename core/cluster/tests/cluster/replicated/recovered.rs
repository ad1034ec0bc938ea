//! Two of three voters are lost, and the state of the third may lack what they decided last.

use std::collections::BTreeSet;

use block::{Epoch, PoolId};
use cluster::{AccessMode, Change, Doubt, Generation, Health, Name, Refusal};

use super::members::Members;
use super::promises::{explained, made, node_of, of, primary, settle, volume};
use crate::world::{World, name};

/// The state that is left is an earlier one, and all nodes have gone on since.
fn recovered(world: &mut World, earlier: &World) {
    world.state = earlier.state.clone();
    world.apply(None, Change::Recover).unwrap();
    assert!(world.state.is_listening());
}

fn resume(world: &mut World, without: &[&Name]) -> Result<(), Refusal> {
    let without = without.iter().map(|node| (*node).clone()).collect();
    world.apply(None, Change::Resume { without }).map(drop)
}

fn hear(world: &mut World, nodes: &[Name]) {
    nodes.iter().for_each(|node| world.connect(node));
}

fn nodes(world: &World) -> Vec<Name> {
    world.nodes.keys().cloned().collect()
}

fn backup(world: &World) -> PoolId {
    volume(world).in_sync().find(|pool| *pool != primary(world)).unwrap()
}

fn promote(world: &mut World, pool: PoolId) -> Result<(), Refusal> {
    world.apply(None, Change::ForcePromote { volume: name("db"), pool }).map(drop)
}

/// A member is cut off and removed by the voters that will be lost.
fn shrunk() -> (World, Members, World, PoolId) {
    let (mut world, mut members) = made(3, of(3));
    let earlier = world.clone();
    let cut_off = backup(&world);
    let node = node_of(&world, cut_off);
    world.disconnect(&node);
    settle(&mut world, &mut members);
    assert!(volume(&world).member(cut_off).is_none());
    (world, members, earlier, cut_off)
}

#[test]
fn while_nodes_are_listened_to_nothing_is_decided_or_changed_by_anybody() {
    let (mut world, _) = made(3, of(3));
    let earlier = world.clone();
    recovered(&mut world, &earlier);
    let before = volume(&world).epoch();
    assert!(matches!(resume(&mut world, &[]), Err(Refusal::Unheard(nodes)) if nodes == "n0,n1,n2"));
    let all = nodes(&world);
    hear(&mut world, &all[..2]);
    assert!(matches!(world.create("other", 1 << 30, of(1)), Err(Refusal::Listening)));
    assert!(matches!(world.detach("db", None), Err(Refusal::Listening)));
    let forced = volume(&world).home();
    assert!(matches!(promote(&mut world, forced), Err(Refusal::Listening)));
    assert!(matches!(resume(&mut world, &[]), Err(Refusal::Unheard(nodes)) if nodes == "n2"));
    assert!(matches!(resume(&mut world, &[&all[0]]), Err(Refusal::NotUnheard(_))), "it is heard");
    assert_eq!((world.state.deadline(), volume(&world).epoch()), (None, before));
    assert!(world.state.problems(9)[0].sentence.contains("not heard yet: n2"), "{:?}", world.state.problems(9));
}

#[test]
fn a_volume_that_is_as_it_was_goes_on_above_all_that_may_have_been_decided() {
    let (mut world, mut members) = made(3, of(3));
    world.attach("db", "host", AccessMode::ReadWrite).unwrap();
    settle(&mut world, &mut members);
    let earlier = world.clone();
    recovered(&mut world, &earlier);
    let all = nodes(&world);
    hear(&mut world, &all);
    resume(&mut world, &[]).unwrap();
    settle(&mut world, &mut members);
    assert_eq!(volume(&world).health(), Health::Ready, "{}", explained(&world));
    assert!(volume(&world).epoch().0 > 1 << 20);
    assert_eq!(volume(&world).attachments.held().len(), 1, "its client does not notice");
    assert_eq!(primary(&world), primary(&earlier));
    assert!(world.state.revision().0 > 1 << 40, "nodes that heard the lost voters listen");
    let other = world.create("other", 1 << 30, of(1)).unwrap();
    assert!(format!("{other:?}").contains("VolumeId(104"), "no number is given twice: {other:?}");
}

#[test]
fn an_older_replica_is_never_promoted_over_one_that_goes_by_something_newer() {
    let (mut world, mut members, earlier, cut_off) = shrunk();
    let newer = primary(&world);
    let newest = volume(&world).epoch();
    recovered(&mut world, &earlier);
    let all = nodes(&world);
    // The one that was cut off is back, and was started anew as were the others: nobody is as it was.
    for node in &all {
        world.nodes.get_mut(node).unwrap().restart(false);
    }
    hear(&mut world, &all);
    // What a node went by is kept on its disk.
    for pool in volume(&world).replicas.keys().copied().filter(|pool| *pool != cut_off).collect::<Vec<_>>() {
        let node = node_of(&world, pool);
        let held = world.nodes.get_mut(&node).unwrap().pools.get_mut(&pool).unwrap();
        held.values_mut().for_each(|replica| replica.standing.epoch = newest);
        world.report(&node);
    }
    resume(&mut world, &[]).unwrap();
    settle(&mut world, &mut members);
    world.apply_after(60_000, None, Change::Tick).unwrap();
    settle(&mut world, &mut members);
    let (id, found) = world.state.volume(&name("db")).unwrap();
    assert!(matches!(world.state.doubt(id, found), Some(Doubt::Newer { epoch, .. }) if epoch == newest));
    assert_eq!(volume(&world).epoch(), volume(&earlier).epoch(), "nothing is decided about it");
    assert!(explained(&world).contains("voters that are lost decided after that"), "{}", explained(&world));
    assert!(matches!(promote(&mut world, cut_off), Err(Refusal::Older { .. })));
    promote(&mut world, newer).unwrap();
    assert!(volume(&world).epoch() > newest);
    for _ in 0..3 {
        settle(&mut world, &mut members);
    }
    assert_eq!(volume(&world).in_sync().count(), 3, "{}", explained(&world));
}

#[test]
fn a_node_that_is_given_up_may_have_had_something_newer_and_is_left_alone_when_it_comes_back() {
    let (mut world, mut members) = made(3, of(3));
    let earlier = world.clone();
    let (left, gone) = (backup(&world), primary(&world));
    let left_node = node_of(&world, left);
    recovered(&mut world, &earlier);
    hear(&mut world, std::slice::from_ref(&left_node));
    let all = nodes(&world);
    let others: Vec<&Name> = all.iter().filter(|node| **node != left_node).collect();
    resume(&mut world, &others).unwrap();
    world.apply_after(60_000, None, Change::Tick).unwrap();
    settle(&mut world, &mut members);
    assert_eq!(primary(&world), gone, "nobody takes its place by itself");
    assert!(explained(&world).contains("may have had something newer"), "{}", explained(&world));
    promote(&mut world, left).unwrap();
    settle(&mut world, &mut members);
    assert_eq!((primary(&world), volume(&world).active_primary().is_some()), (left, true), "{}", explained(&world));
    let node = node_of(&world, gone);
    world.connect(&node);
    settle(&mut world, &mut members);
    assert!(volume(&world).member(gone).is_none());
    assert_eq!(world.state.removed_pools_at(&node), [gone], "it is told so");
    let problems = world.state.problems(9);
    assert!(problems.iter().any(|problem| problem.sentence.contains("was given up")), "{problems:?}");
}

#[test]
fn a_client_that_the_lost_voters_detached_is_not_let_in_again() {
    let (mut world, mut members) = made(3, of(3));
    world.attach("db", "first", AccessMode::ReadWrite).unwrap();
    settle(&mut world, &mut members);
    let earlier = world.clone();
    world.detach("db", None).unwrap();
    world.attach("db", "second", AccessMode::ReadWrite).unwrap();
    settle(&mut world, &mut members);
    let given = volume(&world).attachments.generation;
    recovered(&mut world, &earlier);
    let all = nodes(&world);
    hear(&mut world, &all);
    assert_eq!(volume(&world).attachments.held()[0].client, name("first"), "so it was");
    resume(&mut world, &[]).unwrap();
    assert!(volume(&world).attachments.held().is_empty());
    assert!(volume(&world).attachments.generation > given.max(Generation(1 << 20)), "and no number is used again");
}

#[test]
fn what_was_being_made_is_not_made_anew_and_what_is_unknown_is_left_alone() {
    let mut world = World::new(2, 10 << 30);
    world.create("db", 1 << 30, of(1)).unwrap();
    let earlier = world.clone();
    world.round();
    world.create("late", 1 << 30, of(1)).unwrap();
    world.round();
    // The lost voters had one moved and forgotten where it was.
    let (home, moved) = (earlier.state.volume(&name("db")).unwrap().1.home(), volume(&world).clone());
    world.nodes.values_mut().for_each(|node| {
        node.pools.values_mut().for_each(|pool| pool.retain(|id, _| world_keeps(*id, &moved)));
    });
    let all = nodes(&world);
    recovered(&mut world, &earlier);
    hear(&mut world, &all);
    resume(&mut world, &[]).unwrap();
    world.round();
    assert!(world.state.volume(&name("late")).is_none());
    let intents: Vec<_> = all.iter().flat_map(|node| world.state.intent(node).replicas).collect();
    assert!(intents.iter().all(|intent| intent.pool == home && !intent.may_create), "{intents:?}");
    let orphans: BTreeSet<_> = world.state.pools().flat_map(|(_, pool)| pool.orphans.clone()).collect();
    assert_eq!(orphans.len(), 1, "the volume that these voters never heard of stays where it is");
    assert_eq!(volume(&world).epoch(), Epoch(0));
}

fn world_keeps(id: block::VolumeId, moved: &cluster::Volume) -> bool {
    moved.name == name("db") && id != block::VolumeId(1)
}
