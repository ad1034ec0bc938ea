//! The last pages of a closed segment: a second copy of its batch headers, so that recovery and reclaim need not
//! visit every batch, and a rotten header page loses nothing.

use block::{Checksum, PAGE_BYTES, Pages, PoolId};
use zerocopy::little_endian::{U16, U32, U64, U128};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{BatchRecord, Damage, FORMAT_VERSION, check_version, checksum_without, expect_field};

const MAGIC: u64 = u64::from_le_bytes(*b"PLsummry");
const CHECKSUM_AT: usize = 12;
/// Bytes of the trailer, the last of the segment's last page.
const TRAILER_BYTES: usize = size_of::<RawTrailer>();
const _: () = assert!(TRAILER_BYTES == 64, "FORMAT.md says 64");

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy)]
#[repr(C)]
struct RawTrailer {
    magic: U64,
    version: U16,
    reserved: U16,
    /// crc32c of the trailer, this field as zero.
    checksum: U32,
    pool: U128,
    generation: U64,
    segment: U32,
    batches: U32,
    body_bytes: U32,
    /// crc32c of the body.
    body_checksum: U32,
    reserved_tail: [U32; 2],
}

/// Pages a summary with `body_bytes` bytes of headers takes.
#[must_use]
pub fn summary_pages(body_bytes: usize) -> usize {
    (body_bytes + TRAILER_BYTES).div_ceil(PAGE_BYTES)
}

/// Collects the headers of a segment while it is written.
#[derive(Debug, Default)]
pub struct SummaryWriter {
    body: Vec<u8>,
    batches: u32,
}

impl SummaryWriter {
    /// Appends the used bytes of a batch's header page.
    pub fn push(&mut self, header: &[u8]) {
        self.body.extend_from_slice(header);
        self.batches += 1;
    }

    /// Bytes of headers so far.
    #[must_use]
    pub fn body_bytes(&self) -> usize {
        self.body.len()
    }

    /// The pages that belong at the very end of the segment; forgets everything.
    pub fn take(&mut self, pool: PoolId, segment: u32, generation: u64) -> Pages {
        let mut pages = Pages::zeroed(summary_pages(self.body.len()));
        let bytes = pages.bytes_mut();
        bytes[..self.body.len()].copy_from_slice(&self.body);
        let mut trailer = RawTrailer {
            magic: MAGIC.into(),
            version: FORMAT_VERSION.into(),
            reserved: 0.into(),
            checksum: 0.into(),
            pool: pool.0.into(),
            generation: generation.into(),
            segment: segment.into(),
            batches: self.batches.into(),
            body_bytes: u32::try_from(self.body.len()).expect("smaller than a segment").into(),
            body_checksum: Checksum::of(&self.body).0.into(),
            reserved_tail: [0.into(); 2],
        };
        trailer.checksum = Checksum::of(trailer.as_bytes()).0.into();
        let at = bytes.len() - TRAILER_BYTES;
        bytes[at..].copy_from_slice(trailer.as_bytes());
        self.body.clear();
        self.batches = 0;
        pages
    }
}

/// Where a segment's summary is and what it must add up to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Summary {
    /// The pool it belongs to.
    pub pool: PoolId,
    /// The segment it describes.
    pub segment: u32,
    /// The use of the segment it describes.
    pub generation: u64,
    batches: u32,
    body_bytes: usize,
    body_checksum: Checksum,
}

