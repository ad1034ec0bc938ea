use block::{ByteRange, Error, Request};
use nbd::{CloseReason, LARGE_PAYLOAD_BYTES, PAYLOAD_BYTES_MAX, SKIPPED_PAYLOAD_BYTES_MAX, Step};

use crate::client::{
    BLOCK_STATUS, CACHE, DF, DISC, EINVAL, EIO, ENOSPC, EOVERFLOW, EPERM, FAST_ZERO, FIXED, FLUSH, FUA, NO_HOLE, READ,
    REQ_ONE, STRUCTURED_REPLY, TRIM, WRITE, WRITE_ZEROES, bytes, error_chunk, flags, go, open_simple, open_structured,
    option, pattern, request, simple, write,
};
use crate::server::{Event, Server, Service, exports};

const FAR: u64 = u64::MAX - 5;

fn opened(open: &[u8]) -> Server {
    let mut server = Server::after(open);
    server.take_sent();
    server.events.clear();
    server
}

/// The session answers `bad` with `error` on its own, in both styles, and serves what follows.
fn refused(bad: &[u8], error: u32) {
    let flush = request(FLUSH, 0, 2, 0, 0);
    let mut server = opened(&open_simple());
    server.receive(&bytes(&[bad, &flush]));
    assert_eq!(server.sent, bytes(&[&simple(1, error), &simple(2, 0)]));
    assert_eq!(server.events, [Event::Request(Request::Flush, vec![])]);

    let mut server = opened(&open_structured());
    server.receive(bad);
    assert_eq!(error_chunk(&server.take_sent()), (error, 1));
    server.receive(&flush);
    assert_eq!(server.sent, simple(2, 0));
    assert_eq!(server.events, [Event::Request(Request::Flush, vec![])]);
}

#[test]
fn every_command_becomes_its_request() {
    let range = ByteRange::new(FAR, 4096);
    let zeroes = |fua, fast_only, keep_allocated| Request::WriteZeroes { range, fua, fast_only, keep_allocated };
    let cases = [
        (READ, 0, Request::Read { range }),
        (READ, FUA, Request::Read { range }),
        (READ, DF, Request::Read { range }),
        (TRIM, 0, Request::Discard { range, fua: false }),
        (TRIM, FUA, Request::Discard { range, fua: true }),
        (CACHE, 0, Request::Cache { range }),
        (CACHE, FUA, Request::Cache { range }),
        (WRITE_ZEROES, 0, zeroes(false, false, false)),
        (WRITE_ZEROES, FUA, zeroes(true, false, false)),
        (WRITE_ZEROES, FAST_ZERO, zeroes(false, true, false)),
        (WRITE_ZEROES, NO_HOLE, zeroes(false, false, true)),
        (WRITE_ZEROES, FUA | FAST_ZERO | NO_HOLE, zeroes(true, true, true)),
        (BLOCK_STATUS, 0, Request::BlockStatus { range, first_only: false }),
        (BLOCK_STATUS, FUA | REQ_ONE, Request::BlockStatus { range, first_only: true }),
    ];
    for (command, flags, expected) in cases {
        // The range reaches past 2^64: that is not for the session to judge.
        let mut server = Server::new(exports(), Service::Fails(Error::OutOfRange));
        server.receive(&bytes(&[&open_structured(), &request(command, flags, 1, FAR, 4096)]));
        assert_eq!(server.events, [Event::Opened(7), Event::Request(expected, vec![])]);
    }
    for flags in [0, FUA] {
        let mut server = opened(&open_simple());
        server.receive(&bytes(&[&request(FLUSH, flags, 3, 0, 0), &write(flags, 4, 5, b"abc")]));
        let write = Request::Write { range: ByteRange::new(5, 3), fua: flags == FUA };
        assert_eq!(server.events, [Event::Request(Request::Flush, vec![]), Event::Request(write, b"abc".to_vec())]);
        assert_eq!(server.sent, bytes(&[&simple(3, 0), &simple(4, 0)]));
    }
}

#[test]
fn a_disconnect_closes_without_a_reply_whatever_its_fields_say() {
    for bye in [request(DISC, 0, 0, 0, 0), request(DISC, u16::MAX, 1, 2, u32::MAX)] {
        let mut server = opened(&open_structured());
        server.receive(&bytes(&[&bye, &request(FLUSH, 0, 1, 0, 0)]));
        assert_eq!(server.events, [Event::Closed(CloseReason::Disconnected)]);
        assert!(server.sent.is_empty());
    }
}

#[test]
fn unknown_commands_are_invalid() {
    for command in [8, 9, 255, u16::MAX] {
        refused(&request(command, 0, 1, 0, 512), EINVAL);
    }
}

