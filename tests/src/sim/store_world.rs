//! One seed's life of a store: requests, faults, crashes, recoveries, and the comparison with the oracle.

use std::collections::BTreeMap;

use block::{BLOCK_BYTES, BlockIndex, BlockRange, Error, GroupIndex, Instant, PoolId, SnapshotId, VolumeId, WriteSeq};
use store::{
    BootId, DiskError, Effect, Event, FormatOptions, IoId, Job, JobId, Refusal, Report, SEGMENTS_MIN, Source, Store,
    Token, format, open,
};

mod replica;

use super::disk::{Crash, Lie, SimDisk};
use super::oracle::{Change, Content, Key, Oracle, State};
use crate::random::Random;

/// What a run draws from.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The disk's honesty.
    pub lie: Lie,
    /// Lives of the store: each ends with a crash or a clean stop.
    pub lives: u64,
    /// Steps of a life, at most.
    pub steps: u64,
    /// Whether volumes are replicas: groups come as copies, stamps change.
    pub replicas: bool,
}

impl Default for Plan {
    fn default() -> Self {
        Self { lie: Lie::Honest, lives: 6, steps: 900, replicas: true }
    }
}

/// What happened, to see that the rare things happen at all.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outcome {
    /// Processes killed.
    pub kills: u64,
    /// Machines that lost power.
    pub power_cuts: u64,
    /// Pools closed in order.
    pub clean_stops: u64,
    /// Changes that recovery did not find, none of them promised.
    pub lost_changes: u64,
    /// Checkpoints completed.
    pub checkpoints: u64,
    /// Blocks that reclaim moved.
    pub reclaimed_blocks: u64,
    /// Segments that became free.
    pub freed_segments: u64,
    /// Writes refused because the pool was full.
    pub full: u64,
    /// Requests refused because too much was in flight.
    pub waited: u64,
    /// Batches that recoveries replayed.
    pub replayed_batches: u64,
    /// Snapshots asked for.
    pub snapshots: u64,
    /// Clones asked for.
    pub clones: u64,
    /// Groups that came as copies.
    pub copies: u64,
    /// Volumes stamped anew.
    pub restamps: u64,
    /// Waits for everything that was asked for.
    pub settles: u64,
    /// Blocks written anew.
    pub repairs: u64,
    /// Device errors.
    pub write_errors: u64,
}

impl Outcome {
    /// The sum of two.
    #[must_use]
    pub fn plus(mut self, other: &Self) -> Self {
        let pairs = [
            (&mut self.kills, other.kills),
            (&mut self.power_cuts, other.power_cuts),
            (&mut self.clean_stops, other.clean_stops),
            (&mut self.lost_changes, other.lost_changes),
            (&mut self.checkpoints, other.checkpoints),
            (&mut self.reclaimed_blocks, other.reclaimed_blocks),
            (&mut self.freed_segments, other.freed_segments),
            (&mut self.full, other.full),
            (&mut self.waited, other.waited),
            (&mut self.replayed_batches, other.replayed_batches),
            (&mut self.snapshots, other.snapshots),
            (&mut self.clones, other.clones),
            (&mut self.copies, other.copies),
            (&mut self.restamps, other.restamps),
            (&mut self.settles, other.settles),
            (&mut self.repairs, other.repairs),
            (&mut self.write_errors, other.write_errors),
        ];
        pairs.into_iter().for_each(|(sum, more)| *sum += more);
        self
    }
}

enum Waiting {
    /// The first `count` changes are acknowledged; `stable`: and stable.
    Change {
        count: usize,
        stable: bool,
    },
    Read {
        key: Key,
        first: u64,
        expected: Vec<u64>,
    },
}

enum Flight {
    Write(IoId),
    Read(IoId, block::PoolOffset),
    Sync(IoId),
    Job(JobId, Job),
}

