//! A pool of every format version that can be read, as the program of that time left it: killed, with a checkpoint and
//! a log behind it. Today's program must find in it what was written then.
//!
//! `cargo test --release -p tests --test store_sim write_the_fixture -- --ignored` writes the one of the present version.

use std::path::PathBuf;

use block::{
    BLOCK_BYTES, BlockIndex, BlockRange, Checksum, Epoch, Error, GroupIndex, PAGE_BYTES, SnapshotId, VolumeId, WriteSeq,
};
use store::{BootId, GroupContent, LostBlocks, Source};
use tests::sim::{Lie, Pool, SimDisk, offset};

const SEGMENTS: u32 = 40;
const SEGMENT_PAGES: u32 = 32;
const CLONE: VolumeId = VolumeId(3);
const SNAPSHOT: SnapshotId = SnapshotId(9);
/// Since version 2: the newest change of what was copied, and the stamp that it has in the end.
const COPIED: WriteSeq = WriteSeq { epoch: Epoch(3), n: 9 };
const STAMPED: WriteSeq = WriteSeq { epoch: Epoch(4), n: 0 };
/// Since version 3: a snapshot, and a clone of it, of a volume of which a block is lost.
const LATER: SnapshotId = SnapshotId(10);
const LATER_CLONE: VolumeId = VolumeId(4);
const LOST: Checksum = Checksum(0x1234_5678);

fn path(version: u16) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("fixtures/pool-v{version}.bin"))
}

/// Writes, overwrites, zeroes, a snapshot, a clone, a deleted volume and a larger one; half of it before a checkpoint. Since
/// version 2, what replicas do; since version 3, blocks that none of them has.
fn build() -> Pool {
    let mut pool = Pool::new(SEGMENTS, SEGMENT_PAGES, 3000);
    (0..40).for_each(|block| pool.write(block, block + 100));
    change(&mut pool, |store, token| store.create_volume(VolumeId(2), "two", 64 * BLOCK_BYTES as u64, token));
    let seq = next_seq(&pool);
    change(&mut pool, |store, token| store.snapshot(VolumeId(1), seq, SNAPSHOT, token));
    (0..10).for_each(|block| pool.write(block, block + 200));
    pool.wait(61);
    assert!(pool.store.stats().checkpoints > 0);
    let clone = |store: &mut store::Store, token| {
        store.clone_volume(Source::Snapshot(SNAPSHOT), CLONE, "klön", 4000 * BLOCK_BYTES as u64, token)
    };
    change(&mut pool, clone);
    let seq = next_seq(&pool);
    change(&mut pool, |store, token| store.zero(VolumeId(1), seq, BlockRange::new(5, 10), false, token));
    pool.write(2999, 300);
    change(&mut pool, |store, token| store.delete_volume(VolumeId(2), token));
    let seq = next_seq(&pool);
    let larger = 5000 * BLOCK_BYTES as u64;
    change(&mut pool, |store, token| store.resize_volume(VolumeId(1), seq, larger, token));
    pool.write(4999, 400);
    replicate(&mut pool);
    lose(&mut pool);
    pool.flush();
    pool
}

/// A group with a block of data and two that are lost, one of which is written again behind a snapshot and a clone of it.
fn lose(pool: &mut Pool) {
    let data = [600_u64; 512].map(u64::to_le_bytes).concat();
    let born = next_seq(pool);
    let lost = LostBlocks { blocks: 0b1010, checksums: &[LOST, Checksum(7)] };
    let content = GroupContent { mapped: 1, data: (&data).into(), lost };
    change(pool, |store, token| store.replace_group_with_lost(VolumeId(1), GroupIndex(30), born, content, token));
    let seq = next_seq(pool);
    change(pool, |store, token| store.snapshot(VolumeId(1), seq, LATER, token));
    let source = Source::Snapshot(LATER);
    change(pool, |store, token| store.clone_volume(source, LATER_CLONE, "later", 5000 * BLOCK_BYTES as u64, token));
    pool.write(30 * 64 + 3, 601);
}

