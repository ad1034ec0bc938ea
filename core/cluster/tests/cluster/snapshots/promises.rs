//! One promise each.

use std::collections::BTreeMap;

use block::{Epoch, Incarnation, PoolId, SnapshotId, VolumeId, WriteSeq};
use cluster::{
    AccessMode, Answer, Change, Generation, Health, Keep, Labels, NodeReport, Observed, PoolReport, Proposal, Refusal,
    ReplicaReport, Replicas, Revision, Role, SnapshotCopy, Source, Standing, VolumeSpec,
};

use crate::world::{GIB, World, name, operation};

fn snapshot(world: &mut World, snapshot: &str, volume: &str) -> Result<Answer, Refusal> {
    world.apply(None, Change::CreateSnapshot { name: name(snapshot), volume: name(volume), labels: Labels::new() })
}

fn delete(world: &mut World, snapshot: &str) -> Answer {
    world.apply(None, Change::DeleteSnapshot { snapshot: name(snapshot) }).unwrap()
}

fn clone(world: &mut World, clone: &str, source: Source, replicas: u8) -> Result<Answer, Refusal> {
    let spec = VolumeSpec { replicas, ..VolumeSpec::default() };
    world.apply(None, Change::CreateVolume { name: name(clone), size_bytes: 0, spec, source: Some(source) })
}

/// A volume with a snapshot, on the first of some nodes.
fn world(nodes: u128) -> World {
    let mut world = World::new(nodes, 10 * GIB);
    world.create("db", GIB, VolumeSpec::default()).unwrap();
    world.round();
    snapshot(&mut world, "monday", "db").unwrap();
    world.round();
    world
}

#[test]
fn a_snapshot_is_ready_when_who_serves_the_volume_says_where_it_was_cut() {
    let mut world = World::new(1, 10 * GIB);
    world.create("db", GIB, VolumeSpec::default()).unwrap();
    world.round();
    let answer = snapshot(&mut world, "monday", "db").unwrap();
    let (id, taken) = world.state.snapshot(&name("monday")).unwrap();
    assert!(!world.state.is_snapshot_ready(taken) && !world.has_ended(operation(&answer)));
    assert_eq!(snapshot(&mut world, "monday", "db").unwrap(), answer, "a retry joins");
    world.round();
    assert!(world.has_ended(operation(&answer)));
    let view = world.state.snapshot_view(id, world.state.snapshot(&name("monday")).unwrap().1);
    assert!(view.ready);
    assert_eq!((view.copies, view.replicas, view.shared_bytes), (1, 1, 7));
    assert_eq!(snapshot(&mut world, "monday", "db"), Ok(Answer::Snapshot { id, operation: None }));
    world.create("other", GIB, VolumeSpec::default()).unwrap();
    let words = snapshot(&mut world, "monday", "other").unwrap_err().to_string();
    assert!(words.contains("of volume \"db\" and not of this volume \"other\""), "{words}");
}

#[test]
fn what_is_not_cut_in_time_is_withdrawn_everywhere_and_says_why() {
    let mut world = World::new(1, 10 * GIB);
    world.create("db", GIB, VolumeSpec::default()).unwrap();
    world.round();
    let answer = snapshot(&mut world, "monday", "db").unwrap();
    world.tell(&name("n0"));
    world.disconnect(&name("n0"));
    world.apply_after(29_000, None, Change::Tick).unwrap();
    assert!(!world.has_ended(operation(&answer)));
    let due = world.state.deadline().unwrap();
    assert_eq!(due.0 - world.state.operation(operation(&answer)).unwrap().since.0, 30_000);
    world.apply_after(due.0 - world.now, None, Change::Tick).unwrap();
    let failed = world.state.operation(operation(&answer)).unwrap().failed.clone().unwrap();
    assert!(failed.contains("not cut within 30 s, and is withdrawn: node n0 is not heard"), "{failed}");
    assert!(world.state.snapshot(&name("monday")).is_none(), "the name is free");
    // It was cut after all, late.
    world.nodes.get_mut(&name("n0")).unwrap().work();
    world.connect(&name("n0"));
    assert!(!world.state.contents().graves.is_empty());
    world.round();
    world.round();
    assert!(world.state.contents().graves.is_empty());
    assert!(world.nodes[&name("n0")].pools[&PoolId(1)].values().all(|replica| replica.snapshots.is_empty()));
    let Answer::Snapshot { id, .. } = snapshot(&mut world, "monday", "db").unwrap() else { panic!("it is a snapshot") };
    assert_eq!(id, SnapshotId(2), "numbers are never used again");
}