struct World {
    random: Random,
    disk: SimDisk,
    boot: u128,
    store: Store,
    oracle: Oracle,
    now: Instant,
    flights: Vec<Flight>,
    waiting: BTreeMap<u64, Waiting>,
    next_token: u64,
    next_value: u64,
    next_id: u64,
    effects: Vec<Effect>,
    rates: Rates,
    outcome: Outcome,
    poisoned: bool,
    found: BTreeMap<Key, Vec<u64>>,
}

/// Drawn once a seed: swarm testing finds more than one mix of everything.
struct Rates {
    write: u64,
    zero: u64,
    flush: u64,
    fua: u64,
    version: u64,
    read: u64,
    replica: u64,
    lag: u64,
    write_error: u64,
    blocks_max: u64,
    /// Blocks of a copy: a segment holds no more.
    copy_max: u64,
    volume_blocks: u64,
}

/// Runs a seed.
///
/// # Errors
/// What went wrong, with the seed's own words.
pub fn run(seed: u64, plan: &Plan) -> Result<Outcome, String> {
    let mut random = Random::seeded(seed);
    let segment_pages = random.pick(&[32, 64, 128]);
    let segments = u64::from(SEGMENTS_MIN) + random.below(40);
    let bytes = (512 + segments * u64::from(segment_pages)) * BLOCK_BYTES as u64;
    let mut rates = draw_rates(&mut random, segments, segment_pages);
    if plan.replicas {
        rates.replica = random.pick(&[0, 3, 15]);
    }
    let disk = SimDisk::new(bytes, plan.lie);
    let options = FormatOptions {
        segment_pages,
        zeroed: random.one_in(2),
        ..FormatOptions::new(PoolId(u128::from(seed)), bytes, BootId(1))
    };
    for (at, pages) in format(&options).map_err(|error| error.to_string())? {
        disk.write_stable(at, pages.bytes());
    }
    let store = open_pool(&disk, 1)?.0;
    let mut world = World {
        random,
        disk,
        boot: 1,
        store,
        oracle: Oracle::default(),
        now: Instant(1),
        flights: Vec::new(),
        waiting: BTreeMap::new(),
        next_token: 0,
        next_value: 0,
        next_id: 0,
        effects: Vec::new(),
        rates,
        outcome: Outcome::default(),
        poisoned: false,
        found: BTreeMap::new(),
    };
    for _ in 0..plan.lives {
        world.live(plan.steps)?;
        world.die()?;
    }
    world.empty()?;
    Ok(world.outcome)
}

fn draw_rates(random: &mut Random, segments: u64, segment_pages: u32) -> Rates {
    Rates {
        write: random.pick(&[10, 30, 60]),
        zero: random.pick(&[0, 2, 10]),
        flush: random.pick(&[0, 1, 5]),
        fua: random.pick(&[0, 5, 30]),
        version: random.pick(&[0, 1, 4]),
        read: random.pick(&[0, 5, 20]),
        lag: random.pick(&[1, 3, 10]),
        write_error: random.pick(&[0, 0, 0, 3000]),
        blocks_max: random.pick(&[1, 4, 8, u64::from(segment_pages / 4)]),
        volume_blocks: random.pick(&[64, 300, 2000, segments * u64::from(segment_pages)]),
        replica: 0,
        copy_max: u64::from(segment_pages) - 4,
    }
}

fn open_pool(disk: &SimDisk, boot: u128) -> Result<(Store, store::RecoveryReport), String> {
    let opened = open(disk, disk.bytes(), BootId(boot)).map_err(|error| format!("open: {error}"))?;
    disk.sync_all();
    for (at, pages) in opened.writes {
        disk.write_stable(at, pages.bytes());
    }
    Ok((opened.store, opened.report))
}

/// A block's bytes: the value, and where it belongs.
fn fill(page: &mut [u8], value: u64, block: u64) {
    page.fill(0);
    page[..8].copy_from_slice(&value.to_le_bytes());
    page[8..16].copy_from_slice(&block.to_le_bytes());
    page[BLOCK_BYTES - 8..].copy_from_slice(&value.to_le_bytes());
}

