//! The failure table of the store, one row after the other.

use block::{BlockRange, VolumeId};
use store::{OpenError, Probe, Refusal, Report, Source, probe};
use tests::sim::{Pool, SimDisk, offset};

const HEADER: &[u8] = b"PLbatch1";

fn pool() -> Pool {
    Pool::new(64, 32, 4096)
}

fn bad_blocks(pool: &Pool) -> usize {
    pool.reports.iter().filter(|report| matches!(report, Report::BadBlock { .. })).count()
}

/// The open fails with these words, and nothing was written.
fn refused(pool: &mut Pool, words: &str) -> OpenError {
    let before = pool.image();
    let error = pool.kill().expect_err("it must be refused");
    assert!(error.to_string().contains(words), "{error}");
    assert!(pool.image() == before, "a refused pool is not written to");
    error
}

#[test]
fn power_loss_mid_batch_leaves_the_old_mapping() {
    for kept in 0..2 {
        let mut pool = pool();
        pool.write(5, 100);
        pool.flush();
        pool.holding = true;
        let token = pool.begin_write(5, 101, false).unwrap();
        pool.turn();
        let torn = pool.held[0].clone();
        assert_eq!(torn.bytes.len(), 2 * 4096, "a header and a block");
        let half = &torn.bytes[kept * 4096..][..4096];
        pool.disk.write_stable(offset(u32::try_from(torn.at.0 / 4096).unwrap() + u32::try_from(kept).unwrap()), half);
        assert!(pool.has_ended(token).is_none());
        pool.lose_power().unwrap();
        assert_eq!(pool.read(5), Ok(100));
    }
}

#[test]
fn behind_a_lost_batch_nothing_counts_and_nothing_comes_back() {
    for cold in [false, true] {
        let mut pool = pool();
        pool.write(1, 10);
        pool.write(2, 20);
        pool.flush();
        pool.holding = true;
        let first = pool.begin_write(1, 11, false).unwrap();
        pool.turn();
        let second = pool.begin_write(2, 21, false).unwrap();
        pool.turn();
        assert_eq!(pool.held.len(), 2);
        let lost = pool.held[0].clone();
        pool.release(1);
        assert!(pool.has_ended(second).is_none(), "the second is not acknowledged before the first");
        assert!(pool.has_ended(first).is_none());
        pool.disk.sync_all();
        let open = |pool: &mut Pool| if cold { pool.lose_power() } else { pool.kill() };
        open(&mut pool).unwrap();
        assert_eq!((pool.read(1), pool.read(2)), (Ok(10), Ok(20)));
        // What was missing lands after all: behind the cut it stays without effect.
        pool.disk.write_stable(lost.at, &lost.bytes);
        for value in 30..33 {
            pool.write(3, value);
        }
        pool.flush();
        for _ in 0..3 {
            open(&mut pool).unwrap();
            assert_eq!((pool.read(1), pool.read(2), pool.read(3)), (Ok(10), Ok(20), Ok(32)));
        }
    }
}

#[test]
fn a_write_is_acknowledged_in_order_and_fua_after_a_sync() {
    let mut pool = pool();
    let syncs = pool.store.stats().syncs;
    let token = pool.begin_write(1, 1, true).unwrap();
    pool.end(token).unwrap();
    assert!(pool.store.stats().syncs > syncs);
    pool.lose_power().unwrap();
    assert_eq!(pool.read(1), Ok(1));
}

#[test]
fn a_flush_covers_what_had_ended() {
    let mut pool = pool();
    pool.write(1, 1);
    pool.flush();
    pool.write(1, 2);
    pool.flush();
    pool.lose_power().unwrap();
    assert_eq!(pool.read(1), Ok(2));
}

#[test]
fn a_kill_loses_nothing_acknowledged() {
    let mut pool = pool();
    for value in 1..200 {
        pool.write(value % 7, value);
        if value % 50 == 0 {
            pool.kill().unwrap();
        }
    }
    pool.kill().unwrap();
    for value in 193..200 {
        assert_eq!(pool.read(value % 7), Ok(value));
    }
}

