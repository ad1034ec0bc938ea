//! Replicas that come and go while a client writes: nodes are drained, numbers of replicas changed, primaries chosen.

use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tests::cluster::{Cluster, parts};
use tests::nbd::Client;
use tests::stamp::{self, Content};
use tests::wait;
use tests::writer::{Writer, primary, replicas_in_sync};

/// Longest time without an acknowledgement when nothing has failed.
const GAP_MAX: Duration = Duration::from_secs(5);
/// How long a command that moves data may take.
const PATIENCE: &str = "120";

fn cluster_with(replicas: &str) -> Cluster {
    let cluster = Cluster::on_loopback();
    cluster.run(&["volume", "create", "db", "--size", "64MiB", "--replicas", replicas]);
    wait::until("the volume to be whole", || (volume(&cluster)["phase"] == "ready").then_some(()));
    cluster
}

fn volume(cluster: &Cluster) -> Value {
    cluster.json(&["volume", "show", "db"])
}

fn nodes_of(volume: &Value) -> Vec<String> {
    let replicas = volume["replicas"].as_array().unwrap().iter();
    replicas.map(|replica| replica["node"].as_str().unwrap().to_owned()).collect()
}

/// Gives a command that may have to move data.
fn patiently(cluster: &Cluster, arguments: &[&str]) {
    let mut arguments = arguments.to_vec();
    arguments.extend(["--timeout", PATIENCE]);
    let output = cluster.shell().plinth(&arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Does something while a client writes, which is not to notice more than that it has to come back.
fn while_writing(writer: &mut Writer, act: impl FnOnce()) {
    let stop = AtomicBool::new(false);
    writer.longest = Duration::ZERO;
    writer.last = Instant::now();
    thread::scope(|scope| {
        let writing = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                writer.write();
            }
            (0..100).for_each(|_| writer.write());
        });
        // The writer ends also when this does not.
        let acted = std::panic::catch_unwind(std::panic::AssertUnwindSafe(act));
        stop.store(true, Ordering::Relaxed);
        writing.join().unwrap();
        acted.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    println!("{:.1?} without an acknowledgement", writer.longest);
    assert!(writer.longest < GAP_MAX, "{:?}", writer.longest);
}

fn writer_of(cluster: &Cluster, seed: u64) -> Writer {
    let mut writer = Writer::new(cluster.shell().attach("db", "host1"), seed);
    (0..200).for_each(|_| writer.write());
    writer
}

#[test]
fn a_node_that_serves_is_drained_under_a_writer() {
    let cluster = cluster_with("2");
    let drained = primary(&cluster);
    let mut writer = writer_of(&cluster, 1);
    while_writing(&mut writer, || patiently(&cluster, &["node", "drain", &drained]));
    let node = cluster.json(&["node", "show", &drained]);
    assert_eq!((&node["replicas"], &node["draining"]), (&0.into(), &true.into()), "{node}");
    assert_eq!(replicas_in_sync(&cluster), 2);
    assert!(!nodes_of(&volume(&cluster)).contains(&drained));
    writer.check();
    patiently(&cluster, &["node", "drain", &drained]);
    cluster.run(&["node", "undrain", &drained]);
    assert_eq!(cluster.json(&["node", "show", &drained])["draining"], false);
}

#[test]
fn a_volume_of_one_replica_leaves_a_node_that_is_drained() {
    let cluster = cluster_with("1");
    let mut writer = writer_of(&cluster, 2);
    let drained = nodes_of(&volume(&cluster)).remove(0);
    while_writing(&mut writer, || patiently(&cluster, &["node", "drain", &drained]));
    let volume = volume(&cluster);
    assert_eq!(volume["replica_count"], 1);
    assert_ne!(nodes_of(&volume), [drained]);
    writer.check();
}

#[test]
fn the_number_of_replicas_is_raised_and_lowered_under_a_writer() {
    let cluster = cluster_with("1");
    let mut writer = writer_of(&cluster, 3);
    for count in ["3", "1", "2", "3", "2"] {
        while_writing(&mut writer, || patiently(&cluster, &["volume", "modify", "db", "--replicas", count]));
        let found = volume(&cluster);
        assert_eq!(nodes_of(&found).len().to_string(), count, "{found}");
        assert_eq!(replicas_in_sync(&cluster).to_string(), count, "{found}");
        writer.check();
    }
}

#[test]
fn a_node_that_is_gone_for_good_is_replaced() {
    let mut cluster = cluster_with("3");
    cluster.run(&["cluster", "set", "--replace-after", "10s"]);
    cluster.start_node("n4");
    let gone = primary(&cluster);
    let mut writer = writer_of(&cluster, 4);
    cluster.kill_node(&gone);
    while_writing(&mut writer, || {
        wait::until("another replica to be in sync in its place", || {
            let nodes = nodes_of(&volume(&cluster));
            (nodes.len() == 3 && !nodes.contains(&gone) && replicas_in_sync(&cluster) == 3).then_some(())
        });
    });
    cluster.run(&["node", "remove", &gone]);
    writer.move_to(cluster.shell().attach("db", "host1"));
    writer.check();
}

#[test]
fn a_volume_is_handed_over_and_its_client_hardly_notices() {
    let cluster = cluster_with("3");
    let mut writer = writer_of(&cluster, 5);
    for _ in 0..3 {
        let before = primary(&cluster);
        let to = nodes_of(&volume(&cluster)).into_iter().find(|node| *node != before).unwrap();
        while_writing(&mut writer, || patiently(&cluster, &["volume", "hand-over", "db", "--to", &to]));
        assert_eq!(primary(&cluster), to);
        patiently(&cluster, &["volume", "hand-over", "db", "--to", &to]);
    }
    patiently(&cluster, &["volume", "hand-over", "db"]);
    writer.check();
}

/// Writes the stamp `seq` to all of the first blocks.
fn stamp_all(uri: &str, seq: u64) {
    let (address, export) = parts(uri);
    let mut client = Client::open(TcpStream::connect(address).unwrap(), export).unwrap();
    for block in 0..64 {
        let mut bytes = Vec::new();
        stamp::encode(block, seq, &mut bytes);
        client.write(block * stamp::BLOCK as u64, &bytes, 0).unwrap();
    }
    client.flush().unwrap();
}

/// Tries until the volume is served, for a client may come between two primaries.
fn stamps(uris: &[String]) -> Vec<Content> {
    wait::until("the volume to be read", || {
        uris.iter().find_map(|uri| {
            let (address, export) = parts(uri);
            let mut client = Client::try_open(TcpStream::connect(address).ok()?, export).ok()?.ok()?;
            let read = |block: u64| {
                let bytes = client.read(block * stamp::BLOCK as u64, 4096).ok()?;
                stamp::decode(block, &bytes).ok()
            };
            (0..64).map(read).collect()
        })
    })
}

#[test]
fn a_replica_that_was_left_behind_is_promoted_only_by_force_and_only_when_no_other_is_there() {
    let mut cluster = cluster_with("3");
    let left_behind = nodes_of(&volume(&cluster)).into_iter().find(|node| *node != primary(&cluster)).unwrap();
    let uris = cluster.shell().attach("db", "host1");
    stamp_all(&uris[0], 1);
    cluster.kill_node(&left_behind);
    wait::until("the dead replica to be given up", || (replicas_in_sync(&cluster) == 2).then_some(()));
    stamp_all(&cluster.shell().attach("db", "host1")[0], 2);
    let promote = |cluster: &Cluster, name: &str| {
        let arguments = ["volume", "promote", "db", "--replica", &left_behind, "--yes-lose-data", name];
        let output = cluster.shell().plinth(&arguments);
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, words) = promote(&cluster, "other");
    assert_eq!(code, Some(2), "{words}");
    let (code, words) = promote(&cluster, "db");
    assert_eq!(code, Some(4), "a member is there: {words}");
    let others: Vec<String> = nodes_of(&volume(&cluster)).into_iter().filter(|node| *node != left_behind).collect();
    others.iter().for_each(|node| cluster.kill_node(node));
    cluster.start_node(&left_behind);
    wait::until("the two that were in sync to be missed", || {
        let explained = cluster.run(&["explain", "volume", "db"]);
        (explained.contains("no replica that counts is heard") && cluster.status()?["nodes_up"] == 1).then_some(())
    });
    wait::until("the replica to be promoted", || (promote(&cluster, "db").0 == Some(0)).then_some(()));
    assert_eq!(promote(&cluster, "db").0, Some(0), "who asks again hears that it is done");
    assert!(cluster.run(&["explain", "volume", "db"]).contains("must attach it again"));
    let uris = cluster.shell().attach("db", "host1");
    assert!(stamps(&uris).iter().all(|found| *found == Content::Stamped(1)), "what was written since is lost");
    cluster.run(&["volume", "modify", "db", "--min-in-sync", "1"]);
    stamp_all(&uris[0], 3);
    // The others come back, and are as it is now.
    others.iter().for_each(|node| cluster.start_node(node));
    wait::until("all to be in sync", || (replicas_in_sync(&cluster) == 3).then_some(()));
    patiently(&cluster, &["volume", "hand-over", "db", "--to", &others[0]]);
    let uris = cluster.shell().attach("db", "host1");
    assert!(stamps(&uris).iter().all(|found| *found == Content::Stamped(3)));
}
