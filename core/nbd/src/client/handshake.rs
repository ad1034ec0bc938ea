//! How a client opens an export, or looks at one.

use zerocopy::big_endian::{U16, U32};
use zerocopy::{FromBytes, IntoBytes};

use crate::{NAME_BYTES_MAX, wire};

/// Longest data of one answer that is looked at: a description, or a name, with its number before it.
pub const ANSWER_BYTES_MAX: usize = NAME_BYTES_MAX + size_of::<U16>();
/// Answers to one option: information of every kind there is, several times over.
const ANSWERS_MAX: u32 = 32;

/// What a client wants of an export.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// To use it: requests follow.
    Open,
    /// To know it: nobody else that uses it is disturbed.
    Look,
}

/// An export as its server describes it.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct RemoteExport {
    /// Its size.
    pub size_bytes: u64,
    /// Transmission flags, as they travel: what the kernel's client wants to be told.
    pub flags: u16,
    /// What the server says of it; empty for nothing.
    pub description: String,
}

/// One handshake.
#[derive(Debug)]
pub struct ClientHandshake {
    export: String,
    purpose: Purpose,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Greeting,
    Answers { found: Option<RemoteExport>, description: String, count: u32 },
}

/// What became of the server's bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum HandshakeStep {
    /// Call again when there are at least so many bytes.
    Starved {
        /// Bytes needed in one piece.
        need_bytes: usize,
    },
    /// It went on.
    Advanced {
        /// Bytes done with.
        consumed: usize,
    },
    /// The export is known, and open if that was the purpose.
    Done {
        /// Bytes done with.
        consumed: usize,
        /// What it is.
        export: RemoteExport,
    },
}

/// Why the handshake cannot go on. The connection is of no use any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum HandshakeFault {
    /// Not an NBD server.
    #[error("the server's first bytes are {magic:#018x}, not an NBD greeting; look at its address")]
    NoGreeting {
        /// What was found.
        magic: u64,
    },
    /// A server of long ago.
    #[error("the server greets with flags {flags:#x} and does not speak fixed newstyle; it is none of ours")]
    OldStyle {
        /// What was found.
        flags: u16,
    },
    /// The server's answer is none to what it was asked.
    #[error("the server answered {magic:#x} to option {option}, where an answer about the export was expected")]
    NoAnswer {
        /// What was found.
        magic: u64,
        /// What it claims to answer.
        option: u32,
    },
    /// No such export, or not for who shows this token, or not served now: servers do not say which.
    #[error("the server has no such export for this client now (reply {kind:#x})")]
    Refused {
        /// What was found.
        kind: u32,
    },
    /// More than there is to say.
    #[error("the server's answer of {data_bytes} bytes is too long, or it answers without end")]
    TooLong {
        /// What was announced.
        data_bytes: u32,
    },
    /// It agreed and did not say to what.
    #[error("the server opened the export without saying how large it is, or in words nobody understands")]
    Garbled,
}

impl ClientHandshake {
    /// For a connection that was just made.
    #[must_use]
    pub fn new(export: &str, purpose: Purpose) -> Self {
        Self { export: export.to_owned(), purpose, stage: Stage::Greeting }
    }

