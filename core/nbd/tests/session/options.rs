use nbd::{CloseReason, META_QUERIES_MAX, NEGOTIATION_BYTES_MAX, OPTION_BYTES_MAX, OPTIONS_MAX};

use crate::client::{
    ABORT, ACK, BLOCK_STATUS, ERR_INVALID, ERR_POLICY, ERR_TOO_BIG, ERR_UNKNOWN, ERR_UNSUP, EXPORT_NAME,
    EXTENDED_HEADERS, FIXED, GO, INFO, LIST, LIST_META, NO_ZEROES, REP_INFO, REP_META, REP_SERVER, SET_META, STARTTLS,
    STRUCTURED_REPLY, bytes, flags, go, info_data, length, meta_data, option, option_header, option_replies, request,
    set_meta, status_chunk,
};
use crate::server::{Event, Server, Service, exports};

/// Number and reply type of each answer to `stream`, sent by a client that speaks fixed newstyle.
fn answers(stream: &[u8]) -> Vec<(u32, u32)> {
    let server = Server::after(&bytes(&[&flags(FIXED), stream]));
    assert_eq!(server.closed(), None);
    option_replies(&server.sent).into_iter().map(|(option, kind, _)| (option, kind)).collect()
}

fn structured(stream: &[u8]) -> Vec<u8> {
    bytes(&[&option(STRUCTURED_REPLY, &[]), stream])
}

/// Whether block status works after this negotiation, which ends in an open.
fn status_works(negotiation: &[u8]) -> bool {
    let stream = bytes(&[&flags(FIXED | NO_ZEROES), negotiation, &request(BLOCK_STATUS, 0, 1, 0, 512)]);
    let server = Server::after(&stream);
    assert_eq!(server.closed(), None);
    assert!(server.events.iter().any(|event| matches!(event, Event::Opened(_))));
    server.sent.ends_with(&status_chunk(1, &[(512, 0)]))
}

#[test]
fn options_nobody_serves_are_unsupported_and_the_stream_goes_on() {
    for number in [0, 4, STARTTLS, EXTENDED_HEADERS, 12, u32::MAX] {
        for data in [0, 1, 100, OPTION_BYTES_MAX + 1] {
            let stream = bytes(&[&option(number, &vec![0; data]), &option(STRUCTURED_REPLY, &[])]);
            assert_eq!(answers(&stream), [(number, ERR_UNSUP), (STRUCTURED_REPLY, ACK)]);
        }
    }
}

#[test]
fn abort_is_acknowledged_whatever_it_carries() {
    for data in [option(ABORT, &[]), option(ABORT, b"bye"), option_header(ABORT, 1000)] {
        let server = Server::after(&bytes(&[&flags(FIXED), &data]));
        assert_eq!(server.closed(), Some(CloseReason::Aborted));
        assert_eq!(option_replies(&server.sent), [(ABORT, ACK, vec![])]);
    }
}

#[test]
fn list_names_every_export_in_order() {
    let server = Server::after(&bytes(&[&flags(FIXED), &option(LIST, &[])]));
    let entry = |name: &str, description: &[u8]| bytes(&[&length(name.as_bytes()), name.as_bytes(), description]);
    let expected =
        [(LIST, REP_SERVER, entry("disk", b"")), (LIST, REP_SERVER, entry("media", b"read me")), (LIST, ACK, vec![])];
    assert_eq!(option_replies(&server.sent), expected);
}

#[test]
fn list_is_refused_where_it_is_not_allowed() {
    let mut server = Server::new(exports(), Service::Works(vec![]));
    server.exports().set_list_allowed(false);
    server.receive(&bytes(&[&flags(FIXED), &option(LIST, &[])]));
    let replies = option_replies(&server.sent);
    assert_eq!((replies.len(), replies[0].1), (1, ERR_POLICY));
}

