//! Read-ahead: who reads a volume from one block to the next finds what comes next in memory, so that the device works
//! while answers are on their way.
//!
//! What is fetched is kept by its place in the pool, and a place never changes its content while its segment is not
//! used again, which a pin prevents. So nothing has to be thrown away when a volume is written; and every block is
//! verified against the map's checksum like any other. What does not match is read again, alone.

use block::{BlockIndex, BlockRange, Checksum, PAGE_BYTES, Pages};

use crate::Store;
use crate::effect::{DiskError, Effect};
use crate::geometry::offset_of;
use crate::io::Purpose;
use crate::map::{Location, Run, VersionId};
use crate::read::ReadId;

/// Readers that are recognised at a time.
const STREAMS_MAX: usize = 16;
/// Reads that follow each other before the next ones are expected.
const HITS_MIN: u32 = 3;
/// Blocks fetched ahead of a reader: 3 MiB.
const AHEAD_BLOCKS: u32 = 768;
/// Blocks that lack before more are fetched.
const STEP_BLOCKS: u32 = 64;
/// Pages of one fetch: 256 KiB.
const SPAN_PAGES_MAX: u32 = 64;
/// Fewest pages worth a fetch: what lies scattered is left to the reads themselves.
const SPAN_PAGES_MIN: u32 = 16;
/// Pages between two runs that are fetched with them: batch headers.
const GAP_PAGES_MAX: u32 = 2;
/// Fetches kept at a time, on their way or arrived: 12 MiB.
const SPANS_MAX: usize = 48;
/// Reads after which nobody is expected to ask for what was fetched.
const STALE_READS: u64 = 4096;

/// A reader.
#[derive(Debug)]
struct Stream {
    version: VersionId,
    /// The block behind its last read.
    next: BlockIndex,
    hits: u32,
    /// Everything up to here was fetched or is not worth it.
    ahead: BlockIndex,
}

/// Part of a read that lies in a span which has not arrived.
#[derive(Clone, Copy, Debug)]
struct Part {
    read: ReadId,
    /// First page of the read's buffer.
    page: u32,
    blocks: u32,
    at: Location,
}

#[derive(Debug)]
struct Span {
    at: Location,
    pages: u32,
    buffer: Pages,
    arrived: bool,
    /// [`Ahead::reads`] when it was fetched.
    since: u64,
    parts: Vec<Part>,
}

impl Span {
    fn bytes(&self, at: Location, blocks: u32) -> &[u8] {
        let from = (at.0 - self.at.0) as usize * PAGE_BYTES;
        &self.buffer.bytes()[from..from + blocks as usize * PAGE_BYTES]
    }
}

#[derive(Debug, Default)]
pub(crate) struct Ahead {
    /// The one used last is last.
    streams: Vec<Stream>,
    /// By number; numbers of spans that are gone are used again.
    spans: Vec<Option<Span>>,
    /// Reads noted so far.
    reads: u64,
}

impl Ahead {
    /// Notes a read; answers what to fetch, if it was one of several in a row.
    fn note(&mut self, version: VersionId, range: BlockRange) -> Option<BlockRange> {
        self.reads += 1;
        let follows = |stream: &Stream| stream.version == version && stream.next == range.first;
        let found = self.streams.iter().position(follows);
        let mut stream = match found {
            Some(index) => self.streams.remove(index),
            None => Stream { version, next: range.first, hits: 0, ahead: range.first },
        };
        stream.next = range.end();
        stream.hits = stream.hits.saturating_add(1);
        stream.ahead = stream.ahead.max(stream.next);
        let left = u32::try_from(stream.ahead.0 - stream.next.0).expect("at most as far as was fetched");
        let due = stream.hits >= HITS_MIN && left + STEP_BLOCKS <= AHEAD_BLOCKS;
        let fetch = due.then(|| BlockRange::new(stream.ahead.0, AHEAD_BLOCKS - left));
        if let Some(fetch) = fetch {
            stream.ahead = fetch.end();
        }
        if self.streams.len() >= STREAMS_MAX {
            self.streams.remove(0);
        }
        self.streams.push(stream);
        fetch
    }

    /// The span that holds a place, and how many of `blocks` from there on.
    fn find(&self, at: Location, blocks: u32) -> Option<(u32, u32)> {
        let held = |span: &Span| (span.at.0 + span.pages).checked_sub(at.0).filter(|left| span.at <= at && *left > 0);
        let found = |(number, span): (u32, &Option<Span>)| Some((number, held(span.as_ref()?)?.min(blocks)));
        (0..).zip(&self.spans).find_map(found)
    }