#[test]
fn power_loss_loses_only_what_was_not_flushed() {
    let mut pool = pool();
    (0..20).for_each(|block| pool.write(block, block + 1));
    pool.flush();
    (0..10).for_each(|block| pool.write(block, block + 1001));
    let report = pool.lose_power().unwrap();
    assert!(report.cold);
    for block in 0..20 {
        assert_eq!(pool.read(block), Ok(block + 1));
    }
}

#[test]
fn wrong_bytes_are_never_given_out() {
    for damage in 0..3 {
        let mut pool = pool();
        pool.write(1, 10);
        pool.write(2, 20);
        pool.flush();
        let (place, other) = (pool.places(10)[0], pool.places(20)[0]);
        match damage {
            0 => pool.rot(place, 1234),
            1 => pool.put(place, &pool.disk.page(other)),
            _ => pool.put(place, &[0; 4096]),
        }
        assert!(pool.read(1).is_err());
        let named = |report: &Report| matches!(report, Report::BadBlock { at, .. } if *at == offset(place));
        assert!(pool.reports.iter().any(named), "the report says where: {:?}", pool.reports);
        assert_eq!((bad_blocks(&pool), pool.read(2)), (1, Ok(20)));
        pool.write(1, 11);
        assert_eq!(pool.read(1), Ok(11));
        pool.kill().unwrap();
        assert_eq!((pool.read(1), pool.read(2)), (Ok(11), Ok(20)));
    }
}

#[test]
fn what_a_segment_held_before_does_not_come_back() {
    let mut pool = Pool::new(32, 32, 64);
    for value in 1..6000 {
        pool.write(value % 13, value);
        match value % 401 {
            100 => drop(pool.kill().unwrap()),
            300 => {
                pool.flush();
                pool.lose_power().unwrap();
            }
            _ => continue,
        }
        for age in 0..13.min(value) {
            assert_eq!(pool.read((value - age) % 13), Ok(value - age));
        }
    }
    assert!(pool.store.stats().freed_segments > 0 || pool.store.space().free_segments > 0);
}

#[test]
fn one_torn_superblock_costs_nothing_and_two_are_refused() {
    for page in [0, 256] {
        let mut pool = pool();
        pool.write(1, 10);
        pool.wait(61);
        pool.write(2, 20);
        pool.flush();
        pool.rot(page, 3000);
        pool.kill().unwrap();
        assert_eq!((pool.read(1), pool.read(2)), (Ok(10), Ok(20)));
        pool.rot(0, 100);
        pool.rot(256, 100);
        refused(&mut pool, "no superblock is valid");
    }
}

/// A crash between the two copies of a superblock: the newer one counts, wherever it lies.
#[test]
fn the_newer_superblock_wins() {
    for checkpoints in 0..2 {
        let mut pool = pool();
        for _ in 0..checkpoints {
            pool.write(1, 1);
            pool.wait(61);
        }
        (0..40).for_each(|block| pool.write(block, block + 10));
        pool.flush();
        pool.holding = true;
        pool.wait(61);
        let mut copies = 0;
        while copies < 2 {
            let superblock = [offset(0), offset(256)].contains(&pool.held.first().expect("a checkpoint is written").at);
            copies += u32::from(superblock);
            if copies < 2 {
                pool.release(0);
                pool.settle();
            }
        }
        let report = pool.kill().unwrap();
        assert!(report.replayed_batches < 10, "{report:?}");
        assert_eq!((pool.read(0), pool.read(39)), (Ok(10), Ok(49)));
    }
}

