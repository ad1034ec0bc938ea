//! Properties of whole streams. The oracle of a stream in pieces is the same stream in one piece.

use block::Error;
use nbd::LARGE_PAYLOAD_BYTES;
use proptest::collection::vec;
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop_oneof};
use proptest::{proptest, sample};

use crate::client::{
    BLOCK_STATUS, CACHE, DF, DISC, EXPORT_NAME, EXTENDED_HEADERS, FAST_ZERO, FIXED, FLUSH, FUA, INFO, LIST, LIST_META,
    NO_HOLE, NO_ZEROES, READ, REQ_ONE, SET_META, STARTTLS, STRUCTURED_REPLY, TRIM, WRITE, WRITE_ZEROES, bytes, flags,
    go, info_data, meta_data, open_simple, open_structured, option, pattern, request, set_meta, write,
};
use crate::server::{Event, Server, Service, data, exports, hole};

type Outcome = (Vec<u8>, Vec<Event>);

fn outcome(service: &Service, pieces: &[&[u8]]) -> Outcome {
    let mut server = Server::new(exports(), service.clone());
    for piece in pieces {
        server.receive(piece);
    }
    (server.sent, server.events)
}

fn sparse() -> Service {
    Service::Works(vec![data(512), hole(1024), data(100)])
}

/// Touches every option and command, right and wrong.
fn full_stream() -> Vec<u8> {
    let all_options = bytes(&[
        &flags(FIXED),
        &option(STARTTLS, &[]),
        &option(LIST, &[]),
        &option(LIST, b"no"),
        &option(SET_META, &meta_data("disk", &["base:allocation"])),
        &option(STRUCTURED_REPLY, &[]),
        &option(EXTENDED_HEADERS, b"data"),
        &option(LIST_META, &meta_data("disk", &[])),
        &set_meta("disk", &["base:allocation", "x:y"]),
        &option(INFO, &info_data("", &[0, 1, 2, 3])),
        &go("gone"),
        &go("disk"),
    ]);
    let all_commands = bytes(&[
        &request(READ, 0, 1, 512, 3000),
        &request(READ, DF, 2, 0, 3000),
        &write(FUA, 3, 77, &pattern(700)),
        &write(DF, 4, 77, &pattern(300)),
        &request(TRIM, 0, 5, 0, 4096),
        &request(CACHE, 0, 6, 0, 4096),
        &request(WRITE_ZEROES, FAST_ZERO, 7, 0, 4096),
        &request(BLOCK_STATUS, 0, 8, 0, 5000),
        &request(READ, 0, 9, 0, 0),
        &request(99, 0, 10, 0, 0),
        &request(FLUSH, 0, 11, 0, 0),
        &request(DISC, 0, 12, 0, 0),
    ]);
    bytes(&[&all_options, &all_commands])
}

fn simple_stream() -> Vec<u8> {
    bytes(&[
        &flags(0),
        &option(EXPORT_NAME, b"disk"),
        &request(READ, 0, 1, 512, 3000),
        &request(READ, DF, 2, 512, 3000),
        &write(0, 3, 0, &pattern(100)),
        &request(BLOCK_STATUS, 0, 4, 0, 4096),
        &request(READ, 0, 5, 0, u32::MAX),
    ])
}

#[test]
fn a_stream_split_anywhere_gives_the_same_answers() {
    for stream in [full_stream(), simple_stream()] {
        for service in [sparse(), Service::Works(vec![]), Service::Fails(Error::NoSpace)] {
            let whole = outcome(&service, &[&stream]);
            for at in 0..=stream.len() {
                let (head, tail) = stream.split_at(at);
                assert_eq!(outcome(&service, &[head, tail]), whole, "split at {at}");
            }
            let bytes: Vec<&[u8]> = stream.chunks(1).collect();
            assert_eq!(outcome(&service, &bytes), whole);
        }
    }
}

#[test]
fn a_stream_that_ends_anywhere_gives_a_beginning_of_the_answers() {
    let stream = full_stream();
    let (sent, events) = outcome(&sparse(), &[&stream]);
    assert_eq!(events.len(), 10, "{events:?}");
    for end in 0..stream.len() {
        let (sent_so_far, events_so_far) = outcome(&sparse(), &[&stream[..end]]);
        assert!(sent.starts_with(&sent_so_far));
        assert!(events.starts_with(&events_so_far));
    }
}

#[test]
fn any_damaged_byte_is_answered_or_closes() {
    let stream = full_stream();
    for at in 0..stream.len() {
        for damage in [0x01, 0x80, 0xff] {
            let mut damaged = stream.clone();
            damaged[at] ^= damage;
            // The owner checks the promises of every step.
            outcome(&sparse(), &[&damaged]);
        }
    }
}

