//! A voter alone.

use std::time::{Duration, Instant};

use cluster::{Change, ClusterId, Refusal, State};

use super::voter::Voter;
use super::{Leadership, ProposeError, has_mark, mark, refused_change};
use crate::raft::{MembershipError, Start};

#[test]
fn a_new_voter_founds_a_cluster_and_leads_it() {
    let voter = Voter::found(1);
    let cluster = voter.read(State::cluster);
    assert!(cluster.is_some());
    assert!(matches!(voter.leadership(), Some(Leadership::Here { .. })));
    assert_ne!(cluster, Voter::found(1).read(State::cluster), "every cluster has an id of its own");
    let again = voter.propose(Change::Found { cluster: ClusterId(0) });
    assert!(matches!(again, Err(ProposeError::Refused(Refusal::Founded(_)))), "{again:?}");
}

#[test]
fn what_was_answered_is_there_at_once_after_a_restart() {
    for ends_well in [true, false] {
        let mut voter = Voter::found(1);
        for number in 0..20 {
            voter.propose(mark(number)).unwrap();
        }
        let (before, revision) = (voter.read(State::clone), *voter.consensus().revisions().borrow());
        if ends_well {
            voter.stop();
        } else {
            voter.kill();
        }
        let begun = Instant::now();
        voter.start(Start::Bootstrap).unwrap();
        assert_eq!(voter.read(|state| state.contents().clone()), *before.contents());
        assert_eq!(*voter.consensus().revisions().borrow(), revision);
        voter.linearize().unwrap();
        voter.propose(mark(20)).unwrap();
        let elapsed = begun.elapsed();
        assert!(elapsed < Duration::from_secs(2), "a lone voter waits for nobody: {elapsed:?}");
        assert!(voter.read(|state| has_mark(state, 20)));
    }
}

#[test]
fn a_refusal_comes_back_in_words_and_changes_nothing() {
    let voter = Voter::found(1);
    let revision = *voter.consensus().revisions().borrow();
    let refused = voter.propose(refused_change()).unwrap_err();
    assert!(refused.to_string().contains("no node has registered a pool"), "{refused}");
    assert_eq!(*voter.consensus().revisions().borrow(), revision);
}

#[test]
fn revisions_are_raised_after_the_change_can_be_seen() {
    let voter = Voter::found(1);
    let mut revisions = voter.consensus().revisions();
    revisions.mark_unchanged();
    voter.propose(mark(1)).unwrap();
    assert!(revisions.has_changed().unwrap());
    assert_eq!(*revisions.borrow_and_update(), voter.read(State::revision));
}

#[test]
fn the_last_voter_cannot_be_removed_nor_one_that_is_not_there() {
    let voter = Voter::found(1);
    assert_eq!(voter.remove(1), Err(MembershipError::Last(1)));
    assert_eq!(voter.remove(9), Err(MembershipError::NoSuchVoter(9)));
    let [status] = &voter.voters()[..] else { panic!("there is one") };
    assert_eq!((status.id, status.votes, status.heard, status.lag), (1, true, Some(Duration::ZERO), 0));
}

#[test]
fn nobody_is_added_who_does_not_answer_or_belongs_elsewhere() {
    let (voter, other) = (Voter::found(1), Voter::found(2));
    let silent = voter.add(2, "127.0.0.1:1".to_owned()).unwrap_err();
    assert!(matches!(silent, MembershipError::Silent { id: 2, .. }), "{silent}");
    let elsewhere = voter.add(2, other.address()).unwrap_err();
    assert!(matches!(elsewhere, MembershipError::OtherCluster { .. }), "{elsewhere}");
    let misnamed = voter.add(3, other.address()).unwrap_err();
    assert!(misnamed.to_string().contains("this is voter 2, and the message is for voter 3"), "{misnamed}");
    let there = voter.add(1, other.address()).unwrap_err();
    assert!(matches!(there, MembershipError::Exists { id: 1, .. }), "{there}");
    assert_eq!(voter.voters().len(), 1);
}

#[test]
fn another_voters_folder_is_refused() {
    let mut voter = Voter::found(2);
    voter.kill();
    voter.id = 3;
    let error = voter.start(Start::Bootstrap).unwrap_err();
    assert!(error.to_string().contains("is the store of voter 2, not of voter 3"), "{error}");
}
