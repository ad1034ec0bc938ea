//! Disks that forget what was written to them, and replicas that are not the same.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tests::cluster::{Cluster, parts};
use tests::nbd::Client;
use tests::stamp::{self, BLOCK, Content};
use tests::tool::{self, tool};
use tests::{node, plant, wait};

const BLOCKS: u64 = 256;
/// A block far behind those.
const LATER: u64 = 4000;
const NODES: [&str; 3] = ["n1", "n2", "n3"];
const STOP_MAX: Duration = Duration::from_secs(30);

fn show(cluster: &Cluster) -> Value {
    cluster.json(&["volume", "show", "db"])
}

fn replicas_in_sync(cluster: &Cluster) -> usize {
    let volume = show(cluster);
    let replicas = volume["replicas"].as_array().unwrap();
    replicas.iter().filter(|replica| replica["role"]["in_sync"] == true).count()
}

fn whole(cluster: &Cluster) {
    wait::until("three replicas to be in sync", || (replicas_in_sync(cluster) == 3).then_some(()));
}

fn primary(cluster: &Cluster) -> String {
    wait::until("a primary", || {
        let volume = show(cluster);
        let replicas = volume["replicas"].as_array().unwrap();
        let primary = replicas.iter().find(|replica| replica["role"]["name"] == "primary")?;
        Some(primary["node"].as_str().unwrap().to_owned())
    })
}

fn client(cluster: &Cluster) -> Client<TcpStream> {
    let uris = cluster.shell().attach("db", "host1");
    let (address, export) = parts(&uris[0]);
    Client::open(TcpStream::connect(address).unwrap(), export).unwrap()
}

fn stamped(block: u64, seq: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    stamp::encode(block, seq, &mut bytes);
    bytes
}

/// A cluster with a volume that has a replica on every node, and stamped blocks in it.
fn written() -> Cluster {
    let cluster = Cluster::on_loopback();
    cluster.run(&["volume", "create", "db", "--size", "64MiB", "--replicas", "3"]);
    whole(&cluster);
    let mut client = client(&cluster);
    (0..BLOCKS).for_each(|block| client.write(block * BLOCK as u64, &stamped(block, 1), 0).unwrap());
    // What was flushed is known to be everywhere, and kept as such, with the changes that follow: it is not copied again.
    for seq in 0..4 {
        client.flush().unwrap();
        client.write(LATER * BLOCK as u64, &stamped(LATER, seq), 0).unwrap();
    }
    client.flush().unwrap();
    cluster
}

fn check(cluster: &Cluster) {
    let mut client = client(cluster);
    for block in 0..BLOCKS {
        let bytes = client.read(block * BLOCK as u64, 4096).expect("no error reaches a client");
        assert_eq!(stamp::decode(block, &bytes), Ok(Content::Stamped(1)));
    }
}

fn pool(cluster: &Cluster, node: &str) -> std::path::PathBuf {
    cluster.path(&format!("{node}.pool"))
}

fn stop(cluster: &mut Cluster, node: &str) {
    let process = cluster.node_process(node);
    process.signal(Signal::TERM);
    assert_eq!(process.ends_within(STOP_MAX), Some(0), "{}", cluster.log(node));
}

/// A node that was stopped is missed, and comes back into sync.
fn start_again(cluster: &mut Cluster, node: &str) {
    wait::until("it is missed", || (replicas_in_sync(cluster) == 2).then_some(()));
    cluster.start_node(node);
    whole(cluster);
}

/// What a node counts.
fn metric(cluster: &Cluster, node: &str, name: &str) -> u64 {
    let mut stream = TcpStream::connect(cluster.http(node)).unwrap();
    stream.set_read_timeout(Some(STOP_MAX)).unwrap();
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let line = answer.lines().find(|line| line.split(' ').next() == Some(name));
    line.unwrap_or_else(|| panic!("{name} in {answer}")).split(' ').nth(1).unwrap().parse().unwrap()
}

fn verify(cluster: &Cluster, more: &[&str]) -> (Option<i32>, Value) {
    let arguments = [&["volume", "verify", "db", "-o", "json"], more].concat();
    let output = cluster.shell().plinth(&arguments);
    let json = serde_json::from_slice(&output.stdout);
    (output.status.code(), json.unwrap_or_else(|_| panic!("{output:?}")))
}

