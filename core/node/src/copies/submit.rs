//! Parts and flushes of a replicated volume: each gets its place in the order when the store would take it.

use block::{BlockRange, Error, VolumeId};
use replication::{Change, NotServing, OpId};
use store::Refusal;

use crate::mark::Mark;
use crate::pipeline::{Pipeline, error_of};

/// What became of a request that waited.
enum Tried {
    /// It has its place.
    Submitted,
    /// It is over.
    Refused(Error),
    /// It waits on, and so does everything behind it.
    Waits,
}

impl Pipeline {
    /// The request takes its place as soon as there is one.
    pub(crate) fn wait_for_place(&mut self, id: VolumeId, mark: Mark) {
        if let Some(copy) = self.copy_mut(id) {
            copy.waiting.push_back(mark);
            self.copies.stirred.insert(id);
            self.pump();
        }
    }

    /// Gives places to what waits, first come first.
    pub(super) fn submit_waiting(&mut self, id: VolumeId) {
        while let Some(mark) = self.copy_mut(id).and_then(|copy| copy.waiting.front().copied()) {
            let tried = self.try_submit(id, mark);
            match tried {
                Tried::Waits => return,
                Tried::Submitted => {}
                Tried::Refused(error) => self.copies.ended.push_back((mark, Some(error))),
            }
            if let Some(copy) = self.copy_mut(id) {
                copy.waiting.pop_front();
            }
            self.copies.stirred.insert(id);
        }
    }

    fn try_submit(&mut self, id: VolumeId, mark: Mark) -> Tried {
        let blocks = self.payload_blocks(mark);
        let Some(copy) = self.copy_mut(id) else { return Tried::Refused(Error::ShuttingDown) };
        match copy.replica.may_submit(blocks) {
            Ok(()) => {}
            // Its connection is about to end.
            Err(NotServing::NotPrimary) => return Tried::Refused(Error::ShuttingDown),
            Err(NotServing::TooFew | NotServing::Busy) => return Tried::Waits,
        }
        // Only when nothing else is before it with the store is what the store says now what it will say then.
        self.hand_work(id);
        if self.copy_mut(id).is_none_or(|copy| !copy.work.is_empty() || !copy.events.is_empty()) {
            return Tried::Waits;
        }
        match self.would_take(id, mark) {
            Ok(()) => {}
            Err(Refusal::Busy) => {
                self.copies.starved.insert(id);
                return Tried::Waits;
            }
            Err(refusal) => return Tried::Refused(error_of(refusal)),
        }
        let (change, fua) = match mark {
            Mark::Part(key) => self.change_of_part(key),
            Mark::Op(_) => (Change::Flush, false),
            Mark::Head(_) | Mark::Tail(_) | Mark::Command(_) | Mark::Work(_) => {
                unreachable!("only parts and flushes wait for a place")
            }
        };
        let now = self.copies.now;
        let Some(copy) = self.copy_mut(id) else { return Tried::Refused(Error::ShuttingDown) };
        let mut effects = Vec::new();
        let placed = copy.replica.submit(now, OpId(mark.token().0), change, fua, &mut effects);
        placed.expect("it may be submitted, and nothing happened since");
        self.carry_out(id, &mut effects);
        self.hand_work(id);
        if let Mark::Part(key) = mark {
            self.release(key, id);
            self.settle();
        }
        Tried::Submitted
    }

    fn payload_blocks(&self, mark: Mark) -> u32 {
        match mark {
            Mark::Part(key) => match self.aim_of_part(key) {
                (_, true) => 0,
                (range, false) => range.count.0,
            },
            Mark::Op(_) | Mark::Head(_) | Mark::Tail(_) | Mark::Command(_) | Mark::Work(_) => 0,
        }
    }

    /// Refuses what takes more of the pools, while some are nearly full.
    fn may_grow(&self, id: VolumeId, range: BlockRange) -> Result<(), Refusal> {
        let copy = self.volumes.get(&id).and_then(|volume| volume.copy.as_deref());
        let has_room = copy.is_none_or(|copy| copy.replica.has_room());
        if !has_room && self.store.would_grow(id, range) {
            return Err(Refusal::NoSpace { free_bytes: 0 });
        }
        self.store.check_growth(id, range)
    }

    fn would_take(&self, id: VolumeId, mark: Mark) -> Result<(), Refusal> {
        match mark {
            Mark::Part(key) => match self.aim_of_part(key) {
                (range, true) => self.store.would_zero(id, range),
                (range, false) => self.store.would_write(id, range).and_then(|()| self.may_grow(id, range)),
            },
            Mark::Op(_) | Mark::Head(_) | Mark::Tail(_) | Mark::Command(_) | Mark::Work(_) => {
                self.store.poisoned().map_or(Ok(()), |_| Err(Refusal::Poisoned))
            }
        }
    }
}
