//! The plugin dies at every step, at any moment of it, and the step is asked for again.

use std::fs;
use std::thread;
use std::time::Duration;

use proto::csi::volume_capability::access_mode::Mode;
use rustix::process::{Pid, Signal, kill_process};
use tests::cluster::Cluster;
use tests::random::Random;
use tests::skip::skip;
use tests::wait;
use tonic::{Code, Status};

use crate::plugin::{Caller, Node, in_mode, lacking, mount};

/// Longest time after which the plugin is killed, in the steps that take long and in the others.
const KILL_AFTER_MAX_MS: u64 = 500;
const ROUNDS: u64 = 6;

/// Asks for a step, kills the plugin a moment later, and asks again until it is done.
fn step(node: &mut Node, random: &mut Random, ask: impl Fn(&Caller) -> Result<(), Status> + Sync) {
    let caller = node.caller();
    let after = Duration::from_millis(random.below(KILL_AFTER_MAX_MS));
    thread::scope(|scope| {
        let asking = scope.spawn(|| ask(&caller));
        thread::sleep(after);
        node.kill();
        let _interrupted = asking.join().expect("it ends");
    });
    node.restart();
    let caller = node.caller();
    wait::until("the step to be done", || match ask(&caller) {
        Ok(()) => Some(()),
        Err(status) => {
            // What ran on behind the one that was killed may be in the way for a moment.
            assert!(!matches!(status.code(), Code::InvalidArgument | Code::NotFound | Code::AlreadyExists), "{status}");
            None
        }
    });
}

#[test]
fn a_plugin_that_is_killed_at_any_step_is_followed_by_one_that_goes_on() {
    if let Some(what) = lacking() {
        return skip("a_plugin_that_is_killed_at_any_step_is_followed_by_one_that_goes_on", what);
    }
    let cluster = Cluster::on_loopback();
    cluster.run(&["volume", "create", "db", "--size", "64MiB"]);
    let mut node = Node::start(&cluster, "node-a");
    let mut random = Random::seeded(7);
    for round in 0..ROUNDS {
        node.give("db");
        step(&mut node, &mut random, |caller| caller.stage("db"));
        step(&mut node, &mut random, |caller| caller.publish("db", "pod"));
        let file = node.caller().target("pod").join("rounds");
        assert_eq!(fs::read_to_string(&file).unwrap_or_default().len() as u64, round, "nothing was formatted anew");
        fs::write(&file, "x".repeat(usize::try_from(round + 1).unwrap())).unwrap();
        step(&mut node, &mut random, |caller| caller.unpublish("db", "pod"));
        step(&mut node, &mut random, |caller| caller.unstage("db"));
        node.is_clean();
        node.take("db");
    }
}

/// The first reader of a clone replays its journal and gives the writing up: whatever of that was done, the next plugin
/// ends it, and the node is a reader.
#[test]
fn a_plugin_that_is_killed_while_it_prepares_for_readers_is_followed_by_one_that_goes_on() {
    if let Some(what) = lacking() {
        return skip("a_plugin_that_is_killed_while_it_prepares_for_readers_is_followed_by_one_that_goes_on", what);
    }
    let cluster = Cluster::on_loopback();
    cluster.run(&["volume", "create", "db", "--size", "64MiB"]);
    let mut node = Node::start(&cluster, "node-a");
    node.give("db");
    node.caller().stage("db").unwrap();
    let file = node.caller().staging("db").join("file");
    fs::write(&file, "in the journal").unwrap();
    fs::File::open(&file).unwrap().sync_all().unwrap();
    cluster.run(&["snapshot", "create", "monday", "--volume", "db"]);
    node.caller().unstage("db").unwrap();
    node.take("db");
    let mut random = Random::seeded(11);
    let reader = || in_mode(mount("ext4"), Mode::MultiNodeReaderOnly);
    for _ in 0..ROUNDS {
        cluster.run(&["volume", "create", "many", "--from-snapshot", "monday"]);
        node.give("many");
        step(&mut node, &mut random, |caller| caller.stage_as("many", reader(), &[]));
        let caller = node.caller();
        assert_eq!(fs::read_to_string(caller.staging("many").join("file")).unwrap(), "in the journal");
        let held = &cluster.json(&["volume", "show", "many"])["attachments"][0]["mode"];
        assert_eq!(held, "read_only");
        step(&mut node, &mut random, |caller| caller.unstage("many"));
        node.take("many");
        cluster.run(&["volume", "delete", "many"]);
        node.is_clean();
    }
}

