//! The tail of a volume's order: changes that another replica may still have to be given.

use std::collections::VecDeque;

use crate::entry::Entry;

/// Changes that arrived here, and how far they got. Everything is forgotten with the process.
#[derive(Debug)]
pub(crate) struct Log<P> {
    /// The last change that arrived.
    received: u64,
    /// Changes up to here survive the process.
    applied: u64,
    /// Changes up to here are on stable media.
    durable: u64,
    /// Without gaps, up to the last one; the owner's copies of their bytes live as long as these.
    tail: VecDeque<Entry<P>>,
    /// Blocks that the changes in the tail write.
    blocks: u64,
}

/// Changes, and blocks they write, that a primary keeps: what is not acknowledged by everybody. A message that holds all of
/// them is not too long.
const ENTRIES_MAX: usize = 4096;
const BLOCKS_MAX: u64 = 8192;

impl<P: Clone> Log<P> {
    /// One that begins behind `last`, which is on stable media with everything before it.
    pub fn starting_after(last: u64, tail: impl IntoIterator<Item = Entry<P>>) -> Self {
        let tail: VecDeque<Entry<P>> = tail.into_iter().collect();
        let blocks = tail.iter().map(|entry| u64::from(entry.change.payload_blocks())).sum();
        Self { received: last, applied: last, durable: last, tail, blocks }
    }

    pub fn received(&self) -> u64 {
        self.received
    }

    pub fn applied(&self) -> u64 {
        self.applied
    }

    pub fn durable(&self) -> u64 {
        self.durable
    }

    /// The next change.
    pub fn push(&mut self, entry: Entry<P>) {
        debug_assert_eq!(entry.seq.n, self.received + 1, "changes come in order");
        self.received = entry.seq.n;
        self.blocks += u64::from(entry.change.payload_blocks());
        self.tail.push_back(entry);
    }

    /// Notes what the store says. What it says of before the log began, or twice, changes nothing.
    pub fn note(&mut self, applied: u64, durable: u64) {
        self.applied = self.applied.max(applied.min(self.received));
        self.durable = self.durable.max(durable.min(self.received));
    }

    /// Everybody has the changes up to here.
    pub fn forget(&mut self, upto: u64) {
        while self.tail.front().is_some_and(|entry| entry.seq.n <= upto)
            && let Some(entry) = self.tail.pop_front()
        {
            self.blocks -= u64::from(entry.change.payload_blocks());
        }
    }

    /// Changes after `last`, as far as they are still here.
    pub fn after(&self, last: u64) -> impl Iterator<Item = &Entry<P>> {
        self.tail.iter().filter(move |entry| entry.seq.n > last)
    }

    /// Whether a change of this many blocks more would be too much to keep.
    pub fn is_full(&self, blocks: u32) -> bool {
        self.tail.len() >= ENTRIES_MAX || self.blocks + u64::from(blocks) > BLOCKS_MAX
    }
}
