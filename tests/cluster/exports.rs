//! What a killed export leaves behind, and what a slow one keeps.

use std::io::Read as _;
use std::process::{Child, Stdio};
use std::time::Duration;

use serde_json::Value;
use tests::cluster::{Cluster, parts};
use tests::nbd::Client;
use tests::wait;

/// More than a pipe that nobody reads from takes.
const DATA_BYTES: u32 = 8 << 20;
/// How long what was lent may be there after the last word of its command: a minute for the clone, and then one for its
/// snapshot, and some.
const FORGOTTEN_MAX: Duration = Duration::from_secs(200);

/// An export into a pipe; it is killed with this value.
struct Export(Child);

impl Export {
    fn start(cluster: &Cluster) -> Self {
        let mut command = cluster.shell().command(&["volume", "export", "db", "-"]);
        Self(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it can be started"))
    }

    fn kill(&mut self) {
        self.0.kill().expect("it runs");
        self.0.wait().expect("it was just killed");
    }
}

impl Drop for Export {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn names(cluster: &Cluster, what: &str, prefix: &str) -> Vec<String> {
    let all = cluster.json(&[what, "list"]);
    let names = all.as_array().expect("a list").iter().filter_map(|one| one["name"].as_str());
    names.filter(|name| name.starts_with(prefix)).map(str::to_owned).collect()
}

/// The clone and the snapshot that an export made, but for those that were there before.
fn lent(cluster: &Cluster, before: &[String]) -> Vec<String> {
    wait::until("an export to be under way", || {
        let all = [names(cluster, "volume", "copy-"), names(cluster, "snapshot", "export-")].concat();
        let new: Vec<String> = all.into_iter().filter(|name| !before.contains(name)).collect();
        (new.len() == 2).then_some(new)
    })
}

#[test]
fn what_a_killed_export_was_lent_is_deleted_and_what_a_living_one_is_lent_is_kept() {
    let cluster = Cluster::on_loopback();
    cluster.create_replicated("db", "64MiB");
    let uris = cluster.shell().attach("db", "host1");
    let (address, export) = parts(&uris[0]);
    let stream = std::net::TcpStream::connect(address).expect("it is served");
    let mut client = Client::open(stream, export).expect("it is served");
    client.write(0, &vec![7; DATA_BYTES as usize], 0).expect("it is served");
    let mut slow = Export::start(&cluster);
    let kept = lent(&cluster, &[]);
    let mut killed = Export::start(&cluster);
    let left = lent(&cluster, &kept);
    killed.kill();
    let mut all = Vec::new();
    let gone = wait::within(FORGOTTEN_MAX, || {
        all = [names(&cluster, "volume", ""), names(&cluster, "snapshot", "")].concat();
        (!left.iter().any(|name| all.contains(name))).then_some(())
    });
    assert!(gone.is_some(), "{left:?} are left: {all:?}");
    // The other one has said nothing to its reader for as long, and goes on.
    assert!(kept.iter().all(|name| all.contains(name)), "{kept:?} are in use: {all:?}");
    let mut archive = Vec::new();
    slow.0.stdout.take().expect("a pipe").read_to_end(&mut archive).expect("an archive");
    assert!(slow.0.wait().expect("it ends").success(), "it was not disturbed");
    assert!(archive.len() > DATA_BYTES as usize);
    cluster.settle();
    assert_eq!(cluster.json(&["snapshot", "list"]), Value::Array(Vec::new()));
    assert_eq!(names(&cluster, "volume", ""), ["db"]);
}
