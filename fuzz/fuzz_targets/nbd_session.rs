//! A client that sends anything, in pieces of any size. Wrong is: a panic, a step that consumes nothing or more than
//! there is, a need beyond the promised limit, or answers that depend on the pieces.
#![no_main]

use block::{Error, Outbox, Pages, Request};
use libfuzzer_sys::fuzz_target;
use nbd::{Export, Exports, Extent, INPUT_BYTES_MAX, ReadData, Session, Step, Ticket};

/// Reads above this are answered with an error, to keep the fuzzer fast.
const READ_BYTES_MAX: u32 = 64 << 10;
const EXPORT_BYTES: u64 = 1 << 30;

fuzz_target!(|input: &[u8]| {
    let Some((&piece, stream)) = input.split_first() else { return };
    // A prefix that opens an export, so that the second phase is found.
    let opening: &[u8] = match piece & 3 {
        0 => b"",
        1 => b"\0\0\0\x03IHAVEOPT\0\0\0\x01\0\0\0\x04disk",
        _ => b"\0\0\0\x03IHAVEOPT\0\0\0\x08\0\0\0\0IHAVEOPT\0\0\0\x0a\0\0\0\x1f\0\0\0\x04disk\0\0\0\x01\0\0\0\x0fbase:allocationIHAVEOPT\0\0\0\x01\0\0\0\x04disk",
    };
    let stream = [opening, stream].concat();
    assert_eq!(serve(&stream, stream.len().max(1)), serve(&stream, usize::from(piece >> 2) + 1));
});

/// What is sent to a client whose bytes arrive in pieces of `piece_bytes`.
fn serve(stream: &[u8], piece_bytes: usize) -> Vec<u8> {
    let exports = exports();
    let mut out = Outbox::default();
    let mut session = Session::new(&mut out);
    let (mut start, mut end) = (0, 0);
    while end < stream.len() {
        end = (end + piece_bytes).min(stream.len());
        while start < end {
            let input = &stream[start..end];
            match session.advance(input, &exports, &mut out) {
                Step::Starved { need_bytes } => {
                    assert!(need_bytes > input.len() && need_bytes <= INPUT_BYTES_MAX);
                    break;
                }
                Step::Advanced { consumed } | Step::Opened { consumed, .. } => {
                    assert!(consumed > 0 && consumed <= input.len());
                    start += consumed;
                }
                Step::Request { consumed, ticket, request, missing_bytes, .. } => {
                    assert!(consumed > 0 && consumed <= input.len());
                    session.skip_payload(missing_bytes);
                    answer(&mut session, ticket, request, &mut out);
                    start += consumed;
                }
                Step::Elsewhere { .. } | Step::Closed { .. } => return sent(&mut out),
            }
        }
    }
    sent(&mut out)
}

fn answer(session: &mut Session, ticket: Ticket, request: Request, out: &mut Outbox) {
    match request {
        // As the node does: what passes the end is refused before anything is read.
        Request::Read { range }
            if range.len_bytes <= READ_BYTES_MAX && range.end().is_some_and(|end| end <= EXPORT_BYTES) =>
        {
            let buffer = Pages::zeroed((range.len_bytes as usize).div_ceil(block::PAGE_BYTES));
            let extents = halves(range.len_bytes);
            session.reply_read(ticket, ReadData { buffer, start: 0, extents: &extents }, out);
        }
        Request::BlockStatus { range, .. } => session.reply_status(ticket, &halves(range.len_bytes), out),
        Request::Flush | Request::Cache { .. } => session.reply(ticket, Ok(()), out),
        Request::Read { .. } | Request::Write { .. } | Request::Discard { .. } | Request::WriteZeroes { .. } => {
            session.reply(ticket, Err(Error::OutOfRange), out);
        }
    }
}

fn halves(len_bytes: u32) -> [Extent; 2] {
    let half = len_bytes / 2;
    [Extent { len_bytes: half, hole: true }, Extent { len_bytes: len_bytes - half, hole: false }]
}

fn exports() -> Exports {
    let export = Export {
        handle: 1,
        size_bytes: EXPORT_BYTES,
        read_only: false,
        multi_conn: true,
        description: "for fuzzing".into(),
    };
    let mut exports = Exports::new(true);
    exports.insert("disk".into(), export).expect("the export is well-formed");
    exports.set_default(Some("disk".into()));
    exports
}

fn sent(out: &mut Outbox) -> Vec<u8> {
    out.seal();
    let bytes = out.slices().flatten().copied().collect();
    out.clear().for_each(drop);
    bytes
}