    /// How many of `blocks` from a place on lie before the next span.
    fn gap(&self, at: Location, blocks: u32) -> u32 {
        let ahead = |span: &Span| span.at.0.checked_sub(at.0).filter(|gap| *gap > 0);
        let gaps = self.spans.iter().flatten().filter_map(ahead);
        gaps.min().map_or(blocks, |gap| gap.min(blocks))
    }

    /// A free number, if there is one.
    fn vacancy(&self) -> Option<usize> {
        let vacant = self.spans.iter().position(Option::is_none);
        vacant.or_else(|| (self.spans.len() < SPANS_MAX).then_some(self.spans.len()))
    }

    fn get(&self, span: u32) -> &Span {
        self.spans[span as usize].as_ref().expect("a span is there while it is on its way")
    }

    /// What a span's device read goes to.
    pub fn target(&mut self, span: u32) -> (&mut [u8], Option<u16>) {
        let span = self.spans[span as usize].as_mut().expect("a span is there while it is on its way");
        let fixed = span.buffer.fixed();
        (&mut span.buffer.bytes_mut()[..span.pages as usize * PAGE_BYTES], fixed)
    }
}

impl Store {
    /// Gets blocks of a read that lie in one piece: from what was fetched ahead, and the rest from the device.
    pub(crate) fn get_blocks(&mut self, read: ReadId, mut page: u32, mut blocks: u32, mut at: Location) {
        while blocks > 0 {
            let (span, count) = match self.ahead.find(at, blocks) {
                Some((span, count)) => (Some(span), count),
                None => (None, self.ahead.gap(at, blocks)),
            };
            let part = Part { read, page, blocks: count, at };
            match span {
                Some(number) => self.get_ahead(number, part),
                None => self.read_device(part),
            }
            (page, blocks, at) = (page + count, blocks - count, at.plus(count));
        }
    }

    fn get_ahead(&mut self, number: u32, part: Part) {
        let span = self.ahead.spans[number as usize].as_mut().expect("just found");
        if span.arrived {
            self.take_from(number, part);
        } else {
            span.parts.push(part);
            self.reads.get(part.read).outstanding += 1;
        }
    }

    fn read_device(&mut self, part: Part) {
        let Part { read, page, blocks, at } = part;
        self.contents.segments.pin(self.geometry.segment_of(at));
        let purpose = Purpose::Read { read, first_page: page, pages: blocks, at };
        self.effects.push(Effect::Read { io: self.io.start(purpose), at: offset_of(at) });
        self.reads.get(read).outstanding += 1;
        self.stats.device_reads += 1;
        self.stats.device_read_blocks += u64::from(blocks);
    }

    /// A device does not say which of several pages it could not read: each is read by itself.
    pub(crate) fn read_singly(&mut self, read: ReadId, first_page: u32, pages: u32, at: Location) {
        for page in 0..pages {
            self.read_device(Part { read, page: first_page + page, blocks: 1, at: at.plus(page) });
        }
    }

    /// Copies a part out of a span that arrived. Blocks that are not what was written are read again from the device,
    /// which has the last word on them.
    fn take_from(&mut self, number: u32, part: Part) {
        let span = self.ahead.get(number);
        let state = self.reads.get(part.read);
        let target = part.page as usize..(part.page + part.blocks) as usize;
        let bytes = span.bytes(part.at, part.blocks);
        let pages = bytes.chunks_exact(PAGE_BYTES).zip(&state.checksums[target.clone()]);
        let good = pages.into_iter().all(|(page, checksum)| Checksum::of(page) == *checksum);
        let used_up = part.at.plus(part.blocks) == span.at.plus(span.pages);
        if good {
            state.buffer.bytes_mut()[target.start * PAGE_BYTES..target.end * PAGE_BYTES].copy_from_slice(bytes);
        } else {
            self.read_device(part);
        }
        if used_up {
            self.drop_span(number);
        }
    }

    fn drop_span(&mut self, number: u32) {
        let span = self.ahead.spans[number as usize].take().expect("it is there");
        self.contents.segments.unpin(self.geometry.segment_of(span.at));
        self.buffers.give_read(span.buffer);
    }

