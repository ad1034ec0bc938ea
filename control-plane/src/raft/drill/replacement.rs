//! Voters that lost their disks, and others in their place.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::voter::Voter;
use super::{Leadership, cluster_of, has_mark, leader, mark, propose, wait_until};
use crate::raft::{MembershipError, Start};

#[test]
fn a_voter_that_lost_its_disk_is_not_listened_to_and_is_replaced_while_work_goes_on() {
    let mut voters = cluster_of(3);
    let lead = leader(&voters);
    let lost = (lead + 1) % 3;
    let lost_id = voters[lost].id;
    for number in 0..30 {
        propose(&voters, &mark(number));
    }
    voters[lost].kill();
    voters[lost].wipe();
    voters[lost].start(Start::Join).unwrap();
    // It is there again, under its number and address, and knows nothing: the leader must not be fooled, nor fall.
    for number in 30..40 {
        propose(&voters[lead..=lead], &mark(number));
    }
    assert!(!voters[lost].read(|state| has_mark(state, 0)));
    assert!(matches!(voters[lost].leadership(), Some(Leadership::Nobody)));
    let silent = || voters[lead].voters().into_iter().find(|status| status.id == lost_id).unwrap();
    wait_until("the leader misses it", || silent().heard.is_some_and(|heard| heard > Duration::from_secs(1)));
    voters[lost].kill();

    let fresh = Voter::join(4);
    let (stop, done) = (AtomicBool::new(false), AtomicU64::new(40));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let number = done.load(Ordering::Relaxed);
                let begun = Instant::now();
                propose(&voters[lead..=lead], &mark(number));
                assert!(begun.elapsed() < Duration::from_secs(5), "work stood still for {:?}", begun.elapsed());
                done.store(number + 1, Ordering::Relaxed);
            }
        });
        voters[lead].remove(lost_id).unwrap();
        voters[lead].add(4, fresh.address()).unwrap();
        stop.store(true, Ordering::Relaxed);
    });
    let last = done.load(Ordering::Relaxed) - 1;
    assert!(last > 40);
    wait_until("the new voter has everything", || fresh.read(|state| has_mark(state, last)));
    let ids = |voter: &Voter| voter.voters().into_iter().map(|status| (status.id, status.votes)).collect::<Vec<_>>();
    let mut expected: Vec<_> = (1..=4).filter(|id| *id != lost_id).map(|id| (id, true)).collect();
    expected.sort_unstable();
    assert_eq!(ids(&voters[lead]), expected);
    // The new one counts: with the old leader gone it helps to elect another.
    voters[lead].kill();
    voters.push(fresh);
    propose(&voters, &mark(last + 1));
}

#[test]
fn a_change_that_would_leave_no_majority_is_refused() {
    let mut voters = cluster_of(3);
    let lead = leader(&voters);
    let (dead, alive) = ((lead + 1) % 3, (lead + 2) % 3);
    voters[dead].kill();
    let heard = || voters[lead].voters().into_iter().find(|status| status.id == voters[dead].id).unwrap().heard;
    wait_until("the leader misses it", || heard().is_some_and(|heard| heard > Duration::from_secs(2)));
    let error = voters[lead].remove(voters[alive].id).unwrap_err();
    assert!(matches!(error, MembershipError::NoMajority { voters: 2, answering: 1, .. }), "{error}");
    propose(&voters, &mark(1));
    voters[lead].remove(voters[dead].id).unwrap();
    assert_eq!(voters[lead].voters().len(), 2);
}

#[test]
fn a_leader_can_remove_itself() {
    let mut voters = cluster_of(3);
    let lead = leader(&voters);
    voters[lead].remove(voters[lead].id).unwrap();
    let gone = voters.remove(lead);
    propose(&voters, &mark(1));
    assert_eq!(voters[leader(&voters)].voters().len(), 2);
    wait_until("it knows that it leads no more", || !matches!(gone.leadership(), Some(Leadership::Here { .. })));
}

#[test]
fn one_store_does_not_vote_twice() {
    let voters = cluster_of(2);
    let error = voters[0].add(3, voters[1].address()).unwrap_err();
    assert!(error.to_string().contains("this is voter 2"), "{error}");
}

#[test]
fn a_founder_that_lost_its_disk_founds_no_second_cluster() {
    let mut voters = cluster_of(3);
    voters[0].kill();
    voters[0].wipe();
    voters[0].others = voters.iter().map(Voter::address).collect();
    // Also when one of the two that know better is away, and one that is new there knows nothing.
    voters[1].kill();
    voters[1].wipe();
    voters[1].start(Start::Join).unwrap();
    voters[0].start(Start::Bootstrap).unwrap();
    assert!(voters[0].read(|state| state.cluster().is_none()), "it waits");
}

#[test]
fn a_founder_of_a_new_number_joins_the_cluster_that_there_is() {
    let mut voters = cluster_of(3);
    voters[0].kill();
    let (lead, others) = (1 + leader(&voters[1..]), voters.iter().map(Voter::address).collect());
    let mut fresh = Voter::idle(4);
    fresh.others = others;
    fresh.others.remove(0);
    fresh.start(Start::Bootstrap).unwrap();
    voters[lead].remove(1).unwrap();
    voters[lead].add(4, fresh.address()).unwrap();
    propose(&voters[1..], &mark(1));
    wait_until("the new voter has everything", || fresh.read(|state| has_mark(state, 1)));
}

#[test]
fn a_cluster_is_founded_when_all_others_have_said_that_there_is_none() {
    let (second, mut third) = (Voter::join(2), Voter::join(3));
    third.kill();
    let mut founder = Voter::idle(1);
    founder.others = vec![second.address(), third.address()];
    std::thread::scope(|scope| {
        let founding = scope.spawn(|| founder.start(Start::Bootstrap));
        std::thread::sleep(Duration::from_secs(2));
        assert!(!founding.is_finished(), "the third has not said anything");
        third.start(Start::Join).unwrap();
        founding.join().unwrap().unwrap();
    });
    founder.add(2, second.address()).unwrap();
    // With a cluster in its folder nobody is asked.
    founder.kill();
    founder.start(Start::Bootstrap).unwrap();
    propose(&[founder, second], &mark(1));
}
