//! How the voters are, as this one sees them.

use std::time::Duration;

use openraft::RaftMetrics;

use super::config::Voter;
use super::consensus::Consensus;
use super::contacts::Contacts;

/// A voter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct VoterStatus {
    /// Its number.
    pub id: u64,
    /// Where it is reached.
    pub address: String,
    /// Whether it votes; one that does not is catching up.
    pub votes: bool,
    /// How long ago it was heard; `None` if never since this voter started. A leader hears all, the others their leader.
    pub heard: Option<Duration>,
    /// Entries that it lacks, as far as the leader knows; 0 from any other voter.
    pub lag: u64,
}

impl Consensus {
    /// Every member of the cluster.
    pub(crate) fn voters(&self) -> Vec<VoterStatus> {
        of(&self.raft.metrics().borrow(), &self.contacts)
    }
}

fn of(metrics: &RaftMetrics<u64, Voter>, contacts: &Contacts) -> Vec<VoterStatus> {
    let membership = &metrics.membership_config;
    let votes = |id: u64| membership.voter_ids().any(|voter| voter == id);
    let status = |(id, voter): (&u64, &Voter)| VoterStatus {
        id: *id,
        address: voter.address.clone(),
        votes: votes(*id),
        heard: if *id == metrics.id { Some(Duration::ZERO) } else { contacts.since(*id) },
        lag: lag(metrics, *id),
    };
    membership.nodes().map(status).collect()
}

/// Entries that a member lacks.
pub(super) fn lag(metrics: &RaftMetrics<u64, Voter>, id: u64) -> u64 {
    let Some(replication) = &metrics.replication else { return 0 };
    let entries = metrics.last_log_index.map_or(0, |last| last + 1);
    let matched = replication.get(&id).copied().flatten().map_or(0, |matched| matched.index + 1);
    entries.saturating_sub(matched)
}
