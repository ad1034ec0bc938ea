//! What is counted of the link, and read by others.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Counters that the link changes.
#[derive(Debug, Default)]
pub(crate) struct LinkCounters {
    connected: AtomicBool,
    streams: AtomicU64,
    revision: AtomicU64,
}

/// The link at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LinkFigures {
    /// Whether a leader has welcomed the node and the stream to it is open.
    pub connected: bool,
    /// Streams after the first one.
    pub reconnects: u64,
    /// Of the last intent that came.
    pub revision: u64,
}

/// Shows the link as connected while it is here.
#[derive(Debug)]
pub(super) struct Connected<'a>(&'a LinkCounters);

impl LinkCounters {
    /// A leader has welcomed the node.
    pub(super) fn connected(&self) -> Connected<'_> {
        self.streams.fetch_add(1, Ordering::Relaxed);
        self.connected.store(true, Ordering::Relaxed);
        Connected(self)
    }

    /// An intent came.
    pub(super) fn intended(&self, revision: u64) {
        self.revision.store(revision, Ordering::Relaxed);
    }

    /// As of now.
    pub fn figures(&self) -> LinkFigures {
        LinkFigures {
            connected: self.connected.load(Ordering::Relaxed),
            reconnects: self.streams.load(Ordering::Relaxed).saturating_sub(1),
            revision: self.revision.load(Ordering::Relaxed),
        }
    }
}

impl Drop for Connected<'_> {
    fn drop(&mut self) {
        self.0.connected.store(false, Ordering::Relaxed);
    }
}
