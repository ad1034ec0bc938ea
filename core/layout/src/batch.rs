//! A batch: one header page, then the data blocks of its entries in order.

use block::{Checksum, Lsn, PAGE_BYTES, PoolId};
use zerocopy::little_endian::{U16, U32, U64, U128};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::entry::{ENTRY_BYTES, Entry};
use crate::{Damage, FORMAT_VERSION, PageBytes, check_version, checksum_without, expect_field};

/// Most data blocks in one batch: 1 MiB.
pub const BATCH_BLOCKS_MAX: usize = 256;
/// Bytes of the fixed part of a header page.
pub const HEADER_BYTES: usize = size_of::<RawHeader>();
/// Longest volume name, in bytes of UTF-8.
pub const VOLUME_NAME_BYTES_MAX: usize = 128;

const MAGIC: u64 = u64::from_le_bytes(*b"PLbatch1");
const CHECKSUM_BYTES: usize = size_of::<U32>();
const CHECKSUM_AT: usize = 12;

const _: () = assert!(size_of::<RawHeader>() == 80, "FORMAT.md says 80");
const _: () = assert!(
    HEADER_BYTES + ENTRY_BYTES + BATCH_BLOCKS_MAX * CHECKSUM_BYTES <= PAGE_BYTES,
    "one entry of a full batch fits a header page"
);

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy)]
#[repr(C)]
struct RawHeader {
    /// Tells a batch from other pages.
    magic: U64,
    version: U16,
    entries: U16,
    /// crc32c of header, entries and block checksums, this field as zero: catches torn and rotten headers.
    checksum: U32,
    /// Catches batches of another pool.
    pool: U128,
    /// Catches what an earlier use of the segment left behind.
    generation: U64,
    /// Catch misdirected writes.
    segment: U32,
    page: U32,
    /// Catches lost batches: grows by one with every batch.
    lsn: U64,
    /// Every batch up to here had ended at the device when this one was submitted.
    persisted: U64,
    /// Every batch up to here was on stable media when this one was submitted.
    durable: U64,
    blocks: U16,
    reserved: [U16; 3],
}

/// The fixed part of a batch header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BatchHeader {
    /// The pool it belongs to.
    pub pool: PoolId,
    /// Segment it lies in.
    pub segment: u32,
    /// The segment's generation at that time.
    pub generation: u64,
    /// Page of the segment the header lies at.
    pub page: u32,
    /// Its place in the log.
    pub lsn: Lsn,
    /// See FORMAT.md: warm recovery need not verify data up to here.
    pub persisted: Lsn,
    /// No recovery needs to verify data up to here.
    pub durable: Lsn,
}

/// How many more entries fit beside `entries` entries and `blocks` data blocks, if each new one brings
/// `blocks_each` data blocks.
#[must_use]
pub fn entry_room(entries: usize, blocks: usize, blocks_each: usize) -> usize {
    let used = HEADER_BYTES + entries * ENTRY_BYTES + blocks * CHECKSUM_BYTES;
    PAGE_BYTES.saturating_sub(used) / (ENTRY_BYTES + blocks_each * CHECKSUM_BYTES)
}

/// Collects the entries and block checksums of a batch and writes its header page.
#[derive(Debug, Default)]
pub struct HeaderWriter {
    entries: Vec<Entry>,
    checksums: Vec<Checksum>,
}

impl HeaderWriter {
    /// Appends an entry with the checksums of its data blocks. The caller asked [`entry_room`] before.
    pub fn push(&mut self, entry: Entry, checksums: impl IntoIterator<Item = Checksum>) {
        let before = self.checksums.len();
        self.checksums.extend(checksums);
        assert_eq!(self.checksums.len() - before, entry.data_blocks() as usize, "one checksum a data block");
        self.entries.push(entry);
    }

    /// Entries so far.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Data blocks so far.
    #[must_use]
    pub fn blocks(&self) -> usize {
        self.checksums.len()
    }