fn value_of(page: &[u8], block: u64) -> Result<u64, String> {
    let word = |at: usize| u64::from_le_bytes(page[at..at + 8].try_into().expect("8 bytes"));
    let (value, place, end) = (word(0), word(8), word(BLOCK_BYTES - 8));
    if value == 0 && place == 0 && end == 0 {
        return Ok(0);
    }
    if place != block || end != value {
        return Err(format!("block {block} holds bytes of block {place}, value {value} / {end}"));
    }
    Ok(value)
}

impl World {
    fn live(&mut self, steps_max: u64) -> Result<(), String> {
        let steps = 1 + self.random.below(steps_max);
        for _ in 0..steps {
            self.step()?;
            if self.poisoned {
                break;
            }
        }
        Ok(())
    }

    fn step(&mut self) -> Result<(), String> {
        self.now.0 += self.random.below(50_000_000);
        for _ in 0..self.random.below(4) {
            self.request()?;
        }
        self.turn()?;
        for _ in 0..self.random.below(1 + 6 / self.rates.lag) {
            self.end_one()?;
        }
        Ok(())
    }

    fn token(&mut self, waiting: Waiting) -> Token {
        self.next_token += 1;
        self.waiting.insert(self.next_token, waiting);
        Token(self.next_token)
    }

    fn request(&mut self) -> Result<(), String> {
        let rates = &self.rates;
        let weights = [rates.write, rates.zero, rates.flush, rates.version, rates.replica, rates.read];
        let mut drawn = self.random.below(weights.iter().sum::<u64>().max(1));
        let kind = weights.iter().position(|weight| {
            let hit = drawn < *weight;
            drawn = drawn.saturating_sub(*weight);
            hit
        });
        let volumes = self.volumes();
        if volumes.is_empty() {
            return self.create();
        }
        let volume = self.random.pick(&volumes);
        match kind {
            Some(0) => self.write(volume),
            Some(1) => self.zero(volume),
            Some(2) => self.flush(),
            Some(3) => self.change_versions(volume),
            Some(4) => self.replicate(volume),
            _ => self.read(),
        }
    }

    fn volumes(&self) -> Vec<u64> {
        let id = |key: &Key| match key {
            Key::Volume(id) => Some(*id),
            Key::Snapshot(_) => None,
        };
        self.oracle.now().versions.keys().filter_map(id).collect()
    }

    fn refused(&mut self, token: Token, refusal: Refusal) -> Result<(), String> {
        self.waiting.remove(&token.0);
        match refusal {
            Refusal::NoSpace { .. } => self.outcome.full += 1,
            Refusal::Busy => self.outcome.waited += 1,
            Refusal::Poisoned if self.poisoned => {}
            other => return Err(format!("unexpected refusal: {other}")),
        }
        Ok(())
    }

    /// Draws a range of the volume, small more often than large.
    fn range(&mut self, volume: u64, most: u64) -> (u64, u64) {
        let blocks = self.oracle.now().versions[&Key::Volume(volume)].blocks;
        let count = 1 + self.random.below(most.min(blocks));
        let count = if self.random.one_in(2) { 1 } else { count };
        (self.random.below(blocks - count + 1), count)
    }

    fn next_seq(&self, volume: u64) -> Result<WriteSeq, String> {
        Ok(self.store.volume(VolumeId(volume)).ok_or("the volume is gone")?.last_seq.next())
    }

    fn write(&mut self, volume: u64) -> Result<(), String> {
        let (first, count) = self.range(volume, self.rates.blocks_max);
        let stable = self.random.below(100) < self.rates.fua;
        let seq = self.next_seq(volume)?;
        let values: Vec<u64> = (0..count).map(|index| self.next_value + 1 + index).collect();
        let submitted = self.oracle.submitted();
        let token = self.token(Waiting::Change { count: submitted + values.len(), stable });
        let blocks = u32::try_from(count).expect("a batch");
        let result = if count > 8 && self.random.one_in(2) {
            let mut payload = self.store.payload(blocks);
            fill_all(payload.data_mut(), first, &values);
            self.store.write_payload(VolumeId(volume), seq, BlockIndex(first), payload, stable, token)
        } else {
            let mut data = vec![0; values.len() * BLOCK_BYTES];
            fill_all(&mut data, first, &values);
            self.store.write(VolumeId(volume), seq, BlockIndex(first), &data, stable, token)
        };
        if let Err(refusal) = result {
            return self.refused(token, refusal);
        }
        self.next_value += count;
        for (block, value) in (first..).zip(values) {
            self.oracle.submit(Change::Write { volume, block, value, seq });
        }
        Ok(())
    }

