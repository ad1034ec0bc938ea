//! When a voter asks for votes: when it has not heard a leader for a while, a majority has not either, and nobody who would
//! vote has more of the log.
//!
//! Openraft alone asks after a random time, whether or not it can win. A vote that is refused because the other one has
//! an entry more costs two more timeouts, which made one failover of five take 2.2 to 3.6 s; and a voter that comes back
//! brings down a leader that everybody else hears. So a voter asks around first, which changes nothing anywhere. Whether
//! a vote is given is still for openraft to decide: what is found here is only when to ask.

use std::cmp::Ordering;
use std::sync::Arc;
use std::time::Duration;

use openraft::storage::RaftLogStorage;
use openraft::{LogId, Raft, ServerState, StorageError};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::config::{LEASE, SILENCE_MAX, TypeConfig, VOTE_MAX, Voter};
use super::contacts::Contacts;
use super::network::Network;
use crate::store::LogStore;

/// How often a voter looks whether there is a leader.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// How long the others may take to say what they think.
const CANVASS_MAX: Duration = Duration::from_millis(200);
/// For so long a voter leaves it to one with more of the log, or a higher number, to ask for votes: it may be unable to.
const PRECEDENCE_MAX: Duration = Duration::from_millis(500);

/// What a voter thinks of an election.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Opinion {
    /// How long ago there was a leader; `None` if not since it started.
    pub silence: Option<Duration>,
    /// The last entry of its log.
    pub last: Option<LogId<u64>>,
}

/// How this voter stands.
pub(super) struct Standing {
    pub raft: Raft<TypeConfig>,
    pub log: LogStore,
    pub contacts: Arc<Contacts>,
}

/// Asks for votes when it should.
pub(super) struct Campaign {
    pub standing: Arc<Standing>,
    pub network: Network,
}

/// What follows from the opinions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    /// No majority would vote for this voter.
    Hopeless,
    /// It would win, and so would another one that should rather.
    Win { another: bool },
}

impl Standing {
    /// What this voter thinks. In words, when it cannot say.
    pub async fn opinion(&self) -> Result<Opinion, String> {
        // One that leads hears itself.
        if self.leads() {
            self.contacts.note_leader();
        }
        let last = self.last().await.map_err(|error| error.to_string())?;
        Ok(Opinion { silence: self.contacts.since_leader(), last })
    }

    async fn last(&self) -> Result<Option<LogId<u64>>, StorageError<u64>> {
        Ok(self.log.clone().get_log_state().await?.last_log_id)
    }

    fn leads(&self) -> bool {
        self.raft.metrics().borrow().state == ServerState::Leader
    }

    /// Whether there has been no leader for a while, and no election either.
    fn is_due(&self) -> bool {
        let quiet = self.contacts.since_leader().is_none_or(|silence| silence > SILENCE_MAX);
        !self.leads() && quiet && self.contacts.since_vote().is_none_or(|since| since > VOTE_MAX)
    }
}

impl Opinion {
    /// Whether it would vote for one whose log ends so.
    fn favours(&self, last: Option<LogId<u64>>) -> bool {
        self.is_free() && self.last <= last
    }

    fn is_free(&self) -> bool {
        self.silence.is_none_or(|silence| silence > LEASE)
    }
}

/// `others` are those of `voters - 1` that answered.
fn weigh(me: u64, last: Option<LogId<u64>>, voters: usize, others: &[(u64, Opinion)]) -> Verdict {
    let votes = 1 + others.iter().filter(|(_, opinion)| opinion.favours(last)).count();
    if votes * 2 <= voters {
        return Verdict::Hopeless;
    }
    let precedes = |(id, opinion): &(u64, Opinion)| {
        opinion.is_free() && opinion.last.cmp(&last).then(id.cmp(&me)) == Ordering::Greater
    };
    Verdict::Win { another: others.iter().any(precedes) }
}

impl Campaign {
    /// Until the voter ends.
    pub async fn run(self) {
        let mut looks = interval(LOOK_INTERVAL);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut left_to_another = None;
        loop {
            looks.tick().await;
            if !self.standing.is_due() {
                left_to_another = None;
                continue;
            }
            match self.canvass().await {
                None => return,
                Some(Verdict::Hopeless) => {}
                Some(Verdict::Win { another: true })
                    if left_to_another.get_or_insert_with(Instant::now).elapsed() < PRECEDENCE_MAX => {}
                Some(Verdict::Win { .. }) => {
                    left_to_another = None;
                    self.standing.contacts.note_vote();
                    if self.standing.raft.trigger().elect().await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// Asks everybody; `None` when this voter has stopped.
    async fn canvass(&self) -> Option<Verdict> {
        let (me, voters) = {
            let metrics = self.standing.raft.metrics();
            let seen = metrics.borrow();
            seen.running_state.as_ref().ok()?;
            let membership = seen.membership_config.membership();
            let voter = |id| membership.get_node(&id).map(|voter| (id, voter.clone()));
            (seen.id, membership.voter_ids().filter_map(voter).collect::<Vec<(u64, Voter)>>())
        };
        let last = self.standing.last().await.ok()?;
        if !voters.iter().any(|(id, _)| *id == me) {
            return Some(Verdict::Hopeless);
        }
        let count = voters.len();
        let mut asked = JoinSet::new();
        for (id, voter) in voters.into_iter().filter(|(id, _)| *id != me) {
            let network = self.network.clone();
            asked.spawn(async move { (id, network.canvass(id, &voter, CANVASS_MAX).await) });
        }
        let answers = asked.join_all().await;
        let others: Vec<_> = answers.into_iter().filter_map(|(id, answer)| Some((id, answer.ok()?))).collect();
        Some(weigh(me, last, count, &others))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use openraft::testing::log_id;

    use super::{Opinion, Verdict, weigh};

    fn opinion(silence_ms: Option<u64>, index: u64) -> Opinion {
        Opinion { silence: silence_ms.map(Duration::from_millis), last: Some(log_id(3, 1, index)) }
    }

    /// Voter 2 of three, whose log ends at 7, and what the others say.
    #[test]
    fn a_voter_asks_for_votes_when_it_will_get_them_and_nobody_should_rather() {
        let (win, another) = (Verdict::Win { another: false }, Verdict::Win { another: true });
        let rows: &[(&[(u64, Opinion)], Verdict)] = &[
            (&[], Verdict::Hopeless),
            (&[(1, opinion(Some(800), 7))], win),
            (&[(1, opinion(None, 7))], win),
            // It hears a leader.
            (&[(1, opinion(Some(100), 7))], Verdict::Hopeless),
            (&[(1, opinion(Some(100), 7)), (3, opinion(Some(800), 7))], another),
            (&[(1, opinion(Some(800), 7)), (3, opinion(Some(100), 9))], win),
            // It has more of the log.
            (&[(1, opinion(Some(800), 8))], Verdict::Hopeless),
            (&[(1, opinion(Some(800), 8)), (3, opinion(Some(800), 6))], another),
            // As much, and a higher number.
            (&[(3, opinion(Some(800), 7))], another),
            (&[(3, opinion(Some(800), 6))], win),
        ];
        for (others, expected) in rows {
            assert_eq!(weigh(2, Some(log_id(3, 1, 7)), 3, others), *expected, "{others:?}");
        }
    }

    #[test]
    fn one_that_is_alone_asks_at_once() {
        assert_eq!(weigh(1, None, 1, &[]), Verdict::Win { another: false });
    }
}
