//! Page-aligned memory, recycled. Everything is bounded: batches by their number, reads and payloads by what the
//! owner admits.

use block::Pages;
use layout::BATCH_BLOCKS_MAX;

/// Pages before a batch's data: room for a segment header and the batch header.
pub(crate) const LEAD_PAGES: usize = 2;
/// Batches that collect small writes, filled or in flight, at most.
pub(crate) const BATCH_BUFFERS: usize = 16;
/// Read buffers of each size kept for reuse.
const KEPT_MAX: usize = 64;
/// Sizes of read buffers in pages; larger ones are allocated for each read.
const READ_PAGES: [usize; 5] = [1, 8, 32, 64, 256];
/// Read buffers of each size that exist from the start, to be registered with the kernel.
const READ_PREALLOCATED: [usize; 5] = [64, 32, 32, 8, 2];
/// Payload sizes in data blocks that are kept for reuse.
const PAYLOAD_BLOCKS: [usize; 3] = [32, 64, BATCH_BLOCKS_MAX];

/// Page-aligned memory for one large write, received straight into it. Ends up as a batch of its own.
#[derive(Debug)]
pub struct Payload {
    pub(crate) pages: Pages,
    pub(crate) blocks: usize,
}

impl Payload {
    /// Where the data belongs: [`Payload::blocks`] blocks.
    pub fn data_mut(&mut self) -> &mut [u8] {
        let end = (LEAD_PAGES + self.blocks) * block::PAGE_BYTES;
        &mut self.pages.bytes_mut()[LEAD_PAGES * block::PAGE_BYTES..end]
    }

    /// How many blocks it holds.
    #[must_use]
    pub fn blocks(&self) -> u32 {
        u32::try_from(self.blocks).expect("at most a batch")
    }
}

#[derive(Debug)]
pub(crate) struct Buffers {
    batches: Vec<Pages>,
    reads: [Vec<Pages>; READ_PAGES.len()],
    payloads: [Vec<Pages>; PAYLOAD_BLOCKS.len()],
}

impl Buffers {
    /// Buffers for a pool with segments of this size, which no batch exceeds.
    pub fn new(segment_pages: u32) -> Self {
        let batch = LEAD_PAGES + BATCH_BLOCKS_MAX.min(segment_pages as usize);
        let read = |size: usize| (0..READ_PREALLOCATED[size]).map(|_| Pages::zeroed(READ_PAGES[size])).collect();
        Self {
            batches: (0..BATCH_BUFFERS).map(|_| Pages::zeroed(batch)).collect(),
            reads: std::array::from_fn(read),
            payloads: std::array::from_fn(|_| Vec::new()),
        }
    }

    /// Every buffer that exists now.
    pub fn all_mut(&mut self) -> Vec<&mut Pages> {
        self.batches.iter_mut().chain(self.reads.iter_mut().flatten()).collect()
    }

    pub fn free_batches(&self) -> usize {
        self.batches.len()
    }

    pub fn take_batch(&mut self) -> Option<Pages> {
        self.batches.pop()
    }

    pub fn take_read(&mut self, pages: usize) -> Pages {
        match READ_PAGES.iter().position(|&size| pages <= size) {
            Some(size) => self.reads[size].pop().unwrap_or_else(|| Pages::zeroed(READ_PAGES[size])),
            None => Pages::zeroed(pages),
        }
    }

    pub fn take_payload(&mut self, blocks: usize) -> Payload {
        let size = PAYLOAD_BLOCKS.iter().position(|&size| blocks <= size).expect("a payload fits a batch");
        let pages = self.payloads[size].pop();
        Payload { pages: pages.unwrap_or_else(|| Pages::zeroed(LEAD_PAGES + PAYLOAD_BLOCKS[size])), blocks }
    }

    /// Takes a read buffer back.
    pub fn give_read(&mut self, buffer: Pages) {
        if let Some(size) = READ_PAGES.iter().position(|&size| size == buffer.count())
            && (self.reads[size].len() < KEPT_MAX || buffer.fixed().is_some())
        {
            self.reads[size].push(buffer);
        }
    }

    /// Takes the buffer of a batch back: small writes' or payload.
    pub fn give_batch(&mut self, buffer: Pages, payload: bool) {
        if !payload {
            self.batches.push(buffer);
            return;
        }
        let blocks = buffer.count() - LEAD_PAGES;
        if let Some(size) = PAYLOAD_BLOCKS.iter().position(|&size| size == blocks)
            && self.payloads[size].len() < KEPT_MAX / (size + 1)
        {
            self.payloads[size].push(buffer);
        }
    }
}
