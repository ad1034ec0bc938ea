//! The batch log: one batch is open and collects changes; sealed batches leave for the device in order, a bounded few
//! at a time; a batch is persisted when it and every earlier one ended at the device.
//!
//! ```text
//! open --seal--> sealed --submit--> submitted --Written--> ended --all earlier ended--> persisted
//! ```
//! A batch's place is known when it is opened, so the map points at blocks that are still in memory; reads find them
//! here until they are persisted. This file knows nothing of volumes or of what is live.

use std::collections::VecDeque;

use block::{Checksum, Lsn, PAGE_BYTES, Pages, PoolId};
use layout::{BatchHeader, Entry, HEADER_BYTES, HeaderWriter, SegmentHeader, SummaryWriter, summary_pages};

use crate::blocks::Blocks;
use crate::buffers::{LEAD_PAGES, Payload};
use crate::effect::Token;
use crate::geometry::{Geometry, Spot};
use crate::map::Location;

/// Batches of small writes in flight: what arrives meanwhile forms the next one. A second and a third one leave only
/// when they are worth a device command of their own: at least a part of what there usually is at a time.
const SMALL_IN_FLIGHT_MAX: usize = 3;
/// That part is one in so many.
const SHARE: usize = 2;
/// Batches over which that is averaged.
const LOAD_SCALE: usize = 16;
/// Blocks of the largest small batch. Larger ones are reclaim's and checkpoints': nobody waits for them.
const SMALL_BLOCKS_MAX: usize = 32;
/// Batches of any kind in flight.
const IN_FLIGHT_MAX: usize = 24;
/// Pages of sealed batches, in flight or not, beyond which the log takes no more: 32 MiB.
const PENDING_PAGES_MAX: usize = 8192;
/// Bytes an entry and the checksum of one block take in a header.
const ENTRY_BYTES: usize = 40;

/// Who waits for a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiter {
    pub token: Token,
    /// Waits until the batch is durable, not only persisted.
    pub durable: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Sealed,
    Submitted,
    Ended,
}

#[derive(Debug)]
struct Batch {
    lsn: Lsn,
    spot: Spot,
    /// The header of the segment that this batch is the first of.
    opens: Option<SegmentHeader>,
    header: HeaderWriter,
    buffer: Pages,
    payload: bool,
    waiters: Vec<Waiter>,
    stage: Stage,
}

impl Batch {
    fn blocks(&self) -> usize {
        self.header.blocks()
    }

    fn is_small(&self) -> bool {
        !self.payload && self.blocks() <= SMALL_BLOCKS_MAX
    }

    fn header_bytes(&self) -> usize {
        HEADER_BYTES + self.header.entries().len() * ENTRY_BYTES + self.blocks() * size_of::<Checksum>()
    }
}

/// The segment being written.
#[derive(Debug)]
pub(crate) struct Cursor {
    pub segment: u32,
    pub generation: u64,
    /// Next page to write; 0 before the segment header is written.
    pub page: u32,
    /// The segment to open next.
    pub successor: u32,
}

/// A batch to write: its bytes are [`Log::batch_source`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Submission {
    pub lsn: Lsn,
    pub at: Location,
}

/// A batch that became persisted.
#[derive(Debug)]
pub(crate) struct Persisted {
    pub buffer: Pages,
    pub payload: bool,
}

/// A closed segment and the summary to write at its end.
#[derive(Debug)]
pub(crate) struct ClosedSegment {
    pub segment: u32,
    pub summary: Pages,
    pub at: Location,
}

#[derive(Debug)]
pub(crate) struct Log {
    pool: PoolId,
    geometry: Geometry,
    incarnation: u64,
    cursor: Cursor,
    summary: SummaryWriter,
    next_lsn: Lsn,
    open: Option<Batch>,
    /// Sealed batches in log order, from the oldest not persisted.
    pending: VecDeque<Batch>,
    pending_pages: usize,
    submitted: usize,
    small_submitted: usize,
    /// Blocks of those.
    small_blocks: usize,
    /// Blocks in small batches, those of the open one included, when one was sealed: [`LOAD_SCALE`] times their
    /// moving average.
    load: usize,
    sealed: usize,
    persisted: Lsn,
    spare: Vec<(HeaderWriter, Vec<Waiter>)>,
}

