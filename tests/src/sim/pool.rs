//! A store on the simulated disk that does what it is told, one step after the other: for directed scenarios.

use std::collections::BTreeMap;

use block::{BLOCK_BYTES, BlockIndex, BlockRange, Error, Instant, PAGE_BYTES, PoolId, PoolOffset, VolumeId};
use store::{
    BootId, DiskError, Effect, Event, FormatOptions, IoId, Media, OpenError, Outcome, RecoveryReport, Refusal, Report,
    Source, Store, Token, format, open,
};

use super::disk::{Lie, SimDisk};

const EIO: DiskError = DiskError::Failed { errno: 5 };

/// A write that left the store and has not ended.
#[derive(Clone, Debug)]
pub struct Held {
    io: IoId,
    /// Where it goes.
    pub at: PoolOffset,
    /// What it writes.
    pub bytes: Vec<u8>,
}

/// The pool.
#[derive(Debug)]
pub struct Pool {
    /// Its disk.
    pub disk: SimDisk,
    /// Its store.
    pub store: Store,
    /// What the store reported.
    pub reports: Vec<Report>,
    /// Writes stay in flight.
    pub holding: bool,
    /// Writes in flight, oldest first.
    pub held: Vec<Held>,
    /// Syncs stay in flight.
    pub holding_syncs: bool,
    held_syncs: Vec<IoId>,
    /// The next write, sync, read fails.
    pub fail: [bool; 3],
    boot: u128,
    now: Instant,
    next_token: u64,
    ended: BTreeMap<u64, Result<Vec<u8>, Error>>,
}

/// Byte offset of a page.
#[must_use]
pub fn offset(page: u32) -> PoolOffset {
    PoolOffset(u64::from(page) * PAGE_BYTES as u64)
}

fn bytes_of(value: u64) -> Vec<u8> {
    value.to_le_bytes().repeat(BLOCK_BYTES / 8)
}

fn start(disk: &SimDisk, boot: u128) -> Result<(Store, RecoveryReport), OpenError> {
    let opened = open(disk, disk.bytes(), BootId(boot))?;
    disk.sync_all();
    for (at, pages) in opened.writes {
        disk.write_stable(at, pages.bytes());
    }
    Ok((opened.store, opened.report))
}

impl Pool {
    /// A new pool with volume 1, of `blocks` blocks.
    #[must_use]
    pub fn new(segments: u32, segment_pages: u32, blocks: u64) -> Self {
        let bytes = u64::from(512 + segments * segment_pages) * BLOCK_BYTES as u64;
        let disk = SimDisk::new(bytes, Lie::Honest);
        let options = FormatOptions { segment_pages, zeroed: true, ..FormatOptions::new(PoolId(77), bytes, BootId(1)) };
        for (at, pages) in format(&options).expect("large enough") {
            disk.write_stable(at, pages.bytes());
        }
        let mut pool = Self::on(disk);
        let token = pool.token();
        pool.store.create_volume(VolumeId(1), "one", blocks * BLOCK_BYTES as u64, token).expect("a new pool");
        pool.end(token).expect("a new pool");
        pool
    }

    /// The pool on a disk.
    #[must_use]
    pub fn on(disk: SimDisk) -> Self {
        let store = start(&disk, 1).expect("a pool").0;
        Self {
            disk,
            store,
            reports: Vec::new(),
            holding: false,
            held: Vec::new(),
            holding_syncs: false,
            held_syncs: Vec::new(),
            fail: [false; 3],
            boot: 1,
            now: Instant(1),
            next_token: 0,
            ended: BTreeMap::new(),
        }
    }

    /// A mark for a request.
    pub fn token(&mut self) -> Token {
        self.next_token += 1;
        Token(self.next_token)
    }

    /// Sends what gathered and ends what need not wait. Whether there was anything to do.
    pub fn turn(&mut self) -> bool {
        let mut effects = Vec::new();
        self.store.turn_ended(self.now, &mut effects);
        let busy = !effects.is_empty();
        while !effects.is_empty() {
            for effect in std::mem::take(&mut effects) {
                if let Some(event) = self.carry_out(effect) {
                    self.store.handle(self.now, event, &mut effects);
                }
            }
        }
        busy
    }

