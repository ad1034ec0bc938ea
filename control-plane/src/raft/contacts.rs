//! When each voter was heard last, and when a leader was.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Voters and when they were heard.
#[derive(Default, Debug)]
pub(super) struct Contacts(Mutex<Heard>);

#[derive(Default, Debug)]
struct Heard {
    voters: BTreeMap<u64, Instant>,
    leader: Option<Instant>,
    voted: Option<Instant>,
}

impl Contacts {
    /// The voter was heard just now.
    pub fn note(&self, voter: u64) {
        self.heard().voters.insert(voter, Instant::now());
    }

    /// How long ago the voter was heard; `None` if never.
    pub fn since(&self, voter: u64) -> Option<Duration> {
        self.heard().voters.get(&voter).map(Instant::elapsed)
    }

    /// Forgets those who are no members.
    pub fn retain(&self, is_member: impl Fn(u64) -> bool) {
        self.heard().voters.retain(|voter, _| is_member(*voter));
    }

    /// There is a leader: it was heard just now, or it is this voter.
    pub fn note_leader(&self) {
        self.heard().leader = Some(Instant::now());
    }

    /// How long ago there was a leader; `None` if not since this voter started.
    pub fn since_leader(&self) -> Option<Duration> {
        self.heard().leader.as_ref().map(Instant::elapsed)
    }

    /// This voter has just voted, for itself or another.
    pub fn note_vote(&self) {
        self.heard().voted = Some(Instant::now());
    }

    /// How long ago it voted; `None` if not since it started.
    pub fn since_vote(&self) -> Option<Duration> {
        self.heard().voted.as_ref().map(Instant::elapsed)
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
