//! Answers to requests.

use std::fmt;

use block::{Error, Outbox, Pages};
use zerocopy::IntoBytes;

use crate::ticket::{Command, Ticket};
use crate::transmission::ReplyStyle;
use crate::{STATUS_EXTENTS_MAX, wire};

/// Consecutive bytes that are all in a hole or all not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extent {
    /// How many.
    pub len_bytes: u32,
    /// Nothing is stored here; it reads as zeroes.
    pub hole: bool,
}

/// What a read found.
#[derive(Debug)]
pub struct ReadData<'a> {
    /// Holds the bytes, from the first requested one on, without gaps. Where there is a hole it must hold zeroes,
    /// unless [`crate::Session::sends_holes`].
    pub buffer: Pages,
    /// Offset of the first requested byte in `buffer`.
    pub start: usize,
    /// Cover exactly the requested bytes; an empty slice says that there is no hole.
    pub extents: &'a [Extent],
}

/// Why a request is refused before anyone looks at the volume.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error("unknown command")]
    UnknownCommand,
    #[error("unknown flags, or not for this command")]
    UnknownFlags,
    #[error("the length is zero")]
    ZeroLength,
    #[error("a flush has no offset and no length")]
    FlushHasRange,
    #[error("the length is above the advertised maximum")]
    PayloadTooLong { unfragmented: bool },
    #[error("no metadata context was negotiated for this export")]
    NoContext,
}

impl Fault {
    pub(crate) fn code(self) -> u32 {
        match self {
            Self::UnknownCommand | Self::UnknownFlags | Self::ZeroLength | Self::FlushHasRange | Self::NoContext => {
                wire::EINVAL
            }
            Self::PayloadTooLong { unfragmented } => too_large(unfragmented),
        }
    }
}

/// The number for `error`. Three of them depend on the command, because the specification wants them so.
fn code(command: Command, error: Error) -> u32 {
    match error {
        Error::OutOfRange => match command {
            // As if the device were full: it has no room behind its end.
            Command::Write | Command::WriteZeroes { .. } => wire::ENOSPC,
            Command::Read { .. } | Command::Flush | Command::Trim | Command::Cache | Command::BlockStatus { .. } => {
                wire::EINVAL
            }
        },
        Error::ReadOnly => wire::EPERM,
        Error::NoSpace => wire::ENOSPC,
        Error::Media => wire::EIO,
        Error::Invalid => wire::EINVAL,
        // Only a client that asked for a fast answer understands ENOTSUP.
        Error::Unsupported if command == (Command::WriteZeroes { fast_only: true }) => wire::ENOTSUP,
        Error::Unsupported => wire::EINVAL,
        Error::TooLarge => too_large(command == Command::Read { unfragmented: true }),
        Error::ShuttingDown => wire::ESHUTDOWN,
    }
}

/// EOVERFLOW means: try again without DF.
fn too_large(unfragmented: bool) -> u32 {
    if unfragmented { wire::EOVERFLOW } else { wire::EINVAL }
}

/// Answers with a result that has no data.
pub(crate) fn push_result(style: ReplyStyle, ticket: Ticket, result: Result<(), Error>, out: &mut Outbox) {
    match result {
        Err(error) => push_error(style, ticket.cookie, code(ticket.command, error), error, out),
        Ok(()) => {
            match ticket.command {
                Command::Write | Command::Flush | Command::Trim | Command::Cache | Command::WriteZeroes { .. } => {}
                Command::Read { .. } => panic!("the success of a read is its data"),
                Command::BlockStatus { .. } => panic!("the success of a block status is its extents"),
            }
            push_simple(ticket.cookie, 0, out);
        }
    }
}

pub(crate) fn push_error(style: ReplyStyle, cookie: u64, code: u32, text: impl fmt::Display, out: &mut Outbox) {
    match style {
        ReplyStyle::Simple => push_simple(cookie, code, out),
        ReplyStyle::Structured { .. } => {
            let text = text.to_string();
            let text_bytes = u16::try_from(text.len()).expect("our texts are one sentence each");
            let payload_bytes = 6 + u32::from(text_bytes);
            let chunk = chunk(cookie, wire::CHUNK_ERROR, true, payload_bytes);
            out.push(wire::ErrorChunk { chunk, error: code.into(), text_bytes: text_bytes.into() }.as_bytes());
            out.push(text.as_bytes());
        }
    }
}

fn push_simple(cookie: u64, error: u32, out: &mut Outbox) {
    let reply =
        wire::SimpleReply { magic: wire::SIMPLE_REPLY_MAGIC.into(), error: error.into(), cookie: cookie.into() };
    out.push(reply.as_bytes());
}

