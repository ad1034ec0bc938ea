//! What is said beside the order, as bytes.

use block::Checksum;
use replication::Aside;
use replication::wire::{Fault, HEADER_BYTES, INPUT_BYTES_MAX, Parsed, encode_aside, parse};

use crate::samples::{asides, envelope};

fn bytes_of(aside: &Aside) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_aside(&envelope(), aside, &mut bytes);
    bytes
}

#[test]
fn everything_is_read_as_it_was_written() {
    for (name, aside) in asides() {
        let bytes = bytes_of(&aside);
        let Ok(Parsed::Aside { consumed, envelope: found, aside: read }) = parse(&bytes) else { panic!("{name}") };
        assert_eq!((consumed, found, read), (bytes.len(), envelope(), aside), "{name}");
    }
}

#[test]
fn what_has_not_arrived_as_a_whole_is_waited_for() {
    for (name, aside) in asides() {
        let bytes = bytes_of(&aside);
        for end in 0..bytes.len() {
            let Ok(Parsed::Incomplete { need_bytes }) = parse(&bytes[..end]) else { panic!("{name}, {end}") };
            assert!(need_bytes > end && need_bytes <= INPUT_BYTES_MAX);
        }
    }
}

#[test]
fn of_which_any_bit_changed_is_refused() {
    for (name, aside) in asides() {
        let bytes = bytes_of(&aside);
        for bit in (0..bytes.len() * 8).filter(|bit| *bit < 8 * 200 || bit.is_multiple_of(101)) {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(!matches!(parse(&bytes), Ok(Parsed::Aside { .. })), "{name}: bit {bit}");
        }
    }
}

/// The frame with these bytes of its body changed, and its checksums mended.
fn changed(name: &str, at: usize, with: &[u8]) -> Result<Parsed, Fault> {
    let (_, aside) = asides().into_iter().find(|(found, _)| *found == name).unwrap();
    let mut bytes = bytes_of(&aside);
    bytes[HEADER_BYTES + at..HEADER_BYTES + at + with.len()].copy_from_slice(with);
    let body = Checksum::of(&bytes[HEADER_BYTES..]);
    bytes[8..12].copy_from_slice(&body.0.to_le_bytes());
    let header = Checksum::of(&bytes[..12]).then(&[0; 4]).then(&bytes[16..HEADER_BYTES]);
    bytes[12..16].copy_from_slice(&header.0.to_le_bytes());
    parse(&bytes)
}

#[test]
fn what_makes_no_sense_is_refused_even_when_its_checksums_are_right() {
    let cases: [(&str, usize, &[u8]); 16] = [
        ("want", 5, &[1]),
        ("want", 12, &[1]),
        ("have", 12, &[2]),
        ("have", 12, &[0]),
        ("have not", 13, &[1]),
        ("have not", 12, &[1]),
        ("want of a snapshot", 16, &[0; 8]),
        ("want of a snapshot", 36, &[0; 8]),
        ("have not of a snapshot", 12, &[1]),
        ("compare", 20, &[0, 0]),
        ("compare", 20, &[1, 1]),
        ("compare", 29, &[1]),
        ("compare", 32, &[2]),
        ("compare", 33, &[1]),
        ("compared", 44, &[0]),
        ("compared", 40, &[3]),
    ];
    for (name, at, with) in cases {
        let found = changed(name, at, with);
        assert!(found.is_err(), "{name} at {at}: {found:?}");
    }
}