#[test]
fn lists_stay_within_the_budget_of_a_negotiation() {
    let mut server = Server::new(exports(), Service::Works(vec![]));
    let mut export = server.exports().get("disk").unwrap().clone();
    export.description = "d".repeat(4096);
    for index in 0..500 {
        server.exports().insert(format!("{index:04000}"), export.clone()).unwrap();
    }
    server.receive(&bytes(&[&flags(FIXED), &option(LIST, &[]).repeat(3), &go("disk")]));
    assert!(server.sent.len() < NEGOTIATION_BYTES_MAX + 1000);
    let kinds: Vec<u32> = option_replies(&server.sent).iter().map(|reply| reply.1).collect();
    // Once it fits, then no more; and the session goes on.
    assert_eq!(kinds.iter().filter(|kind| **kind == REP_SERVER).count(), 502);
    assert_eq!(kinds[502..], [ACK, ERR_TOO_BIG, ERR_TOO_BIG, REP_INFO, ACK]);
    assert_eq!(server.events, [Event::Opened(7)]);
}

#[test]
fn data_where_there_should_be_none_is_invalid() {
    for number in [LIST, STRUCTURED_REPLY] {
        let stream = bytes(&[&option(number, b"x"), &option(99, &[])]);
        assert_eq!(answers(&stream), [(number, ERR_INVALID), (99, ERR_UNSUP)]);
    }
    // What was refused is not in force.
    let stream = bytes(&[&option(STRUCTURED_REPLY, b"x"), &set_meta("disk", &["base:allocation"])]);
    assert_eq!(answers(&stream), [(STRUCTURED_REPLY, ERR_INVALID), (SET_META, ERR_INVALID)]);
}

#[test]
fn info_answers_what_was_asked_for_and_go_then_opens() {
    let export = bytes(&[&[0, 0], &(1_u64 << 30).to_be_bytes(), &0b101_0000_1111_u16.to_be_bytes()]);
    let block_size = bytes(&[&[0, 3], &1_u32.to_be_bytes(), &4096_u32.to_be_bytes(), &(32_u32 << 20).to_be_bytes()]);
    let expected = |number| {
        [
            (number, REP_INFO, export.clone()),
            (number, REP_INFO, b"\x00\x01media".to_vec()),
            (number, REP_INFO, b"\x00\x02read me".to_vec()),
            (number, REP_INFO, block_size.clone()),
            (number, ACK, vec![]),
        ]
    };
    // By the default's name; with unknown and repeated items.
    let data = info_data("", &[3, 2, 1, 0, 77, 3, 3, 1, 2]);
    let mut server = Server::after(&bytes(&[&flags(FIXED), &option(INFO, &data)]));
    assert_eq!(option_replies(&server.take_sent()), expected(INFO));
    assert_eq!(server.events, []);
    server.receive(&option(GO, &data));
    assert_eq!(option_replies(&server.take_sent()), expected(GO));
    assert_eq!(server.events, [Event::Opened(8)]);
}

#[test]
fn go_without_wishes_answers_the_export_alone_and_an_empty_description_is_none() {
    assert_eq!(answers(&go("disk")), [(GO, REP_INFO), (GO, ACK)]);
    assert_eq!(answers(&option(INFO, &info_data("disk", &[2]))), [(INFO, REP_INFO), (INFO, ACK)]);
}

#[test]
fn go_after_export_is_gone_fails_and_another_go_works() {
    let stream = bytes(&[&go("gone"), &option(INFO, &info_data("gone", &[1, 2, 3])), &go("disk")]);
    assert_eq!(answers(&stream), [(GO, ERR_UNKNOWN), (INFO, ERR_UNKNOWN), (GO, REP_INFO), (GO, ACK)]);
}

#[test]
fn malformed_info_is_invalid() {
    let good = info_data("disk", &[0, 3]);
    let mut cases: Vec<Vec<u8>> = (0..good.len()).map(|end| good[..end].to_vec()).collect();
    cases.push(bytes(&[&good, b"x"])); // More than it says.
    cases.push(bytes(&[&u32::MAX.to_be_bytes(), b"disk\0\0"])); // A name longer than all.
    cases.push(info_data("di\0sk", &[]));
    cases.push(info_data(&"a".repeat(4097), &[]));
    cases.push(bytes(&[&length(b"\xff"), b"\xff\0\0"])); // No UTF-8.
    cases.push(bytes(&[&length(b"disk"), b"disk", &u16::MAX.to_be_bytes()])); // Too few items.
    for data in cases {
        for number in [INFO, GO] {
            assert_eq!(answers(&option(number, &data)), [(number, ERR_INVALID)], "{data:x?}");
        }
    }
    assert_eq!(answers(&go(&"a".repeat(4096))), [(GO, ERR_UNKNOWN)]);
}

