//! Space reclaim: picks a segment with much dead space, moves what is still live to the head of the log, so that the
//! segment empties; scrub: reads all that is live, the map included, and verifies it. Both survey a segment the same way.
//!
//! ```text
//! idle --victim--> surveying --batches--> fetching --blocks--> moving --all moved--> idle
//! ```
//! The survey and the reads run as jobs beside the data path. Whether a block is still live is asked twice: before
//! it is read and again when it is moved. A block that is not what was written stays where it is, is reported, and
//! keeps its segment from being reused.

use std::collections::VecDeque;

use block::{BlockIndex, Checksum, Instant, PAGE_BYTES, Pages, VolumeId, WriteSeq};
use layout::{BatchRecord, Entry, EntryKind};

use crate::Store;
use crate::blocks::Blocks;
use crate::effect::Report;
use crate::geometry::{Spot, offset_of};
use crate::job::{BadPage, FetchRun, SegmentUse, Work};
use crate::map::{FamilyId, Kind, Location, Place};
use crate::requests::Source;
use crate::segments::{Segment, State};

/// Blocks looked up in one turn while sorting live from dead.
const SORTED_PER_TURN: usize = 64;
/// Blocks moved in one turn: when there is time, and when space is short.
const MOVED_PER_TURN: [u32; 2] = [16, 48];
/// Blocks in the open batch at which reclaim seals it: whoever writes behind it waits for all of it.
const BATCH_BLOCKS: usize = 32;
/// Blocks fetched by one job.
const FETCH_BLOCKS_MAX: usize = 512;
/// Fetches that may wait to be moved before another one starts.
const FETCHES_AHEAD: usize = 2;

/// What stands in the pages of a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Content {
    /// Blocks of a volume.
    Blocks,
    /// The map node that lies at `at`. Only a scrub reads it: reclaim has the next checkpoint write it anew.
    Node { place: Place, at: Location },
    /// The part of the root table that lies at `at`. As with nodes.
    Roots { at: Location },
}

/// Consecutive pages that were written together and may still be live.
#[derive(Clone, Debug)]
struct LiveRun {
    content: Content,
    volume: VolumeId,
    seq: WriteSeq,
    first: u64,
    at: Location,
    checksums: Vec<Checksum>,
}

/// Why a segment is looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Aim {
    /// To empty it.
    Reclaim,
    /// To verify it.
    Scrub,
}

#[derive(Debug)]
struct Survey {
    aim: Aim,
    segment: u32,
    /// Batches not sorted yet, and how far the first one is.
    batches: VecDeque<BatchRecord>,
    entry: usize,
    block: u32,
    runs: VecDeque<LiveRun>,
    /// Blocks of `runs` that a job is fetching, and what has come back.
    fetching: Option<Vec<LiveRun>>,
    fetched: VecDeque<Fetched>,
}

#[derive(Debug)]
struct Fetched {
    runs: VecDeque<LiveRun>,
    pages: Pages,
    bad: Vec<BadPage>,
    /// Page of the first block of `runs`.
    next: usize,
}

#[derive(Debug)]
enum Phase {
    Idle,
    Surveying { aim: Aim, segment: u32 },
    Working(Box<Survey>),
}

#[derive(Debug)]
pub(crate) struct Reclaim {
    phase: Phase,
    /// The last look for a victim found none.
    found_nothing: bool,
    scrub: Scrub,
}

/// How far a pass over the pool is.
#[derive(Debug)]
struct Scrub {
    /// Next segment; `None` between passes.
    next: Option<u32>,
    due: Instant,
    blocks: u64,
    bad: u64,
}

/// Time between the ends and beginnings of scrub passes: a week.
const SCRUB_PAUSE_NS: u64 = 7 * 24 * 3600 * 1_000_000_000;
/// Time from opening to the first scrub pass: an hour.
const SCRUB_FIRST_NS: u64 = 3600 * 1_000_000_000;
/// Time between two segments of a scrub.
const SCRUB_STEP_NS: u64 = 250_000_000;

impl Reclaim {
    pub fn new() -> Self {
        let scrub = Scrub { next: None, due: Instant(u64::MAX), blocks: 0, bad: 0 };
        Self { phase: Phase::Idle, found_nothing: false, scrub }
    }

