//! Reads in flight. Each has one buffer; device reads land in it directly, blocks still in memory are copied, holes
//! are zeroed. Every block that came from the device is verified against the map's checksum before it is given out.
//! A read that saw a block not persisted yet waits until it is: what was read once cannot vanish.

use block::{BlockIndex, Checksum, Error, Lsn, PAGE_BYTES, Pages};
use layout::is_lost_page;

use crate::effect::{BlockExtent, Outcome, ReadData, Token};
use crate::requests::Source;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ReadId(u32);

/// What a read waits for and what it has so far.
#[derive(Debug, Default)]
pub(crate) struct ReadState {
    pub token: Option<Token>,
    /// What is read, and the first block.
    pub of: Option<(Source, BlockIndex)>,
    pub buffer: Pages,
    /// One for each block read from the device, at the block's place; others are unused.
    pub checksums: Vec<Checksum>,
    pub extents: Vec<BlockExtent>,
    /// Device reads not ended.
    pub outstanding: u32,
    /// The newest batch whose blocks were copied from memory.
    pub depends_on: Lsn,
    pub failed: bool,
    pub kind: ReadKind,
    /// See [`ReadData::lost`].
    pub lost: Vec<(u32, Checksum)>,
}

/// What becomes of a read that met a block which is not what was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum ReadKind {
    #[default]
    Fails,
    /// It names the block.
    NamesLost,
}

impl ReadState {
    /// Blocks that are still in memory, from `page` on. They are what was appended; only what stands for a lost block is
    /// not what the map knows.
    pub fn copy_in(&mut self, page: u32, bytes: &[u8]) {
        let target = page as usize * PAGE_BYTES;
        self.buffer.bytes_mut()[target..target + bytes.len()].copy_from_slice(bytes);
        for (page, block) in (page..).zip(bytes.chunks_exact(PAGE_BYTES)) {
            if is_lost_page(block) && Checksum::of(block) != self.checksums[page as usize] {
                self.note_bad(page);
            }
        }
    }

    /// A block is not what was written. Whether that is to be told.
    pub fn note_bad(&mut self, page: u32) -> bool {
        match self.kind {
            ReadKind::Fails => self.failed = true,
            ReadKind::NamesLost => self.lost.push((page, self.checksums[page as usize])),
        }
        self.kind == ReadKind::Fails
    }
}

#[derive(Debug, Default)]
pub(crate) struct Reads {
    slots: Vec<ReadState>,
    vacant: Vec<u32>,
    /// Reads that only wait for `depends_on`.
    waiting: Vec<ReadId>,
}

impl Reads {
    pub fn start(&mut self, token: Token, of: (Source, BlockIndex), kind: ReadKind, buffer: Pages) -> ReadId {
        let slot = self.vacant.pop().unwrap_or_else(|| {
            self.slots.push(ReadState::default());
            u32::try_from(self.slots.len() - 1).expect("reads in flight are bounded")
        });
        let state = &mut self.slots[slot as usize];
        (state.token, state.of, state.kind, state.buffer) = (Some(token), Some(of), kind, buffer);
        (state.outstanding, state.depends_on, state.failed) = (0, Lsn(0), false);
        state.checksums.clear();
        state.lost.clear();
        ReadId(slot)
    }

    pub fn get(&mut self, read: ReadId) -> &mut ReadState {
        &mut self.slots[read.0 as usize]
    }

    /// Takes a read's outcome if nothing is outstanding; else it stays, waiting for batches if only those lack.
    pub fn try_finish(&mut self, read: ReadId, persisted: Lsn) -> Option<(Token, Outcome, Option<Pages>)> {
        let state = &mut self.slots[read.0 as usize];
        if state.outstanding > 0 {
            return None;
        }
        if state.depends_on > persisted && !state.failed {
            self.waiting.push(read);
            return None;
        }
        let token = state.token.take().expect("a read ends once");
        let (buffer, extents) = (std::mem::take(&mut state.buffer), std::mem::take(&mut state.extents));
        let mut lost = std::mem::take(&mut state.lost);
        lost.sort_unstable_by_key(|(page, _)| *page);
        self.vacant.push(read.0);
        if state.failed {
            return Some((token, Outcome::Failed(Error::Media), Some(buffer)));
        }
        Some((token, Outcome::Read(ReadData { buffer, extents, lost }), None))
    }

    /// Reads that may be able to finish now that more is persisted.
    pub fn take_waiting(&mut self) -> Vec<ReadId> {
        std::mem::take(&mut self.waiting)
    }

    pub fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Reads in flight.
    pub fn count(&self) -> usize {
        self.slots.len() - self.vacant.len()
    }
}

/// Appends `count` blocks to a list of extents, merging with the last one.
pub(crate) fn push_extent(extents: &mut Vec<BlockExtent>, count: u32, hole: bool) {
    match extents.last_mut() {
        Some(last) if last.hole == hole => last.count += count,
        Some(_) | None => extents.push(BlockExtent { count, hole }),
    }
}