#[test]
fn malformed_context_queries_are_invalid() {
    let good = meta_data("disk", &["base:allocation", "x-y:z"]);
    let mut cases: Vec<Vec<u8>> = (0..good.len()).map(|end| good[..end].to_vec()).collect();
    cases.push(bytes(&[&good, b"x"]));
    cases.push(meta_data("disk", &["base"])); // No namespace.
    cases.push(meta_data("disk", &[":allocation"]));
    cases.push(meta_data("disk", &[""]));
    cases.push(meta_data("disk", &["base:\0"]));
    cases.push(meta_data("disk", &[&format!("x:{}", "a".repeat(4095))]));
    cases.push(meta_data("di\0sk", &[]));
    for data in cases {
        for number in [LIST_META, SET_META] {
            let stream = structured(&option(number, &data));
            assert_eq!(answers(&stream)[1..], [(number, ERR_INVALID)], "{data:x?}");
        }
    }
}

#[test]
fn contexts_need_structured_replies_first() {
    for number in [LIST_META, SET_META] {
        let stream = option(number, &meta_data("disk", &["base:allocation"]));
        assert_eq!(answers(&stream), [(number, ERR_INVALID)]);
    }
}

#[test]
fn contexts_are_listed_by_wildcard_and_selected_by_name() {
    let listed = bytes(&[&0_u32.to_be_bytes(), b"base:allocation"]);
    let selected = bytes(&[&1_u32.to_be_bytes(), b"base:allocation"]);
    let cases: [(&[&str], bool, bool); 6] = [
        (&[], true, false),
        (&["base:"], true, false),
        (&["base:allocation"], true, true),
        (&["x-other:thing", "base:allocation", "base:allocation", "base:"], true, true),
        (&["base:other", "qemu:dirty-bitmap:a"], false, false),
        (&["x-other:base:allocation"], false, false),
    ];
    for (queries, lists, selects) in cases {
        for (number, context, found) in [(LIST_META, &listed, lists), (SET_META, &selected, selects)] {
            let stream = structured(&option(number, &meta_data("disk", queries)));
            let replies = option_replies(&Server::after(&bytes(&[&flags(FIXED), &stream])).sent);
            let mut expected = vec![(number, ACK, vec![])];
            if found {
                expected.insert(0, (number, REP_META, context.clone()));
            }
            assert_eq!(replies[1..], expected, "{number} {queries:?}");
        }
    }
}

#[test]
fn contexts_of_an_unknown_export_are_unknown() {
    for number in [LIST_META, SET_META] {
        let stream = structured(&option(number, &meta_data("other", &["base:allocation"])));
        assert_eq!(answers(&stream)[1..], [(number, ERR_UNKNOWN)]);
    }
}

#[test]
fn too_many_queries_are_too_big() {
    for (count, kind) in [(META_QUERIES_MAX, ACK), (META_QUERIES_MAX + 1, ERR_TOO_BIG)] {
        let data = meta_data("disk", &vec!["x:y"; count as usize]);
        assert_eq!(answers(&structured(&option(LIST_META, &data)))[1..], [(LIST_META, kind)]);
    }
    let data = bytes(&[&length(b"disk"), b"disk", &u32::MAX.to_be_bytes()]);
    assert_eq!(answers(&structured(&option(SET_META, &data)))[1..], [(SET_META, ERR_TOO_BIG)]);
}

