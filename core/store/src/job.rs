//! Work that may take its time: run beside the data path, on another thread in production.
//!
//! A job owns all it needs; it changes nothing in the store. The store looks at what comes back with fresh eyes,
//! for the map may have moved on meanwhile.

use block::{Checksum, PAGE_BYTES, Page, Pages, PoolId, PoolOffset};
use layout::{BatchRecord, SegmentHeader, Summary};

use crate::effect::DiskError;
use crate::geometry::{Geometry, Spot, offset_of};
use crate::map::{Location, Space, SpaceQuery};

/// Blocking access to a pool's bytes, for jobs, recovery and offline checks.
pub trait Media {
    /// Fills `into` from `at`. A short transfer is an error.
    ///
    /// # Errors
    /// What the device said.
    fn read(&self, at: PoolOffset, into: &mut [Page]) -> Result<(), DiskError>;

    /// Fills every buffer from its offset, in any order, at once where the device gains from it.
    fn read_many(&self, reads: &mut [(PoolOffset, &mut [Page])]) -> Vec<Result<(), DiskError>> {
        reads.iter_mut().map(|(at, into)| self.read(*at, into)).collect()
    }

    /// Writes `len_bytes` zeroes at `at`, so that later writes there are overwrites.
    ///
    /// # Errors
    /// What the device said.
    fn write_zeroes(&self, at: PoolOffset, len_bytes: u64) -> Result<(), DiskError>;
}

/// A piece of background work. Run it with [`Job::run`].
#[derive(Debug)]
pub struct Job(pub(crate) Work);

#[derive(Debug)]
pub(crate) enum Work {
    /// Which batches a segment holds.
    Survey(SegmentUse),
    /// Read blocks and verify them.
    Fetch(Vec<FetchRun>),
    /// Zero-write a segment that was never written.
    Zero { at: PoolOffset, len_bytes: u64 },
    /// Account for a version's space.
    Space(SpaceQuery),
}

/// What came of a [`Job`]. Hand it to the store in [`crate::Event::JobEnded`].
#[derive(Debug)]
pub struct JobOutput(pub(crate) Findings);

#[derive(Debug)]
pub(crate) enum Findings {
    Surveyed {
        batches: Vec<BatchRecord>,
    },
    Fetched {
        pages: Pages,
        bad: Vec<BadPage>,
    },
    /// When it failed the segment is used as it is: slower, not wrong.
    Zeroed,
    Accounted {
        query: SpaceQuery,
        space: Space,
    },
}

/// One use of a segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SegmentUse {
    pub pool: PoolId,
    pub geometry: Geometry,
    pub segment: u32,
    /// `None` when recovery had no reason to look.
    pub generation: Option<u64>,
}

/// Consecutive pages and what they must add up to.
#[derive(Debug)]
pub(crate) struct FetchRun {
    pub at: Location,
    pub checksums: Vec<Checksum>,
}

/// A page that is not what was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct BadPage {
    /// Which of the fetched pages.
    pub index: usize,
    /// Whether the checksum differed; else the device failed.
    pub mismatch: bool,
}

impl Job {
    /// Does the work, blocking.
    #[must_use]
    pub fn run(self, media: &dyn Media) -> JobOutput {
        JobOutput(match self.0 {
            Work::Survey(segment) => Findings::Surveyed { batches: survey(media, &segment) },
            Work::Fetch(runs) => fetch(media, &runs),
            Work::Zero { at, len_bytes } => {
                let _ignored_see_zeroed = media.write_zeroes(at, len_bytes);
                Findings::Zeroed
            }
            Work::Space(query) => {
                let space = query.run();
                Findings::Accounted { query, space }
            }
        })
    }
}

/// The batches of a closed segment: from its summary, or, when that is damaged, from the batches themselves.
pub(crate) fn survey(media: &dyn Media, segment: &SegmentUse) -> Vec<BatchRecord> {
    // A run that crashed left its last segment without a summary: what is at its end may be an earlier use's.
    let generation = segment.generation.or_else(|| read_header(media, segment).map(|header| header.generation));
    let segment = &SegmentUse { generation, ..*segment };
    read_summary(media, segment).unwrap_or_else(|| walk_segment(media, segment, 1))
}

/// The header of this use of the segment.
pub(crate) fn read_header(media: &dyn Media, segment: &SegmentUse) -> Option<SegmentHeader> {
    let mut page = [Page::ZERO];
    media.read(segment.offset(0), &mut page).ok()?;
    let header = SegmentHeader::parse(&page[0].0).ok()?;
    let ours = header.pool == segment.pool && header.segment == segment.segment;
    let same_use = segment.generation.is_none_or(|generation| generation == header.generation);
    (ours && same_use && header.successor < segment.geometry.segments).then_some(header)
}

