//! Nodes and pools that an operator gives up, and that come back all the same.

use std::fs;
use std::time::Duration;

use serde_json::Value;
use tests::cluster::{Cluster, Shell};
use tests::wait;
use tests::writer::{Writer, replicas_in_sync};

/// How long two whole replicas may take to be compared.
const COMPARED_MAX: Duration = Duration::from_secs(60);
/// Exit code of what is refused as things are.
const CONFLICT: Option<i32> = Some(4);

/// A command's code and all it said.
fn asked(shell: &Shell, arguments: &[&str]) -> (Option<i32>, String) {
    let output = shell.plinth(arguments);
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    (output.status.code(), said.concat())
}

/// Is refused, and says why.
fn refused(shell: &Shell, arguments: &[&str], why: &str) {
    let (code, said) = asked(shell, arguments);
    assert_eq!(code, CONFLICT, "{arguments:?}: {said}");
    assert!(said.contains(why), "{arguments:?}: {said}");
}

fn pool_of(cluster: &Cluster, node: &str) -> String {
    let pools = cluster.json(&["pool", "list"]);
    let pool = pools.as_array().unwrap().iter().find(|pool| pool["node"] == node).expect("it has one");
    pool["id"].as_str().unwrap().to_owned()
}

fn volume(cluster: &Cluster, name: &str) -> Value {
    cluster.json(&["volume", "show", name])
}

fn nodes_of(cluster: &Cluster, name: &str) -> Vec<String> {
    let volume = volume(cluster, name);
    let replicas = volume["replicas"].as_array().unwrap().iter();
    replicas.map(|replica| replica["node"].as_str().unwrap().to_owned()).collect()
}

/// A replicated volume and a client that wrote to it.
fn written(cluster: &Cluster, seed: u64) -> Writer {
    cluster.ask_for_replicated("db", "64MiB");
    wait::until("three replicas in sync", || (replicas_in_sync(cluster) == 3).then_some(()));
    let mut writer = Writer::new(cluster.shell().attach("db", "host1"), seed);
    (0..300).for_each(|_| writer.write());
    writer
}

fn is_lost(cluster: &Cluster, node: &str) -> Option<()> {
    (cluster.json(&["node", "show", node])["up"] == false).then_some(())
}

/// What is wrong with something, in the status.
fn problems(cluster: &Cluster, subject: &str) -> String {
    let status = cluster.status().unwrap_or_default();
    let all = status["problems"].as_array().cloned().unwrap_or_default();
    // A pool is shown with hyphens to people and without to programs.
    let plain = |text: &str| text.replace('-', "");
    let is_ours = |problem: &&Value| problem["subject"].as_str().map(plain) == Some(plain(subject));
    let ours = all.iter().filter(is_ours);
    ours.filter_map(|problem| problem["sentence"].as_str()).collect::<Vec<_>>().join("\n")
}

/// Two replicas or more are equal in every block, read from their disks.
fn assert_equal(cluster: &Cluster, name: &str) {
    let last = wait::within(COMPARED_MAX, || {
        let (code, said) = asked(&cluster.shell(), &["volume", "verify", name, "--data", "--timeout", "60"]);
        (code == Some(0)).then_some(said)
    });
    assert!(last.is_some(), "the replicas of {name} differ, or are not compared");
}

#[test]
fn a_node_that_runs_is_not_removed_and_a_removed_one_does_not_come_back_unseen() {
    let mut cluster = Cluster::on_loopback();
    let shell = cluster.shell();
    cluster.run(&["node", "drain", "n3"]);
    assert!(problems(&cluster, "node n3").contains("stop it, then plinth node remove n3"));
    refused(&shell, &["node", "remove", "n3"], "stop its storage node first");
    assert_eq!(cluster.json(&["node", "show", "n3"])["draining"], true, "it is still drained");
    let pool = pool_of(&cluster, "n3");
    cluster.stop_node("n3");
    wait::until("the node to be lost", || is_lost(&cluster, "n3"));
    assert!(problems(&cluster, "node n3").contains("plinth node remove n3"));
    cluster.run(&["node", "remove", "n3"]);
    assert_eq!(asked(&shell, &["node", "show", "n3"]).0, Some(3), "there is none");

    cluster.start_node("n3");
    let subject = format!("pool {pool}");
    wait::until("the operator to be told", || {
        problems(&cluster, &subject).contains("it was removed, and node n3 has it again").then_some(())
    });
    wait::until("the node's log to tell", || {
        cluster.log("n3").contains("this node's pool was removed from the cluster").then_some(())
    });
    assert_eq!(cluster.json(&["node", "show", "n3"])["pools"], Value::Array(Vec::new()), "nothing is placed there");
    refused_for_place(&shell);

    // Erased, it is a disk like any other.
    cluster.stop_node("n3");
    fs::remove_file(cluster.pool_path("n3")).unwrap();
    cluster.start_node("n3");
    wait::until("the new pool", || (cluster.json(&["pool", "list"]).as_array()?.len() == 3).then_some(()));
    assert_ne!(pool_of(&cluster, "n3"), pool);
    assert_eq!(problems(&cluster, &subject), "");
    cluster.run(&["volume", "create", "three", "--size", "1MiB", "--replicas", "3"]);
}

