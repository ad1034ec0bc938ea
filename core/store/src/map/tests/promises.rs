//! One test for each promise that deserves a name.

use block::{BlockCount, BlockIndex, BlockRange, Checksum, Epoch, GroupIndex, SnapshotId, VolumeId, WriteSeq};

use super::harness::{World, blocks_of};
use crate::map::{
    DiskRef, FamilyId, Image, Kind, Location, Map, NodeCounts, Place, PlacedGroup, Progress, Restamp, RestampCost,
    RestoreError, Run, Source, Tree, VersionError, VersionId, VersionRecord,
};

const GIB_BLOCKS: u64 = 1 << 18;
const ONE: VolumeId = VolumeId(1);
const TWO: VolumeId = VolumeId(2);

fn seq(n: u64) -> WriteSeq {
    WriteSeq { epoch: Epoch(1), n }
}

fn put(map: &mut Map, volume: VolumeId, block: u64, location: u32, n: u64) -> Vec<Location> {
    let mut dead = Vec::new();
    let head = map.head(volume).unwrap();
    map.set(head, BlockIndex(block), Location(location), &[Checksum(location)], seq(n), &mut dead);
    dead
}

fn map_with(volume: VolumeId) -> Map {
    let mut map = Map::default();
    map.create_head(volume, BlockIndex(GIB_BLOCKS)).unwrap();
    map
}

#[test]
fn an_overwritten_place_dies_unless_the_snapshot_holds_it() {
    let mut map = map_with(ONE);
    assert_eq!(put(&mut map, ONE, 5, 100, 1), []);
    assert_eq!(put(&mut map, ONE, 5, 101, 2), [Location(100)]);
    map.snapshot(ONE, SnapshotId(7)).unwrap();
    assert_eq!(put(&mut map, ONE, 5, 102, 3), []);
    assert_eq!(put(&mut map, ONE, 5, 103, 4), [Location(102)]);
}

#[test]
fn an_entry_applied_twice_kills_nothing() {
    let mut map = map_with(ONE);
    assert_eq!(put(&mut map, ONE, 5, 100, 1), []);
    assert_eq!(put(&mut map, ONE, 5, 100, 1), []);
}

/// The trap: two volumes cloned from one snapshot. Were the deleted snapshot taken out while both live, an overwrite
/// in one would find no parent that holds the block, and free what the other one reads.
#[test]
fn a_branch_point_taken_out_early_would_free_live_data() {
    let branched = || {
        let mut map = map_with(ONE);
        put(&mut map, ONE, 5, 100, 1);
        map.snapshot(ONE, SnapshotId(7)).unwrap();
        map.clone_from(Source::Snapshot(SnapshotId(7)), TWO, BlockIndex(GIB_BLOCKS)).unwrap();
        let branch = map.snapshot_version(SnapshotId(7)).unwrap();
        map.delete_snapshot(SnapshotId(7)).unwrap();
        assert_eq!(map.delete_step(1000, &mut Vec::new()), Progress::Done);
        (map, branch)
    };

    let (mut broken, branch) = branched();
    let gone = broken.splice_out(branch);
    assert_eq!(put(&mut broken, ONE, 5, 101, 2), [Location(100)], "the planted bug frees it");
    let reader = broken.head(TWO).unwrap();
    assert_eq!(broken.lookup(reader, BlockIndex(5)).unwrap().location, Location(100), "which is still read");
    drop(gone);

    let (mut map, branch) = branched();
    assert_eq!(map.version(branch).kind(), Kind::Hidden);
    assert_eq!(put(&mut map, ONE, 5, 101, 2), []);
    let mut dead = Vec::new();
    map.delete_head(TWO).unwrap();
    assert_eq!(map.delete_step(1000, &mut dead), Progress::Done);
    assert_eq!(dead, [Location(100)]);
    assert_eq!(map.versions().count(), 1);
}

