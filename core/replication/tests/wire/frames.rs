use block::Checksum;
use replication::wire::{Envelope, Fault, HEADER_BYTES, Parsed, Signal, encode_signal, parse};

use crate::samples::{Read, bytes_of, envelope, messages, read, read_whole};

#[test]
fn every_message_is_read_as_it_was_written() {
    for (name, message) in messages() {
        let bytes = bytes_of(&message);
        assert_eq!(read_whole(&bytes), message, "{name}");
        assert_eq!(bytes_of(&read_whole(&bytes)), bytes, "{name}");
    }
}

#[test]
fn messages_follow_each_other_without_anything_between() {
    let stream: Vec<u8> = messages().iter().flat_map(|(_, message)| bytes_of(message)).collect();
    let mut at = 0;
    for (name, expected) in messages() {
        let Ok(Read::Message { consumed, message, .. }) = read(&stream[at..]) else { panic!("{name}") };
        assert_eq!(message, expected, "{name}");
        at += consumed;
    }
    assert_eq!(at, stream.len());
}

#[test]
fn a_message_that_has_not_arrived_as_a_whole_is_waited_for_at_every_byte() {
    for (name, message) in messages() {
        let bytes = bytes_of(&message);
        for end in 0..bytes.len() {
            assert!(matches!(read(&bytes[..end]), Ok(Read::Incomplete)), "{name}, {end} bytes");
        }
    }
}

#[test]
fn a_message_of_which_any_bit_changed_is_refused() {
    for (name, message) in messages() {
        let bytes = bytes_of(&message);
        let bits = bytes.len() * 8;
        // Every bit of what has structure, and some of every block.
        for bit in (0..bits.min(8 * 400)).chain((8 * 400..bits).step_by(1013)) {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(read(&bytes).is_err(), "{name}: bit {} of byte {}", bit % 8, bit / 8);
        }
    }
}

#[test]
fn where_the_payload_begins_and_how_long_it_is_is_known_before_it_comes() {
    let (_, message) = messages().into_iter().find(|(name, _)| *name == "prepare write").unwrap();
    let bytes = bytes_of(&message);
    let payload_at = bytes.len() - 2 * 4096;
    let Ok(Parsed::Payload { consumed, pending }) = parse(&bytes[..payload_at]) else { panic!("it has a payload") };
    assert_eq!((consumed, pending.payload_bytes()), (payload_at, 2 * 4096));
    assert_eq!(pending.envelope(), &envelope());
}

#[test]
fn what_ends_of_a_link_say_is_read_as_it_was_written() {
    for signal in [Signal::Open { to: block::PoolId(0x0102_0304_0506) }, Signal::Opened, Signal::Close] {
        let mut bytes = Vec::new();
        encode_signal(&envelope(), signal, &mut bytes);
        let Ok(Parsed::Signal { consumed, envelope: found, signal: read }) = parse(&bytes) else {
            panic!("{signal:?}")
        };
        assert_eq!((consumed, found, read), (bytes.len(), envelope(), signal));
    }
}

/// The frame with these bytes of its header changed, and the header's checksum mended.
fn changed(bytes: &[u8], at: usize, with: &[u8]) -> Result<Read, Fault> {
    let mut bytes = bytes.to_vec();
    bytes[at..at + with.len()].copy_from_slice(with);
    let body_end = HEADER_BYTES + u32::from_le_bytes(bytes[16..20].try_into().unwrap()) as usize;
    if let Some(body) = bytes.get(HEADER_BYTES..body_end) {
        let checksum = Checksum::of(body);
        bytes[8..12].copy_from_slice(&checksum.0.to_le_bytes());
    }
    let checksum = Checksum::of(&bytes[..12]).then(&[0; 4]).then(&bytes[16..HEADER_BYTES]);
    bytes[12..16].copy_from_slice(&checksum.0.to_le_bytes());
    read(&bytes)
}

fn sample(wanted: &str) -> Vec<u8> {
    let found = messages().into_iter().find(|(name, _)| *name == wanted);
    bytes_of(&found.unwrap_or_else(|| panic!("{wanted}")).1)
}

