//! Clones of clones of clones, each with writes of its own: every generation holds what was written up to it, also when
//! what it came from is deleted, reads are not slower however deep it is, and all space comes back.
//!
//! `make generations GENERATIONS=200`

use std::net::TcpStream;
use std::time::{Duration, Instant};

use tests::cluster::{Cluster, parts};
use tests::nbd::Client;
use tests::random::Random;
use tests::wait;

const BLOCK: u64 = 4096;
/// What the first generation fills.
const BLOCKS: u64 = 4096;
/// Of this many generations one is kept to the end.
const KEPT_EVERY: u64 = 10;
/// Reads of one measurement, and measurements of each depth, in turn.
const READS: u64 = 500;
const ROUNDS: usize = 9;
/// How much longer a read of the last generation may take than one of the first. What depth would cost is a multiple.
const RATIO_MAX: f64 = 1.5;

fn generations() -> u64 {
    std::env::var("GENERATIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(24)
}

fn name(generation: u64) -> String {
    format!("v{generation}")
}

/// What generation `generation` holds in a block: each writes to two, and the first to all.
fn expected(block: u64, generation: u64) -> u64 {
    match block {
        0 => generation,
        _ if block <= generation => block,
        _ => 0,
    }
}

fn filled(block: u64, number: u64) -> Vec<u8> {
    (block << 32 | number).to_le_bytes().repeat(512)
}

fn open(cluster: &Cluster, generation: u64) -> Client<TcpStream> {
    let uris = cluster.shell().attach(&name(generation), "reader");
    wait::until("a clone to be served", || {
        let (address, export) = parts(&uris[0]);
        Client::try_open(TcpStream::connect(address).ok()?, export).ok()?.ok()
    })
}

fn write_to(client: &mut Client<TcpStream>, generation: u64) {
    for block in [0, generation] {
        client.write(block * BLOCK, &filled(block, generation), 0).expect("it is served");
    }
}

fn check(client: &mut Client<TcpStream>, generation: u64) {
    for first in (0..BLOCKS).step_by(256) {
        let bytes = client.read(first * BLOCK, 256 * 4096).expect("it is served");
        for (block, bytes) in (first..).zip(bytes.chunks_exact(4096)) {
            assert!(bytes == filled(block, expected(block, generation)), "block {block} of generation {generation}");
        }
    }
}

/// Time of a read in the middle of many, at random places.
fn time_of_reads(client: &mut Client<TcpStream>, random: &mut Random) -> Duration {
    let mut times: Vec<Duration> = (0..READS)
        .map(|_| {
            let (at, begin) = (random.below(BLOCKS), Instant::now());
            client.read(at * BLOCK, 4096).expect("it is served");
            begin.elapsed()
        })
        .collect();
    times.sort();
    times[times.len() / 2]
}

/// How much longer a read of one generation takes than of the other: the middle of several comparisons.
fn ratio(cluster: &Cluster, shallow: u64, deep: u64) -> f64 {
    let mut random = Random::seeded(1);
    let (mut shallow, mut deep) = (open(cluster, shallow), open(cluster, deep));
    let mut ratios: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let one = time_of_reads(&mut shallow, &mut random);
            let other = time_of_reads(&mut deep, &mut random);
            println!("a read takes {one:.1?} in the first clone, {other:.1?} in the last");
            other.as_secs_f64() / one.as_secs_f64()
        })
        .collect();
    ratios.sort_by(f64::total_cmp);
    ratios[ROUNDS / 2]
}

#[test]
fn a_clone_of_many_generations_is_right_and_as_fast_as_the_first() {
    let cluster = Cluster::on_loopback();
    let last = generations();
    cluster.create_replicated(&name(0), "32MiB");
    let mut client = open(&cluster, 0);
    for first in (0..BLOCKS).step_by(256) {
        let bytes: Vec<u8> = (first..first + 256).flat_map(|block| filled(block, 0)).collect();
        client.write(first * BLOCK, &bytes, 0).expect("it is served");
    }
    let begin = Instant::now();
    for generation in 1..=last {
        let (source, clone) = (name(generation - 1), name(generation));
        cluster.run(&["volume", "clone", &source, &clone, "--replicas", "3"]);
        if (generation - 1) % KEPT_EVERY != 1 {
            cluster.run(&["volume", "delete", &source, "--force", "--no-wait"]);
        }
        client = open(&cluster, generation);
        write_to(&mut client, generation);
    }
    println!("{last} generations in {:.1?}", begin.elapsed());
    drop(client);
    let kept: Vec<u64> = (1..last).filter(|generation| generation % KEPT_EVERY == 1).chain([last]).collect();
    for generation in &kept {
        check(&mut open(&cluster, *generation), *generation);
        cluster.verify(&name(*generation), Duration::from_secs(60)).expect("replicas are equal");
    }
    let ratio = ratio(&cluster, 1, last);
    println!("generation {last} against generation 1: {ratio:.2}");
    assert!(ratio < RATIO_MAX, "{ratio}");
    let kept: Vec<String> = kept.into_iter().map(name).collect();
    let all: Vec<&str> = kept.iter().map(String::as_str).collect();
    cluster.run(&[&["volume", "delete", "--force"], &all[..]].concat());
    cluster.settle();
    cluster.until_empty();
}