impl Log {
    /// A log that goes on at `cursor` with batch `next_lsn`.
    pub fn new(pool: PoolId, geometry: Geometry, incarnation: u64, cursor: Cursor, next_lsn: Lsn) -> Self {
        Self {
            pool,
            geometry,
            incarnation,
            cursor,
            summary: SummaryWriter::default(),
            next_lsn,
            open: None,
            pending: VecDeque::new(),
            pending_pages: 0,
            submitted: 0,
            small_submitted: 0,
            small_blocks: 0,
            load: 0,
            sealed: 0,
            persisted: Lsn(next_lsn.0 - 1),
            spare: Vec::new(),
        }
    }

    /// Every batch up to here ended at the device.
    pub fn persisted(&self) -> Lsn {
        self.persisted
    }

    /// The batch a change appended now would be in.
    pub fn current_lsn(&self) -> Lsn {
        self.open.as_ref().map_or(self.next_lsn, |open| open.lsn)
    }

    /// The last batch that holds a change.
    pub fn last_lsn(&self) -> Lsn {
        if self.open.is_some() { Lsn(self.next_lsn.0) } else { Lsn(self.next_lsn.0 - 1) }
    }

    /// Whether every change was persisted.
    pub fn is_settled(&self) -> bool {
        self.open.is_none() && self.pending.is_empty()
    }

    pub fn cursor(&self) -> &Cursor {
        &self.cursor
    }

    pub fn has_room(&self) -> bool {
        self.pending_pages < PENDING_PAGES_MAX
    }

    /// Data blocks of the open batch.
    pub fn open_blocks(&self) -> usize {
        self.open.as_ref().map_or(0, Batch::blocks)
    }

    pub fn has_open(&self) -> bool {
        self.open.is_some()
    }

    /// Whether a batch with one entry and `blocks` data blocks fits the open segment.
    pub fn segment_has_room(&self, blocks: usize) -> bool {
        self.segment_has_room_for(1, blocks)
    }

    /// Whether a batch with so many entries and `blocks` data blocks fits an empty segment.
    pub fn new_segment_has_room(&self, entries: usize, blocks: usize) -> bool {
        let summary = summary_pages(HEADER_BYTES + entries * ENTRY_BYTES + blocks * size_of::<Checksum>());
        2 + blocks + summary <= self.geometry.segment_pages as usize
    }

    /// Whether a batch of its own with so many entries and `blocks` data blocks fits the open segment.
    pub fn segment_has_room_for(&self, entries: usize, blocks: usize) -> bool {
        self.room_after(HEADER_BYTES + entries * ENTRY_BYTES + blocks * size_of::<Checksum>(), blocks)
    }

    fn first_page(&self) -> u32 {
        self.cursor.page.max(1)
    }

    fn room_after(&self, header_bytes: usize, blocks: usize) -> bool {
        let summary = summary_pages(self.summary.body_bytes() + header_bytes);
        self.first_page() as usize + 1 + blocks + summary <= self.geometry.segment_pages as usize
    }

    /// Opens the batch that collects small changes.
    pub fn open(&mut self, buffer: Pages) {
        assert!(self.open.is_none(), "one batch is open at a time");
        let batch = self.new_batch(buffer, false);
        self.open = Some(batch);
    }

    fn new_batch(&mut self, buffer: Pages, payload: bool) -> Batch {
        let opens = (self.cursor.page == 0).then_some(SegmentHeader {
            pool: self.pool,
            segment: self.cursor.segment,
            generation: self.cursor.generation,
            first_lsn: self.next_lsn,
            successor: self.cursor.successor,
            incarnation: self.incarnation,
        });
        let (header, waiters) = self.spare.pop().unwrap_or_default();
        let spot = Spot { segment: self.cursor.segment, page: self.first_page() };
        Batch { lsn: self.next_lsn, spot, opens, header, buffer, payload, waiters, stage: Stage::Sealed }
    }

    /// How many data blocks another entry of the open batch may have, at most `wanted`; `None` when the entry does
    /// not fit at all.
    pub fn open_room(&self, wanted: usize) -> Option<usize> {
        let open = self.open.as_ref()?;
        let fits = |blocks: usize| {
            let header_bytes = open.header_bytes() + ENTRY_BYTES + blocks * size_of::<Checksum>();
            open.header.has_room_for(blocks) && self.room_after(header_bytes, open.blocks() + blocks)
        };
        if fits(wanted) {
            return Some(wanted);
        }
        let most = (1..wanted).rev().find(|&blocks| fits(blocks));
        most.filter(|_| wanted > 0)
    }