    fn zero(&mut self, volume: u64) -> Result<(), String> {
        let (first, count) = self.range(volume, u64::MAX);
        let seq = self.next_seq(volume)?;
        let submitted = self.oracle.submitted();
        let token = self.token(Waiting::Change { count: submitted + 1, stable: false });
        let range = BlockRange::new(first, u32::try_from(count).expect("small volumes"));
        match self.store.zero(VolumeId(volume), seq, range, false, token) {
            Err(refusal) => self.refused(token, refusal),
            Ok(()) => {
                self.oracle.submit(Change::Zero { volume, first, count, seq });
                Ok(())
            }
        }
    }

    fn flush(&mut self) -> Result<(), String> {
        let count = self.oracle.acknowledged();
        let token = self.token(Waiting::Change { count, stable: true });
        self.store.flush(token).or_else(|refusal| self.refused(token, refusal))
    }

    fn create(&mut self) -> Result<(), String> {
        self.next_id += 1;
        let id = self.next_id;
        let blocks = 1 + self.random.below(self.rates.volume_blocks);
        let change = Change::Create { volume: id, blocks };
        self.control(change, |store, token| {
            store.create_volume(VolumeId(id), &format!("volume-{id}"), blocks * BLOCK_BYTES as u64, token)
        })
    }

    fn control(
        &mut self,
        change: Change,
        call: impl FnOnce(&mut Store, Token) -> Result<(), Refusal>,
    ) -> Result<(), String> {
        let count = self.oracle.submitted() + 1;
        let token = self.token(Waiting::Change { count, stable: true });
        match call(&mut self.store, token) {
            Err(refusal) => self.refused(token, refusal),
            Ok(()) => {
                self.oracle.submit(change);
                Ok(())
            }
        }
    }

    fn change_versions(&mut self, volume: u64) -> Result<(), String> {
        let keys: Vec<Key> = self.oracle.now().versions.keys().copied().collect();
        let key = self.random.pick(&keys);
        let blocks = self.oracle.now().versions[&key].blocks;
        let seq = self.next_seq(volume)?;
        self.next_id += 1;
        let id = self.next_id;
        let bytes = BLOCK_BYTES as u64;
        match self.random.below(8) {
            0 => self.create(),
            1 | 2 => {
                self.outcome.snapshots += 1;
                self.control(Change::Snapshot { volume, snapshot: id, seq }, |store, token| {
                    store.snapshot(VolumeId(volume), seq, SnapshotId(id), token)
                })
            }
            3 | 4 => {
                self.outcome.clones += 1;
                let blocks = blocks + self.random.below(100);
                self.control(Change::Clone { source: key, volume: id, blocks }, |store, token| {
                    store.clone_volume(source(key), VolumeId(id), &format!("volume-{id}"), blocks * bytes, token)
                })
            }
            5 => {
                let blocks = self.oracle.now().versions[&Key::Volume(volume)].blocks + self.random.below(3000);
                self.control(Change::Resize { volume, blocks, seq }, |store, token| {
                    store.resize_volume(VolumeId(volume), seq, blocks * bytes, token)
                })
            }
            _ => self.delete(key),
        }
    }

    fn delete(&mut self, key: Key) -> Result<(), String> {
        self.control(Change::Delete { key }, |store, token| match key {
            Key::Volume(id) => store.delete_volume(VolumeId(id), token),
            Key::Snapshot(id) => store.delete_snapshot(SnapshotId(id), token),
        })
    }

