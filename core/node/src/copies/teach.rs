//! Learners of all volumes are taught in turn, at the node's pace.

use std::ops::Bound;

use block::VolumeId;
use replication::Event;

use crate::pipeline::Pipeline;

/// Of one volume in a turn, so that those behind it get theirs.
const GROUPS_PER_TURN: u32 = 4;

impl Pipeline {
    /// Has groups read for the learners of a volume, as many as may be now; what it is to wait for is noted.
    pub(super) fn teach(&mut self, id: VolumeId) {
        let wanted = self.copy_mut(id).map_or(0, |copy| copy.replica.lessons_wanted());
        if wanted == 0 {
            self.copies.teaching.remove(&id);
            return;
        }
        let awaited = self.in_flight_bytes() > 0;
        let groups = self.copies.pace.allow(self.copies.now, wanted.min(GROUPS_PER_TURN), awaited);
        if groups < wanted {
            self.copies.teaching.insert(id);
        } else {
            self.copies.teaching.remove(&id);
        }
        if groups > 0
            && let Some(copy) = self.copy_mut(id)
        {
            copy.events.push_back(Event::Teach { groups });
            self.copies.taught = id;
            while self.handle_next(id) {}
        }
    }

    /// It may be time for more: whose turn is next goes on.
    pub(super) fn teach_on(&mut self) {
        if self.copies.teaching.is_empty() || self.copies.pace.deadline() > self.copies.now {
            return;
        }
        let behind = (Bound::Excluded(self.copies.taught), Bound::Unbounded);
        let next = self.copies.teaching.range(behind).next().or_else(|| self.copies.teaching.first()).copied();
        self.copies.stirred.extend(next);
    }
}
