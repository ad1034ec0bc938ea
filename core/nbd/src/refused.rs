//! Bytes of the stream that belong to something refused, and the answer that waits behind them.
//!
//! A write is answered after the last byte of its payload, also when it failed with the first: clients look for the
//! request of an answer among those they have sent as a whole, and give the connection up when it is not there.

use block::{Error, Outbox};

use crate::reply::{Fault, push_error, push_result};
use crate::ticket::Ticket;
use crate::transmission::ReplyStyle;

/// Something refused of which bytes are still to come.
#[derive(Debug)]
pub(crate) struct Refused {
    /// Never 0.
    missing_bytes: usize,
    answer: Answer,
}

/// What is said when the last byte is gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Answer {
    /// All is said: it was an option, whose answers clients do wait for.
    Said,
    /// The session's own.
    Fault { cookie: u64, fault: Fault },
    /// The caller's, who has not given it yet; when it comes late, it is sent as it comes.
    Awaited { ticket: Ticket },
    /// The caller's.
    Given { ticket: Ticket, result: Result<(), Error> },
}

impl Refused {
    /// `None` when nothing is missing.
    pub(crate) fn new(missing_bytes: usize, answer: Answer) -> Option<Self> {
        (missing_bytes > 0).then_some(Self { missing_bytes, answer })
    }

    /// More of it is not wanted.
    pub(crate) fn extend(&mut self, missing_bytes: usize) {
        self.missing_bytes += missing_bytes;
    }

    /// Drops up to `len_bytes`; answers how many, and what is left to be refused.
    pub(crate) fn drop_bytes(self, len_bytes: usize) -> (usize, Result<Self, Answer>) {
        let dropped_bytes = self.missing_bytes.min(len_bytes);
        let missing_bytes = self.missing_bytes - dropped_bytes;
        (dropped_bytes, Self::new(missing_bytes, self.answer).ok_or(self.answer))
    }

    /// Keeps `result` if it is what is waited for.
    pub(crate) fn keep(&mut self, ticket: Ticket, result: Result<(), Error>) -> bool {
        let awaited = self.answer == Answer::Awaited { ticket };
        if awaited {
            self.answer = Answer::Given { ticket, result };
        }
        awaited
    }
}

impl Answer {
    pub(crate) fn push(self, style: ReplyStyle, out: &mut Outbox) {
        match self {
            Self::Said | Self::Awaited { .. } => {}
            Self::Fault { cookie, fault } => push_error(style, cookie, fault.code(), fault, out),
            Self::Given { ticket, result } => push_result(style, ticket, result, out),
        }
    }
}
