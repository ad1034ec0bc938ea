use block::{Error, Outbox, Pages};
use nbd::{Exports, Extent, LARGE_PAYLOAD_BYTES, ReadData, STATUS_EXTENTS_MAX, Session, Step, Ticket};

use crate::client::{
    BLOCK_STATUS, CACHE, DF, DISC, EINVAL, EIO, ENOSPC, ENOTSUP, EOVERFLOW, EPERM, ESHUTDOWN, FAST_ZERO, FLUSH, READ,
    REQ_ONE, TRIM, WRITE, WRITE_ZEROES, bytes, data_chunk, error_chunk, hole_chunk, open_simple, open_structured,
    request, simple, status_chunk,
};
use crate::server::{Server, Service, data, exports, hole, stored};

/// A session whose negotiation is done, and the ticket of `request`.
fn asked(open: &[u8], request: &[u8]) -> (Session, Outbox, Ticket) {
    let mut out = Outbox::default();
    let mut session = Session::new(&mut out);
    let stream = bytes(&[open, request]);
    let mut input = stream.as_slice();
    let exports = exports();
    loop {
        match session.advance(input, &exports, &mut out) {
            Step::Advanced { consumed } | Step::Opened { consumed, .. } => input = &input[consumed..],
            Step::Request { ticket, .. } => {
                out.clear().for_each(drop);
                return (session, out, ticket);
            }
            step @ (Step::Starved { .. } | Step::Elsewhere { .. } | Step::Closed { .. }) => panic!("{step:?}"),
        }
    }
}

fn sent(mut out: Outbox) -> Vec<u8> {
    out.seal();
    out.slices().flatten().copied().collect()
}

/// What is sent for a read of the sum of `extents` at 512.
fn read(open: &[u8], flags: u16, extents: &[Extent]) -> Vec<u8> {
    let len_bytes = extents.iter().map(|extent| extent.len_bytes).sum();
    let (mut session, mut out, ticket) = asked(open, &request(READ, flags, 3, 512, len_bytes));
    let (buffer, _) = stored(extents, len_bytes);
    session.reply_read(ticket, ReadData { buffer, start: 100, extents }, &mut out);
    sent(out)
}

/// What is sent for a block status of `len_bytes` at 512.
fn status(flags: u16, len_bytes: u32, extents: &[Extent]) -> Vec<u8> {
    let (mut session, mut out, ticket) = asked(&open_structured(), &request(BLOCK_STATUS, flags, 3, 512, len_bytes));
    session.reply_status(ticket, extents, &mut out);
    sent(out)
}

#[test]
fn every_error_has_its_number_for_every_command() {
    let commands = [
        (READ, 0),
        (READ, DF),
        (WRITE, 0),
        (FLUSH, 0),
        (TRIM, 0),
        (CACHE, 0),
        (WRITE_ZEROES, 0),
        (WRITE_ZEROES, FAST_ZERO),
        (BLOCK_STATUS, 0),
    ];
    let table = [
        (Error::OutOfRange, [EINVAL, EINVAL, ENOSPC, EINVAL, EINVAL, EINVAL, ENOSPC, ENOSPC, EINVAL]),
        (Error::ReadOnly, [EPERM; 9]),
        (Error::NoSpace, [ENOSPC; 9]),
        (Error::Media, [EIO; 9]),
        (Error::Invalid, [EINVAL; 9]),
        (Error::Unsupported, [EINVAL, EINVAL, EINVAL, EINVAL, EINVAL, EINVAL, EINVAL, ENOTSUP, EINVAL]),
        (Error::TooLarge, [EINVAL, EOVERFLOW, EINVAL, EINVAL, EINVAL, EINVAL, EINVAL, EINVAL, EINVAL]),
        (Error::ShuttingDown, [ESHUTDOWN; 9]),
    ];
    for (error, numbers) in table {
        for ((command, flags), number) in commands.into_iter().zip(numbers) {
            let len_bytes = if command == FLUSH { 0 } else { 1 };
            let payload: &[u8] = if command == WRITE { b"x" } else { b"" };
            let request = bytes(&[&request(command, flags, 3, 0, len_bytes), payload]);
            let (mut session, mut out, ticket) = asked(&open_structured(), &request);
            assert_eq!(ticket.cookie(), 3);
            session.reply(ticket, Err(error), &mut out);
            assert_eq!(error_chunk(&sent(out)), (number, 3), "{error:?} of {command}");

            if flags != DF && command != BLOCK_STATUS {
                let (mut session, mut out, ticket) = asked(&open_simple(), &request);
                session.reply(ticket, Err(error), &mut out);
                assert_eq!(sent(out), simple(3, number), "{error:?} of {command}");
            }
        }
    }
}

#[test]
fn a_simple_read_is_one_header_and_all_bytes_holes_included() {
    for extents in [vec![data(700)], vec![data(100), hole(500), data(100)], vec![hole(700)]] {
        let (_, bytes_stored) = stored(&extents, 700);
        assert_eq!(read(&open_simple(), 0, &extents), bytes(&[&simple(3, 0), &bytes_stored]));
    }
}

