//! The commands against a real cluster: `plinth dev` with several nodes.

use std::path::Path;

use rustix::process::Signal;
use serde_json::Value;

use crate::process::{Serving, directory, run, until};

/// A cluster in `data`, on ports the kernel chooses.
struct Cluster<'a> {
    directory: &'a Path,
    serving: Serving,
}

impl<'a> Cluster<'a> {
    fn start(directory: &'a Path, args: &[&str]) -> Self {
        let common = [
            "dev",
            "--nbd",
            "127.0.0.1:0",
            "--http",
            "127.0.0.1:0",
            "--control",
            "127.0.0.1:0",
            "--pool",
            "pool:256MiB",
        ];
        Self { directory, serving: Serving::start(directory, &[&common, args].concat(), "stay.\n") }
    }

    fn run(&self, line: &str) -> (Option<i32>, String, String) {
        let control = self.serving.word_after("PLINTH_CONTROL=");
        let mut args: Vec<_> = line.split_whitespace().collect();
        args.extend(["--control", control]);
        run(self.directory, &args)
    }

    fn ok(&self, line: &str) -> String {
        let (code, out, err) = self.run(line);
        assert_eq!((code, err.as_str()), (Some(0), ""), "{line}: {out}");
        out
    }

    fn json(&self, line: &str) -> Value {
        serde_json::from_str(&self.ok(&format!("{line} -o json"))).expect("JSON")
    }
}

#[test]
fn several_nodes_make_a_cluster_that_survives_a_kill() {
    let directory = directory();
    let nodes = ["--nodes", "3", "--volume", "one:16MiB"];
    let cluster = Cluster::start(directory.path(), &nodes);
    assert!(cluster.serving.summary.contains("from 3 nodes in data"), "{}", cluster.serving.summary);
    cluster.ok("volume create two --size 16MiB --label a=b");
    let before = cluster.json("volume list");
    let status = cluster.json("status");
    assert_eq!((&status["nodes_up"], &status["volumes_ready"]), (&3.into(), &2.into()), "{status}");
    cluster.serving.signal(Signal::KILL);
    cluster.serving.wait();

    let cluster = Cluster::start(directory.path(), &nodes);
    assert_eq!(cluster.json("volume list"), before);
    assert!(cluster.serving.summary.contains("serves 2 volumes"), "{}", cluster.serving.summary);
    cluster.serving.stop();
}

#[test]
fn a_volume_is_made_attached_grown_and_deleted() {
    let directory = directory();
    let cluster = Cluster::start(directory.path(), &["--volume", "demo:16MiB"]);
    assert_eq!(cluster.ok("volume create db --size 16MiB"), "volume db is there (16MiB)\n");
    assert_eq!(cluster.ok("volume create db --size 16MiB"), "volume db is there (16MiB)\n");
    assert_eq!(cluster.run("volume create db --size 32MiB").0, Some(4));
    let attached = cluster.json("volume attach db --client host1");
    assert!(attached["uris"][0].as_str().is_some_and(|uri| uri.starts_with("nbd://127.0.0.1:")), "{attached}");
    assert_eq!(cluster.run("volume attach db --client host2").0, Some(4), "one writes");
    assert_eq!(cluster.run("volume delete db").0, Some(4), "it is used");
    assert_eq!(cluster.ok("volume resize db 32MiB"), "volume db is larger now (32MiB)\n");
    assert_eq!(cluster.run("volume resize db 16MiB").0, Some(2), "it does not shrink");
    cluster.ok("volume detach db");
    assert!(cluster.ok("explain volume db").lines().count() > 0);
    assert_eq!(cluster.ok("volume delete db"), "volume db is deleted\n");
    assert_eq!(cluster.run("volume show db").0, Some(3));
    assert_eq!(cluster.json("operation list"), Value::Array(Vec::new()));
    assert!(cluster.ok("operation list --all").contains("delete  db"));
    cluster.serving.stop();
}

#[test]
fn nodes_pools_and_voters_are_shown_and_cordoned() {
    let directory = directory();
    let cluster = Cluster::start(directory.path(), &[]);
    assert_eq!(cluster.ok("node cordon node1"), "node node1 is cordoned\n");
    assert_ne!(cluster.run("volume create db --size 16MiB").0, Some(0), "nowhere to put it");
    cluster.ok("node uncordon node1");
    assert_eq!(cluster.run("node show nobody").0, Some(3));
    assert_eq!(cluster.run("node remove node1").0, Some(4), "it holds a replica");
    assert_eq!(cluster.json("pool list")[0]["state"], "open");
    assert_eq!(cluster.json("cluster voters")[0]["role"], "leader");
    assert_eq!(cluster.json("cluster set --overcommit-percent 150")["overcommit_percent"], 150);
    cluster.serving.stop();
}

#[test]
fn a_volume_whose_node_is_not_started_is_told_and_not_waited_for() {
    let directory = directory();
    let cluster = Cluster::start(directory.path(), &["--nodes", "2"]);
    cluster.ok("node cordon node1");
    cluster.ok("volume create far --size 16MiB");
    cluster.serving.stop();
    let cluster = Cluster::start(directory.path(), &[]);
    assert!(cluster.serving.summary.contains("Volume far is not ready"), "{}", cluster.serving.summary);
    until("the other node to be missed", || cluster.ok("status").contains("1 of 2 up").then_some(()));
    let (code, _, err) = cluster.run("volume resize far 32MiB --timeout 1");
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains("node2 is not heard"), "{err}");
    cluster.serving.stop();
}
