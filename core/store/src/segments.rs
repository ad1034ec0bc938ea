//! What every segment is used for, how much of it is live, and when it may be used again.
//!
//! A segment may be reused only if nothing references it, what superseded its blocks is durable, and the last
//! completed checkpoint began after its last batch: then neither a reader nor a recovery will ever look at it.

use std::collections::BTreeSet;

use block::Lsn;

use crate::geometry::Geometry;
use crate::map::Location;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    /// May be opened.
    Free,
    /// Named as the successor of the open segment: will be opened next.
    Successor,
    /// A job writes zeroes to it.
    Zeroing,
    /// Being written.
    Open,
    /// Written.
    Closed,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment {
    pub state: State,
    /// Data blocks that some version references.
    pub live: u32,
    /// Map and root pages that the last completed checkpoint, or the one being written, references.
    pub live_map: u32,
    /// Device reads in flight, and the write of its summary.
    pub pins: u32,
    /// Unique to this use; 0 when it was not looked up since the pool was opened.
    pub generation: u64,
    /// The last batch that recovery finds through it: the first of its successor, or its own last.
    pub last_lsn: Lsn,
    /// The last batch when nothing was live any more.
    pub emptied: Lsn,
    /// The batch to come when reclaim last looked at it: what is left waits for a checkpoint.
    pub visited: Lsn,
    /// A block of it cannot be read: reclaim leaves it alone.
    pub stuck: bool,
}

impl Segment {
    pub fn known_generation(&self) -> Option<u64> {
        (self.generation > 0).then_some(self.generation)
    }
}

#[derive(Debug)]
pub(crate) struct Segments {
    geometry: Geometry,
    all: Vec<Segment>,
    free: BTreeSet<u32>,
    empty: BTreeSet<u32>,
    live: u64,
    live_map: u64,
}

impl Segments {
    /// All free.
    pub fn new(geometry: Geometry) -> Self {
        let segment = Segment {
            state: State::Free,
            live: 0,
            live_map: 0,
            pins: 0,
            generation: 0,
            last_lsn: Lsn(0),
            emptied: Lsn(0),
            visited: Lsn(0),
            stuck: false,
        };
        Self {
            geometry,
            all: vec![segment; geometry.segments as usize],
            free: (0..geometry.segments).collect(),
            empty: BTreeSet::new(),
            live: 0,
            live_map: 0,
        }
    }

    pub fn get(&self, segment: u32) -> &Segment {
        &self.all[segment as usize]
    }

    pub fn iter(&self) -> impl Iterator<Item = (u32, &Segment)> {
        (0..).zip(&self.all)
    }

    pub fn free_count(&self) -> u32 {
        u32::try_from(self.free.len()).expect("as many as there are segments")
    }

    /// Data blocks live in all segments.
    pub fn live_blocks(&self) -> u64 {
        self.live
    }

    /// Map pages live in all segments.
    pub fn live_map_pages(&self) -> u64 {
        self.live_map
    }

    /// Segments with nothing live that wait for their time.
    pub fn empty_count(&self) -> usize {
        self.empty.len()
    }

    /// The lowest free segment becomes the successor. Low ones first: what was used before needs no zero-writing.
    pub fn reserve_successor(&mut self) -> Option<u32> {
        let segment = self.free.pop_first()?;
        self.all[segment as usize].state = State::Successor;
        Some(segment)
    }

    /// A free segment is kept from use while a job zero-writes it. False when it is not free.
    pub fn begin_zeroing(&mut self, segment: u32) -> bool {
        let free = self.free.remove(&segment);
        if free {
            self.all[segment as usize].state = State::Zeroing;
        }
        free
    }

    pub fn end_zeroing(&mut self, segment: u32) {
        self.all[segment as usize].state = State::Free;
        self.free.insert(segment);
    }

    pub fn open(&mut self, segment: u32, generation: u64) {
        let entry = &mut self.all[segment as usize];
        assert_eq!(entry.state, State::Successor, "a segment is reserved before it is opened");
        assert_eq!((entry.live, entry.live_map, entry.pins), (0, 0, 0), "a reused segment holds nothing live");
        entry.state = State::Open;
        entry.generation = generation;
        (entry.visited, entry.stuck) = (Lsn(0), false);
    }

