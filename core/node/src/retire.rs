//! A volume that nobody uses any more, of which only the snapshots are kept: its own blocks go, a step at a time.

use block::{BlockRange, VolumeId};
use store::{BlockExtent, Refusal, Source, Token};

use crate::limits::{STATUS_BLOCKS_MAX, ZERO_STEP_BLOCKS};
use crate::pipeline::Pipeline;

impl Pipeline {
    /// The next blocks from `first` on that are not all zeroes yet.
    pub fn next_to_retire(&self, id: VolumeId, first: u64) -> Option<BlockRange> {
        let end = self.store.volume(id)?.size_bytes / block::BLOCK_BYTES as u64;
        let mut at = first;
        while at < end {
            let some = |most: u32| u32::try_from((end - at).min(u64::from(most))).expect("at most that");
            let rest = BlockRange::new(at, some(STATUS_BLOCKS_MAX));
            match self.store.block_status(Source::Volume(id), rest, 1).ok()?.first()? {
                BlockExtent { hole: true, count } => at += u64::from(*count),
                BlockExtent { hole: false, .. } => return Some(BlockRange::new(at, some(ZERO_STEP_BLOCKS))),
            }
        }
        None
    }

    /// Zeroes blocks of a volume of one replica.
    pub fn retire_alone(&mut self, id: VolumeId, range: BlockRange, token: Token) -> Result<(), Refusal> {
        self.change(id, |store, seq| store.zero(id, seq, range, false, token))
    }

    /// Zeroes the next blocks of a replicated volume, when the last ones are zeroes everywhere.
    pub(crate) fn retire_on(&mut self, id: VolumeId) {
        let Some(copy) = self.copy_mut(id) else { return };
        let Some(first) = copy.retired else { return };
        if !copy.is_serving() {
            copy.retired = Some(0);
            return;
        }
        let next = self.next_to_retire(id, first);
        let Some(copy) = self.copy_mut(id) else { return };
        let Some(range) = next else {
            copy.retired = Some(u64::MAX);
            return;
        };
        let now = self.copies.now;
        let is_taken = self.store.would_zero(id, range).is_ok();
        let Some(copy) = self.copy_mut(id) else { return };
        let is_quiet = copy.work.is_empty() && copy.events.is_empty() && copy.replica.change_in_flight(range).is_none();
        if !is_taken || !is_quiet || copy.replica.may_submit(0).is_err() {
            return;
        }
        let mut effects = Vec::new();
        if copy.replica.zero(now, range, &mut effects).is_ok() {
            copy.retired = Some(range.end().0);
        }
        self.order(id, effects);
    }
}
