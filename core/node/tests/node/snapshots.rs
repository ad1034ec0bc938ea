//! Snapshots, clones and holds of a volume that has no other replicas.

use std::time::Duration;

use block::{SnapshotId, VolumeId, WriteSeq};
use node::{CutRefusal, HoldState, Intent, Origin, ReplicaIntent, SnapshotIntent, SnapshotsIntent};

use crate::rig::{MIB, Rig};
use crate::wanted::{change, cut, deletion, replica, replica_of, whole};
use crate::wire::{FLUSH, READ, Request};

fn open(replica: ReplicaIntent) -> ReplicaIntent {
    ReplicaIntent { open: true, ..replica }
}

fn with(snapshots: SnapshotsIntent) -> ReplicaIntent {
    ReplicaIntent { snapshots, ..open(replica()) }
}

fn told(rig: &Rig, volume: u64) -> Vec<(u64, WriteSeq)> {
    rig.observed(volume).unwrap().snapshots.iter().map(|found| (found.id.0, found.at)).collect()
}

fn delete(revision: u64, snapshot: u64) -> Intent {
    Intent { revision, snapshot_deletions: vec![SnapshotId(snapshot)], ..Intent::default() }
}

/// A volume with a snapshot of sevens, number 3, and eights in it now.
fn with_snapshot() -> (Rig, WriteSeq) {
    let mut rig = Rig::intended(128 * MIB);
    rig.intend(whole(1, vec![open(replica())]));
    let peer = rig.connect();
    rig.write(peer, 0, &[7; 4096]);
    rig.intend(change(2, vec![with(cut(&[(3, None)]))]));
    rig.write(peer, 0, &[8; 4096]);
    let at = told(&rig, 1)[0].1;
    rig.intend(change(3, vec![with(cut(&[(3, Some(at))]))]));
    (rig, at)
}

#[test]
fn a_snapshot_is_told_of_when_it_is_durable_and_is_gone_when_that_is() {
    let mut rig = Rig::intended(128 * MIB);
    rig.intend(whole(1, vec![open(replica())]));
    rig.disk_runs = false;
    rig.intend(change(2, vec![with(cut(&[(3, None)]))]));
    assert_eq!(told(&rig, 1), []);
    let news = rig.news;
    rig.disk_runs = true;
    rig.run();
    assert!(rig.news > news, "the control plane is told");
    let found = told(&rig, 1);
    assert_eq!(found.len(), 1);
    let mut rig = rig.restarted();
    rig.intend(whole(1, vec![open(replica())]));
    assert_eq!(told(&rig, 1), found);
    rig.disk_runs = false;
    rig.intend(delete(2, 3));
    assert_eq!(told(&rig, 1), found, "until its deletion is durable, it may come back");
    rig.disk_runs = true;
    rig.run();
    assert_eq!(told(&rig, 1), []);
    rig.assert_idle();
}

#[test]
fn a_clone_is_made_of_the_snapshot_that_was_meant_and_is_never_empty() {
    let (mut rig, at) = with_snapshot();
    let origin = |n| Some(Origin { snapshot: SnapshotId(3), at: WriteSeq { n, ..at } });
    let clone = |n| ReplicaIntent {
        size_bytes: 8 * MIB,
        snapshots: SnapshotsIntent { origin: origin(n), ..SnapshotsIntent::default() },
        ..open(replica_of(2, "c"))
    };
    rig.intend(change(4, vec![clone(at.n + 1)]));
    assert!(rig.observed(2).is_none(), "another one of that number is another one");
    rig.intend(change(5, vec![clone(at.n)]));
    let peer = rig.connect_to("c", false);
    assert_eq!((rig.read(peer, 0, 4096), rig.read(peer, 5 << 20, 4096)), (vec![7; 4096], vec![0; 4096]));
    rig.write(peer, 0, &[9; 4096]);
    let state = rig.node.store().volume(VolumeId(2)).unwrap();
    assert_eq!(state.stable, at, "so far it is what everybody has who cloned the same");
    assert!(state.last_seq > at, "its changes come behind");
    rig.intend(delete(6, 3));
    assert_eq!(rig.read(peer, 4096, 4096), [0; 4096]);
    let mut rig = rig.restarted();
    rig.intend(whole(1, vec![clone(at.n)]));
    let peer = rig.connect_to("c", false);
    assert_eq!(rig.read(peer, 0, 4096), [9; 4096]);
}

