//! Groups with lost blocks, read for learners.
//!
//! A learner takes over that a block is lost: it holds its checksum, and reading it fails there as it does here. Otherwise
//! one block that rotted everywhere would keep every learner out for ever. So nothing that anybody may still have is told to
//! be lost: every member said that it lacks it, and so did the learner itself, which the copy would overwrite.

use block::PoolId;
use store::{Outcome, ReadData};

use crate::copies::rot::Span;
use crate::copies::work::{Handed, Reading};
use crate::mark::Mark;
use crate::pipeline::Pipeline;
use crate::slab::Key;

impl Pipeline {
    /// A group could not be read for a learner: whether it is read again, at once or when something is repaired.
    pub(super) fn lesson_tries_again(&mut self, key: Key, span: Span, peer: PoolId) -> bool {
        let token = Mark::Work(key).token();
        let knows = self.copies.peers.knows_lost(peer);
        if !self.copies.rot.may_try(token) || (self.copies.rot.count(span).1 > 0 && !knows) {
            self.copies.rot.ended(token);
            return false;
        }
        let who = self.who_must_lack_it(span, peer);
        self.copies.rot.doubt(span, &who, self.copies.now);
        let (open, lost) = self.copies.rot.count(span);
        if open > 0 || lost == 0 {
            self.copies.rot.await_repairs(token, span);
        } else {
            self.read_group_again(key, Reading::WithLost);
        }
        true
    }

    fn who_must_lack_it(&self, span: Span, peer: PoolId) -> Vec<PoolId> {
        let copy = self.volumes.get(&span.volume).and_then(|volume| volume.copy.as_deref());
        let configuration = copy.and_then(|copy| copy.replica.configuration());
        let members = configuration.into_iter().flat_map(|found| found.members.keys().copied());
        members.filter(|member| *member != self.copies.me).chain([peer]).collect()
    }

    /// What came of a request to the store. A read that names blocks as bad counts only if all of them are known to be lost:
    /// otherwise it is made again, as one that fails, and what it finds is asked for.
    pub(crate) fn vouched(&mut self, mark: Mark, outcome: Outcome) -> Option<Outcome> {
        let (Mark::Work(key), Outcome::Read(found)) = (mark, &outcome) else { return Some(outcome) };
        if self.are_lost(key, found) {
            return Some(outcome);
        }
        if let Outcome::Read(found) = outcome {
            self.store.recycle(found.buffer);
        }
        self.read_group_again(key, Reading::Whole);
        None
    }

    fn are_lost(&self, key: Key, found: &ReadData) -> bool {
        if found.lost.is_empty() {
            return true;
        }
        let Some(span) = self.copies.handed.get(key).and_then(Handed::reads) else { return false };
        let is_lost = |(block, checksum): &(u32, block::Checksum)| {
            let block = span.range.first.0 + u64::from(*block);
            self.copies.rot.lost_within(span).any(|(at, held)| at.0 == block && held.checksum == *checksum)
        };
        found.lost.iter().all(is_lost)
    }
}