#[test]
fn a_deleted_snapshot_is_remembered_until_the_pool_says_that_it_is_gone() {
    let mut world = world(1);
    world.disconnect(&name("n0"));
    let answer = delete(&mut world, "monday");
    assert!(world.state.snapshot(&name("monday")).is_none());
    let told = world.state.explain_snapshot(&name("monday")).unwrap().join(" ");
    assert!(told.contains("its space is not back: node n0 is not heard"), "{told}");
    world.connect(&name("n0"));
    assert!(!world.has_ended(operation(&answer)), "it is there");
    world.tell(&name("n0"));
    // What the node says now it says of before.
    world.report(&name("n0"));
    assert!(!world.has_ended(operation(&answer)), "it is still there");
    world.round();
    assert!(world.has_ended(operation(&answer)));
    assert_eq!(world.state.explain_snapshot(&name("monday")), None);
}

#[test]
fn a_snapshot_that_turns_up_again_is_deleted_again_and_a_foreign_one_is_left_alone() {
    let mut world = world(1);
    let held = |world: &World| world.nodes[&name("n0")].pools[&PoolId(1)].values().next().unwrap().snapshots.clone();
    let before = held(&world);
    delete(&mut world, "monday");
    world.round();
    assert!(held(&world).is_empty() && world.state.contents().graves.is_empty());
    let put = |world: &mut World, snapshots| {
        let pools = &mut world.nodes.get_mut(&name("n0")).unwrap().pools;
        pools.get_mut(&PoolId(1)).unwrap().values_mut().next().unwrap().snapshots = snapshots;
    };
    put(&mut world, before.clone());
    let foreign = [(SnapshotId(7), *before.values().next().unwrap())];
    put(&mut world, before.into_iter().chain(foreign).collect());
    world.report(&name("n0"));
    assert_eq!(world.state.contents().graves.len(), 1);
    world.round();
    world.round();
    assert!(world.state.contents().graves.is_empty());
    assert_eq!(held(&world).into_keys().collect::<Vec<_>>(), [SnapshotId(7)]);
    snapshot(&mut world, "tuesday", "db").unwrap();
    assert_eq!(world.state.snapshot(&name("tuesday")).unwrap().0, SnapshotId(8), "its number is not given");
}

#[test]
fn a_deleted_volume_with_snapshots_is_retired_and_goes_with_the_last_of_them() {
    let mut world = world(1);
    snapshot(&mut world, "tuesday", "db").unwrap();
    world.attach("db", "host", AccessMode::ReadWrite).unwrap();
    world.round();
    let answer = world.apply(None, Change::DeleteVolume { volume: name("db"), force: true }).unwrap();
    assert!(!world.has_ended(operation(&answer)), "its clients are not shut out yet");
    assert!(world.state.volume(&name("db")).is_none() && world.state.volume_count() == 0);
    world.tell(&name("n0"));
    let told = world.nodes[&name("n0")].told.replicas.values().next().unwrap().clone();
    assert!(told.retired && !told.open && told.attachments.held().is_empty());
    world.round();
    assert!(world.has_ended(operation(&answer)));
    let told = world.state.explain_snapshot(&name("monday")).unwrap().join(" ");
    assert!(told.contains("Volume db was deleted, and what of it is in its 2 snapshots is kept on node n0"), "{told}");

    world.create("db", GIB, VolumeSpec::default()).unwrap();
    world.round();
    assert_eq!(world.state.volume(&name("db")).unwrap().1.health(), Health::Ready, "the name is free");
    let words = snapshot(&mut world, "monday", "db").unwrap_err().to_string();
    assert!(words.contains("there is a snapshot \"monday\" already"), "{words}");
    let words = world.create("retired-1", GIB, VolumeSpec::default()).unwrap_err().to_string();
    assert!(words.contains("it was deleted, and its snapshots are kept"), "{words}");

    delete(&mut world, "monday");
    let last = delete(&mut world, "tuesday");
    assert_eq!(world.state.retired().count(), 0);
    (0..3).for_each(|_| world.round());
    assert!(world.has_ended(operation(&last)));
    assert!(world.state.tombstones().next().is_none());
    assert_eq!(world.nodes[&name("n0")].pools[&PoolId(1)].len(), 1, "only the new volume is there");
}