#[test]
fn a_deleted_replica_takes_its_snapshots_with_it() {
    let (mut rig, _) = with_snapshot();
    rig.intend(deletion(4, 1));
    assert_eq!(rig.node.observation().replicas, []);
    assert_eq!(rig.node.store().snapshots().count(), 0);
}

fn held(group: u64, snapshot: u64) -> SnapshotsIntent {
    let wanted = vec![SnapshotIntent { id: SnapshotId(snapshot), at: None, group }];
    SnapshotsIntent { wanted, hold: group, ..SnapshotsIntent::default() }
}

fn state(rig: &Rig) -> HoldState {
    rig.observed(1).unwrap().hold.unwrap().state
}

#[test]
fn nothing_is_acknowledged_while_a_volume_holds_and_all_of_it_afterwards() {
    let mut rig = Rig::intended(128 * MIB);
    rig.intend(whole(1, vec![open(replica())]));
    let peer = rig.connect();
    let wanted = SnapshotsIntent { wanted: Vec::new(), ..held(5, 3) };
    rig.intend(change(2, vec![with(wanted)]));
    assert_eq!(state(&rig), HoldState::Held);
    let asked = [Request::write(0, &[7; 4096]), Request::new(FLUSH, 0, 0), Request::new(READ, 0, 4096)];
    let asked = asked.map(|request| rig.ask(peer, &request));
    rig.run();
    assert!(asked.iter().all(|cookie| rig.reply(peer, *cookie).is_none()));
    rig.intend(change(3, vec![with(held(5, 3))]));
    rig.wait(Duration::from_millis(20));
    assert_eq!((state(&rig), told(&rig, 1).len()), (HoldState::Cut, 1));
    let (after, before) = (rig.ask(peer, &Request::write(0, &[8; 4096])), told(&rig, 1));
    rig.run();
    rig.intend(change(4, vec![with(cut(&[(3, Some(before[0].1))]))]));
    assert_eq!(state(&rig), HoldState::Released);
    assert!(asked.iter().chain([&after]).all(|cookie| rig.reply(peer, *cookie).is_some_and(|reply| reply.error == 0)));
    let mut alone = Rig::on(rig.disk, crate::rig::config());
    assert_eq!(alone.snapshot_content(3)[..4096], [7; 4096]);
}

#[test]
fn a_hold_ends_by_itself_is_not_begun_again_and_nothing_is_cut_for_it_any_more() {
    let mut rig = Rig::intended(128 * MIB);
    rig.intend(whole(1, vec![open(replica())]));
    let peer = rig.connect();
    let wanted = SnapshotsIntent { wanted: Vec::new(), ..held(5, 3) };
    rig.intend(change(2, vec![with(wanted)]));
    let asked = rig.ask(peer, &Request::write(0, &[7; 4096]));
    rig.wait(Duration::from_millis(190));
    assert_eq!(rig.reply(peer, asked), None);
    rig.wait(Duration::from_millis(20));
    assert_eq!(rig.reply(peer, asked).unwrap().error, 0);
    assert_eq!(state(&rig), HoldState::Broken);
    rig.intend(change(3, vec![with(held(5, 3))]));
    rig.wait(Duration::from_millis(300));
    assert_eq!((state(&rig), told(&rig, 1)), (HoldState::Broken, vec![]));
    rig.intend(change(4, vec![with(held(6, 3))]));
    rig.wait(Duration::from_millis(20));
    assert_eq!((state(&rig), told(&rig, 1).len()), (HoldState::Cut, 1), "another group is another matter");
    rig.wait(Duration::from_millis(300));
    assert_eq!(state(&rig), HoldState::Broken, "it was not released in time");
}