    /// Whether another entry with `blocks` data blocks fits.
    #[must_use]
    pub fn has_room_for(&self, blocks: usize) -> bool {
        self.checksums.len() + blocks <= BATCH_BLOCKS_MAX
            && entry_room(self.entries.len(), self.checksums.len(), blocks) > 0
    }

    /// Checksums of the data blocks.
    #[must_use]
    pub fn checksums(&self) -> &[Checksum] {
        &self.checksums
    }

    /// Forgets everything; keeps its memory.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.checksums.clear();
    }

    /// Writes the header page; answers how many of its bytes are used.
    pub fn encode(&self, header: &BatchHeader, page: &mut PageBytes) -> usize {
        let raw = RawHeader {
            magic: MAGIC.into(),
            version: FORMAT_VERSION.into(),
            entries: u16::try_from(self.entries.len()).expect("entries fit a page").into(),
            checksum: 0.into(),
            pool: header.pool.0.into(),
            generation: header.generation.into(),
            segment: header.segment.into(),
            page: header.page.into(),
            lsn: header.lsn.0.into(),
            persisted: header.persisted.0.into(),
            durable: header.durable.0.into(),
            blocks: u16::try_from(self.checksums.len()).expect("at most BATCH_BLOCKS_MAX").into(),
            reserved: [0.into(); 3],
        };
        page[..HEADER_BYTES].copy_from_slice(raw.as_bytes());
        let mut at = HEADER_BYTES;
        for entry in &self.entries {
            page[at..at + ENTRY_BYTES].copy_from_slice(&entry.encode());
            at += ENTRY_BYTES;
        }
        for checksum in &self.checksums {
            page[at..at + CHECKSUM_BYTES].copy_from_slice(&checksum.0.to_le_bytes());
            at += CHECKSUM_BYTES;
        }
        page[at..].fill(0);
        let checksum = Checksum::of(&page[..at]);
        page[CHECKSUM_AT..CHECKSUM_AT + 4].copy_from_slice(&checksum.0.to_le_bytes());
        at
    }
}

/// A batch header that passed every check that needs no other page.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BatchRecord {
    /// The fixed part.
    pub header: BatchHeader,
    /// Its changes, in order.
    pub entries: Vec<Entry>,
    /// One for each data block, in order.
    pub checksums: Vec<Checksum>,
    /// How many bytes of the page are used.
    pub used_bytes: usize,
}

impl BatchRecord {
    /// Reads a header from the start of `bytes`, which may be a page or a segment summary's copy.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, Damage> {
        let (raw, rest) = RawHeader::ref_from_prefix(bytes)
            .map_err(|_| Damage::Field { field: "length of a batch header", found: bytes.len() as u64 })?;
        let (entries, blocks) = check_prefix(raw)?;
        let used_bytes = HEADER_BYTES + entries * ENTRY_BYTES + blocks * CHECKSUM_BYTES;
        expect_field("length of a batch header", used_bytes <= bytes.len().min(PAGE_BYTES), bytes.len() as u64)?;
        let computed = checksum_without(&bytes[..used_bytes], CHECKSUM_AT);
        let stored = Checksum(raw.checksum.get());
        if computed != stored {
            return Err(Damage::Checksum { computed, stored });
        }
        let (raw_entries, raw_checksums) = rest[..used_bytes - HEADER_BYTES].split_at(entries * ENTRY_BYTES);
        let entries = raw_entries.chunks_exact(ENTRY_BYTES).map(Entry::parse).collect::<Result<Vec<_>, _>>()?;
        let owned: u64 = entries.iter().map(|entry| u64::from(entry.data_blocks())).sum();
        expect_field("data blocks of the entries", owned == blocks as u64, owned)?;
        let checksums = raw_checksums.chunks_exact(CHECKSUM_BYTES).map(parse_checksum).collect();
        Ok(Self { header: header_of(raw), entries, checksums, used_bytes })
    }

    /// Pages the batch takes: its header and its data blocks.
    #[must_use]
    pub fn pages(&self) -> u32 {
        1 + u32::try_from(self.checksums.len()).expect("at most BATCH_BLOCKS_MAX")
    }
}

