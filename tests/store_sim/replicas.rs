//! What a replica relies on, one promise after the other.

use block::{BLOCK_BYTES, BlockIndex, BlockRange, Epoch, Error, GroupIndex, SnapshotId, VolumeId, WriteSeq};
use store::{Refusal, RepairError, Report, Source, Store, Token};
use tests::sim::{Pool, offset};

const ONE: VolumeId = VolumeId(1);

/// Its segments hold a whole group in one piece.
fn pool() -> Pool {
    Pool::new(40, 128, 4000)
}

fn at(epoch: u32, n: u64) -> WriteSeq {
    WriteSeq { epoch: Epoch(epoch), n }
}

fn block_of(value: u64) -> Vec<u8> {
    value.to_le_bytes().repeat(BLOCK_BYTES / 8)
}

/// Asks and waits.
fn ask(pool: &mut Pool, call: impl FnOnce(&mut Store, Token) -> Result<(), Refusal>) -> Result<Vec<u8>, Error> {
    pool.make_room();
    let token = pool.token();
    call(&mut pool.store, token).expect("not refused");
    pool.end(token)
}

/// Begins to copy values to a group: one for every bit.
fn begin_copy(pool: &mut Pool, group: u64, born: WriteSeq, mapped: u64, first: u64) -> Result<Token, Refusal> {
    pool.make_room();
    let data: Vec<u8> = (0..u64::from(mapped.count_ones())).flat_map(|index| block_of(first + index)).collect();
    let token = pool.token();
    pool.store.replace_group(ONE, GroupIndex(group), born, mapped, &data, token).map(|()| token)
}

fn copy(pool: &mut Pool, group: u64, born: WriteSeq, mapped: u64, first: u64) {
    let token = begin_copy(pool, group, born, mapped, first).expect("room for a group");
    pool.end(token).expect("a copy ends");
}

fn group(pool: &mut Pool, group: u64, blocks: u64) -> Vec<u64> {
    (group * 64..group * 64 + blocks).map(|block| pool.read(block).expect("it can be read")).collect()
}

fn stamps(pool: &Pool, since: WriteSeq) -> Vec<(u64, WriteSeq)> {
    let changed = pool.store.changed(Source::Volume(ONE), since, GroupIndex(0)).expect("volume 1");
    changed.map(|changed| (changed.group.0, changed.born)).collect()
}

#[test]
fn a_group_is_replaced_whole_or_not_at_all() {
    let mapped = u64::MAX ^ (0b111 << 20);
    for lost in 0..63 {
        let mut pool = pool();
        (64..128).for_each(|block| pool.write(block, block + 1));
        pool.flush();
        let before = (group(&mut pool, 1, 64), stamps(&pool, WriteSeq::ZERO));
        pool.holding = true;
        let token = begin_copy(&mut pool, 1, at(2, 5), mapped, 1000).unwrap();
        pool.turn();
        assert_eq!(pool.held.len(), 1, "one device write");
        let held = pool.held[0].clone();
        assert_eq!(held.bytes.len(), 62 * 4096, "a header and 61 blocks");
        let pages = held.bytes.chunks_exact(4096).enumerate();
        let landed = pages.filter(|(page, _)| *page != lost);
        for (page, bytes) in landed {
            let first = u32::try_from(held.at.0 / 4096).unwrap();
            pool.disk.write_stable(offset(first + u32::try_from(page).unwrap()), bytes);
        }
        assert!(pool.has_ended(token).is_none());
        pool.lose_power().unwrap();
        let after = (group(&mut pool, 1, 64), stamps(&pool, WriteSeq::ZERO));
        if lost < 62 {
            assert_eq!(after, before, "a page is missing");
        } else {
            let values =
                (0..64).map(|bit| if mapped >> bit & 1 == 0 { 0 } else { 1000 + bit - if bit > 22 { 3 } else { 0 } });
            assert_eq!(after, (values.collect(), vec![(1, at(2, 5))]));
        }
    }
}

