//! The cluster's state against nodes that are slow, lost and back again.

#![allow(clippy::unwrap_used, reason = "a test says what went wrong by failing")]

mod histories;
mod pools;
mod promises;
mod replicated;
mod snapshots;
mod world;
