//! Random histories of a pool, each step checked against the oracle.

use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, Strategy, any, prop_oneof, proptest};

use super::harness::World;
use crate::map::{Kind, Source};

#[derive(Clone, Copy, Debug)]
enum Op {
    Create { size: usize },
    Snapshot { head: usize },
    CloneHead { head: usize, grow: u64 },
    CloneSnapshot { snapshot: usize, grow: u64 },
    Resize { head: usize, grow: u64 },
    Set { head: usize, first: u64, count: u64 },
    Zero { head: usize, first: u64, count: u64 },
    ReplaceGroup { head: usize, block: u64, mapped: u64, age: u64 },
    Restamp { head: usize, age: u64 },
    Relocate { pick: usize },
    Rewrite { pick: usize },
    DeleteHead { head: usize },
    DeleteSnapshot { snapshot: usize },
    DeleteStep { budget: usize },
    Freeze,
    Write { image: usize, count: usize },
    Release { image: usize },
    ReleaseStep { budget: usize },
    Reload,
    Space,
}

/// Volumes of a leaf, of one, two and three inner levels.
const SIZES: [u64; 5] = [900, 5000, 1024 * 300, 1024 * 1000, 1024 * 70_000];
const LEAVES: [u64; 9] = [0, 1, 2, 255, 256, 290, 700, 65_535, 65_536];
const OFFSETS: [u64; 8] = [0, 1, 40, 63, 64, 500, 1000, 1023];

fn block() -> impl Strategy<Value = u64> {
    (0..LEAVES.len(), 0..OFFSETS.len()).prop_map(|(leaf, offset)| LEAVES[leaf] * 1024 + OFFSETS[offset])
}

fn grow() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 0..10_u64, 1 => 0..3_000_000_u64]
}

/// Nothing, everything, or anything.
fn mapped() -> impl Strategy<Value = u64> {
    prop_oneof![1 => 0..1_u64, 1 => u64::MAX..=u64::MAX, 2 => any::<u64>()]
}

fn op() -> impl Strategy<Value = Op> {
    let index = || 0..10_000_usize;
    prop_oneof![
        1 => (0..SIZES.len()).prop_map(|size| Op::Create { size }),
        3 => index().prop_map(|head| Op::Snapshot { head }),
        2 => (index(), grow()).prop_map(|(head, grow)| Op::CloneHead { head, grow }),
        2 => (index(), grow()).prop_map(|(snapshot, grow)| Op::CloneSnapshot { snapshot, grow }),
        1 => (index(), grow()).prop_map(|(head, grow)| Op::Resize { head, grow }),
        14 => (index(), block(), 1..40_u64).prop_map(|(head, first, count)| Op::Set { head, first, count }),
        3 => (index(), block(), 1..100_u64).prop_map(|(head, first, count)| Op::Zero { head, first, count }),
        1 => (index(), block(), 1..2_000_000_u64).prop_map(|(head, first, count)| Op::Zero { head, first, count }),
        5 => (index(), block(), mapped(), 0..90_u64)
            .prop_map(|(head, block, mapped, age)| Op::ReplaceGroup { head, block, mapped, age }),
        2 => (index(), 0..90_u64).prop_map(|(head, age)| Op::Restamp { head, age }),
        3 => index().prop_map(|pick| Op::Relocate { pick }),
        1 => index().prop_map(|pick| Op::Rewrite { pick }),
        2 => index().prop_map(|head| Op::DeleteHead { head }),
        3 => index().prop_map(|snapshot| Op::DeleteSnapshot { snapshot }),
        6 => (1..4_usize).prop_map(|budget| Op::DeleteStep { budget }),
        2 => (100..101_usize).prop_map(|budget| Op::DeleteStep { budget }),
        2 => any::<bool>().prop_map(|_| Op::Freeze),
        4 => (index(), 1..30_usize).prop_map(|(image, count)| Op::Write { image, count }),
        2 => index().prop_map(|image| Op::Release { image }),
        2 => (1..300_usize).prop_map(|budget| Op::ReleaseStep { budget }),
        1 => any::<bool>().prop_map(|_| Op::Reload),
        1 => any::<bool>().prop_map(|_| Op::Space),
    ]
}

