use replication::wire::{
    ANSWER_BYTES_MAX, ASIDES, Answer, Answered, Channel, Greeted, HEARTBEATS_APART, HELLO_BYTES_MAX, Hello, LOST, ROOM,
    Refusal, SNAPSHOTS,
};

const CLUSTER: u128 = 0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10;

fn hello() -> Hello {
    Hello::new(CLUSTER, "node-a".into(), "node-b.example".into(), 0x2122_2324_2526_2728, Channel::Copy)
}

fn hello_of(bytes: &[u8]) -> Hello {
    match Hello::parse(bytes) {
        Greeted::Hello { consumed, hello } => {
            assert_eq!(consumed, bytes.len());
            hello
        }
        other => panic!("{other:?}"),
    }
}

fn answer_of(bytes: &[u8]) -> Answer {
    match Answer::parse(bytes) {
        Answered::Answer { consumed, answer } => {
            assert_eq!(consumed, bytes.len());
            answer
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_hello_is_these_bytes() {
    let bytes = hello().encode();
    let expected = [
        &b"PLNHELLO\x01\0\x01\0"[..],
        b"\xc0\xef\x78\x58",
        &CLUSTER.to_le_bytes(),
        b"\x28\x27\x26\x25\x24\x23\x22\x21\x1f\0\0\0\0\0\0\0\x03\x06\x0e\0\0\0\0\0\0\0\0\0\0\0\0\0node-anode-b.example",
    ];
    assert_eq!(bytes, expected.concat());
    assert_eq!(hello_of(&bytes), hello());
}

#[test]
fn an_answer_is_these_bytes() {
    let bytes = Answer::welcome(&hello(), 0x3132).encode();
    let expected = [&b"PLNREPLY\x01\0\0\0\x83\x75\xf2\x8c\x32\x31\0\0\0\0\0\0\x1f"[..], &[0; 23]];
    assert_eq!(bytes, expected.concat());
    assert_eq!(answer_of(&bytes), Answer::Welcome { version: 1, session: 0x3132, features: 31 });
    let refused = Answer::Refused { sentence: "not you".into() };
    let bytes = refused.encode();
    assert_eq!(bytes[..12], *b"PLNREPLY\0\0\x07\0");
    assert_eq!(bytes[48..], *b"not you");
    assert_eq!(answer_of(&bytes), refused);
}

#[test]
fn greetings_are_waited_for_at_every_byte() {
    let bytes = hello().encode();
    for end in 0..bytes.len() {
        let Greeted::Incomplete { need_bytes } = Hello::parse(&bytes[..end]) else { panic!("{end}") };
        assert!(need_bytes > end && need_bytes <= HELLO_BYTES_MAX);
    }
    let bytes = Answer::Refused { sentence: "no".into() }.encode();
    for end in 0..bytes.len() {
        let Answered::Incomplete { need_bytes } = Answer::parse(&bytes[..end]) else { panic!("{end}") };
        assert!(need_bytes > end && need_bytes <= ANSWER_BYTES_MAX);
    }
}

#[test]
fn greetings_of_which_any_bit_changed_are_refused() {
    let bytes = hello().encode();
    for bit in 0..bytes.len() * 8 {
        let mut bytes = bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        // A longer name is waited for: it may come.
        let waits = (8 * 49..8 * 51).contains(&bit) && matches!(Hello::parse(&bytes), Greeted::Incomplete { .. });
        assert!(waits || matches!(Hello::parse(&bytes), Greeted::Refused(_)), "bit {bit}");
    }
    let bytes = Answer::refused(&Refusal::Superseded { found: 1, newest: 2 }).encode();
    for bit in 0..bytes.len() * 8 {
        let mut bytes = bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let waits = (8 * 10..8 * 12).contains(&bit) && matches!(Answer::parse(&bytes), Answered::Incomplete { .. });
        assert!(waits || matches!(Answer::parse(&bytes), Answered::Refused(_)), "bit {bit}");
    }
}

#[test]
fn who_is_not_meant_is_told_why() {
    assert_eq!(hello().refuse(CLUSTER, "node-b.example"), None);
    let of_cluster = hello().refuse(CLUSTER + 1, "node-b.example").unwrap();
    let of_node = hello().refuse(CLUSTER, "node-c").unwrap();
    let superseded = Refusal::Superseded { found: 1, newest: 2 };
    for (refusal, wrong) in
        [(of_cluster, "is of cluster 0102"), (of_node, "found \"node-c\""), (superseded, "session 1")]
    {
        let Answer::Refused { sentence } = answer_of(&Answer::refused(&refusal).encode()) else { panic!("{refusal}") };
        assert!(sentence.contains(wrong), "{sentence}");
    }
}

/// The refusal of a hello with other bytes in some place, and a checksum that fits.
fn refusal_of(at: usize, with: &[u8]) -> Option<Refusal> {
    let mut bytes = hello().encode();
    bytes[at..at + with.len()].copy_from_slice(with);
    bytes[12..16].fill(0);
    let checksum = block::Checksum::of(&bytes);
    bytes[12..16].copy_from_slice(&checksum.0.to_le_bytes());
    match Hello::parse(&bytes) {
        Greeted::Refused(refusal) => Some(refusal),
        Greeted::Hello { .. } | Greeted::Incomplete { .. } => None,
    }
}

#[test]
fn releases_that_have_a_version_in_common_speak_it_and_others_say_so() {
    for (at, with) in [(8, &[9, 0, 9, 0][..]), (8, &[0, 0, 0, 0]), (8, &[1, 0, 2, 0])] {
        assert!(matches!(refusal_of(at, with), Some(Refusal::Version { .. })), "{with:?}");
    }
    let newer = Hello { version: 9, ..hello() };
    let found = hello_of(&newer.encode());
    assert_eq!(found, newer);
    assert!(matches!(Answer::welcome(&found, 1), Answer::Welcome { version: 1, .. }));
}

#[test]
fn what_a_later_release_can_besides_does_not_part_the_two() {
    let older = Hello { features: 0, ..hello() };
    assert_eq!(Answer::welcome(&hello_of(&older.encode()), 1).features(), 0, "an older one is told nothing new");
    let newer = Hello { features: u64::MAX, ..hello() };
    let known = ASIDES | HEARTBEATS_APART | SNAPSHOTS | LOST | ROOM;
    assert_eq!(Answer::welcome(&hello_of(&newer.encode()), 1).features(), known);
}

#[test]
fn a_stranger_is_refused_and_nothing_of_it_is_repeated() {
    assert!(matches!(refusal_of(0, b"NBDMAGIC"), Some(Refusal::Magic { .. })));
    for (at, with) in
        [(48, &b"\0"[..]), (48, b"\x04"), (51, b"\x01"), (49, b"\x00\x14"), (64, b"A"), (64, b"\n"), (49, b"\x81")]
    {
        let Some(Refusal::Malformed { what }) = refusal_of(at, with) else { panic!("{at} {with:?}") };
        assert!(what.is_ascii());
    }
}
