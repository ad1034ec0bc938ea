//! Finding the log's end and applying what stands between the checkpoint and there.
//!
//! First every batch header of the segment chain is gathered, from summaries where segments are closed. Headers are
//! facts about the past: one that says "durable up to D" proves that every batch up to D is whole. Then batches are
//! applied in order; those that nothing proves whole are verified block by block; the first that is missing or not
//! whole ends the log. An end before D is damage, not a crash, and is refused.

use block::{Checksum, Lsn, PAGE_BYTES, Page, Pages, PoolOffset};
use layout::{BatchRecord, Entry, EntryKind, LogPosition, Superblock, VolumeParameters};

use crate::contents::{Contents, ReplayError};
use crate::geometry::{Geometry, Spot};
use crate::job::{Media, SegmentUse, read_header, read_summary, walk_segment};
use crate::map::Location;

/// Why the log cannot be replayed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LogError {
    /// Batches that were on stable media are missing.
    #[error("the log ends after batch {found}, but batches up to {durable} were on stable media: the device lost or damaged {}", Place(*.at))]
    Lost {
        /// The last batch that is whole.
        found: Lsn,
        /// The last batch that was durable.
        durable: Lsn,
        /// Where the next batch should be.
        at: PoolOffset,
    },
    /// A batch contradicts what the pool holds.
    #[error("batch {lsn} cannot be applied: {error}")]
    Contradiction {
        /// Which.
        lsn: Lsn,
        /// Why.
        error: ReplayError,
    },
    /// A segment was used again while something referenced it.
    #[error("segment {segment} was used again by batch {lsn} while {live} blocks of it were referenced")]
    ReusedEarly {
        /// Which segment.
        segment: u32,
        /// The batch that is the first of its new use.
        lsn: Lsn,
        /// Blocks.
        live: u32,
    },
}

struct Place(PoolOffset);

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "what should lie at {}", self.0)
    }
}

/// A segment of the chain and what was found in it.
#[derive(Debug)]
pub(crate) struct ChainSegment {
    pub segment: u32,
    pub generation: u64,
    batches: Vec<BatchRecord>,
}

/// The log between the checkpoint and its end, in the order of runs: all but the last end at a cut.
#[derive(Debug)]
pub(crate) struct Chain {
    runs: Vec<(Vec<ChainSegment>, Option<Lsn>)>,
    /// Every batch up to here was on stable media.
    durable: Lsn,
    /// Every batch up to here is whole.
    trusted: Lsn,
}

/// A segment through which replayed batches were found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UsedSegment {
    pub segment: u32,
    pub generation: u64,
    first: Lsn,
    pub last: Lsn,
}

/// Where replay ended.
#[derive(Debug)]
pub(crate) struct Replayed {
    /// The last batch that says anything.
    pub last: Lsn,
    pub batches: u64,
    pub pages: u64,
    pub used: Vec<UsedSegment>,
    /// Highest generation seen.
    pub generation: u64,
    /// The last whole batch.
    found: Lsn,
}

impl Replayed {
    fn note_used(&mut self, segment: &ChainSegment, lsn: Lsn) {
        match self.used.last_mut() {
            Some(used) if used.segment == segment.segment => used.last = lsn,
            Some(_) | None => {
                let ChainSegment { segment, generation, .. } = *segment;
                self.used.push(UsedSegment { segment, generation, first: lsn, last: lsn });
            }
        }
    }

    /// What an unfinished checkpoint left at the log's end is no part of the log: nothing refers to it, and a pool that
    /// is killed time after time while it writes checkpoints would fill up with it.
    fn forget_unfinished_checkpoint(&mut self) {
        self.used.retain(|used| used.first <= self.last);
        self.used.iter_mut().for_each(|used| used.last = used.last.min(self.last));
    }
}

/// Whether replaying the batch changes anything.
fn says_anything(batch: &BatchRecord) -> bool {
    batch.entries.iter().any(|entry| !matches!(entry.kind, EntryKind::Map | EntryKind::Root))
}

/// Reads the chain's headers. `warm`: the device kept its cache since the pool was last open.
pub(crate) fn gather(media: &dyn Media, superblock: &Superblock, geometry: Geometry, warm: bool) -> Chain {
    let mut starts = vec![superblock.replay];
    starts.extend(superblock.cuts.iter().map(|cut| LogPosition {
        lsn: cut.last_lsn.next(),
        segment: cut.segment,
        generation: cut.generation,
        page: 1,
    }));
    let ends = superblock.cuts.iter().map(|cut| Some(cut.last_lsn)).chain([None]);
    let runs: Vec<_> =
        starts.iter().zip(ends).map(|(start, end)| (gather_run(media, superblock, geometry, *start), end)).collect();
    let last = runs.last().expect("the last run is there").0.iter().flat_map(|segment| &segment.batches);
    let durable = last.clone().map(|batch| batch.header.durable).fold(superblock.durable, Lsn::max);
    let persisted = last.map(|batch| batch.header.persisted).fold(Lsn(0), Lsn::max);
    let trusted = if warm { durable.max(persisted) } else { durable };
    Chain { runs, durable, trusted }
}

fn gather_run(media: &dyn Media, superblock: &Superblock, geometry: Geometry, start: LogPosition) -> Vec<ChainSegment> {
    let mut chain = Vec::new();
    let (mut segment, mut generation, mut page) = (start.segment, start.generation, start.page);
    // A run cannot open more segments than there are.
    for _ in 0..=geometry.segments {
        let usage = SegmentUse { pool: superblock.pool, geometry, segment, generation: Some(generation) };
        let Some(header) = read_header(media, &usage) else { break };
        let batches = match read_summary(media, &usage) {
            Some(batches) => batches.into_iter().filter(|batch| batch.header.page >= page).collect(),
            None => walk_segment(media, &usage, page),
        };
        chain.push(ChainSegment { segment, generation, batches });
        (segment, generation, page) = (header.successor, generation + 1, 1);
    }
    chain
}

