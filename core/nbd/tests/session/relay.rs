//! A client whose export is on another server: what that server is told, and what of its answers the client must not
//! see twice.

use block::Outbox;
use nbd::{Catalog, Export, Exports, Found, RelayFault, RelayHandshake, Session, Step, Swallowed};
use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, any};
use proptest::{proptest, sample};

use crate::client::{
    EXPORT_NAME, FIXED, GREETING, INFO, LIST, LIST_META, NO_ZEROES, STRUCTURED_REPLY, bytes, flags, go, info_data,
    meta_data, option, set_meta,
};
use crate::server::exports;

/// What is here is here; `far` is on another server.
struct Cluster(Exports);

impl Catalog for Cluster {
    fn find(&self, name: &str) -> Found<'_> {
        if name == "far" { Found::Elsewhere } else { self.0.find(name) }
    }

    fn list(&self) -> Option<impl Iterator<Item = (&str, Export)>> {
        self.0.list()
    }
}

/// A session that was told `stream` up to an option that names `far`, and what of the stream is left.
fn led_away(stream: &[u8]) -> (Session, Outbox, &[u8]) {
    let (cluster, mut out) = (Cluster(exports()), Outbox::default());
    let mut session = Session::new(&mut out);
    let mut input = stream;
    loop {
        match session.advance(input, &cluster, &mut out) {
            Step::Advanced { consumed } => input = &input[consumed..],
            Step::Elsewhere { name } => {
                assert_eq!(name, "far");
                return (session, out, input);
            }
            step @ (Step::Starved { .. } | Step::Opened { .. } | Step::Request { .. } | Step::Closed { .. }) => {
                panic!("{step:?}")
            }
        }
    }
}

fn handshake(structured: bool) -> RelayHandshake {
    let agreed = if structured { option(STRUCTURED_REPLY, &[]) } else { vec![] };
    led_away(&bytes(&[&flags(FIXED | NO_ZEROES), &agreed, &go("far")])).0.relay().unwrap()
}

/// The other server's answer to an option.
fn answer(option: u32, kind: u32, data: &[u8]) -> Vec<u8> {
    let len_bytes = u32::try_from(data.len()).unwrap();
    bytes(&[
        &0x0003_e889_0455_65a9_u64.to_be_bytes(),
        &option.to_be_bytes(),
        &kind.to_be_bytes(),
        &len_bytes.to_be_bytes(),
        data,
    ])
}

#[test]
fn every_option_that_names_an_export_leads_to_the_server_that_has_it() {
    let start = bytes(&[&flags(FIXED), &option(STRUCTURED_REPLY, &[]), &option(LIST, &[])]);
    for naming in [
        go("far"),
        option(INFO, &info_data("far", &[1, 3])),
        option(EXPORT_NAME, b"far"),
        option(LIST_META, &meta_data("far", &[])),
        set_meta("far", &["base:allocation"]),
    ] {
        let stream = bytes(&[&start, &naming, b"more"]);
        let (mut session, mut out, rest) = led_away(&stream);
        assert_eq!(rest, bytes(&[&naming, b"more"]), "none of it is done with");
        let before = out.len_bytes();
        let again = session.advance(rest, &Cluster(exports()), &mut out);
        assert!(matches!(again, Step::Elsewhere { name: "far" }), "it says so again");
        assert_eq!(out.len_bytes(), before, "and nothing is answered");
    }
}

#[test]
fn another_server_is_told_what_was_agreed_and_no_more() {
    let told = |stream: &[u8]| led_away(stream).0.relay().unwrap().replay();
    let agreed = option(STRUCTURED_REPLY, &[]);
    assert_eq!(told(&bytes(&[&flags(FIXED), &go("far")])), flags(FIXED));
    assert_eq!(told(&bytes(&[&flags(NO_ZEROES), &option(EXPORT_NAME, b"far")])), flags(NO_ZEROES));
    let wordy = bytes(&[
        &flags(FIXED | NO_ZEROES),
        &option(99, b"?"),
        &agreed,
        &agreed,
        &set_meta("disk", &["base:allocation"]),
        &option(INFO, &info_data("disk", &[])),
        &go("nothing"),
        &go("far"),
    ]);
    assert_eq!(told(&wordy), bytes(&[&flags(FIXED | NO_ZEROES), &agreed]));
}

