//! The first phase: one option after the other, until one of them opens an export.
//!
//! Nothing here changes before an option is there as a whole, so that a starved step can be repeated.

use block::Outbox;
use zerocopy::{FromBytes, IntoBytes};

use crate::exports::{Catalog, Export, Found};
use crate::limits::PREFERRED_BYTES;
use crate::option::{InfoOption, MetaOption, OptionKind, Refusal, parse_text};
use crate::relay::RelayHandshake;
use crate::transmission::{ReplyStyle, Transmission};
use crate::{CloseReason, NEGOTIATION_BYTES_MAX, OPTIONS_MAX, PAYLOAD_BYTES_MAX, wire};

/// What was agreed so far.
#[derive(Debug)]
pub(crate) struct Negotiation {
    client_flags: u32,
    /// The client understands answers to options; without it, it can only name an export and hope.
    fixed_newstyle: bool,
    no_zeroes: bool,
    replies: AgreedReplies,
    options: u32,
    /// Of [`NEGOTIATION_BYTES_MAX`], in both directions.
    spent_bytes: usize,
}

#[derive(Debug)]
enum AgreedReplies {
    Simple,
    Structured {
        /// The export name for which `base:allocation` is selected.
        allocation_for: Option<String>,
    },
}

/// What one look at the input led to.
#[derive(Debug)]
pub(crate) enum Turn<'a> {
    Starved {
        need_bytes: usize,
    },
    /// An option was answered; `skip_bytes` of its data are still to come or to be dropped.
    Answered {
        consumed: usize,
        skip_bytes: usize,
    },
    Opened {
        consumed: usize,
        export: u128,
        transmission: Transmission,
    },
    /// The option names an export of another server, and nothing was done about it.
    Elsewhere {
        name: &'a str,
    },
    Closed(CloseReason),
}

/// How an option ends.
enum Verdict<'a> {
    Accept,
    Refuse(Refusal),
    Open { export: u128, transmission: Transmission },
    Elsewhere { name: &'a str },
    Close(CloseReason),
}

impl From<Result<(), Refusal>> for Verdict<'_> {
    fn from(result: Result<(), Refusal>) -> Self {
        match result {
            Ok(()) => Self::Accept,
            Err(refusal) => Self::Refuse(refusal),
        }
    }
}

impl<'a> From<Result<(), Stop<'a>>> for Verdict<'a> {
    fn from(result: Result<(), Stop<'a>>) -> Self {
        match result {
            Ok(()) => Self::Accept,
            Err(stop) => stop.into(),
        }
    }
}

/// Why an option about one export is not carried out.
enum Stop<'a> {
    Refuse(Refusal),
    Elsewhere { name: &'a str },
}

impl From<Refusal> for Stop<'_> {
    fn from(refusal: Refusal) -> Self {
        Self::Refuse(refusal)
    }
}

impl<'a> From<Stop<'a>> for Verdict<'a> {
    fn from(stop: Stop<'a>) -> Self {
        match stop {
            Stop::Refuse(refusal) => Self::Refuse(refusal),
            Stop::Elsewhere { name } => Self::Elsewhere { name },
        }
    }
}