    fn read(&mut self) -> Result<(), String> {
        let keys: Vec<Key> = self.oracle.now().versions.keys().copied().collect();
        let key = self.random.pick(&keys);
        let content = &self.oracle.now().versions[&key];
        let count = 1 + self.random.below(content.blocks.min(300));
        let first = self.random.below(content.blocks - count + 1);
        self.read_range(key, first, count)
    }

    fn read_range(&mut self, key: Key, first: u64, count: u64) -> Result<(), String> {
        let content = self.oracle.now().versions.get(&key);
        let expected = content.map_or(Vec::new(), |content| (first..first + count).map(|at| content.get(at)).collect());
        let token = self.token(Waiting::Read { key, first, expected });
        let range = BlockRange::new(first, u32::try_from(count).expect("small volumes"));
        self.store.read(source(key), range, token).or_else(|refusal| self.refused(token, refusal))
    }

    fn turn(&mut self) -> Result<(), String> {
        let mut effects = std::mem::take(&mut self.effects);
        self.store.turn_ended(self.now, &mut effects);
        self.carry_out(&mut effects)?;
        self.effects = effects;
        Ok(())
    }

    fn carry_out(&mut self, effects: &mut Vec<Effect>) -> Result<(), String> {
        for effect in effects.drain(..) {
            match effect {
                Effect::Write { io, at } => {
                    self.disk.submit(io, at, self.store.write_source(io).0);
                    self.flights.push(Flight::Write(io));
                }
                Effect::Read { io, at } => self.flights.push(Flight::Read(io, at)),
                Effect::Sync { io } => {
                    self.disk.begin_sync();
                    self.flights.push(Flight::Sync(io));
                }
                Effect::Run { id, job } => self.flights.push(Flight::Job(id, job)),
                Effect::Completed { token, outcome } => self.completed(token, outcome)?,
                Effect::Report(report) => self.reported(&report)?,
            }
        }
        Ok(())
    }

    fn reported(&mut self, report: &Report) -> Result<(), String> {
        match report {
            Report::Poisoned { .. } => self.poisoned = true,
            Report::BadBlock { .. } => return Err(format!("an honest disk gave a bad block: {report:?}")),
            Report::Checkpointed { .. } | Report::Scrubbed { .. } | Report::Freed { .. } => {}
        }
        Ok(())
    }

    fn completed(&mut self, token: Token, outcome: store::Outcome) -> Result<(), String> {
        let waiting = self.waiting.remove(&token.0).ok_or("a request ended twice")?;
        match (waiting, outcome) {
            (Waiting::Change { count, stable }, store::Outcome::Done) => {
                if stable {
                    self.oracle.stabilise(count);
                } else {
                    self.oracle.acknowledge(count);
                }
            }
            (Waiting::Read { key, first, expected }, store::Outcome::Read(data)) => {
                let mut values = Vec::new();
                let pages = data.buffer.bytes().chunks_exact(BLOCK_BYTES);
                for (block, page) in (first..).zip(pages).take(expected.len()) {
                    values.push(value_of(page, block).map_err(|error| format!("{key:?}: {error}"))?);
                }
                if let Some(found) = self.found.get_mut(&key) {
                    found.extend(&values);
                } else if values != expected {
                    return Err(format!("{key:?} from block {first}: read {values:?}, expected {expected:?}"));
                }
                check_holes(&values, &data)?;
                self.store.recycle(data.buffer);
            }
            (_, store::Outcome::Failed(Error::Media)) if self.poisoned => {}
            (_, outcome) => return Err(format!("unexpected outcome {outcome:?}")),
        }
        Ok(())
    }