    /// Forgets what was fetched and not asked for yet where nothing else keeps a segment from being used again.
    pub(crate) fn drop_dead_spans(&mut self) {
        for number in (0..).take(self.ahead.spans.len()) {
            let arrived = self.ahead.spans[number as usize].as_ref().filter(|span| span.arrived);
            let segment = arrived.map(|span| self.contents.segments.get(self.geometry.segment_of(span.at)));
            if segment.is_some_and(|segment| segment.live + segment.live_map == 0) {
                self.drop_span(number);
            }
        }
    }

    /// Fetches what a reader is likely to ask for next.
    pub(crate) fn read_ahead(&mut self, version: VersionId, range: BlockRange) {
        let Some(next) = self.ahead.note(version, range) else { return };
        let end = self.contents.map.version(version).end();
        let count = end.0.saturating_sub(next.first.0).min(u64::from(next.count.0));
        let next = BlockRange::new(next.first.0, u32::try_from(count).expect("at most what was asked for"));
        for (at, pages) in self.spans_of(version, next) {
            self.fetch_span(at, pages);
        }
    }

    /// Where the blocks lie, as pieces worth a fetch.
    fn spans_of(&self, version: VersionId, range: BlockRange) -> Vec<(Location, u32)> {
        let mut spans: Vec<(Location, u32)> = Vec::new();
        for run in self.contents.map.runs(version, range) {
            let Run::Mapped { entries } = run else { continue };
            for piece in entries.chunks(SPAN_PAGES_MAX as usize) {
                let (at, blocks) = (piece[0].location, u32::try_from(piece.len()).expect("a run lies in a leaf"));
                if self.log.in_memory(at).is_some() || self.ahead.find(at, blocks).is_some() {
                    continue;
                }
                match spans.last_mut() {
                    Some((first, pages)) if self.joins(*first, *pages, at, blocks) => *pages = at.0 + blocks - first.0,
                    Some(_) | None => spans.push((at, blocks)),
                }
            }
        }
        spans.retain(|(_, pages)| *pages >= SPAN_PAGES_MIN);
        spans
    }

    fn joins(&self, first: Location, pages: u32, at: Location, blocks: u32) -> bool {
        let end = first.plus(pages);
        let near = at >= end && at.0 - end.0 <= GAP_PAGES_MAX;
        let one_segment = self.geometry.segment_of(first) == self.geometry.segment_of(at);
        near && one_segment && at.0 + blocks - first.0 <= SPAN_PAGES_MAX
    }

    fn fetch_span(&mut self, at: Location, pages: u32) {
        let Some(number) = self.ahead.vacancy().or_else(|| self.evict()) else { return };
        let buffer = self.buffers.take_read(pages as usize);
        let since = self.ahead.reads;
        let span = Some(Span { at, pages, buffer, arrived: false, since, parts: Vec::new() });
        if number == self.ahead.spans.len() {
            self.ahead.spans.push(span);
        } else {
            self.ahead.spans[number] = span;
        }
        self.contents.segments.pin(self.geometry.segment_of(at));
        let purpose = Purpose::Ahead { span: u32::try_from(number).expect("a few") };
        self.effects.push(Effect::Read { io: self.io.start(purpose), at: offset_of(at) });
        self.stats.device_reads += 1;
        self.stats.device_read_blocks += u64::from(pages);
    }

    /// Makes room where a reader went away. What others are about to ask for stays: without room, nothing is fetched.
    fn evict(&mut self) -> Option<usize> {
        let reads = self.ahead.reads;
        let is_stale = |span: &Span| span.arrived && reads - span.since > STALE_READS;
        let stale = |span: &Option<Span>| span.as_ref().is_some_and(is_stale);
        let number = self.ahead.spans.iter().position(stale)?;
        self.drop_span(u32::try_from(number).expect("a few"));
        Some(number)
    }

    /// A span's device read ended.
    pub(crate) fn ahead_ended(&mut self, number: u32, result: Result<(), DiskError>) {
        let span = self.ahead.spans[number as usize].as_mut().expect("a span is there while it is on its way");
        span.arrived = true;
        let parts = std::mem::take(&mut span.parts);
        for part in &parts {
            self.reads.get(part.read).outstanding -= 1;
            // The last part may use the span up; there is none behind it then.
            match (&result, &self.ahead.spans[number as usize]) {
                (Ok(()), Some(_)) => self.take_from(number, *part),
                (Err(_), _) | (Ok(()), None) => self.read_device(*part),
            }
            self.finish_read(part.read);
        }
        if result.is_err() && self.ahead.spans[number as usize].is_some() {
            self.drop_span(number);
        }
    }
}