    /// Looks at the start of `input`, the unconsumed bytes of the stream, and appends to `out` what is to be sent.
    ///
    /// # Errors
    /// See [`HandshakeFault`].
    pub fn advance(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<HandshakeStep, HandshakeFault> {
        match &self.stage {
            Stage::Greeting => self.greeted(input, out),
            Stage::Answers { .. } => self.answered(input),
        }
    }

    fn greeted(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<HandshakeStep, HandshakeFault> {
        let consumed = size_of::<wire::Greeting>();
        let Ok((greeting, _)) = wire::Greeting::read_from_prefix(input) else {
            return Ok(HandshakeStep::Starved { need_bytes: consumed });
        };
        let (magic, option_magic) = (greeting.magic.get(), greeting.option_magic.get());
        if (magic, option_magic) != (wire::GREETING_MAGIC, wire::OPTION_MAGIC) {
            return Err(HandshakeFault::NoGreeting { magic });
        }
        let flags = greeting.flags.get();
        if flags & wire::FLAG_FIXED_NEWSTYLE == 0 {
            return Err(HandshakeFault::OldStyle { flags });
        }
        out.extend_from_slice(&u32::from(flags & wire::GREETING_FLAGS).to_be_bytes());
        self.ask(out);
        self.stage = Stage::Answers { found: None, description: String::new(), count: 0 };
        Ok(HandshakeStep::Advanced { consumed })
    }

    /// The one option: about the export, with its description.
    fn ask(&self, out: &mut Vec<u8>) {
        let name = self.export.as_bytes();
        let name_bytes = u32::try_from(name.len()).expect("names of exports are short");
        let asked = [U16::from(1), U16::from(wire::INFO_DESCRIPTION)];
        let data_bytes = name_bytes + 4 + 4;
        let header = wire::OptionHeader {
            magic: wire::OPTION_MAGIC.into(),
            option: self.option().into(),
            data_bytes: data_bytes.into(),
        };
        out.extend_from_slice(header.as_bytes());
        out.extend_from_slice(&name_bytes.to_be_bytes());
        out.extend_from_slice(name);
        out.extend_from_slice(asked.as_bytes());
    }

    fn option(&self) -> u32 {
        match self.purpose {
            Purpose::Open => wire::OPT_GO,
            Purpose::Look => wire::OPT_INFO,
        }
    }

    fn answered(&mut self, input: &[u8]) -> Result<HandshakeStep, HandshakeFault> {
        let header_bytes = size_of::<wire::OptionReply>();
        let Ok((reply, rest)) = wire::OptionReply::read_from_prefix(input) else {
            return Ok(HandshakeStep::Starved { need_bytes: header_bytes });
        };
        let data_bytes = self.check(&reply)?;
        let Some(data) = rest.get(..data_bytes) else {
            return Ok(HandshakeStep::Starved { need_bytes: header_bytes + data_bytes });
        };
        let consumed = header_bytes + data_bytes;
        let Stage::Answers { found, description, count } = &mut self.stage else {
            unreachable!("answers are looked at behind the greeting")
        };
        *count += 1;
        match reply.kind.get() {
            wire::REP_ACK => {
                let export = found.take().ok_or(HandshakeFault::Garbled)?;
                Ok(HandshakeStep::Done {
                    consumed,
                    export: RemoteExport { description: std::mem::take(description), ..export },
                })
            }
            wire::REP_INFO => {
                learn(data, found, description)?;
                Ok(HandshakeStep::Advanced { consumed })
            }
            kind => Err(HandshakeFault::Refused { kind }),
        }
    }

    /// Length of the data of an answer that is one to the option.
    fn check(&self, reply: &wire::OptionReply) -> Result<usize, HandshakeFault> {
        let (magic, option) = (reply.magic.get(), reply.option.get());
        if (magic, option) != (wire::OPTION_REPLY_MAGIC, self.option()) {
            return Err(HandshakeFault::NoAnswer { magic, option });
        }
        let data_bytes = reply.data_bytes.get();
        let endless = matches!(&self.stage, Stage::Answers { count, .. } if *count >= ANSWERS_MAX);
        match usize::try_from(data_bytes) {
            Ok(len) if len <= ANSWER_BYTES_MAX && !endless => Ok(len),
            Ok(_) | Err(_) => Err(HandshakeFault::TooLong { data_bytes }),
        }
    }
}

/// Takes what an answer says of the export; what nobody asked for is left alone.
fn learn(data: &[u8], found: &mut Option<RemoteExport>, description: &mut String) -> Result<(), HandshakeFault> {
    let (kind, rest) = U16::read_from_prefix(data).map_err(|_| HandshakeFault::Garbled)?;
    match kind.get() {
        wire::INFO_EXPORT => {
            let info = wire::InfoExport::read_from_bytes(data).map_err(|_| HandshakeFault::Garbled)?;
            let (size_bytes, flags) = (info.size_bytes.get(), info.flags.get());
            *found = Some(RemoteExport { size_bytes, flags, description: String::new() });
        }
        wire::INFO_DESCRIPTION => {
            *description = String::from_utf8(rest.to_vec()).map_err(|_| HandshakeFault::Garbled)?;
        }
        _ => {}
    }
    Ok(())
}

impl RemoteExport {
    /// Whether changes will be refused.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.flags & wire::READ_ONLY != 0
    }
}

const _: () = assert!(ANSWER_BYTES_MAX > size_of::<wire::InfoExport>() + size_of::<U32>(), "every answer is read");