#[test]
fn a_snapshot_costs_no_node_and_the_next_write_copies_one_path() {
    let mut map = map_with(ONE);
    put(&mut map, ONE, 5, 100, 1);
    put(&mut map, ONE, 5000, 101, 2);
    let before = map.counts();
    assert_eq!(before, NodeCounts { leaves: 2, inners: 1, pages: 3 });
    map.snapshot(ONE, SnapshotId(7)).unwrap();
    assert_eq!(map.counts(), before);
    put(&mut map, ONE, 5, 102, 3);
    put(&mut map, ONE, 6, 103, 3);
    assert_eq!(map.counts(), NodeCounts { leaves: 3, inners: 2, pages: 5 });
}

#[test]
fn a_full_leaf_takes_three_pages() {
    let mut map = map_with(ONE);
    let head = map.head(ONE).unwrap();
    let crcs = [Checksum(1); 1024];
    map.set(head, BlockIndex(0), Location(1), &crcs[..468], seq(1), &mut Vec::new());
    assert_eq!(map.counts().pages, 1);
    map.set(head, BlockIndex(468), Location(469), &crcs[..1], seq(2), &mut Vec::new());
    assert_eq!(map.counts().pages, 2);
    map.set(head, BlockIndex(0), Location(2000), &crcs, seq(3), &mut Vec::new());
    assert_eq!(map.counts(), NodeCounts { leaves: 1, inners: 0, pages: 3 });
}

#[test]
fn a_discard_is_stamped_where_something_was_written_and_nowhere_else() {
    let mut map = Map::default();
    map.create_head(ONE, BlockIndex(1 << 34)).unwrap();
    let head = map.head(ONE).unwrap();
    put(&mut map, ONE, 5, 100, 1);
    put(&mut map, ONE, 1 << 33, 101, 2);
    let mut dead = Vec::new();
    let most = BlockRange { first: BlockIndex(0), count: BlockCount(u32::MAX) };
    map.zero(head, most, seq(3), &mut dead);
    assert_eq!(dead, [Location(100)]);
    let changed =
        |since| map.changed(head, seq(since), GroupIndex(0)).map(|group| group.group.0 * 64).collect::<Vec<_>>();
    assert_eq!(changed(2), (0..16).map(|group| group * 64).collect::<Vec<_>>());
    assert_eq!(changed(1).last(), Some(&(1 << 33)));
    assert_eq!(map.runs(head, most).collect::<Vec<_>>(), [Run::Hole { count: most.count }]);
}

#[test]
fn a_stamp_is_never_lowered() {
    let mut map = map_with(ONE);
    put(&mut map, ONE, 5, 100, 9);
    put(&mut map, ONE, 6, 101, 3);
    let head = map.head(ONE).unwrap();
    assert_eq!(map.changed(head, seq(8), GroupIndex(0)).next().unwrap().born, seq(9));
    assert_eq!(map.changed(head, seq(8), GroupIndex(1)).next(), None);
}

#[test]
fn a_copied_group_leaves_to_the_snapshot_what_it_shares_with_it() {
    let mut map = map_with(ONE);
    for block in 60..70 {
        put(&mut map, ONE, block, u32::try_from(block).unwrap() + 40, 1);
    }
    map.snapshot(ONE, SnapshotId(7)).unwrap();
    assert_eq!(put(&mut map, ONE, 62, 200, 2), []);
    let head = map.head(ONE).unwrap();
    let mut dead = Vec::new();
    let crcs = [Checksum(1); 2];
    let placed = PlacedGroup { group: GroupIndex(0), mapped: 1 | 1 << 61, location: Location(300), crcs: &crcs };
    map.replace_group(head, placed, seq(3), &mut dead);
    assert_eq!(dead, [Location(200)], "the only one that the snapshot does not hold");
    let held = blocks_of(map.version(head).tree());
    let group = held.range(..64).map(|(block, entry)| (*block, entry.0)).collect::<Vec<_>>();
    assert_eq!((group, held.range(64..).count()), (vec![(0, 300), (61, 301)], 6));
    let snapshot = map.snapshot_version(SnapshotId(7)).unwrap();
    assert_eq!(map.lookup(snapshot, BlockIndex(62)).unwrap().location, Location(102));
    assert_eq!((map.born(head, GroupIndex(0)), map.born(snapshot, GroupIndex(0))), (seq(3), seq(1)));
}