impl Summary {
    /// Reads the trailer from the last page of a segment.
    ///
    /// # Errors
    /// What is wrong with the bytes; a segment still open has no summary.
    pub fn parse(last_page: &[u8]) -> Result<Self, Damage> {
        let raw = last_page
            .len()
            .checked_sub(TRAILER_BYTES)
            .and_then(|at| RawTrailer::ref_from_bytes(&last_page[at..]).ok())
            .ok_or(Damage::Field { field: "length of a summary", found: last_page.len() as u64 })?;
        if raw.magic.get() != MAGIC {
            return Err(Damage::Magic { found: raw.magic.get(), expected: MAGIC });
        }
        check_version(raw.version.get())?;
        let (computed, stored) = (checksum_without(raw.as_bytes(), CHECKSUM_AT), Checksum(raw.checksum.get()));
        if computed != stored {
            return Err(Damage::Checksum { computed, stored });
        }
        Ok(Self {
            pool: PoolId(raw.pool.get()),
            segment: raw.segment.get(),
            generation: raw.generation.get(),
            batches: raw.batches.get(),
            body_bytes: raw.body_bytes.get() as usize,
            body_checksum: Checksum(raw.body_checksum.get()),
        })
    }

    /// Pages the summary takes at the end of its segment.
    #[must_use]
    pub fn pages(&self) -> usize {
        summary_pages(self.body_bytes)
    }

    /// Reads the headers from the summary's pages, in log order.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn batches(&self, pages: &[u8]) -> Result<Vec<BatchRecord>, Damage> {
        expect_field("length of a summary", self.body_bytes <= pages.len(), self.body_bytes as u64)?;
        let mut body = &pages[..self.body_bytes];
        let computed = Checksum::of(body);
        if computed != self.body_checksum {
            return Err(Damage::Checksum { computed, stored: self.body_checksum });
        }
        let mut batches = Vec::new();
        while !body.is_empty() {
            let batch = BatchRecord::parse(body)?;
            body = &body[batch.used_bytes..];
            batches.push(batch);
        }
        expect_field("batches of a summary", batches.len() as u64 == u64::from(self.batches), batches.len() as u64)?;
        Ok(batches)
    }
}

#[cfg(test)]
mod tests {
    use super::{Summary, SummaryWriter};
    use crate::{BatchHeader, BatchRecord, Entry, EntryKind, HeaderWriter};
    use block::{Checksum, Lsn, PAGE_BYTES, PoolId, VolumeId, WriteSeq};

    fn header_bytes(lsn: u64) -> Vec<u8> {
        let mut writer = HeaderWriter::default();
        let entry =
            Entry { volume: VolumeId(1), seq: WriteSeq::ZERO, kind: EntryKind::Data, first: 0, count: 1, aux: 0 };
        writer.push(entry, [Checksum(8)]);
        let header = BatchHeader {
            pool: PoolId(1),
            segment: 2,
            generation: 3,
            page: 1,
            lsn: Lsn(lsn),
            persisted: Lsn(0),
            durable: Lsn(0),
        };
        let mut page = [0; PAGE_BYTES];
        let used = writer.encode(&header, &mut page);
        page[..used].to_vec()
    }

    #[test]
    fn a_summary_gives_back_every_header_in_order() {
        let mut writer = SummaryWriter::default();
        for lsn in 1..=200 {
            writer.push(&header_bytes(lsn));
        }
        let pages = writer.take(PoolId(1), 2, 3);
        let summary = Summary::parse(pages.page(pages.count() - 1)).unwrap();
        assert_eq!((summary.segment, summary.generation, summary.pages()), (2, 3, pages.count()));
        let batches: Vec<BatchRecord> = summary.batches(pages.bytes()).unwrap();
        assert!(batches.iter().map(|batch| batch.header.lsn.0).eq(1..=200));
        assert_eq!(writer.body_bytes(), 0);
    }

    #[test]
    fn a_rotten_summary_is_refused() {
        let mut writer = SummaryWriter::default();
        writer.push(&header_bytes(1));
        let mut pages = writer.take(PoolId(1), 2, 3);
        let summary = Summary::parse(pages.page(0)).unwrap();
        pages.bytes_mut()[20] ^= 1;
        assert!(summary.batches(pages.bytes()).is_err());
        assert!(summary.batches(&[]).is_err());
        assert!(Summary::parse(&[0; PAGE_BYTES]).is_err());
    }
}
