//! An NBD session: requests parsed, replies encoded.

use block::{BLOCK_BYTES, Outbox, Pages};
use criterion::{Criterion, Throughput};
use nbd::{Export, Exports, ReadData, Session, Step, Ticket};

const REQUESTS: u64 = 32;
const WRITE: u16 = 1;
const READ: u16 = 0;

/// `REQUESTS` requests of 4 KiB, as they come in one read from a socket.
fn requests(kind: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    for cookie in 0..REQUESTS {
        bytes.extend_from_slice(&0x2560_9513_u32.to_be_bytes());
        bytes.extend_from_slice(&[0, 0]);
        bytes.extend_from_slice(&kind.to_be_bytes());
        bytes.extend_from_slice(&cookie.to_be_bytes());
        bytes.extend_from_slice(&(cookie * BLOCK_BYTES as u64).to_be_bytes());
        bytes.extend_from_slice(&4096_u32.to_be_bytes());
        if kind == WRITE {
            bytes.extend_from_slice(&[7; BLOCK_BYTES]);
        }
    }
    bytes
}

/// A session past its handshake, with structured replies.
fn open() -> (Session, Exports) {
    let mut exports = Exports::new(true);
    let export =
        Export { handle: 1, size_bytes: 1 << 30, read_only: false, multi_conn: false, description: String::new() };
    exports.insert("v".to_owned(), export).expect("a good name");
    let mut out = Outbox::default();
    let mut session = Session::new(&mut out);
    let mut bytes = 3_u32.to_be_bytes().to_vec();
    let go = [&1_u32.to_be_bytes()[..], b"v", &[0, 0]].concat();
    for (option, payload) in [(8_u32, &[][..]), (7, &go)] {
        bytes.extend_from_slice(b"IHAVEOPT");
        bytes.extend_from_slice(&option.to_be_bytes());
        bytes.extend_from_slice(&u32::try_from(payload.len()).expect("short").to_be_bytes());
        bytes.extend_from_slice(payload);
    }
    let mut input = &bytes[..];
    while !session.is_open() {
        match session.advance(input, &exports, &mut out) {
            Step::Advanced { consumed } | Step::Opened { consumed, .. } => input = &input[consumed..],
            other @ (Step::Starved { .. } | Step::Request { .. } | Step::Elsewhere { .. } | Step::Closed { .. }) => {
                panic!("{other:?}")
            }
        }
    }
    (session, exports)
}

/// Parses all requests of `input` and has each answered.
fn serve(
    session: &mut Session,
    exports: &Exports,
    mut input: &[u8],
    out: &mut Outbox,
    mut answer: impl FnMut(&mut Session, Ticket, &mut Outbox),
) {
    while !input.is_empty() {
        match session.advance(input, exports, out) {
            Step::Request { consumed, ticket, .. } => {
                answer(session, ticket, out);
                input = &input[consumed..];
            }
            other @ (Step::Starved { .. }
            | Step::Advanced { .. }
            | Step::Opened { .. }
            | Step::Elsewhere { .. }
            | Step::Closed { .. }) => panic!("{other:?}"),
        }
    }
    out.seal();
}

/// Writes and reads of 4 KiB.
pub fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("nbd");
    group.throughput(Throughput::Elements(REQUESTS));
    let (mut session, exports) = open();
    let mut out = Outbox::default();
    let writes = requests(WRITE);
    group.bench_function("write_4k", |bencher| {
        bencher.iter(|| {
            serve(&mut session, &exports, &writes, &mut out, |session, ticket, out| session.reply(ticket, Ok(()), out));
            out.clear().count()
        });
    });
    let reads = requests(READ);
    let mut buffers: Vec<Pages> = (0..REQUESTS).map(|_| Pages::zeroed(1)).collect();
    group.bench_function("read_4k", |bencher| {
        bencher.iter(|| {
            serve(&mut session, &exports, &reads, &mut out, |session, ticket, out| {
                let buffer = buffers.pop().expect("one for each request");
                session.reply_read(ticket, ReadData { buffer, start: 0, extents: &[] }, out);
            });
            buffers.extend(out.clear());
        });
    });
    group.finish();
}