    pub fn close(&mut self, segment: u32) {
        let entry = &mut self.all[segment as usize];
        assert_eq!(entry.state, State::Open, "only an open segment is closed");
        entry.state = State::Closed;
        self.note_if_empty(segment);
    }

    /// Recovery: a segment that holds live data or log that may be replayed again.
    pub fn restore_used(&mut self, segment: u32, generation: u64, last_lsn: Lsn) {
        self.free.remove(&segment);
        let entry = &mut self.all[segment as usize];
        (entry.state, entry.generation, entry.last_lsn) = (State::Closed, generation, last_lsn);
        self.note_if_empty(segment);
    }

    pub fn wrote(&mut self, segment: u32, lsn: Lsn) {
        self.all[segment as usize].last_lsn = lsn;
    }

    pub fn add_live(&mut self, first: Location, count: u32) {
        let segment = self.geometry.segment_of(first) as usize;
        self.all[segment].live += count;
        self.live += u64::from(count);
    }

    /// One block died; `lsn` is the batch that superseded it.
    pub fn remove_live(&mut self, location: Location, lsn: Lsn) {
        let segment = self.geometry.segment_of(location);
        let entry = &mut self.all[segment as usize];
        entry.live -= 1;
        entry.emptied = lsn;
        self.live -= 1;
        if entry.live == 0 {
            self.note_if_empty(segment);
        }
    }

    pub fn add_live_map(&mut self, first: Location, pages: u32) {
        let segment = self.geometry.segment_of(first) as usize;
        self.all[segment].live_map += pages;
        self.live_map += u64::from(pages);
    }

    pub fn remove_live_map(&mut self, first: Location, pages: u32, lsn: Lsn) {
        let segment = self.geometry.segment_of(first);
        let entry = &mut self.all[segment as usize];
        entry.live_map -= pages;
        entry.emptied = entry.emptied.max(lsn);
        self.live_map -= u64::from(pages);
        if entry.live_map == 0 {
            self.note_if_empty(segment);
        }
    }

    pub fn pin(&mut self, segment: u32) {
        self.all[segment as usize].pins += 1;
    }

    pub fn unpin(&mut self, segment: u32) {
        self.all[segment as usize].pins -= 1;
    }

    pub fn note_visited(&mut self, segment: u32, lsn: Lsn) {
        self.all[segment as usize].visited = lsn;
    }

    pub fn set_stuck(&mut self, segment: u32) {
        self.all[segment as usize].stuck = true;
    }

    /// A block of it was written anew elsewhere: reclaim may try the others.
    pub fn clear_stuck(&mut self, segment: u32) {
        self.all[segment as usize].stuck = false;
    }

    /// Frees every empty segment whose time has come; answers how many.
    pub fn free_empty(&mut self, durable: Lsn, replay_from: Lsn) -> u32 {
        let mut freed = 0;
        let (all, free) = (&mut self.all, &mut self.free);
        self.empty.retain(|&segment| {
            let entry = &mut all[segment as usize];
            let reusable = entry.pins == 0 && entry.emptied <= durable && entry.last_lsn < replay_from;
            if reusable {
                entry.state = State::Free;
                free.insert(segment);
                freed += 1;
            }
            !reusable
        });
        freed
    }

    /// Whether a completed checkpoint would free segments that nothing else holds back.
    pub fn waiting_for_checkpoint(&self, replay_from: Lsn) -> usize {
        self.empty.iter().filter(|&&segment| self.get(segment).last_lsn >= replay_from).count()
    }

    /// Whether a sync would free segments that nothing else holds back.
    pub fn waiting_for_sync(&self, durable: Lsn, replay_from: Lsn) -> usize {
        let waits = |segment: &Segment| segment.last_lsn < replay_from && segment.emptied > durable;
        self.empty.iter().filter(|&&segment| waits(self.get(segment))).count()
    }

    fn note_if_empty(&mut self, segment: u32) {
        let entry = &self.all[segment as usize];
        if entry.state == State::Closed && entry.live == 0 && entry.live_map == 0 {
            self.empty.insert(segment);
        }
    }
}
