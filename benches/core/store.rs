//! The store with a disk that answers at once: the write and read path but for the device.

use std::cell::RefCell;
use std::time::Duration;

use block::{BLOCK_BYTES, BlockIndex, BlockRange, Instant, Page, PoolId, PoolOffset, VolumeId, WriteSeq};
use criterion::{Criterion, Throughput};
use store::{
    BootId, DiskError, Effect, Event, FormatOptions, Media, Outcome, Refusal, Source, Store, Token, format, open,
};

const POOL_BYTES: u64 = 1 << 30;
const VOLUME_BYTES: u64 = 256 << 20;
const VOLUME: VolumeId = VolumeId(1);
const BOOT: BootId = BootId(1);

/// A pool in memory.
struct Memory(RefCell<Vec<u8>>);

impl Memory {
    fn write(&self, at: PoolOffset, bytes: &[u8]) {
        let at = place(at);
        self.0.borrow_mut()[at..at + bytes.len()].copy_from_slice(bytes);
    }
}

impl Media for Memory {
    fn read(&self, at: PoolOffset, into: &mut [Page]) -> Result<(), DiskError> {
        let memory = self.0.borrow();
        for (page, bytes) in into.iter_mut().zip(memory[place(at)..].chunks(BLOCK_BYTES)) {
            page.0.copy_from_slice(bytes);
        }
        Ok(())
    }

    fn write_zeroes(&self, at: PoolOffset, len_bytes: u64) -> Result<(), DiskError> {
        let len = usize::try_from(len_bytes).expect("a small pool");
        self.0.borrow_mut()[place(at)..place(at) + len].fill(0);
        Ok(())
    }
}

fn place(at: PoolOffset) -> usize {
    usize::try_from(at.0).expect("a small pool")
}

struct Scene {
    memory: Memory,
    store: Store,
    now: Instant,
    seq: WriteSeq,
    place: u64,
    effects: Vec<Effect>,
    begun: u64,
    completed: u64,
}

impl Scene {
    fn new() -> Self {
        let size = usize::try_from(POOL_BYTES).expect("a small pool");
        let memory = Memory(RefCell::new(vec![0; size]));
        let options = FormatOptions { zeroed: true, ..FormatOptions::new(PoolId(1), POOL_BYTES, BOOT) };
        for (at, pages) in format(&options).expect("large enough") {
            memory.write(at, pages.bytes());
        }
        let opened = open(&memory, POOL_BYTES, BOOT).expect("just formatted");
        for (at, pages) in &opened.writes {
            memory.write(*at, pages.bytes());
        }
        let (now, seq) = (Instant(0), WriteSeq::ZERO);
        let mut scene =
            Self { memory, store: opened.store, now, seq, place: 1, effects: Vec::new(), begun: 1, completed: 0 };
        scene.store.create_volume(VOLUME, "bench", VOLUME_BYTES, Token(0)).expect("room");
        scene.finish();
        scene
    }

    /// Takes turns until every request has ended.
    fn finish(&mut self) {
        while self.completed < self.begun {
            self.turn();
        }
    }

    /// One turn of a reactor whose device is done with everything at once.
    fn turn(&mut self) {
        self.now = self.now + Duration::from_micros(50);
        self.store.turn_ended(self.now, &mut self.effects);
        while let Some(effect) = self.effects.pop() {
            let event = match effect {
                Effect::Write { io, at } => {
                    self.memory.write(at, self.store.write_source(io).0);
                    Event::Written { io, result: Ok(()) }
                }
                Effect::Read { io, at } => {
                    let (target, at) = (self.store.read_target(io).0, place(at));
                    target.copy_from_slice(&self.memory.0.borrow()[at..at + target.len()]);
                    Event::ReadEnded { io, result: Ok(()) }
                }
                Effect::Sync { io } => Event::Synced { io, result: Ok(()) },
                Effect::Run { id, job } => Event::JobEnded { job: id, output: job.run(&self.memory) },
                Effect::Completed { outcome, .. } => {
                    self.completed += 1;
                    match outcome {
                        Outcome::Done | Outcome::Space(_) => {}
                        Outcome::Read(data) => self.store.recycle(data.buffer),
                        Outcome::Failed(error) => panic!("{error}"),
                    }
                    continue;
                }
                Effect::Report(_) => continue,
            };
            self.store.handle(self.now, event, &mut self.effects);
        }
    }

    fn write(&mut self, data: &[u8]) {
        self.seq = self.seq.next();
        self.begun += 1;
        let first = self.random((data.len() / BLOCK_BYTES) as u64);
        while self.store.write(VOLUME, self.seq, first, data, false, Token(1)) == Err(Refusal::Busy) {
            self.turn();
        }
    }

    /// The next of a fixed sequence of random places for `blocks` blocks.
    fn random(&mut self, blocks: u64) -> BlockIndex {
        self.place = self.place.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        BlockIndex((self.place >> 33) % (VOLUME_BYTES / BLOCK_BYTES as u64 - blocks))
    }
}

/// Random overwrites and reads; reclaim and checkpoints take their part, as they do in life.
pub fn bench(criterion: &mut Criterion) {
    let mut scene = Scene::new();
    let mut group = criterion.benchmark_group("store");
    for (name, blocks, depth) in
        [("write_4k_depth_1", 1, 1), ("write_4k_depth_32", 1, 32), ("write_128k_depth_8", 32, 8)]
    {
        let data = vec![7; blocks * BLOCK_BYTES];
        group.throughput(Throughput::Elements(depth));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                (0..depth).for_each(|_| scene.write(&data));
                scene.finish();
            });
        });
    }
    group.throughput(Throughput::Elements(32));
    group.bench_function("read_4k_depth_32", |bencher| {
        bencher.iter(|| {
            for _ in 0..32 {
                scene.begun += 1;
                let range = BlockRange::new(scene.random(1).0, 1);
                scene.store.read(Source::Volume(VOLUME), range, Token(2)).expect("room");
            }
            scene.finish();
        });
    });
    group.finish();
}
