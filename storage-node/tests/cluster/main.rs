//! Real nodes with real pools, linked to a leader that says what the test wants, and to each other.

#![allow(clippy::unwrap_used, reason = "these are tests")]

mod client;
mod copies;
mod intents;
mod leader;
mod link;
mod member;
mod obstacle;
mod refusal;
mod relay;
mod snapshots;
mod volumes;

use std::time::Duration;

/// Longest wait for anything.
pub const PATIENCE: Duration = Duration::from_secs(30);