/// Somewhere else the group held data that was zeroed: whoever missed that must be told.
#[test]
fn an_empty_group_is_stamped_even_where_nothing_was_ever_written() {
    let mut map = map_with(ONE);
    let head = map.head(ONE).unwrap();
    let placed = PlacedGroup { group: GroupIndex(100), mapped: 0, location: Location::NONE, crcs: &[] };
    map.replace_group(head, placed, seq(5), &mut Vec::new());
    let changed: Vec<_> = map.changed(head, seq(4), GroupIndex(0)).map(|changed| changed.group.0).collect();
    assert_eq!((changed, map.born(head, GroupIndex(100))), (vec![100], seq(5)));
}

#[test]
fn an_older_copy_does_not_lower_a_stamp() {
    let mut map = map_with(ONE);
    put(&mut map, ONE, 5, 100, 9);
    let head = map.head(ONE).unwrap();
    let placed = PlacedGroup { group: GroupIndex(0), mapped: 1, location: Location(200), crcs: &[Checksum(1)] };
    map.replace_group(head, placed, seq(3), &mut Vec::new());
    assert_eq!(map.born(head, GroupIndex(0)), seq(9));
}

#[test]
fn what_came_after_a_place_is_stamped_anew_and_nothing_else_is_touched() {
    let mut map = map_with(ONE);
    for (block, n) in [(0, 4), (64, 6), (5000, 5), (9000, 20)] {
        put(&mut map, ONE, block, u32::try_from(block).unwrap() + 1, n);
    }
    map.snapshot(ONE, SnapshotId(7)).unwrap();
    let (head, before) = (map.head(ONE).unwrap(), map.counts());
    let restamp = Restamp { after: seq(5), seq: seq(10) };
    assert_eq!(map.restamp_cost(head, restamp), RestampCost { leaves: 1, shared: 1 });
    map.restamp(head, restamp);
    let stamps = [0, 1, 78, 140].map(|group| map.born(head, GroupIndex(group)).n);
    assert_eq!(stamps, [4, 10, 5, 20]);
    assert_eq!(map.counts().leaves, before.leaves + 1, "a leaf without such a group is not copied");
    let snapshot = map.snapshot_version(SnapshotId(7)).unwrap();
    assert_eq!(map.born(snapshot, GroupIndex(1)), seq(6));
}

#[test]
fn a_run_ends_where_locations_are_not_consecutive() {
    let mut map = map_with(ONE);
    let head = map.head(ONE).unwrap();
    let crcs = [Checksum(1); 10];
    map.set(head, BlockIndex(1020), Location(50), &crcs, seq(1), &mut Vec::new());
    put(&mut map, ONE, 1022, 7, 2);
    let lengths = map.runs(head, BlockRange::new(1000, 2000)).map(|run| match run {
        Run::Hole { count } => -i64::from(count.0),
        Run::Mapped { entries } => i64::try_from(entries.len()).unwrap(),
    });
    assert_eq!(lengths.collect::<Vec<_>>(), [-20, 2, 1, 1, 6, -1970]);
}

#[test]
fn a_relocated_block_stays_shared_and_an_image_keeps_the_old_place() {
    let mut map = map_with(ONE);
    put(&mut map, ONE, 5, 100, 1);
    map.snapshot(ONE, SnapshotId(7)).unwrap();
    map.clone_from(Source::Head(ONE), TWO, BlockIndex(GIB_BLOCKS)).unwrap();
    let before = map.counts();
    let image = map.freeze();
    assert!(map.relocate(TWO, BlockIndex(5), Location(100), Location(200)));
    assert_eq!(map.counts().leaves, 2 * before.leaves, "one copy for all versions, one for the image");
    for (id, _) in map.versions() {
        assert_eq!(map.lookup(id, BlockIndex(5)).unwrap().location, Location(200));
    }
    assert!(image.versions.iter().all(|version| blocks_of(&version.tree)[&5].0 == 100));
    map.release(image.into_trees());
    assert_eq!(map.release_step(100), Progress::Done);
    assert_eq!(map.counts(), before);
}

