//! What lies in the place of a block that no replica has any more.
//!
//! The map keeps the checksum of what was written, as for any block, so whoever reads this page sees that it is not that,
//! and an error is all that can come of it. The page itself is whole: a log that ends here was not torn.

use block::{Checksum, PAGE_BYTES};

use crate::PageBytes;

/// Also says to whoever looks at the disk what this is.
const MAGIC: [u8; 8] = *b"PLlost\0\x01";
const SALT_AT: usize = 8;

/// A page that does not add up to `checksum`.
#[must_use]
pub fn lost_page(checksum: Checksum) -> PageBytes {
    let mut page = [0; PAGE_BYTES];
    page[..MAGIC.len()].copy_from_slice(&MAGIC);
    // Two pages that differ in one byte have different checksums.
    page[SALT_AT] = u8::from(Checksum::of(&page) == checksum);
    page
}

/// Whether a page looks like one of these; so may one of a client.
#[must_use]
pub fn is_lost_page(page: &[u8]) -> bool {
    page.starts_with(&MAGIC)
}

#[cfg(test)]
mod tests {
    use block::{Checksum, PAGE_BYTES};

    use super::{is_lost_page, lost_page};

    #[test]
    fn the_page_of_a_lost_block_never_adds_up_to_its_checksum() {
        let usual = lost_page(Checksum(1));
        let other = lost_page(Checksum::of(&usual));
        assert_ne!(Checksum::of(&other), Checksum::of(&usual));
        assert!(is_lost_page(&usual) && is_lost_page(&other) && !is_lost_page(&[0; PAGE_BYTES]));
    }
}
