//! The client's side against the server's: each is the other's test, and a client believes nothing that is not whole.

use block::{ByteRange, Error, Request};
use nbd::{
    ClientHandshake, HandshakeFault, HandshakeStep, Purpose, REPLY_BYTES, RemoteExport, RemoteReply, encode_request,
    parse_reply,
};
use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, any};
use proptest::proptest;

use crate::client::GREETING;
use crate::server::{Event, Server, Service, exports};

const GIB: u64 = 1 << 30;

/// What comes of it when `name` is asked for, and the server afterwards. The server's bytes come `step` at a time.
fn shake(name: &str, purpose: Purpose, step: usize) -> (Result<RemoteExport, HandshakeFault>, Server) {
    let mut server = Server::new(exports(), Service::Works(vec![]));
    let mut handshake = ClientHandshake::new(name, purpose);
    let (mut wire, mut input) = (GREETING.to_vec(), Vec::new());
    loop {
        let mut out = Vec::new();
        match handshake.advance(&input, &mut out) {
            Ok(HandshakeStep::Starved { need_bytes }) => {
                assert!(need_bytes > input.len(), "starved with enough");
                let more = step.min(wire.len());
                assert!(more > 0, "the server has said all, and the client wants more");
                input.extend(wire.drain(..more));
            }
            Ok(HandshakeStep::Advanced { consumed }) => drop(input.drain(..consumed)),
            Ok(HandshakeStep::Done { consumed, export }) => {
                assert_eq!((consumed, wire.len()), (input.len(), 0), "nothing is behind the handshake");
                return (Ok(export), server);
            }
            Err(fault) => return (Err(fault), server),
        }
        server.receive(&out);
        wire.extend(server.take_sent());
    }
}

#[test]
fn an_export_is_opened_however_the_answers_are_cut() {
    for step in [1, 2, 7, 64, 1000] {
        let (export, server) = shake("media", Purpose::Open, step);
        let export = export.unwrap();
        assert_eq!((export.size_bytes, export.description.as_str()), (GIB, "read me"));
        assert!(export.is_read_only());
        assert_eq!(server.events, [Event::Opened(8)]);
        let (export, server) = shake("disk", Purpose::Open, step);
        assert!(!export.unwrap().is_read_only());
        assert_eq!(server.events, [Event::Opened(7)]);
    }
}

#[test]
fn a_look_opens_nothing() {
    let (export, server) = shake("disk", Purpose::Look, 1000);
    assert_eq!(export.unwrap().size_bytes, GIB);
    assert_eq!(server.events, []);
}

#[test]
fn an_export_that_is_not_there_is_refused() {
    for purpose in [Purpose::Open, Purpose::Look] {
        let (export, _) = shake("none", purpose, 1000);
        assert!(matches!(export, Err(HandshakeFault::Refused { .. })), "{export:?}");
    }
}

fn answer(option: u32, kind: u32, data: &[u8], announced: u32) -> Vec<u8> {
    let mut bytes = 0x0003_e889_0455_65a9_u64.to_be_bytes().to_vec();
    for number in [option, kind, announced] {
        bytes.extend(number.to_be_bytes());
    }
    bytes.extend(data);
    bytes
}

/// What a client makes of a stream that begins behind the greeting.
fn after_greeting(stream: &[u8]) -> Result<HandshakeStep, HandshakeFault> {
    let mut handshake = ClientHandshake::new("disk", Purpose::Open);
    let mut out = Vec::new();
    handshake.advance(GREETING, &mut out)?;
    let mut input = stream;
    loop {
        match handshake.advance(input, &mut out)? {
            HandshakeStep::Advanced { consumed } => input = &input[consumed..],
            step @ (HandshakeStep::Starved { .. } | HandshakeStep::Done { .. }) => return Ok(step),
        }
    }
}

