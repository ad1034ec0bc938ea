//! Options of the negotiation: which there are, and their data, parsed once.

use zerocopy::big_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, KnownLayout};

use crate::wire;
use crate::{META_QUERIES_MAX, NAME_BYTES_MAX, OPTION_BYTES_MAX};

/// Which option it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum OptionKind {
    ExportName,
    Abort,
    List,
    Info,
    Go,
    StructuredReply,
    ListMetaContext,
    SetMetaContext,
    /// Known to others, or to nobody.
    Unsupported,
}

impl OptionKind {
    pub(crate) fn parse(option: u32) -> Self {
        match option {
            wire::OPT_EXPORT_NAME => Self::ExportName,
            wire::OPT_ABORT => Self::Abort,
            wire::OPT_LIST => Self::List,
            wire::OPT_INFO => Self::Info,
            wire::OPT_GO => Self::Go,
            wire::OPT_STRUCTURED_REPLY => Self::StructuredReply,
            wire::OPT_LIST_META_CONTEXT => Self::ListMetaContext,
            wire::OPT_SET_META_CONTEXT => Self::SetMetaContext,
            _ => Self::Unsupported,
        }
    }

    /// The data that is looked at; longer data is not waited for.
    pub(crate) fn data_bytes_max(self) -> usize {
        match self {
            Self::ExportName => NAME_BYTES_MAX,
            Self::Info | Self::Go | Self::ListMetaContext | Self::SetMetaContext => OPTION_BYTES_MAX,
            Self::Abort | Self::List | Self::StructuredReply | Self::Unsupported => 0,
        }
    }
}

/// Why an option is refused. The text goes to the client, so none of it is the client's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("this server does not support the option")]
    Unsupported,
    #[error("this server does not list its exports")]
    ListForbidden,
    #[error("the list of exports is too long")]
    ListTooLong,
    #[error("the data of the option is malformed")]
    Malformed,
    #[error("the option takes no data")]
    UnexpectedData,
    #[error("negotiate structured replies first")]
    NeedsStructuredReplies,
    /// Also for an export that exists but is not for this client: the two must look alike.
    #[error("no such export")]
    NoSuchExport,
    #[error("the data of the option is too long")]
    DataTooLong,
    #[error("too many queries")]
    TooManyQueries,
}

impl Refusal {
    /// The reply type that says so.
    pub(crate) fn reply_kind(self) -> u32 {
        match self {
            Self::Unsupported => wire::REP_ERR_UNSUP,
            Self::ListForbidden => wire::REP_ERR_POLICY,
            Self::Malformed | Self::UnexpectedData | Self::NeedsStructuredReplies => wire::REP_ERR_INVALID,
            Self::NoSuchExport => wire::REP_ERR_UNKNOWN,
            Self::ListTooLong | Self::DataTooLong | Self::TooManyQueries => wire::REP_ERR_TOO_BIG,
        }
    }
}

/// Data of INFO and GO.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct InfoOption<'a> {
    pub(crate) name: &'a str,
    pub(crate) wants_name: bool,
    pub(crate) wants_description: bool,
    pub(crate) wants_block_size: bool,
}

impl<'a> InfoOption<'a> {
    pub(crate) fn parse(data: &'a [u8]) -> Result<Self, Refusal> {
        let mut fields = Fields(data);
        let name = fields.text()?;
        let count = fields.number::<U16>()?.get();
        let mut option = Self { name, wants_name: false, wants_description: false, wants_block_size: false };
        for _ in 0..count {
            match fields.number::<U16>()?.get() {
                wire::INFO_NAME => option.wants_name = true,
                wire::INFO_DESCRIPTION => option.wants_description = true,
                wire::INFO_BLOCK_SIZE => option.wants_block_size = true,
                // INFO_EXPORT is sent in any case, and what we do not know must be ignored.
                _ => {}
            }
        }
        fields.end()?;
        Ok(option)
    }
}

/// Data of LIST_META_CONTEXT and SET_META_CONTEXT.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct MetaOption<'a> {
    pub(crate) name: &'a str,
    /// As LIST: a query covers the one context there is.
    pub(crate) lists_allocation: bool,
    /// As SET: a query names it.
    pub(crate) selects_allocation: bool,
}

impl<'a> MetaOption<'a> {
    pub(crate) fn parse(data: &'a [u8]) -> Result<Self, Refusal> {
        let mut fields = Fields(data);
        let name = fields.text()?;
        let count = fields.number::<U32>()?.get();
        if count > META_QUERIES_MAX {
            return Err(Refusal::TooManyQueries);
        }
        let mut option = Self { name, lists_allocation: count == 0, selects_allocation: false };
        for _ in 0..count {
            let query = fields.text()?;
            let (namespace, _) = query.split_once(':').ok_or(Refusal::Malformed)?;
            if namespace.is_empty() {
                return Err(Refusal::Malformed);
            }
            option.selects_allocation |= query == wire::ALLOCATION_CONTEXT;
            option.lists_allocation |= query == wire::ALLOCATION_CONTEXT || query == wire::BASE_WILDCARD;
        }
        fields.end()?;
        Ok(option)
    }
}

/// A string as the protocol allows it.
pub(crate) fn parse_text(bytes: &[u8]) -> Result<&str, Refusal> {
    if bytes.len() > NAME_BYTES_MAX || bytes.contains(&0) {
        return Err(Refusal::Malformed);
    }
    str::from_utf8(bytes).map_err(|_| Refusal::Malformed)
}

/// The fields of an option's data, taken from the front.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn number<N: FromBytes + KnownLayout + Immutable>(&mut self) -> Result<N, Refusal> {
        let (number, rest) = N::read_from_prefix(self.0).map_err(|_| Refusal::Malformed)?;
        self.0 = rest;
        Ok(number)
    }

    /// A string after its length.
    fn text(&mut self) -> Result<&'a str, Refusal> {
        let len_bytes = self.number::<U32>()?.get() as usize;
        let (text, rest) = self.0.split_at_checked(len_bytes).ok_or(Refusal::Malformed)?;
        self.0 = rest;
        parse_text(text)
    }

    fn end(self) -> Result<(), Refusal> {
        if self.0.is_empty() { Ok(()) } else { Err(Refusal::Malformed) }
    }
}
