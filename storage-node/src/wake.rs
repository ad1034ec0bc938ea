//! Calling the data thread from another one: an eventfd that its ring reads.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{EventfdFlags, eventfd};

/// Wakes the data thread. Calls that come while it is awake are one.
#[derive(Debug)]
pub(crate) struct Wake(OwnedFd);

impl Wake {
    /// A new one.
    pub fn new() -> io::Result<Self> {
        Ok(Self(eventfd(0, EventfdFlags::CLOEXEC)?))
    }

    /// Calls.
    pub fn call(&self) {
        let written = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
        written.expect("an eventfd takes 2^64 - 2 calls between two reads");
    }

    /// What the ring reads.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