#[test]
fn a_volume_made_again_is_another_family() {
    let mut map = map_with(ONE);
    put(&mut map, ONE, 5, 100, 1);
    map.snapshot(ONE, SnapshotId(7)).unwrap();
    map.delete_head(ONE).unwrap();
    map.create_head(ONE, BlockIndex(GIB_BLOCKS)).unwrap();
    put(&mut map, ONE, 5, 101, 1);
    assert_eq!(map.delete_step(10, &mut Vec::new()), Progress::Done);
    assert_eq!(map.find_holder(ONE, BlockIndex(5), Location(100)), map.snapshot_version(SnapshotId(7)));
    assert_eq!(map.find_holder(ONE, BlockIndex(5), Location(101)), map.head(ONE));
}

#[test]
fn two_hundred_generations_of_clone_then_delete_the_source_leave_one_volume() {
    let mut world = World::default();
    let mut volume = world.create(5000);
    for generation in 0..200_u64 {
        world.set(volume, generation * 37 % 4000, 20);
        let next = match generation % 2 {
            0 => world.clone_from(Source::Head(volume), 0),
            _ => {
                let snapshot = world.snapshot(volume);
                let next = world.clone_from(Source::Snapshot(snapshot), 0);
                world.delete(Kind::Snapshot(snapshot));
                next
            }
        };
        world.set(next, generation * 91 % 4000, 10);
        world.delete(Kind::Head(volume));
        if generation % 3 == 0 {
            world.settle();
        } else {
            world.delete_step(1);
        }
        if generation % 10 == 0 {
            world.reload();
        }
        world.check();
        volume = next;
    }
    world.settle();
    world.check();
    assert_eq!(world.map.versions().count(), 1);
    world.delete(Kind::Head(volume));
    world.settle();
    assert_eq!(world.map.counts(), NodeCounts::default());
    assert!(world.live.is_empty());
}

/// The order in which both versions of a chain are reduced must not matter, nor that one was half done.
#[test]
fn deletions_started_anew_in_another_order_free_the_same() {
    for first in [0, 3] {
        let mut world = World::default();
        let volume = world.create(5000);
        let mut snapshots = Vec::new();
        for round in 0..4 {
            world.set(volume, round * 3, 2000);
            snapshots.push(world.snapshot(volume));
        }
        world.set(volume, 0, 1500);
        for at in [2, 1] {
            world.delete(Kind::Snapshot(snapshots[at]));
        }
        world.delete_step(1);
        world.delete(Kind::Snapshot(snapshots[first]));
        world.reload();
        let mut queue: Vec<VersionId> = world.map.deletions.drain(..).collect();
        queue.reverse();
        world.map.deletions.extend(queue);
        world.set(volume, 800, 600);
        world.check();
        world.settle();
        world.check();
    }
}

/// The parent's tree is one leaf, the deleted version's has three levels above its leaves.
#[test]
fn a_high_tree_is_reduced_to_a_low_one_and_stays_a_tree() {
    let mut world = World::default();
    let volume = world.create(900);
    world.set(volume, 0, 30);
    world.snapshot(volume);
    world.resize(volume, 1 << 28);
    for first in [10, 5000, 1 << 20, 1 << 27] {
        world.set(volume, first, 30);
    }
    let high = world.snapshot(volume);
    for first in [20, 5010, 1 << 20, 1 << 27] {
        world.set(volume, first, 30);
    }
    world.delete(Kind::Snapshot(high));
    let mut steps = 0;
    while world.delete_step(1) == Progress::More {
        steps += 1;
        world.check();
        if steps % 2 == 0 {
            world.reload();
        }
        world.set(volume, steps * 3, 3);
    }
    world.check();
    world.check_space();
    assert!(steps > 5);
}