fn expect_lost(pool: &mut Pool) {
    let first = 30 * 64;
    assert_eq!((pool.read(first), pool.read(first + 2), pool.read(first + 3)), (Ok(600), Ok(0), Ok(601)));
    for source in [Source::Snapshot(LATER), Source::Volume(LATER_CLONE)] {
        let found: Vec<_> = (0..4).map(|block| pool.read_from(source, first + block)).collect();
        assert_eq!(found, [Ok(600), Err(Error::Media), Ok(0), Err(Error::Media)]);
    }
    assert_eq!(pool.read(first + 1), Err(Error::Media));
    let held = pool.store.held(VolumeId(1), BlockIndex(first + 1)).expect("it is mapped");
    assert_eq!(held.checksum, LOST);
}

/// A stable point, a group with two blocks, one without any, and a new stamp for both.
fn replicate(pool: &mut Pool) {
    let stable = pool.store.volume(VolumeId(1)).expect("volume 1").last_seq;
    change(pool, |store, token| store.stable(VolumeId(1), stable, token));
    let data: Vec<u8> = [500_u64, 501].into_iter().flat_map(|value| value.to_le_bytes().repeat(512)).collect();
    for (group, mapped, data) in [(1, 0b101, &data[..]), (20, 0, &[])] {
        change(pool, |store, token| store.replace_group(VolumeId(1), GroupIndex(group), COPIED, mapped, data, token));
    }
    change(pool, |store, token| store.restamp(VolumeId(1), STAMPED, token));
}

fn expect_replicated(pool: &mut Pool) {
    assert_eq!((pool.read(64), pool.read(65), pool.read(66)), (Ok(500), Ok(0), Ok(501)));
    let state = pool.store.volume(VolumeId(1)).expect("volume 1");
    assert_eq!((state.stable.epoch, state.last_seq.epoch), (Epoch(0), STAMPED.epoch));
    assert_eq!(state.stable.n, state.last_seq.n, "numbers go on across epochs");
    let changed = pool.store.changed(Source::Volume(VolumeId(1)), state.stable, GroupIndex(0)).expect("volume 1");
    let changed: Vec<_> = changed.map(|changed| (changed.group.0, changed.born)).collect();
    assert_eq!(changed, [(1, STAMPED), (20, STAMPED)]);
}

fn next_seq(pool: &Pool) -> block::WriteSeq {
    pool.store.volume(VolumeId(1)).expect("volume 1").last_seq.next()
}

fn change(pool: &mut Pool, call: impl FnOnce(&mut store::Store, store::Token) -> Result<(), store::Refusal>) {
    let token = pool.token();
    call(&mut pool.store, token).expect("room");
    pool.end(token).expect("done");
}

fn expect(pool: &mut Pool) {
    let volumes: Vec<_> = pool.store.volumes().map(|state| (state.name.clone(), state.size_bytes)).collect();
    let bytes = |blocks: u64| blocks * BLOCK_BYTES as u64;
    assert_eq!(volumes[..2], [("one".to_owned(), bytes(5000)), ("klön".to_owned(), bytes(4000))]);
    for block in 0..40 {
        let now = match block {
            0..5 => block + 200,
            5..15 => 0,
            _ => block + 100,
        };
        assert_eq!(pool.read(block), Ok(now), "block {block}");
        assert_eq!(pool.read_from(Source::Snapshot(SNAPSHOT), block), Ok(block + 100));
        assert_eq!(pool.read_from(Source::Volume(CLONE), block), Ok(block + 100));
    }
    assert_eq!((pool.read(2999), pool.read(4999), pool.read(3000)), (Ok(300), Ok(400), Ok(0)));
}

