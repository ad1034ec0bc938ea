//! The store against openraft's own suite, and against what disks, people and crashes do to it.

mod conformance;
mod damage;
mod fixture;
mod ownership;
mod size;

use std::path::Path;

use cluster::{Change, ClusterId, Command, State, Time};
use openraft::storage::{RaftLogStorage, RaftLogStorageExt, RaftStateMachine};
use openraft::testing::log_id;
use openraft::{EntryPayload, LogId, RaftLogReader, RaftSnapshotBuilder, Vote};

use super::{Store, StoreError};
use crate::raft::Entry;

/// The voter of these tests.
const VOTER: u64 = 1;

fn entry(index: u64, change: Change) -> Entry {
    let command = Command { at: Time(index), request: None, change };
    Entry { log_id: log_id(3, VOTER, index), payload: EntryPayload::Normal(command) }
}

/// The first founds the cluster, the others are refused: what they do does not matter here.
fn entries(range: std::ops::Range<u64>) -> Vec<Entry> {
    let change = |index| match index {
        0 => Change::Found { cluster: ClusterId(7) },
        _ => Change::Lose { node: format!("n{index}").parse().unwrap() },
    };
    range.map(|index| entry(index, change(index))).collect()
}

/// All that a store holds.
#[derive(Clone, PartialEq, Debug)]
struct Held {
    vote: Option<Vote<u64>>,
    committed: Option<LogId<u64>>,
    purged: Option<LogId<u64>>,
    entries: Vec<Entry>,
    state: State,
    applied: Option<LogId<u64>>,
}

/// Reads all of it.
fn held(folder: &Path) -> Result<Held, StoreError> {
    let store = Store::open(folder, VOTER)?;
    let (mut log, mut machine) = (store.log(), store.machine()?);
    let runtime = runtime();
    Ok(runtime.block_on(async {
        Held {
            vote: log.read_vote().await.unwrap(),
            committed: log.read_committed().await.unwrap(),
            purged: log.get_log_state().await.unwrap().last_purged_log_id,
            entries: log.try_get_log_entries(..).await.unwrap(),
            state: machine.shared().read(State::clone),
            applied: machine.applied_state().await.unwrap().0,
        }
    }))
}

/// A store as a voter leaves it: entries, a snapshot, what is behind it purged, and entries after it.
fn fill(folder: &Path) {
    let store = Store::open(folder, VOTER).unwrap();
    let (mut log, mut machine) = (store.log(), store.machine().unwrap());
    runtime().block_on(async {
        log.save_vote(&Vote::new_committed(3, VOTER)).await.unwrap();
        log.blocking_append(entries(0..30)).await.unwrap();
        log.save_committed(Some(log_id(3, VOTER, 29))).await.unwrap();
        machine.apply(entries(0..20)).await.unwrap();
        machine.get_snapshot_builder().await.build_snapshot().await.unwrap();
        log.purge(log_id(3, VOTER, 9)).await.unwrap();
        log.blocking_append(entries(30..34)).await.unwrap();
        log.truncate(log_id(3, VOTER, 33)).await.unwrap();
        log.save_vote(&Vote::new(4, VOTER)).await.unwrap();
    });
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

#[test]
fn a_store_that_is_opened_again_holds_what_it_held() {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path());
    let first = held(folder.path()).unwrap();
    assert_eq!(first.vote, Some(Vote::new(4, VOTER)));
    assert_eq!(first.committed, Some(log_id(3, VOTER, 29)));
    assert_eq!(first.purged, Some(log_id(3, VOTER, 9)));
    assert_eq!(first.entries, entries(10..33));
    assert_eq!(first.applied, Some(log_id(3, VOTER, 19)));
    assert_eq!(first.state.cluster(), Some(ClusterId(7)));
    assert_eq!(held(folder.path()).unwrap(), first);
}