/// Applies the chain to what the checkpoint held.
pub(crate) fn replay(
    media: &dyn Media,
    superblock: &Superblock,
    geometry: Geometry,
    chain: &Chain,
    contents: &mut Contents,
) -> Result<Replayed, LogError> {
    let mut replayed = Replayed {
        last: Lsn(superblock.replay.lsn.0 - 1),
        batches: 0,
        pages: 0,
        used: Vec::new(),
        generation: superblock.replay.generation,
        found: Lsn(superblock.replay.lsn.0 - 1),
    };
    for (segments, end) in &chain.runs {
        replay_run(media, geometry, chain.trusted, (segments, *end), contents, &mut replayed)?;
        let due = end.unwrap_or(chain.durable);
        if replayed.found < due {
            let at = next_place(geometry, segments, replayed.found);
            return Err(LogError::Lost { found: replayed.found, durable: due, at });
        }
    }
    replayed.forget_unfinished_checkpoint();
    Ok(replayed)
}

fn replay_run(
    media: &dyn Media,
    geometry: Geometry,
    trusted: Lsn,
    (segments, end): (&[ChainSegment], Option<Lsn>),
    contents: &mut Contents,
    replayed: &mut Replayed,
) -> Result<(), LogError> {
    for (index, segment) in segments.iter().enumerate() {
        replayed.generation = replayed.generation.max(segment.generation);
        for batch in &segment.batches {
            let lsn = batch.header.lsn;
            let past_end = end.is_some_and(|end| lsn > end);
            if past_end || lsn != replayed.found.next() || (lsn > trusted && !is_whole(media, geometry, batch)) {
                return Ok(());
            }
            let first_of_segment = batch.header.page == 1 && (index > 0 || replayed.batches > 0);
            if first_of_segment {
                check_reuse(contents, segment.segment, lsn)?;
            }
            apply(media, geometry, batch, contents).map_err(|error| LogError::Contradiction { lsn, error })?;
            replayed.found = lsn;
            if says_anything(batch) {
                replayed.last = lsn;
            }
            replayed.batches += 1;
            replayed.pages += u64::from(batch.pages());
            if batch.header.page == 1 && index > 0 {
                // Without the header before it nobody would find this one, even if replay begins behind its batches.
                replayed.note_used(&segments[index - 1], lsn);
            }
            replayed.note_used(segment, lsn);
        }
    }
    Ok(())
}

fn check_reuse(contents: &Contents, segment: u32, lsn: Lsn) -> Result<(), LogError> {
    // The checkpoint's own map pages may lie here: it was written behind the place where replay begins.
    let live = contents.segments.get(segment).live;
    if live == 0 { Ok(()) } else { Err(LogError::ReusedEarly { segment, lsn, live }) }
}

/// The place behind the last batch found, for the message.
fn next_place(geometry: Geometry, segments: &[ChainSegment], last: Lsn) -> PoolOffset {
    let mut batches = segments.iter().flat_map(|segment| &segment.batches);
    let found = batches.rfind(|batch| batch.header.lsn <= last);
    let spot = found.map(|batch| Spot { segment: batch.header.segment, page: batch.header.page + batch.pages() });
    let first = segments.first().map_or(0, |segment| segment.segment);
    crate::geometry::offset_of(geometry.location(spot.unwrap_or(Spot { segment: first, page: 1 })))
}

/// Whether every block of the batch is on the device as it was written. Its header was just read, or stands in a valid
/// summary, which is as good: the header page itself may have rotted.
fn is_whole(media: &dyn Media, geometry: Geometry, batch: &BatchRecord) -> bool {
    let mut pages = Pages::zeroed(batch.checksums.len());
    let first = batch_location(geometry, batch).plus(1);
    if !batch.checksums.is_empty() && media.read(crate::geometry::offset_of(first), pages.pages_mut()).is_err() {
        return false;
    }
    let blocks = pages.bytes().chunks_exact(PAGE_BYTES);
    blocks.zip(&batch.checksums).all(|(block, checksum)| Checksum::of(block) == *checksum)
}

fn batch_location(geometry: Geometry, batch: &BatchRecord) -> Location {
    geometry.location(Spot { segment: batch.header.segment, page: batch.header.page })
}

fn apply(
    media: &dyn Media,
    geometry: Geometry,
    batch: &BatchRecord,
    contents: &mut Contents,
) -> Result<(), ReplayError> {
    let mut at = batch_location(geometry, batch).plus(1);
    let mut checksums = batch.checksums.as_slice();
    for entry in &batch.entries {
        let (own, rest) = checksums.split_at(entry.data_blocks() as usize);
        let parameters = read_parameters(media, entry, at, own);
        contents.replay(entry, at, own, parameters.as_ref(), batch.header.lsn)?;
        at = at.plus(entry.data_blocks());
        checksums = rest;
    }
    Ok(())
}

fn read_parameters(media: &dyn Media, entry: &Entry, at: Location, checksums: &[Checksum]) -> Option<VolumeParameters> {
    if !matches!(entry.kind, EntryKind::Create | EntryKind::Clone) {
        return None;
    }
    let mut page = [Page::ZERO];
    media.read(crate::geometry::offset_of(at), &mut page).ok()?;
    if Checksum::of(&page[0].0) != *checksums.first()? {
        return None;
    }
    VolumeParameters::parse(&page[0].0).ok()
}
