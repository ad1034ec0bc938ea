use nbd::{CloseReason, Export, ExportFault, Exports, Step};

use crate::client::{
    ABORT, DISK_FLAGS, EXPORT_NAME, FIXED, FLUSH, GO, LIST, NO_ZEROES, READ, SEND_DF, STRUCTURED_REPLY, bytes, flags,
    go, info_data, open_simple, option, option_header, request,
};
use crate::server::{Event, Server};

#[test]
fn unknown_client_flags_close_the_connection() {
    for unknown in [4, 1 << 16, u32::MAX] {
        let server = Server::after(&flags(unknown));
        assert_eq!(server.closed(), Some(CloseReason::UnknownClientFlags { flags: unknown }));
        assert!(server.sent.is_empty());
    }
}

#[test]
fn a_closed_session_stays_closed() {
    let mut server = Server::after(&flags(4));
    let (session, out) = server.session();
    for input in [b"".as_slice(), &go("disk")] {
        let step = session.advance(input, &Exports::default(), out);
        assert!(matches!(step, Step::Closed { reason: CloseReason::UnknownClientFlags { flags: 4 } }));
    }
}

#[test]
fn export_name_opens_with_zeroes_unless_they_were_declined() {
    let size = (1_u64 << 30).to_be_bytes();
    for (client_flags, zeroes) in [(FIXED, 124), (FIXED | NO_ZEROES, 0), (0, 124), (NO_ZEROES, 0)] {
        let server = Server::after(&bytes(&[&flags(client_flags), &option(EXPORT_NAME, b"disk")]));
        assert_eq!(server.events, [Event::Opened(7)]);
        assert_eq!(server.sent, bytes(&[&size, &DISK_FLAGS.to_be_bytes(), &vec![0; zeroes]]));
    }
}

#[test]
fn the_empty_name_is_the_default_export() {
    let open = bytes(&[&flags(FIXED | NO_ZEROES), &option(EXPORT_NAME, b"")]);
    assert_eq!(Server::after(&open).events, [Event::Opened(8)]);
    assert_eq!(Server::after(&bytes(&[&flags(FIXED), &go("")])).events, [Event::Opened(8)]);

    let mut server = Server::new(crate::server::exports(), crate::server::Service::Works(vec![]));
    server.exports().set_default(None);
    server.receive(&open);
    assert_eq!(server.closed(), Some(CloseReason::NoSuchExport));
}

#[test]
fn export_name_closes_where_it_cannot_say_no() {
    let long = vec![b'a'; 4097];
    let cases: [(&[u8], CloseReason); 4] = [
        (b"other", CloseReason::NoSuchExport),
        (b"di\0sk", CloseReason::BadExportName),
        (b"\xff", CloseReason::BadExportName),
        (&long, CloseReason::BadExportName),
    ];
    for (name, reason) in cases {
        let server = Server::after(&bytes(&[&flags(FIXED), &option(EXPORT_NAME, name)]));
        assert_eq!(server.closed(), Some(reason));
        assert!(server.sent.is_empty());
    }
    // A name of 4 GiB is not waited for.
    let server = Server::after(&bytes(&[&flags(FIXED), &option_header(EXPORT_NAME, u32::MAX)]));
    assert_eq!(server.closed(), Some(CloseReason::NegotiationTooLong));
}

#[test]
fn a_client_without_fixed_newstyle_may_only_name_an_export() {
    for (number, data) in [(LIST, vec![]), (GO, info_data("disk", &[])), (ABORT, vec![]), (99, vec![])] {
        let server = Server::after(&bytes(&[&flags(0), &option(number, &data)]));
        assert_eq!(server.closed(), Some(CloseReason::NotFixedNewstyle));
        assert!(server.sent.is_empty());
    }
}

#[test]
fn a_bad_magic_closes_in_either_phase() {
    for at in 0..8 {
        let mut bad = go("disk");
        bad[at] ^= 1;
        let server = Server::after(&bytes(&[&flags(FIXED), &bad]));
        assert_eq!(server.closed(), Some(CloseReason::BadOptionMagic));
        assert!(server.sent.is_empty());
    }
    for at in 0..4 {
        let mut bad = request(FLUSH, 0, 1, 0, 0);
        bad[at] ^= 1;
        let mut server = Server::after(&open_simple());
        server.take_sent();
        server.receive(&bad);
        assert_eq!(server.closed(), Some(CloseReason::BadRequestMagic));
        assert!(server.sent.is_empty());
    }
}

#[test]
fn an_option_is_no_request_and_a_request_is_no_option() {
    let server = Server::after(&bytes(&[&open_simple(), &go("disk"), &go("disk")]));
    assert_eq!(server.closed(), Some(CloseReason::BadRequestMagic));
    let server = Server::after(&bytes(&[&flags(FIXED), &request(READ, 0, 1, 0, 4096)]));
    assert_eq!(server.closed(), Some(CloseReason::BadOptionMagic));
}

#[test]
fn the_transmission_flags_tell_what_the_export_can_do() {
    let flags_of = |stream: &[u8]| {
        let sent = Server::after(&bytes(&[&flags(FIXED | NO_ZEROES), stream])).sent;
        u16::from_be_bytes(sent[sent.len() - 2..].try_into().unwrap())
    };
    assert_eq!(flags_of(&option(EXPORT_NAME, b"disk")), DISK_FLAGS);
    let structured = bytes(&[&option(STRUCTURED_REPLY, &[]), &option(EXPORT_NAME, b"disk")]);
    assert_eq!(flags_of(&structured), DISK_FLAGS | SEND_DF);
    // Has flags, read-only, flush, FUA, multi-conn, cache.
    assert_eq!(flags_of(&option(EXPORT_NAME, b"media")), 0b101_0000_1111);
}

#[test]
fn an_export_that_the_protocol_cannot_carry_is_refused() {
    let export = Export { handle: 1, size_bytes: 0, read_only: false, multi_conn: false, description: String::new() };
    let described = |description: String| Export { description, ..export.clone() };
    let mut exports = Exports::default();
    assert_eq!(exports.insert(String::new(), export.clone()), Err(ExportFault::NameEmpty));
    assert_eq!(exports.insert("a".repeat(4097), export.clone()), Err(ExportFault::NameTooLong));
    assert_eq!(exports.insert("a\0".into(), export.clone()), Err(ExportFault::NameHasNul));
    assert_eq!(exports.insert("a".into(), described("\0".into())), Err(ExportFault::DescriptionInvalid));
    assert_eq!(exports.insert("a".into(), described("d".repeat(4097))), Err(ExportFault::DescriptionInvalid));
    assert_eq!(exports.insert("a".repeat(4096), described("d".repeat(4096))), Ok(None));
    assert_eq!(exports.insert("a".repeat(4096), export.clone()), Ok(Some(described("d".repeat(4096)))));
    assert_eq!(exports.get(&"a".repeat(4096)), Some(&export));
    assert_eq!(exports.remove(&"a".repeat(4096)), Some(export));
    assert_eq!(exports.get(&"a".repeat(4096)), None);
}
