//! The second phase: requests, each checked as far as the protocol alone can tell.

use block::{ByteRange, Request};
use zerocopy::FromBytes;

use crate::reply::Fault;
use crate::ticket::{Command, Ticket};
use crate::{CloseReason, LARGE_PAYLOAD_BYTES, PAYLOAD_BYTES_MAX, SKIPPED_PAYLOAD_BYTES_MAX, wire};

/// What the two sides agreed on.
#[derive(Debug)]
pub(crate) struct Transmission {
    pub(crate) style: ReplyStyle,
    /// The last write that was handed out without all of its payload.
    pub(crate) parted: Option<Ticket>,
}

/// How requests are answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ReplyStyle {
    /// An error or a success, with all of the data in one piece.
    Simple,
    /// Chunks. Where a simple reply is allowed, success is one.
    Structured {
        /// The client selected `base:allocation` for this export.
        allocation: bool,
    },
}

/// What one look at the input led to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Turn<'a> {
    Starved {
        need_bytes: usize,
    },
    /// A request that makes no sense; `payload_bytes` of payload follow, and then the answer.
    Refused {
        consumed: usize,
        cookie: u64,
        fault: Fault,
        payload_bytes: usize,
    },
    Request {
        consumed: usize,
        ticket: Ticket,
        request: Request,
        payload: &'a [u8],
        missing_bytes: usize,
    },
    Closed(CloseReason),
}

impl Transmission {
    pub(crate) fn new(style: ReplyStyle) -> Self {
        Self { style, parted: None }
    }

    /// Takes the request at the start of `input`.
    pub(crate) fn advance<'a>(&mut self, input: &'a [u8]) -> Turn<'a> {
        let header_bytes = size_of::<wire::Request>();
        let Ok((header, rest)) = wire::Request::ref_from_prefix(input) else {
            return Turn::Starved { need_bytes: header_bytes };
        };
        if header.magic.get() != wire::REQUEST_MAGIC {
            return Turn::Closed(CloseReason::BadRequestMagic);
        }
        let payload_bytes = match header.command.get() {
            wire::CMD_DISC => return Turn::Closed(CloseReason::Disconnected),
            wire::CMD_WRITE => header.len_bytes.get(),
            _ => 0,
        };
        if payload_bytes > SKIPPED_PAYLOAD_BYTES_MAX {
            return Turn::Closed(CloseReason::PayloadTooLarge { len_bytes: payload_bytes });
        }
        let payload_bytes = payload_bytes as usize;
        let (ticket, request) = match self.accept(header) {
            Ok(accepted) => accepted,
            Err(fault) => {
                let cookie = header.cookie.get();
                return Turn::Refused { consumed: header_bytes, cookie, fault, payload_bytes };
            }
        };
        if rest.len() < payload_bytes && payload_bytes < LARGE_PAYLOAD_BYTES {
            return Turn::Starved { need_bytes: header_bytes + payload_bytes };
        }
        let payload = &rest[..payload_bytes.min(rest.len())];
        let missing_bytes = payload_bytes - payload.len();
        if missing_bytes > 0 {
            self.parted = Some(ticket);
        }
        Turn::Request { consumed: header_bytes + payload.len(), ticket, request, payload, missing_bytes }
    }

    fn accept(&self, header: &wire::Request) -> Result<(Ticket, Request), Fault> {
        let flags = header.flags.get();
        let (command, flags_allowed) = self.command(header.command.get(), flags)?;
        // Clients set FUA on commands that write nothing, and may.
        if flags & !(flags_allowed | wire::CMD_FLAG_FUA) != 0 {
            return Err(Fault::UnknownFlags);
        }
        let (offset, len_bytes) = (header.offset.get(), header.len_bytes.get());
        check_extent(command, offset, len_bytes)?;
        let range = ByteRange::new(offset, len_bytes);
        let fua = flags & wire::CMD_FLAG_FUA != 0;
        let request = match command {
            Command::Read { .. } => Request::Read { range },
            Command::Write => Request::Write { range, fua },
            Command::Flush => Request::Flush,
            Command::Trim => Request::Discard { range, fua },
            Command::Cache => Request::Cache { range },
            Command::WriteZeroes { fast_only } => {
                let keep_allocated = flags & wire::CMD_FLAG_NO_HOLE != 0;
                Request::WriteZeroes { range, fua, fast_only, keep_allocated }
            }
            Command::BlockStatus { first_only } => Request::BlockStatus { range, first_only },
        };
        Ok((Ticket { cookie: header.cookie.get(), offset, len_bytes, command }, request))
    }

    /// The command, and the flags it may have besides FUA.
    fn command(&self, command: u16, flags: u16) -> Result<(Command, u16), Fault> {
        let has = |flag: u16| flags & flag != 0;
        Ok(match command {
            wire::CMD_READ => {
                let flags_allowed = match self.style {
                    ReplyStyle::Simple => 0,
                    ReplyStyle::Structured { .. } => wire::CMD_FLAG_DF,
                };
                (Command::Read { unfragmented: has(wire::CMD_FLAG_DF) }, flags_allowed)
            }
            wire::CMD_WRITE => (Command::Write, 0),
            wire::CMD_FLUSH => (Command::Flush, 0),
            wire::CMD_TRIM => (Command::Trim, 0),
            wire::CMD_CACHE => (Command::Cache, 0),
            wire::CMD_WRITE_ZEROES => {
                let fast_only = has(wire::CMD_FLAG_FAST_ZERO);
                (Command::WriteZeroes { fast_only }, wire::CMD_FLAG_NO_HOLE | wire::CMD_FLAG_FAST_ZERO)
            }
            wire::CMD_BLOCK_STATUS => match self.style {
                ReplyStyle::Simple | ReplyStyle::Structured { allocation: false } => return Err(Fault::NoContext),
                ReplyStyle::Structured { allocation: true } => {
                    let first_only = has(wire::CMD_FLAG_REQ_ONE);
                    (Command::BlockStatus { first_only }, wire::CMD_FLAG_REQ_ONE)
                }
            },
            _ => return Err(Fault::UnknownCommand),
        })
    }
}

/// What offset and length must be, whatever the volume.
fn check_extent(command: Command, offset: u64, len_bytes: u32) -> Result<(), Fault> {
    let payload = match command {
        Command::Read { .. } | Command::Write => true,
        Command::Trim | Command::Cache | Command::WriteZeroes { .. } | Command::BlockStatus { .. } => false,
        Command::Flush if offset != 0 || len_bytes != 0 => return Err(Fault::FlushHasRange),
        Command::Flush => return Ok(()),
    };
    if len_bytes == 0 {
        Err(Fault::ZeroLength)
    } else if payload && len_bytes > PAYLOAD_BYTES_MAX {
        Err(Fault::PayloadTooLong { unfragmented: command == Command::Read { unfragmented: true } })
    } else {
        Ok(())
    }
}