/// The export of that name, and the name it is listed under.
fn find<'a, 'e>(catalog: &'e impl Catalog, name: &'a str) -> Result<(&'e str, Export), Stop<'a>> {
    match catalog.find(name) {
        Found::Here { listed_name, export } => Ok((listed_name, export)),
        Found::Elsewhere => Err(Stop::Elsewhere { name }),
        Found::Nothing => Err(Stop::Refuse(Refusal::NoSuchExport)),
    }
}

impl Negotiation {
    /// After the client's flags; unknown ones forbid to go on.
    pub(crate) fn start(client_flags: u32) -> Result<Self, CloseReason> {
        let known = u32::from(wire::GREETING_FLAGS);
        if client_flags & !known != 0 {
            return Err(CloseReason::UnknownClientFlags { flags: client_flags });
        }
        Ok(Self {
            client_flags,
            fixed_newstyle: client_flags & u32::from(wire::FLAG_FIXED_NEWSTYLE) != 0,
            no_zeroes: client_flags & u32::from(wire::FLAG_NO_ZEROES) != 0,
            replies: AgreedReplies::Simple,
            options: 0,
            spent_bytes: 0,
        })
    }

    /// What another server is to be told of it.
    pub(crate) fn relay(&self) -> RelayHandshake {
        RelayHandshake::new(self.client_flags, self.structured())
    }

    /// Takes the option at the start of `input`.
    pub(crate) fn advance<'a>(&mut self, input: &'a [u8], catalog: &impl Catalog, out: &mut Outbox) -> Turn<'a> {
        let header_bytes = size_of::<wire::OptionHeader>();
        let Ok((header, rest)) = wire::OptionHeader::ref_from_prefix(input) else {
            return Turn::Starved { need_bytes: header_bytes };
        };
        let option = header.option.get();
        let kind = OptionKind::parse(option);
        let data_bytes = header.data_bytes.get() as usize;
        if let Err(reason) = self.check(header, kind) {
            return Turn::Closed(reason);
        }
        let unsent_bytes = out.len_bytes();
        let (verdict, taken_bytes) = if data_bytes > kind.data_bytes_max() {
            (self.answer_unread(kind), 0)
        } else {
            let Some(data) = rest.get(..data_bytes) else {
                return Turn::Starved { need_bytes: header_bytes + data_bytes };
            };
            (self.answer(option, kind, data, catalog, out), data_bytes)
        };
        let turn = conclude(verdict, option, header_bytes + taken_bytes, data_bytes - taken_bytes, out);
        if let Turn::Elsewhere { .. } = turn {
            return turn;
        }
        self.options += 1;
        self.spent_bytes += header_bytes + data_bytes + (out.len_bytes() - unsent_bytes);
        turn
    }

    /// What closes the connection whatever the option says.
    fn check(&self, header: &wire::OptionHeader, kind: OptionKind) -> Result<(), CloseReason> {
        let spent_bytes = self.spent_bytes + size_of::<wire::OptionHeader>() + header.data_bytes.get() as usize;
        if header.magic.get() != wire::OPTION_MAGIC {
            Err(CloseReason::BadOptionMagic)
        } else if self.options == OPTIONS_MAX {
            Err(CloseReason::TooManyOptions)
        } else if spent_bytes > NEGOTIATION_BYTES_MAX {
            Err(CloseReason::NegotiationTooLong)
        } else if !self.fixed_newstyle && kind != OptionKind::ExportName {
            Err(CloseReason::NotFixedNewstyle)
        } else {
            Ok(())
        }
    }

    /// An option whose data is longer than is looked at.
    fn answer_unread<'a>(&mut self, kind: OptionKind) -> Verdict<'a> {
        match kind {
            OptionKind::ExportName => Verdict::Close(CloseReason::BadExportName),
            OptionKind::Abort => Verdict::Close(CloseReason::Aborted),
            OptionKind::List | OptionKind::StructuredReply => Verdict::Refuse(Refusal::UnexpectedData),
            OptionKind::Info | OptionKind::Go | OptionKind::ListMetaContext => Verdict::Refuse(Refusal::DataTooLong),
            OptionKind::SetMetaContext => {
                self.forget_contexts();
                Verdict::Refuse(Refusal::DataTooLong)
            }
            OptionKind::Unsupported => Verdict::Refuse(Refusal::Unsupported),
        }
    }

    fn answer<'a>(
        &mut self,
        option: u32,
        kind: OptionKind,
        data: &'a [u8],
        catalog: &impl Catalog,
        out: &mut Outbox,
    ) -> Verdict<'a> {
        match kind {
            OptionKind::ExportName => self.open_by_name(data, catalog, out),
            OptionKind::Abort => Verdict::Close(CloseReason::Aborted),
            OptionKind::List => self.list(option, catalog, out).into(),
            OptionKind::Info => self.inform(option, data, catalog, out).map(|_| ()).into(),
            OptionKind::Go => match self.inform(option, data, catalog, out) {
                Ok((name, export)) => self.open(name, &export),
                Err(stop) => stop.into(),
            },
            OptionKind::StructuredReply => {
                // A second time changes nothing, and keeps the contexts.
                if let AgreedReplies::Simple = self.replies {
                    self.replies = AgreedReplies::Structured { allocation_for: None };
                }
                Verdict::Accept
            }
            OptionKind::ListMetaContext => self.list_contexts(option, data, catalog, out).into(),
            OptionKind::SetMetaContext => self.set_contexts(option, data, catalog, out).into(),
            OptionKind::Unsupported => Verdict::Refuse(Refusal::Unsupported),
        }
    }

    /// EXPORT_NAME: there is no way to say no but to close.
    fn open_by_name<'a>(&self, data: &'a [u8], catalog: &impl Catalog, out: &mut Outbox) -> Verdict<'a> {
        let Ok(name) = parse_text(data) else {
            return Verdict::Close(CloseReason::BadExportName);
        };
        let export = match find(catalog, name) {
            Ok((_, export)) => export,
            Err(Stop::Elsewhere { name }) => return Verdict::Elsewhere { name },
            Err(Stop::Refuse(_)) => return Verdict::Close(CloseReason::NoSuchExport),
        };
        let flags = export.transmission_flags(self.structured());
        out.push(wire::ExportNameReply { size_bytes: export.size_bytes.into(), flags: flags.into() }.as_bytes());
        if !self.no_zeroes {
            out.push(&wire::EXPORT_NAME_ZEROES);
        }
        self.open(name, &export)
    }

    fn open<'a>(&self, name: &str, export: &Export) -> Verdict<'a> {
        let style = match &self.replies {
            AgreedReplies::Simple => ReplyStyle::Simple,
            AgreedReplies::Structured { allocation_for } => {
                ReplyStyle::Structured { allocation: allocation_for.as_deref() == Some(name) }
            }
        };
        Verdict::Open { export: export.handle, transmission: Transmission::new(style) }
    }

    fn list(&self, option: u32, catalog: &impl Catalog, out: &mut Outbox) -> Result<(), Refusal> {
        let entry_bytes = |(name, export): (&str, Export)| {
            size_of::<wire::OptionReply>() + size_of::<u32>() + name.len() + export.description.len()
        };
        let list_bytes: usize = catalog.list().ok_or(Refusal::ListForbidden)?.map(entry_bytes).sum();
        if self.spent_bytes + list_bytes > NEGOTIATION_BYTES_MAX {
            return Err(Refusal::ListTooLong);
        }
        for (name, export) in catalog.list().into_iter().flatten() {
            let name_bytes = u32::try_from(name.len()).expect("the name of an export is at most 4096 bytes");
            let parts = [&name_bytes.to_be_bytes(), name.as_bytes(), export.description.as_bytes()];
            push_reply(out, option, wire::REP_SERVER, &parts);
        }
        Ok(())
    }

    /// INFO, and GO as far as they are the same; answers the name as it was asked for, and its export.
    fn inform<'a>(
        &self,
        option: u32,
        data: &'a [u8],
        catalog: &impl Catalog,
        out: &mut Outbox,
    ) -> Result<(&'a str, Export), Stop<'a>> {
        let asked = InfoOption::parse(data)?;
        let (listed_name, export) = find(catalog, asked.name)?;
        push_info_export(out, option, &export, self.structured());
        if asked.wants_name {
            push_info_text(out, option, wire::INFO_NAME, listed_name);
        }
        if asked.wants_description && !export.description.is_empty() {
            push_info_text(out, option, wire::INFO_DESCRIPTION, &export.description);
        }
        if asked.wants_block_size {
            push_info_block_size(out, option);
        }
        Ok((asked.name, export))
    }

    fn list_contexts<'a>(
        &self,
        option: u32,
        data: &'a [u8],
        catalog: &impl Catalog,
        out: &mut Outbox,
    ) -> Result<(), Stop<'a>> {
        if !self.structured() {
            return Err(Refusal::NeedsStructuredReplies.into());
        }
        let asked = MetaOption::parse(data)?;
        find(catalog, asked.name)?;
        if asked.lists_allocation {
            push_context(out, option, wire::LISTED_CONTEXT_ID);
        }
        Ok(())
    }

    /// Replaces the selection, also when it fails.
    fn set_contexts<'a>(
        &mut self,
        option: u32,
        data: &'a [u8],
        catalog: &impl Catalog,
        out: &mut Outbox,
    ) -> Result<(), Stop<'a>> {
        let AgreedReplies::Structured { allocation_for } = &mut self.replies else {
            return Err(Refusal::NeedsStructuredReplies.into());
        };
        *allocation_for = None;
        let asked = MetaOption::parse(data)?;
        find(catalog, asked.name)?;
        if asked.selects_allocation {
            *allocation_for = Some(asked.name.to_owned());
            push_context(out, option, wire::ALLOCATION_CONTEXT_ID);
        }
        Ok(())
    }

    fn forget_contexts(&mut self) {
        match &mut self.replies {
            AgreedReplies::Simple => {}
            AgreedReplies::Structured { allocation_for } => *allocation_for = None,
        }
    }

    fn structured(&self) -> bool {
        match self.replies {
            AgreedReplies::Simple => false,
            AgreedReplies::Structured { .. } => true,
        }
    }
}