#[test]
fn a_copied_group_takes_nothing_from_a_snapshot() {
    let mut pool = pool();
    (0..64).for_each(|block| pool.write(block, block + 1));
    ask(&mut pool, |store, token| store.snapshot(ONE, at(0, 100), SnapshotId(5), token)).unwrap();
    let live = pool.store.space().live_bytes;
    copy(&mut pool, 0, at(1, 200), 0b11, 500);
    assert_eq!(pool.store.space().live_bytes, live + 2 * BLOCK_BYTES as u64);
    for _ in 0..2 {
        for block in 0..64 {
            let now = if block < 2 { block + 500 } else { 0 };
            assert_eq!(pool.read(block), Ok(now));
            assert_eq!(pool.read_from(Source::Snapshot(SnapshotId(5)), block), Ok(block + 1));
        }
        pool.kill().unwrap();
    }
    copy(&mut pool, 0, at(1, 201), 0, 0);
    assert_eq!(pool.store.space().live_bytes, live);
    ask(&mut pool, |store, token| store.delete_snapshot(SnapshotId(5), token)).unwrap();
    pool.settle();
    assert_eq!((pool.store.space().live_bytes, pool.read(1)), (0, Ok(0)));
}

#[test]
fn a_group_is_read_with_its_newest_change() {
    let mut pool = pool();
    copy(&mut pool, 62, at(3, 7), 0b1001, 300);
    let token = pool.token();
    assert_eq!(pool.store.read_group(ONE, GroupIndex(62), token), Ok(at(3, 7)));
    let bytes = pool.end(token).unwrap();
    let values: Vec<u64> =
        bytes.chunks_exact(BLOCK_BYTES).map(|page| u64::from_le_bytes(page[..8].try_into().unwrap())).collect();
    assert_eq!(values[..32], [&[300, 0, 0, 301][..], &[0; 28]].concat(), "the last group has 32 blocks");
    assert_eq!(pool.store.read_group(ONE, GroupIndex(0), Token(1000)), Ok(WriteSeq::ZERO));
    for beyond in [63, 1 << 40, u64::MAX] {
        assert_eq!(pool.store.read_group(ONE, GroupIndex(beyond), Token(1001)), Err(Refusal::OutOfRange));
    }
}

#[test]
fn groups_that_cannot_be_are_refused() {
    let mut pool = pool();
    let mut refused = |group, mapped| begin_copy(&mut pool, group, at(1, 1), mapped, 5).unwrap_err();
    assert_eq!(refused(62, 1 << 32), Refusal::OutOfRange, "past the end of the volume");
    assert_eq!(refused(63, 0), Refusal::OutOfRange);
    assert_eq!(refused(u64::MAX, 0), Refusal::OutOfRange);
    let nobody = VolumeId(9);
    let none = Err(Refusal::NoSuchVolume(nobody));
    assert_eq!(pool.store.replace_group(nobody, GroupIndex(0), at(1, 1), 0, &[], Token(1)), none);
    assert_eq!(pool.store.restamp(nobody, at(1, 1), Token(1)), none);
    assert!(stamps(&pool, WriteSeq::ZERO).is_empty(), "nothing was changed");
    let mut small = Pool::new(64, 32, 4096);
    assert_eq!(begin_copy(&mut small, 0, at(1, 1), u64::MAX, 5), Err(Refusal::OutOfRange), "larger than a segment");
    copy(&mut small, 0, at(1, 1), (1 << 28) - 1, 5);
    assert_eq!(group(&mut small, 0, 30)[26..], [31, 32, 0, 0]);
}

#[test]
fn a_flush_covers_what_has_ended_and_settling_covers_everything() {
    let mut pool = pool();
    pool.write(1, 1);
    pool.flush();
    (pool.holding, pool.holding_syncs) = (true, true);
    let write = pool.begin_write(1, 2, false).unwrap();
    let (flush, settle) = (pool.token(), pool.token());
    pool.store.flush(flush).unwrap();
    pool.store.settle(settle).unwrap();
    pool.turn();
    assert!(pool.has_ended(flush).is_some(), "nothing has ended since the last one");
    pool.release(0);
    pool.turn();
    assert!(pool.has_ended(write).is_some() && pool.has_ended(settle).is_none(), "it is not on stable media");
    pool.release_syncs();
    assert!(pool.has_ended(settle).is_some());
    pool.lose_power().unwrap();
    assert_eq!(pool.read(1), Ok(2));
}

#[test]
fn settling_a_quiet_pool_ends_at_once_and_makes_stable_what_ended() {
    let mut pool = pool();
    for value in 1..4 {
        pool.write(1, value);
        ask(&mut pool, Store::settle).unwrap();
        let syncs = pool.store.stats().syncs;
        ask(&mut pool, Store::settle).unwrap();
        assert_eq!(pool.store.stats().syncs, syncs);
        pool.lose_power().unwrap();
        assert_eq!(pool.read(1), Ok(value));
    }
    pool.fail[0] = true;
    let write = pool.begin_write(1, 9, false).unwrap();
    assert!(pool.end(write).is_err());
    assert_eq!(pool.store.settle(Token(1000)), Err(Refusal::Poisoned));
}

