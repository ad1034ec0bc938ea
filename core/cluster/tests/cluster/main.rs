//! The cluster's state against nodes that are slow, lost and back again.

#![allow(clippy::unwrap_used, reason = "a test says what went wrong by failing")]

mod histories;
mod pools;
mod promises;
mod replicated;
mod snapshots;
mod world;

use proptest::prelude::ProptestConfig;

/// So many random histories, or as many as PROPTEST_CASES says.
fn cases(count: u32) -> ProptestConfig {
    let from_outside = ProptestConfig::default();
    if std::env::var_os("PROPTEST_CASES").is_some() { from_outside } else { ProptestConfig::with_cases(count) }
}
