//! The block map: set and lookup of single blocks, alone and under a snapshot.

use std::hint::black_box;

use block::{BlockIndex, BlockRange, Checksum, SnapshotId, VolumeId, WriteSeq};
use criterion::{Criterion, Throughput};
use store::map::{Location, Map, VersionId};

/// 4 GiB of blocks.
const BLOCKS: u64 = 1 << 20;
const VOLUME: VolumeId = VolumeId(1);

struct Scene {
    map: Map,
    head: VersionId,
    seq: WriteSeq,
    place: u64,
    dead: Vec<Location>,
}

impl Scene {
    fn full() -> Self {
        let mut map = Map::default();
        let head = map.create_head(VOLUME, BlockIndex(BLOCKS)).expect("an empty map");
        let mut scene = Self { map, head, seq: WriteSeq::ZERO, place: 1, dead: Vec::new() };
        for block in 0..BLOCKS {
            scene.set(block);
        }
        scene
    }

    fn set(&mut self, block: u64) {
        self.seq = self.seq.next();
        let location = Location(1 + u32::try_from(self.seq.n % (1 << 31)).expect("below 2^31"));
        self.map.set(self.head, BlockIndex(block), location, &[Checksum(7)], self.seq, &mut self.dead);
        self.dead.clear();
    }

    /// The next of a fixed sequence of random places.
    fn random(&mut self) -> u64 {
        self.place = self.place.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (self.place >> 33) % BLOCKS
    }
}

/// Random single blocks in a full volume of 4 GiB, and runs of 256.
pub fn bench(criterion: &mut Criterion) {
    let mut scene = Scene::full();
    let mut group = criterion.benchmark_group("map");
    group.throughput(Throughput::Elements(1));
    group.bench_function("set", |bencher| {
        bencher.iter(|| {
            let block = scene.random();
            scene.set(block);
        });
    });
    group.bench_function("lookup", |bencher| {
        bencher.iter(|| {
            let block = scene.random();
            black_box(scene.map.lookup(scene.head, BlockIndex(block)))
        });
    });
    group.bench_function("runs_of_256", |bencher| {
        bencher.iter(|| {
            let first = scene.random().min(BLOCKS - 256);
            scene.map.runs(scene.head, BlockRange::new(first, 256)).count()
        });
    });
    scene.map.snapshot(VOLUME, SnapshotId(1)).expect("the volume is there");
    scene.head = scene.map.head(VOLUME).expect("the volume is there");
    group.bench_function("set_after_snapshot", |bencher| {
        bencher.iter(|| {
            let block = scene.random();
            scene.set(block);
        });
    });
    group.finish();
}
