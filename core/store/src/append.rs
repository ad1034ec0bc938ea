//! Ways into the log: a place for the next entry, in the open batch, a new one, or a new segment.

use block::{BlockCount, BlockIndex, BlockRange, Lsn, PAGE_BYTES, VolumeId, WriteSeq};
use layout::{BATCH_BLOCKS_MAX, Entry, EntryKind, Superblock};

use crate::Store;
use crate::blocks::Blocks;
use crate::buffers::Payload;
use crate::effect::{Effect, IoId, JobId, Refusal, Report, Token};
use crate::geometry::offset_of;
use crate::io::Purpose;
use crate::job::{Job, Work};
use crate::log::Waiter;
use crate::map::{Location, PlacedGroup};
use crate::replica::LostBlocks;

/// Batch buffers that clients leave to reclaim and checkpoints.
const INTERNAL_BATCHES: usize = 4;
/// Batches one request may need: the rest of the open one, and what does not fit it.
const REQUEST_BATCHES: usize = 3;

impl Store {
    /// Whether a client's request of up to [`BATCH_BLOCKS_MAX`] blocks fits the staging memory and the free segments.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.poisoned.is_some()
            || (self.buffers.free_batches() >= REQUEST_BATCHES + INTERNAL_BATCHES
                && self.log.has_room()
                && self.checkpoint.has_room_for_runs()
                && self.contents.segments.free_count() > self.client_floor())
    }

    /// Whether reclaim may append up to a batch.
    pub(crate) fn can_reclaim(&self) -> bool {
        self.can_checkpoint()
            && self.checkpoint.has_room_for_runs()
            && self.contents.segments.free_count() > self.reclaim_floor()
    }

    /// Whether a checkpoint may append up to a batch: it alone may use the last free segment, for it alone can free
    /// others without writing more than the map.
    pub(crate) fn can_checkpoint(&self) -> bool {
        self.poisoned.is_none()
            && self.buffers.free_batches() >= REQUEST_BATCHES
            && self.log.has_room()
            && self.contents.segments.free_count() > 0
    }

    /// Makes sure that the open batch has room for an entry, and answers for how many data blocks, at most `wanted`
    /// and at least one if any are wanted. The caller made sure of buffers and segments.
    pub(crate) fn open_batch(&mut self, wanted: usize) -> usize {
        let wanted = wanted.min(BATCH_BLOCKS_MAX);
        loop {
            if self.log.has_open() {
                if let Some(room) = self.log.open_room(wanted) {
                    return room;
                }
                self.seal();
            }
            if !self.log.segment_has_room(wanted.min(1)) {
                self.next_segment();
            }
            let buffer = self.buffers.take_batch().expect("the caller made sure of buffers");
            self.log.open(buffer);
        }
    }

    /// Appends an entry whose data must lie in one piece, up to three blocks. The caller made sure of room.
    pub(crate) fn append_internal(&mut self, entry: Entry, data: &[u8]) -> Location {
        self.open_whole(data.len() / PAGE_BYTES);
        self.log.append(entry, data.into()).0
    }

    /// Makes sure that the open batch has room for an entry with all of its data blocks, no more than a batch of a new
    /// segment holds.
    fn open_whole(&mut self, pages: usize) {
        if self.open_batch(pages) < pages {
            self.seal();
            if !self.log.segment_has_room(pages) {
                self.next_segment();
            }
            let room = self.open_batch(pages);
            assert_eq!(room, pages, "a batch of a new segment holds it");
        }
    }

    /// Opens a batch for these entries and data blocks alone, no more than a new segment has room for.
    fn open_own(&mut self, entries: usize, blocks: usize) {
        if self.log.has_open() {
            self.seal();
        }
        if !self.log.segment_has_room_for(entries, blocks) {
            self.next_segment();
        }
        let buffer = self.buffers.take_batch().expect("the caller made sure of buffers");
        self.log.open(buffer);
    }

    pub(crate) fn seal(&mut self) {
        self.log.seal(self.durability.durable());
    }

    fn next_segment(&mut self) {
        let successor = self.contents.segments.reserve_successor().expect("the caller made sure of segments");
        // The next batch is found through the closed segment's header, so it belongs to what the segment is needed for.
        let next = self.log.current_lsn();
        let closed = self.log.next_segment(successor);
        self.contents.segments.wrote(closed.segment, next);
        self.contents.segments.close(closed.segment);
        let cursor = self.log.cursor();
        self.contents.segments.open(cursor.segment, cursor.generation);
        self.contents.segments.pin(closed.segment);
        self.start_write(closed.at, Purpose::Summary { pages: closed.summary, segment: closed.segment });
    }

    fn start_write(&mut self, at: Location, purpose: Purpose) -> IoId {
        let io = self.io.start(purpose);
        self.effects.push(Effect::Write { io, at: offset_of(at) });
        self.stats.device_writes += 1;
        self.stats.device_write_bytes += self.write_source(io).0.len() as u64;
        io
    }

    pub(crate) fn write_superblock(&mut self, superblock: &Superblock, at: u64) {
        let mut pages = block::Pages::zeroed(1);
        superblock.encode(pages.page_mut(0));
        let page = u32::try_from(at / PAGE_BYTES as u64).expect("superblocks lie at the start of the pool");
        self.start_write(Location(page), Purpose::Superblock { pages });
    }

    /// Appends a group as it is on another replica: entries of one batch, so that a crash leaves all of it or nothing. The
    /// caller made sure of everything.
    pub(crate) fn append_copy(&mut self, entry: Entry, data: Blocks<'_>, lost: LostBlocks<'_>) {
        let pages = data.len_bytes() / PAGE_BYTES;
        match lost.checksums.len() {
            0 => self.open_whole(pages),
            blocks => self.open_own(1 + blocks, pages + blocks),
        }
        let lsn = self.log.current_lsn();
        let (location, crcs) = self.log.append(entry, data);
        let placed = PlacedGroup { group: entry.group(), mapped: entry.mapped(), location, crcs };
        self.contents.replace_group(entry.volume, placed, entry.seq, lsn);
        self.stats.entries += 1;
        self.stats.copied_blocks += u64::from(entry.count);
        self.checkpoint.note_change();
        self.append_lost(&entry, lost);
    }

    /// Appends what is lost of a group to the batch of its copy.
    fn append_lost(&mut self, copy: &Entry, lost: LostBlocks<'_>) {
        for (block, checksum) in lost.blocks_of(copy.group()) {
            let entry = Entry::lost(copy.volume, copy.seq, block, checksum);
            let lsn = self.log.current_lsn();
            let (location, _) = self.log.append(entry, (&layout::lost_page(checksum)).into());
            self.contents.set(copy.volume, block, location, &[checksum], (copy.seq, lsn));
            self.stats.entries += 1;
            self.stats.lost_blocks += 1;
        }
    }

    /// Sends the batches that may leave.
    pub(crate) fn submit_batches(&mut self) {
        if self.poisoned.is_some() {
            return;
        }
        let more_is_coming = self.checkpoint.has_work() || self.reclaims_on();
        if self.log.wants_seal(!more_is_coming || self.reads.has_waiting()) {
            self.seal();
        }
        while let Some(submission) = self.log.submit() {
            let io = self.start_write(submission.at, Purpose::Batch { lsn: submission.lsn });
            let pages = (self.write_source(io).0.len() / PAGE_BYTES) as u64;
            self.stats.batches += 1;
            self.checkpoint.wrote(pages);
            self.durability.wrote(pages);
        }
    }

    pub(crate) fn start_sync(&mut self) {
        let persisted = self.log.persisted();
        if self.poisoned.is_none() && self.durability.wants_sync(persisted) {
            self.durability.start();
            let io = self.io.start(Purpose::Sync { covers: persisted });
            self.effects.push(Effect::Sync { io });
        }
    }

    pub(crate) fn run(&mut self, work: Work) -> JobId {
        self.jobs_running += 1;
        self.next_job = self.next_job.wrapping_add(1);
        let id = JobId(self.next_job);
        self.effects.push(Effect::Run { id, job: Job(work) });
        id
    }

    pub(crate) fn report(&mut self, report: Report) {
        self.effects.push(Effect::Report(report));
    }

    /// Writes `data` as one or more entries. The caller made sure of everything.
    pub(crate) fn append_data(&mut self, volume: VolumeId, seq: WriteSeq, first: BlockIndex, data: Blocks<'_>) {
        let mut first = first;
        let mut rest = data;
        while rest.len_bytes() > 0 {
            let wanted = rest.len_bytes() / PAGE_BYTES;
            let blocks = self.open_batch(wanted).min(wanted);
            let (part, after) = rest.split_at(blocks);
            let entry = data_entry(volume, seq, first, blocks);
            let lsn = self.log.current_lsn();
            let (location, checksums) = self.log.append(entry, part);
            self.contents.set(volume, first, location, checksums, (seq, lsn));
            first = BlockIndex(first.0 + u64::from(entry.count));
            rest = after;
            self.stats.entries += 1;
            self.checkpoint.note_change();
            self.stats.written_blocks += u64::from(entry.count);
        }
    }

    /// Writes a payload as a batch of its own, or by copying where the segment's end would cut it.
    pub(crate) fn append_payload(&mut self, volume: VolumeId, seq: WriteSeq, first: BlockIndex, mut payload: Payload) {
        if self.log.has_open() {
            self.seal();
        }
        if !self.log.segment_has_room(payload.blocks) {
            let data = std::mem::take(&mut payload.pages);
            let from = crate::buffers::LEAD_PAGES * PAGE_BYTES;
            self.append_data(volume, seq, first, data.bytes()[from..from + payload.blocks * PAGE_BYTES].into());
            self.buffers.give_batch(data, true);
            return;
        }
        let entry = data_entry(volume, seq, first, payload.blocks);
        let lsn = self.log.current_lsn();
        let (location, checksums) = self.log.push_payload(entry, payload, self.durability.durable());
        self.contents.set(volume, first, location, checksums, (seq, lsn));
        self.stats.entries += 1;
        self.checkpoint.note_change();
        self.stats.written_blocks += u64::from(entry.count);
    }

    /// Appends an entry without data, or with one block of parameters.
    pub(crate) fn append_change(&mut self, entry: Entry, parameters: &[u8]) -> Lsn {
        self.open_batch(parameters.len() / PAGE_BYTES);
        self.log.append(entry, parameters.into());
        self.stats.entries += 1;
        self.checkpoint.note_change();
        self.log.current_lsn()
    }

    pub(crate) fn append_zero(&mut self, volume: VolumeId, seq: WriteSeq, range: BlockRange) {
        let entry = Entry { volume, seq, kind: EntryKind::Zero, first: range.first.0, count: range.count.0, aux: 0 };
        let lsn = self.append_change(entry, &[]);
        let range = BlockRange { first: range.first, count: BlockCount(entry.count) };
        self.contents.zero(volume, range, seq, lsn);
    }

    pub(crate) fn wait_for_batch(&mut self, token: Token, durable: bool) {
        self.log.wait(Waiter { token, durable });
    }

    /// Refuses what the device or the free segments cannot take now.
    pub(crate) fn check_room(&self) -> Result<(), Refusal> {
        match self.poisoned {
            Some(_) => Err(Refusal::Poisoned),
            None if self.stopping => Err(Refusal::Busy),
            None if !self.has_room() => Err(Refusal::Busy),
            None => Ok(()),
        }
    }
}

fn data_entry(volume: VolumeId, seq: WriteSeq, first: BlockIndex, blocks: usize) -> Entry {
    let count = u32::try_from(blocks).expect("at most a batch");
    Entry { volume, seq, kind: EntryKind::Data, first: first.0, count, aux: 0 }
}
