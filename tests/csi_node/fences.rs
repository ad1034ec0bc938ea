//! A node that lost its volume changes nothing of it, and can clean up after itself.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use proto::csi::volume_capability::access_mode::Mode;
use rustix::process::{Pid, Signal, kill_process};
use tests::cluster::Cluster;
use tests::skip::skip;
use tests::wait;
use tests::writer::whole;
use tonic::Code;

use crate::plugin::{Node, block, in_mode, lacking, mount};

/// Longest time in which a volume of a dead node is at another one, if nothing else is to be done.
const ELSEWHERE_MAX: Duration = Duration::from_secs(10);

#[test]
fn a_late_stage_does_not_bring_a_volume_back() {
    if let Some(what) = lacking() {
        return skip("a_late_stage_does_not_bring_a_volume_back", what);
    }
    let cluster = Cluster::on_loopback();
    cluster.run(&["volume", "create", "db", "--size", "64MiB"]);
    let (first, second) = (Node::start(&cluster, "node-a"), Node::start(&cluster, "node-b"));
    first.give("db");
    let refused = second.caller().stage("db").unwrap_err();
    assert!(refused.code() == Code::FailedPrecondition && refused.message().contains("node-b"), "{refused}");
    first.take("db");
    assert_eq!(first.caller().stage("db").unwrap_err().code(), Code::FailedPrecondition);
    second.give("db");
    second.caller().stage("db").unwrap();
    assert_eq!(first.caller().stage("db").unwrap_err().code(), Code::FailedPrecondition);
    second.caller().unstage("db").unwrap();
    first.is_clean();
    second.is_clean();
}

#[test]
fn what_a_fenced_node_writes_late_changes_nothing() {
    if let Some(what) = lacking() {
        return skip("what_a_fenced_node_writes_late_changes_nothing", what);
    }
    let cluster = Cluster::on_loopback();
    cluster.run(&["volume", "create", "db", "--size", "64MiB", "--replicas", "3"]);
    whole(&cluster);
    let (first, second) = (Node::start(&cluster, "node-a"), Node::start(&cluster, "node-b"));
    first.give("db");
    first.caller().stage_as("db", block(), &[]).unwrap();
    first.caller().publish_as("db", "pod", block(), false).unwrap();
    // Not at the target: a program that has the device open would hang at its end, as long as that hangs.
    let late = File::options().write(true).open(first.device("db")).unwrap();
    late.write_all_at(&[1; 4096], 0).unwrap();
    late.sync_all().unwrap();
    first.take("db");
    second.give("db");
    second.caller().stage_as("db", block(), &[]).unwrap();
    second.caller().publish_as("db", "pod", block(), false).unwrap();
    let device = File::options().read(true).write(true).open(second.caller().target("pod")).unwrap();
    // It goes to the page cache there, and no further.
    late.write_all_at(&[2; 4096], 0).unwrap();
    device.write_all_at(&[3; 4096], 4096).unwrap();
    device.sync_all().unwrap();
    // The first node comes to itself and cleans up: what it still holds is lost, and that takes no longer.
    let begin = Instant::now();
    first.caller().unpublish("db", "pod").unwrap();
    first.caller().unstage("db").unwrap();
    println!("a fenced node has cleaned up after {:.1?}", begin.elapsed());
    drop(late);
    first.is_clean();
    drop(device);
    second.caller().unpublish("db", "pod").unwrap();
    second.caller().unstage("db").unwrap();
    second.caller().stage_as("db", block(), &[]).unwrap();
    second.caller().publish_as("db", "pod", block(), false).unwrap();
    let bytes = fs::read(second.caller().target("pod")).unwrap();
    assert!(bytes[..4096] == [1; 4096] && bytes[4096..8192] == [3; 4096]);
    second.caller().unpublish("db", "pod").unwrap();
    second.caller().unstage("db").unwrap();
    second.is_clean();
}