fn pick<T: Copy>(from: &[T], index: usize) -> Option<T> {
    from.get(index % from.len().max(1)).copied()
}

fn on_head(world: &mut World, head: usize, act: impl FnOnce(&mut World, block::VolumeId)) {
    if let Some(volume) = pick(&world.oracle.heads(), head) {
        act(world, volume);
    }
}

fn on_snapshot(world: &mut World, snapshot: usize, act: impl FnOnce(&mut World, block::SnapshotId)) {
    if let Some(id) = pick(&world.oracle.snapshots(), snapshot) {
        act(world, id);
    }
}

fn on_image(world: &mut World, image: usize, act: impl FnOnce(&mut World, usize)) {
    if !world.images.is_empty() {
        let image = image % world.images.len();
        act(world, image);
    }
}

fn apply(world: &mut World, op: Op) {
    match op {
        Op::Create { size } => {
            world.create(SIZES[size]);
        }
        Op::Snapshot { head } => on_head(world, head, |world, volume| {
            world.snapshot(volume);
        }),
        Op::CloneHead { head, grow } => on_head(world, head, |world, volume| {
            world.clone_from(Source::Head(volume), grow);
        }),
        Op::CloneSnapshot { snapshot, grow } => on_snapshot(world, snapshot, |world, id| {
            world.clone_from(Source::Snapshot(id), grow);
        }),
        Op::Resize { head, grow } => on_head(world, head, |world, volume| world.resize(volume, grow)),
        Op::Set { head, first, count } => on_head(world, head, |world, volume| world.set(volume, first, count)),
        Op::Zero { head, first, count } => on_head(world, head, |world, volume| world.zero(volume, first, count)),
        Op::ReplaceGroup { head, block, mapped, age } => {
            on_head(world, head, |world, volume| world.replace_group(volume, block, mapped, age));
        }
        Op::Restamp { head, age } => on_head(world, head, |world, volume| world.restamp(volume, age)),
        Op::Relocate { pick } => world.relocate(pick),
        Op::Rewrite { pick } => world.rewrite(pick),
        Op::DeleteHead { head } => on_head(world, head, |world, volume| world.delete(Kind::Head(volume))),
        Op::DeleteSnapshot { snapshot } => on_snapshot(world, snapshot, |world, id| world.delete(Kind::Snapshot(id))),
        Op::DeleteStep { budget } => {
            world.delete_step(budget);
        }
        Op::Freeze => world.freeze(),
        Op::Write { image, count } => on_image(world, image, |world, image| {
            world.write(image, count);
        }),
        Op::Release { image } => on_image(world, image, World::release),
        Op::ReleaseStep { budget } => {
            world.map.release_step(budget);
        }
        Op::Reload => world.reload(),
        Op::Space if !world.deleting => world.check_space(),
        Op::Space => {}
    }
}

fn run(ops: &[Op]) {
    let mut world = World::default();
    world.create(SIZES[2]);
    for &op in ops {
        apply(&mut world, op);
        world.check();
    }
    world.settle();
    world.check();
    world.check_space();
    for volume in world.oracle.heads() {
        world.delete(Kind::Head(volume));
    }
    for snapshot in world.oracle.snapshots() {
        world.delete(Kind::Snapshot(snapshot));
    }
    world.settle();
    world.check();
    assert!(world.live.is_empty());
    assert_eq!(world.map.counts(), crate::map::NodeCounts::default());
    assert_eq!(world.map.versions().count(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_history_agrees_with_the_oracle(ops in vec(op(), 1..80)) {
        run(&ops);
    }
}