/// What the stamps are depends on where the stable point was then, not on where it is later.
#[test]
fn stamps_are_the_same_after_a_crash_as_before() {
    for crash in 0..3 {
        let mut pool = pool();
        (0..10).for_each(|group| copy(&mut pool, group, at(1, group + 1), 1, group + 50));
        ask(&mut pool, |store, token| store.stable(ONE, at(1, 4), token)).unwrap();
        ask(&mut pool, |store, token| store.restamp(ONE, at(2, 0), token)).unwrap();
        ask(&mut pool, |store, token| store.stable(ONE, at(1, 8), token)).unwrap();
        copy(&mut pool, 12, at(2, 30), 0, 0);
        let expected: Vec<_> = (4..10).map(|group| (group, at(2, 0))).chain([(12, at(2, 30))]).collect();
        assert_eq!(stamps(&pool, at(1, 4)), expected);
        assert_eq!(pool.store.volume(ONE).unwrap().last_seq, at(2, 30));
        ask(&mut pool, Store::settle).unwrap();
        match crash {
            0 => drop(pool.kill().unwrap()),
            1 => drop(pool.lose_power().unwrap()),
            _ => {
                pool.wait(61);
                assert!(pool.store.stats().checkpoints > 0);
                pool.lose_power().unwrap();
            }
        }
        assert_eq!(stamps(&pool, at(1, 4)), expected);
        let state = pool.store.volume(ONE).unwrap();
        assert_eq!((state.stable, state.last_seq), (at(1, 8), at(2, 30)));
    }
}

/// A stamp of a new epoch begins to count at zero; the volume's order goes on where it was.
#[test]
fn numbers_go_on_across_epochs() {
    let mut pool = pool();
    copy(&mut pool, 0, at(3, 500), 1, 5);
    ask(&mut pool, |store, token| store.restamp(ONE, at(9, 0), token)).unwrap();
    for _ in 0..2 {
        assert_eq!(pool.store.volume(ONE).unwrap().last_seq, at(9, 500));
        pool.kill().unwrap();
    }
}

#[test]
fn a_lost_block_is_written_anew_for_everyone_who_holds_it() {
    let mut pool = pool();
    copy(&mut pool, 2, at(4, 9), u64::MAX, 1);
    ask(&mut pool, |store, token| store.snapshot(ONE, at(4, 10), SnapshotId(5), token)).unwrap();
    pool.flush();
    let place = pool.places(8)[0];
    pool.rot(place, 77);
    assert!(pool.read(135).is_err());
    let found =
        Report::BadBlock { at: offset(place), block: Some((Source::Volume(ONE), BlockIndex(135))), mismatch: true };
    assert!(pool.reports.contains(&found), "{:?}", pool.reports);
    let live = pool.store.space().live_bytes;
    let wrong = pool.store.repair(ONE, BlockIndex(135), &block_of(9), Token(1000));
    assert!(matches!(wrong, Err(RepairError::Differs { .. })), "{wrong:?}");
    let token = pool.token();
    pool.store.repair(ONE, BlockIndex(135), &block_of(8), token).unwrap();
    pool.end(token).unwrap();
    for _ in 0..2 {
        assert_eq!((pool.read(135), pool.read_from(Source::Snapshot(SnapshotId(5)), 135)), (Ok(8), Ok(8)));
        assert_eq!(stamps(&pool, WriteSeq::ZERO), [(2, at(4, 9))]);
        assert_eq!(pool.store.space().live_bytes, live);
        pool.kill().unwrap();
    }
}

#[test]
fn what_was_changed_meanwhile_is_not_repaired() {
    let mut pool = pool();
    pool.write(5, 1);
    pool.write(5, 2);
    let late = pool.store.repair(ONE, BlockIndex(5), &block_of(1), Token(1000));
    assert!(matches!(late, Err(RepairError::Differs { .. })), "{late:?}");
    let seq = pool.store.volume(ONE).unwrap().last_seq.next();
    ask(&mut pool, |store, token| store.zero(ONE, seq, BlockRange::new(5, 1), false, token)).unwrap();
    assert_eq!(pool.store.repair(ONE, BlockIndex(5), &block_of(2), Token(1000)), Err(RepairError::Hole));
    let beyond = pool.store.repair(ONE, BlockIndex(4000), &block_of(2), Token(1000));
    assert_eq!(beyond, Err(RepairError::Refused(Refusal::OutOfRange)));
    assert_eq!(pool.read(5), Ok(0));
}