/// What the live migration of a virtual machine does: two nodes have the device, then the first is shut out.
#[test]
fn a_device_that_nodes_share_is_taken_from_one_and_stays_with_the_other() {
    if let Some(what) = lacking() {
        return skip("a_device_that_nodes_share_is_taken_from_one_and_stays_with_the_other", what);
    }
    let cluster = Cluster::on_loopback();
    cluster.run(&["volume", "create", "db", "--size", "64MiB", "--replicas", "3"]);
    whole(&cluster);
    let (first, second) = (Node::start(&cluster, "node-a"), Node::start(&cluster, "node-b"));
    let shared = || in_mode(block(), Mode::MultiNodeMultiWriter);
    for node in [&first, &second] {
        cluster.run(&["volume", "attach", "db", "--client", &node.name, "--shared"]);
        node.caller().stage_as("db", shared(), &[]).unwrap();
        node.caller().publish_as("db", "pod", shared(), false).unwrap();
    }
    let open = |path: &Path| File::options().read(true).write(true).open(path).unwrap();
    // Not at the target: a program that has the device open would hang at its end, as long as that hangs.
    let (source, target) = (open(&first.device("db")), open(&second.caller().target("pod")));
    let mut found = [0; 4096];
    source.write_all_at(&[1; 4096], 0).unwrap();
    source.sync_all().unwrap();
    target.read_exact_at(&mut found, 0).unwrap();
    assert_eq!(found, [1; 4096], "each sees what the other wrote");
    target.write_all_at(&[2; 4096], 1 << 20).unwrap();
    target.sync_all().unwrap();
    source.read_exact_at(&mut found, 1 << 20).unwrap();
    assert_eq!(found, [2; 4096]);
    first.take("db");
    source.write_all_at(&[3; 4096], 0).unwrap();
    target.write_all_at(&[4; 4096], 2 << 20).unwrap();
    let begin = Instant::now();
    target.sync_all().unwrap();
    println!("the node that stays has written {:.1?} after the other was shut out", begin.elapsed());
    let late = first.caller().stage_as("db", shared(), &[]).unwrap_err();
    assert_eq!(late.code(), Code::FailedPrecondition, "it does not come back by itself");
    first.caller().unpublish("db", "pod").unwrap();
    first.caller().unstage("db").unwrap();
    drop(source);
    first.is_clean();
    target.write_all_at(&[5; 4096], 3 << 20).unwrap();
    target.sync_all().unwrap();
    drop(target);
    second.caller().unpublish("db", "pod").unwrap();
    second.caller().unstage("db").unwrap();
    // What is in the volume, and not in a page cache.
    second.caller().stage_as("db", shared(), &[]).unwrap();
    let bytes = fs::read(second.device("db")).unwrap();
    let at = |mib: usize| bytes[mib << 20];
    assert_eq!([at(0), at(1), at(2), at(3)], [1, 2, 4, 5], "what the first wrote late is nowhere");
    second.caller().unstage("db").unwrap();
    second.is_clean();
}

/// With the volume taken away nobody will ever answer: who has the device open is told, and not kept.
#[test]
fn who_has_the_device_of_a_fenced_volume_sees_errors_and_not_silence() {
    if let Some(what) = lacking() {
        return skip("who_has_the_device_of_a_fenced_volume_sees_errors_and_not_silence", what);
    }
    let cluster = Cluster::on_loopback();
    cluster.run(&["volume", "create", "db", "--size", "64MiB"]);
    let node = Node::start(&cluster, "node-a");
    let caller = node.caller();
    node.give("db");
    caller.stage_as("db", block(), &[]).unwrap();
    caller.publish_as("db", "pod", block(), false).unwrap();
    let device = File::options().read(true).write(true).open(caller.target("pod")).unwrap();
    device.write_all_at(&[1; 4096], 0).unwrap();
    device.sync_all().unwrap();
    node.take("db");
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let synced = device.write_all_at(&[2; 4096], 0).and_then(|()| device.sync_all());
        drop(device);
        tell.send(synced)
    });
    let synced = told.recv_timeout(Duration::from_secs(40)).expect("it has an answer and can close the device");
    assert!(synced.is_err());
    caller.unpublish("db", "pod").unwrap();
    caller.unstage("db").unwrap();
    node.is_clean();
}

/// A container knows its device by its number alone: as long as the pod is not gone, that is nobody else's.
#[test]
fn the_device_of_a_fenced_volume_does_not_become_another_volumes() {
    if let Some(what) = lacking() {
        return skip("the_device_of_a_fenced_volume_does_not_become_another_volumes", what);
    }
    let cluster = Cluster::on_loopback();
    let node = Node::start(&cluster, "node-a");
    let caller = node.caller();
    for volume in ["fenced", "next"] {
        cluster.run(&["volume", "create", volume, "--size", "64MiB"]);
        node.give(volume);
    }
    caller.stage_as("fenced", block(), &[]).unwrap();
    caller.publish_as("fenced", "pod", block(), false).unwrap();
    node.take("fenced");
    wait::until("the device to end", || {
        caller.stats("fenced", &caller.target("pod")).unwrap().volume_condition.unwrap().abnormal.then_some(())
    });
    caller.stage_as("next", block(), &[]).unwrap();
    caller.publish_as("next", "other", block(), false).unwrap();
    assert_ne!(node.device("fenced"), node.device("next"));
    assert!(fs::read(caller.target("pod")).is_err(), "nothing is read there any more");
    for (volume, pod) in [("fenced", "pod"), ("next", "other")] {
        caller.unpublish(volume, pod).unwrap();
        caller.unstage(volume).unwrap();
    }
    node.is_clean();
}

