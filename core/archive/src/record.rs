//! What an archive holds, piece by piece.

use block::{BLOCK_BYTES, BlockRange, Checksum};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::header::{HEADER_BYTES, Header};
use crate::{Fault, field};

/// Length of a record without its data.
pub const RECORD_BYTES: usize = 32;
/// Blocks whose data follows one record, at most.
pub const DATA_BLOCKS_MAX: u32 = 256;

const DATA: u8 = 1;
const ZEROES: u8 = 2;
const END: u8 = 3;
const _: () = assert!(size_of::<RawRecord>() == RECORD_BYTES);

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawRecord {
    kind: u8,
    reserved: [u8; 3],
    checksum: U32,
    first: U64,
    count: U32,
    data_checksum: U32,
    number: U64,
}

/// A piece of an archive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Record {
    /// Blocks; their bytes follow.
    Data {
        /// Which.
        range: BlockRange,
        /// Of the bytes.
        checksum: Checksum,
    },
    /// Blocks that read as zeroes.
    Zeroes {
        /// Which.
        range: BlockRange,
    },
    /// Nothing follows.
    End {
        /// How many blocks of data there were.
        data_blocks: u64,
    },
}

/// The records of one archive, in order: each is sealed, or accepted, by what came before it.
#[derive(Clone, Debug)]
pub struct Chain {
    blocks: u64,
    checksum: Checksum,
    number: u64,
    /// Behind the last record.
    end: u64,
    data_blocks: u64,
    ended: bool,
}

impl Chain {
    /// The records behind a header, which was encoded to these bytes.
    #[must_use]
    pub fn after(header: &Header, bytes: &[u8; HEADER_BYTES]) -> Self {
        let blocks = header.size_bytes / BLOCK_BYTES as u64;
        Self { blocks, checksum: Checksum::of(bytes), number: 0, end: 0, data_blocks: 0, ended: false }
    }

    /// Behind the last block that was in a record.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Blocks of data so far.
    #[must_use]
    pub fn data_blocks(&self) -> u64 {
        self.data_blocks
    }

    /// Whether the end was among them.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// The end of an archive that has all it should.
    #[must_use]
    pub fn last(&self) -> Record {
        Record::End { data_blocks: self.data_blocks }
    }

    /// The next record as it travels; its data follows it.
    ///
    /// # Errors
    /// Nothing that may follow what came before it.
    pub fn seal(&mut self, record: Record) -> Result<[u8; RECORD_BYTES], Fault> {
        self.check(record)?;
        let (kind, first, count, data_checksum) = match record {
            Record::Data { range, checksum } => (DATA, range.first.0, range.count.0, checksum.0),
            Record::Zeroes { range } => (ZEROES, range.first.0, range.count.0, 0),
            Record::End { data_blocks } => (END, data_blocks, 0, 0),
        };
        let mut raw = RawRecord {
            kind,
            first: first.into(),
            count: count.into(),
            data_checksum: data_checksum.into(),
            number: self.number.into(),
            ..RawRecord::new_zeroed()
        };
        let checksum = self.checksum.then(raw.as_bytes());
        raw.checksum = checksum.0.into();
        self.go_on(record, checksum);
        Ok(zerocopy::transmute!(raw))
    }

    /// The next record that arrived.
    ///
    /// # Errors
    /// It is not what was sealed behind what came before it.
    pub fn accept(&mut self, bytes: &[u8; RECORD_BYTES]) -> Result<Record, Fault> {
        let mut raw: RawRecord = zerocopy::transmute!(*bytes);
        let stored = Checksum(std::mem::replace(&mut raw.checksum, 0.into()).get());
        let computed = self.checksum.then(raw.as_bytes());
        if computed != stored {
            return Err(Fault::Checksum { what: "a record", computed, stored });
        }
        let (first, count, data) = (raw.first.get(), raw.count.get(), raw.data_checksum.get());
        let range = BlockRange::new(first, count);
        let record = match raw.kind {
            DATA => Record::Data { range, checksum: Checksum(data) },
            ZEROES if data == 0 => Record::Zeroes { range },
            END if data == 0 && count == 0 => Record::End { data_blocks: first },
            kind => return Err(field("a record's kind", kind)),
        };
        if raw.number.get() != self.number || raw.reserved != [0; 3] {
            return Err(field("a record's number", raw.number.get()));
        }
        self.check(record)?;
        self.go_on(record, computed);
        Ok(record)
    }

    fn check(&self, record: Record) -> Result<(), Fault> {
        let (range, count_max) = match record {
            _ if self.ended => return Err(field("a record behind the end", self.number)),
            Record::Data { range, .. } => (range, DATA_BLOCKS_MAX),
            Record::Zeroes { range } => (range, u32::MAX),
            Record::End { data_blocks } if data_blocks == self.data_blocks => return Ok(()),
            Record::End { data_blocks } => return Err(field("the number of blocks at its end", data_blocks)),
        };
        if !(1..=count_max).contains(&range.count.0) {
            return Err(field("a record's number of blocks", range.count.0));
        }
        let last = range.first.0.checked_add(range.count.0.into());
        if range.first.0 < self.end || last.is_none_or(|last| last > self.blocks) {
            return Err(field("a record's first block", range.first.0));
        }
        Ok(())
    }

    fn go_on(&mut self, record: Record, checksum: Checksum) {
        self.checksum = checksum;
        self.number += 1;
        match record {
            Record::Data { range, .. } => {
                self.end = range.end().0;
                self.data_blocks += u64::from(range.count.0);
            }
            Record::Zeroes { range } => self.end = range.end().0,
            Record::End { .. } => self.ended = true,
        }
    }
}
