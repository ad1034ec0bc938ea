//! What each snapshot takes, looked up now and then: one after the other, and only when something was written meanwhile.

use std::collections::BTreeMap;
use std::time::Duration;

use block::{Instant, SnapshotId};
use store::{Outcome, Source, VersionSpace};

use crate::control::{Asker, Task};
use crate::mark::Mark;
use crate::node::Node;

/// Between two rounds over all snapshots.
const ROUND_EVERY: Duration = Duration::from_secs(5);
/// Between two snapshots.
const NEXT_AFTER: Duration = Duration::from_millis(100);

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Spaces {
    known: BTreeMap<SnapshotId, VersionSpace>,
    /// The last one that was looked up in this round.
    last: Option<SnapshotId>,
    is_asking: bool,
    next_at: Instant,
    /// What the pool held when the round began.
    held: Option<Held>,
}

/// Tells whether anything was written or deleted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Held {
    live_bytes: u64,
    free_bytes: u64,
    snapshots: usize,
}

impl Spaces {
    /// What a snapshot took when it was looked up last.
    pub fn of(&self, snapshot: SnapshotId) -> VersionSpace {
        self.known.get(&snapshot).copied().unwrap_or_default()
    }
}

impl Node {
    /// When the next snapshot is looked up, if there are any.
    pub(crate) fn spaces_deadline(&self) -> Option<Instant> {
        let has_any = self.pipeline.store.snapshots().next().is_some();
        (has_any && !self.spaces.is_asking && !self.phase.is_stopping()).then_some(self.spaces.next_at)
    }

    /// Looks one up, if it is time.
    pub(crate) fn look_up_space(&mut self, now: Instant) {
        if self.spaces_deadline().is_none_or(|at| at > now) {
            return;
        }
        let after = self.spaces.last.map_or(0, |last| last.0 + 1);
        let next = self.pipeline.store.snapshots_from(SnapshotId(after)).next().map(|state| state.id);
        let Some(snapshot) = next else { return self.end_round(now) };
        if self.spaces.last.is_none() && !self.begins_round() {
            self.spaces.next_at = now + ROUND_EVERY;
            return;
        }
        let key = self.commands.begin(Asker::Node { snapshot }, Task::Plain);
        self.spaces.next_at = now + NEXT_AFTER;
        self.spaces.last = Some(snapshot);
        match self.pipeline.store.request_space(Source::Snapshot(snapshot), Mark::Command(key).token()) {
            Ok(()) => {
                self.spaces.is_asking = true;
                self.pipeline.stir();
            }
            Err(_) => self.commands.withdraw(key),
        }
    }

    /// Whether there is something new to find.
    fn begins_round(&mut self) -> bool {
        let space = self.pipeline.store.space();
        let snapshots = self.pipeline.store.snapshots().count();
        let held = Held { live_bytes: space.live_bytes, free_bytes: space.free_bytes, snapshots };
        self.spaces.held.replace(held) != Some(held)
    }

    fn end_round(&mut self, now: Instant) {
        let store = &self.pipeline.store;
        self.spaces.known.retain(|snapshot, _| store.snapshot_state(*snapshot).is_some());
        self.spaces.last = None;
        self.spaces.next_at = now + ROUND_EVERY;
    }

    /// A snapshot's space is known.
    pub(crate) fn space_found(&mut self, snapshot: SnapshotId, outcome: &Outcome) {
        self.spaces.is_asking = false;
        if let Outcome::Space(found) = outcome {
            let before = self.spaces.known.insert(snapshot, *found);
            self.observation_changed |= before != Some(*found);
        }
    }
}
