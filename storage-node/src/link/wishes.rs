//! What the replicas here ask the control plane for, held back until it is known that this node hears the leader.
//!
//! A link may work in one direction only. Who is not heard any more should go; who does not hear should not have the others
//! go, or become primary: nobody could be served by it, and it would never know. So the leader is asked whether it is there
//! first, and what was asked for meanwhile leaves when it has said so. Late answers do not count: then what was asked for is
//! old, and asked for again if it still is.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use block::VolumeId;
use node::Proposal;
use tokio::time::Instant;

/// How old an answer may be.
const ANSWER_MAX: Duration = Duration::from_secs(1);

/// Those of one stream.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    /// Came after the question.
    late: BTreeMap<VolumeId, Proposal>,
    /// Wait for the answer.
    asked: BTreeMap<VolumeId, Proposal>,
    /// May leave.
    ready: VecDeque<(VolumeId, Proposal)>,
    question: Option<(u64, Instant)>,
    number: u64,
}

impl Wishes {
    /// A replica asks for something. Of what it asked for before only this counts.
    pub fn add(&mut self, volume: VolumeId, wanted: Proposal) {
        self.late.insert(volume, wanted);
    }

    /// Whether a question is to be asked.
    pub fn asks(&self) -> bool {
        !self.late.is_empty() && self.question.is_none()
    }

    /// The question that is to be asked now, if one is.
    pub fn question(&mut self, now: Instant) -> Option<u64> {
        if !self.asks() {
            return None;
        }
        self.asked = std::mem::take(&mut self.late);
        self.number += 1;
        self.question = Some((self.number, now));
        Some(self.number)
    }

    /// The leader is there.
    pub fn answered(&mut self, number: u64, now: Instant) {
        let Some((_, since)) = self.question.filter(|(asked, _)| *asked == number) else { return };
        self.question = None;
        let asked = std::mem::take(&mut self.asked);
        if now.duration_since(since) <= ANSWER_MAX {
            self.ready.extend(asked);
        }
    }

    /// Leaders of older versions cannot be asked.
    pub fn trust(&mut self) {
        self.ready.extend(std::mem::take(&mut self.late));
    }

    /// Whether something may leave.
    pub fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// What leaves next.
    pub fn next(&mut self) -> Option<(VolumeId, Proposal)> {
        self.ready.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use block::{Epoch, Incarnation, PoolId, VolumeId};
    use node::{Configuration, Proposal};
    use tokio::time::Instant;

    use super::{ANSWER_MAX, Wishes};

    fn wish(epoch: u32) -> Proposal {
        let members = BTreeMap::from([(PoolId(1), Incarnation(1))]);
        let configuration = Configuration {
            epoch: Epoch(epoch + 1),
            primary: PoolId(1),
            members,
            members_min: 1,
            cache_generation: 0,
            recovery: false,
            history: Epoch(1),
        };
        Proposal { expected: Epoch(epoch), proposer: (PoolId(1), Incarnation(1)), configuration }
    }

    fn leaving(wishes: &mut Wishes) -> Vec<(VolumeId, u32)> {
        std::iter::from_fn(|| wishes.next()).map(|(volume, wanted)| (volume, wanted.expected.0)).collect()
    }

    #[test]
    fn nothing_leaves_before_the_leader_has_said_that_it_is_there() {
        let (mut wishes, now) = (Wishes::default(), Instant::now());
        wishes.add(VolumeId(1), wish(4));
        let number = wishes.question(now).unwrap();
        wishes.add(VolumeId(1), wish(5));
        assert!(!wishes.is_ready() && wishes.question(now).is_none(), "one question at a time");
        wishes.answered(number + 7, now);
        assert!(!wishes.is_ready());
        wishes.answered(number, now);
        assert_eq!(leaving(&mut wishes), [(VolumeId(1), 4)]);
        let number = wishes.question(now).unwrap();
        wishes.answered(number, now);
        assert_eq!(leaving(&mut wishes), [(VolumeId(1), 5)], "what came after the question waited for the next");
    }

    #[test]
    fn what_was_asked_for_long_ago_is_forgotten() {
        let (mut wishes, now) = (Wishes::default(), Instant::now());
        wishes.add(VolumeId(1), wish(4));
        let number = wishes.question(now).unwrap();
        wishes.add(VolumeId(2), wish(9));
        let later = now + ANSWER_MAX + Duration::from_millis(1);
        wishes.answered(number, later);
        assert!(!wishes.is_ready());
        let number = wishes.question(later).unwrap();
        wishes.answered(number, later);
        assert_eq!(leaving(&mut wishes), [(VolumeId(2), 9)]);
    }
}
