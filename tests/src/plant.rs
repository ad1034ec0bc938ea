//! Changes a stopped pool behind everybody's back: what checkers must find.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use block::{BLOCK_BYTES, BlockIndex, Epoch, Instant, PAGE_BYTES, Page, PoolOffset, WriteSeq};
use store::{BootId, DiskError, Effect, Event, Media, Store, Token, open};

use crate::stamp;

/// A pool's file.
struct Disk(File);

impl Disk {
    fn open(pool: &Path) -> Self {
        Self(File::options().read(true).write(true).open(pool).expect("the pool"))
    }

    fn write(&self, at: PoolOffset, bytes: &[u8]) {
        self.0.write_all_at(bytes, at.0).expect("a write to the pool");
    }
}

fn failed(error: &io::Error) -> DiskError {
    DiskError::Failed { errno: error.raw_os_error().unwrap_or(5) }
}

impl Media for Disk {
    fn read(&self, at: PoolOffset, into: &mut [Page]) -> Result<(), DiskError> {
        for (index, page) in (0_u64..).zip(into) {
            let at = at.0 + index * PAGE_BYTES as u64;
            self.0.read_exact_at(&mut page.0, at).map_err(|error| failed(&error))?;
        }
        Ok(())
    }

    fn write_zeroes(&self, at: PoolOffset, len_bytes: u64) -> Result<(), DiskError> {
        let zeroes = vec![0; usize::try_from(len_bytes).expect("a segment")];
        self.0.write_all_at(&zeroes, at.0).map_err(|error| failed(&error))
    }
}

/// Where a stamped block of a pool lies, as write `seq` wrote it.
///
/// # Panics
/// When it is not there.
#[must_use]
pub fn places(pool: &Path, blocks: &[u64], seq: u64) -> Vec<u64> {
    let bytes = fs::read(pool).expect("the pool");
    let place = |block: &u64| {
        let mut stamped = Vec::new();
        stamp::encode(*block, seq, &mut stamped);
        let at = bytes.chunks_exact(BLOCK_BYTES).position(|page| page == stamped).expect("it lies somewhere");
        (at * BLOCK_BYTES) as u64
    };
    blocks.iter().map(place).collect()
}

/// Turns a bit of what lies there.
pub fn rot(pool: &Path, places: &[u64]) {
    let disk = Disk::open(pool);
    for at in places {
        let mut byte = [0];
        disk.0.read_exact_at(&mut byte, at + 1234).expect("a read");
        disk.0.write_all_at(&[byte[0] ^ 4], at + 1234).expect("a write");
    }
    disk.0.sync_all().expect("a sync");
}

/// A block of a volume holds something else from now on, and nothing says that it was changed: with a place of the order
/// that was long ago.
pub fn difference(pool: &Path, volume: &str, block: u64, data: &[u8]) {
    let disk = Disk::open(pool);
    let len_bytes = disk.0.metadata().expect("a file").len();
    let opened = open(&disk, len_bytes, BootId(1)).expect("a pool");
    opened.writes.iter().for_each(|(at, pages)| disk.write(*at, pages.bytes()));
    let mut store = opened.store;
    let found = store.volumes().find(|found| found.name.split('@').next() == Some(volume));
    let id = found.expect("the volume is in this pool").id;
    let seq = WriteSeq { epoch: Epoch(1), n: 1 };
    store.write(id, seq, BlockIndex(block), data, true, Token(1)).expect("room");
    run_until(&mut store, &disk, |effect| matches!(effect, Effect::Completed { token: Token(1), .. }));
    store.stop();
    run_until(&mut store, &disk, |_| false);
    disk.0.sync_all().expect("a sync");
}

/// Lets the store work until something is ordered, or until it has stopped.
fn run_until(store: &mut Store, disk: &Disk, is_it: impl Fn(&Effect) -> bool) {
    let now = Instant(1);
    let mut effects = Vec::new();
    while !store.is_stopped() {
        store.turn_ended(now, &mut effects);
        while let Some(effect) = effects.pop() {
            if is_it(&effect) {
                return;
            }
            if let Some(event) = carry_out(store, disk, effect) {
                store.handle(now, event, &mut effects);
            }
        }
    }
}

fn carry_out(store: &mut Store, disk: &Disk, effect: Effect) -> Option<Event> {
    match effect {
        Effect::Write { io, at } => {
            disk.write(at, store.write_source(io).0);
            Some(Event::Written { io, result: Ok(()) })
        }
        Effect::Read { io, at } => {
            disk.0.read_exact_at(store.read_target(io).0, at.0).expect("a read");
            Some(Event::ReadEnded { io, result: Ok(()) })
        }
        Effect::Sync { io } => {
            disk.0.sync_all().expect("a sync");
            Some(Event::Synced { io, result: Ok(()) })
        }
        Effect::Run { id, job } => Some(Event::JobEnded { job: id, output: job.run(disk) }),
        Effect::Completed { .. } | Effect::Report(_) => None,
    }
}