    fn carry_out(&mut self, effect: Effect) -> Option<Event> {
        match effect {
            Effect::Write { io, at } => {
                let held = Held { io, at, bytes: self.store.write_source(io).0.to_vec() };
                if self.holding {
                    self.held.push(held);
                    return None;
                }
                return Some(self.written(&held));
            }
            Effect::Read { io, at } => {
                let mut pages = vec![block::Page::ZERO; self.store.read_target(io).0.len() / PAGE_BYTES];
                let result = if self.fails(2) { Err(EIO) } else { self.disk.read(at, &mut pages) };
                let target = self.store.read_target(io).0.chunks_exact_mut(PAGE_BYTES);
                target.zip(&pages).for_each(|(to, from)| to.copy_from_slice(&from.0));
                return Some(Event::ReadEnded { io, result });
            }
            Effect::Sync { io } => {
                if self.holding_syncs {
                    self.held_syncs.push(io);
                    return None;
                }
                return Some(self.synced(io));
            }
            Effect::Run { id, job } => return Some(Event::JobEnded { job: id, output: job.run(&self.disk) }),
            Effect::Completed { token, outcome } => {
                let outcome = match outcome {
                    Outcome::Done | Outcome::Space(_) => Ok(Vec::new()),
                    Outcome::Read(data) => Ok(data.buffer.bytes().to_vec()),
                    Outcome::Failed(error) => Err(error),
                };
                self.ended.insert(token.0, outcome);
            }
            Effect::Report(report) => self.reports.push(report),
        }
        None
    }

    fn fails(&mut self, kind: usize) -> bool {
        std::mem::take(&mut self.fail[kind])
    }

    fn written(&mut self, held: &Held) -> Event {
        if self.fails(0) {
            return Event::Written { io: held.io, result: Err(EIO) };
        }
        self.disk.submit(held.io, held.at, &held.bytes);
        self.disk.end(held.io);
        Event::Written { io: held.io, result: Ok(()) }
    }

    fn synced(&mut self, io: IoId) -> Event {
        if self.fails(1) {
            return Event::Synced { io, result: Err(EIO) };
        }
        self.disk.begin_sync();
        self.disk.end_sync();
        Event::Synced { io, result: Ok(()) }
    }

    /// The held syncs end.
    pub fn release_syncs(&mut self) {
        let mut effects = Vec::new();
        for io in std::mem::take(&mut self.held_syncs) {
            let event = self.synced(io);
            self.store.handle(self.now, event, &mut effects);
        }
        for effect in effects {
            assert!(self.carry_out(effect).is_none(), "a sync's end starts nothing but completions");
        }
    }

    /// A held write ends.
    pub fn release(&mut self, index: usize) {
        let held = self.held.remove(index);
        let event = self.written(&held);
        let mut effects = Vec::new();
        self.store.handle(self.now, event, &mut effects);
        for effect in effects {
            assert!(self.carry_out(effect).is_none(), "a write's end starts nothing but completions");
        }
    }

    /// Until nothing more happens by itself.
    pub fn settle(&mut self) {
        let mut idle = 0;
        for _ in 0..200_000 {
            self.now.0 += 1_000_000;
            let due = self.store.deadline().is_some_and(|due| due.0 == 0);
            idle = if self.turn() || due { 0 } else { idle + 1 };
            if idle == 3 {
                return;
            }
        }
        panic!("the store does not settle: {:?} {:?}", self.store.stats(), self.store.space());
    }

    /// Time passes.
    pub fn wait(&mut self, seconds: u64) {
        for _ in 0..seconds * 4 {
            self.now.0 += 250_000_000;
            self.settle();
        }
    }

    /// Until the store takes requests: at most what reclaim and a checkpoint need to make room.
    pub fn make_room(&mut self) {
        for _ in 0..20_000 {
            if self.holding || self.store.has_room() {
                return;
            }
            self.now.0 += 1_000_000;
            self.turn();
        }
        panic!("no room comes: {:?} {:?}", self.store.stats(), self.store.space());
    }

