//! What nodes cost when nobody asks them for anything.

use std::thread;
use std::time::Duration;

use crate::copies::group::Group;
use crate::leader::Leader;
use crate::member::{Member, eventually};

/// How long nodes are watched.
const WINDOW: Duration = Duration::from_secs(2);

/// Turns and system calls of data threads in a second.
fn rates(members: &[&Member]) -> Vec<(u64, u64)> {
    let measure = || -> Vec<_> { members.iter().map(|member| member.figures().turns).collect() };
    let before = measure();
    thread::sleep(WINDOW);
    let rate = |count: u64| count / WINDOW.as_secs();
    let after = measure();
    after.iter().zip(before).map(|(now, then)| (rate(now.turns - then.turns), rate(now.enters - then.enters))).collect()
}

/// Watches nodes, at first busy with their start, until each has made no more turns and system calls in a second.
fn until_quiet(members: &[&Member], limit: u64) {
    eventually("nodes are quiet", || {
        let rates = rates(members);
        rates.iter().all(|(turns, enters)| *turns <= limit && *enters <= limit)
    });
}

#[test]
fn a_node_without_replicated_volumes_sleeps() {
    let leader = Leader::new();
    let member = Member::new("n1", &leader);
    leader.stream().report();
    // The look at what it holds is one, the question how many there were another.
    until_quiet(&[&member], 2);
}

#[test]
fn nodes_with_an_idle_replicated_volume_wake_for_heartbeats_only() {
    let group = Group::new(3, 2);
    // The control plane of these tests asks all the time.
    group.plane.world().nodes.clear();
    let members: Vec<_> = (0..3).map(|node| group.member(node)).collect();
    // Five times a second the primary asks two others, and says to each that it is there; and all of that is answered.
    until_quiet(&members, 40);
}
