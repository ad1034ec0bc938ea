//! Snapshots that a volume gets by themselves.
//!
//! A schedule says when ([`Cron`], in UTC) and how many are kept. It deletes only what it made itself; what it made stays
//! when the schedule is taken away. A time at which the volume is not served is left out, and told by `explain`; of several
//! that were missed because nobody led, one is made up for.

mod calendar;
mod cron;

use block::SnapshotId;

pub(crate) use calendar::stamp;
pub use cron::{Cron, CronError};

use crate::command::Time;
use crate::name::{NAME_BYTES_MAX, Name};

/// Schedules of one volume.
pub const SCHEDULES_MAX: usize = 16;
/// Snapshots that one schedule may keep.
pub const KEEP_MAX: u32 = 200;

/// A schedule of a volume.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Schedule {
    /// When.
    pub cron: Cron,
    /// How many of its snapshots are kept.
    pub keep: u32,
    /// The next time.
    pub next: Time,
    /// What became of the last one.
    pub last: Option<Run>,
}

/// What became of a time at which a snapshot was due.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Run {
    /// When it was.
    pub at: Time,
    /// The snapshot, or why there is none, in words.
    pub made: Result<SnapshotId, String>,
}

/// The name of a schedule's snapshot: `VOLUME-SCHEDULE-20260102t0304z`. `None` when that is too long for a name.
pub(crate) fn snapshot_name(volume: &Name, schedule: &Name, at: Time) -> Option<Name> {
    let text = format!("{volume}-{schedule}-{}", stamp(at));
    (text.len() <= NAME_BYTES_MAX).then(|| text.parse().expect("made of names, digits and letters"))
}
