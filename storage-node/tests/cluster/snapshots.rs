//! Snapshots, clones and holds as the leader wants them.

use proto::link::{
    Hold, HoldState, Intent, Origin, ReplicaIntent, Seq, SnapshotDeletion, SnapshotIntent, SnapshotReport,
};

use crate::client::{Client, Replies};
use crate::intents::{VOLUME_BYTES, attached, change, export, pool_of, whole};
use crate::leader::{Leader, Stream};
use crate::member::Member;

fn wanted(id: u64, at: Option<Seq>) -> Vec<SnapshotIntent> {
    vec![SnapshotIntent { id, at, group: 0 }]
}

fn until_told(stream: &Stream, snapshots: usize) -> Vec<SnapshotReport> {
    let known = stream.until(|known| known.snapshots.get(&1).is_some_and(|told| told.len() == snapshots));
    known.snapshots[&1].clone()
}

#[test]
fn a_snapshot_is_cut_told_cloned_and_deleted() {
    let leader = Leader::new();
    let member = Member::new("n1", &leader);
    let stream = leader.stream();
    let pool = pool_of(&stream.report());
    stream.intend(whole(1, vec![attached(&pool, 1, 1)]));
    stream.until_holding(1, 1);
    let mut client = Client::open(member.nbd(), &export(1), Replies::Simple).expect("let in");
    client.write(4096, &[7; 8192]).unwrap();
    stream.intend(change(2, vec![ReplicaIntent { snapshots: wanted(5, None), ..attached(&pool, 1, 1) }]));
    let told = until_told(&stream, 1)[0];
    assert_eq!((told.id, told.size_bytes), (5, VOLUME_BYTES));
    client.write(4096, &[8; 8192]).unwrap();

    let origin = Some(Origin { snapshot: 5, at: told.at });
    stream.intend(change(3, vec![ReplicaIntent { origin, ..attached(&pool, 2, 1) }]));
    stream.until_holding(3, 2);
    let mut clone = Client::open(member.nbd(), &export(2), Replies::Simple).expect("let in");
    assert_eq!(clone.read(4096, 8192).unwrap(), [7; 8192]);

    let snapshot_deletions = vec![SnapshotDeletion { pool: pool.clone(), snapshot: 5 }];
    let replicas = vec![attached(&pool, 1, 1)];
    stream.intend(Intent { revision: 4, replicas, snapshot_deletions, ..Intent::default() });
    until_told(&stream, 0);
    assert_eq!(clone.read(4096, 8192).unwrap(), [7; 8192]);
    assert_eq!(client.read(4096, 8192).unwrap(), [8; 8192]);
}

#[test]
fn a_hold_is_told_of_and_ends_when_it_is_not_wanted_any_more() {
    let leader = Leader::new();
    let member = Member::new("n1", &leader);
    let stream = leader.stream();
    let pool = pool_of(&stream.report());
    stream.intend(whole(1, vec![attached(&pool, 1, 1)]));
    stream.until_holding(1, 1);
    let mut client = Client::open(member.nbd(), &export(1), Replies::Simple).expect("let in");
    client.write(0, &[7; 4096]).unwrap();
    let snapshots = vec![SnapshotIntent { id: 9, at: None, group: 3 }];
    let held = ReplicaIntent { hold: 3, snapshots, ..attached(&pool, 1, 1) };
    stream.intend(change(2, vec![held.clone()]));
    let is = |state: HoldState| Hold { group: 3, state: state.into() };
    stream.until(|known| known.holds.get(&1) == Some(&is(HoldState::Cut)));
    stream.intend(change(3, vec![ReplicaIntent { hold: 0, ..held.clone() }]));
    let known = stream.until(|known| known.holds.get(&1).is_some_and(|hold| *hold != is(HoldState::Cut)));
    // On a machine that is too slow its time is over before.
    assert!([is(HoldState::Released), is(HoldState::Broken)].contains(&known.holds[&1]), "{known:?}");
    client.write(0, &[8; 4096]).unwrap();
    assert_eq!(until_told(&stream, 1)[0].id, 9);
}
