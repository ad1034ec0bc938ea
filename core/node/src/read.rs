//! Reads: one request to the store, which fills one buffer. Only the very largest read of bytes that are not aligned
//! touches one block more than the store reads at once; it is made of two.

use std::mem;

use block::{BLOCK_BYTES, BlockRange, ByteRange, Pages};
use store::{BlockExtent, READ_BLOCKS_MAX, ReadData};

use crate::limits::PAYLOAD_BYTES_MAX;
use crate::pipeline::{Ended, Pipeline, Reply, Task};
use crate::slab::Key;

const _: () = assert!(PAYLOAD_BYTES_MAX as usize / BLOCK_BYTES <= READ_BLOCKS_MAX as usize, "two requests are enough");

/// The first and, if the range touches too many blocks, the second request for it.
pub(crate) fn requests(range: ByteRange) -> (BlockRange, Option<BlockRange>) {
    let all = range.covering();
    let first = BlockRange::new(all.first.0, all.count.0.min(READ_BLOCKS_MAX));
    let rest = BlockRange::new(first.end().0, all.count.0 - first.count.0);
    (first, Some(rest).filter(|rest| rest.count.0 > 0))
}

/// The blocks that the next request for it reads, if any are to be read.
pub(crate) fn blocks_of(task: &Task, range: ByteRange) -> Option<BlockRange> {
    match (task, requests(range)) {
        (Task::Read, (blocks, _)) | (Task::ReadRest { .. }, (_, Some(blocks))) => Some(blocks),
        (Task::ReadRest { .. }, (_, None)) | (Task::Held { .. } | Task::Flush | Task::Change { .. }, _) => None,
    }
}

impl Pipeline {
    pub(crate) fn read_ended(&mut self, key: Key, found: ReadData) {
        let op = self.ops.get_mut(key).expect("an op lives until its request ended");
        let (first, rest) = requests(op.asked.range);
        let replicated = op.replicated;
        let found = match mem::replace(&mut op.task, Task::Read) {
            Task::Read if rest.is_some() => {
                op.task = Task::ReadRest { found };
                return self.ask(key);
            }
            Task::ReadRest { found: before } => {
                let (joined, spent) = join(before, first.count.0, found, rest.map_or(0, |rest| rest.count.0));
                spent.into_iter().for_each(|buffer| self.store.recycle(buffer));
                joined
            }
            Task::Read | Task::Held { .. } | Task::Flush | Task::Change { .. } => found,
        };
        if replicated {
            return self.hold_read(key, found);
        }
        let op = self.close(key);
        self.end(Ended { asked: op.asked, result: Ok(Reply::Read(found)) });
    }
}

/// Two reads as one, and the buffers that are left over.
fn join(first: ReadData, first_blocks: u32, second: ReadData, second_blocks: u32) -> (ReadData, [Pages; 2]) {
    let (middle, end) = (first_blocks as usize * BLOCK_BYTES, second_blocks as usize * BLOCK_BYTES);
    let mut buffer = Pages::zeroed((first_blocks + second_blocks) as usize);
    buffer.bytes_mut()[..middle].copy_from_slice(&first.buffer.bytes()[..middle]);
    buffer.bytes_mut()[middle..].copy_from_slice(&second.buffer.bytes()[..end]);
    let mut extents = first.extents;
    if extents.is_empty() {
        extents.push(BlockExtent { count: first_blocks, hole: false });
    }
    if second.extents.is_empty() {
        extents.push(BlockExtent { count: second_blocks, hole: false });
    }
    extents.extend(second.extents);
    (ReadData { buffer, extents, lost: Vec::new() }, [first.buffer, second.buffer])
}
