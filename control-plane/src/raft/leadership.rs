//! Who leads, as this voter sees it.

use std::time::Duration;

use openraft::{RaftMetrics, ServerState};

use super::config::{QUORUM_MAX, Voter};

/// Who leads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Leadership {
    /// This voter, and a majority answers it.
    Here {
        /// Since this election.
        term: u64,
    },
    /// Another one.
    There {
        /// Which.
        id: u64,
        /// How it is reached.
        voter: Voter,
    },
    /// None that is known.
    Nobody,
}

/// What openraft's view of things means.
pub(super) fn of(metrics: &RaftMetrics<u64, Voter>) -> Leadership {
    if metrics.running_state.is_err() {
        return Leadership::Nobody;
    }
    if metrics.state == ServerState::Leader {
        let silence = metrics.millis_since_quorum_ack.map(Duration::from_millis);
        return match silence {
            Some(silence) if silence < QUORUM_MAX => Leadership::Here { term: metrics.current_term },
            Some(_) | None => Leadership::Nobody,
        };
    }
    let leader = metrics.current_leader.filter(|leader| *leader != metrics.id);
    let known = leader.and_then(|id| metrics.membership_config.membership().get_node(&id).map(|voter| (id, voter)));
    known.map_or(Leadership::Nobody, |(id, voter)| Leadership::There { id, voter: voter.clone() })
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::Arc;

    use openraft::error::Fatal;
    use openraft::{Membership, RaftMetrics, ServerState, StoredMembership};

    use super::{Leadership, Voter, of};

    fn metrics(state: ServerState, leader: Option<u64>, silence_ms: Option<u64>) -> RaftMetrics<u64, Voter> {
        let voter = |id: u64| (id, Voter { address: format!("v{id}:1"), ..Voter::default() });
        let members: BTreeMap<u64, Voter> = [1, 2].map(voter).into();
        let membership = Membership::new(vec![BTreeSet::from([1, 2])], members);
        let mut metrics = RaftMetrics::new_initial(1);
        metrics.state = state;
        metrics.current_leader = leader;
        metrics.current_term = 7;
        metrics.millis_since_quorum_ack = silence_ms;
        metrics.membership_config = Arc::new(StoredMembership::new(None, membership));
        metrics
    }

    #[test]
    fn a_leader_leads_while_a_majority_answers_it() {
        let there = Leadership::There { id: 2, voter: Voter { address: "v2:1".to_owned(), ..Voter::default() } };
        for (state, leader, silence_ms, expected) in [
            (ServerState::Leader, Some(1), Some(10), Leadership::Here { term: 7 }),
            (ServerState::Leader, Some(1), Some(5000), Leadership::Nobody),
            (ServerState::Leader, Some(1), None, Leadership::Nobody),
            (ServerState::Follower, Some(2), None, there.clone()),
            (ServerState::Learner, Some(2), None, there),
            (ServerState::Follower, Some(3), None, Leadership::Nobody),
            (ServerState::Follower, Some(1), None, Leadership::Nobody),
            (ServerState::Candidate, None, None, Leadership::Nobody),
        ] {
            assert_eq!(of(&metrics(state, leader, silence_ms)), expected, "{state:?} {leader:?} {silence_ms:?}");
        }
        let mut stopped = metrics(ServerState::Leader, Some(1), Some(10));
        stopped.running_state = Err(Fatal::Stopped);
        assert_eq!(of(&stopped), Leadership::Nobody);
    }
}
