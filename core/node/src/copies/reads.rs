//! Reads of a replicated volume.
//!
//! The store reads what was there when it was asked, with changes that were in flight. Those may not be there after a
//! failover, so the read is not answered before the last of them that overlaps it is acknowledged; and then every lease
//! is looked at, for only now is it known that nobody else was primary when the content was. Changes that came later do
//! not hold a read up.

use block::{Error, VolumeId};
use store::ReadData;

use crate::copies::Replicated;
use crate::pipeline::{Ended, Pipeline, Reply, Task};
use crate::slab::Key;

impl Pipeline {
    /// The change that a read must wait for which the store is asked for now; 0 if there is none.
    pub(crate) fn note_flight(&mut self, key: Key) {
        let Some(op) = self.ops.get_mut(key) else { return };
        let range = op.asked.range.covering();
        let copy = self.volumes.get(&op.asked.volume).and_then(|volume| volume.copy.as_deref());
        let last = copy.and_then(|copy| copy.replica.change_in_flight(range));
        op.after = op.after.max(last.unwrap_or(0));
    }

    /// The content is there: it is answered now, or when it may be.
    pub(crate) fn hold_read(&mut self, key: Key, found: ReadData) {
        let op = self.ops.get_mut(key).expect("an op lives until its read is answered");
        op.task = Task::Held { found };
        let id = op.asked.volume;
        if self.try_answer(id, key) {
            return;
        }
        if let Some(copy) = self.copy_mut(id) {
            copy.parked.push(key);
        }
    }

    /// Answers what may be answered by now.
    pub(super) fn answer_parked(&mut self, id: VolumeId) {
        let Some(copy) = self.copy_mut(id) else { return };
        if copy.parked.is_empty() {
            return;
        }
        let mut parked = std::mem::take(&mut copy.parked);
        parked.retain(|key| !self.try_answer(id, *key));
        if let Some(copy) = self.copy_mut(id) {
            copy.parked.append(&mut parked);
        }
    }

    /// Whether the read waits no longer.
    fn try_answer(&mut self, id: VolumeId, key: Key) -> bool {
        let now = self.copies.now;
        let after = self.ops.get(key).map_or(0, |op| op.after);
        let copy = self.volumes.get(&id).and_then(|volume| volume.copy.as_deref());
        let is_answered = match copy.filter(|copy| copy.is_serving()) {
            // Its connection is about to end.
            None => false,
            Some(Replicated { replica, .. }) if replica.is_in_flight(after) || !replica.may_answer_reads(now) => {
                return false;
            }
            Some(_) => true,
        };
        let op = self.close(key);
        let Task::Held { found } = op.task else { unreachable!("only reads with their content are held") };
        let result = if is_answered {
            Ok(Reply::Read(found))
        } else {
            self.store.recycle(found.buffer);
            Err(Error::ShuttingDown)
        };
        self.end(Ended { asked: op.asked, result });
        true
    }

    /// Whether what the store's map says of the range is what was acknowledged last.
    pub(crate) fn may_tell_status(&self, id: VolumeId, range: block::ByteRange) -> bool {
        let copy = self.volumes.get(&id).and_then(|volume| volume.copy.as_deref());
        copy.is_none_or(|copy| {
            let free = copy.replica.change_in_flight(range.covering()).is_none();
            free && copy.replica.may_answer_reads(self.copies.now)
        })
    }
}
