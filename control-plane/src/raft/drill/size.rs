//! Long commands.

use std::time::Instant;

use block::{PoolId, VolumeId};
use cluster::{Change, Generation, NodeReport, PoolReport, ReplicaReport, Replicas, Standing};

use super::voter::Voter;
use super::{cluster_of, mark, propose, wait_until};
use crate::raft::ProposeError;

/// A report of the node of the first mark.
fn report(replicas: u64) -> Change {
    let replica = |volume| ReplicaReport {
        volume: VolumeId(volume),
        size_bytes: 1 << 40,
        generation: Generation(1 << 20),
        standing: Standing::default(),
        snapshots: std::collections::BTreeMap::new(),
    };
    let pool = PoolReport {
        id: PoolId(1),
        capacity_bytes: 1 << 50,
        used_bytes: 0,
        tags: Vec::new(),
        failed: false,
        replicas: Replicas::All((1..=replicas).map(replica).collect()),
    };
    Change::Report { node: "n0".parse().unwrap(), report: NodeReport { pools: vec![pool], ..NodeReport::default() } }
}

#[test]
fn the_report_of_a_node_with_a_hundred_thousand_volumes_reaches_every_voter() {
    let voters = cluster_of(3);
    propose(&voters, &mark(0));
    let begun = Instant::now();
    propose(&voters, &report(100_000));
    println!("a report of 100000 replicas was answered after {:?}", begun.elapsed());
    let orphans = |voter: &Voter| voter.read(|state| state.pool(PoolId(1)).map_or(0, |pool| pool.orphans.len()));
    wait_until("every voter has it", || voters.iter().all(|voter| orphans(voter) == 100_000));
}

#[test]
fn a_command_that_no_message_holds_is_refused_in_words() {
    let voter = Voter::found(1);
    let error = voter.propose(report(1_000_000)).unwrap_err();
    assert!(matches!(&error, ProposeError::Unavailable(words) if words.contains("split it")), "{error}");
    voter.propose(mark(0)).unwrap();
}
