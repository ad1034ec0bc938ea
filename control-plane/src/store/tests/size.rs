//! A cluster of the size that is promised.

use std::time::{Duration, Instant};

use block::PoolId;
use cluster::{Addresses, Change, Labels, NodeReport, PoolReport, Replicas, State, VolumeSpec};
use openraft::storage::{RaftLogStorage, RaftLogStorageExt, RaftStateMachine};
use openraft::testing::log_id;
use openraft::{RaftSnapshotBuilder, StorageHelper};

use super::{VOTER, entry, runtime};
use crate::raft::Entry;
use crate::store::Store;

const VOLUMES: u64 = 10_000;
const GIB: u64 = 1 << 30;

/// A node with a large pool, and volumes on it.
fn history() -> Vec<Entry> {
    let node: cluster::Name = "n1".parse().unwrap();
    let pool = PoolReport {
        id: PoolId(1),
        capacity_bytes: 64 * VOLUMES * GIB,
        used_bytes: 0,
        tags: Vec::new(),
        failed: false,
        replicas: Replicas::All(Vec::new()),
    };
    let report = NodeReport { pools: vec![pool], ..NodeReport::default() };
    let register = Change::Register { node: node.clone(), addresses: Addresses::default(), labels: Labels::new() };
    let create = |number| Change::CreateVolume {
        name: format!("volume-{number}").parse().unwrap(),
        size_bytes: GIB,
        spec: VolumeSpec { description: "made by a test".to_owned(), ..VolumeSpec::default() },
        source: None,
    };
    let changes = [register, Change::Report { node, report }].into_iter().chain((0..VOLUMES).map(create));
    (0..).zip(changes).map(|(index, change)| entry(index, change)).collect()
}

#[test]
fn ten_thousand_volumes_are_kept_and_there_again_within_five_seconds() {
    let folder = tempfile::tempdir().unwrap();
    let (history, last) = (history(), log_id(3, VOTER, VOLUMES + 1));
    let store = Store::open(folder.path(), VOTER).unwrap();
    let (mut log, mut machine) = (store.log(), store.machine().unwrap());
    let runtime = runtime();
    let begun = Instant::now();
    runtime.block_on(async {
        log.blocking_append(history.clone()).await.unwrap();
        log.save_committed(Some(last)).await.unwrap();
        machine.apply(history[..5000].to_vec()).await.unwrap();
    });
    let applied = begun.elapsed();
    let begun = Instant::now();
    runtime.block_on(async {
        machine.get_snapshot_builder().await.build_snapshot().await.unwrap();
        machine.apply(history[5000..].to_vec()).await.unwrap();
    });
    let kept = begun.elapsed();
    let state = machine.shared().read(State::clone);
    drop((store, log, machine));
    // Half of it from the snapshot, half from the log: the most there is to do.
    let begun = Instant::now();
    let store = Store::open(folder.path(), VOTER).unwrap();
    let (mut log, mut machine) = (store.log(), store.machine().unwrap());
    runtime.block_on(async { StorageHelper::new(&mut log, &mut machine).get_initial_state().await.unwrap() });
    let restarted = begun.elapsed();
    println!("{VOLUMES} volumes: applied in {applied:?}, snapshot in {kept:?}, restart in {restarted:?}");
    assert!(machine.shared().read(|found| found.contents() == state.contents()));
    assert_eq!(machine.shared().read(State::volume_count) as u64, VOLUMES);
    assert!(kept < Duration::from_secs(5) && restarted < Duration::from_secs(5), "{kept:?}, {restarted:?}");
}