    pub fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Idle)
    }

    /// Whether every segment with dead space is too young to be emptied.
    pub fn found_nothing(&self) -> bool {
        self.found_nothing
    }

    /// Whether a step would find work to do without waiting for a job; to empty a segment, it must be allowed to append.
    pub fn has_work(&self, can_append: bool) -> bool {
        match &self.phase {
            Phase::Working(survey) => {
                let sorts = !survey.batches.is_empty() && survey.runs.len() < FETCH_BLOCKS_MAX;
                (sorts || !survey.fetched.is_empty()) && (survey.aim == Aim::Scrub || can_append)
            }
            Phase::Idle | Phase::Surveying { .. } => false,
        }
    }

    pub fn deadline(&self) -> Option<Instant> {
        (self.is_idle() && self.scrub.due.0 < u64::MAX).then_some(self.scrub.due)
    }

    /// The first pass after opening begins an hour later.
    pub fn start_clock(&mut self, now: Instant) {
        if self.scrub.due.0 == u64::MAX {
            self.scrub.due = Instant(now.0.saturating_add(SCRUB_FIRST_NS));
        }
    }

    /// A scrub pass begins at `at`, unless one is under way.
    pub fn schedule_scrub(&mut self, at: Instant) {
        if self.scrub.next.is_none() {
            self.scrub.due = at;
        }
    }
}

impl Store {
    /// Goes on with reclaim or scrub, a bounded step.
    pub(crate) fn step_reclaim(&mut self, now: Instant) {
        match std::mem::replace(&mut self.reclaim.phase, Phase::Idle) {
            Phase::Idle => self.pick_segment(now),
            Phase::Working(survey) => self.work_on(survey),
            waiting @ Phase::Surveying { .. } => self.reclaim.phase = waiting,
        }
    }

    fn pick_segment(&mut self, now: Instant) {
        let wanted = self.wants_reclaim() && self.can_reclaim();
        let victim = if wanted { self.pick_victim() } else { None };
        self.reclaim.found_nothing = self.wants_reclaim() && victim.is_none();
        if let Some(segment) = victim {
            self.survey(Aim::Reclaim, segment);
        } else if now >= self.reclaim.scrub.due {
            self.scrub_next(now);
        }
    }

    /// Whether free segments are few enough to make more.
    pub(crate) fn wants_reclaim(&self) -> bool {
        let segments = &self.contents.segments;
        let soon = u32::try_from(segments.empty_count()).unwrap_or(u32::MAX);
        segments.free_count().saturating_add(soon) < self.reclaim_below()
    }

    /// The segment whose space costs least: cost-benefit of the log-structured file system (Rosenblum, Ousterhout
    /// 1992), (1 - u) * age / (1 + u). Segments since the last checkpoint could not be reused yet.
    fn pick_victim(&self) -> Option<u32> {
        let replay_from = self.checkpoint.replay_from();
        let newest = self.log.current_lsn().0;
        let pages = f64::from(self.geometry.segment_pages);
        let eligible = |segment: &Segment| {
            let used = segment.live + segment.live_map > 0;
            let settled = segment.last_lsn < replay_from && segment.visited < replay_from;
            segment.state == State::Closed && !segment.stuck && used && settled
        };
        let score = |segment: &Segment| {
            let used = (f64::from(segment.live) + f64::from(segment.live_map)) / pages;
            #[expect(clippy::cast_precision_loss, reason = "an age need not be exact")]
            let age = (newest - segment.last_lsn.0).max(1) as f64;
            (1.0 - used) * age / (1.0 + used)
        };
        let worth = |segment: &Segment| segment.live + segment.live_map < self.worth_moving_below();
        let victims = self.contents.segments.iter().filter(|(_, segment)| eligible(segment) && worth(segment));
        let best = victims.max_by(|(_, left), (_, right)| score(left).total_cmp(&score(right)));
        best.map(|(number, _)| number)
    }

    fn survey(&mut self, aim: Aim, segment: u32) {
        let generation = self.contents.segments.get(segment).known_generation();
        let usage = SegmentUse { pool: self.checkpoint.superblock.pool, geometry: self.geometry, segment, generation };
        self.contents.segments.pin(segment);
        self.run(Work::Survey(usage));
        self.reclaim.phase = Phase::Surveying { aim, segment };
    }

    /// The batches of the surveyed segment are known.
    pub(crate) fn surveyed(&mut self, batches: Vec<BatchRecord>) {
        let Phase::Surveying { aim, segment, .. } = self.reclaim.phase else {
            unreachable!("one survey runs at a time");
        };
        self.reclaim.phase = Phase::Working(Box::new(Survey {
            aim,
            segment,
            batches: batches.into(),
            entry: 0,
            block: 0,
            runs: VecDeque::new(),
            fetching: None,
            fetched: VecDeque::new(),
        }));
    }