    /// Something in flight ends, in any order.
    fn end_one(&mut self) -> Result<(), String> {
        if self.flights.is_empty() {
            return Ok(());
        }
        let index = self.random.index(self.flights.len());
        let event = match self.flights.swap_remove(index) {
            Flight::Write(io) => {
                self.disk.end(io);
                Event::Written { io, result: self.draw_error() }
            }
            Flight::Read(io, at) => {
                let mut pages = vec![block::Page::ZERO; self.store.read_target(io).0.len() / BLOCK_BYTES];
                let result = store::Media::read(&self.disk, at, &mut pages);
                let target = self.store.read_target(io).0;
                target.chunks_exact_mut(BLOCK_BYTES).zip(&pages).for_each(|(to, from)| to.copy_from_slice(&from.0));
                Event::ReadEnded { io, result }
            }
            Flight::Sync(io) => {
                self.disk.end_sync();
                Event::Synced { io, result: self.draw_error() }
            }
            Flight::Job(job, work) => Event::JobEnded { job, output: work.run(&self.disk) },
        };
        let mut effects = std::mem::take(&mut self.effects);
        self.store.handle(self.now, event, &mut effects);
        self.carry_out(&mut effects)?;
        self.effects = effects;
        Ok(())
    }

    fn draw_error(&mut self) -> Result<(), DiskError> {
        if self.rates.write_error > 0 && self.random.one_in(self.rates.write_error) {
            self.outcome.write_errors += 1;
            return Err(DiskError::Failed { errno: 5 });
        }
        Ok(())
    }

    /// Goes on until nothing is in flight and nothing is due.
    fn settle(&mut self, done: impl Fn(&Self) -> bool) -> Result<(), String> {
        for _ in 0..400_000 {
            self.turn()?;
            if done(self) {
                return Ok(());
            }
            self.now.0 += 10_000_000;
            while !self.flights.is_empty() {
                self.end_one()?;
            }
        }
        Err(format!(
            "the store does not settle: in flight {:?}, waiting {}, due {:?}, room {}, {:?}, {:?}",
            self.store.in_flight(),
            self.waiting.len(),
            self.store.deadline(),
            self.store.has_room(),
            self.store.space(),
            self.store.stats(),
        ))
    }

    fn die(&mut self) -> Result<(), String> {
        self.note_stats();
        let power_lost = match self.random.below(5) {
            0 if !self.poisoned => {
                self.outcome.clean_stops += 1;
                self.rates.write_error = 0;
                self.store.stop();
                self.settle(|world| world.store.is_stopped() || world.poisoned)?;
                self.random.one_in(2)
            }
            0..=2 => {
                self.outcome.power_cuts += 1;
                true
            }
            _ => {
                self.outcome.kills += 1;
                false
            }
        };
        if power_lost {
            self.boot += 1;
        }
        let crash = if power_lost { Crash::Power } else { Crash::Kill };
        self.disk.crash(crash, &mut self.random);
        self.recover(power_lost)
    }

    fn note_stats(&mut self) {
        let stats = *self.store.stats();
        self.outcome.checkpoints += stats.checkpoints;
        self.outcome.reclaimed_blocks += stats.reclaimed_blocks;
        self.outcome.freed_segments += stats.freed_segments;
    }

    fn recover(&mut self, power_lost: bool) -> Result<(), String> {
        let (store, report) = open_pool(&self.disk, self.boot)?;
        self.store = store;
        self.outcome.replayed_batches += report.replayed_batches;
        self.flights.clear();
        self.waiting.clear();
        self.effects.clear();
        self.poisoned = false;
        let error_rate = std::mem::take(&mut self.rates.write_error);
        let found = self.read_everything()?;
        self.rates.write_error = error_rate;
        let submitted = self.oracle.submitted();
        let kept = self.oracle.recover(&found, power_lost)?;
        self.outcome.lost_changes += (submitted - kept) as u64;
        let (live, expected) = (self.store.space().live_bytes / BLOCK_BYTES as u64, found.live_blocks());
        // A hidden branch point, which only clones make, may hold blocks that nobody can read any more.
        let exact = self.outcome.clones == 0;
        if live < expected || (exact && live > expected) {
            return Err(format!("{live} blocks are counted as live, {expected} are"));
        }
        Ok(())
    }