/// A segment in which scrub found a bad block is left alone, until the block lies elsewhere.
#[test]
fn a_repaired_block_no_longer_holds_its_segment() {
    let mut pool = Pool::new(40, 32, 4096);
    (0..300).for_each(|block| pool.write(block, block + 1));
    let place = pool.places(50)[0];
    pool.rot(place, 99);
    let rotten = pool.disk.page(place);
    pool.store.scrub(block::Instant(0));
    pool.wait(30);
    assert!(pool.reports.iter().any(|report| matches!(report, Report::BadBlock { .. })));
    let overwrite = |pool: &mut Pool, rounds: std::ops::Range<u64>| {
        for round in rounds {
            (0..300).filter(|block| block % 8 != 1).for_each(|block| pool.write(block, block + 1000 * round));
        }
    };
    overwrite(&mut pool, 1..30);
    assert!(pool.disk.page(place) == rotten && pool.store.stats().reclaimed_blocks > 0);
    pool.make_room();
    let token = pool.token();
    pool.store.repair(ONE, BlockIndex(49), &block_of(50), token).unwrap();
    pool.end(token).unwrap();
    overwrite(&mut pool, 30..60);
    assert!(pool.disk.page(place) != rotten, "its segment was used again");
    (0..300).filter(|block| block % 8 == 1).for_each(|block| assert_eq!(pool.read(block), Ok(block + 1)));
}

#[test]
fn a_full_pool_takes_empty_groups_and_stamps_and_no_more_data() {
    let mut pool = Pool::new(40, 128, 40_000);
    let mut written = 0;
    loop {
        match begin_copy(&mut pool, written, at(1, written + 1), u64::MAX, 7) {
            Ok(token) => drop(pool.end(token).unwrap()),
            Err(refusal) => {
                assert!(matches!(refusal, Refusal::NoSpace { .. }), "{refusal}");
                break;
            }
        }
        written += 1;
    }
    assert!(written > 30, "{written}");
    ask(&mut pool, |store, token| store.restamp(ONE, at(2, 0), token)).unwrap();
    // An overwrite always fits, and so does what frees.
    copy(&mut pool, 3, at(2, 1), u64::MAX, 100);
    copy(&mut pool, 4, at(2, 2), 0, 0);
    copy(&mut pool, written, at(2, 3), 0b1111, 200);
    assert_eq!((pool.read(3 * 64 + 5), pool.read(4 * 64 + 5), pool.read(written * 64 + 3)), (Ok(105), Ok(0), Ok(203)));
    pool.kill().unwrap();
    assert_eq!(stamps(&pool, at(2, 0)), [(3, at(2, 1)), (4, at(2, 2)), (written, at(2, 3))]);
}

/// Each leaf that a snapshot holds as well is copied when it is stamped anew.
#[test]
fn stamps_that_would_overfill_the_pool_with_copies_of_the_map_are_refused() {
    let mut pool = Pool::new(40, 32, 100 << 10);
    (0..20).for_each(|leaf| pool.write(leaf << 10, leaf + 1));
    let mut next = 30_000;
    while let Ok(token) = pool.begin_write(next, next, false) {
        pool.end(token).unwrap();
        next += 1;
    }
    ask(&mut pool, |store, token| store.snapshot(ONE, at(0, 1 << 20), SnapshotId(1), token)).unwrap();
    pool.make_room();
    let before = stamps(&pool, WriteSeq::ZERO);
    assert!(matches!(pool.store.restamp(ONE, at(1, 0), Token(1000)), Err(Refusal::NoSpace { .. })));
    assert_eq!(stamps(&pool, WriteSeq::ZERO), before);
    ask(&mut pool, |store, token| store.delete_snapshot(SnapshotId(1), token)).unwrap();
    pool.settle();
    ask(&mut pool, |store, token| store.restamp(ONE, at(1, 0), token)).unwrap();
    assert!(stamps(&pool, WriteSeq::ZERO).iter().all(|(_, born)| *born == at(1, 0)));
    pool.wait(61);
    pool.kill().unwrap();
    pool.write(5, 5);
    assert_eq!((pool.read(5), pool.read(19 << 10)), (Ok(5), Ok(20)));
}

