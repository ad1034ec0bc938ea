//! The first page of a segment in use.

use block::{Checksum, Lsn, PoolId};
use zerocopy::little_endian::{U16, U32, U64, U128};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{Damage, FORMAT_VERSION, PageBytes, check_version, checksum_without};

const MAGIC: u64 = u64::from_le_bytes(*b"PLsegmnt");
const CHECKSUM_AT: usize = 12;
const _: () = assert!(size_of::<RawSegment>() == 64, "FORMAT.md says 64");

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy)]
#[repr(C)]
struct RawSegment {
    magic: U64,
    version: U16,
    reserved: U16,
    /// crc32c of these 64 bytes, this field as zero.
    checksum: U32,
    pool: U128,
    generation: U64,
    first_lsn: U64,
    segment: U32,
    successor: U32,
    incarnation: U64,
}

/// What a segment is used for since it was last opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SegmentHeader {
    /// The pool it belongs to.
    pub pool: PoolId,
    /// Its own number: catches misdirected writes.
    pub segment: u32,
    /// Unique to this use of the segment, and higher than that of every segment opened before.
    pub generation: u64,
    /// The batch that begins at page 1.
    pub first_lsn: Lsn,
    /// The segment that will be opened after this one.
    pub successor: u32,
    /// The run of the pool that opened it.
    pub incarnation: u64,
}

impl SegmentHeader {
    /// Writes the page.
    pub fn encode(&self, page: &mut PageBytes) {
        let mut raw = RawSegment {
            magic: MAGIC.into(),
            version: FORMAT_VERSION.into(),
            reserved: 0.into(),
            checksum: 0.into(),
            pool: self.pool.0.into(),
            generation: self.generation.into(),
            first_lsn: self.first_lsn.0.into(),
            segment: self.segment.into(),
            successor: self.successor.into(),
            incarnation: self.incarnation.into(),
        };
        raw.checksum = Checksum::of(raw.as_bytes()).0.into();
        page.fill(0);
        page[..size_of::<RawSegment>()].copy_from_slice(raw.as_bytes());
    }

    /// Reads the page.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn parse(page: &PageBytes) -> Result<Self, Damage> {
        let (raw, _) = RawSegment::ref_from_prefix(page.as_slice()).expect("smaller than a page");
        if raw.magic.get() != MAGIC {
            return Err(Damage::Magic { found: raw.magic.get(), expected: MAGIC });
        }
        check_version(raw.version.get())?;
        let computed = checksum_without(raw.as_bytes(), CHECKSUM_AT);
        let stored = Checksum(raw.checksum.get());
        if computed != stored {
            return Err(Damage::Checksum { computed, stored });
        }
        Ok(Self {
            pool: PoolId(raw.pool.get()),
            segment: raw.segment.get(),
            generation: raw.generation.get(),
            first_lsn: Lsn(raw.first_lsn.get()),
            successor: raw.successor.get(),
            incarnation: raw.incarnation.get(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::SegmentHeader;
    use block::{Lsn, PAGE_BYTES, PoolId};

    #[test]
    fn a_header_reads_back_and_every_flipped_bit_is_noticed() {
        let header = SegmentHeader {
            pool: PoolId(1),
            segment: 2,
            generation: 3,
            first_lsn: Lsn(4),
            successor: 5,
            incarnation: 6,
        };
        let mut page = [9; PAGE_BYTES];
        header.encode(&mut page);
        assert_eq!(SegmentHeader::parse(&page), Ok(header));
        for bit in 0..64 * 8 {
            let mut rotten = page;
            rotten[bit / 8] ^= 1 << (bit % 8);
            assert!(SegmentHeader::parse(&rotten).is_err(), "bit {bit}");
        }
    }
}