/// Sends the last answer to an option. A negotiation that ends in a close or an open needs none, but for ABORT and
/// GO, which are acknowledged.
fn conclude<'a>(verdict: Verdict<'a>, option: u32, consumed: usize, skip_bytes: usize, out: &mut Outbox) -> Turn<'a> {
    match verdict {
        Verdict::Elsewhere { name } => Turn::Elsewhere { name },
        Verdict::Accept => {
            push_reply(out, option, wire::REP_ACK, &[]);
            Turn::Answered { consumed, skip_bytes }
        }
        Verdict::Refuse(refusal) => {
            push_reply(out, option, refusal.reply_kind(), &[refusal.to_string().as_bytes()]);
            Turn::Answered { consumed, skip_bytes }
        }
        Verdict::Open { export, transmission } => {
            if option == wire::OPT_GO {
                push_reply(out, option, wire::REP_ACK, &[]);
            }
            Turn::Opened { consumed, export, transmission }
        }
        Verdict::Close(reason) => {
            if reason == CloseReason::Aborted {
                push_reply(out, option, wire::REP_ACK, &[]);
            }
            Turn::Closed(reason)
        }
    }
}

fn push_info_export(out: &mut Outbox, option: u32, export: &Export, structured: bool) {
    let answer = wire::InfoExport {
        kind: wire::INFO_EXPORT.into(),
        size_bytes: export.size_bytes.into(),
        flags: export.transmission_flags(structured).into(),
    };
    push_reply(out, option, wire::REP_INFO, &[answer.as_bytes()]);
}

