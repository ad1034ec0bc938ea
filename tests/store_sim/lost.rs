//! Blocks that no replica has: what a store promises about them.

use block::{BlockIndex, BlockRange, Checksum, Epoch, Error, GroupIndex, SnapshotId, VolumeId, WriteSeq};
use store::{GroupContent, LostBlocks, Report, Source, Token};
use tests::sim::{Pool, offset};

const ONE: VolumeId = VolumeId(1);
const SNAPSHOT: SnapshotId = SnapshotId(5);
/// Group 1 is copied with blocks of data and, in between, two that are lost.
const DATA: u64 = 0b1_0101;
const LOST: u64 = 0b0_1010;

fn block_of(value: u64) -> Vec<u8> {
    value.to_le_bytes().repeat(512)
}

fn born() -> WriteSeq {
    WriteSeq { epoch: Epoch(2), n: 50 }
}

/// What was written to the lost blocks once: 71 and 73.
fn checksums() -> [Checksum; 2] {
    [71, 73].map(|value| Checksum::of(&block_of(value)))
}

fn begin_copy(pool: &mut Pool) -> Token {
    let data: Vec<u8> = [1000, 1002, 1004].into_iter().flat_map(block_of).collect();
    let lost = LostBlocks { blocks: LOST, checksums: &checksums() };
    let token = pool.token();
    let content = GroupContent { mapped: DATA, data: (&data).into(), lost };
    pool.store.replace_group_with_lost(ONE, GroupIndex(1), born(), content, token).expect("room");
    token
}

fn pool() -> Pool {
    let mut pool = Pool::new(40, 128, 4000);
    (64..128).for_each(|block| pool.write(block, block + 1));
    pool.flush();
    pool
}

fn copied() -> Pool {
    let mut pool = pool();
    let token = begin_copy(&mut pool);
    pool.end(token).expect("a copy ends");
    pool
}

fn first_six(pool: &mut Pool, source: Source) -> Vec<Result<u64, Error>> {
    (64..70).map(|block| pool.read_from(source, block)).collect()
}

const WITH_LOST: [Result<u64, Error>; 6] = [Ok(1000), Err(Error::Media), Ok(1002), Err(Error::Media), Ok(1004), Ok(0)];

#[test]
fn a_lost_block_cannot_be_read_from_memory_nor_from_the_disk_nor_after_a_crash() {
    let mut pool = pool();
    let token = begin_copy(&mut pool);
    // It has not left memory.
    let read = pool.token();
    pool.store.read(Source::Volume(ONE), BlockRange::new(65, 1), read).expect("a block of the volume");
    assert_eq!(pool.end(read), Err(Error::Media));
    pool.end(token).expect("a copy ends");
    for _ in 0..2 {
        assert_eq!(first_six(&mut pool, Source::Volume(ONE)), WITH_LOST);
        pool.kill().expect("the log was not torn");
    }
    pool.flush();
    pool.lose_power().expect("nor is it now");
    assert_eq!(first_six(&mut pool, Source::Volume(ONE)), WITH_LOST);
}

#[test]
fn what_is_acknowledged_behind_a_lost_block_survives() {
    let mut pool = copied();
    pool.write(200, 9);
    pool.kill().expect("it opens");
    assert_eq!((pool.read(200), pool.read(65)), (Ok(9), Err(Error::Media)));
}

#[test]
fn a_group_with_lost_blocks_is_replaced_whole_or_not_at_all() {
    for lost in 0..7 {
        let mut pool = pool();
        pool.holding = true;
        let token = begin_copy(&mut pool);
        pool.turn();
        assert_eq!(pool.held.len(), 1, "one device write");
        let held = pool.held[0].clone();
        assert_eq!(held.bytes.len(), 6 * 4096, "a header, three blocks and what stands for two");
        let landed = held.bytes.chunks_exact(4096).enumerate().filter(|(page, _)| *page != lost);
        for (page, bytes) in landed {
            let first = u32::try_from(held.at.0 / 4096).unwrap();
            pool.disk.write_stable(offset(first + u32::try_from(page).unwrap()), bytes);
        }
        assert!(pool.has_ended(token).is_none());
        pool.lose_power().expect("it opens");
        let found = first_six(&mut pool, Source::Volume(ONE));
        let before: Vec<_> = (64..70).map(|block| Ok(block + 1)).collect();
        assert_eq!(found, if lost < 6 { before } else { WITH_LOST.to_vec() }, "without page {lost}");
    }
}

