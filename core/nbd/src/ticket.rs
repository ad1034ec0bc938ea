//! What a session must know of a request to answer it.

/// Stands for one request until it is answered. Answer each exactly once, to the session that gave it, in any order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ticket {
    pub(crate) cookie: u64,
    pub(crate) offset: u64,
    pub(crate) len_bytes: u32,
    pub(crate) command: Command,
}

/// A command, with the flags its answer depends on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Command {
    Read { unfragmented: bool },
    Write,
    Flush,
    Trim,
    Cache,
    WriteZeroes { fast_only: bool },
    BlockStatus { first_only: bool },
}

impl Ticket {
    /// The client's name for the request.
    #[must_use]
    pub fn cookie(&self) -> u64 {
        self.cookie
    }
}