#[test]
fn the_head_of_a_retired_volume_is_not_zeroed_before_what_was_asked_for_is_cut() {
    let mut world = world(1);
    snapshot(&mut world, "tuesday", "db").unwrap();
    world.apply(None, Change::DeleteVolume { volume: name("db"), force: false }).unwrap();
    world.tell(&name("n0"));
    let told = |world: &World| world.nodes[&name("n0")].told.replicas.values().next().unwrap().clone();
    assert!(!told(&world).retired && told(&world).snapshots.iter().any(|wanted| wanted.at.is_none()));
    world.round();
    world.tell(&name("n0"));
    assert!(told(&world).retired);
    let (_, tuesday) = world.state.snapshot(&name("tuesday")).unwrap();
    assert!(world.state.is_snapshot_ready(tuesday));
}

#[test]
fn a_clone_begins_where_its_source_is_and_never_empty() {
    let mut world = world(3);
    let home = world.state.volume(&name("db")).unwrap().1.home();
    let answer = clone(&mut world, "test", Source::Snapshot(name("monday")), 1).unwrap();
    (0..3).for_each(|_| world.round());
    assert!(world.has_ended(operation(&answer)));
    let (id, test) = world.state.volume(&name("test")).unwrap();
    assert_eq!((test.home(), test.size_bytes, test.health()), (home, GIB, Health::Ready));
    let data = world.nodes.values().find_map(|node| node.pools.get(&home)).unwrap()[&id].base;
    assert!(data > 0, "it was cloned");
    let again = clone(&mut world, "test", Source::Snapshot(name("monday")), 1).unwrap();
    assert_eq!(again, Answer::Volume { id, operation: None });
    let words = clone(&mut world, "test", Source::Volume(name("db")), 1).unwrap_err().to_string();
    assert!(words.contains("what it began as"), "{words}");
    let words = clone(&mut world, "other", Source::Snapshot(name("none")), 1).unwrap_err().to_string();
    assert_eq!(words, "there is no snapshot \"none\"");
}

#[test]
fn a_clone_waits_for_the_pools_that_have_its_source() {
    let mut world = world(2);
    let home = world.state.volume(&name("db")).unwrap().1.home();
    let node = world.state.pool(home).unwrap().node.clone();
    let answer = clone(&mut world, "test", Source::Snapshot(name("monday")), 1).unwrap();
    // Before the node hears of it, it comes back without the pool's content.
    world.nodes.get_mut(&node).unwrap().pools.get_mut(&home).unwrap().clear();
    world.connect(&node);
    (0..3).for_each(|_| world.round());
    assert!(!world.has_ended(operation(&answer)), "nobody makes it empty");
    let (_, test) = world.state.volume(&name("test")).unwrap();
    assert!(test.replicas.values().all(|replica| replica.observed == Observed::Nothing));
    let waits = world.state.waits_for(operation(&answer)).unwrap().to_string();
    assert!(waits.contains("it can begin only where what it begins as is"), "{waits}");
    world.apply(None, Change::DeleteVolume { volume: name("test"), force: false }).unwrap();
    (0..3).for_each(|_| world.round());
    assert!(world.state.tombstones().next().is_none(), "it can be given up");
}

