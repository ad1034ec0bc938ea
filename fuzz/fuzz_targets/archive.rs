//! Archives of snapshots, from anywhere: whatever the bytes are, they are refused or mean something that is written in the
//! same way again, and no record lies outside of the volume or before the one before it.
//!
//! The input is changes of a valid header, and then records as they travel. A checksum that does not fit is mended, so that
//! the fields behind it are reached.
#![no_main]

use archive::{Chain, Fault, HEADER_BYTES, Header, NAME_BYTES_MAX, RECORD_BYTES, Record};
use block::{BLOCK_BYTES, VOLUME_BYTES_MAX};
use libfuzzer_sys::fuzz_target;

/// Where a header and a record keep their checksums.
const HEADER_CHECKSUM_AT: usize = 12;
const RECORD_CHECKSUM_AT: usize = 4;
/// Bytes of the input that change the header.
const CHANGES: usize = 224;

fuzz_target!(|input: &[u8]| {
    let (changes, records) = input.split_at(input.len().min(CHANGES));
    let header = header(changes).unwrap_or_else(valid);
    let bytes = header.encode();
    let (mut accepting, mut sealing) = (Chain::after(&header, &bytes), Chain::after(&header, &bytes));
    let blocks = header.size_bytes / BLOCK_BYTES as u64;
    for record in records.chunks_exact(RECORD_BYTES) {
        let mut bytes: [u8; RECORD_BYTES] = record.try_into().expect("32 bytes");
        let before = accepting.end();
        let Some(record) = accept(&mut accepting, &mut bytes) else { continue };
        assert_eq!(sealing.seal(record), Ok(bytes), "{record:?}");
        match record {
            Record::Data { range, .. } | Record::Zeroes { range } => {
                assert!(range.first.0 >= before && range.end().0 <= blocks, "{range:?}");
                assert_eq!(accepting.end(), range.end().0);
            }
            Record::End { data_blocks } => assert_eq!((data_blocks, true), (accepting.data_blocks(), accepting.has_ended())),
        }
    }
    assert!(accepting.data_blocks() <= accepting.end() && accepting.end() <= blocks);
});

fn valid() -> Header {
    Header {
        cluster: 7,
        volume: 1,
        volume_name: "db".to_owned(),
        snapshot: 2,
        snapshot_name: "monday".to_owned(),
        base: None,
        size_bytes: 1 << 40,
        created_ms: 3,
    }
}

/// What a changed header says, if anything.
fn header(changes: &[u8]) -> Option<Header> {
    let mut bytes = valid().encode();
    bytes.iter_mut().zip(changes).for_each(|(byte, change)| *byte ^= change);
    let header = match Header::parse(&bytes) {
        Err(Fault::Checksum { computed, .. }) => {
            bytes[HEADER_CHECKSUM_AT..HEADER_CHECKSUM_AT + 4].copy_from_slice(&computed.0.to_le_bytes());
            Header::parse(&bytes)
        }
        found => found,
    };
    let header = header.ok()?;
    assert!(header.snapshot > 0 && (1..=VOLUME_BYTES_MAX).contains(&header.size_bytes), "{header:?}");
    assert!([&header.volume_name, &header.snapshot_name].iter().all(|name| (1..=NAME_BYTES_MAX).contains(&name.len())));
    let again: [u8; HEADER_BYTES] = header.encode();
    assert_eq!(Header::parse(&again).as_ref(), Ok(&header));
    Some(header)
}

fn accept(chain: &mut Chain, bytes: &mut [u8; RECORD_BYTES]) -> Option<Record> {
    match chain.accept(bytes) {
        Err(Fault::Checksum { computed, .. }) => {
            bytes[RECORD_CHECKSUM_AT..RECORD_CHECKSUM_AT + 4].copy_from_slice(&computed.0.to_le_bytes());
            chain.accept(bytes).ok()
        }
        found => found.ok(),
    }
}