/// A power cut may tear everything that is not stable: never both copies of the superblock.
#[test]
fn the_second_superblock_is_not_touched_before_the_first_is_stable() {
    let superblock = |pool: &Pool| pool.held.first().is_some_and(|held| [offset(0), offset(256)].contains(&held.at));
    let mut pool = pool();
    (0..40).for_each(|block| pool.write(block, block + 10));
    pool.holding = true;
    pool.wait(61);
    while !superblock(&pool) {
        pool.release(0);
        pool.settle();
    }
    let first = pool.held[0].at;
    pool.holding_syncs = true;
    pool.release(0);
    pool.settle();
    assert!(pool.held.is_empty(), "{:?} is written while the other copy may be torn", pool.held[0].at);
    pool.release_syncs();
    pool.settle();
    assert!(superblock(&pool) && pool.held[0].at != first);
}

/// A pool with closed segments in its log; `recorded`: and a header on stable media that says they are durable; a header page in the first of them, and its summary's last page.
fn with_closed_segments(recorded: bool) -> (Pool, u32, u32) {
    let mut pool = pool();
    (0..40).for_each(|block| pool.write(block, block + 1));
    pool.flush();
    pool.write(99, 99);
    if recorded {
        pool.flush();
    }
    let first = (pool.pages_with(b"PLsegmnt")[0] - 512) / 32;
    let header =
        pool.pages_with(HEADER).into_iter().filter(|page| (page - 512) / 32 == first).nth(3).expect("four batches");
    (pool, header, 512 + first * 32 + 31)
}

#[test]
fn a_closed_segment_has_two_copies_of_its_headers() {
    for case in 0..4 {
        let (mut pool, header, summary) = with_closed_segments(case < 2);
        pool.rot([header, summary][case % 2], [60, 4090][case % 2]);
        pool.lose_power().unwrap();
        for block in 0..40 {
            assert_eq!(pool.read(block), Ok(block + 1));
        }
    }
    let (mut pool, header, summary) = with_closed_segments(true);
    pool.rot(header, 60);
    pool.rot(summary, 4090);
    let error = refused(&mut pool, "were on stable media");
    assert!(matches!(error, OpenError::Log(_)));
}

#[test]
fn a_failed_write_or_sync_ends_all_writing() {
    for kind in 0..2 {
        let mut pool = pool();
        pool.write(1, 10);
        pool.flush();
        pool.fail[kind] = true;
        let token = pool.begin_write(1, 11, true).unwrap();
        assert!(pool.end(token).is_err());
        assert!(pool.store.poisoned().is_some());
        assert_eq!(pool.begin_write(2, 20, false), Err(Refusal::Poisoned));
        assert_eq!(pool.read(3), Ok(0));
        pool.lose_power().unwrap();
        assert!([Ok(10), Ok(11)].contains(&pool.read(1)));
        pool.write(2, 21);
        assert_eq!(pool.read(2), Ok(21));
    }
}

#[test]
fn what_was_read_ahead_is_verified_and_never_stale() {
    let mut pool = Pool::new(64, 64, 4096);
    (0..400).for_each(|block| pool.write(block, block + 1));
    pool.flush();
    pool.rot(pool.places(51)[0], 99);
    let before = pool.store.stats().device_reads;
    for block in 0..400 {
        if block == 200 {
            // Its old place may be in memory already.
            (190..260).for_each(|block| pool.write(block, block + 5000));
        }
        let value = if (200..260).contains(&block) { block + 5000 } else { block + 1 };
        let expected = if block == 50 { None } else { Some(value) };
        assert_eq!(pool.read(block).ok(), expected, "block {block}");
    }
    assert_eq!(bad_blocks(&pool), 1);
    let reads = pool.store.stats().device_reads - before;
    assert!(reads < 100, "{reads} device reads for 400 blocks in a row");
    // Whoever does not go on does not keep segments from being used again.
    for round in 0..20 {
        (0..400).for_each(|block| pool.write(block, block + 10_000 * round));
        (0..5).for_each(|block| assert_eq!(pool.read(block), Ok(block + 10_000 * round)));
    }
}