    fn work_on(&mut self, mut survey: Box<Survey>) {
        if survey.aim == Aim::Scrub || self.can_reclaim() {
            self.sort_live(&mut survey);
        }
        if survey.fetching.is_none() && survey.fetched.len() < FETCHES_AHEAD && survey.is_worth_fetching() {
            self.fetch(&mut survey);
        }
        if let Some(fetched) = survey.fetched.pop_front()
            && let Some(rest) = self.move_blocks(&mut survey, fetched)
        {
            survey.fetched.push_front(rest);
        }
        let done = survey.batches.is_empty()
            && survey.runs.is_empty()
            && survey.fetching.is_none()
            && survey.fetched.is_empty();
        if done { self.leave_segment(&survey) } else { self.reclaim.phase = Phase::Working(survey) }
    }

    fn leave_segment(&mut self, survey: &Survey) {
        self.contents.segments.unpin(survey.segment);
        if survey.aim == Aim::Reclaim {
            self.stats.reclaimed_segments += 1;
            self.durability.want(self.log.last_lsn());
            self.contents.segments.note_visited(survey.segment, self.log.current_lsn());
            self.free_segments();
        }
    }

    /// Looks up which blocks of the next batches are live, and notes them as runs to fetch.
    fn sort_live(&mut self, survey: &mut Survey) {
        let mut budget = SORTED_PER_TURN;
        while budget > 0 && survey.runs.len() < FETCH_BLOCKS_MAX {
            let Some(batch) = survey.batches.front() else { return };
            let Some(entry) = batch.entries.get(survey.entry).copied() else {
                survey.batches.pop_front();
                (survey.entry, survey.block) = (0, 0);
                continue;
            };
            if survey.block >= entry.data_blocks() {
                (survey.entry, survey.block) = (survey.entry + 1, 0);
                continue;
            }
            let index = survey.block;
            survey.block += 1;
            budget -= 1;
            let before: u32 = batch.entries[..survey.entry].iter().map(Entry::data_blocks).sum();
            let page = batch.header.page + 1 + before + index;
            let at = self.geometry.location(Spot { segment: survey.segment, page });
            let checksum = batch.checksums[(before + index) as usize];
            match entry.kind {
                EntryKind::Data | EntryKind::Copy | EntryKind::Reclaim => {
                    let block = entry.block(index);
                    if self.contents.map.find_holder(entry.volume, block, at).is_some() {
                        note_live(&mut survey.runs, &entry, block.0, at, checksum);
                    }
                }
                // What lies there is whole, and not what the volume holds: it is found bad, and told.
                EntryKind::Lost => {
                    let block = entry.block(index);
                    if self.contents.map.find_holder(entry.volume, block, at).is_some() {
                        note_live(&mut survey.runs, &entry, block.0, at, entry.lost_checksum());
                    }
                }
                EntryKind::Map | EntryKind::Root if index == 0 => {
                    let Some(content) = content_of(&entry, at) else { continue };
                    if survey.aim == Aim::Reclaim {
                        self.rewrite(entry.volume, content);
                    } else if self.is_live(entry.volume, 0, at, content) {
                        let checksums = &batch.checksums[before as usize..][..entry.data_blocks() as usize];
                        survey.runs.push_back(LiveRun {
                            content,
                            volume: entry.volume,
                            seq: entry.seq,
                            first: 0,
                            at,
                            checksums: checksums.to_vec(),
                        });
                    }
                }
                EntryKind::Map
                | EntryKind::Root
                | EntryKind::Zero
                | EntryKind::Create
                | EntryKind::Clone
                | EntryKind::Delete
                | EntryKind::Snapshot
                | EntryKind::DeleteSnapshot
                | EntryKind::Resize
                | EntryKind::Stable
                | EntryKind::Epoch
                | EntryKind::Restamp => {}
            }
        }
    }

    /// What the checkpoint that counts holds there is written elsewhere by the next one.
    fn rewrite(&mut self, volume: VolumeId, content: Content) {
        let rewritten = match content {
            Content::Node { place, at } => {
                let found = family(volume).is_some_and(|family| self.contents.map.rewrite(family, place, at));
                self.stats.rewritten_nodes += u64::from(found);
                found
            }
            Content::Roots { at } => self.is_root(at),
            Content::Blocks => false,
        };
        if rewritten {
            self.checkpoint.note_change();
        }
    }

