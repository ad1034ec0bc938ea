//! How often the log says that a node cannot be reached: it is tried many times a second.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::DialError;

/// The same complaint is repeated after so long.
const REPEAT_AFTER: Duration = Duration::from_secs(60);
/// Addresses whose complaints are remembered.
const ADDRESSES_MAX: usize = 1024;

/// What is in the log already. The lock is held for a moment, on the thread that connects.
#[derive(Debug, Default)]
pub(super) struct Complaints(Mutex<BTreeMap<String, Instant>>);

impl Complaints {
    /// Logs it, unless the address was complained about a moment ago.
    pub fn complain(&self, address: &str, error: &DialError) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.get(address).is_some_and(|when| when.elapsed() < REPEAT_AFTER) {
            return tracing::debug!(address, "another node was not connected to: {error}");
        }
        tracing::warn!(address, "another node was not connected to: {error}. It is tried again");
        if last.len() >= ADDRESSES_MAX {
            last.clear();
        }
        last.insert(address.to_owned(), Instant::now());
    }

    /// It answered.
    pub fn settled(&self, address: &str) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.remove(address).is_some() {
            tracing::info!(address, "another node is connected to again");
        }
    }
}