/// A run longer than one fetch, and pieces of it that do not end where fetches do.
#[test]
fn long_runs_are_read_ahead_in_pieces() {
    let mut pool = Pool::new(40, 512, 4096);
    let seq = pool.store.volume(VolumeId(1)).unwrap().last_seq.next();
    let data: Vec<u8> = (1..=250_u64).flat_map(|value| value.to_le_bytes().repeat(512)).collect();
    let token = pool.token();
    pool.store.write(VolumeId(1), seq, block::BlockIndex(0), &data, true, token).unwrap();
    pool.end(token).unwrap();
    let before = pool.store.stats().device_reads;
    for first in (0..245).step_by(7) {
        let token = pool.token();
        pool.store.read(Source::Volume(VolumeId(1)), BlockRange::new(first, 7), token).unwrap();
        let from = usize::try_from(first).unwrap() * 4096;
        assert!(pool.end(token).unwrap()[..7 * 4096] == data[from..from + 7 * 4096], "block {first}");
    }
    let reads = pool.store.stats().device_reads - before;
    assert!(reads < 15, "{reads} device reads for 35 in a row");
}

#[test]
fn a_failed_read_is_one_failed_read() {
    let mut pool = pool();
    pool.write(1, 10);
    pool.fail[2] = true;
    assert!(pool.read(1).is_err());
    assert_eq!((bad_blocks(&pool), pool.read(1)), (1, Ok(10)));
}

#[test]
fn a_full_pool_refuses_and_keeps_everything() {
    let mut pool = Pool::new(32, 32, 4096);
    let mut written = 0;
    let refusal = loop {
        match pool.begin_write(written, written + 1, false) {
            Ok(token) => drop(pool.end(token).unwrap()),
            Err(refusal) => break refusal,
        }
        written += 1;
    };
    assert!(matches!(refusal, Refusal::NoSpace { .. }), "{refusal}");
    assert!(written > 100, "{written}");
    for round in [1000, 2000] {
        (0..20).for_each(|block| pool.write(block, block + round));
    }
    pool.kill().unwrap();
    for block in 20..written {
        assert_eq!(pool.read(block), Ok(block + 1));
    }
    let token = pool.token();
    let seq = pool.store.volume(VolumeId(1)).unwrap().last_seq.next();
    pool.make_room();
    pool.store.zero(VolumeId(1), seq, BlockRange::new(0, 50), true, token).unwrap();
    pool.end(token).unwrap();
    (4000..4020).for_each(|block| pool.write(block, block));
    let token = pool.token();
    pool.make_room();
    pool.store.delete_volume(VolumeId(1), token).unwrap();
    pool.end(token).unwrap();
    for _ in 0..100 {
        pool.turn();
    }
    assert_eq!(pool.store.space().live_bytes, 0);
}

#[test]
fn what_is_no_pool_of_ours_is_refused() {
    let mut pool = pool();
    let foreign = SimDisk::new(1 << 22, tests::sim::Lie::Honest);
    foreign.write_stable(offset(0), &[7; 4096]);
    assert!(matches!(probe(&foreign), Ok(Probe::Foreign { .. })));
    let too_small = store::open(&pool.disk, 1 << 22, store::BootId(1)).expect_err("too small");
    assert!(matches!(too_small, OpenError::DeviceTooSmall { .. }));
    for page in [0, 256] {
        let mut bytes = pool.disk.page(page);
        bytes[8] = 4;
        pool.put(page, &bytes);
    }
    refused(&mut pool, "format version 4; this program reads versions 1 to 3");
    assert_eq!(probe(&pool.disk), Ok(Probe::NewerPool { version: 4 }));
}

