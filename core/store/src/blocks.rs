//! Blocks that are handed over to be written.

use block::{Checksum, PAGE_BYTES};

/// Whole blocks, and their checksums where those are known. What is known is not computed anew: that would cost time, and
/// would give blocks that were damaged in memory meanwhile a checksum that says that they are right.
#[derive(Clone, Copy, Debug)]
pub struct Blocks<'a> {
    bytes: &'a [u8],
    checksums: Option<&'a [Checksum]>,
}

impl<'a> Blocks<'a> {
    /// Blocks whose checksums were computed where their bytes came in, or verified since.
    #[must_use]
    pub fn known(bytes: &'a [u8], checksums: &'a [Checksum]) -> Self {
        assert_eq!(bytes.len(), checksums.len() * PAGE_BYTES, "a checksum for every block");
        Self { bytes, checksums: Some(checksums) }
    }

    /// How many bytes they have in all.
    pub(crate) fn len_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The first `blocks`, and the others.
    pub(crate) fn split_at(self, blocks: usize) -> (Self, Self) {
        let (bytes, later_bytes) = self.bytes.split_at(blocks * PAGE_BYTES);
        let (checksums, later) = self.checksums.map(|checksums| checksums.split_at(blocks)).unzip();
        (Self { bytes, checksums }, Self { bytes: later_bytes, checksums: later })
    }

    /// Copies the bytes to where they are written from; answers the blocks' checksums.
    pub(crate) fn copy_to(self, target: &mut [u8]) -> impl Iterator<Item = Checksum> {
        let pages = target.chunks_exact_mut(PAGE_BYTES).zip(self.bytes.chunks_exact(PAGE_BYTES));
        pages.enumerate().map(move |(index, (target, source))| {
            target.copy_from_slice(source);
            self.checksums.map_or_else(|| Checksum::of(target), |checksums| checksums[index])
        })
    }
}

impl<'a, B: AsRef<[u8]> + ?Sized> From<&'a B> for Blocks<'a> {
    fn from(bytes: &'a B) -> Self {
        Self { bytes: bytes.as_ref(), checksums: None }
    }
}

#[cfg(test)]
mod tests {
    use block::{Checksum, PAGE_BYTES};

    use super::Blocks;

    #[test]
    fn blocks_that_were_damaged_after_their_checksums_were_computed_are_not_given_others() {
        let mut bytes = vec![7; 3 * PAGE_BYTES];
        let checksums: Vec<Checksum> = bytes.chunks(PAGE_BYTES).map(Checksum::of).collect();
        bytes[2 * PAGE_BYTES] ^= 1;
        let (first, rest) = Blocks::known(&bytes, &checksums).split_at(1);
        let mut target = vec![0; 3 * PAGE_BYTES];
        let (target_first, target_rest) = target.split_at_mut(PAGE_BYTES);
        let kept: Vec<Checksum> = first.copy_to(target_first).chain(rest.copy_to(target_rest)).collect();
        assert_eq!((kept, target), (checksums, bytes));
    }
}
