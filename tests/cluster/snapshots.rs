//! Snapshots, clones and archives of a replicated volume, with failovers and a node that was away in between.

use std::net::TcpStream;
use std::time::Duration;

use tests::cluster::{Cluster, parts};
use tests::nbd::Client;
use tests::wait;
use tests::writer::{primary, whole};

use crate::replicas::replicated;

/// Blocks that hold the counter: one in each of several groups.
const PLACES: [u64; 5] = [0, 1, 70, 5_000, 16_000];
const BLOCK: usize = 4096;

/// Opens a volume through any node that serves it.
fn open(cluster: &Cluster, volume: &str) -> Client<TcpStream> {
    let uris = cluster.shell().attach(volume, "host1");
    wait::until("somebody to serve it", || {
        uris.iter().find_map(|uri| {
            let (address, export) = parts(uri);
            Client::try_open(TcpStream::connect(address).ok()?, export).ok()?.ok()
        })
    })
}

/// Counts up to `upto`, everywhere.
fn count(cluster: &Cluster, volume: &str, numbers: std::ops::RangeInclusive<u8>) {
    let mut client = open(cluster, volume);
    for number in numbers {
        for place in PLACES {
            client.write(place * BLOCK as u64, &[number; BLOCK], 0).expect("it is served");
        }
    }
}

/// What a volume's counter says, the same everywhere.
fn counter(cluster: &Cluster, volume: &str) -> u8 {
    let mut client = open(cluster, volume);
    let found = PLACES.map(|place| client.read(place * BLOCK as u64, 4096).expect("it is served"));
    let number = found[0][0];
    assert!(found.iter().all(|block| *block == [number; BLOCK]), "{volume} holds parts of several states");
    number
}

/// With a node just killed nobody may be known for a moment who has the snapshot and can take a volume: then that is said.
fn soon(cluster: &Cluster, command: &[&str]) {
    wait::until("the command to be done", || {
        let ended = cluster.shell().plinth(command);
        if !ended.status.success() {
            println!("{command:?}: {}", String::from_utf8_lossy(&ended.stderr));
        }
        ended.status.success().then_some(())
    });
}

#[test]
fn a_snapshot_is_what_it_was_through_failovers_and_for_a_node_that_was_away() {
    let mut cluster = replicated();
    count(&cluster, "db", 1..=100);
    cluster.run(&["snapshot", "create", "at100", "--volume", "db"]);
    // One is away while the volume is written on and another snapshot is taken: it gets both, in their order.
    let serving = primary(&cluster);
    let away = ["n1", "n2", "n3"].into_iter().find(|node| *node != serving).expect("there are three");
    cluster.kill_node(away);
    count(&cluster, "db", 101..=150);
    cluster.run(&["snapshot", "create", "at150", "--volume", "db"]);
    count(&cluster, "db", 151..=200);
    cluster.start_node(away);
    whole(&cluster);
    // The other two die: who was away has all of it.
    cluster.run(&["volume", "hand-over", "db", "--to", away]);
    cluster.kill_node(&serving);
    wait::until("the one that was away to serve", || (primary(&cluster) == away).then_some(()));
    assert_eq!(counter(&cluster, "db"), 200);
    for (name, expected) in [("at100", 100), ("at150", 150)] {
        let volume = format!("from-{name}");
        soon(&cluster, &["volume", "create", &volume, "--from-snapshot", name]);
        assert_eq!(counter(&cluster, &volume), expected, "{name}, of the node that was away");
    }
    soon(&cluster, &["volume", "clone", "db", "copy"]);
    assert_eq!(counter(&cluster, "copy"), 200);
    cluster.start_node(&serving);
    whole(&cluster);
    cluster.verify("db", Duration::from_secs(30)).expect("replicas are equal, snapshots included");
    // Sources may go first, and everything leaves nothing.
    cluster.run(&["volume", "delete", "db", "--force"]);
    assert_eq!(counter(&cluster, "from-at100"), 100);
    cluster.run(&["snapshot", "delete", "at100", "at150"]);
    assert_eq!(counter(&cluster, "from-at150"), 150);
    cluster.run(&["volume", "delete", "from-at100", "from-at150", "copy", "--force"]);
    cluster.settle();
    wait::until("all space to be back", || {
        let status = cluster.status()?;
        (status["snapshots"] == 0 && status["volumes"] == 0 && status["tombstones"] == 0).then_some(())
    });
}

#[test]
fn what_is_exported_is_imported_and_changes_fit_only_on_what_they_are_changes_of() {
    let cluster = replicated();
    count(&cluster, "db", 1..=20);
    cluster.run(&["snapshot", "create", "monday", "--volume", "db"]);
    count(&cluster, "db", 21..=30);
    cluster.run(&["snapshot", "create", "tuesday", "--volume", "db"]);
    let file = |name: &str| cluster.path(name).to_str().expect("a plain path").to_owned();
    let (whole, changes) = (file("monday.plinth"), file("tuesday.plinth"));
    cluster.run(&["volume", "export", "db", &whole, "--snapshot", "monday"]);
    cluster.run(&["volume", "export", "db", &changes, "--snapshot", "tuesday", "--since", "monday"]);
    let diff = cluster.json(&["snapshot", "diff", "tuesday", "--since", "monday"]);
    assert_eq!(diff["data_bytes"], PLACES.len() * BLOCK);
    cluster.run(&["volume", "import", "other", &whole, "--create", "--replicas", "2"]);
    assert_eq!(counter(&cluster, "other"), 20);
    cluster.run(&["volume", "detach", "other", "--client", "host1"]);
    let onto = cluster.shell().plinth(&["volume", "import", "db", &changes]);
    assert!(!onto.status.success(), "db does not hold monday");
    let over = cluster.shell().plinth(&["volume", "import", "other", &whole, "--create", "--replicas", "2"]);
    assert!(String::from_utf8_lossy(&over.stderr).contains("is there already"), "{over:?}");
    assert_eq!(counter(&cluster, "other"), 20);
    cluster.run(&["volume", "detach", "other", "--client", "host1"]);
    // Changes that broke off: others of the same snapshot do not fit any more, and the same ones do.
    let bytes = std::fs::read(&changes).expect("it is there");
    let half = file("half.plinth");
    std::fs::write(&half, &bytes[..bytes.len() / 2]).expect("there is room");
    assert!(!cluster.shell().plinth(&["volume", "import", "other", &half]).status.success());
    count(&cluster, "db", 31..=31);
    cluster.run(&["snapshot", "create", "wednesday", "--volume", "db"]);
    let later = file("wednesday.plinth");
    cluster.run(&["volume", "export", "db", &later, "--snapshot", "wednesday", "--since", "monday"]);
    let mixed = cluster.shell().plinth(&["volume", "import", "other", &later]);
    assert!(String::from_utf8_lossy(&mixed.stderr).contains("does not hold that one"), "{mixed:?}");
    cluster.run(&["volume", "import", "other", &changes]);
    assert_eq!(counter(&cluster, "other"), 30);
    // A file that was cut off is gone on with, and is the same in the end.
    let all = std::fs::read(&whole).expect("it is there");
    let cut = file("cut.plinth");
    std::fs::write(&cut, &all[..all.len() / 2]).expect("there is room");
    let broken = cluster.shell().plinth(&["volume", "import", "third", &cut, "--create"]);
    assert!(String::from_utf8_lossy(&broken.stderr).contains("ends before its end"), "{broken:?}");
    cluster.run(&["volume", "export", "db", &cut, "--snapshot", "monday", "--resume"]);
    assert_eq!(std::fs::read(&cut).expect("it is there"), all);
}
