//! What is told of snapshots that are in the way of something, or that something is in the way of.

use std::collections::BTreeMap;

use block::{PoolId, VolumeId};
use cluster::{
    Change, CutRefusal, Generation, LOAN_LABEL, LOAN_OF_LABEL, Labels, Loan, Modification, NodeReport, PoolReport,
    ReplicaReport, Replicas, Revision, Source, Standing, VolumeSpec,
};

use crate::world::{GIB, World, name, operation};

fn world() -> World {
    let mut world = World::new(1, 10 * GIB);
    world.create("db", GIB, VolumeSpec::default()).unwrap();
    world.round();
    world
}

/// The only node says this of its replica.
fn say(world: &mut World, standing: Standing) {
    let (size_bytes, generation, snapshots) = (GIB, Generation(0), BTreeMap::new());
    let replica = ReplicaReport { volume: VolumeId(1), size_bytes, generation, standing, snapshots };
    let pool = PoolReport {
        id: PoolId(1),
        capacity_bytes: 10 * GIB,
        used_bytes: 0,
        tags: Vec::new(),
        failed: false,
        replicas: Replicas::All(vec![replica]),
    };
    let report = NodeReport { heard: Revision(0), pools: vec![pool] };
    world.apply(None, Change::Report { node: name("n0"), report }).unwrap();
}

fn snapshot(world: &mut World, snapshot: &str, labels: Labels) -> cluster::Answer {
    world.apply(None, Change::CreateSnapshot { name: name(snapshot), volume: name("db"), labels }).unwrap()
}

#[test]
fn what_keeps_a_node_from_cutting_a_snapshot_is_told_while_it_lasts_and_when_it_is_given_up() {
    let mut world = world();
    let answer = snapshot(&mut world, "monday", Labels::new());
    say(&mut world, Standing { cut_refused: Some(CutRefusal::PoolFull), ..Standing::default() });
    let told = world.state.explain_snapshot(&name("monday")).unwrap().join(" ");
    assert!(told.contains("is not ready: node n0 cannot cut it: its pool is full up to its reserve;"), "{told}");
    world.apply_after(31_000, None, Change::Tick).unwrap();
    let failed = world.state.operation(operation(&answer)).unwrap().failed.clone().unwrap();
    assert!(failed.contains("withdrawn: node n0 cannot cut it: its pool is full up to its reserve;"), "{failed}");
}

#[test]
fn branch_points_are_told_with_the_volumes_that_go_on_from_them() {
    let mut world = world();
    say(&mut world, Standing { branch_points: 2, ..Standing::default() });
    assert_eq!(world.state.volume(&name("db")).unwrap().1.branch_points(), 2);
    let told = world.state.explain_volume(&name("db")).unwrap().join(" ");
    assert!(told.contains("It shares 2 deleted snapshots with volumes that began as them"), "{told}");
    say(&mut world, Standing::default());
    let told = world.state.explain_volume(&name("db")).unwrap().join(" ");
    assert!(!told.contains("deleted snapshots"), "{told}");
}

#[test]
fn only_what_was_made_of_something_else_is_a_loan() {
    let mut world = world();
    let lent = |value: &str| Labels::from([(LOAN_LABEL.to_owned(), value.to_owned())]);
    let modification = Modification { labels: Some(lent("0")), ..Modification::default() };
    world.apply(None, Change::ModifyVolume { volume: name("db"), modification }).unwrap();
    assert_eq!(world.state.loans().count(), 0, "it began as zeroes: only it has what is in it");
    snapshot(&mut world, "export-1", Labels::from([(LOAN_OF_LABEL.to_owned(), "copy-1".to_owned())]));
    world.round();
    let (id, _) = world.state.snapshot(&name("export-1")).unwrap();
    let orphan = Loan::Snapshot { id, name: name("export-1") };
    assert_eq!(world.state.loans().collect::<Vec<_>>(), std::slice::from_ref(&orphan), "its volume is not there yet");
    let spec = VolumeSpec { labels: lent("4"), ..VolumeSpec::default() };
    let source = Some(Source::Snapshot(name("export-1")));
    world.apply(None, Change::CreateVolume { name: name("copy-1"), size_bytes: 0, spec, source }).unwrap();
    let (id, _) = world.state.volume(&name("copy-1")).unwrap();
    let loan = Loan::Volume { id, name: name("copy-1"), renewed: "4".to_owned() };
    assert_eq!(world.state.loans().collect::<Vec<_>>(), [loan]);
    world.apply(None, Change::DeleteVolume { volume: name("copy-1"), force: true }).unwrap();
    assert_eq!(world.state.loans().collect::<Vec<_>>(), [orphan]);
}
