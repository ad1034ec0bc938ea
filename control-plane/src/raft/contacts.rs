//! When each voter was heard last.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Voters and when they were heard.
#[derive(Default, Debug)]
pub(super) struct Contacts(Mutex<BTreeMap<u64, Instant>>);

impl Contacts {
    /// The voter was heard just now.
    pub fn note(&self, voter: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(voter, Instant::now());
    }

    /// How long ago the voter was heard; `None` if never.
    pub fn since(&self, voter: u64) -> Option<Duration> {
        let heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        heard.get(&voter).map(Instant::elapsed)
    }

    /// Forgets those who are no members.
    pub fn retain(&self, is_member: impl Fn(u64) -> bool) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|voter, _| is_member(*voter));
    }
}