#[test]
fn a_clone_of_a_volume_begins_with_a_snapshot_that_goes_when_it_is_there() {
    let mut world = world(2);
    let answer = clone(&mut world, "copy", Source::Volume(name("db")), 1).unwrap();
    let hidden = world.state.contents().snapshots.values().find(|it| it.keep == Keep::ForClones).unwrap();
    assert_eq!((hidden.name.as_str(), hidden.source_name.as_str()), ("copy", "db"));
    assert_eq!(world.state.snapshots(None).count(), 1, "it has no name");
    let told = world.state.explain_volume(&name("db")).unwrap().join(" ");
    assert!(
        told.contains("A branch point of volume db is kept until what is cloned from it is there: volume copy"),
        "{told}"
    );
    // The source goes first.
    world.apply(None, Change::DeleteVolume { volume: name("db"), force: false }).unwrap();
    (0..4).for_each(|_| world.round());
    assert!(world.has_ended(operation(&answer)));
    assert_eq!(world.state.volume(&name("copy")).unwrap().1.health(), Health::Ready);
    assert_eq!(world.state.contents().snapshots.len(), 1);
    delete(&mut world, "monday");
    (0..4).for_each(|_| world.round());
    assert_eq!((world.state.snapshot_count(), world.state.contents().volumes.len()), (0, 1));
}

#[test]
fn a_deleted_snapshot_stays_until_what_is_made_from_it_is_there() {
    let mut world = world(1);
    clone(&mut world, "test", Source::Snapshot(name("monday")), 1).unwrap();
    let deleted = delete(&mut world, "monday");
    assert!(world.state.snapshot(&name("monday")).is_none());
    let waits = world.state.waits_for(operation(&deleted)).unwrap().to_string();
    assert_eq!(waits, "volume test is made from it");
    (0..4).for_each(|_| world.round());
    assert!(world.has_ended(operation(&deleted)));
    assert_eq!(world.state.volume(&name("test")).unwrap().1.health(), Health::Ready);
    assert_eq!(world.state.snapshot_count(), 0);
}

#[test]
fn a_clone_whose_source_is_never_cut_was_never_there() {
    let mut world = world(1);
    world.disconnect(&name("n0"));
    let words = clone(&mut world, "copy", Source::Volume(name("db")), 1).unwrap_err().to_string();
    assert!(words.contains("its node is not heard"), "{words}");
    world.connect(&name("n0"));
    let answer = clone(&mut world, "copy", Source::Volume(name("db")), 1).unwrap();
    world.disconnect(&name("n0"));
    let due = world.state.deadline().unwrap();
    world.apply_after(due.0.saturating_sub(world.now), None, Change::Tick).unwrap();
    world.apply_after(31_000, None, Change::Tick).unwrap();
    let failed = world.state.operation(operation(&answer)).unwrap().failed.clone().unwrap();
    assert!(failed.contains("the snapshot that it was to begin with is missing"), "{failed}");
    assert!(world.state.volume(&name("copy")).is_none(), "the name is free");
}

#[test]
fn there_are_so_many_snapshots_of_a_volume_and_no_more() {
    let mut world = world(1);
    for number in 1..250 {
        snapshot(&mut world, &format!("s{number}"), "db").unwrap();
    }
    let words = snapshot(&mut world, "one-more", "db").unwrap_err().to_string();
    assert_eq!(words, "volume \"db\" has 250 snapshots, the most there can be: delete some");
    let words = clone(&mut world, "copy", Source::Volume(name("db")), 1).unwrap_err().to_string();
    assert!(words.contains("has 250 snapshots"), "{words}");
    delete(&mut world, "s7");
    snapshot(&mut world, "one-more", "db").unwrap();
}

