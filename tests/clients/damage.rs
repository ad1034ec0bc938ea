//! What lies on the disk is not believed: rotten and misplaced bytes are an error for whoever reads them, and nobody
//! else; what is not a pool is left alone.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Duration;

use tests::node::Home;
use tests::stamp::{BLOCK, Content, decode, encode};
use tests::tool::{fail, run};
use tests::wait;

const EIO: u32 = 5;
const BLOCKS: u64 = 64;
const STOP_LIMIT: Duration = Duration::from_secs(10);

fn stamped(block: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(block, 1, &mut bytes);
    bytes
}

/// A folder with a stopped pool that holds stamped blocks.
fn stopped_pool() -> Home {
    let home = Home::default();
    let mut node = home.start();
    let mut client = node.client();
    for block in 0..BLOCKS {
        client.write(block * BLOCK as u64, &stamped(block), 0).expect("a write");
    }
    drop(client);
    assert_eq!(node.stop_within(STOP_LIMIT), 0);
    home
}

/// Where in the pool each stamped block lies.
fn places(pool: &Path) -> Vec<u64> {
    let bytes = fs::read(pool).expect("the pool");
    let mut places = vec![0; usize::try_from(BLOCKS).expect("few")];
    for (at, page) in (0_u64..).step_by(BLOCK).zip(bytes.chunks_exact(BLOCK)) {
        // Where a stamp says which block it is.
        let block = u64::from_le_bytes(page[8..16].try_into().expect("eight bytes"));
        if block < BLOCKS && decode(block, page) == Ok(Content::Stamped(1)) {
            places[usize::try_from(block).expect("few")] = at;
        }
    }
    assert!(places.iter().all(|at| *at > 0), "every block lies somewhere: {places:?}");
    places
}

fn open(pool: &Path) -> File {
    File::options().read(true).write(true).open(pool).expect("the pool")
}

/// Reads every block; the bad ones must fail and the others be right.
fn assert_bad(home: &Home, bad: &[u64]) {
    let node = home.start();
    let mut client = node.client();
    for block in 0..BLOCKS {
        let read = client.read(block * BLOCK as u64, 4096);
        let expected = if bad.contains(&block) { Err(EIO) } else { Ok(stamped(block)) };
        assert!(read == expected, "block {block} is read as {:?}", read.map(|bytes| decode(block, &bytes)));
    }
    // What is written anew is whole again.
    for block in bad {
        client.write(block * BLOCK as u64, &stamped(*block), 0).expect("a write");
        assert!(client.read(block * BLOCK as u64, 4096) == Ok(stamped(*block)), "block {block} after a new write");
    }
}

#[test]
fn a_rotten_block_is_an_error_and_its_neighbours_are_not() {
    let home = stopped_pool();
    let place = places(&home.path("pool"))[17];
    let pool = open(&home.path("pool"));
    let mut byte = [0];
    pool.read_exact_at(&mut byte, place + 1234).expect("a byte");
    run(&mut home.check());
    pool.write_all_at(&[byte[0] ^ 0x10], place + 1234).expect("a byte");
    fail(&mut home.check());
    assert_bad(&home, &[17]);
}

#[test]
fn blocks_in_each_others_places_are_noticed() {
    let home = stopped_pool();
    let places = places(&home.path("pool"));
    let pool = open(&home.path("pool"));
    pool.write_all_at(&stamped(3), places[40]).expect("a block");
    pool.write_all_at(&stamped(40), places[3]).expect("a block");
    assert_bad(&home, &[3, 40]);
}

#[test]
fn a_lost_superblock_is_replaced_by_the_other() {
    let home = stopped_pool();
    for at in [0, 1 << 20] {
        open(&home.path("pool")).write_all_at(&[0xff; BLOCK], at).expect("a superblock");
        assert_bad(&home, &[]);
    }
}

#[test]
fn what_is_no_pool_is_refused_and_left_alone() {
    let home = Home::default();
    let foreign = vec![0x42; 64 << 20];
    fs::write(home.path("pool"), &foreign).expect("a file");
    let mut node = home.launch("nbd.sock");
    let code = wait::until("the node to refuse", || node.running.ended());
    assert_ne!(code, 0, "{}", node.log());
    assert!(node.log().contains("pool"), "a refusal says of what: {}", node.log());
    assert!(fs::read(home.path("pool")).expect("the file") == foreign, "a refused file was changed");
}
