//! Single requests and replies, as a client has them.

use block::{Error, Request};

use crate::wire;

/// Length of a request; the payload of a write follows.
pub const REQUEST_BYTES: usize = size_of::<wire::Request>();
/// Length of a reply; the data of a read that succeeded follows.
pub const REPLY_BYTES: usize = size_of::<wire::SimpleReply>();

/// A server's answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RemoteReply {
    /// Whose it is.
    pub cookie: u64,
    /// How it went.
    pub result: Result<(), Error>,
}

/// The stream cannot be followed any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a reply begins with {magic:#x}; the connection is to be ended")]
pub struct ReplyFault {
    /// What was found.
    pub magic: u32,
}

/// The bytes of a request, named by `cookie`; `None` for a block status, which has no simple reply.
#[must_use]
pub fn encode_request(request: &Request, cookie: u64) -> Option<[u8; REQUEST_BYTES]> {
    let fua = |set: bool| if set { wire::CMD_FLAG_FUA } else { 0 };
    let (command, flags) = match *request {
        Request::Read { .. } => (wire::CMD_READ, 0),
        Request::Write { fua: set, .. } => (wire::CMD_WRITE, fua(set)),
        Request::Flush => (wire::CMD_FLUSH, 0),
        Request::Discard { fua: set, .. } => (wire::CMD_TRIM, fua(set)),
        Request::WriteZeroes { fua: set, fast_only, keep_allocated, .. } => {
            let fast = if fast_only { wire::CMD_FLAG_FAST_ZERO } else { 0 };
            let keep = if keep_allocated { wire::CMD_FLAG_NO_HOLE } else { 0 };
            (wire::CMD_WRITE_ZEROES, fua(set) | fast | keep)
        }
        Request::Cache { .. } => (wire::CMD_CACHE, 0),
        Request::BlockStatus { .. } => return None,
    };
    let (offset, len_bytes) = request.range().map_or((0, 0), |range| (range.offset, range.len_bytes));
    let raw = wire::Request {
        magic: wire::REQUEST_MAGIC.into(),
        flags: flags.into(),
        command: command.into(),
        cookie: cookie.into(),
        offset: offset.into(),
        len_bytes: len_bytes.into(),
    };
    Some(zerocopy::transmute!(raw))
}

/// What a reply says.
///
/// # Errors
/// It is none.
pub fn parse_reply(bytes: &[u8; REPLY_BYTES]) -> Result<RemoteReply, ReplyFault> {
    let raw: &wire::SimpleReply = zerocopy::transmute_ref!(bytes);
    let magic = raw.magic.get();
    if magic != wire::SIMPLE_REPLY_MAGIC {
        return Err(ReplyFault { magic });
    }
    let result = match raw.error.get() {
        0 => Ok(()),
        wire::EPERM => Err(Error::ReadOnly),
        wire::EINVAL => Err(Error::Invalid),
        wire::ENOSPC => Err(Error::NoSpace),
        wire::EOVERFLOW => Err(Error::TooLarge),
        wire::ENOTSUP => Err(Error::Unsupported),
        wire::ESHUTDOWN => Err(Error::ShuttingDown),
        // EIO, and what no server of ours says.
        _ => Err(Error::Media),
    };
    Ok(RemoteReply { cookie: raw.cookie.get(), result })
}