#[test]
fn a_volume_that_is_retired_keeps_what_its_snapshots_hold_and_lets_nobody_in() {
    let (mut rig, at) = with_snapshot();
    let peer = rig.connect();
    rig.write(peer, 3 << 20, &[9; 65_536]);
    let retired = SnapshotsIntent { retired: true, ..cut(&[(3, Some(at))]) };
    rig.intend(change(4, vec![with(retired)]));
    rig.wait(Duration::from_millis(50));
    assert!(rig.peers[peer].closed, "its clients go");
    assert!(rig.connect_to("v", false) > 0 && rig.peers.last().unwrap().listener.export.is_none());
    let mut alone = Rig::on(rig.disk, crate::rig::config());
    let expected: Vec<u8> = [vec![7; 4096], vec![0; (4 << 20) - 4096]].concat();
    assert!(alone.snapshot_content(3) == expected);
    let peer = alone.connect_to("v@1", false);
    assert!(alone.content(peer).iter().all(|byte| *byte == 0));
}

#[test]
fn what_a_snapshot_takes_is_told_and_told_anew_when_it_changed() {
    let (mut rig, _) = with_snapshot();
    let wait = |rig: &mut Rig| (0..130).for_each(|_| rig.wait(Duration::from_millis(100)));
    wait(&mut rig);
    let space = |rig: &Rig| {
        let found = rig.observed(1).unwrap().snapshots[0];
        (found.exclusive_bytes, found.shared_bytes)
    };
    assert_eq!(space(&rig), (4096, 0), "the volume has something else there");
    wait(&mut rig);
    let peer = rig.connect();
    rig.write(peer, 4096, &[5; 8192]);
    let wanted = vec![(3, None), (4, None)];
    rig.intend(change(5, vec![with(cut(&wanted))]));
    wait(&mut rig);
    let found = rig.observed(1).unwrap().snapshots;
    assert_eq!((found[1].exclusive_bytes, found[1].shared_bytes), (0, 12_288));
}

#[test]
fn a_deleted_snapshot_that_two_volumes_go_on_from_is_told_as_a_branch_point() {
    let (mut rig, at) = with_snapshot();
    let branch_points = |rig: &Rig, volume| rig.observed(volume).unwrap().branch_points;
    let origin = Some(Origin { snapshot: SnapshotId(3), at });
    let snapshots = SnapshotsIntent { origin, ..SnapshotsIntent::default() };
    rig.intend(change(4, vec![ReplicaIntent { snapshots, ..open(replica_of(2, "c")) }]));
    assert_eq!((branch_points(&rig, 1), branch_points(&rig, 2)), (0, 0), "it has a name");
    rig.intend(delete(5, 3));
    assert_eq!((branch_points(&rig, 1), branch_points(&rig, 2)), (1, 1));
    let mut rig = rig.restarted();
    assert_eq!((branch_points(&rig, 1), branch_points(&rig, 2)), (1, 1));
    rig.intend(deletion(6, 1));
    rig.run();
    assert_eq!(branch_points(&rig, 2), 0, "one goes on from it");
}

#[test]
fn why_a_snapshot_is_not_cut_is_told() {
    let mut rig = Rig::intended(128 * MIB);
    rig.intend(whole(1, vec![open(replica())]));
    let peer = rig.connect();
    rig.write(peer, 0, &[7; 4096]);
    assert_eq!(rig.observed(1).unwrap().cut_refused, None);
    rig.disk.writes_fail = true;
    rig.call(peer, &Request::write(0, &[8; 4096]));
    let news = rig.news;
    rig.intend(change(2, vec![with(cut(&[(3, None)]))]));
    assert_eq!(rig.observed(1).unwrap().cut_refused, Some(CutRefusal::PoolFailed));
    assert!(rig.news > news, "the control plane is told");
    rig.intend(change(3, vec![with(cut(&[]))]));
    assert_eq!(rig.observed(1).unwrap().cut_refused, None, "it is not wanted any more");
}