#[test]
fn a_server_that_says_something_else_is_found_out() {
    let mut handshake = ClientHandshake::new("disk", Purpose::Open);
    let http = handshake.advance(b"HTTP/1.1 400 Bad Request", &mut Vec::new());
    assert!(matches!(http, Err(HandshakeFault::NoGreeting { .. })), "{http:?}");
    let rows = [
        (answer(6, 1, &[], 0), HandshakeFault::NoAnswer { magic: 0x0003_e889_0455_65a9, option: 6 }),
        (answer(7, 1, &[], 0), HandshakeFault::Garbled),
        (answer(7, 3, &[0, 0, 1], 3), HandshakeFault::Garbled),
        (answer(7, 3, &[0], 1), HandshakeFault::Garbled),
        (answer(7, 3, &[0, 2, 0xff], 3), HandshakeFault::Garbled),
        (answer(7, 3, &[], 1 << 20), HandshakeFault::TooLong { data_bytes: 1 << 20 }),
        (answer(7, 3, &[0, 9], 2).repeat(100), HandshakeFault::TooLong { data_bytes: 2 }),
    ];
    for (stream, expected) in rows {
        assert_eq!(after_greeting(&stream), Err(expected), "{stream:?}");
    }
}

#[test]
fn the_server_understands_every_request_as_it_was_meant() {
    let range = ByteRange::new(4096, 512);
    let requests = [
        Request::Read { range },
        Request::Write { range, fua: true },
        Request::Write { range, fua: false },
        Request::Flush,
        Request::Discard { range, fua: false },
        Request::WriteZeroes { range, fua: true, fast_only: false, keep_allocated: true },
        Request::WriteZeroes { range, fua: false, fast_only: true, keep_allocated: false },
        Request::Cache { range },
    ];
    for (request, cookie) in requests.into_iter().zip(100..) {
        let (_, mut server) = shake("disk", Purpose::Open, 1000);
        let mut stream = encode_request(&request, cookie).unwrap().to_vec();
        let is_write = matches!(request, Request::Write { .. });
        stream.extend(if is_write { vec![5; 512] } else { vec![] });
        server.receive(&stream);
        assert!(matches!(server.events.last(), Some(Event::Request(asked, _)) if *asked == request), "{request:?}");
        let sent = server.take_sent();
        let reply = parse_reply(sent.first_chunk::<REPLY_BYTES>().unwrap()).unwrap();
        assert_eq!(reply, RemoteReply { cookie, result: Ok(()) });
        let data_bytes = if matches!(request, Request::Read { .. }) { 512 } else { 0 };
        assert_eq!(sent.len(), REPLY_BYTES + data_bytes);
    }
    assert_eq!(encode_request(&Request::BlockStatus { range, first_only: true }, 1), None);
}

#[test]
fn every_error_comes_back_as_what_it_was() {
    let range = ByteRange::new(0, 512);
    let zeroes = Request::WriteZeroes { range, fua: false, fast_only: true, keep_allocated: false };
    let errors =
        [Error::ReadOnly, Error::NoSpace, Error::Media, Error::Invalid, Error::Unsupported, Error::ShuttingDown];
    for error in errors {
        let mut server = Server::new(exports(), Service::Fails(error));
        let mut out = Vec::new();
        ClientHandshake::new("disk", Purpose::Open).advance(GREETING, &mut out).unwrap();
        server.receive(&out);
        server.take_sent();
        server.receive(&encode_request(&zeroes, 9).unwrap());
        let sent = server.take_sent();
        assert_eq!(parse_reply(sent[..].try_into().unwrap()), Ok(RemoteReply { cookie: 9, result: Err(error) }));
    }
    assert!(parse_reply(&[0; REPLY_BYTES]).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_bytes_make_a_client_panic_or_want_without_end(bytes in vec(any::<u8>(), 0..200)) {
        for stream in [bytes.clone(), answer(7, 3, &bytes, u32::try_from(bytes.len()).unwrap())] {
            if let Ok(HandshakeStep::Starved { need_bytes }) = after_greeting(&stream) {
                assert!(need_bytes <= nbd::ANSWER_BYTES_MAX + 20);
            }
        }
    }
}
