//! A leader dies.

use std::time::{Duration, Instant};

use super::voter::Voter;
use super::{Leadership, cluster_of, has_mark, leader, mark, propose, wait_until};
use crate::raft::{MembershipError, ProposeError, Start};

#[test]
fn a_new_leader_answers_within_two_seconds_of_the_death_of_the_old_one() {
    let mut voters = cluster_of(3);
    let mut number = 0;
    for round in 0..3 {
        for _ in 0..20 {
            propose(&voters, &mark(number));
            number += 1;
        }
        let dead = leader(&voters);
        voters[dead].kill();
        let begun = Instant::now();
        propose(&voters, &mark(number));
        number += 1;
        let silence = begun.elapsed();
        println!("round {round}: a new leader answered after {silence:?}");
        // A split vote costs another round; the machine that tests run on may be busy.
        assert!(silence < Duration::from_secs(4), "a new leader answered after {silence:?}");
        voters[dead].start(Start::Join).unwrap();
        wait_until("the restarted voter has caught up", || voters[dead].read(|state| has_mark(state, number - 1)));
        for seen in 0..number {
            assert!(voters.iter().all(|voter| voter.read(|state| has_mark(state, seen))), "mark {seen} is lost");
        }
    }
}

#[test]
fn a_follower_says_who_leads_and_takes_nothing() {
    let voters = cluster_of(2);
    let follower = &voters[1];
    wait_until("the follower knows the leader", || matches!(follower.leadership(), Some(Leadership::There { .. })));
    let Err(ProposeError::NotLeader { leader: Some((id, voter)) }) = follower.propose(mark(1)) else {
        panic!("it follows");
    };
    assert_eq!((id, voter.address), (1, voters[0].address()));
    assert!(matches!(follower.linearize(), Err(ProposeError::NotLeader { leader: Some((1, _)) })));
    assert!(matches!(follower.remove(1), Err(MembershipError::NotLeader { leader: Some((1, _)) })));
}

#[test]
fn a_leader_without_a_majority_says_so_and_promises_nothing() {
    let mut voters = cluster_of(3);
    let lonely = leader(&voters);
    for index in (0..3).filter(|index| *index != lonely) {
        voters[index].kill();
    }
    wait_until("it notices", || matches!(voters[lonely].leadership(), Some(Leadership::Nobody)));
    let refused = voters[lonely].linearize().unwrap_err();
    assert!(matches!(refused, ProposeError::Unavailable(_) | ProposeError::NotLeader { .. }), "{refused}");
    let others: Vec<usize> = (0..3).filter(|index| *index != lonely).collect();
    voters[others[0]].start(Start::Join).unwrap();
    propose(&voters, &mark(1));
}

#[test]
fn statuses_tell_who_is_silent_and_who_lags() {
    let mut voters = cluster_of(3);
    let lead = leader(&voters);
    let dead = (lead + 1) % 3;
    let dead_id = voters[dead].id;
    voters[dead].kill();
    for number in 0..10 {
        propose(&voters[lead..=lead], &mark(number));
    }
    let status = |voters: &[Voter]| voters[lead].voters().into_iter().find(|status| status.id == dead_id).unwrap();
    wait_until("it is silent", || status(&voters).heard.is_some_and(|heard| heard > Duration::from_secs(1)));
    assert!(status(&voters).lag >= 10, "{:?}", status(&voters));
    voters[dead].start(Start::Join).unwrap();
    wait_until("it has caught up", || status(&voters).lag == 0);
    wait_until("it is heard", || status(&voters).heard.is_some_and(|heard| heard < Duration::from_secs(1)));
}
