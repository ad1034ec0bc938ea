//! The store's extents, in blocks, as the client's, in bytes of what it asked for.

use block::{BLOCK_BYTES, ByteRange};
use nbd::Extent;
use store::BlockExtent;

/// Writes into `clipped` the part of `blocks`, which start at the range's first block, that lies in the range.
pub(crate) fn clip(blocks: &[BlockExtent], range: ByteRange, clipped: &mut Vec<Extent>) {
    clipped.clear();
    let start = range.offset % BLOCK_BYTES as u64;
    let end = start + u64::from(range.len_bytes);
    let mut from = 0;
    for extent in blocks {
        let to = from + u64::from(extent.count) * BLOCK_BYTES as u64;
        let len_bytes = to.min(end).saturating_sub(from.max(start));
        if len_bytes > 0 {
            let len_bytes = u32::try_from(len_bytes).expect("at most what was asked for");
            clipped.push(Extent { len_bytes, hole: extent.hole });
        }
        from = to;
    }
}

#[cfg(test)]
mod tests {
    use block::ByteRange;
    use nbd::Extent;
    use store::BlockExtent;

    use super::clip;

    #[test]
    fn extents_are_cut_to_the_bytes_asked_for() {
        let blocks = [(1, true), (2, false), (1, true)].map(|(count, hole)| BlockExtent { count, hole });
        let cut = |offset, len_bytes| {
            let mut clipped = Vec::new();
            clip(&blocks, ByteRange::new(offset, len_bytes), &mut clipped);
            clipped.iter().map(|&Extent { len_bytes, hole }| (len_bytes, hole)).collect::<Vec<_>>()
        };
        assert_eq!(cut(0, 16384), [(4096, true), (8192, false), (4096, true)]);
        assert_eq!(cut(4095, 2), [(1, true), (1, false)]);
        assert_eq!(cut(8192 + 4000, 96 + 8192 + 1), [(96, true), (8192, false), (1, true)]);
        assert_eq!(cut(5, 10), [(10, true)]);
    }
}
