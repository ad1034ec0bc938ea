//! The link to the control plane: a stream to whoever leads it, begun anew whenever it breaks.
//!
//! ```text
//!   attempt: connect, Hello ──> Welcome ──> stream: all that is held, then what changed ──> broken
//!      ^   \__ not the leader: try the one it names                  intents, to the data thread  │
//!      └───────────────────────────────── pause, the next address ────────────────────────────────┘
//! ```
//! Promises: no I/O waits for it; intents reach the machine in the order in which one leader gave them, and nothing of a
//! stream is used that did not come whole and checked; a leader of another cluster is not listened to. What an intent
//! means is decided in `node`.

mod attempts;
mod convert;
mod counters;
mod delta;
mod failure;
mod questions;
mod stream;
mod wishes;

use std::sync::Arc;
use std::time::Duration;

use block::PoolId;
use tokio::select;
use tokio::task::JoinHandle;

pub(crate) use counters::LinkCounters;
pub use counters::LinkFigures;

use crate::cluster::Introduction;
use crate::control::Control;
use attempts::Attempts;
use convert::ClusterId;
use failure::{Complaints, LinkError};
use stream::Stream;

/// The running link; it ends when it is dropped, or after [`Control::stop`].
#[derive(Debug)]
pub(crate) struct Link(JoinHandle<()>);

/// What the link is about.
#[derive(Debug)]
pub(crate) struct Subject {
    /// The node.
    pub control: Control,
    /// What it says of itself.
    pub introduction: Introduction,
    /// Its pool.
    pub pool: PoolId,
}

/// All of the link.
#[derive(Debug)]
struct Linking {
    subject: Subject,
    counters: Arc<LinkCounters>,
    attempts: Attempts,
    complaints: Complaints,
    /// The cluster that welcomed the node first.
    cluster: Option<ClusterId>,
    /// Whether clients have been let in.
    listening: bool,
}

impl Link {
    /// Starts it, with the addresses of the control plane, on the caller's runtime.
    pub fn start(subject: Subject, addresses: Vec<String>, counters: Arc<LinkCounters>) -> Self {
        let linking = Linking {
            subject,
            counters,
            attempts: Attempts::new(addresses),
            complaints: Complaints::default(),
            cluster: None,
            listening: false,
        };
        Self(tokio::spawn(linking.run()))
    }

    /// Waits for its end, which takes a moment after a stop was asked for.
    pub async fn ended(&mut self) {
        if !self.0.is_finished() {
            drop((&mut self.0).await);
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Linking {
    /// Until the node stops.
    async fn run(mut self) {
        let control = self.subject.control.clone();
        loop {
            let address = self.attempts.next();
            let pause = match self.attempt(&address).await {
                Ok(()) => return,
                Err(error) => self.pause_after(&address, error),
            };
            select! {
                () = tokio::time::sleep(pause) => {}
                () = control.stopping() => return,
            }
        }
    }

    /// One stream, from its beginning to its end; well only if the node stops.
    async fn attempt(&mut self, address: &str) -> Result<(), LinkError> {
        let control = self.subject.control.clone();
        let opened = select! {
            opened = Stream::open(address, &self.subject, self.cluster) => opened,
            () = control.stopping() => return Ok(()),
        };
        let stream = opened?;
        self.cluster = Some(stream.cluster());
        self.attempts.succeeded();
        self.complaints.settled(address);
        let counters = Arc::clone(&self.counters);
        let _connected = counters.connected();
        stream.run(self).await
    }

    fn pause_after(&mut self, address: &str, error: LinkError) -> Duration {
        if let LinkError::Elsewhere { leader } = error {
            tracing::debug!(address, leader, "the control plane is led by another voter");
            return self.attempts.follow(leader);
        }
        self.complaints.complain(address, &error);
        self.attempts.failed()
    }
}
