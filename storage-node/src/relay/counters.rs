//! What is counted of relays, by their thread, and read by others.

use std::sync::atomic::{AtomicU64, Ordering};

use block::Instant;

use crate::clock;

/// Lines in the log about relays in one second; clients could have any number written.
const LINES_MAX: u64 = 50;
const SECOND: u64 = 1_000_000_000;

/// Counters that the relay thread changes.
#[derive(Debug, Default)]
pub(crate) struct RelayCounters {
    open: AtomicU64,
    bytes: AtomicU64,
    failures: AtomicU64,
    lines: AtomicU64,
    /// The second that they were written in.
    second: AtomicU64,
}

/// Relays at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RelayFigures {
    /// Relays there are.
    pub open: u64,
    /// Bytes carried, both ways together.
    pub bytes: u64,
    /// Relays that were not begun, or did not end in good order.
    pub failures: u64,
}

/// Counts a relay while it is here.
#[derive(Debug)]
pub(super) struct Counted<'a>(&'a RelayCounters);

impl RelayCounters {
    /// One more, until the answer is dropped.
    pub(super) fn open(&self) -> Counted<'_> {
        self.open.fetch_add(1, Ordering::Relaxed);
        Counted(self)
    }

    /// So many bytes were taken from one side.
    pub(super) fn carried(&self, len_bytes: usize) {
        self.bytes.fetch_add(len_bytes as u64, Ordering::Relaxed);
    }

    /// One went wrong.
    pub(super) fn failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// Writes a line, unless there were many in this second.
    pub(super) fn reporting(&self, report: impl FnOnce()) {
        let Instant(now) = clock::now();
        if self.second.swap(now / SECOND, Ordering::Relaxed) != now / SECOND {
            self.lines.store(0, Ordering::Relaxed);
        }
        if self.lines.fetch_add(1, Ordering::Relaxed) < LINES_MAX {
            report();
        }
    }

    /// As of now.
    pub fn figures(&self) -> RelayFigures {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        RelayFigures { open: read(&self.open), bytes: read(&self.bytes), failures: read(&self.failures) }
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}
