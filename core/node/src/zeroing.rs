//! Discards and write-zeroes: whole blocks go to the store in steps, one after the other so that no turn is long;
//! partial blocks at the ends, for write-zeroes only, are written like any partial block.

use std::ops::Range;

use block::{BLOCK_BYTES, BLOCK_SHIFT, BlockIndex, BlockRange, ByteRange};

use crate::limits;
use crate::part::Content;
use crate::pipeline::{Admitted, Pipeline, Task};
use crate::slab::Key;

/// A range cut at block boundaries.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Cut {
    head: Option<Edge>,
    body: BlockRange,
    tail: Option<Edge>,
}

/// Bytes of one block, not all.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Edge {
    block: BlockIndex,
    bytes: Range<usize>,
}

impl Cut {
    fn of(range: ByteRange) -> Self {
        let end = range.offset + u64::from(range.len_bytes);
        let within = |byte: u64| usize::try_from(byte % BLOCK_BYTES as u64).expect("less than a block");
        let (first, last) = (range.offset >> BLOCK_SHIFT, end >> BLOCK_SHIFT);
        let edge = |block, bytes: Range<usize>| {
            Some(Edge { block: BlockIndex(block), bytes }).filter(|edge| !edge.bytes.is_empty())
        };
        let body = range.inside();
        match within(range.offset) {
            0 => Self { head: None, body, tail: edge(last, 0..within(end)) },
            start if first == last => Self { head: edge(first, start..within(end)), body, tail: None },
            start => Self { head: edge(first, start..BLOCK_BYTES), body, tail: edge(last, 0..within(end)) },
        }
    }
}

impl Pipeline {
    /// Starts a write-zeroes.
    pub fn begin_zeroes(&mut self, asked: Admitted, fua: bool) {
        let Cut { head, body, tail } = Cut::of(asked.range);
        let op = self.open(asked, Task::Change { fua, rest: body }, limits::REQUEST_BYTES_MIN);
        for edge in [head, tail].into_iter().flatten() {
            self.zero_edge(op, asked, fua, edge);
        }
        self.step_ended(op, None);
        self.settle();
    }

    /// Starts a discard.
    pub fn begin_discard(&mut self, asked: Admitted, fua: bool) {
        let op = self.open(asked, Task::Change { fua, rest: asked.range.inside() }, limits::REQUEST_BYTES_MIN);
        self.step_ended(op, None);
        self.settle();
    }

    fn zero_edge(&mut self, op: Key, asked: Admitted, fua: bool, edge: Edge) {
        let range = BlockRange::new(edge.block.0, 1);
        let mut memory = self.part_memory(asked.volume, range);
        memory.bytes_mut()[edge.bytes.clone()].fill(0);
        self.ops.get_mut(op).expect("just opened").outstanding += 1;
        self.start(op, asked.volume, range, fua, Content::Bytes { bytes: memory, fresh: edge.bytes });
    }

    /// Starts the op's next step of zeroing, if it has one.
    pub(crate) fn zero_next(&mut self, key: Key) -> bool {
        let op = self.ops.get_mut(key).expect("an op lives while something of it is outstanding");
        let Task::Change { fua, rest } = &mut op.task else { return false };
        if rest.count.0 == 0 {
            return false;
        }
        let step = BlockRange::new(rest.first.0, rest.count.0.min(limits::ZERO_STEP_BLOCKS));
        *rest = BlockRange::new(step.end().0, rest.count.0 - step.count.0);
        op.outstanding += 1;
        let (volume, fua) = (op.asked.volume, *fua);
        self.start(key, volume, step, fua, Content::Zeroes);
        true
    }
}

#[cfg(test)]
mod tests {
    use block::{BLOCK_BYTES, ByteRange};

    use super::Cut;

    #[test]
    fn a_cut_names_every_byte_once() {
        for offset in [0_u64, 1, 4095, 4096, 8191] {
            for len_bytes in [1_u32, 2, 4094, 4095, 4096, 4097, 8191, 8192, 8193, 20_000] {
                let range = ByteRange::new(offset, len_bytes);
                let cut = Cut::of(range);
                let mut bytes = vec![0; 40_000];
                for edge in [&cut.head, &cut.tail].into_iter().flatten() {
                    assert!(edge.bytes.len() < BLOCK_BYTES, "a whole block is no edge");
                    let start = usize::try_from(edge.block.0).unwrap() * BLOCK_BYTES;
                    bytes[start + edge.bytes.start..start + edge.bytes.end].iter_mut().for_each(|byte| *byte += 1);
                }
                for block in cut.body.blocks() {
                    let start = usize::try_from(block.0).unwrap() * BLOCK_BYTES;
                    bytes[start..start + BLOCK_BYTES].iter_mut().for_each(|byte| *byte += 1);
                }
                let named = |at: usize| (offset..offset + u64::from(len_bytes)).contains(&(at as u64));
                assert!(bytes.iter().enumerate().all(|(at, &count)| count == u8::from(named(at))), "{range:?}");
            }
        }
    }
}
