//! Blocks of data that several owners hold at once: the replay buffer, what is sent to every peer, the store's batch.
//!
//! ```text
//!   Memory ── seal, seal_verified ──> Payload ── clone, part ──> Payload ...
//! ```
//! Whoever has a [`Memory`] is alone and may write; a [`Payload`] never changes, and knows the checksum of each of its
//! blocks: it is computed once, where a client's bytes come in, and verified by everyone the blocks pass through.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use block::{Checksum, GROUP_BLOCKS, PAGE_BYTES, Pages};

/// Memory for blocks, held by nobody else. By default it has no room.
#[derive(Debug, Default)]
pub struct Memory(Arc<Body>);

/// Blocks that do not change any more. Cloning it is cheap, and so is taking a part of it.
#[derive(Clone)]
pub struct Payload {
    body: Arc<Body>,
    first: u32,
    blocks: u32,
    holes: u64,
    lost: Option<Arc<Lost>>,
}

/// Blocks of a group that no replica has: only their checksums are known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lost {
    /// Bit i says that the group's i-th block is one; not 0.
    pub blocks: u64,
    /// Of what was written to each, in order.
    pub checksums: Vec<Checksum>,
}

/// A block is not what its checksum says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadBlock {
    /// Which one, from 0.
    pub index: usize,
    /// What it should be.
    pub expected: Checksum,
    /// What it is.
    pub found: Checksum,
}

#[derive(Debug, Default)]
struct Body {
    pages: Pages,
    /// Of the pages that hold data, which are the first ones.
    checksums: Vec<Checksum>,
}

impl Memory {
    /// Takes over the pages, of any content.
    #[must_use]
    pub fn new(pages: Pages) -> Self {
        Self(Arc::new(Body { pages, checksums: Vec::new() }))
    }

    /// How many blocks it has room for.
    #[must_use]
    pub fn room(&self) -> usize {
        self.0.pages.count()
    }

    /// Where the data belongs: at the front.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.body_mut().pages.bytes_mut()
    }

    /// The bytes as they are.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.0.pages.bytes()
    }

    /// The first `blocks` blocks are what is to be kept. Computes their checksums.
    #[must_use]
    pub fn seal(mut self, blocks: usize) -> Payload {
        let Body { pages, checksums } = self.body_mut();
        checksums.extend((0..blocks).map(|index| Checksum::of(pages.page(index))));
        self.sealed()
    }

    /// One block for each checksum is what is to be kept, if it is what its checksum says.
    ///
    /// # Errors
    /// The first block that is not.
    pub fn seal_verified(mut self, checksums: Vec<Checksum>) -> Result<Payload, BadBlock> {
        let pages = &self.0.pages;
        let bad = checksums.iter().enumerate().find_map(|(index, expected)| {
            let found = Checksum::of(pages.page(index));
            (found != *expected).then_some(BadBlock { index, expected: *expected, found })
        });
        if let Some(bad) = bad {
            return Err(bad);
        }
        self.body_mut().checksums = checksums;
        Ok(self.sealed())
    }

    fn sealed(self) -> Payload {
        let blocks = u32::try_from(self.0.checksums.len()).expect("far fewer blocks than 2^32 fit memory");
        Payload { body: self.0, first: 0, blocks, holes: 0, lost: None }
    }

    fn body_mut(&mut self) -> &mut Body {
        Arc::get_mut(&mut self.0).expect("it was made of what nobody else held, and is not cloned")
    }
}

impl Payload {
    /// The content of a group: bit i of `holes` says that its i-th block has no data, and the payload's blocks are the
    /// others in order. Blocks behind a volume's end are holes.
    #[must_use]
    pub fn with_holes(self, holes: u64) -> Self {
        assert_eq!(self.blocks + holes.count_ones(), GROUP_BLOCKS, "a block of a group has data or is a hole");
        Self { holes, ..self }
    }

    /// As [`Payload::with_holes`], of a group with blocks that are lost: no data, and no holes either.
    #[must_use]
    pub fn with_lost(self, holes: u64, lost: Lost) -> Self {
        let count = lost.blocks.count_ones();
        let is_group = self.blocks + holes.count_ones() + count == GROUP_BLOCKS && holes & lost.blocks == 0;
        assert!(is_group && count > 0, "a block of a group has data, is a hole, or is lost");
        assert_eq!(lost.checksums.len(), count as usize, "a checksum for each");
        Self { holes, lost: Some(Arc::new(lost)), ..self }
    }

    /// The group's blocks that are lost; `None` where nothing is, and for what is written.
    #[must_use]
    pub fn lost(&self) -> Option<&Lost> {
        self.lost.as_deref()
    }

    /// The group's blocks without data; 0 for what is written.
    #[must_use]
    pub fn holes(&self) -> u64 {
        self.holes
    }

    /// How many blocks of data there are.
    #[must_use]
    pub fn blocks(&self) -> u32 {
        self.blocks
    }

    /// The data, block after block.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        let pages = self.pages();
        &self.body.pages.bytes()[pages.start * PAGE_BYTES..pages.end * PAGE_BYTES]
    }

    /// The checksum of each block.
    #[must_use]
    pub fn checksums(&self) -> &[Checksum] {
        &self.body.checksums[self.pages()]
    }

    /// Some of its blocks.
    #[must_use]
    pub fn part(&self, blocks: Range<u32>) -> Self {
        assert!(blocks.start <= blocks.end && blocks.end <= self.blocks, "a part lies inside");
        let first = self.first + blocks.start;
        Self { body: Arc::clone(&self.body), first, blocks: blocks.end - blocks.start, holes: 0, lost: None }
    }

    fn pages(&self) -> Range<usize> {
        self.first as usize..(self.first + self.blocks) as usize
    }
}

impl PartialEq for Payload {
    fn eq(&self, other: &Self) -> bool {
        self.holes == other.holes && self.lost == other.lost && self.bytes() == other.bytes()
    }
}

impl Eq for Payload {}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} blocks, holes {:#x})", self.blocks, self.holes)
    }
}

#[cfg(test)]
mod tests {
    use block::{PAGE_BYTES, Pages};

    use super::Memory;

    fn filled(blocks: u8) -> Memory {
        let mut memory = Memory::new(Pages::zeroed(usize::from(blocks)));
        memory.bytes_mut().chunks_exact_mut(PAGE_BYTES).zip(0..).for_each(|(page, number)| page.fill(number));
        memory
    }

    #[test]
    fn a_part_has_its_own_blocks_and_their_checksums() {
        let whole = filled(3).seal(3);
        let part = whole.part(1..3);
        assert_eq!((part.blocks(), part.bytes()[0], part.bytes()[PAGE_BYTES]), (2, 1, 2));
        assert_eq!(part.checksums(), &whole.checksums()[1..]);
    }

    #[test]
    fn a_block_that_is_not_what_its_checksum_says_is_named() {
        let checksums = filled(3).seal(3).checksums().to_vec();
        assert_eq!(filled(3).seal_verified(checksums.clone()).unwrap().checksums(), checksums);
        let mut memory = filled(3);
        memory.bytes_mut()[2 * PAGE_BYTES + 7] ^= 1;
        let bad = memory.seal_verified(checksums.clone()).unwrap_err();
        assert_eq!((bad.index, bad.expected), (2, checksums[2]));
    }
}