fn check_prefix(raw: &RawHeader) -> Result<(usize, usize), Damage> {
    if raw.magic.get() != MAGIC {
        return Err(Damage::Magic { found: raw.magic.get(), expected: MAGIC });
    }
    check_version(raw.version.get())?;
    let (entries, blocks) = (usize::from(raw.entries.get()), usize::from(raw.blocks.get()));
    expect_field("data blocks of a batch", blocks <= BATCH_BLOCKS_MAX, blocks as u64)?;
    expect_field("entries of a batch", entries <= PAGE_BYTES / ENTRY_BYTES, entries as u64)?;
    Ok((entries, blocks))
}

fn header_of(raw: &RawHeader) -> BatchHeader {
    BatchHeader {
        pool: PoolId(raw.pool.get()),
        segment: raw.segment.get(),
        generation: raw.generation.get(),
        page: raw.page.get(),
        lsn: Lsn(raw.lsn.get()),
        persisted: Lsn(raw.persisted.get()),
        durable: Lsn(raw.durable.get()),
    }
}

fn parse_checksum(bytes: &[u8]) -> Checksum {
    Checksum(U32::read_from_bytes(bytes).expect("chunks have a checksum's size").get())
}

/// The data block of a [`crate::EntryKind::Create`] or [`crate::EntryKind::Clone`] entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VolumeParameters {
    /// Name the volume is exported under.
    pub name: String,
    /// Its size, a multiple of 4 KiB.
    pub size_bytes: u64,
    /// For a clone: the snapshot or, if that is `None`, the volume it starts from. Unused for a new volume.
    pub source_snapshot: Option<u64>,
    /// For a clone: the source volume's id, or 0.
    pub source_volume: u64,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy)]
#[repr(C)]
struct RawParameters {
    magic: U64,
    size_bytes: U64,
    source_snapshot: U64,
    source_volume: U64,
    name_bytes: U16,
    from_snapshot: u8,
    reserved: [u8; 5],
    name: [u8; VOLUME_NAME_BYTES_MAX],
}

const PARAMETERS_MAGIC: u64 = u64::from_le_bytes(*b"PLvolume");
const _: () = assert!(size_of::<RawParameters>() == 168, "FORMAT.md says 168");

impl VolumeParameters {
    /// Writes the block. The name is at most [`VOLUME_NAME_BYTES_MAX`] long: who admits it checks.
    pub fn encode(&self, page: &mut PageBytes) {
        let mut raw = RawParameters::read_from_bytes(&[0; size_of::<RawParameters>()]).expect("its own size");
        raw.magic = PARAMETERS_MAGIC.into();
        raw.size_bytes = self.size_bytes.into();
        raw.source_snapshot = self.source_snapshot.unwrap_or(0).into();
        raw.from_snapshot = u8::from(self.source_snapshot.is_some());
        raw.source_volume = self.source_volume.into();
        raw.name_bytes = u16::try_from(self.name.len()).expect("at most VOLUME_NAME_BYTES_MAX").into();
        raw.name[..self.name.len()].copy_from_slice(self.name.as_bytes());
        page.fill(0);
        page[..size_of::<RawParameters>()].copy_from_slice(raw.as_bytes());
    }

    /// Reads the block, whose checksum the caller has verified.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn parse(page: &PageBytes) -> Result<Self, Damage> {
        let (raw, _) = RawParameters::ref_from_prefix(page.as_slice()).expect("smaller than a page");
        if raw.magic.get() != PARAMETERS_MAGIC {
            return Err(Damage::Magic { found: raw.magic.get(), expected: PARAMETERS_MAGIC });
        }
        Ok(Self {
            name: parse_name(&raw.name, raw.name_bytes.get())?,
            size_bytes: raw.size_bytes.get(),
            source_snapshot: (raw.from_snapshot != 0).then(|| raw.source_snapshot.get()),
            source_volume: raw.source_volume.get(),
        })
    }
}