    /// How a request ended, once it did.
    ///
    /// # Errors
    /// What the store said.
    pub fn end(&mut self, token: Token) -> Result<Vec<u8>, Error> {
        for _ in 0..20_000 {
            if let Some(ended) = self.ended.remove(&token.0) {
                return ended;
            }
            self.now.0 += 1_000_000;
            self.turn();
        }
        panic!("the request does not end: {:?} {:?}", self.store.stats(), self.store.space());
    }

    /// How a request ended, if it did.
    pub fn has_ended(&mut self, token: Token) -> Option<Result<Vec<u8>, Error>> {
        self.ended.remove(&token.0)
    }

    /// Begins to write a block of volume 1 full of `value`.
    ///
    /// # Errors
    /// What the store refuses.
    pub fn begin_write(&mut self, block: u64, value: u64, fua: bool) -> Result<Token, Refusal> {
        self.make_room();
        let token = self.token();
        let seq = self.store.volume(VolumeId(1)).expect("volume 1").last_seq.next();
        self.store.write(VolumeId(1), seq, BlockIndex(block), &bytes_of(value), fua, token)?;
        Ok(token)
    }

    /// Writes a block and waits.
    pub fn write(&mut self, block: u64, value: u64) {
        let token = self.begin_write(block, value, false).expect("room for a write");
        self.end(token).expect("a write ends");
    }

    /// Makes everything stable.
    pub fn flush(&mut self) {
        let token = self.token();
        self.store.flush(token).expect("a pool in order");
        self.end(token).expect("a flush ends");
    }

    /// What a block of volume 1 holds.
    ///
    /// # Errors
    /// What the store said.
    pub fn read(&mut self, block: u64) -> Result<u64, Error> {
        self.read_from(Source::Volume(VolumeId(1)), block)
    }

    /// What a block holds.
    ///
    /// # Errors
    /// What the store said.
    pub fn read_from(&mut self, source: Source, block: u64) -> Result<u64, Error> {
        let token = self.token();
        self.store.read(source, BlockRange::new(block, 1), token).expect("a block of the volume");
        let bytes = self.end(token)?;
        let value = u64::from_le_bytes(bytes[..8].try_into().expect("8 bytes"));
        assert!(bytes[..BLOCK_BYTES] == bytes_of(value), "a block is whole");
        Ok(value)
    }

    /// The process is killed; what was in flight never lands. Then the pool is opened again.
    ///
    /// # Errors
    /// Why it cannot be opened.
    pub fn kill(&mut self) -> Result<RecoveryReport, OpenError> {
        let (store, report) = start(&self.disk, self.boot)?;
        self.store = store;
        self.held.clear();
        self.held_syncs.clear();
        self.holding_syncs = false;
        self.ended.clear();
        self.reports.clear();
        self.holding = false;
        Ok(report)
    }

    /// Power is lost with everything unsynced. Then the pool is opened again.
    ///
    /// # Errors
    /// Why it cannot be opened.
    pub fn lose_power(&mut self) -> Result<RecoveryReport, OpenError> {
        self.disk.cut_power();
        self.boot += 1;
        self.kill()
    }

    /// Pages that hold a block full of `value`.
    #[must_use]
    pub fn places(&self, value: u64) -> Vec<u32> {
        let bytes = bytes_of(value);
        self.disk.written_pages().into_iter().filter(|page| self.disk.page(*page)[..] == bytes).collect()
    }

    /// Pages that begin with these bytes.
    #[must_use]
    pub fn pages_with(&self, magic: &[u8]) -> Vec<u32> {
        let pages = self.disk.written_pages().into_iter();
        pages.filter(|page| self.disk.page(*page).starts_with(magic)).collect()
    }

    /// Overwrites a page behind the store's back.
    pub fn put(&self, page: u32, bytes: &[u8; PAGE_BYTES]) {
        self.disk.write_stable(offset(page), bytes);
    }

    /// Flips a bit of a page.
    pub fn rot(&self, page: u32, byte: usize) {
        let mut bytes = self.disk.page(page);
        bytes[byte] ^= 4;
        self.put(page, &bytes);
    }

    /// Every page that was ever written, with its content.
    #[must_use]
    pub fn image(&self) -> Vec<(u32, [u8; PAGE_BYTES])> {
        self.disk.written_pages().into_iter().map(|page| (page, self.disk.page(page))).collect()
    }
}
