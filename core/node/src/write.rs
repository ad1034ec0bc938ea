//! Writes: straight to the store when they are small and aligned, else assembled part by part.

use std::ops::Range;

use block::{BLOCK_SHIFT, BlockRange, ByteRange, Error, VolumeId};
use store::{BATCH_BLOCKS_MAX, Refusal};

use crate::limits;
use crate::mark::Mark;
use crate::part::{Content, Memory};
use crate::pipeline::{Admitted, Pipeline, Task, error_of};
use crate::slab::Key;

/// A write whose bytes are still arriving. Its op counts it as outstanding, and at most one part's memory is held
/// for bytes that are not there yet.
#[derive(Debug)]
pub(crate) struct Assembly {
    op: Key,
    volume: VolumeId,
    range: ByteRange,
    fua: bool,
    arrived_bytes: u32,
    filling: Option<Filling>,
}

/// The part that is arriving.
#[derive(Debug)]
struct Filling {
    bounds: Bounds,
    memory: Memory,
    /// Where the next byte goes, from the part's first block.
    next: usize,
}

/// Where a part lies, and which of its bytes the client sends.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Bounds {
    blocks: BlockRange,
    fresh: Range<usize>,
}

const NOTHING: BlockRange = BlockRange { first: block::BlockIndex(0), count: block::BlockCount(0) };

/// The part that begins with byte `done_bytes` of a write.
fn part_at(range: ByteRange, done_bytes: u32) -> Bounds {
    let covering = range.covering();
    let byte = range.offset + u64::from(done_bytes);
    let before = (byte >> BLOCK_SHIFT) - covering.first.0;
    let first = covering.first.0 + before / u64::from(BATCH_BLOCKS_MAX) * u64::from(BATCH_BLOCKS_MAX);
    let end = covering.end().0.min(first + u64::from(BATCH_BLOCKS_MAX));
    let blocks = BlockRange::new(first, u32::try_from(end - first).expect("at most a batch"));
    let last_byte = (range.offset + u64::from(range.len_bytes)).min(end << BLOCK_SHIFT);
    let within = |byte: u64| usize::try_from(byte - (first << BLOCK_SHIFT)).expect("at most a batch");
    Bounds { blocks, fresh: within(byte)..within(last_byte) }
}

impl Assembly {
    /// Where the next bytes go; empty when the next part has no memory yet.
    pub fn free(&mut self) -> &mut [u8] {
        match &mut self.filling {
            Some(filling) => &mut filling.memory.bytes_mut()[filling.next..filling.bounds.fresh.end],
            None => &mut [],
        }
    }

    /// Whether the next part needs [`Pipeline::extend`].
    pub fn wants_memory(&self) -> bool {
        self.filling.is_none()
    }

    /// Bytes that have not arrived.
    pub fn missing_bytes(&self) -> u32 {
        self.range.len_bytes - self.arrived_bytes
    }
}

impl Pipeline {
    /// Starts a write of which `payload` is here. Answers what is needed to go on when that is not all.
    pub fn begin_write(&mut self, asked: Admitted, fua: bool, payload: &[u8]) -> Option<Assembly> {
        let complete = payload.len() == asked.range.len_bytes as usize;
        let task = Task::Change { fua, rest: NOTHING };
        let volume = self.volume(asked.volume);
        let alone = volume.copy.is_none() && !volume.claims.overlaps(asked.range.covering());
        if complete && asked.range.is_aligned() && alone {
            let op = self.open(asked, task, payload.len() as u64);
            if self.write_straight(op, asked, fua, payload) {
                return None;
            }
            return self.assemble(op, asked, fua, payload);
        }
        let op = self.open(asked, task, limits::REQUEST_BYTES_MIN);
        self.assemble(op, asked, fua, payload)
    }

    /// The usual write: one copy, into the store's batch. False when the store has no room now.
    fn write_straight(&mut self, op: Key, asked: Admitted, fua: bool, payload: &[u8]) -> bool {
        let Admitted { volume, range, .. } = asked;
        let (blocks, token) = (range.covering(), Mark::Op(op).token());
        let taken = self.store.check_growth(volume, blocks).and_then(|()| {
            self.change(volume, |store, seq| store.write(volume, seq, blocks.first, payload, fua, token))
        });
        match taken {
            Ok(()) => true,
            Err(Refusal::Busy) => false,
            Err(refusal) => {
                self.step_ended(op, Some(error_of(refusal)));
                true
            }
        }
    }

