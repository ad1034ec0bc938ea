//! Deletes what killed commands left: loans that nobody renews.
//!
//! How long that was is measured here, by this voter's clock and while it leads: nobody else's clock counts, and after a
//! change of leader everybody has the whole time again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use block::{SnapshotId, VolumeId};
use cluster::{Change, Loan, Name, State};
use tokio::time::{Instant, sleep};

use crate::raft::{Consensus, Leadership};

/// A loan that was not renewed for so long is over. Commands renew theirs six times as often.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// Between two looks.
const PAUSE: Duration = Duration::from_secs(5);

/// Looks after loans while this voter leads.
pub(super) async fn run(consensus: Arc<Consensus>) {
    let mut leadership = consensus.leadership_changes();
    let mut watch = Watch::default();
    loop {
        let leads = |leadership: &Leadership| matches!(leadership, Leadership::Here { .. });
        if !leads(&leadership.borrow()) {
            watch = Watch::default();
            if leadership.wait_for(leads).await.is_err() {
                return;
            }
        }
        for change in watch.look(Instant::now(), consensus.read(|state: &State| state.loans().collect())) {
            tracing::info!(?change, "a loan was not renewed: the command that made it was killed");
            if let Err(error) = consensus.propose(change, None).await {
                tracing::debug!(%error, "a loan is not deleted");
            }
        }
        sleep(PAUSE).await;
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Id {
    Volume(VolumeId),
    Snapshot(SnapshotId),
}

/// Since when each loan is as it is.
#[derive(Debug, Default)]
struct Watch {
    seen: BTreeMap<Id, (String, Instant)>,
}

impl Watch {
    /// Takes note of all loans there are; answers what ends those that were not renewed.
    fn look(&mut self, now: Instant, loans: Vec<Loan>) -> Vec<Change> {
        let before = std::mem::take(&mut self.seen);
        let mut over = Vec::new();
        for loan in loans {
            let (id, name, renewed) = parts(loan);
            let since = before.get(&id).filter(|(value, _)| *value == renewed).map_or(now, |(_, since)| *since);
            if now.duration_since(since) > SILENCE_MAX {
                over.push(end(id, name));
            }
            self.seen.insert(id, (renewed, since));
        }
        over
    }
}

fn parts(loan: Loan) -> (Id, Name, String) {
    match loan {
        Loan::Volume { id, name, renewed } => (Id::Volume(id), name, renewed),
        Loan::Snapshot { id, name } => (Id::Snapshot(id), name, String::new()),
    }
}

fn end(id: Id, name: Name) -> Change {
    match id {
        Id::Volume(_) => Change::DeleteVolume { volume: name, force: true },
        Id::Snapshot(_) => Change::DeleteSnapshot { snapshot: name },
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use block::{SnapshotId, VolumeId};
    use cluster::{Change, Loan, Name};
    use tokio::time::Instant;

    use super::{SILENCE_MAX, Watch};

    fn name(text: &str) -> Name {
        text.parse().expect("a name")
    }

    fn volume(renewed: &str) -> Loan {
        Loan::Volume { id: VolumeId(1), name: name("copy-1"), renewed: renewed.to_owned() }
    }

    #[test]
    fn a_loan_ends_when_it_was_not_renewed_for_a_while_and_not_before() {
        let begin = Instant::now();
        let at = |seconds: u64| begin + Duration::from_secs(seconds);
        let snapshot = Loan::Snapshot { id: SnapshotId(1), name: name("export-1") };
        let mut watch = Watch::default();
        assert_eq!(watch.look(at(0), vec![volume("0"), snapshot.clone()]), []);
        assert_eq!(watch.look(at(SILENCE_MAX.as_secs()), vec![volume("1")]), []);
        assert_eq!(watch.look(at(70), vec![volume("1"), snapshot.clone()]), [], "its volume was there meanwhile");
        assert_eq!(watch.look(at(120), vec![volume("1"), snapshot.clone()]), []);
        let deleted = Change::DeleteVolume { volume: name("copy-1"), force: true };
        assert_eq!(watch.look(at(121), vec![volume("1"), snapshot.clone()]), [deleted]);
        let deleted = Change::DeleteSnapshot { snapshot: name("export-1") };
        assert_eq!(watch.look(at(131), vec![snapshot]), [deleted]);
    }
}