    /// Appends an entry with its data to the open batch, which has room for it; answers where the data lies.
    pub fn append(&mut self, entry: Entry, data: Blocks<'_>) -> (Location, &[Checksum]) {
        let open = self.open.as_mut().expect("a batch is open");
        let before = open.blocks();
        let at = (LEAD_PAGES + before) * PAGE_BYTES;
        open.header.push(entry, data.copy_to(&mut open.buffer.bytes_mut()[at..at + data.len_bytes()]));
        let first = self.geometry.location(open.spot).plus(1 + blocks_u32(before));
        (first, &open.header.checksums()[before..])
    }

    /// Someone waits for the batch that was written to last: the open one, or the newest sealed one.
    pub fn wait(&mut self, waiter: Waiter) {
        let newest = self.open.as_mut().or_else(|| self.pending.back_mut());
        newest.expect("something was appended before").waiters.push(waiter);
    }

    /// Ends the open batch.
    pub fn seal(&mut self, durable: Lsn) {
        if let Some(open) = self.open.take() {
            self.load = self.load - self.load / LOAD_SCALE + self.small_blocks + open.blocks().min(SMALL_BLOCKS_MAX);
            self.enqueue(open, durable);
        }
    }

    /// Makes a payload a sealed batch of its own. The segment has room for it and no batch is open.
    pub fn push_payload(&mut self, entry: Entry, payload: Payload, durable: Lsn) -> (Location, &[Checksum]) {
        assert!(self.open.is_none(), "the open batch was sealed before");
        let mut batch = self.new_batch(payload.pages, true);
        let data = &batch.buffer.bytes()[LEAD_PAGES * PAGE_BYTES..(LEAD_PAGES + payload.blocks) * PAGE_BYTES];
        batch.header.push(entry, data.chunks_exact(PAGE_BYTES).map(Checksum::of));
        let first = self.geometry.location(batch.spot).plus(1);
        self.enqueue(batch, durable);
        (first, self.pending.back().expect("just pushed").header.checksums())
    }

    fn enqueue(&mut self, mut batch: Batch, durable: Lsn) {
        let header = BatchHeader {
            pool: self.pool,
            segment: batch.spot.segment,
            generation: self.cursor.generation,
            page: batch.spot.page,
            lsn: batch.lsn,
            persisted: self.persisted,
            durable,
        };
        let used = batch.header.encode(&header, batch.buffer.page_mut(1));
        self.summary.push(&batch.buffer.page(1)[..used]);
        if let Some(opens) = &batch.opens {
            opens.encode(batch.buffer.page_mut(0));
        }
        self.cursor.page = batch.spot.page + 1 + blocks_u32(batch.blocks());
        self.next_lsn = self.next_lsn.next();
        self.pending_pages += batch.buffer.count();
        self.sealed += 1;
        self.pending.push_back(batch);
    }

    /// Closes the open segment and goes on in its successor, after which `successor` will come.
    pub fn next_segment(&mut self, successor: u32) -> ClosedSegment {
        assert!(self.open.is_none(), "the open batch was sealed before");
        let summary = self.summary.take(self.pool, self.cursor.segment, self.cursor.generation);
        let page = self.geometry.segment_pages - blocks_u32(summary.count());
        let segment = self.cursor.segment;
        self.cursor =
            Cursor { segment: self.cursor.successor, generation: self.cursor.generation + 1, page: 0, successor };
        ClosedSegment { segment, summary, at: self.geometry.location(Spot { segment, page }) }
    }

    /// Whether sealing the open batch now would let it leave at once, and should: somebody waits for it, or
    /// `complete` says that nothing more is coming. Reclaim's batches are full otherwise, or they would take as much
    /// space as they gain.
    pub fn wants_seal(&self, complete: bool) -> bool {
        let Some(open) = &self.open else { return false };
        let worth_it = self.small_submitted == 0 || open.blocks() * SHARE * LOAD_SCALE >= self.load;
        let leaves = self.sealed == 0 && self.small_submitted < SMALL_IN_FLIGHT_MAX && worth_it;
        leaves && (complete || !open.waiters.is_empty())
    }

