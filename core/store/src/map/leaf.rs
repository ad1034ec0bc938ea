//! A leaf: 1024 blocks.
//!
//! A leaf appears with the first write into its range and then stays in its head, even when all of it was zeroed
//! again: its `born` stamps tell a replica that was away that something changed.

use std::iter;
use std::sync::OnceLock;

use block::WriteSeq;

use super::entry::{DiskRef, Entry, LEAF_BLOCKS, LEAF_GROUPS, Location};
use super::node::Node;
use super::restamp::Restamp;

const GROUP_BLOCKS: usize = block::GROUP_BLOCKS as usize;
const HEADER_BYTES: usize = 32;
const GROUP_BYTES: usize = 8 + 12;
const ENTRY_BYTES: usize = 8;

/// 1024 consecutive blocks of a volume. Inside a tree it changes only through [`super::Map`].
#[derive(Debug)]
pub struct Leaf {
    entries: [Entry; LEAF_BLOCKS],
    born: [WriteSeq; LEAF_GROUPS],
    mapped: u16,
    disk: OnceLock<DiskRef>,
}

/// 64 consecutive blocks of a leaf.
#[derive(Clone, Copy, Debug)]
pub struct Group<'a> {
    /// The newest write or zeroing that touched one of them.
    pub born: WriteSeq,
    /// All 64, holes included.
    pub entries: &'a [Entry; GROUP_BLOCKS],
}

impl Group<'_> {
    /// Bit i is set when block i is mapped.
    #[must_use]
    pub fn bitmap(&self) -> u64 {
        bits(self.entries.iter().map(|entry| !entry.is_hole()))
    }

    /// The mapped blocks' entries, in order.
    pub fn mapped(&self) -> impl Iterator<Item = Entry> + '_ {
        self.entries.iter().copied().filter(|entry| !entry.is_hole())
    }
}

impl Leaf {
    /// A leaf of holes that no write has touched.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            entries: [Entry::HOLE; LEAF_BLOCKS],
            born: [WriteSeq::ZERO; LEAF_GROUPS],
            mapped: 0,
            disk: OnceLock::new(),
        }
    }

    /// For loading: fills group `index` (0 to 15) of an empty leaf, taking one entry for every bit of `bitmap`.
    /// False when there are too few entries or one lies nowhere: the bytes they came from are damaged.
    #[must_use]
    pub fn fill_group(
        &mut self,
        index: usize,
        born: WriteSeq,
        bitmap: u64,
        mut entries: impl Iterator<Item = Entry>,
    ) -> bool {
        self.born[index] = born;
        for bit in set_bits(bitmap) {
            match entries.next() {
                Some(entry) if !entry.is_hole() => self.put(index * GROUP_BLOCKS + bit, entry),
                Some(_) | None => return false,
            };
        }
        true
    }

    /// The 16 groups, in order.
    pub fn groups(&self) -> impl Iterator<Item = Group<'_>> {
        self.born.iter().zip(self.chunks()).map(|(&born, entries)| Group { born, entries })
    }

    /// Number of mapped blocks.
    #[must_use]
    pub fn mapped(&self) -> usize {
        usize::from(self.mapped)
    }

    /// Size on disk: a header, bitmap and stamp of each group, and the mapped entries.
    #[must_use]
    pub fn encoded_bytes(&self) -> usize {
        HEADER_BYTES + LEAF_GROUPS * GROUP_BYTES + self.mapped() * ENTRY_BYTES
    }

    /// Where its newest copy lies, if it did not change since that was written.
    #[must_use]
    pub fn disk(&self) -> Option<DiskRef> {
        self.disk.get().copied()
    }

    /// Notes where its copy was written. Once only.
    pub fn set_disk(&self, disk: DiskRef) {
        self.disk.set(disk).expect("an unchanged node is written once");
    }

    pub(super) fn entries(&self) -> &[Entry; LEAF_BLOCKS] {
        &self.entries
    }

    pub(super) fn location(&self, offset: usize) -> Location {
        self.entries[offset].location
    }

    /// Where the blocks lie that none of `others`, which are leaves, holds there as well.
    pub(super) fn exclusive(&self, others: &[&Node]) -> impl Iterator<Item = Location> {
        self.chunks().iter().enumerate().flat_map(move |(index, entries)| {
            let mapped = Group { born: WriteSeq::ZERO, entries }.bitmap();
            let bits =
                others.iter().fold(mapped, |bits, other| bits & differing(entries, &other.leaf().chunks()[index]));
            set_bits(bits).map(|bit| entries[bit].location)
        })
    }

    fn chunks(&self) -> &[[Entry; GROUP_BLOCKS]] {
        self.entries.as_chunks().0
    }

    pub(super) fn born(&self, group: usize) -> Option<WriteSeq> {
        self.born.get(group).copied()
    }

    /// The same content, not written yet.
    pub(super) fn copy(&self) -> Self {
        Self { entries: self.entries, born: self.born, mapped: self.mapped, disk: OnceLock::new() }
    }

    pub(super) fn take_disk(&mut self) -> Option<DiskRef> {
        self.disk.take()
    }

    /// Replaces an entry; answers where the block lay before.
    pub(super) fn put(&mut self, offset: usize, entry: Entry) -> Location {
        let old = std::mem::replace(&mut self.entries[offset], entry);
        self.mapped = self.mapped + u16::from(!entry.is_hole()) - u16::from(!old.is_hole());
        old.location
    }

    /// Moves a block whose bytes stay the same.
    pub(super) fn relocate(&mut self, offset: usize, to: Location) {
        self.entries[offset].location = to;
    }

    /// Notes that the write `seq` touched `count` blocks from `offset`. Never lowers a stamp.
    pub(super) fn stamp(&mut self, offset: usize, count: usize, seq: WriteSeq) {
        for born in &mut self.born[offset / GROUP_BLOCKS..=(offset + count - 1) / GROUP_BLOCKS] {
            *born = seq.max(*born);
        }
    }

    pub(super) fn is_changed_by(&self, restamp: Restamp) -> bool {
        self.born.iter().any(|born| restamp.changes(*born))
    }

    pub(super) fn restamp(&mut self, restamp: Restamp) {
        let changed = self.born.iter_mut().filter(|born| restamp.changes(**born));
        changed.for_each(|born| *born = restamp.seq);
    }
}

/// Bit i is the i-th answer.
fn bits(answers: impl DoubleEndedIterator<Item = bool>) -> u64 {
    answers.rev().fold(0, |bits, answer| bits << 1 | u64::from(answer))
}

fn set_bits(mut bits: u64) -> impl Iterator<Item = usize> {
    iter::from_fn(move || {
        let bit = bits.trailing_zeros();
        bits &= bits.checked_sub(1)?;
        Some(bit as usize)
    })
}

/// Bit i is set when block i lies elsewhere in `two`.
fn differing(one: &[Entry; GROUP_BLOCKS], two: &[Entry; GROUP_BLOCKS]) -> u64 {
    bits(one.iter().zip(two).map(|(one, two)| one.location != two.location))
}
