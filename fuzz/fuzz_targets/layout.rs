//! Records read from a disk: whatever the bytes are, they are refused or mean something that encodes to the same again.
//!
//! The input is a record's number and bytes that change a valid record of that kind. A checksum that does not fit any
//! more is mended, so that the fields behind it are reached.
#![no_main]

use block::{Checksum, Lsn, PAGE_BYTES, Pages, PoolId, VolumeId, WriteSeq};
use layout::{
    BatchHeader, BatchRecord, Cut, Damage, Entry, EntryKind, Extent, HeaderWriter, LogPosition, NodeKind, NodeReader,
    PageBytes, RootTable, SegmentHeader, Summary, SummaryWriter, Superblock, VolumeParameters,
};
use libfuzzer_sys::fuzz_target;

/// Where every checked record keeps its checksum.
const CHECKSUM_AT: usize = 12;

fuzz_target!(|input: &[u8]| {
    let Some((kind, changes)) = input.split_first() else { return };
    match kind % 7 {
        0 => superblock(changes),
        1 => segment(changes),
        2 => batch(changes),
        3 => summary(changes),
        4 => node(changes),
        5 => roots(changes),
        _ => parameters(changes),
    }
});

fn changed(page: &mut [u8], changes: &[u8]) {
    page.iter_mut().zip(changes).for_each(|(byte, change)| *byte ^= change);
}

/// Parses; where only the checksum is wrong, mends it and parses again.
fn mended<T>(page: &mut [u8], checksum_at: usize, parse: impl Fn(&[u8]) -> Result<T, Damage>) -> Option<T> {
    match parse(page) {
        Ok(record) => Some(record),
        Err(Damage::Checksum { computed, .. }) => {
            page.get_mut(checksum_at..checksum_at + 4)?.copy_from_slice(&computed.0.to_le_bytes());
            parse(page).ok()
        }
        Err(_) => None,
    }
}

fn as_page(bytes: &[u8]) -> &PageBytes {
    bytes.try_into().expect("a page")
}

fn superblock(changes: &[u8]) {
    let valid = Superblock {
        number: 12,
        pool: PoolId(1),
        boot: 77,
        clean: true,
        pool_bytes: 1 << 30,
        segment_pages: 2048,
        segments: 100,
        zeroed_segments: 4,
        replay: LogPosition { lsn: Lsn(5), segment: 6, generation: 7, page: 8 },
        durable: Lsn(9),
        incarnation: 10,
        cold_starts: 11,
        roots: vec![Extent { at: 3000, pages: 5, checksum: Checksum(6) }; 2],
        cuts: vec![Cut { last_lsn: Lsn(3), segment: 5, generation: 9 }; 2],
    };
    let mut page = [0; PAGE_BYTES];
    valid.encode(&mut page);
    changed(&mut page, changes);
    let parse = |bytes: &[u8]| Superblock::parse(as_page(bytes));
    let Some(record) = mended(&mut page, CHECKSUM_AT, parse) else { return };
    record.encode(&mut page);
    assert_eq!(parse(&page), Ok(record));
}

fn segment(changes: &[u8]) {
    let valid =
        SegmentHeader { pool: PoolId(1), segment: 2, generation: 3, first_lsn: Lsn(4), successor: 5, incarnation: 6 };
    let mut page = [0; PAGE_BYTES];
    valid.encode(&mut page);
    changed(&mut page, changes);
    let parse = |bytes: &[u8]| SegmentHeader::parse(as_page(bytes));
    let Some(record) = mended(&mut page, CHECKSUM_AT, parse) else { return };
    record.encode(&mut page);
    assert_eq!(parse(&page), Ok(record));
}

fn header() -> BatchHeader {
    BatchHeader { pool: PoolId(1), segment: 2, generation: 3, page: 4, lsn: Lsn(5), persisted: Lsn(4), durable: Lsn(3) }
}

fn valid_batch() -> PageBytes {
    let mut writer = HeaderWriter::default();
    for (kind, blocks) in [(EntryKind::Data, 3), (EntryKind::Create, 1)] {
        let entry = Entry { volume: VolumeId(1), seq: WriteSeq::ZERO, kind, first: 0, count: blocks, aux: 0 };
        writer.push(entry, (0..blocks).map(Checksum));
    }
    let mut page = [0; PAGE_BYTES];
    writer.encode(&header(), &mut page);
    page
}

fn batch(changes: &[u8]) {
    let mut page = valid_batch();
    changed(&mut page, changes);
    let Some(record) = mended(&mut page, CHECKSUM_AT, BatchRecord::parse) else { return };
    let mut writer = HeaderWriter::default();
    let mut checksums = record.checksums.iter().copied();
    for entry in &record.entries {
        writer.push(*entry, checksums.by_ref().take(entry.data_blocks() as usize));
    }
    writer.encode(&record.header, &mut page);
    assert_eq!(BatchRecord::parse(&page), Ok(record));
}

fn summary(changes: &[u8]) {
    let mut writer = SummaryWriter::default();
    for _ in 0..3 {
        writer.push(&valid_batch()[..200]);
    }
    let mut pages: Pages = writer.take(PoolId(1), 2, 3);
    let bytes = pages.bytes_mut();
    let (body, trailer) = changes.split_at(changes.len() / 2);
    changed(bytes, body);
    let trailer_at = bytes.len().saturating_sub(trailer.len());
    changed(&mut bytes[trailer_at..], trailer);
    if let Ok(record) = Summary::parse(bytes) {
        let _ = record.pages();
        let _ = record.batches(bytes);
    }
}

fn node(bytes: &[u8]) {
    let Ok(mut reader) = NodeReader::new(bytes) else { return };
    match reader.kind() {
        NodeKind::Leaf => {
            while let Ok(Some((record, entries))) = reader.group() {
                assert_eq!(entries.count(), record.mapped.count_ones() as usize);
            }
        }
        NodeKind::Inner => while let Ok(Some(_)) = reader.child() {},
    }
}

fn roots(bytes: &[u8]) {
    if let Ok(table) = RootTable::parse(bytes) {
        assert_eq!(RootTable::parse(&table.encode()), Ok(table));
    }
}

fn parameters(changes: &[u8]) {
    let valid =
        VolumeParameters { name: "volume".to_owned(), size_bytes: 1 << 30, source_snapshot: Some(1), source_volume: 2 };
    let mut page = [0; PAGE_BYTES];
    valid.encode(&mut page);
    changed(&mut page, changes);
    if let Ok(record) = VolumeParameters::parse(&page) {
        record.encode(&mut page);
        assert_eq!(VolumeParameters::parse(&page), Ok(record));
    }
}