#[test]
fn block_status_needs_a_context_of_the_same_export() {
    let set = |name| set_meta(name, &["base:allocation"]);
    assert!(status_works(&structured(&bytes(&[&set("disk"), &go("disk")]))));
    assert!(status_works(&structured(&bytes(&[&set("disk"), &option(EXPORT_NAME, b"disk")]))));
    // A look elsewhere, a failed GO and a second STRUCTURED_REPLY change nothing.
    let look = option(INFO, &info_data("media", &[]));
    assert!(status_works(&structured(&bytes(&[&set("disk"), &look, &go("gone"), &go("disk")]))));
    assert!(status_works(&structured(&bytes(&[&set("disk"), &option(STRUCTURED_REPLY, &[]), &go("disk")]))));

    assert!(!status_works(&go("disk")));
    assert!(!status_works(&structured(&go("disk"))));
    assert!(!status_works(&structured(&bytes(&[&set("media"), &go("disk")]))));
    // The same volume by another name.
    assert!(!status_works(&structured(&bytes(&[&set("media"), &go("")]))));
    assert!(!status_works(&structured(&bytes(&[&set("disk"), &option(EXPORT_NAME, b"media")]))));
}

#[test]
fn the_last_selection_counts_even_when_it_fails() {
    let set = |name, queries| set_meta(name, queries);
    let first = set("disk", &["base:allocation"]);
    let too_long = option(SET_META, &vec![0; OPTION_BYTES_MAX + 1]);
    let last = [
        set("disk", &[]),
        set("disk", &["base:"]),
        set("disk", &["base"]),
        set("gone", &["base:allocation"]),
        set("media", &["base:allocation"]),
        option(SET_META, b""),
        too_long,
    ];
    for last in last {
        assert!(!status_works(&structured(&bytes(&[&first, &last, &go("disk")]))));
        assert!(status_works(&structured(&bytes(&[&last, &first, &go("disk")]))));
    }
}

#[test]
fn an_option_that_is_too_long_is_refused_and_skipped() {
    for number in [INFO, GO, LIST_META, SET_META] {
        let stream = structured(&bytes(&[&option(number, &vec![0; OPTION_BYTES_MAX + 1]), &go("disk")]));
        assert_eq!(answers(&stream)[1..], [(number, ERR_TOO_BIG), (GO, REP_INFO), (GO, ACK)]);
        // One byte less is read.
        let stream = structured(&option(number, &vec![0xff; OPTION_BYTES_MAX]));
        assert_eq!(answers(&stream)[1..], [(number, ERR_INVALID)]);
    }
}

#[test]
fn an_option_longer_than_a_negotiation_may_be_closes() {
    let budget = u32::try_from(NEGOTIATION_BYTES_MAX).unwrap();
    for number in [99, INFO, LIST, ABORT] {
        for data_bytes in [budget, u32::MAX] {
            let server = Server::after(&bytes(&[&flags(FIXED), &option_header(number, data_bytes)]));
            assert_eq!(server.closed(), Some(CloseReason::NegotiationTooLong));
        }
    }
    let server = Server::after(&bytes(&[&flags(FIXED), &option_header(99, budget - 16)]));
    assert_eq!(server.closed(), None);
}

#[test]
fn a_negotiation_ends_after_so_many_options() {
    let allowed = option(99, &[]).repeat(OPTIONS_MAX as usize - 1);
    let server = Server::after(&bytes(&[&flags(FIXED), &allowed, &go("disk")]));
    assert_eq!(server.events, [Event::Opened(7)]);

    let server = Server::after(&bytes(&[&flags(FIXED), &allowed, &option(99, &[]), &go("disk")]));
    assert_eq!(server.closed(), Some(CloseReason::TooManyOptions));
    assert_eq!(option_replies(&server.sent).len(), OPTIONS_MAX as usize);
}

#[test]
fn nothing_a_client_says_is_said_back() {
    let word = "xyzzyxyzzy";
    let stream = structured(&bytes(&[
        &option(99, word.as_bytes()),
        &option(LIST, word.as_bytes()),
        &option(INFO, &info_data(word, &[])),
        &go(word),
        &set_meta(word, &["base:allocation"]),
        &set_meta("disk", &[word, "base:allocation"]),
        &set_meta("disk", &["xyzzyxyzzy:a", "base:allocation"]),
    ]));
    let server = Server::after(&bytes(&[&flags(FIXED), &stream]));
    assert_eq!(server.closed(), None);
    assert!(!server.sent.windows(5).any(|window| window == b"xyzzy"));
    for (_, kind, text) in option_replies(&server.sent) {
        assert!(kind & (1 << 31) == 0 || (!text.is_empty() && str::from_utf8(&text).is_ok()));
    }
}
