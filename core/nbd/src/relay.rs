//! The handshake of a relay: a client named an export that another server has, so what the client negotiated so far
//! is said again to that server, and what the server answers to it is swallowed, because the client was answered
//! already.
//!
//! ```text
//!   replay out, and then all that the client sends ─────────────────────────────>
//!   Greeting ──> Structured (if it was agreed) ──> Done: all further bytes are the client's
//!       └──────────────┴──> an error: the peer is not one of ours, or says no
//! ```
//! Promise: whatever the peer sends, this holds no more than one answer's header and never panics. Not here: sockets,
//! time (the owner bounds the wait), and everything behind the handshake, which is passed on unread.

use zerocopy::IntoBytes;

use crate::wire;

/// Longest thing the peer says that is waited for as a whole.
const PIECE_BYTES_MAX: usize = size_of::<wire::OptionReply>();
const _: () = assert!(size_of::<wire::Greeting>() <= PIECE_BYTES_MAX, "both pieces fit the memory for one");

/// What remains to be swallowed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RelayHandshake {
    client_flags: u32,
    structured: bool,
    stage: Stage,
    piece: [u8; PIECE_BYTES_MAX],
    piece_bytes: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Greeting,
    Structured,
    Done,
}

/// What became of bytes of the peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Swallowed {
    /// All of them belonged to the handshake; more are to come.
    All,
    /// The handshake is over. So many of the bytes belonged to it; the rest, and all that follows, are the client's.
    Done {
        /// How many.
        len_bytes: usize,
    },
}

/// Why a relay cannot go on. The connection to the peer is of no use any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RelayFault {
    /// Not an NBD server.
    #[error("the peer's first bytes are {magic:#018x} {option_magic:#018x}, not an NBD greeting; look at its address")]
    NoGreeting {
        /// What was found.
        magic: u64,
        /// What was found behind it.
        option_magic: u64,
    },
    /// An NBD server, but not one of ours.
    #[error("the peer greets with flags {found:#x}, and a node greets with {expected:#x}; look at its address")]
    OtherFlags {
        /// What was found.
        found: u16,
        /// What was expected.
        expected: u16,
    },
    /// The peer's answer is none to what it was told.
    #[error("the peer answered {magic:#x} to option {option}, where an answer to structured replies was expected")]
    NoAnswer {
        /// What was found.
        magic: u64,
        /// What it claims to answer.
        option: u32,
    },
    /// The peer does not agree to what this server agreed to.
    #[error("the peer refused structured replies, which the client was promised (reply {kind:#x}); update the peer")]
    Refused {
        /// What was found.
        kind: u32,
    },
    /// An acknowledgement has no data.
    #[error("the peer acknowledged structured replies with {data_bytes} bytes of data, where none were expected")]
    UnexpectedData {
        /// What was found.
        data_bytes: u32,
    },
}

impl RelayHandshake {
    /// For a client that sent `client_flags` and got `structured` replies agreed.
    #[must_use]
    pub(crate) fn new(client_flags: u32, structured: bool) -> Self {
        Self { client_flags, structured, stage: Stage::Greeting, piece: [0; PIECE_BYTES_MAX], piece_bytes: 0 }
    }

    /// What the peer is told first, before the bytes of the client that nobody has answered.
    #[must_use]
    pub fn replay(&self) -> Vec<u8> {
        let mut bytes = self.client_flags.to_be_bytes().to_vec();
        if self.structured {
            let option = wire::OptionHeader {
                magic: wire::OPTION_MAGIC.into(),
                option: wire::OPT_STRUCTURED_REPLY.into(),
                data_bytes: 0.into(),
            };
            bytes.extend_from_slice(option.as_bytes());
        }
        bytes
    }

    /// Takes the next bytes of the peer, cut anywhere.
    ///
    /// # Errors
    /// The peer said something else than a node says there.
    pub fn swallow(&mut self, input: &[u8]) -> Result<Swallowed, RelayFault> {
        let mut len_bytes = 0;
        while let Some(expected_bytes) = self.expected_bytes() {
            let rest = &input[len_bytes..];
            let taken = (expected_bytes - self.piece_bytes).min(rest.len());
            self.piece[self.piece_bytes..self.piece_bytes + taken].copy_from_slice(&rest[..taken]);
            self.piece_bytes += taken;
            len_bytes += taken;
            if self.piece_bytes < expected_bytes {
                return Ok(Swallowed::All);
            }
            self.stage = self.check()?;
            self.piece_bytes = 0;
        }
        Ok(Swallowed::Done { len_bytes })
    }

    /// Length of what the peer says next; `None` when that is not for us.
    fn expected_bytes(&self) -> Option<usize> {
        match self.stage {
            Stage::Greeting => Some(size_of::<wire::Greeting>()),
            Stage::Structured => Some(size_of::<wire::OptionReply>()),
            Stage::Done => None,
        }
    }

    /// Looks at what is there as a whole.
    fn check(&self) -> Result<Stage, RelayFault> {
        match self.stage {
            Stage::Greeting => {
                check_greeting(zerocopy::transmute_ref!(first(&self.piece)))?;
                Ok(if self.structured { Stage::Structured } else { Stage::Done })
            }
            Stage::Structured => check_agreed(zerocopy::transmute_ref!(&self.piece)).map(|()| Stage::Done),
            Stage::Done => Ok(Stage::Done),
        }
    }
}

fn first(piece: &[u8; PIECE_BYTES_MAX]) -> &[u8; size_of::<wire::Greeting>()] {
    piece.first_chunk().expect("a greeting is no longer than a piece")
}

fn check_greeting(greeting: &wire::Greeting) -> Result<(), RelayFault> {
    let (magic, option_magic) = (greeting.magic.get(), greeting.option_magic.get());
    if (magic, option_magic) != (wire::GREETING_MAGIC, wire::OPTION_MAGIC) {
        return Err(RelayFault::NoGreeting { magic, option_magic });
    }
    let (found, expected) = (greeting.flags.get(), wire::GREETING_FLAGS);
    if found == expected { Ok(()) } else { Err(RelayFault::OtherFlags { found, expected }) }
}

fn check_agreed(reply: &wire::OptionReply) -> Result<(), RelayFault> {
    let (magic, option) = (reply.magic.get(), reply.option.get());
    let (kind, data_bytes) = (reply.kind.get(), reply.data_bytes.get());
    if (magic, option) != (wire::OPTION_REPLY_MAGIC, wire::OPT_STRUCTURED_REPLY) {
        Err(RelayFault::NoAnswer { magic, option })
    } else if kind != wire::REP_ACK {
        Err(RelayFault::Refused { kind })
    } else if data_bytes != 0 {
        Err(RelayFault::UnexpectedData { data_bytes })
    } else {
        Ok(())
    }
}