#[test]
fn flags_that_are_not_for_the_command_are_invalid() {
    for bit in 0..16 {
        let flag = 1 << bit;
        for (command, allowed) in [
            (READ, FUA | DF),
            (WRITE, FUA),
            (TRIM, FUA),
            (CACHE, FUA),
            (WRITE_ZEROES, FUA | NO_HOLE | FAST_ZERO),
            (BLOCK_STATUS, FUA | REQ_ONE),
        ] {
            if flag & allowed != 0 {
                continue;
            }
            let payload = if command == WRITE { pattern(512) } else { vec![] };
            refused(&bytes(&[&request(command, flag, 1, 0, 512), &payload]), EINVAL);
        }
        if flag != FUA {
            refused(&request(FLUSH, flag, 1, 0, 0), EINVAL);
        }
    }
}

#[test]
fn df_without_structured_replies_is_invalid() {
    let mut server = opened(&open_simple());
    server.receive(&request(READ, DF, 1, 0, 512));
    assert_eq!(server.sent, simple(1, EINVAL));
    assert_eq!(server.events, []);
}

#[test]
fn block_status_without_a_context_is_invalid() {
    let structured_only = bytes(&[&flags(FIXED), &option(STRUCTURED_REPLY, &[]), &go("disk")]);
    let mut server = opened(&structured_only);
    server.receive(&request(BLOCK_STATUS, 0, 1, 0, 512));
    assert_eq!(error_chunk(&server.sent), (EINVAL, 1));
    let mut server = opened(&open_simple());
    server.receive(&request(BLOCK_STATUS, 0, 1, 0, 512));
    assert_eq!(server.sent, simple(1, EINVAL));
}

#[test]
fn a_length_of_zero_is_invalid() {
    for command in [READ, WRITE, TRIM, CACHE, WRITE_ZEROES, BLOCK_STATUS] {
        refused(&request(command, 0, 1, 4096, 0), EINVAL);
    }
}

#[test]
fn a_flush_with_a_range_is_invalid() {
    refused(&request(FLUSH, 0, 1, 1, 0), EINVAL);
    refused(&request(FLUSH, 0, 1, 0, 1), EINVAL);
}

#[test]
fn a_read_above_the_maximum_is_refused_and_the_maximum_is_not() {
    for len_bytes in [PAYLOAD_BYTES_MAX + 1, u32::MAX] {
        refused(&request(READ, 0, 1, 0, len_bytes), EINVAL);
        let mut server = opened(&open_structured());
        server.receive(&request(READ, DF, 1, 0, len_bytes));
        assert_eq!(error_chunk(&server.sent), (EOVERFLOW, 1));
    }
    let mut server = Server::new(exports(), Service::Fails(Error::Media));
    server.receive(&bytes(&[&open_structured(), &request(READ, DF, 1, 0, PAYLOAD_BYTES_MAX)]));
    let range = ByteRange::new(0, PAYLOAD_BYTES_MAX);
    assert_eq!(server.events[1..], [Event::Request(Request::Read { range }, vec![])]);
}

#[test]
fn commands_without_payload_may_name_any_length() {
    for command in [TRIM, CACHE, WRITE_ZEROES, BLOCK_STATUS] {
        let mut server = opened(&open_structured());
        server.receive(&request(command, 0, 1, 0, u32::MAX));
        assert_eq!(server.events.len(), 1);
    }
}

#[test]
fn a_write_above_the_maximum_is_refused_and_its_payload_skipped() {
    for len_bytes in [PAYLOAD_BYTES_MAX + 1, SKIPPED_PAYLOAD_BYTES_MAX] {
        let header = request(WRITE, 0, 1, 0, len_bytes);
        let mut server = opened(&open_simple());
        server.receive(&header);
        // The payload is made of requests, which must not be seen.
        let payload = request(DISC, 0, 0, 0, 0).repeat(1 << 16);
        let mut rest = len_bytes as usize;
        while rest > 0 {
            assert!(server.sent.is_empty(), "the answer waits for the payload");
            let step = payload.len().min(rest);
            server.receive(&payload[..step]);
            rest -= step;
        }
        server.receive(&request(FLUSH, 0, 2, 0, 0));
        assert_eq!(server.sent, bytes(&[&simple(1, EINVAL), &simple(2, 0)]));
        assert_eq!(server.events, [Event::Request(Request::Flush, vec![])]);
    }
}

#[test]
fn a_write_too_large_to_skip_closes() {
    for len_bytes in [SKIPPED_PAYLOAD_BYTES_MAX + 1, u32::MAX] {
        for flags in [0, FUA, DF] {
            let mut server = opened(&open_structured());
            server.receive(&request(WRITE, flags, 1, 0, len_bytes));
            assert_eq!(server.closed(), Some(CloseReason::PayloadTooLarge { len_bytes }));
            assert!(server.sent.is_empty());
        }
    }
}