/// Three replicas need three pools.
fn refused_for_place(shell: &Shell) {
    let (code, said) = asked(shell, &["volume", "create", "three", "--size", "1MiB", "--replicas", "3", "--no-wait"]);
    assert_ne!(code, Some(0), "{said}");
}

#[test]
fn a_pool_that_never_comes_back_is_removed_and_harms_nothing_when_it_does() {
    let mut cluster = Cluster::on_loopback();
    let mut writer = written(&cluster, 11);
    cluster.run(&["volume", "create", "old", "--size", "16MiB", "--replicas", "3"]);
    cluster.start_node("n4");
    let shell = cluster.shell();
    let gone = cluster.primary("db");
    let (pool, path) = (pool_of(&cluster, &gone), cluster.pool_path(&gone));
    refused(&shell, &["pool", "remove", &pool], "is in use on node");
    refused(&shell, &["pool", "remove", &pool, "--force"], "is in use on node");

    // For good: a volume that is deleted now cannot be deleted there.
    cluster.kill_node(&gone);
    (0..100).for_each(|_| writer.write());
    cluster.run(&["volume", "delete", "old", "--no-wait"]);
    wait::until("the others to have deleted it", || (cluster.status()?["tombstones"] == 1).then_some(()));
    wait::until("the pool to be removed", || {
        let (code, said) = asked(&shell, &["pool", "remove", &pool]);
        assert!(code == Some(0) || code == CONFLICT, "{said}");
        (code == Some(0)).then_some(())
    });
    wait::until("nothing to be kept of what was deleted", || {
        let status = cluster.status()?;
        (status["tombstones"] == 0 && status["operations_running"] == 0).then_some(())
    });
    wait::until("the volume to be whole elsewhere", || {
        let nodes = nodes_of(&cluster, "db");
        (nodes.len() == 3 && !nodes.contains(&gone) && replicas_in_sync(&cluster) == 3).then_some(())
    });
    (0..300).for_each(|_| writer.write());
    assert!(cluster.run(&["explain", "pool", &pool]).contains("was removed, and nobody came with it since"));

    // It does come back.
    cluster.start_node(&gone);
    wait::until("the operator to be told", || {
        problems(&cluster, &format!("pool {pool}")).contains("has it again").then_some(())
    });
    assert!(cluster.run(&["explain", "pool", &pool]).contains("nothing in it is used"));
    (0..300).for_each(|_| writer.write());
    cluster.settle();
    assert!(!nodes_of(&cluster, "db").contains(&gone), "it is no replica");
    // Clients are served through it like through any node, from where the volume is now.
    writer.move_to(shell.attach("db", "host1"));
    writer.check();
    assert_equal(&cluster, "db");
    cluster.stop_node(&gone);
    let inspected = asked(&shell, &["pool", "inspect", path.to_str().unwrap()]);
    let old = volume(&cluster, "db")["id"].to_string();
    assert!(inspected.0 == Some(0) && inspected.1.contains(&old), "what it held was not deleted: {inspected:?}");
}

#[test]
fn the_only_copy_of_something_goes_by_force_only_and_is_named() {
    let mut cluster = Cluster::on_loopback();
    let shell = cluster.shell();
    cluster.run(&["volume", "create", "solo", "--size", "16MiB"]);
    cluster.run(&["snapshot", "create", "monday", "--volume", "solo"]);
    let mut writer = written(&cluster, 12);
    let gone = nodes_of(&cluster, "solo").remove(0);
    let pool = pool_of(&cluster, &gone);
    cluster.kill_node(&gone);
    wait::until("the node to be lost", || is_lost(&cluster, &gone));
    refused(&shell, &["node", "remove", &gone], "replicas");
    wait::until("db to count on it no more", || (replicas_in_sync(&cluster) == 2).then_some(()));
    refused(&shell, &["pool", "remove", &pool], "the only copy of volume solo, snapshot monday");
    assert_eq!(volume(&cluster, "solo")["name"], "solo", "a refusal changes nothing");
    let (code, said) = asked(&shell, &["pool", "remove", &pool, "--force"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("given up: volume solo\ngiven up: snapshot monday\n"), "{said}");
    assert_eq!(asked(&shell, &["volume", "show", "solo"]).0, Some(3));
    assert_eq!(asked(&shell, &["snapshot", "show", "monday"]).0, Some(3));
    cluster.run(&["node", "remove", &gone]);
    // The name is free, and what others have, too, goes on.
    cluster.run(&["volume", "create", "solo", "--size", "16MiB"]);
    (0..100).for_each(|_| writer.write());
    writer.move_to(shell.attach("db", "host1"));
    writer.check();
}