#[test]
fn a_lost_block_is_lost_in_snapshots_and_clones_and_comes_back_in_all_of_them() {
    let mut pool = copied();
    let seq = |pool: &Pool| pool.store.volume(ONE).expect("volume 1").last_seq.next();
    let at = seq(&pool);
    let token = pool.token();
    pool.store.snapshot(ONE, at, SNAPSHOT, token).expect("room");
    pool.end(token).expect("it is cut");
    let token = pool.token();
    pool.store.clone_volume(Source::Snapshot(SNAPSHOT), VolumeId(2), "clone", 4000 * 4096, token).expect("room");
    pool.end(token).expect("it is made");
    pool.write(67, 700);
    let (at, token) = (seq(&pool), pool.token());
    pool.store.zero(ONE, at, BlockRange::new(65, 1), false, token).expect("room");
    pool.end(token).expect("it is discarded");
    pool.wait(61);
    pool.kill().expect("it opens");
    assert_eq!((pool.read(65), pool.read(67)), (Ok(0), Ok(700)));
    for source in [Source::Snapshot(SNAPSHOT), Source::Volume(VolumeId(2))] {
        assert_eq!(first_six(&mut pool, source), WITH_LOST);
    }
    let token = pool.token();
    pool.store.repair(Source::Snapshot(SNAPSHOT), BlockIndex(65), &block_of(71), token).expect("it is what was lost");
    pool.end(token).expect("it is written");
    pool.kill().expect("it opens");
    for source in [Source::Snapshot(SNAPSHOT), Source::Volume(VolumeId(2))] {
        assert_eq!(first_six(&mut pool, source)[..3], [Ok(1000), Ok(71), Ok(1002)]);
    }
    assert_eq!(pool.read(65), Ok(0));
}

#[test]
fn a_group_is_read_with_its_lost_blocks_named() {
    let mut pool = copied();
    let token = pool.token();
    assert_eq!(pool.store.read_group_with_lost(ONE, GroupIndex(1), token), Ok(born()));
    let Ok(bytes) = pool.end(token) else { panic!("it does not fail") };
    assert!(bytes[..4096] == block_of(1000)[..]);
    assert!(pool.reports.is_empty(), "nobody is to look at it: {:?}", pool.reports);
}

#[test]
fn scrub_tells_of_lost_blocks_and_reclaim_leaves_them_where_they_are() {
    let mut pool = copied();
    // Only a closed segment is scrubbed.
    (0..300).for_each(|block| pool.write(1000 + block, block + 1));
    pool.store.scrub(block::Instant(0));
    pool.wait(30);
    let bad = |report: &Report| match report {
        Report::BadBlock { block: Some((Source::Volume(ONE), block)), mismatch: true, .. } => Some(block.0),
        _ => None,
    };
    let mut found: Vec<u64> = pool.reports.iter().filter_map(bad).collect();
    found.sort_unstable();
    assert_eq!(found, [65, 67]);
    for round in 1..40 {
        (0..300).for_each(|block| pool.write(1000 + block, block + 1000 * round));
    }
    assert!(pool.store.stats().freed_segments > 0);
    assert_eq!(first_six(&mut pool, Source::Volume(ONE)), WITH_LOST);
    pool.kill().expect("it opens");
    assert_eq!(first_six(&mut pool, Source::Volume(ONE)), WITH_LOST);
}