#[test]
fn scrub_finds_planted_rot() {
    let (mut pool, _, _) = with_closed_segments(true);
    for value in [3, 9] {
        pool.rot(pool.places(value)[0], 7);
    }
    pool.store.scrub(block::Instant(0));
    pool.wait(30);
    let counts = pool.reports.iter().find_map(|report| match report {
        Report::Scrubbed { blocks, bad_blocks } => Some((*blocks, *bad_blocks)),
        _ => None,
    });
    assert_eq!(counts.map(|(blocks, bad)| (blocks > 20, bad)), Some((true, 2)));
    assert_eq!(bad_blocks(&pool), 2);
}

/// Rot in the checkpoint would be found when the pool is opened, and then it is too late.
#[test]
fn scrub_finds_rot_in_the_map_and_has_it_written_anew() {
    for magic in [&b"PLmp"[..], b"PLroots1"] {
        let mut pool = pool();
        (0..40).for_each(|block| pool.write(block, block + 1));
        pool.wait(61);
        let place = *pool.pages_with(magic).last().expect("a checkpoint was written");
        // Scrub goes through closed segments.
        (2000..2100).for_each(|block| pool.write(block, block + 1));
        pool.flush();
        pool.rot(place, 100);
        pool.store.scrub(block::Instant(0));
        pool.wait(61);
        assert_eq!(bad_blocks(&pool), 1, "{}", magic.escape_ascii());
        let checkpoints = pool.store.stats().checkpoints;
        pool.wait(120);
        assert!(pool.store.stats().checkpoints > 0, "{checkpoints}");
        pool.kill().unwrap();
        assert_eq!((pool.read(1), pool.read(39), pool.read(2050)), (Ok(2), Ok(40), Ok(2051)));
    }
}

#[test]
fn reclaim_leaves_a_rotten_block_and_moves_the_rest() {
    let mut pool = Pool::new(40, 32, 4096);
    for block in 0..300 {
        pool.write(block, block + 1);
    }
    let place = pool.places(50)[0];
    pool.rot(place, 99);
    let rotten = pool.disk.page(place);
    for round in 1..30 {
        for block in (0..300).filter(|block| block % 8 != 1) {
            pool.write(block, block + 1000 * round);
        }
    }
    assert!(pool.store.stats().reclaimed_blocks > 0, "{:?}", pool.store.stats());
    assert!(bad_blocks(&pool) > 0);
    assert!(pool.disk.page(place) == rotten, "the rotten block's segment is kept");
    assert!(pool.read(49).is_err());
    for block in (0..300).filter(|block| block % 8 == 1 && *block != 49) {
        assert_eq!(pool.read(block), Ok(block + 1));
    }
}

/// A checkpoint that begins when the open segment has no room left starts replay at that segment's end, and the batch it
/// starts with is found through its header.
#[test]
fn the_segment_that_leads_to_the_start_of_replay_is_kept() {
    for writes in 0..40 {
        let mut pool = Pool::new(40, 32, 4096);
        (0..=writes).for_each(|value| pool.write(5, value + 1));
        pool.wait(61);
        pool.write(5, 1000);
        pool.flush();
        (0..60).for_each(|value| pool.write(6, value + 1));
        pool.kill().unwrap_or_else(|error| panic!("after {writes} writes: {error}"));
        assert_eq!((pool.read(5), pool.read(6)), (Ok(1000), Ok(60)));
    }
}

#[test]
fn kills_while_a_checkpoint_is_written_use_up_no_space() {
    let mut pool = Pool::new(40, 32, 100 << 10);
    (0..100).for_each(|leaf| pool.write(leaf << 10, leaf + 1));
    let mut free_segments = Vec::new();
    for _ in 0..100 {
        pool.kill().unwrap();
        free_segments.push(pool.store.space().free_segments);
        // Some of the hundred nodes, not all.
        (0..8).for_each(|_| _ = pool.turn());
        assert!(pool.store.stats().device_writes > 0 && pool.store.stats().checkpoints == 0);
    }
    assert_eq!(free_segments[1], free_segments[99], "{free_segments:?}");
    pool.kill().unwrap();
    pool.write(7, 7);
    assert_eq!((pool.read(7), pool.read(99 << 10)), (Ok(7), Ok(100)));
}

