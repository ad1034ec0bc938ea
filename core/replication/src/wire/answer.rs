//! The first bytes in the other direction: welcome, or why not.

use block::Checksum;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::wire::hello::{self, FEATURES, Hello, Refusal, VERSION, VERSION_LOWEST};
use crate::wire::limits::SENTENCE_BYTES_MAX;

const MAGIC: [u8; 8] = *b"PLNREPLY";

const _: () = assert!(size_of::<RawAnswer>() == 48);
const _: () = assert!(std::mem::offset_of!(RawAnswer, checksum) == hello::CHECKSUM_AT);

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct RawAnswer {
    magic: [u8; 8],
    /// 0: refused.
    version: U16,
    sentence_bytes: U16,
    checksum: U32,
    session: U64,
    features: U64,
    reserved: [u8; 16],
}

/// What a node says to a hello.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// Messages follow, in both directions.
    Welcome {
        /// The version to speak.
        version: u16,
        /// Which life of the answering node this is: connections that belong together have the same.
        session: u64,
        /// What both can.
        features: u64,
    },
    /// The connection ends.
    Refused {
        /// Why: for the log.
        sentence: String,
    },
}

/// What the first bytes of the other side are.
#[derive(Debug)]
pub enum Answered {
    /// Look again when there are this many bytes: more than now, at most [`crate::wire::ANSWER_BYTES_MAX`].
    Incomplete {
        /// Bytes needed in one piece.
        need_bytes: usize,
    },
    /// An answer.
    Answer {
        /// Bytes done with.
        consumed: usize,
        /// What it says.
        answer: Answer,
    },
    /// No answer of a node of ours. The connection ends.
    Refused(Refusal),
}

impl Answer {
    /// To a hello that is welcome; `session` is of the answering node.
    #[must_use]
    pub fn welcome(hello: &Hello, session: u64) -> Self {
        Self::Welcome { version: hello.version.min(VERSION), session, features: hello.features & FEATURES }
    }

    /// To one that is not.
    #[must_use]
    pub fn refused(refusal: &Refusal) -> Self {
        let sentence = refusal.to_string();
        assert!(is_sentence(&sentence), "refusals hold nothing but names and numbers");
        Self::Refused { sentence }
    }

    /// What both can; nothing for who is refused.
    #[must_use]
    pub fn features(&self) -> u64 {
        match self {
            Self::Welcome { features, .. } => *features,
            Self::Refused { .. } => 0,
        }
    }

    /// As it travels.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let (version, session, features, sentence) = match self {
            Self::Welcome { version, session, features } => (*version, *session, *features, ""),
            Self::Refused { sentence } => (0, 0, 0, sentence.as_str()),
        };
        let raw = RawAnswer {
            magic: MAGIC,
            version: version.into(),
            sentence_bytes: u16::try_from(sentence.len()).expect("sentences are bounded").into(),
            checksum: 0.into(),
            session: session.into(),
            features: features.into(),
            reserved: [0; 16],
        };
        hello::sealed([raw.as_bytes(), sentence.as_bytes()].concat())
    }

    /// Looks at the first bytes of the other side.
    #[must_use]
    pub fn parse(input: &[u8]) -> Answered {
        match Self::take(input) {
            Ok(answered) => answered,
            Err(refusal) => Answered::Refused(refusal),
        }
    }

    fn take(input: &[u8]) -> Result<Answered, Refusal> {
        let Ok((raw, rest)) = RawAnswer::ref_from_prefix(input) else {
            return Ok(Answered::Incomplete { need_bytes: size_of::<RawAnswer>() });
        };
        hello::check_magic(raw.magic, MAGIC)?;
        let sentence_bytes = usize::from(raw.sentence_bytes.get());
        if sentence_bytes > SENTENCE_BYTES_MAX {
            return Err(Refusal::Malformed { what: "a sentence is too long" });
        }
        let consumed = size_of::<RawAnswer>() + sentence_bytes;
        let Some(bytes) = input.get(..consumed) else {
            return Ok(Answered::Incomplete { need_bytes: consumed });
        };
        hello::check_sum(bytes, Checksum(raw.checksum.get()))?;
        let answer = raw.checked(&rest[..sentence_bytes])?;
        Ok(Answered::Answer { consumed, answer })
    }
}

impl RawAnswer {
    fn checked(&self, sentence: &[u8]) -> Result<Answer, Refusal> {
        let (version, session, features) = (self.version.get(), self.session.get(), self.features.get());
        if self.reserved != [0; 16] {
            return Err(Refusal::Malformed { what: "reserved bytes are not 0" });
        }
        if version > 0 {
            if !(VERSION_LOWEST..=VERSION).contains(&version) {
                return Err(Refusal::Version { lowest: version, highest: version });
            }
            if !sentence.is_empty() || features & !FEATURES != 0 {
                return Err(Refusal::Malformed { what: "a welcome to what was not said" });
            }
            return Ok(Answer::Welcome { version, session, features });
        }
        let text = std::str::from_utf8(sentence).ok().filter(|text| is_sentence(text));
        match text {
            Some(text) if (session, features) == (0, 0) => Ok(Answer::Refused { sentence: text.to_owned() }),
            _ => Err(Refusal::Malformed { what: "a refusal without a sentence" }),
        }
    }
}

/// Something that can stand in a log.
fn is_sentence(text: &str) -> bool {
    (1..=SENTENCE_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control)
}
