//! Why a stream did not come about, or ended, and how often the log says so.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use tonic::Status;

use super::convert::ConvertError;
use crate::cluster::is_host_and_port;

/// Where a voter that does not lead says who does.
const LEADER_KEY: &str = "plinth-leader";
/// The same complaint is repeated after so long.
const REPEAT_AFTER: Duration = Duration::from_secs(60);

/// Addresses whose complaints are remembered: those of a control plane, and where they sent us.
const ADDRESSES_MAX: usize = 16;

/// The end of a stream, or of an attempt at one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    /// The voter does not lead, and knows who does.
    #[error("it does not lead; {leader} does")]
    Elsewhere {
        /// HOST:PORT.
        leader: String,
    },
    /// Nobody there.
    #[error("it cannot be reached: {reason}; look whether it is up and its address is right")]
    Unreachable {
        /// In words.
        reason: String,
    },
    /// It did not go on.
    #[error("it did not {doing} within {seconds} s; look whether it is well")]
    Silent {
        /// What was waited for.
        doing: &'static str,
        /// How long.
        seconds: u64,
    },
    /// It ended the call.
    #[error("it ended the call: {reason}")]
    Refused {
        /// In words.
        reason: String,
    },
    /// The stream ended without a reason.
    #[error("it ended the stream")]
    Ended,
    /// It said something that cannot be.
    #[error("it sent what this node cannot use: {0}")]
    Garbage(#[from] ConvertError),
    /// It said something out of turn.
    #[error("it sent {found} where {expected} was expected; update the older of the two")]
    OutOfTurn {
        /// What came.
        found: &'static str,
        /// What was to come.
        expected: &'static str,
    },
    /// It is another cluster's.
    #[error(
        "it leads cluster {theirs:032x}, and this node belongs to {ours:032x}: correct the addresses of the control \
         plane, or restart the node if it is to change clusters"
    )]
    Foreign {
        /// The node's.
        ours: u128,
        /// The leader's.
        theirs: u128,
    },
}

impl From<Status> for LinkError {
    fn from(status: Status) -> Self {
        let leader = status.metadata().get(LEADER_KEY).and_then(|leader| leader.to_str().ok());
        match leader.filter(|leader| is_host_and_port(leader)) {
            Some(leader) if status.code() == tonic::Code::Unavailable => Self::Elsewhere { leader: leader.to_owned() },
            Some(_) | None => Self::Refused { reason: format!("{} ({:?})", told(&status), status.code()) },
        }
    }
}

impl From<tonic::transport::Error> for LinkError {
    fn from(error: tonic::transport::Error) -> Self {
        Self::Unreachable { reason: chain(&error) }
    }
}

/// What is in the log already.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    /// The last one about each address.
    last: BTreeMap<String, (String, Instant)>,
}

impl Complaints {
    /// Logs it, unless it was said a moment ago.
    pub fn complain(&mut self, address: &str, error: &LinkError) {
        let text = error.to_string();
        let is_known = |(last, when): &(String, Instant)| *last == text && when.elapsed() < REPEAT_AFTER;
        if self.last.get(address).is_some_and(is_known) {
            return tracing::debug!(address, "no link to the control plane: {error}");
        }
        tracing::warn!(address, "no link to the control plane: {error}. I/O goes on; it is tried again");
        if self.last.len() >= ADDRESSES_MAX {
            self.last.clear();
        }
        self.last.insert(address.to_owned(), (text, Instant::now()));
    }

    /// All is well again.
    pub fn settled(&mut self, address: &str) {
        tracing::info!(address, "linked to the control plane");
        self.last.clear();
    }
}

/// What a status says; one of the transport's own says it in its causes.
fn told(status: &Status) -> String {
    match status.source() {
        Some(cause) => chain(cause),
        None => status.message().to_owned(),
    }
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(deeper) = cause {
        write!(text, ": {deeper}").expect("a string takes everything");
        cause = deeper.source();
    }
    text
}
