//! Pools that an operator removes.

use block::PoolId;
use cluster::{Change, Labels, Refusal, VolumeSpec};

use crate::world::{World, name};

const GIB: u64 = 1 << 30;

fn spec(zone: &str) -> VolumeSpec {
    let node_selector = Labels::from([("zone".to_owned(), zone.to_owned())]);
    VolumeSpec { node_selector, ..VolumeSpec::default() }
}

fn remove(force: bool) -> Change {
    Change::RemovePool { pool: PoolId(1), force }
}

/// Two nodes, and a volume in pool 1 of the first.
fn world() -> World {
    let mut world = World::new(2, 10 * GIB);
    world.create("db", GIB, spec("a")).unwrap();
    world.round();
    assert_eq!(world.state.volume(&name("db")).unwrap().1.home(), PoolId(1));
    world
}

#[test]
fn a_pool_that_is_heard_or_not_known_is_not_removed() {
    let mut world = world();
    assert!(matches!(world.apply(None, remove(true)), Err(Refusal::PoolHeard { .. })));
    let strange = Change::RemovePool { pool: PoolId(99), force: true };
    assert!(matches!(world.apply(None, strange), Err(Refusal::NoSuchPool(PoolId(99)))));
}

#[test]
fn what_a_removed_pool_was_to_free_is_forgotten() {
    let mut world = world();
    world.disconnect(&name("n0"));
    world.apply(None, Change::DeleteVolume { volume: name("db"), force: false }).unwrap();
    assert_eq!(world.state.tombstones().count(), 1);
    world.apply(None, remove(false)).unwrap();
    assert_eq!((world.state.tombstones().count(), world.state.pool(PoolId(1)).is_none()), (0, true));
    world.apply(None, remove(false)).expect("it is removed already");
    assert!(world.state.running_operations().next().is_none(), "nothing waits for it");
    world.apply(None, Change::RemoveNode { node: name("n0") }).unwrap();
}

#[test]
fn the_only_copy_of_something_is_given_up_by_force_only_and_by_name() {
    let mut world = world();
    let cut = Change::CreateSnapshot { name: name("monday"), volume: name("db"), labels: Labels::new() };
    world.apply(None, cut).unwrap();
    world.round();
    world.disconnect(&name("n0"));
    let refused = world.apply(None, remove(false)).unwrap_err();
    assert!(matches!(refused, Refusal::PoolHoldsOnly { .. }));
    assert!(refused.to_string().contains("only copy of volume db, snapshot monday:"), "{refused}");
    assert_eq!(world.state.only_in(PoolId(1)), ["volume db", "snapshot monday"]);
    world.apply(None, remove(true)).unwrap();
    assert!(world.state.volume(&name("db")).is_none() && world.state.snapshot(&name("monday")).is_none());
    assert_eq!(world.state.tombstones().count(), 0);
    world.create("db", GIB, spec("b")).expect("the name is free");
}

#[test]
fn a_removed_pool_that_comes_back_is_left_alone_and_told_of() {
    let mut world = world();
    world.disconnect(&name("n0"));
    world.apply(None, remove(true)).unwrap();
    world.create("db", GIB, spec("b")).unwrap();
    world.connect(&name("n0"));
    world.round();
    world.round();
    assert!(world.state.pool(PoolId(1)).is_none());
    let intent = world.state.intent(&name("n0"));
    assert!(intent.replicas.is_empty() && intent.deletions.is_empty(), "nothing of it is used or deleted");
    assert_eq!(world.nodes[&name("n0")].pools[&PoolId(1)].len(), 1, "what it held is there");
    let problems = world.state.problems(10);
    assert!(problems.iter().any(|problem| problem.sentence.contains("node n0 has it again")), "{problems:?}");
    assert!(world.state.explain_pool(PoolId(1)).unwrap().contains("was removed"));
    assert_eq!(world.state.volume(&name("db")).unwrap().1.home(), PoolId(2));
}
