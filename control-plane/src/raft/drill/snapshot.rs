//! Who is too far behind gets a snapshot.

use super::voter::Voter;
use super::{has_mark, mark, propose, wait_until};
use crate::raft::Start;

/// Entries between two snapshots in these tests.
const OFTEN: u64 = 50;

fn purged(voter: &Voter) -> u64 {
    voter.consensus().raft.metrics().borrow().purged.map_or(0, |purged| purged.index)
}

#[test]
fn a_new_voter_gets_a_snapshot_when_the_log_is_purged() {
    let first = Voter::new(1, Start::Bootstrap, OFTEN);
    let founders = [first];
    for number in 0..4 * OFTEN {
        propose(&founders, &mark(number));
    }
    wait_until("the log is purged", || purged(&founders[0]) > OFTEN);
    let mut second = Voter::new(2, Start::Join, OFTEN);
    founders[0].add(2, second.address()).unwrap();
    wait_until("it has everything", || second.read(|state| has_mark(state, 4 * OFTEN - 1)));
    assert!((0..4 * OFTEN).all(|number| second.read(|state| has_mark(state, number))));
    assert_eq!(
        second.read(|state| state.contents().clone()),
        founders[0].read(|state| state.contents().clone()),
        "all that was applied here and what was received there are the same"
    );
    // What it received is on its disk.
    second.kill();
    second.start(Start::Join).unwrap();
    assert!(second.read(|state| has_mark(state, 0)));
    propose(&founders, &mark(4 * OFTEN));
    wait_until("it goes on", || second.read(|state| has_mark(state, 4 * OFTEN)));
}

#[test]
fn a_voter_that_was_away_for_long_gets_a_snapshot() {
    let mut voters = vec![
        Voter::new(1, Start::Bootstrap, OFTEN),
        Voter::new(2, Start::Join, OFTEN),
        Voter::new(3, Start::Join, OFTEN),
    ];
    for index in 1..3 {
        let (id, address) = (voters[index].id, voters[index].address());
        voters[0].add(id, address).unwrap();
    }
    propose(&voters, &mark(0));
    voters[2].kill();
    for number in 1..4 * OFTEN {
        propose(&voters, &mark(number));
    }
    wait_until("the log is purged", || purged(&voters[0]) > OFTEN || purged(&voters[1]) > OFTEN);
    voters[2].start(Start::Join).unwrap();
    wait_until("it has everything", || voters[2].read(|state| has_mark(state, 4 * OFTEN - 1)));
    assert!((0..4 * OFTEN).all(|number| voters[2].read(|state| has_mark(state, number))));
}

#[test]
fn a_restart_begins_with_the_snapshot() {
    let mut voter = Voter::new(1, Start::Bootstrap, OFTEN);
    for number in 0..4 * OFTEN {
        voter.propose(mark(number)).unwrap();
    }
    wait_until("the log is purged", || purged(&voter) > OFTEN);
    let before = voter.read(|state| state.contents().clone());
    voter.kill();
    voter.start(Start::Bootstrap).unwrap();
    assert_eq!(voter.read(|state| state.contents().clone()), before);
}