    fn assemble(&mut self, op: Key, asked: Admitted, fua: bool, payload: &[u8]) -> Option<Assembly> {
        let Admitted { volume, range, .. } = asked;
        let mut assembly = Assembly { op, volume, range, fua, arrived_bytes: 0, filling: None };
        self.extend(&mut assembly);
        assembly.free()[..payload.len()].copy_from_slice(payload);
        let complete = self.arrived(&mut assembly, payload.len());
        self.settle();
        (!complete).then_some(assembly)
    }

    /// Gives the assembly memory for its next part.
    pub fn extend(&mut self, assembly: &mut Assembly) {
        let bounds = part_at(assembly.range, assembly.arrived_bytes);
        let memory = self.part_memory(assembly.volume, bounds.blocks);
        assembly.filling = Some(Filling { memory, next: bounds.fresh.start, bounds });
    }

    /// Notes that `len_bytes` arrived in [`Assembly::free`]; answers whether that was the last of the write.
    pub fn arrived(&mut self, assembly: &mut Assembly, len_bytes: usize) -> bool {
        let filling = assembly.filling.as_mut().expect("bytes arrive only in memory");
        filling.next += len_bytes;
        assert!(filling.next <= filling.bounds.fresh.end, "no more arrives than there was room for");
        assembly.arrived_bytes += u32::try_from(len_bytes).expect("at most a part");
        if filling.next < filling.bounds.fresh.end {
            return false;
        }
        let Filling { bounds, memory, .. } = assembly.filling.take().expect("just looked at");
        self.ops.get_mut(assembly.op).expect("the assembly is outstanding").outstanding += 1;
        let content = Content::Bytes { bytes: memory, fresh: bounds.fresh };
        self.start(assembly.op, assembly.volume, bounds.blocks, assembly.fua, content);
        let complete = assembly.missing_bytes() == 0;
        if complete {
            self.step_ended(assembly.op, None);
        }
        self.settle();
        complete
    }

    /// Whether part of the write failed already, so that the rest need not arrive.
    pub fn has_failed(&self, assembly: &Assembly) -> bool {
        self.ops.get(assembly.op).is_some_and(|op| op.error.is_some())
    }

    /// Ends the op of a write whose rest will not arrive; the memory is still held.
    pub fn give_up(&mut self, assembly: &Assembly) {
        self.step_ended(assembly.op, Some(Error::ShuttingDown));
        self.settle();
    }

    /// Frees the memory of a write that was given up. No receive may be outstanding.
    pub fn forget(&mut self, assembly: Assembly) {
        if let Some(filling) = assembly.filling {
            self.forget_memory(filling.bounds.blocks, filling.memory);
        }
    }
}

#[cfg(test)]
mod tests {
    use block::{BLOCK_BYTES, ByteRange};

    use super::part_at;

    #[test]
    fn parts_follow_each_other_and_cover_the_write() {
        for (offset, len_bytes) in
            [(0, 1), (0, 4096), (4095, 2), (1 << 20, 32 << 20), ((1 << 20) + 1, 32 << 20), (511, (2 << 20) + 7)]
        {
            let range = ByteRange::new(offset, len_bytes);
            let (mut done, mut next_block) = (0, range.covering().first);
            while done < len_bytes {
                let bounds = part_at(range, done);
                assert_eq!(bounds.blocks.first, next_block);
                assert!(bounds.blocks.count.0 <= 256);
                assert_eq!(
                    bounds.blocks.first.0 * BLOCK_BYTES as u64 + bounds.fresh.start as u64,
                    offset + u64::from(done)
                );
                done += u32::try_from(bounds.fresh.len()).unwrap();
                next_block = bounds.blocks.end();
            }
            assert_eq!((done, next_block), (len_bytes, range.covering().end()));
        }
    }

    #[test]
    fn the_middle_of_an_unaligned_write_needs_nothing_old() {
        let range = ByteRange::new(100, 3 << 20);
        let whole = 256 * BLOCK_BYTES;
        assert_eq!(part_at(range, 0).fresh, 100..whole);
        assert_eq!(part_at(range, u32::try_from(whole - 100).unwrap()).fresh, 0..whole);
        assert_eq!(part_at(range, u32::try_from(3 * whole - 100).unwrap()).fresh, 0..100);
    }
}
