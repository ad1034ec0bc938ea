//! What a connection may choose from.

use std::collections::BTreeMap;

use crate::{NAME_BYTES_MAX, wire};

/// What a connection may choose from, and what it finds under a name.
pub trait Catalog {
    /// What this client finds under the name.
    fn find(&self, name: &str) -> Found<'_>;

    /// What this client may see listed, by name; `None` when it may see no list.
    fn list(&self) -> Option<impl Iterator<Item = (&str, Export)>>;
}

/// What stands under a name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Found<'a> {
    /// An export of this server.
    Here {
        /// The name it is listed under.
        listed_name: &'a str,
        /// What the client sees of it.
        export: Export,
    },
    /// An export of another server: [`crate::Step::Elsewhere`].
    Elsewhere,
    /// Nothing that this client may use.
    Nothing,
}

/// A volume as clients of this server see it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Export {
    /// The caller's key of the volume, and of what lets the client in; given back in [`crate::Step::Opened`].
    pub handle: u128,
    /// Its size.
    pub size_bytes: u64,
    /// Whether clients are told not to write.
    pub read_only: bool,
    /// Whether clients may use several connections at once.
    pub multi_conn: bool,
    /// For humans; empty for none.
    pub description: String,
}

/// The exports by name, the same for every client.
#[derive(Clone, Default, Debug)]
pub struct Exports {
    by_name: BTreeMap<String, Export>,
    default_name: Option<String>,
    list_allowed: bool,
}

/// Why an export cannot be offered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ExportFault {
    /// The empty name stands for the default export, see [`Exports::set_default`].
    #[error("the empty name stands for the default export")]
    NameEmpty,
    /// The protocol carries no longer name.
    #[error("the name is longer than 4096 bytes")]
    NameTooLong,
    /// The protocol carries no NUL.
    #[error("the name contains a NUL character")]
    NameHasNul,
    /// The protocol carries no longer description.
    #[error("the description is longer than 4096 bytes or contains a NUL character")]
    DescriptionInvalid,
}

impl Exports {
    /// No exports, no default; whether clients may list them is `list_allowed`.
    #[must_use]
    pub fn new(list_allowed: bool) -> Self {
        Self { list_allowed, ..Self::default() }
    }

    /// Offers `export` under `name`; answers what it replaces.
    pub fn insert(&mut self, name: String, export: Export) -> Result<Option<Export>, ExportFault> {
        if name.is_empty() {
            return Err(ExportFault::NameEmpty);
        }
        if name.len() > NAME_BYTES_MAX {
            return Err(ExportFault::NameTooLong);
        }
        if name.contains('\0') {
            return Err(ExportFault::NameHasNul);
        }
        if export.description.len() > NAME_BYTES_MAX || export.description.contains('\0') {
            return Err(ExportFault::DescriptionInvalid);
        }
        Ok(self.by_name.insert(name, export))
    }

    /// Offers it no longer. Sessions that have opened it are not told.
    pub fn remove(&mut self, name: &str) -> Option<Export> {
        self.by_name.remove(name)
    }

    /// The export of that name; the empty name is the default's.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Export> {
        self.resolve(name).map(|(_, export)| export)
    }

    /// Which export the empty name stands for. It need not exist (yet).
    pub fn set_default(&mut self, name: Option<String>) {
        self.default_name = name;
    }

    /// Whether clients may list the exports.
    pub fn set_list_allowed(&mut self, list_allowed: bool) {
        self.list_allowed = list_allowed;
    }

    /// The export of that name, with the name it is listed under.
    fn resolve(&self, name: &str) -> Option<(&str, &Export)> {
        let name = if name.is_empty() { self.default_name.as_deref()? } else { name };
        self.by_name.get_key_value(name).map(|(name, export)| (name.as_str(), export))
    }
}

impl Catalog for Exports {
    fn find(&self, name: &str) -> Found<'_> {
        match self.resolve(name) {
            Some((listed_name, export)) => Found::Here { listed_name, export: export.clone() },
            None => Found::Nothing,
        }
    }

    fn list(&self) -> Option<impl Iterator<Item = (&str, Export)>> {
        let all = self.by_name.iter().map(|(name, export)| (name.as_str(), export.clone()));
        self.list_allowed.then_some(all)
    }
}

impl Export {
    /// What the client is told it may do.
    pub(crate) fn transmission_flags(&self, structured_replies: bool) -> u16 {
        let mut flags = wire::HAS_FLAGS | wire::SEND_FLUSH | wire::SEND_FUA | wire::SEND_CACHE;
        flags |= match self.read_only {
            true => wire::READ_ONLY,
            false => wire::SEND_TRIM | wire::SEND_WRITE_ZEROES | wire::SEND_FAST_ZERO,
        };
        if self.multi_conn {
            flags |= wire::CAN_MULTI_CONN;
        }
        if structured_replies {
            flags |= wire::SEND_DF;
        }
        flags
    }
}