#[test]
fn a_node_that_is_rewritten_loses_its_copy_in_every_version() {
    let mut map = map_with(ONE);
    put(&mut map, ONE, 5, 100, 1);
    put(&mut map, ONE, 5000, 101, 1);
    map.snapshot(ONE, SnapshotId(7)).unwrap();
    let head = map.head(ONE).unwrap();
    let mut places = Vec::new();
    let mut walk = crate::map::Walk::default();
    let next = |map: &Map, walk: &mut crate::map::Walk| {
        walk.next(map.version(head).tree()).map(|found| (found.node.clone(), found.place))
    };
    while let Some((node, place)) = next(&map, &mut walk) {
        let at = Location(u32::try_from(places.len()).unwrap() + 1);
        map.note_written(&node, DiskRef { at, pages: 1, crc: Checksum(0) });
        places.push(place);
    }
    let place = |level, index| Place { level, index };
    assert_eq!(places, [place(0, 0), place(0, 4), place(1, 0)]);
    assert!(!map.rewrite(FamilyId(0), place(0, 4), Location(9)));
    assert!(map.rewrite(FamilyId(0), place(0, 4), Location(2)));
    let mut retired: Vec<u32> = map.retired().drain(..).map(|disk| disk.at.0).collect();
    retired.sort_unstable();
    assert_eq!(retired, [2, 3]);
    assert_eq!(map.counts(), NodeCounts { leaves: 2, inners: 1, pages: 3 });
}

#[test]
fn what_cannot_be_is_refused() {
    let mut map = map_with(ONE);
    let end = BlockIndex(GIB_BLOCKS);
    map.snapshot(ONE, SnapshotId(7)).unwrap();
    let less = BlockIndex(5);
    let most = BlockIndex((1 << 34) + 1);
    assert_eq!(map.create_head(ONE, end), Err(VersionError::VolumeExists(ONE)));
    assert_eq!(map.create_head(TWO, most), Err(VersionError::Size { asked: most }));
    assert_eq!(map.snapshot(TWO, SnapshotId(8)), Err(VersionError::NoSuchVolume(TWO)));
    assert_eq!(map.snapshot(ONE, SnapshotId(7)), Err(VersionError::SnapshotExists(SnapshotId(7))));
    assert_eq!(map.clone_from(Source::Head(ONE), TWO, less), Err(VersionError::Size { asked: less }));
    assert_eq!(map.clone_from(Source::Head(ONE), ONE, end), Err(VersionError::VolumeExists(ONE)));
    let missing = SnapshotId(8);
    assert_eq!(map.clone_from(Source::Snapshot(missing), TWO, end), Err(VersionError::NoSuchSnapshot(missing)));
    assert_eq!(map.resize(ONE, less), Err(VersionError::Size { asked: less }));
    assert_eq!(map.delete_head(TWO), Err(VersionError::NoSuchVolume(TWO)));
    assert_eq!(map.delete_snapshot(missing), Err(VersionError::NoSuchSnapshot(missing)));
    assert_eq!(map.versions().count(), 2);
}

#[test]
fn an_image_that_no_map_was_frozen_to_is_refused() {
    let record = |id: u32, parent: Option<u32>, kind| VersionRecord {
        id: VersionId(id),
        parent: parent.map(VersionId),
        kind,
        family: FamilyId(0),
        end: BlockIndex(GIB_BLOCKS),
        tree: Tree::default(),
    };
    let refused = |versions| Map::restore(Image { versions, members: Vec::new() }).map(|_| ()).unwrap_err();
    let (head, hidden) = (Kind::Head(ONE), Kind::Hidden);
    let one = VersionId(1);
    assert_eq!(refused(vec![record(1, None, head), record(1, None, hidden)]), RestoreError::Id(one));
    assert_eq!(refused(vec![record(u32::MAX, None, head)]), RestoreError::Id(VersionId(u32::MAX)));
    assert_eq!(refused(vec![record(0, None, head), record(1, None, head)]), RestoreError::Name(one));
    assert_eq!(refused(vec![record(1, Some(2), head)]), RestoreError::Parent(one));
    assert_eq!(refused(vec![record(0, None, head), record(1, Some(0), hidden)]), RestoreError::Parent(one));
    assert_eq!(refused(vec![record(1, Some(1), hidden)]), RestoreError::Parent(one));
    let stranger = VersionRecord { family: FamilyId(3), ..record(1, Some(0), hidden) };
    assert_eq!(refused(vec![record(0, None, hidden), stranger]), RestoreError::Parent(one));
    let large = VersionRecord { end: BlockIndex((1 << 34) + 1), ..record(1, None, head) };
    assert_eq!(refused(vec![large]), RestoreError::Size(one));
}