/// Callers give up as well.
#[test]
fn a_call_that_is_given_up_is_found_by_the_next() {
    if let Some(what) = lacking() {
        return skip("a_call_that_is_given_up_is_found_by_the_next", what);
    }
    let cluster = Cluster::on_loopback();
    cluster.run(&["volume", "create", "db", "--size", "64MiB"]);
    let node = Node::start(&cluster, "node-a");
    let caller = node.caller();
    for limit_ms in [5, 40, 80, 160, 320] {
        node.give("db");
        let given_up = caller.stage_within(Duration::from_millis(limit_ms), "db", mount("ext4"), &[]);
        println!("{limit_ms} ms: {:?}", given_up.map_err(|status| status.code()));
        caller.stage("db").unwrap();
        caller.unstage("db").unwrap();
        node.is_clean();
        node.take("db");
    }
}

#[test]
fn calls_that_come_at_once_do_it_once() {
    if let Some(what) = lacking() {
        return skip("calls_that_come_at_once_do_it_once", what);
    }
    let cluster = Cluster::on_loopback();
    cluster.run(&["volume", "create", "db", "--size", "64MiB"]);
    let node = Node::start(&cluster, "node-a");
    node.give("db");
    let at_once = |ask: &(dyn Fn(&Caller) -> Result<(), Status> + Sync)| {
        thread::scope(|scope| {
            let all: Vec<_> = (0..6).map(|_| scope.spawn(|| ask(&node.caller()))).collect();
            all.into_iter().for_each(|one| one.join().unwrap().unwrap());
        });
    };
    at_once(&|caller| caller.stage("db"));
    at_once(&|caller| caller.publish("db", "pod"));
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let target = node.caller().target("pod").display().to_string();
    assert_eq!(mounts.lines().filter(|line| line.contains(&target)).count(), 1);
    at_once(&|caller| caller.unpublish("db", "pod"));
    at_once(&|caller| caller.unstage("db"));
    node.is_clean();
}

/// With this attacher the device dies with its agent: that is told, and another stage makes it again.
#[test]
fn an_agent_that_dies_is_told_and_replaced() {
    if let Some(what) = lacking() {
        return skip("an_agent_that_dies_is_told_and_replaced", what);
    }
    let cluster = Cluster::on_loopback();
    cluster.run(&["volume", "create", "db", "--size", "64MiB"]);
    let node = Node::start(&cluster, "node-a");
    let caller = node.caller();
    node.give("db");
    caller.stage("db").unwrap();
    caller.publish("db", "pod").unwrap();
    fs::write(caller.target("pod").join("file"), "kept").unwrap();
    fs::File::open(caller.target("pod").join("file")).unwrap().sync_all().unwrap();
    let agent = i32::try_from(node.agent("db").unwrap()).unwrap();
    kill_process(Pid::from_raw(agent).unwrap(), Signal::KILL).unwrap();
    wait::until("the volume to be told as bad", || {
        let stats = caller.stats("db", &caller.target("pod")).unwrap();
        stats.volume_condition.unwrap().abnormal.then_some(())
    });
    assert_eq!(caller.stage("db").unwrap_err().code(), Code::FailedPrecondition, "a pod has it");
    caller.unpublish("db", "pod").unwrap();
    caller.stage("db").unwrap();
    caller.publish("db", "pod").unwrap();
    assert_eq!(fs::read_to_string(caller.target("pod").join("file")).unwrap(), "kept");
    caller.unpublish("db", "pod").unwrap();
    caller.unstage("db").unwrap();
    node.is_clean();
}