/// The batches that the summary of this use of the segment lists.
pub(crate) fn read_summary(media: &dyn Media, segment: &SegmentUse) -> Option<Vec<BatchRecord>> {
    let mut last = Pages::zeroed(1);
    media.read(segment.offset(segment.geometry.segment_pages - 1), last.pages_mut()).ok()?;
    let summary = Summary::parse(last.bytes()).ok()?;
    let generation = segment.generation.unwrap_or(summary.generation);
    let found = (summary.pool, summary.segment, summary.generation);
    if found != (segment.pool, segment.segment, generation) {
        return None;
    }
    let segment = &SegmentUse { generation: Some(generation), ..*segment };
    let pages = u32::try_from(summary.pages()).ok().filter(|&pages| pages < segment.geometry.segment_pages)?;
    let mut body = Pages::zeroed(pages as usize);
    media.read(segment.offset(segment.geometry.segment_pages - pages), body.pages_mut()).ok()?;
    let batches = summary.batches(body.bytes()).ok()?;
    batches.iter().all(|batch| segment.owns(batch)).then_some(batches)
}

/// The batches of this use of the segment from page `first_page` on, up to the first that is not whole.
pub(crate) fn walk_segment(media: &dyn Media, segment: &SegmentUse, first_page: u32) -> Vec<BatchRecord> {
    let mut batches: Vec<BatchRecord> = Vec::new();
    let mut window = Window { first: 0, pages: Pages::default(), filled: 0 };
    let mut page = first_page;
    while page < segment.geometry.segment_pages {
        let Some(bytes) = window.page(media, segment, page) else { break };
        let Ok(batch) = BatchRecord::parse(bytes) else { break };
        let follows = batches.last().is_none_or(|last| batch.header.lsn == last.header.lsn.next());
        let fits = page + batch.pages() <= segment.geometry.segment_pages;
        if !(follows && fits && batch.header.page == page && segment.owns(&batch)) {
            break;
        }
        page += batch.pages();
        batches.push(batch);
    }
    batches
}

/// Pages read at once while walking a segment.
const WINDOW_PAGES: u32 = 256;

struct Window {
    first: u32,
    pages: Pages,
    filled: u32,
}

impl Window {
    fn page(&mut self, media: &dyn Media, segment: &SegmentUse, page: u32) -> Option<&[u8]> {
        if page < self.first || page >= self.first + self.filled {
            let count = WINDOW_PAGES.min(segment.geometry.segment_pages - page);
            (self.first, self.filled) = (page, 0);
            if self.pages.count() < count as usize {
                self.pages = Pages::zeroed(count as usize);
            }
            media.read(segment.offset(page), &mut self.pages.pages_mut()[..count as usize]).ok()?;
            self.filled = count;
        }
        Some(self.pages.page((page - self.first) as usize))
    }
}

impl SegmentUse {
    pub fn offset(&self, page: u32) -> PoolOffset {
        offset_of(self.geometry.location(Spot { segment: self.segment, page }))
    }

    pub fn owns(&self, batch: &BatchRecord) -> bool {
        let found = (batch.header.pool, batch.header.segment, Some(batch.header.generation));
        found == (self.pool, self.segment, self.generation)
    }
}

/// Runs this close together are read in one go.
const GAP_PAGES_MAX: u32 = 8;
/// Pages read in one go at most: 128 KiB, for whatever a client asks of the device meanwhile waits behind them.
const SPAN_PAGES_MAX: u32 = 32;

fn fetch(media: &dyn Media, runs: &[FetchRun]) -> Findings {
    let total = runs.iter().map(|run| run.checksums.len()).sum();
    let mut pages = Pages::zeroed(total);
    let mut bad = Vec::new();
    let mut scratch = Pages::default();
    let (mut next, mut index) = (0, 0);
    while next < runs.len() {
        let span = Span::from(&runs[next..]);
        if scratch.count() < span.pages as usize {
            scratch = Pages::zeroed(span.pages as usize);
        }
        let buffer = &mut scratch.pages_mut()[..span.pages as usize];
        let whole = media.read(offset_of(span.at), buffer).is_ok();
        for run in &runs[next..next + span.runs] {
            for (offset, checksum) in (0..).zip(&run.checksums) {
                let from = run.at.plus(offset);
                let page = &mut buffer[(from.0 - span.at.0) as usize];
                let readable = whole || media.read(offset_of(from), std::slice::from_mut(page)).is_ok();
                if !readable || Checksum::of(&page.0) != *checksum {
                    bad.push(BadPage { index, mismatch: readable });
                }
                pages[index] = page.0;
                index += 1;
            }
        }
        next += span.runs;
    }
    Findings::Fetched { pages, bad }
}

/// Runs that are read in one go.
struct Span {
    at: Location,
    pages: u32,
    runs: usize,
}

impl Span {
    fn from(runs: &[FetchRun]) -> Self {
        let len = |run: &FetchRun| u32::try_from(run.checksums.len()).expect("at most a batch");
        let mut span = Self { at: runs[0].at, pages: len(&runs[0]), runs: 1 };
        for run in &runs[1..] {
            let end = span.at.plus(span.pages);
            let near = run.at >= end && run.at.0 - end.0 <= GAP_PAGES_MAX;
            let pages = run.at.0.wrapping_sub(span.at.0).wrapping_add(len(run));
            if !near || pages > SPAN_PAGES_MAX {
                break;
            }
            (span.pages, span.runs) = (pages, span.runs + 1);
        }
        span
    }
}

const _: () = assert!(PAGE_BYTES == block::BLOCK_BYTES, "a page holds a block");