    fn read_everything(&mut self) -> Result<State, String> {
        let bytes = |size: u64| size / BLOCK_BYTES as u64;
        let volumes: Vec<_> =
            self.store.volumes().map(|state| (Key::Volume(state.id.0), bytes(state.size_bytes))).collect();
        let snapshots: Vec<_> =
            self.store.snapshots().map(|state| (Key::Snapshot(state.id.0), bytes(state.size_bytes))).collect();
        let mut found = State::default();
        for (key, blocks) in volumes.into_iter().chain(snapshots) {
            self.found.insert(key, Vec::new());
            for first in (0..blocks).step_by(256) {
                let count = (blocks - first).min(256);
                let expected = vec![0; usize::try_from(count).expect("small")];
                let token = self.token(Waiting::Read { key, first, expected });
                let range = BlockRange::new(first, u32::try_from(count).expect("small"));
                self.store.read(source(key), range, token).map_err(|refusal| refusal.to_string())?;
                self.settle(|world| world.waiting.is_empty())?;
            }
            let values = self.found.remove(&key).expect("just inserted");
            let groups = self.store.changed(source(key), WriteSeq::ZERO, GroupIndex(0));
            let stamps = groups.map_err(|refusal| refusal.to_string())?.map(|changed| (changed.group.0, changed.born));
            found.versions.insert(key, Content::read(&values, stamps, self.order_of(key)));
        }
        Ok(found)
    }

    /// What the store knows of a version's order.
    fn order_of(&self, key: Key) -> [WriteSeq; 2] {
        match key {
            Key::Volume(id) => {
                self.store.volume(VolumeId(id)).map_or([WriteSeq::ZERO; 2], |state| [state.last_seq, state.stable])
            }
            Key::Snapshot(id) => {
                let state = self.store.snapshots().find(|state| state.id == SnapshotId(id));
                [state.map_or(WriteSeq::ZERO, |state| state.seq), WriteSeq::ZERO]
            }
        }
    }

    /// Deletes everything: the pool must come back to empty.
    fn empty(&mut self) -> Result<(), String> {
        self.rates.write_error = 0;
        for key in self.oracle.now().versions.keys().copied().collect::<Vec<_>>() {
            let before = self.oracle.submitted();
            while self.oracle.submitted() == before {
                self.settle(|world| world.waiting.is_empty() && world.store.has_room())?;
                self.delete(key)?;
            }
        }
        self.settle(|world| world.store.deadline().is_none_or(|due| due.0 > 0))?;
        self.store.stop();
        self.settle(|world| world.store.is_stopped())?;
        self.note_stats();
        let store = open_pool(&self.disk, self.boot)?.0;
        let space = store.space();
        // The root table, the open segment with its successor, and the segment whose header leads to it.
        if space.live_bytes != 0 || space.map_bytes > BLOCK_BYTES as u64 || space.free_segments + 4 < space.segments {
            return Err(format!("the emptied pool is not empty: {space:?}"));
        }
        Ok(())
    }
}

fn source(key: Key) -> Source {
    match key {
        Key::Volume(id) => Source::Volume(VolumeId(id)),
        Key::Snapshot(id) => Source::Snapshot(SnapshotId(id)),
    }
}

/// Whatever is written here is not zero: so holes are what reads as zeroes.
fn check_holes(values: &[u64], data: &store::ReadData) -> Result<(), String> {
    let told: Vec<bool> = data
        .extents
        .iter()
        .flat_map(|extent| std::iter::repeat_n(extent.hole, usize::try_from(extent.count).expect("small")))
        .collect();
    let holes: Vec<bool> = values.iter().map(|value| *value == 0).collect();
    let whole = data.extents.is_empty() && !holes.contains(&true);
    let mapped = values.iter().rev().fold(0, |bits, value| bits << 1 | u64::from(*value != 0));
    let count = u32::try_from(values.len()).expect("small");
    let in_bits = count > u64::BITS || data.mapped(count) == mapped;
    if in_bits && (whole || told == holes) { Ok(()) } else { Err(format!("holes {told:?}, but {values:?} was read")) }
}

fn fill_all(data: &mut [u8], first: u64, values: &[u64]) {
    for ((block, value), page) in (first..).zip(values).zip(data.chunks_exact_mut(BLOCK_BYTES)) {
        fill(page, *value, block);
    }
}
