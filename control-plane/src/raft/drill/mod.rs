//! Several voters in one process, over loopback: they are killed, lose their disks, and come and go.

mod care;
mod failover;
mod replacement;
mod single;
mod size;
mod snapshot;
mod voter;

use std::time::{Duration, Instant};

use cluster::{Answer, Change, State, VolumeSpec};

use super::consensus::ProposeError;
use super::leadership::Leadership;
use voter::Voter;

/// Nothing in these tests takes longer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for something to come true, which it must.
fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) -> Duration {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "it took too long until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
    begun.elapsed()
}

/// A change that is seen in the state, and how to see it. It needs no storage node.
fn mark(number: u64) -> Change {
    let addresses = cluster::Addresses { peers: format!("mark:{number}"), nbd: Vec::new() };
    Change::Register { node: format!("n{number}").parse().unwrap(), addresses, labels: cluster::Labels::new() }
}

fn has_mark(state: &State, number: u64) -> bool {
    state.node(&format!("n{number}").parse().unwrap()).is_some()
}

/// The one that leads.
fn leader(voters: &[Voter]) -> usize {
    let mut found = None;
    wait_until("a voter leads", || {
        found = voters.iter().position(|voter| matches!(voter.leadership(), Some(Leadership::Here { .. })));
        found.is_some()
    });
    found.unwrap()
}

/// Asks one after the other until one of them does it.
fn propose(voters: &[Voter], change: &Change) -> Answer {
    let begun = Instant::now();
    loop {
        for voter in voters.iter().filter(|voter| voter.is_running()) {
            match voter.propose(change.clone()) {
                Ok(answer) => return answer,
                Err(ProposeError::Refused(refusal)) => panic!("{change:?} is refused: {refusal}"),
                Err(ProposeError::NotLeader { .. } | ProposeError::Unavailable(_)) => {}
            }
        }
        assert!(begun.elapsed() < PATIENCE, "nobody takes {change:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Voters 1 to `count`, all of them voting.
fn cluster_of(count: u64) -> Vec<Voter> {
    let mut voters = vec![Voter::found(1)];
    for id in 2..=count {
        voters.push(Voter::join(id));
        let address = voters.last().unwrap().address();
        voters[0].add(id, address).unwrap();
    }
    voters
}

/// A volume that no pool can take: the state answers, with words.
fn refused_change() -> Change {
    Change::CreateVolume { name: "db".parse().unwrap(), size_bytes: 1 << 30, spec: VolumeSpec::default(), source: None }
}