    fn is_live(&self, volume: VolumeId, first: u64, at: Location, content: Content) -> bool {
        let map = &self.contents.map;
        match content {
            Content::Blocks => map.find_holder(volume, BlockIndex(first), at).is_some(),
            Content::Node { place, at } => family(volume).is_some_and(|family| map.holds_node(family, place, at)),
            Content::Roots { at } => self.is_root(at),
        }
    }

    fn is_root(&self, at: Location) -> bool {
        self.checkpoint.superblock.roots.iter().any(|root| root.at == at.0)
    }

    fn fetch(&mut self, survey: &mut Survey) {
        let mut blocks = 0;
        let fits = |run: &&LiveRun| {
            blocks += run.checksums.len();
            blocks <= FETCH_BLOCKS_MAX
        };
        let count = survey.runs.iter().take_while(fits).count().max(1);
        let runs: Vec<LiveRun> = survey.runs.drain(..count).collect();
        let reads = runs.iter().map(|run| FetchRun { at: run.at, checksums: run.checksums.clone() }).collect();
        self.run(Work::Fetch(reads));
        survey.fetching = Some(runs);
    }

    /// The blocks of the last fetch arrived.
    pub(crate) fn fetched(&mut self, pages: Pages, bad: Vec<BadPage>) {
        let Phase::Working(survey) = &mut self.reclaim.phase else {
            unreachable!("blocks are fetched for a survey");
        };
        let runs = survey.fetching.take().expect("one fetch runs at a time");
        let fetched = Fetched { runs: runs.into(), pages, bad, next: 0 };
        survey.fetched.push_back(fetched);
    }

    /// Moves some of the fetched blocks; answers what is left of them.
    fn move_blocks(&mut self, survey: &mut Survey, mut fetched: Fetched) -> Option<Fetched> {
        let mut budget = MOVED_PER_TURN[usize::from(self.is_short_of_space())];
        while budget > 0 {
            let run = fetched.runs.pop_front()?;
            let good = self.good_prefix(survey.segment, survey.aim, &run, &mut fetched);
            let count = match survey.aim {
                Aim::Scrub => good,
                Aim::Reclaim if good == 0 => 0,
                Aim::Reclaim if !self.can_reclaim() => {
                    fetched.runs.push_front(run);
                    break;
                }
                Aim::Reclaim => self.move_run(&run, good, &fetched),
            };
            // Nothing good at the front: the bad block was reported and is left behind.
            let passed = count.max(1);
            fetched.next += passed as usize;
            budget = budget.saturating_sub(passed);
            if let Some(rest) = run.after(passed) {
                fetched.runs.push_front(rest);
            }
        }
        Some(fetched)
    }

    /// How many blocks at the front of the run are what was written. A bad one that is still live is reported.
    fn good_prefix(&mut self, segment: u32, aim: Aim, run: &LiveRun, fetched: &mut Fetched) -> u32 {
        let count = run.count();
        let end = fetched.next + count as usize;
        let bad = fetched.bad.iter().find(|bad| (fetched.next..end).contains(&bad.index)).copied();
        let good = bad.map_or(count, |bad| u32::try_from(bad.index - fetched.next).expect("within the run"));
        if aim == Aim::Scrub {
            self.reclaim.scrub.blocks += u64::from(good);
        }
        if let Some(bad) = bad
            && good == 0
            && self.is_live(run.volume, run.first, run.at, run.content)
        {
            self.stats.bad_blocks += 1;
            self.reclaim.scrub.bad += u64::from(aim == Aim::Scrub);
            let at = offset_of(run.at);
            let block = self.named_holder(run).map(|source| (source, BlockIndex(run.first)));
            self.report(Report::BadBlock { at, block, mismatch: bad.mismatch });
            match run.content {
                Content::Blocks => self.contents.segments.set_stuck(segment),
                // What memory holds is right.
                Content::Node { .. } | Content::Roots { .. } => self.rewrite(run.volume, run.content),
            }
        }
        good
    }

    /// A volume, or else a snapshot, that holds the first block of the run.
    fn named_holder(&self, run: &LiveRun) -> Option<Source> {
        let map = &self.contents.map;
        let is_blocks = run.content == Content::Blocks;
        let kinds = is_blocks.then(|| map.holders(run.volume, BlockIndex(run.first), run.at));
        let named = kinds.into_iter().flatten().filter_map(|version| match map.version(version).kind() {
            Kind::Head(volume) => Some(Source::Volume(volume)),
            Kind::Snapshot(snapshot) => Some(Source::Snapshot(snapshot)),
            Kind::Hidden => None,
        });
        named.min()
    }