#[test]
fn scrub_and_reclaim_know_which_blocks_a_copy_brought() {
    let mut pool = Pool::new(40, 64, 8000);
    let mapped = 0xf0f0;
    (0..120).for_each(|group| copy(&mut pool, group, at(1, group + 1), mapped, 1000 * group + 1));
    pool.flush();
    let place = pool.places(3006)[0];
    pool.rot(place, 9);
    pool.store.scrub(block::Instant(0));
    pool.wait(30);
    let sixth = BlockIndex(3 * 64 + 13);
    let found = Report::BadBlock { at: offset(place), block: Some((Source::Volume(ONE), sixth)), mismatch: true };
    assert!(pool.reports.contains(&found), "{:?}", pool.reports);
    for round in 1..20 {
        let others = (0..120).filter(|group| group % 4 != 3);
        others.for_each(|group| copy(&mut pool, group, at(1, 100 * round + group), mapped, 1000 * group + round));
    }
    assert!(pool.store.stats().reclaimed_blocks > 0);
    pool.kill().unwrap();
    for group in (0..120).filter(|group| group % 4 == 3) {
        let blocks = (0..64).filter(|bit| mapped >> bit & 1 == 1).zip(1000 * group + 1..);
        for (bit, value) in blocks.filter(|(bit, _)| group * 64 + bit != sixth.0) {
            assert_eq!(pool.read(group * 64 + bit), Ok(value));
        }
    }
}

/// A snapshot that is smaller than its volume by then, and what began as it: the same through a checkpoint and a restart.
#[test]
fn a_snapshot_knows_its_volume_and_its_own_size_and_a_clone_its_place() {
    let mut pool = pool();
    let (small, size) = (1 << 20, 1 << 21);
    ask(&mut pool, |store, token| store.create_volume(VolumeId(2), "two", size, token)).unwrap();
    let data = block_of(7);
    ask(&mut pool, |store, token| store.write(VolumeId(2), at(3, 1), BlockIndex(5), &data, false, token)).unwrap();
    let cut = |store: &mut Store, size_bytes, token| {
        store.snapshot_sized(VolumeId(2), at(3, 9), SnapshotId(8), size_bytes, token)
    };
    for wrong in [0, 4095, size + 4096] {
        pool.make_room();
        let token = pool.token();
        assert_eq!(cut(&mut pool.store, wrong, token), Err(Refusal::OutOfRange));
    }
    ask(&mut pool, |store, token| cut(store, small, token)).unwrap();
    let source = Source::Snapshot(SnapshotId(8));
    ask(&mut pool, |store, token| store.clone_volume(source, VolumeId(3), "three", size, token)).unwrap();
    let check = |pool: &mut Pool| {
        let found: Vec<_> = pool.store.snapshots_of(VolumeId(2)).copied().collect();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].id, found[0].size_bytes, found[0].seq), (SnapshotId(8), small, at(3, 9)));
        assert_eq!(pool.store.snapshots_of(VolumeId(3)).count(), 0);
        let clone = pool.store.volume(VolumeId(3)).unwrap();
        assert_eq!((clone.stable, clone.last_seq, clone.size_bytes), (at(3, 9), at(3, 9), size));
        let token = pool.token();
        let behind = pool.store.read(source, BlockRange::new(small / 4096 - 1, 2), token);
        assert_eq!(behind, Err(Refusal::OutOfRange));
        assert_eq!((pool.read_from(source, 5), pool.read_from(Source::Volume(VolumeId(3)), 5)), (Ok(7), Ok(7)));
        assert_eq!(pool.read_from(Source::Volume(VolumeId(3)), 300), Ok(0));
    };
    check(&mut pool);
    pool.lose_power().unwrap();
    check(&mut pool);
    pool.wait(100);
    pool.lose_power().unwrap();
    check(&mut pool);
}

/// A snapshot counts with what it holds, however much of it lies where another one has it.
#[test]
fn digests_are_of_snapshots_as_well() {
    let digests = |values: [u64; 3], is_shared: bool| {
        let mut pool = pool();
        for (number, value) in (1..).zip(values) {
            if !is_shared || number == 1 || values[number - 2] != value {
                pool.write(70, value);
            }
            let id = SnapshotId(number as u64);
            ask(&mut pool, |store, token| store.snapshot(ONE, at(0, 500 + number as u64), id, token)).unwrap();
        }
        pool.write(70, 9);
        let all = [1, 2, 3].map(SnapshotId);
        let found = pool.store.digests_with(ONE, &all, GroupIndex(0), 3).unwrap();
        found.into_iter().map(|group| group.digest).collect::<Vec<_>>()
    };
    let one = digests([5, 5, 6], true);
    assert_eq!(one, digests([5, 5, 6], false));
    for other in [[5, 6, 6], [6, 5, 6], [5, 5, 5]] {
        let other = digests(other, true);
        assert_eq!((one[0], one[2]), (other[0], other[2]));
        assert_ne!(one[1], other[1]);
    }
}
