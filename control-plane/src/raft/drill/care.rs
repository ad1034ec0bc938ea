//! What a leader sees to by itself.

use std::collections::{BTreeMap, BTreeSet};

use cluster::ClusterId;
use openraft::storage::{RaftLogStorage, RaftLogStorageExt};
use openraft::testing::log_id;
use openraft::{EntryPayload, Membership, Vote};

use super::voter::Voter;
use super::{mark, wait_until};
use crate::raft::{Entry, Start, Voter as Member};
use crate::store::Store;

/// The leader that began to change the voters died between the two steps.
#[test]
fn a_change_of_voters_that_was_begun_is_finished_by_the_next_leader() {
    let mut voter = Voter::idle(1);
    let store = Store::open(&voter.data(), 1).unwrap();
    let member = Member { address: voter.address(), store: store.identity.store };
    let both = vec![BTreeSet::from([1]), BTreeSet::from([1])];
    let entry = |index, configurations| Entry {
        log_id: log_id(1, 1, index),
        payload: EntryPayload::Membership(Membership::new(configurations, BTreeMap::from([(1, member.clone())]))),
    };
    let mut log = store.log();
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
        store.adopt(ClusterId(7)).await.unwrap();
        log.save_vote(&Vote::new_committed(1, 1)).await.unwrap();
        log.blocking_append([entry(0, vec![BTreeSet::from([1])]), entry(1, both)]).await.unwrap();
    });
    drop((store, log));
    voter.start(Start::Join).unwrap();
    let configurations = || {
        let metrics = voter.consensus().raft.metrics();
        let metrics = metrics.borrow();
        metrics.membership_config.membership().get_joint_config().len()
    };
    wait_until("the change is finished", || configurations() == 1);
    voter.propose(mark(1)).unwrap();
}

#[test]
fn a_voter_that_moved_says_so_when_it_leads() {
    let mut voter = Voter::found(1);
    let before = voter.address();
    voter.kill();
    voter.move_away();
    voter.start(Start::Bootstrap).unwrap();
    assert_ne!(voter.address(), before);
    wait_until("the others would find it", || voter.voters()[0].address == voter.address());
}