#[test]
fn what_makes_no_sense_is_refused_with_what_is_wrong_even_when_its_checksums_are_right() {
    let body = HEADER_BYTES;
    let entry = body + 20;
    let cases: [(&str, usize, &[u8], &str); 44] = [
        ("ack", 0, b"NBDM", "begins with"),
        ("ack", 4, &[2, 0], "version 2"),
        ("ack", 6, &[0], "kind 0"),
        ("ack", 6, &[24], "kind 24"),
        ("ack", 7, &[1], "flags 0x1"),
        ("heartbeat", 7, &[2], "flags 0x2"),
        ("ack", 16, &[0xff, 0xff, 0xff, 0xff], "a body of 4294967295 bytes"),
        ("ack", 16, &[8], "where 16 should be"),
        ("ack", 20, &[1], "a payload of 1 bytes, more than the 0"),
        ("prepare write", 20, &[0, 0, 0x11, 0], "more than the 1048576"),
        ("prepare write", 20, &[0, 0x10, 0, 0], "where the body tells of 8192"),
        ("ack", 24, &[0, 0, 0, 0], "the epoch is 0"),
        ("join", 24, &[1], "the epoch is 1"),
        ("ack", 28, &[0, 0, 0, 0], "the link is 0"),
        ("ack", 40, &[0; 8], "an incarnation is 0"),
        ("join", body, &[0; 8], "an incarnation is 0"),
        ("prepare write", entry, &[0; 8], "place 10.0"),
        ("prepare write", entry + 8, &[0; 4], "place 0.7"),
        ("prepare write", entry + 8, &[5, 3, 2, 1], "in epoch 16909060"),
        ("prepare write", entry + 12, &[0xff; 8], "from block 18446744073709551615"),
        ("prepare write", entry + 12, &[0xff, 0xff, 0xff, 0xff, 3, 0, 0, 0], "2 blocks from block 17179869183"),
        ("prepare write", entry + 20, &[0; 4], "0 blocks"),
        ("prepare write", entry + 20, &[1, 1, 0, 0], "257 blocks"),
        ("prepare write", entry + 24, &[5], "a change of kind 5"),
        ("prepare write", entry + 24, &[2], "8 bytes of the body are left"),
        ("prepare write", entry + 25, &[2], "flags 0x2"),
        ("prepare write", entry + 31, &[1], "reserved"),
        ("prepare flush", entry + 20, &[1], "1 blocks"),
        ("prepare write", entry + 26, &[1], "reserved"),
        ("prepare snapshot", entry + 26, &[0xff], "of a volume"),
        ("prepare snapshot", entry + 20, &[0, 0, 0, 0, 4, 0, 0, 0], "0 blocks"),
        ("join with snapshots", body + 32 + 8, &[0x0c], "where a later one should"),
        ("join with snapshots", body + 32 + 28, &[0; 8], "has no place"),
        ("start with snapshots", body + 16 + 20, &[0; 8], "no size"),
        ("start with snapshots", body + 16 + 24, &[5], "no size"),
        ("cut", body, &[0; 8], "has no place"),
        ("entries", body + 12 + 32, &[6], "change 6 comes where change 5"),
        ("entries", body, &[1], "change 1 comes where change 0"),
        ("entries", body + 8, &[1, 0x10, 0, 0], "4097 changes"),
        ("enter", body, &[13], "change 12 comes where change 13"),
        ("copy", body + 3, &[0x10], "group 268435681"),
        ("new epoch", body + 8, &[7], "the primary is one"),
        ("new epoch", body + 44, &[6], "in order"),
        ("new epoch", body + 36, &[0], "of 0 members"),
    ];
    for (name, at, with, wrong) in cases {
        let fault = changed(&sample(name), at, with).expect_err(wrong);
        assert!(fault.to_string().contains(wrong), "{name}: {fault}");
    }
}

#[test]
fn a_sender_is_told_apart_from_every_other() {
    let (_, message) = messages().remove(1);
    let mut bytes = Vec::new();
    let other = Envelope { link: 9, ..envelope() };
    replication::wire::encode(&other, &message, &mut bytes).unwrap();
    let Ok(Read::Message { envelope: found, .. }) = read(&bytes) else { panic!("it is a message") };
    assert_eq!(found, other);
}