#[test]
fn only_who_negotiates_can_be_passed_on() {
    let mut out = Outbox::default();
    let mut session = Session::new(&mut out);
    assert!(session.relay().is_none());
    let stream = bytes(&[&flags(FIXED), &go("disk")]);
    let mut input = &stream[..];
    while !session.is_open() {
        match session.advance(input, &Cluster(exports()), &mut out) {
            Step::Advanced { consumed } | Step::Opened { consumed, .. } => input = &input[consumed..],
            step => panic!("{step:?}"),
        }
    }
    assert!(session.relay().is_none());
}

#[test]
fn what_the_client_was_answered_already_is_swallowed_however_it_is_cut() {
    for structured in [false, true] {
        let mut said = GREETING.to_vec();
        said.extend(if structured { answer(STRUCTURED_REPLY, 1, &[]) } else { vec![] });
        let own_bytes = said.len();
        said.extend(answer(7, 1, &[]));
        for first in 0..=said.len() {
            for second in first..=said.len() {
                let mut handshake = handshake(structured);
                let mut passed: Vec<u8> = Vec::new();
                for piece in [&said[..first], &said[first..second], &said[second..]] {
                    match handshake.swallow(piece).unwrap() {
                        Swallowed::All => assert!(passed.is_empty()),
                        Swallowed::Done { len_bytes } => passed.extend(&piece[len_bytes..]),
                    }
                }
                assert_eq!(passed, said[own_bytes..]);
            }
        }
    }
}

#[test]
fn a_peer_that_is_no_node_is_told_apart_with_a_sentence() {
    let greeting = |magic: &[u8], flags: u16| bytes(&[magic, b"IHAVEOPT", &flags.to_be_bytes()]);
    let node = GREETING.to_vec();
    let refused = (1 << 31) + 1;
    let cases = [
        (greeting(b"HTTP/1.1", 3), "not an NBD greeting"),
        (greeting(b"NBDMAGIC", 1), "greets with flags 0x1"),
        (greeting(b"NBDMAGIC", 0xffff), "greets with flags 0xffff"),
        (bytes(&[b"NBDMAGIC", &[0; 8], &[0, 3]]), "not an NBD greeting"),
        (bytes(&[&node, &[0; 20]]), "answered 0x0 to option 0"),
        (bytes(&[&node, &answer(7, 1, &[])]), "to option 7"),
        (bytes(&[&node, &answer(STRUCTURED_REPLY, refused, b"no")]), "refused structured replies"),
        (bytes(&[&node, &answer(STRUCTURED_REPLY, 1, b"yes")]), "3 bytes of data"),
    ];
    for (said, sentence) in cases {
        let fault: RelayFault = handshake(true).swallow(&said).expect_err("it is no node");
        assert!(fault.to_string().contains(sentence), "{fault}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_a_peer_says_makes_a_handshake_panic_or_take_what_is_not_its_own(
        structured: bool,
        noise in vec(any::<u8>(), 0..100),
        flips in vec((any::<sample::Index>(), any::<u8>()), 0..3),
        cuts in vec(any::<sample::Index>(), 0..6),
        begins_well: bool,
    ) {
        let mut said = if begins_well { bytes(&[GREETING, &answer(STRUCTURED_REPLY, 1, &[])]) } else { vec![] };
        said.extend(noise);
        for (at, bits) in flips {
            if let len @ 1.. = said.len() {
                said[at.index(len)] ^= bits;
            }
        }
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(said.len() + 1)).chain([said.len()]).collect();
        ends.sort_unstable();
        let own_bytes = if structured { 38 } else { 18 };
        let mut handshake = handshake(structured);
        let (mut start, mut swallowed) = (0, 0);
        for end in ends {
            match handshake.swallow(&said[start..end]) {
                Ok(Swallowed::All) => swallowed += end - start,
                Ok(Swallowed::Done { len_bytes }) => swallowed += len_bytes,
                Err(fault) => {
                    assert!(fault.to_string().len() < 200);
                    return Ok(());
                }
            }
            start = end;
        }
        assert_eq!(swallowed, said.len().min(own_bytes));
        if swallowed == own_bytes {
            assert_eq!(said[..own_bytes], bytes(&[GREETING, &answer(STRUCTURED_REPLY, 1, &[])])[..own_bytes]);
        }
    }
}
