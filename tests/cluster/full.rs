//! Pools that are full: one of them, that of the primary, all of them.

use std::net::TcpStream;
use std::time::Duration;

use tests::checked::Habits;
use tests::cluster::{Cluster, parts};
use tests::nbd::Client;
use tests::wait;

use crate::scene::{Scene, VOLUME};

/// ENOSPC, as NBD has it.
const NO_SPACE: u32 = 28;
/// What is written at once to fill a pool.
const CHUNK: usize = 1 << 20;
/// Until something is answered, or told.
const PATIENCE: Duration = Duration::from_secs(60);

fn ballast(node: &str) -> String {
    format!("ballast-{node}")
}

/// Takes what clients leave of a pool as well: a volume of three replicas may be written as long as two have room.
const BURST: &str = "burst";
const BURST_BYTES: u64 = 32 << 20;

fn open(cluster: &Cluster, volume: &str) -> Client<TcpStream> {
    let uris = cluster.shell().attach(volume, "filler");
    let (address, export) = parts(&uris[0]);
    Client::open(TcpStream::connect(address).unwrap(), export).unwrap()
}

fn burst(cluster: &Cluster) {
    cluster.create_replicated(BURST, "64MiB");
    let mut client = open(cluster, BURST);
    let bytes = vec![9; CHUNK];
    for at in (0..BURST_BYTES).step_by(CHUNK) {
        client.write(at, &bytes, 0).expect("two have room");
    }
}

/// Fills the pool of a node with a volume of its own, up to what clients leave.
fn fill(cluster: &Cluster, node: &str) {
    let volume = ballast(node);
    cluster.run(&["volume", "create", &volume, "--size", "1GiB", "--zone", node]);
    let mut client = open(cluster, &volume);
    let mut at = 0;
    for len in [CHUNK, CHUNK / 16, 4096] {
        let bytes = vec![7; len];
        let refused = loop {
            match client.write(at, &bytes, 0) {
                Ok(()) => at += len as u64,
                Err(error) => break error,
            }
        };
        assert_eq!(refused, NO_SPACE, "{at} bytes were written");
    }
    println!("{node} is full with {} MiB", at >> 20);
}

/// Frees what filled a node's pool.
fn free(cluster: &Cluster, node: &str) {
    cluster.run(&["volume", "delete", &ballast(node), "--force"]);
}

fn await_words(cluster: &Cluster, words: &str) {
    let explained = || cluster.run(&["explain", "volume", VOLUME]);
    let told = wait::within(PATIENCE, || explained().contains(words).then_some(()));
    assert!(told.is_some(), "\"{words}\" is not in: {}", explained());
}

/// Lets the client work for a while, and answers how often there was no room for it.
fn work(scene: &mut Scene, answers: u64) -> u64 {
    let before = scene.client().refused();
    if !scene.load().hears_answers(answers, PATIENCE) {
        println!("{}", scene.cluster.run(&["explain", "volume", VOLUME]));
        println!("{}", scene.cluster.run(&["volume", "show", VOLUME]));
        panic!("the volume did not serve {answers} requests within {PATIENCE:?}");
    }
    scene.client().refused() - before
}

#[test]
fn a_full_pool_loses_nothing_and_all_is_equal_when_there_is_room_again() {
    let name = "a_full_pool_loses_nothing_and_all_is_equal_when_there_is_room_again";
    let habits = Habits { blocks: 3000, may_be_full: true, ..Habits::default() };
    let overcommit = |cluster: &mut Cluster| {
        cluster.run(&["cluster", "set", "--overcommit-percent", "1000", "--full-percent", "100"]);
    };
    let Some(mut scene) = Scene::start_with(name, habits, overcommit) else { return };
    let (primary, backup) = scene.pair();
    let nodes = scene.cluster.node_names();
    let third = nodes.iter().find(|node| **node != primary && **node != backup).expect("there are three").clone();
    assert_eq!(work(&mut scene, 300), 0, "there is room");
    // A backup without room leaves, and its clients do not notice.
    fill(&scene.cluster, &backup);
    scene.load();
    burst(&scene.cluster);
    await_words(&scene.cluster, "its pool is full");
    assert_eq!(work(&mut scene, 300), 0, "the others have room");
    // Without room where it is served, or anywhere, what is new is refused; what is there is read and written on.
    fill(&scene.cluster, &primary);
    let refused = work(&mut scene, 1000);
    fill(&scene.cluster, &third);
    let refused_everywhere = work(&mut scene, 1000);
    println!("{refused} writes were refused with a full primary, {refused_everywhere} with all pools full");
    assert!(refused > 0 && refused_everywhere > 0);
    scene.check();
    // One after the other has room again, and all take part again.
    scene.cluster.run(&["volume", "delete", BURST, "--force"]);
    for node in [&third, &primary, &backup] {
        free(&scene.cluster, node);
        scene.load().await_answers(100, PATIENCE);
    }
    scene.settle();
    assert_eq!(work(&mut scene, 300), 0, "there is room");
    scene.settle();
    println!("{} equal blocks", scene.verify());
    scene.compare();
}