#[test]
fn a_structured_read_without_holes_is_one_chunk() {
    let (_, bytes_stored) = stored(&[], 700);
    let expected = data_chunk(1, 3, 512, &bytes_stored);
    assert_eq!(read(&open_structured(), 0, &[data(700)]), expected);
    // Also cut up, also with empty extents, also said by no extents at all.
    let cut = [hole(0), data(100), hole(0), hole(0), data(600), data(0), hole(0)];
    assert_eq!(read(&open_structured(), 0, &cut), expected);
    let (mut session, mut out, ticket) = asked(&open_structured(), &request(READ, 0, 3, 512, 700));
    session.reply_read(ticket, ReadData { buffer: stored(&[], 700).0, start: 100, extents: &[] }, &mut out);
    assert_eq!(sent(out), expected);
}

#[test]
fn holes_are_chunks_of_their_own_and_the_last_chunk_says_so() {
    let extents = [data(100), hole(300), hole(200), data(100)];
    let (_, found) = stored(&extents, 700);
    let expected = bytes(&[
        &data_chunk(0, 3, 512, &found[..100]),
        &hole_chunk(0, 3, 612, 500),
        &data_chunk(1, 3, 1112, &found[600..]),
    ]);
    assert_eq!(read(&open_structured(), 0, &extents), expected);

    let extents = [hole(300), data(100), hole(300)];
    let (_, found) = stored(&extents, 700);
    let expected =
        bytes(&[&hole_chunk(0, 3, 512, 300), &data_chunk(0, 3, 812, &found[300..400]), &hole_chunk(1, 3, 912, 300)]);
    assert_eq!(read(&open_structured(), 0, &extents), expected);

    assert_eq!(read(&open_structured(), 0, &[hole(700)]), hole_chunk(1, 3, 512, 700));
}

#[test]
fn df_gets_one_chunk_of_bytes_or_of_hole() {
    for extents in [vec![data(700)], vec![data(100), hole(600)], vec![hole(699), data(1)]] {
        let (_, found) = stored(&extents, 700);
        assert_eq!(read(&open_structured(), DF, &extents), data_chunk(1, 3, 512, &found));
    }
    assert_eq!(read(&open_structured(), DF, &[hole(300), hole(400)]), hole_chunk(1, 3, 512, 700));
}

#[test]
fn holes_are_looked_at_only_where_they_travel_as_bytes() {
    for (open, flags, sends_holes) in
        [(open_simple(), 0, false), (open_structured(), DF, false), (open_structured(), 0, true)]
    {
        let (session, _, ticket) = asked(&open, &request(READ, flags, 3, 512, 700));
        assert_eq!(session.sends_holes(ticket), sends_holes);
    }
    // All hole: no memory needed at all.
    let (mut session, mut out, ticket) = asked(&open_structured(), &request(READ, 0, 3, 512, 700));
    let found = ReadData { buffer: Pages::default(), start: 0, extents: &[hole(700)] };
    session.reply_read(ticket, found, &mut out);
    assert_eq!(sent(out), hole_chunk(1, 3, 512, 700));
}

#[test]
fn block_status_tells_holes_from_data_and_joins_neighbours() {
    let extents = [data(100), data(100), hole(0), data(100), hole(300), hole(100)];
    assert_eq!(status(0, 700, &extents), status_chunk(3, &[(300, 0), (400, 3)]));
    assert_eq!(status(REQ_ONE, 700, &extents), status_chunk(3, &[(300, 0)]));
    assert_eq!(status(0, u32::MAX, &[hole(u32::MAX)]), status_chunk(3, &[(u32::MAX, 3)]));
    assert_eq!(status(0, 1, &[data(0), data(1)]), status_chunk(3, &[(1, 0)]));
}

#[test]
fn block_status_is_cut_at_its_limit() {
    let extents = [data(4096), hole(4096)].repeat(STATUS_EXTENTS_MAX);
    let answer = status(0, u32::MAX, &extents);
    assert_eq!(answer, status_chunk(3, &[(4096, 0), (4096, 3)].repeat(STATUS_EXTENTS_MAX / 2)));
    assert!(answer.len() <= LARGE_PAYLOAD_BYTES + 24);
}

#[test]
fn answers_on_a_closed_session_go_nowhere_but_buffers_come_back() {
    let (mut session, mut out, ticket) = asked(&open_structured(), &request(READ, 0, 3, 512, 700));
    let bye = request(DISC, 0, 0, 0, 0);
    let step = session.advance(&bye, &Exports::default(), &mut out);
    assert!(matches!(step, Step::Closed { .. }));
    session.reply(ticket, Err(Error::Media), &mut out);
    session.reply_status(ticket, &[], &mut out);
    session.skip_payload(5);
    assert!(!session.sends_holes(ticket));
    session.reply_read(ticket, ReadData { buffer: stored(&[], 700).0, start: 100, extents: &[] }, &mut out);
    assert!(out.is_empty());
    assert_eq!(out.clear().count(), 1);
    assert!(matches!(session.advance(&[], &Exports::default(), &mut out), Step::Closed { .. }));
}

#[test]
fn answers_may_come_in_any_order() {
    let mut server = Server::new(exports(), Service::Works(vec![]));
    server.receive(&open_simple());
    server.take_sent();
    let exports = exports();
    let (session, out) = server.session();
    let mut tickets = Vec::new();
    for cookie in 0..3 {
        let stream = request(READ, 0, cookie, 0, 512);
        let Step::Request { ticket, .. } = session.advance(&stream, &exports, out) else { panic!("no request") };
        tickets.push(ticket);
    }
    for ticket in tickets.into_iter().rev() {
        session.reply(ticket, Err(Error::Media), out);
    }
    server.send();
    assert_eq!(server.sent, bytes(&[&simple(2, EIO), &simple(1, EIO), &simple(0, EIO)]));
}
