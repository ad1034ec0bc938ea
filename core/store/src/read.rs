//! Reads in flight. Each has one buffer; device reads land in it directly, blocks still in memory are copied, holes
//! are zeroed. Every block that came from the device is verified against the map's checksum before it is given out.
//! A read that saw a block not persisted yet waits until it is: what was read once cannot vanish.

use block::{BlockIndex, Checksum, Error, Lsn, Pages, VolumeId};

use crate::effect::{BlockExtent, Outcome, ReadData, Token};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ReadId(u32);

/// What a read waits for and what it has so far.
#[derive(Debug, Default)]
pub(crate) struct ReadState {
    pub token: Option<Token>,
    /// The volume that is read, if it is not a snapshot, and the first block.
    pub of: Option<(VolumeId, BlockIndex)>,
    pub buffer: Pages,
    /// One for each block read from the device, at the block's place; others are unused.
    pub checksums: Vec<Checksum>,
    pub extents: Vec<BlockExtent>,
    /// Device reads not ended.
    pub outstanding: u32,
    /// The newest batch whose blocks were copied from memory.
    pub depends_on: Lsn,
    pub failed: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Reads {
    slots: Vec<ReadState>,
    vacant: Vec<u32>,
    /// Reads that only wait for `depends_on`.
    waiting: Vec<ReadId>,
}

impl Reads {
    pub fn start(&mut self, token: Token, of: Option<(VolumeId, BlockIndex)>, buffer: Pages) -> ReadId {
        let slot = self.vacant.pop().unwrap_or_else(|| {
            self.slots.push(ReadState::default());
            u32::try_from(self.slots.len() - 1).expect("reads in flight are bounded")
        });
        let state = &mut self.slots[slot as usize];
        (state.token, state.of, state.buffer) = (Some(token), of, buffer);
        (state.outstanding, state.depends_on, state.failed) = (0, Lsn(0), false);
        state.checksums.clear();
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
        self.vacant.push(read.0);
        if state.failed {
            return Some((token, Outcome::Failed(Error::Media), Some(buffer)));
        }
        Some((token, Outcome::Read(ReadData { buffer, extents }), None))
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