/// Pages as runs of equal 8-byte words: page number, number of runs, then length and word of each.
fn encode(pool: &Pool) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (page, content) in pool.image() {
        let words: Vec<&[u8]> = content.chunks_exact(8).collect();
        let runs: Vec<&[&[u8]]> = words.chunk_by(|left, right| left == right).collect();
        bytes.extend(page.to_le_bytes());
        bytes.extend(u16::try_from(runs.len()).expect("at most 512").to_le_bytes());
        for run in runs {
            bytes.extend(u16::try_from(run.len()).expect("at most 512").to_le_bytes());
            bytes.extend(run[0]);
        }
    }
    bytes
}

fn decode(mut bytes: &[u8]) -> SimDisk {
    fn take<const N: usize>(bytes: &mut &[u8]) -> [u8; N] {
        let (head, rest) = bytes.split_first_chunk().expect("the fixture is whole");
        *bytes = rest;
        *head
    }
    let pages = u64::from(512 + SEGMENTS * SEGMENT_PAGES);
    let disk = SimDisk::new(pages * BLOCK_BYTES as u64, Lie::Honest);
    while !bytes.is_empty() {
        let page = u32::from_le_bytes(take(&mut bytes));
        let mut content = Vec::with_capacity(PAGE_BYTES);
        for _ in 0..u16::from_le_bytes(take(&mut bytes)) {
            let length = u16::from_le_bytes(take(&mut bytes));
            let word: [u8; 8] = take(&mut bytes);
            content.extend(word.repeat(length.into()));
        }
        disk.write_stable(offset(page), &content);
    }
    disk
}

fn fixture(version: u16) -> SimDisk {
    let bytes = std::fs::read(path(version)).unwrap_or_else(|error| panic!("{}: {error}", path(version).display()));
    decode(&bytes)
}

/// Before anything of the new version is written, so that a program of that time never opens what it cannot read.
#[test]
fn a_pool_of_an_older_version_is_one_of_the_present_once_it_was_opened() {
    for version in layout::FORMAT_VERSION_MIN..layout::FORMAT_VERSION {
        let disk = fixture(version);
        let inspected = |disk: &SimDisk| store::inspect(disk, disk.bytes(), BootId(1)).expect("a pool").format_version;
        assert_eq!(inspected(&disk), version, "looking at it changes nothing");
        let mut pool = Pool::on(disk);
        for page in [0, 256] {
            assert_eq!(pool.disk.page(page)[8..10], layout::FORMAT_VERSION.to_le_bytes());
        }
        assert_eq!(inspected(&pool.disk), layout::FORMAT_VERSION);
        if version == 1 {
            replicate(&mut pool);
        }
        expect_replicated(&mut pool);
        lose(&mut pool);
        pool.kill().expect("it opens again");
        expect(&mut pool);
        expect_lost(&mut pool);
    }
}

#[test]
fn pools_of_every_format_version_open_and_hold_what_was_written() {
    for version in layout::FORMAT_VERSION_MIN..=layout::FORMAT_VERSION {
        let disk = fixture(version);
        let report = store::check(&disk, disk.bytes(), BootId(1), &mut |_, _| {}).expect("it can be read");
        // What is lost is told; everything else is whole.
        let lost: Vec<_> = report.bad.iter().map(|bad| bad.block).collect();
        assert!(lost == expected_lost(version) && report.blocks > 40, "{report:?}");
        let mut pool = Pool::on(disk);
        expect(&mut pool);
        if version == 2 {
            expect_replicated(&mut pool);
        }
        if version >= 3 {
            expect_lost(&mut pool);
        }
        pool.write(1, 7);
        pool.wait(61);
        pool.kill().expect("it goes on as a pool of today");
        assert_eq!((pool.read(1), pool.read(4999)), (Ok(7), Ok(400)));
    }
}

fn expected_lost(version: u16) -> &'static [u64] {
    if version >= 3 { &[30 * 64 + 1, 30 * 64 + 3] } else { &[] }
}

#[test]
#[ignore = "writes a file of the repository; only for a new format version"]
fn write_the_fixture() {
    let mut pool = build();
    let bytes = encode(&pool);
    expect(&mut pool);
    expect_lost(&mut pool);
    std::fs::write(path(layout::FORMAT_VERSION), bytes).expect("written");
}