#[test]
fn a_large_payload_is_handed_out_in_parts_and_a_small_one_is_not() {
    for len_bytes in [LARGE_PAYLOAD_BYTES - 1, LARGE_PAYLOAD_BYTES, LARGE_PAYLOAD_BYTES + 1] {
        let payload = pattern(len_bytes);
        let stream = write(0, 9, 4096, &payload);
        let range = ByteRange::new(4096, u32::try_from(len_bytes).unwrap());
        for split in [27, 28, 29, 1000, len_bytes, len_bytes + 27] {
            // The owner checks that only a large payload comes in parts, and takes the rest itself.
            let mut server = opened(&open_simple());
            server.receive(&stream[..split]);
            assert!(server.sent.is_empty() && server.events.is_empty());
            server.receive(&bytes(&[&stream[split..], &request(FLUSH, 0, 10, 0, 0)]));
            let write = Event::Request(Request::Write { range, fua: false }, payload.clone());
            assert_eq!(server.events, [write, Event::Request(Request::Flush, vec![])]);
            assert_eq!(server.sent, bytes(&[&simple(9, 0), &simple(10, 0)]));
        }
    }
}

#[test]
fn a_write_the_owner_refuses_is_skipped_whether_its_payload_is_there_or_not() {
    let stream = bytes(&[&write(0, 9, 0, &pattern(3 * LARGE_PAYLOAD_BYTES)), &request(FLUSH, 0, 10, 0, 0)]);
    let payload_end = 3 * LARGE_PAYLOAD_BYTES + 28;
    for split in [28, 1000, LARGE_PAYLOAD_BYTES, payload_end - 1, payload_end] {
        let mut server = Server::new(exports(), Service::Fails(Error::ReadOnly));
        server.receive(&open_structured());
        server.take_sent();
        // Not one byte of an answer before the last byte of the payload: libnbd would give the connection up.
        server.receive(&stream[..split]);
        if split < payload_end {
            assert!(server.sent.is_empty());
        }
        server.receive(&stream[split..payload_end]);
        assert_eq!(error_chunk(&server.take_sent()), (EPERM, 9));
        server.receive(&stream[payload_end..]);
        assert_eq!(error_chunk(&server.take_sent()), (EPERM, 10));
        assert_eq!(server.events.len(), 3);
    }
}

#[test]
fn other_requests_are_answered_while_payload_is_dropped() {
    let mut server = opened(&open_simple());
    let exports = exports();
    let (session, out) = server.session();
    let flush = request(FLUSH, 0, 1, 0, 0);
    let Step::Request { ticket: flush, .. } = session.advance(&flush, &exports, out) else { panic!("no flush") };
    let header = request(WRITE, 0, 2, 0, 100_000);
    let Step::Request { ticket: write, missing_bytes, .. } = session.advance(&header, &exports, out) else {
        panic!("no write")
    };
    // Part of it came before it failed.
    session.skip_payload(missing_bytes - 40_000);
    session.reply(write, Err(Error::NoSpace), out);
    session.reply(flush, Ok(()), out);
    server.send();
    assert_eq!(server.take_sent(), simple(1, 0));
    server.receive(&pattern(59_999));
    assert!(server.sent.is_empty());
    server.receive(&[0]);
    assert_eq!(server.take_sent(), simple(2, ENOSPC));
    server.receive(&request(FLUSH, 0, 3, 0, 0));
    assert_eq!(server.take_sent(), simple(3, 0));
}

#[test]
fn an_answer_that_comes_after_the_dropped_payload_is_sent_as_it_comes() {
    let mut server = opened(&open_simple());
    let exports = exports();
    let (session, out) = server.session();
    let header = request(WRITE, 0, 2, 0, 100_000);
    let Step::Request { ticket, missing_bytes, .. } = session.advance(&header, &exports, out) else {
        panic!("no write")
    };
    session.skip_payload(missing_bytes);
    server.receive(&bytes(&[&pattern(100_000), &request(FLUSH, 0, 3, 0, 0)]));
    assert_eq!(server.take_sent(), simple(3, 0));
    let (session, out) = server.session();
    session.reply(ticket, Err(Error::Media), out);
    server.send();
    assert_eq!(server.sent, simple(2, EIO));
}

#[test]
fn a_payload_is_large_from_its_limit_on() {
    let limit = u32::try_from(LARGE_PAYLOAD_BYTES).unwrap();
    let mut server = opened(&open_simple());
    let exports = exports();
    let (session, out) = server.session();
    let small = request(WRITE, 0, 1, 0, limit - 1);
    let step = session.advance(&small, &exports, out);
    assert!(matches!(step, Step::Starved { need_bytes } if need_bytes == LARGE_PAYLOAD_BYTES + 27), "{step:?}");
    let large = bytes(&[&request(WRITE, 0, 1, 0, limit), b"abc"]);
    let step = session.advance(&large, &exports, out);
    let Step::Request { consumed: 31, payload: b"abc", missing_bytes, .. } = step else { panic!("{step:?}") };
    assert_eq!(missing_bytes, LARGE_PAYLOAD_BYTES - 3);
}