fn option_strategy() -> impl Strategy<Value = Vec<u8>> {
    let name = sample::select(vec!["", "disk", "media", "gone"]);
    let query = sample::select(vec!["base:", "base:allocation", "x:y", "bad", ""]);
    let data = prop_oneof![
        Just(Vec::new()),
        vec(any::<u8>(), 0..40),
        (name.clone(), vec(0_u16..6, 0..5)).prop_map(|(name, wanted)| info_data(name, &wanted)),
        (name.clone(), vec(query, 0..4)).prop_map(|(name, queries)| meta_data(name, &queries)),
        name.prop_map(|name| name.as_bytes().to_vec()),
        (4090_usize..4100).prop_map(pattern),
        (65_530_usize..65_540).prop_map(pattern),
    ];
    // EXPORT_NAME and ABORT end the stream so often that little else would be seen.
    let number = prop_oneof![10 => 3_u32..13, 1 => 0_u32..3, 1 => any::<u32>()];
    (number, data).prop_map(|(number, data)| option(number, &data))
}

fn request_strategy() -> impl Strategy<Value = Vec<u8>> {
    let len_bytes = prop_oneof![
        Just(0_u32),
        1_u32..5000,
        32_760_u32..32_776,
        60_000_u32..70_000,
        Just((32 << 20) + 1),
        any::<u32>()
    ];
    let flags = prop_oneof![4 => Just(0_u16), 2 => sample::select(vec![FUA, NO_HOLE, DF, REQ_ONE, FAST_ZERO]), 1 => any::<u16>()];
    let command = prop_oneof![9 => sample::select(vec![READ, WRITE, FLUSH, TRIM, CACHE, WRITE_ZEROES, BLOCK_STATUS]), 1 => any::<u16>()];
    (command, flags, any::<u64>(), any::<u32>(), len_bytes).prop_map(|(command, flags, cookie, offset, len_bytes)| {
        let header = request(command, flags, cookie, u64::from(offset), len_bytes);
        let payload_bytes = if command == WRITE { (len_bytes as usize).min(3 * LARGE_PAYLOAD_BYTES) } else { 0 };
        bytes(&[&header, &pattern(payload_bytes)])
    })
}

/// Streams that get far, with something odd here and there.
fn stream_strategy() -> impl Strategy<Value = Vec<u8>> {
    let start = prop_oneof![
        Just(open_simple()),
        Just(open_structured()),
        Just(flags(FIXED)),
        Just(flags(FIXED | NO_ZEROES)),
        any::<u32>().prop_map(flags)
    ];
    let part = prop_oneof![4 => request_strategy(), 1 => vec(any::<u8>(), 0..50)];
    let haggle = vec(prop_oneof![20 => option_strategy(), 1 => vec(any::<u8>(), 0..20)], 0..6);
    (start, haggle, any::<bool>(), vec(part, 0..8)).prop_map(|(start, options, haggles, requests)| {
        let options = if haggles || start.len() == 4 { bytes(&[&options.concat(), &go("disk")]) } else { vec![] };
        bytes(&[&start, &options, &requests.concat()])
    })
}

fn pieces(stream: &[u8], cuts: &[sample::Index]) -> Vec<Vec<u8>> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
    cuts.extend([0, stream.len()]);
    cuts.sort_unstable();
    cuts.windows(2).map(|pair| stream[pair[0]..pair[1]].to_vec()).collect()
}

fn service_strategy() -> impl Strategy<Value = Service> {
    let extent = (0_u32..3000, any::<bool>())
        .prop_map(|(len_bytes, is_hole)| if is_hole { hole(len_bytes) } else { data(len_bytes) });
    prop_oneof![
        vec(extent, 0..4).prop_map(|mut extents| {
            // At least one extent is not empty, so that the owner can cover a range with them.
            extents.push(data(1000));
            Service::Works(extents)
        }),
        Just(Service::Works(vec![])),
        Just(Service::Fails(Error::Media)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn noise_never_panics_and_never_stalls(noise in vec(any::<u8>(), 0..300), cuts in vec(any::<sample::Index>(), 0..4)) {
        for start in [vec![], flags(FIXED), open_simple(), open_structured()] {
            let stream = bytes(&[&start, &noise]);
            let pieces = pieces(&stream, &cuts);
            let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
            assert_eq!(outcome(&sparse(), &pieces), outcome(&sparse(), &[&stream]));
        }
    }

    #[test]
    fn any_split_of_any_stream_gives_the_same_answers(
        stream in stream_strategy(),
        service in service_strategy(),
        cuts in vec(any::<sample::Index>(), 0..8),
    ) {
        let pieces = pieces(&stream, &cuts);
        let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
        assert_eq!(outcome(&service, &pieces), outcome(&service, &[&stream]));
    }
}
