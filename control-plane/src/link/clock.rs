//! Time, for decisions that wait for it. A decision is a function of the state and of the time that commands carry: whoever
//! leads brings the time into the log when the state says that it is due.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cluster::{Change, State, Time};
use tokio::time::{sleep, timeout};

use crate::raft::{Consensus, Leadership};

/// Between two looks: how late a decision may be, and how often the log gets a time at most.
const PAUSE: Duration = Duration::from_millis(200);

/// Brings the time into the log whenever it is due and this voter leads.
pub(super) async fn run(consensus: Arc<Consensus>) {
    let mut revisions = consensus.revisions();
    let mut leadership = consensus.leadership_changes();
    loop {
        let leads = |leadership: &Leadership| matches!(leadership, Leadership::Here { .. });
        if leadership.wait_for(leads).await.is_err() {
            return;
        }
        revisions.mark_unchanged();
        match consensus.read(State::deadline) {
            Some(due) if due <= now() => {
                if let Err(error) = consensus.propose(Change::Tick, None).await {
                    tracing::debug!(%error, "the time is not in the log");
                }
            }
            due => {
                // The state may change so that something is due earlier.
                let changed = match due.map(left) {
                    Some(left) => timeout(left, revisions.changed()).await.unwrap_or(Ok(())),
                    None => revisions.changed().await,
                };
                if changed.is_err() {
                    return;
                }
            }
        }
        sleep(PAUSE).await;
    }
}

/// How long until then.
fn left(due: Time) -> Duration {
    Duration::from_millis(due.0.saturating_sub(now().0))
}

/// As commands carry it.
fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