    /// The next batch that may leave for the device, if any.
    pub fn submit(&mut self) -> Option<Submission> {
        if self.sealed == 0 || self.submitted >= IN_FLIGHT_MAX {
            return None;
        }
        let index = self.pending.len() - self.sealed;
        let batch = &mut self.pending[index];
        if batch.is_small() && self.small_submitted >= SMALL_IN_FLIGHT_MAX {
            return None;
        }
        batch.stage = Stage::Submitted;
        self.sealed -= 1;
        self.submitted += 1;
        if batch.is_small() {
            self.small_submitted += 1;
            self.small_blocks += batch.blocks();
        }
        let page = if batch.opens.is_some() { 0 } else { batch.spot.page };
        let at = self.geometry.location(Spot { page, ..batch.spot });
        Some(Submission { lsn: batch.lsn, at })
    }

    /// The bytes to write for a submitted batch.
    pub fn batch_source(&self, lsn: Lsn) -> (&[u8], Option<u16>) {
        let batch = self.pending_batch(lsn);
        let first = if batch.opens.is_some() { 0 } else { 1 };
        let range = first * PAGE_BYTES..(LEAD_PAGES + batch.blocks()) * PAGE_BYTES;
        (&batch.buffer.bytes()[range], batch.buffer.fixed())
    }

    fn pending_batch(&self, lsn: Lsn) -> &Batch {
        let front = self.pending.front().expect("a submitted batch is pending").lsn;
        &self.pending[usize::try_from(lsn.0 - front.0).expect("few are pending")]
    }

    /// A submitted batch ended at the device.
    pub fn ended(&mut self, lsn: Lsn) {
        let front = self.pending.front().expect("a submitted batch is pending").lsn;
        let batch = &mut self.pending[usize::try_from(lsn.0 - front.0).expect("few are pending")];
        assert_eq!(batch.stage, Stage::Submitted, "a batch ends once");
        batch.stage = Stage::Ended;
        self.submitted -= 1;
        if batch.is_small() {
            self.small_submitted -= 1;
            self.small_blocks -= batch.blocks();
        }
    }

    /// Takes the oldest batch if it is persisted now, and hands its waiters to `wake`.
    pub fn pop_persisted(&mut self, wake: &mut impl FnMut(Lsn, Waiter)) -> Option<Persisted> {
        if self.pending.front()?.stage != Stage::Ended {
            return None;
        }
        let mut batch = self.pending.pop_front().expect("just seen");
        self.persisted = batch.lsn;
        self.pending_pages -= batch.buffer.count();
        batch.waiters.drain(..).for_each(|waiter| wake(batch.lsn, waiter));
        batch.header.clear();
        self.spare.push((batch.header, batch.waiters));
        Some(Persisted { buffer: batch.buffer, payload: batch.payload })
    }

    /// Everybody who waits for a batch that is not persisted; for when none ever will be.
    pub fn take_waiters(&mut self) -> Vec<Waiter> {
        let batches = self.pending.iter_mut().chain(self.open.as_mut());
        batches.flat_map(|batch| batch.waiters.drain(..)).collect()
    }

    /// Batches sealed but not submitted will never be: the device failed.
    pub fn abandon(&mut self) {
        self.sealed = 0;
    }

    /// A block that is not persisted yet with those behind it in its batch, and the batch.
    pub fn in_memory(&self, location: Location) -> Option<(&[u8], Lsn)> {
        let batches = self.pending.iter().chain(self.open.as_ref());
        batches.rev().find_map(|batch| {
            let first = self.geometry.location(batch.spot).0 + 1;
            let index = location.0.checked_sub(first)? as usize;
            let end = (LEAD_PAGES + batch.blocks()) * PAGE_BYTES;
            let bytes = (index < batch.blocks()).then(|| &batch.buffer.bytes()[(LEAD_PAGES + index) * PAGE_BYTES..end]);
            bytes.map(|bytes| (bytes, batch.lsn))
        })
    }
}

fn blocks_u32(blocks: usize) -> u32 {
    u32::try_from(blocks).expect("fewer than a segment's pages")
}