/// A volume name in its fixed field.
pub(crate) fn parse_name(field: &[u8; VOLUME_NAME_BYTES_MAX], len_bytes: u16) -> Result<String, Damage> {
    let damage = Damage::Field { field: "volume name", found: len_bytes.into() };
    let bytes = field.get(..usize::from(len_bytes)).ok_or(damage)?;
    Ok(std::str::from_utf8(bytes).map_err(|_| damage)?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{BatchHeader, BatchRecord, HeaderWriter, VolumeParameters, entry_room};
    use crate::{Entry, EntryKind};
    use block::{Checksum, Epoch, Lsn, PAGE_BYTES, PoolId, VolumeId, WriteSeq};

    fn header() -> BatchHeader {
        BatchHeader {
            pool: PoolId(7),
            segment: 3,
            generation: 9,
            page: 17,
            lsn: Lsn(100),
            persisted: Lsn(98),
            durable: Lsn(90),
        }
    }

    fn entry(kind: EntryKind, count: u32) -> Entry {
        Entry { volume: VolumeId(5), seq: WriteSeq { epoch: Epoch(2), n: 44 }, kind, first: 1 << 33, count, aux: 6 }
    }

    fn encoded() -> (HeaderWriter, [u8; PAGE_BYTES]) {
        let mut writer = HeaderWriter::default();
        writer.push(entry(EntryKind::Data, 2), [Checksum(1), Checksum(2)]);
        writer.push(entry(EntryKind::Zero, 1 << 20), []);
        let mut page = [0xaa; PAGE_BYTES];
        writer.encode(&header(), &mut page);
        (writer, page)
    }

    #[test]
    fn a_header_reads_back_as_it_was_written() {
        let (writer, page) = encoded();
        let record = BatchRecord::parse(&page).unwrap();
        assert_eq!(record.header, header());
        assert_eq!(record.entries, writer.entries());
        assert_eq!(record.checksums, [Checksum(1), Checksum(2)]);
        assert_eq!(BatchRecord::parse(&page[..record.used_bytes]).unwrap(), record);
    }

    #[test]
    fn every_flipped_bit_of_a_header_is_noticed() {
        let (_, page) = encoded();
        let used = BatchRecord::parse(&page).unwrap().used_bytes;
        for bit in 0..used * 8 {
            let mut rotten = page;
            rotten[bit / 8] ^= 1 << (bit % 8);
            assert!(BatchRecord::parse(&rotten).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn entries_that_claim_other_data_than_there_is_are_refused() {
        let mut writer = HeaderWriter::default();
        writer.push(entry(EntryKind::Data, 1), [Checksum(1)]);
        writer.entries[0].count = 2;
        let mut page = [0; PAGE_BYTES];
        writer.encode(&header(), &mut page);
        assert!(BatchRecord::parse(&page).is_err());
    }

    #[test]
    fn a_header_is_filled_to_the_last_entry_that_fits() {
        let mut writer = HeaderWriter::default();
        while writer.has_room_for(1) {
            writer.push(entry(EntryKind::Data, 1), [Checksum(1)]);
        }
        assert_eq!(writer.entries().len(), 91);
        assert_eq!(entry_room(91, 91, 1), 0);
        let mut page = [0; PAGE_BYTES];
        writer.encode(&header(), &mut page);
        assert_eq!(BatchRecord::parse(&page).unwrap().entries.len(), 91);
    }

    #[test]
    fn parameters_read_back_as_they_were_written() {
        let parameters = VolumeParameters {
            name: "pvc-1".to_owned(),
            size_bytes: 1 << 40,
            source_snapshot: Some(3),
            source_volume: 0,
        };
        let mut page = [1; PAGE_BYTES];
        parameters.encode(&mut page);
        assert_eq!(VolumeParameters::parse(&page), Ok(parameters));
        assert!(VolumeParameters::parse(&[0; PAGE_BYTES]).is_err());
    }
}
