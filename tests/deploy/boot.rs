//! The first minutes of a cluster on Kubernetes, without Kubernetes: voters with the rendered config files in network
//! namespaces, found by the names that their pods would have, made a cluster by the rendered Job.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;
use tests::namespaces::{self, Namespaces};
use tests::node::program;
use tests::skip::skip;
use tests::tool::{self, Running, tool};
use tests::wait;

use crate::chart::rendered;
use crate::commands::arguments;
use crate::objects::{containers, of_kind, text, workloads};

/// Where the chart has a voter's data, and the pool of a storage node.
const DATA: &str = "/var/lib/plinth/control";
const POOL: &str = "/var/lib/plinth/storage/pool:100GiB";
/// Behind a pod's name.
const DOMAIN: &str = "plinth-control.plinth.svc.cluster.local";
/// Puts a file in the place of /etc/hosts, for the program that follows only: its namespace of mounts is its own.
const WITH_HOSTS: &str = r#"mount --bind "$0" /etc/hosts && exec "$@""#;

/// Hosts: one for each voter's pod at first, one for a storage node, one to which a voter's pod moves. The first address of
/// the network is the bridge's.
const VOTERS: [u8; 3] = [1, 2, 3];
const STORAGE: u8 = 4;
const ELSEWHERE: u8 = 5;

struct Boot<'a> {
    objects: &'a [Value],
    folder: TempDir,
    namespaces: Namespaces,
    addresses: BTreeMap<u8, IpAddr>,
}

impl<'a> Boot<'a> {
    fn new(objects: &'a [Value]) -> Self {
        let folder = tempfile::Builder::new().prefix("plinth-").tempdir().expect("a temporary folder");
        let mut namespaces = Namespaces::new();
        let addresses = (1..=ELSEWHERE).map(|host| (host, namespaces.add(host))).collect();
        let boot = Self { objects, folder, namespaces, addresses };
        boot.name_pods(VOTERS);
        boot
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What cluster DNS would say: which host each voter's pod is on.
    fn name_pods(&self, hosts: [u8; 3]) {
        let lines = hosts.iter().enumerate().map(|(ordinal, host)| {
            let address = self.addresses[host];
            format!("{address} plinth-control-{ordinal}.{DOMAIN}\n")
        });
        // Written in place: whoever has it for its /etc/hosts sees the change.
        fs::write(self.path("hosts"), lines.collect::<String>()).expect("a file in the folder");
    }

    /// What stands before a program that runs on a host.
    fn enter(&self, host: u8) -> Vec<String> {
        let mut command = self.namespaces.enter(host);
        command.extend(["sh", "-c", WITH_HOSTS].map(str::to_owned));
        command.extend([self.path("hosts"), program()].map(|path| path.display().to_string()));
        command
    }

    fn launch(&self, host: u8, arguments: Vec<String>, log: &str) -> Running {
        let all = [self.enter(host), arguments].concat();
        Running::start(Path::new("ip"), &all, &self.path(log))
    }

    fn start_voter(&self, ordinal: u8, host: u8) -> Running {
        let name = format!("plinth-control-{ordinal}");
        let files = of_kind(self.objects, "ConfigMap").find(|one| one["metadata"]["name"] == "plinth-control");
        let config = text(&files.expect("the voters' files")["data"][format!("{name}.toml")]);
        assert!(config.contains(DATA), "{config}");
        let file = self.path(&format!("{name}.toml"));
        fs::write(&file, config.replace(DATA, &self.path(&name).display().to_string())).expect("a file in the folder");
        let arguments = ["control".to_owned(), "--config".to_owned(), file.display().to_string()];
        self.launch(host, arguments.to_vec(), &format!("{name}.log"))
    }

    fn start_storage(&self) -> Running {
        let address = self.addresses[&STORAGE].to_string();
        let nodes = workloads(self.objects).find(|one| one["metadata"]["name"] == "plinth-storage");
        let container = containers(nodes.expect("storage nodes")).next().expect("a container");
        let all = arguments(container, &[("NODE_NAME", "host3"), ("HOST_IP", &address)]);
        let pool = format!("{}:600MiB", self.path("pool").display());
        let all = all.into_iter().map(|argument| argument.replace(POOL, &pool)).collect();
        self.launch(STORAGE, all, "storage.log")
    }

    fn command(&self, arguments: &[String]) -> Command {
        let mut command = tool("ip");
        let names = [0, 1, 2].map(|ordinal| format!("plinth-control-{ordinal}.{DOMAIN}:10700"));
        command.args(self.enter(STORAGE)).args(arguments).env("PLINTH_CONTROL", names.join(","));
        command
    }

    /// What the Job's containers do, one after the other.
    fn join(&self) {
        let job = of_kind(self.objects, "Job").next().expect("the Job");
        for container in containers(job) {
            tool::run(&mut self.command(&arguments(container, &[])));
        }
    }

    fn status(&self) -> Option<Value> {
        let line = ["status", "-o", "json", "--timeout", "5"].map(str::to_owned);
        let output = tool::output(&mut self.command(&line));
        output.status.success().then(|| serde_json::from_slice(&output.stdout).expect("JSON"))
    }
}

/// Voters that were heard within a second.
fn heard(status: &Value) -> usize {
    let voters = status["voters"].as_array().expect("voters").iter();
    voters
        .filter(|voter| voter["id"] == status["leader"] || voter["heard_ms"].as_u64().is_some_and(|ms| ms < 1000))
        .count()
}

#[test]
fn rendered_voters_become_a_cluster_and_find_each_other_when_pods_move() {
    let test = "rendered_voters_become_a_cluster_and_find_each_other_when_pods_move";
    let Some(rendered) = rendered(test) else { return };
    if let Some(why) = namespaces::why_not() {
        return skip(test, &why);
    }
    let minimal = rendered.iter().find(|one| one.name == "minimal").expect("it is rendered");
    let boot = Boot::new(&minimal.objects);
    // Pods start in no order.
    let [_last, mut moving, _founder] = [(2, 3), (1, 2), (0, 1)].map(|(ordinal, host)| boot.start_voter(ordinal, host));
    let _storage = boot.start_storage();
    boot.join();
    // A Job may run again.
    boot.join();
    let up = |status: &Value| heard(status) == 3 && status["nodes_up"] == 1;
    wait::until("three voters and a node", || boot.status().filter(up));

    moving.kill();
    boot.name_pods([VOTERS[0], ELSEWHERE, VOTERS[2]]);
    let _moved = boot.start_voter(1, ELSEWHERE);
    wait::until("the voter at its new address", || boot.status().filter(up));
}