#[test]
fn a_fenced_filesystem_is_taken_away_and_comes_again() {
    if let Some(what) = lacking() {
        return skip("a_fenced_filesystem_is_taken_away_and_comes_again", what);
    }
    let cluster = Cluster::on_loopback();
    cluster.run(&["volume", "create", "db", "--size", "64MiB"]);
    let node = Node::start(&cluster, "node-a");
    let caller = node.caller();
    node.give("db");
    caller.stage("db").unwrap();
    fs::write(caller.staging("db").join("file"), "kept").unwrap();
    fs::File::open(caller.staging("db").join("file")).unwrap().sync_all().unwrap();
    fs::write(caller.staging("db").join("late"), "not synced").unwrap();
    node.take("db");
    // Published again, the old device is of no use: stage makes another.
    node.give("db");
    caller.stage("db").unwrap();
    assert_eq!(fs::read_to_string(caller.staging("db").join("file")).unwrap(), "kept");
    fs::write(caller.staging("db").join("late"), "not synced").unwrap();
    node.take("db");
    caller.unstage("db").unwrap();
    node.is_clean();
}

#[test]
fn a_volume_of_a_dead_node_is_elsewhere_at_once() {
    if let Some(what) = lacking() {
        return skip("a_volume_of_a_dead_node_is_elsewhere_at_once", what);
    }
    let cluster = Cluster::on_loopback();
    cluster.run(&["volume", "create", "db", "--size", "64MiB", "--replicas", "3"]);
    whole(&cluster);
    let (mut first, second) = (Node::start(&cluster, "node-a"), Node::start(&cluster, "node-b"));
    first.give("db");
    first.caller().stage("db").unwrap();
    fs::write(first.caller().staging("db").join("file"), "kept").unwrap();
    fs::File::open(first.caller().staging("db").join("file")).unwrap().sync_all().unwrap();
    // All of it dies that could say anything: the plugin, and the process that has the connection.
    first.kill();
    let agent = i32::try_from(first.agent("db").unwrap()).unwrap();
    kill_process(Pid::from_raw(agent).unwrap(), Signal::KILL).unwrap();
    let begin = Instant::now();
    first.take("db");
    let fenced = begin.elapsed();
    second.give("db");
    second.caller().stage("db").unwrap();
    let staged = begin.elapsed();
    println!("a dead node's volume: fenced after {fenced:.2?}, mounted elsewhere after {staged:.2?}");
    assert_eq!(fs::read_to_string(second.caller().staging("db").join("file")).unwrap(), "kept");
    assert!(staged < ELSEWHERE_MAX);
    second.caller().unstage("db").unwrap();
    second.is_clean();
    // The node comes back.
    first.restart();
    wait::until("the dead node to be cleaned up", || first.caller().unstage("db").ok());
    first.is_clean();
}

#[test]
fn readers_share_a_volume_and_cannot_write_it() {
    if let Some(what) = lacking() {
        return skip("readers_share_a_volume_and_cannot_write_it", what);
    }
    let cluster = Cluster::on_loopback();
    cluster.run(&["volume", "create", "db", "--size", "64MiB"]);
    let nodes = [Node::start(&cluster, "node-a"), Node::start(&cluster, "node-b")];
    nodes[0].give("db");
    nodes[0].caller().stage("db").unwrap();
    fs::write(nodes[0].caller().staging("db").join("file"), "for all").unwrap();
    nodes[0].caller().unstage("db").unwrap();
    nodes[0].take("db");
    for node in &nodes {
        cluster.run(&["volume", "attach", "db", "--client", &node.name, "--read-only"]);
        let many = || crate::plugin::in_mode(mount("ext4"), Mode::MultiNodeReaderOnly);
        node.caller().stage_as("db", many(), &[]).unwrap();
        node.caller().publish_as("db", "pod", many(), true).unwrap();
        let file = node.caller().target("pod").join("file");
        assert_eq!(fs::read_to_string(&file).unwrap(), "for all");
        assert!(fs::write(&file, "no").is_err());
        assert!(!node.caller().stats("db", &node.caller().target("pod")).unwrap().volume_condition.unwrap().abnormal);
    }
    for node in &nodes {
        node.caller().unpublish("db", "pod").unwrap();
        node.caller().unstage("db").unwrap();
        node.is_clean();
    }
}