/// Reclaim moves blocks and is killed before it has gained anything, over and over: what it leaves must be enough for a
/// checkpoint, which alone can give segments back.
#[test]
fn kills_while_space_is_reclaimed_leave_room_for_a_checkpoint() {
    for turns in [3, 5, 8, 13, 21, 34] {
        let mut pool = Pool::new(40, 32, 100 << 10);
        (0..80).for_each(|leaf| pool.write(leaf << 10, leaf + 1));
        (0..330).for_each(|block| pool.write(2000 + block, block + 1));
        (0..330).filter(|block| block % 3 == 0).for_each(|block| pool.write(2000 + block, block + 5000));
        for _ in 0..60 {
            pool.kill().unwrap();
            (0..turns).for_each(|_| _ = pool.turn());
        }
        pool.kill().unwrap();
        pool.write(2000, 7);
        assert_eq!((pool.read(2000), pool.read(79 << 10), pool.read(2003)), (Ok(7), Ok(80), Ok(5003)));
    }
}

#[test]
fn a_discard_that_frees_nothing_does_not_overfill_the_pool() {
    let mut pool = Pool::new(40, 32, 100 << 10);
    (0..90).for_each(|leaf| pool.write(leaf << 10, leaf + 1));
    let mut next = 3000;
    while let Ok(token) = pool.begin_write(next, next, false) {
        pool.end(token).unwrap();
        next += 1;
    }
    let seq = pool.store.volume(VolumeId(1)).unwrap().last_seq.next();
    let token = pool.token();
    pool.make_room();
    pool.store.snapshot(VolumeId(1), seq, block::SnapshotId(1), token).unwrap();
    pool.end(token).unwrap();
    let discard = |pool: &mut Pool| {
        let token = pool.token();
        pool.make_room();
        let seq = pool.store.volume(VolumeId(1)).unwrap().last_seq.next();
        pool.store.zero(VolumeId(1), seq, BlockRange::new(0, 100 << 10), false, token).map(|()| token)
    };
    assert!(matches!(discard(&mut pool), Err(Refusal::NoSpace { .. })), "the snapshot holds every block of it");
    let token = pool.token();
    pool.store.delete_snapshot(block::SnapshotId(1), token).unwrap();
    pool.end(token).unwrap();
    pool.settle();
    let token = discard(&mut pool).expect("now it frees all of them");
    pool.end(token).unwrap();
    pool.write(5, 5);
    assert_eq!((pool.read(5), pool.read(3000)), (Ok(5), Ok(0)));
}

/// More runs than a superblock has cuts for, each of which would write: the last of them may only write a checkpoint.
#[test]
fn a_hundred_kills_before_any_checkpoint_still_open() {
    let mut pool = pool();
    let mut written = 0;
    for kill in 1..=100 {
        if pool.store.has_room() {
            let token = pool.begin_write(1, kill, false).unwrap();
            while pool.has_ended(token).is_none() {
                pool.turn();
            }
            written = kill;
        }
        assert_eq!(pool.store.stats().checkpoints, 0);
        pool.kill().unwrap();
    }
    assert!((50..100).contains(&written), "{written} runs wrote");
    assert_eq!(pool.read(1), Ok(written));
    pool.write(1, 1000);
    pool.kill().unwrap();
    assert_eq!(pool.read(1), Ok(1000));
}

#[test]
fn fifty_kills_without_a_checkpoint_still_open() {
    let mut pool = pool();
    for kill in 0..50 {
        pool.holding = false;
        let token = pool.begin_write(1, kill + 1, false).unwrap();
        while pool.has_ended(token).is_none() {
            pool.turn();
        }
        pool.kill().unwrap();
        assert_eq!(pool.store.stats().checkpoints, 0);
    }
    assert_eq!(pool.read_from(Source::Volume(VolumeId(1)), 1), Ok(50));
}
