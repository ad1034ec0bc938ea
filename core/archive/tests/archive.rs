//! What is written is read, and nothing else is.

use archive::{Chain, DATA_BLOCKS_MAX, Fault, HEADER_BYTES, Header, RECORD_BYTES, Record};
use block::{BlockRange, Checksum};
use proptest::collection::vec;
use proptest::prelude::{any, proptest};

fn header() -> Header {
    Header {
        cluster: 0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10,
        volume: 7,
        volume_name: "db".to_owned(),
        snapshot: 0x21,
        snapshot_name: "db-monday".to_owned(),
        base: Some(0x20),
        size_bytes: 1 << 30,
        created_ms: 0x0199_0000_0000,
    }
}

fn chain() -> Chain {
    Chain::after(&header(), &header().encode())
}

fn data(first: u64, count: u32) -> Record {
    Record::Data { range: BlockRange::new(first, count), checksum: Checksum(9) }
}

fn zeroes(first: u64, count: u32) -> Record {
    Record::Zeroes { range: BlockRange::new(first, count) }
}

#[test]
fn a_header_is_these_bytes() {
    let bytes = header().encode();
    assert_eq!(bytes[..12], *b"PLNARCHV\x01\0\0\0");
    assert_eq!(bytes[16..32], header().cluster.to_le_bytes());
    assert_eq!(
        bytes[32..64],
        [&7_u64.to_le_bytes()[..], b"\x21\0\0\0\0\0\0\0\x20\0\0\0\0\0\0\0\0\0\0\x40\0\0\0\0"].concat()
    );
    assert_eq!(bytes[72..84], *b"\x02\x09\0\0\0\0\0\0db\0\0");
    assert_eq!(bytes[208..218], *b"db-monday\0");
    assert_eq!(Header::parse(&bytes), Ok(header()));
    let whole = Header { base: None, ..header() };
    assert_eq!(Header::parse(&whole.encode()), Ok(whole));
}

#[test]
fn a_record_is_these_bytes() {
    let bytes = chain().seal(data(0x0304, 2)).unwrap();
    assert_eq!(bytes[..4], [1, 0, 0, 0]);
    assert_eq!(bytes[8..], *b"\x04\x03\0\0\0\0\0\0\x02\0\0\0\x09\0\0\0\0\0\0\0\0\0\0\0");
}

#[test]
fn of_which_any_bit_changed_is_refused() {
    let bytes = header().encode();
    for bit in 0..HEADER_BYTES * 8 {
        let mut other = bytes;
        other[bit / 8] ^= 1 << (bit % 8);
        assert!(Header::parse(&other).is_err(), "bit {bit}");
    }
    let bytes = chain().seal(zeroes(5, 8)).unwrap();
    for bit in 0..RECORD_BYTES * 8 {
        let mut other = bytes;
        other[bit / 8] ^= 1 << (bit % 8);
        assert!(chain().accept(&other).is_err(), "bit {bit}");
    }
}

#[test]
fn a_record_that_is_missing_or_of_another_archive_is_noticed() {
    let mut written = chain();
    let records = [data(0, 1), data(1, 1), zeroes(9, 3)].map(|record| written.seal(record).unwrap());
    let mut read = chain();
    read.accept(&records[0]).unwrap();
    assert!(matches!(read.accept(&records[2]), Err(Fault::Checksum { .. })));
    let other = Header { snapshot: 0x22, ..header() };
    let mut other = Chain::after(&other, &other.encode());
    assert!(matches!(other.accept(&records[0]), Err(Fault::Checksum { .. })));
}

#[test]
fn what_cannot_follow_is_neither_written_nor_read() {
    let blocks = 1 << 18;
    for bad in [
        data(3, 0),
        zeroes(3, 0),
        data(0, DATA_BLOCKS_MAX + 1),
        data(blocks, 1),
        zeroes(blocks - 1, 2),
        zeroes(u64::MAX, 1),
        Record::End { data_blocks: 1 },
    ] {
        assert!(matches!(chain().seal(bad), Err(Fault::Field { .. })), "{bad:?}");
    }
    let mut overlapping = chain();
    overlapping.seal(zeroes(0, 10)).unwrap();
    assert!(overlapping.clone().seal(data(9, 1)).is_err());
    let end = overlapping.last();
    overlapping.seal(end).unwrap();
    assert!(overlapping.has_ended() && overlapping.seal(data(10, 1)).is_err());
}

proptest! {
    #[test]
    fn what_is_written_is_read(pieces in vec((any::<bool>(), 0..100_u64, 1..=256_u32, any::<u32>()), 0..60)) {
        let (mut written, mut read, mut at) = (chain(), chain(), 0);
        for (is_data, gap, count, checksum) in pieces {
            let range = BlockRange::new(at + gap, count);
            at = range.end().0;
            let record = if is_data { Record::Data { range, checksum: Checksum(checksum) } } else { Record::Zeroes { range } };
            let bytes = written.seal(record).unwrap();
            assert_eq!(read.accept(&bytes), Ok(record));
            assert_eq!((read.end(), read.data_blocks()), (written.end(), written.data_blocks()));
        }
        let bytes = written.seal(written.last()).unwrap();
        assert_eq!(read.accept(&bytes), Ok(Record::End { data_blocks: read.data_blocks() }));
        assert!(read.has_ended());
    }

    #[test]
    fn whatever_the_bytes_are_they_are_looked_at(bytes in vec(any::<u8>(), HEADER_BYTES), record in vec(any::<u8>(), RECORD_BYTES)) {
        let bytes: [u8; HEADER_BYTES] = bytes.try_into().unwrap();
        assert!(Header::parse(&bytes).is_err());
        let record: [u8; RECORD_BYTES] = record.try_into().unwrap();
        assert!(chain().accept(&record).is_err());
    }
}