/// Node `n0` has pool 1, `n1` pool 2; each says what its replica of volume 1 is, and whether it has snapshot 1 and where.
fn say(world: &mut World, pool: u64, role: Role, epoch: u32, cut: Option<WriteSeq>) {
    let incarnation = Incarnation(pool);
    let standing = Standing { incarnation, warm_from: incarnation, epoch: Epoch(epoch), role, ..Standing::default() };
    let copy = |at| (SnapshotId(1), SnapshotCopy { at, size_bytes: GIB, exclusive_bytes: 1, shared_bytes: 1 });
    let replica = ReplicaReport {
        volume: VolumeId(1),
        size_bytes: GIB,
        generation: Generation(0),
        standing,
        snapshots: cut.into_iter().map(copy).collect(),
    };
    let pool_report = PoolReport {
        id: PoolId(pool.into()),
        capacity_bytes: 10 * GIB,
        used_bytes: 0,
        tags: Vec::new(),
        failed: false,
        replicas: Replicas::All(vec![replica]),
    };
    let report = NodeReport { heard: Revision(0), pools: vec![pool_report] };
    world.apply(None, Change::Report { node: name(&format!("n{}", pool - 1)), report }).unwrap();
}

fn configure(world: &mut World, expected: u32, primary: u64, members: &[u64]) {
    let member = |pool: u64| (PoolId(pool.into()), Incarnation(pool));
    let members: BTreeMap<_, _> = members.iter().map(|pool| member(*pool)).collect();
    let (proposer, primary) = (member(primary), PoolId(primary.into()));
    let proposal = Proposal { expected: Epoch(expected), proposer, primary, members };
    world.apply(None, Change::Configure { volume: VolumeId(1), proposal }).unwrap();
}

#[test]
fn a_deposed_primary_does_not_say_where_a_snapshot_was_cut() {
    let mut world = World::new(2, 10 * GIB);
    world.create("db", GIB, VolumeSpec { replicas: 2, ..VolumeSpec::default() }).unwrap();
    say(&mut world, 1, Role::Out, 0, None);
    say(&mut world, 1, Role::Primary, 1, None);
    say(&mut world, 2, Role::Learner, 1, None);
    configure(&mut world, 1, 1, &[1, 2]);
    say(&mut world, 1, Role::Primary, 2, None);
    say(&mut world, 2, Role::Backup, 2, None);
    snapshot(&mut world, "monday", "db").unwrap();
    configure(&mut world, 2, 2, &[2]);
    let at = |epoch, n| Some(WriteSeq { epoch: Epoch(epoch), n });
    let told = |world: &World| world.state.snapshot(&name("monday")).unwrap().1.at();
    say(&mut world, 1, Role::Primary, 2, at(2, 50));
    assert_eq!(told(&world), None, "it is primary no more");
    say(&mut world, 2, Role::Reconciling, 3, at(2, 50));
    assert_eq!(told(&world), None, "it does not serve yet");
    say(&mut world, 2, Role::Primary, 3, None);
    say(&mut world, 1, Role::Primary, 2, at(2, 50));
    assert_eq!(told(&world), None, "another one serves");
    say(&mut world, 2, Role::Primary, 3, at(3, 7));
    assert_eq!(told(&world), at(3, 7));
    say(&mut world, 1, Role::Primary, 2, at(2, 50));
    assert_eq!(told(&world), at(3, 7));
    let (id, monday) = world.state.snapshot(&name("monday")).unwrap();
    assert_eq!(world.state.snapshot_view(id, monday).copies, 1, "one that was cut elsewhere is no copy");
}

#[test]
fn a_node_with_a_retired_volume_is_not_forgotten() {
    let mut world = world(2);
    let home = world.state.volume(&name("db")).unwrap().1.home();
    let node = world.state.pool(home).unwrap().node.clone();
    world.apply(None, Change::DeleteVolume { volume: name("db"), force: false }).unwrap();
    let words = world.apply(None, Change::RemoveNode { node }).unwrap_err().to_string();
    assert!(words.contains("holds 1 replicas"), "{words}");
}