fn push_info_text(out: &mut Outbox, option: u32, kind: u16, text: &str) {
    push_reply(out, option, wire::REP_INFO, &[&kind.to_be_bytes(), text.as_bytes()]);
}

fn push_info_block_size(out: &mut Outbox, option: u32) {
    let answer = wire::InfoBlockSize {
        kind: wire::INFO_BLOCK_SIZE.into(),
        min_bytes: 1.into(),
        preferred_bytes: PREFERRED_BYTES.into(),
        max_bytes: PAYLOAD_BYTES_MAX.into(),
    };
    push_reply(out, option, wire::REP_INFO, &[answer.as_bytes()]);
}

fn push_context(out: &mut Outbox, option: u32, context: u32) {
    let name = wire::ALLOCATION_CONTEXT.as_bytes();
    push_reply(out, option, wire::REP_META_CONTEXT, &[&context.to_be_bytes(), name]);
}

fn push_reply(out: &mut Outbox, option: u32, kind: u32, parts: &[&[u8]]) {
    let data_bytes: usize = parts.iter().map(|part| part.len()).sum();
    let data_bytes = u32::try_from(data_bytes).expect("an answer is a few strings of at most 4096 bytes");
    let header = wire::OptionReply {
        magic: wire::OPTION_REPLY_MAGIC.into(),
        option: option.into(),
        kind: kind.into(),
        data_bytes: data_bytes.into(),
    };
    out.push(header.as_bytes());
    for part in parts {
        out.push(part);
    }
}