    /// Moves up to `good` blocks of the run to the head of the log; answers how many were dealt with.
    fn move_run(&mut self, run: &LiveRun, good: u32, fetched: &Fetched) -> u32 {
        let block = BlockIndex(run.first);
        let live = self.contents.map.find_holder(run.volume, block, run.at).is_some();
        if !live {
            return 1;
        }
        if self.log.open_blocks() >= BATCH_BLOCKS {
            self.seal();
        }
        let room = self.open_batch((good as usize).min(BATCH_BLOCKS));
        let count = u32::try_from(room).expect("at most a batch").min(good);
        let entry = Entry {
            volume: run.volume,
            seq: run.seq,
            kind: EntryKind::Reclaim,
            first: run.first,
            count,
            aux: run.at.0,
        };
        let bytes = fetched.next * PAGE_BYTES..(fetched.next + count as usize) * PAGE_BYTES;
        self.checkpoint.note_change();
        let data = Blocks::known(&fetched.pages.bytes()[bytes], &run.checksums[..count as usize]);
        let to = self.log.append(entry, data).0;
        let lsn = self.log.current_lsn();
        for index in 0..count {
            let block = BlockIndex(run.first + u64::from(index));
            let moved = self.contents.relocate(run.volume, block, run.at.plus(index), to.plus(index), lsn);
            self.stats.reclaimed_blocks += u64::from(moved);
        }
        count
    }

    fn scrub_next(&mut self, now: Instant) {
        let first = self.reclaim.scrub.next.unwrap_or(0);
        let next = (first..self.geometry.segments).find(|&segment| {
            let segment = self.contents.segments.get(segment);
            segment.state == State::Closed && segment.live + segment.live_map > 0
        });
        let Some(segment) = next else { return self.end_scrub(now) };
        self.reclaim.scrub.next = Some(segment + 1);
        self.reclaim.scrub.due = Instant(now.0 + SCRUB_STEP_NS);
        self.survey(Aim::Scrub, segment);
    }

    fn end_scrub(&mut self, now: Instant) {
        let scrub = &mut self.reclaim.scrub;
        let (blocks, bad_blocks) = (scrub.blocks, scrub.bad);
        *scrub = Scrub { next: None, due: Instant(now.0.saturating_add(SCRUB_PAUSE_NS)), blocks: 0, bad: 0 };
        self.stats.scrubs += 1;
        self.report(Report::Scrubbed { blocks, bad_blocks });
    }
}

impl Survey {
    /// Whether enough blocks are known to be live, or all are.
    fn is_worth_fetching(&self) -> bool {
        self.runs.len() >= FETCH_BLOCKS_MAX / 2 || (self.batches.is_empty() && !self.runs.is_empty())
    }
}

impl LiveRun {
    fn count(&self) -> u32 {
        u32::try_from(self.checksums.len()).expect("at most a batch")
    }

    fn after(mut self, count: u32) -> Option<Self> {
        self.checksums.drain(..(count as usize).min(self.checksums.len()));
        (self.first, self.at) = (self.first + u64::from(count), self.at.plus(count));
        (!self.checksums.is_empty()).then_some(self)
    }
}

/// What a MAP or ROOT entry whose first page lies at `at` holds.
fn content_of(entry: &Entry, at: Location) -> Option<Content> {
    if entry.kind == EntryKind::Root {
        return Some(Content::Roots { at });
    }
    let (level, index) = (u8::try_from(entry.aux).ok()?, u32::try_from(entry.first).ok()?);
    Some(Content::Node { place: Place { level, index }, at })
}

/// The family that a MAP entry names in place of a volume.
fn family(volume: VolumeId) -> Option<FamilyId> {
    u32::try_from(volume.0).ok().map(FamilyId)
}

fn note_live(runs: &mut VecDeque<LiveRun>, entry: &Entry, block: u64, at: Location, checksum: Checksum) {
    if let Some(last) = runs.back_mut()
        && last.content == Content::Blocks
        && last.volume == entry.volume
        && last.seq == entry.seq
        && last.first + u64::from(last.count()) == block
        && last.at.plus(last.count()) == at
    {
        last.checksums.push(checksum);
        return;
    }
    runs.push_back(LiveRun {
        content: Content::Blocks,
        volume: entry.volume,
        seq: entry.seq,
        first: block,
        at,
        checksums: vec![checksum],
    });
}