/// Answers a read.
pub(crate) fn push_data(style: ReplyStyle, ticket: Ticket, data: ReadData<'_>, out: &mut Outbox) {
    let Command::Read { unfragmented } = ticket.command else {
        panic!("only a read is answered with data");
    };
    let all = [Extent { len_bytes: ticket.len_bytes, hole: false }];
    let extents = if data.extents.is_empty() { &all } else { data.extents };
    assert_eq!(covered_bytes(extents), u64::from(ticket.len_bytes), "the extents of a read cover what was asked for");
    let buffer = out.keep(data.buffer);
    match style {
        ReplyStyle::Simple => {
            push_simple(ticket.cookie, 0, out);
            out.push_payload(buffer, data.start..data.start + ticket.len_bytes as usize);
        }
        ReplyStyle::Structured { .. } => {
            // One chunk only: a hole can be one, a hole and data cannot.
            let one_piece = unfragmented && extents.iter().any(|extent| !extent.hole);
            push_chunks(ticket, buffer, data.start, if one_piece { &all } else { extents }, out);
        }
    }
}

fn push_chunks(ticket: Ticket, buffer: usize, mut start: usize, extents: &[Extent], out: &mut Outbox) {
    let mut offset = ticket.offset;
    let mut runs = Runs(extents).peekable();
    while let Some(run) = runs.next() {
        let done = runs.peek().is_none();
        let end = start + run.len_bytes as usize;
        if run.hole {
            let chunk = chunk(ticket.cookie, wire::CHUNK_OFFSET_HOLE, done, 12);
            let hole = wire::HoleChunk { chunk, offset: offset.into(), len_bytes: run.len_bytes.into() };
            out.push(hole.as_bytes());
        } else {
            let chunk = chunk(ticket.cookie, wire::CHUNK_OFFSET_DATA, done, 8 + run.len_bytes);
            out.push(wire::DataChunk { chunk, offset: offset.into() }.as_bytes());
            out.push_payload(buffer, start..end);
        }
        offset += u64::from(run.len_bytes);
        start = end;
    }
}

/// Answers a block status with as many extents as it may.
pub(crate) fn push_status(ticket: Ticket, extents: &[Extent], out: &mut Outbox) {
    let Command::BlockStatus { first_only } = ticket.command else {
        panic!("only a block status is answered with extents alone");
    };
    let covered_bytes = covered_bytes(extents);
    assert!(covered_bytes > 0, "a block status tells of at least one byte, so that the client gets on");
    assert!(covered_bytes <= u64::from(ticket.len_bytes), "a block status tells of no more than was asked for");
    let runs = Runs(extents).take(if first_only { 1 } else { STATUS_EXTENTS_MAX });
    let count = u32::try_from(runs.clone().count()).expect("no more than STATUS_EXTENTS_MAX are taken");
    let chunk = chunk(ticket.cookie, wire::CHUNK_BLOCK_STATUS, true, 4 + 8 * count);
    out.push(wire::StatusChunk { chunk, context: wire::ALLOCATION_CONTEXT_ID.into() }.as_bytes());
    for run in runs {
        let state = if run.hole { wire::STATE_HOLE_ZERO } else { wire::STATE_DATA };
        out.push(wire::StatusExtent { len_bytes: run.len_bytes.into(), state: state.into() }.as_bytes());
    }
}

fn chunk(cookie: u64, kind: u16, done: bool, payload_bytes: u32) -> wire::Chunk {
    wire::Chunk {
        magic: wire::CHUNK_MAGIC.into(),
        flags: if done { wire::CHUNK_FLAG_DONE } else { 0 }.into(),
        kind: kind.into(),
        cookie: cookie.into(),
        payload_bytes: payload_bytes.into(),
    }
}

fn covered_bytes(extents: &[Extent]) -> u64 {
    extents.iter().map(|extent| u64::from(extent.len_bytes)).sum()
}

/// The extents with neighbours of one kind made one, and without empty ones. Their sum fits 32 bits.
#[derive(Clone)]
struct Runs<'a>(&'a [Extent]);

impl Runs<'_> {
    /// The next extent, when it is empty or of the wanted kind.
    fn take_if(&mut self, wanted: impl FnOnce(&Extent) -> bool) -> Option<Extent> {
        let (first, rest) = self.0.split_first()?;
        (first.len_bytes == 0 || wanted(first)).then(|| {
            self.0 = rest;
            *first
        })
    }
}

impl Iterator for Runs<'_> {
    type Item = Extent;

    fn next(&mut self) -> Option<Extent> {
        let mut run = self.take_if(|_| true)?;
        while let Some(more) = self.take_if(|next| run.len_bytes == 0 || next.hole == run.hole) {
            if run.len_bytes == 0 {
                run = more;
            } else {
                run.len_bytes += more.len_bytes;
            }
        }
        (run.len_bytes > 0).then_some(run)
    }
}
