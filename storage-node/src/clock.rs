//! Where time enters: the one clock of the data plane.

use block::Instant;
use rustix::time::{ClockId, clock_gettime};

/// Now, by `CLOCK_BOOTTIME`: it does not stop in suspend and is not adjusted.
pub(crate) fn now() -> Instant {
    Instant(nanoseconds(ClockId::Boottime))
}

/// CPU time this process has used, in seconds.
pub(crate) fn process_cpu_seconds() -> f64 {
    seconds(nanoseconds(ClockId::ProcessCPUTime))
}

/// CPU time the calling thread has used, in seconds.
pub(crate) fn thread_cpu_seconds() -> f64 {
    seconds(nanoseconds(ClockId::ThreadCPUTime))
}

fn nanoseconds(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people: 2^53 ns are 104 days, exact to the nanosecond")]
fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}