#[test]
fn blocks_that_rot_under_the_primary_are_read_rightly_and_repaired() {
    let cluster = written();
    let primary = primary(&cluster);
    let pool = pool(&cluster, &primary);
    plant::rot(&pool, &plant::places(&pool, &[0, 1, 17, 100, 255], 1));
    check(&cluster);
    assert_eq!(metric(&cluster, &primary, "plinth_rotten_blocks_found_total"), 5);
    assert_eq!(metric(&cluster, &primary, "plinth_rotten_blocks_repaired_total"), 5);
    assert_eq!(metric(&cluster, &primary, "plinth_rotten_blocks_lost_total"), 0);
}

#[test]
fn a_stopped_pool_that_rotted_is_clean_after_it_was_verified() {
    let mut cluster = written();
    let primary = primary(&cluster);
    let backup = NODES.into_iter().find(|node| *node != primary).unwrap();
    let pool = pool(&cluster, backup);
    stop(&mut cluster, backup);
    let program = node::program();
    let checked = || tool::output(tool(program.to_str().unwrap()).args(["pool", "check"]).arg(&pool)).status.code();
    assert_eq!(checked(), Some(0));
    plant::rot(&pool, &plant::places(&pool, &[3, 4, 5, 200], 1));
    assert_eq!(checked(), Some(1));
    start_again(&mut cluster, backup);
    let (code, found) = verify(&cluster, &["--data"]);
    assert_eq!(code, Some(0), "{found}");
    assert_eq!(found["replicas"][backup]["repaired_blocks"], 4, "{found}");
    assert_eq!(metric(&cluster, backup, "plinth_rotten_blocks_repaired_total"), 4);
    check(&cluster);
    stop(&mut cluster, backup);
    assert_eq!(checked(), Some(0));
}

#[test]
fn blocks_that_rotted_everywhere_are_told_in_words() {
    let cluster = written();
    for node in NODES {
        let pool = pool(&cluster, node);
        plant::rot(&pool, &plant::places(&pool, &[7], 1));
    }
    let mut client = client(&cluster);
    assert_eq!(client.read(7 * BLOCK as u64, 4096), Err(5));
    assert!(client.read(8 * BLOCK as u64, 4096).is_ok());
    let (code, found) = verify(&cluster, &["--data"]);
    assert_eq!((code, &found["sound"]), (Some(1), &Value::Bool(false)), "{found}");
    let told = |arguments: &[&str]| {
        wait::until("it is told", || {
            let words = cluster.run(arguments);
            (words.contains("lost") || words.contains("LOST")).then_some(())
        });
    };
    told(&["explain", "volume", "db"]);
    told(&["status"]);
    told(&["volume", "show", "db"]);
    client.write(7 * BLOCK as u64, &stamped(7, 1), 0).unwrap();
    check(&cluster);
    assert_eq!(verify(&cluster, &["--data"]).0, Some(0));
}

#[test]
fn a_difference_that_nobody_can_know_of_is_found() {
    let mut cluster = written();
    let primary = primary(&cluster);
    let backup = NODES.into_iter().find(|node| *node != primary).unwrap();
    stop(&mut cluster, backup);
    plant::difference(&pool(&cluster, backup), "db", 130, &stamped(130, 99));
    start_again(&mut cluster, backup);
    let (code, found) = verify(&cluster, &[]);
    assert_eq!(code, Some(1), "{found}");
    assert_eq!(found["differences_found"], 1, "{found}");
    let difference = &found["differences"][0];
    assert_eq!((&difference["offset_bytes"], &difference["len_bytes"]), (&(512 << 10).into(), &(256 << 10).into()));
    let held: Vec<&Value> =
        NODES.into_iter().filter(|node| *node != backup).map(|node| &difference["held"][node]).collect();
    assert!(held[0] == held[1] && *held[0] != difference["held"][backup], "{found}");
}

#[test]
fn a_healthy_volume_is_equal_while_it_is_written() {
    let cluster = written();
    let mut client = client(&cluster);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let writing = scope.spawn(|| {
            let mut written = 0_u64;
            while !done.load(Ordering::Relaxed) {
                let block = written * 37 % (BLOCKS * 8);
                client.write(block * BLOCK as u64, &stamped(block, written), 0).unwrap();
                written += 1;
            }
            written
        });
        for more in [&[][..], &[], &["--data"], &[]] {
            let (code, found) = verify(&cluster, more);
            assert_eq!(code, Some(0), "{found}");
            assert_eq!(found["compared_bytes"], 64 << 20);
        }
        done.store(true, Ordering::Relaxed);
        let written = writing.join().unwrap();
        println!("{written} writes meanwhile");
        assert!(written > 100);
    });
}
