//! What a replica asks of its store: groups that come as copies, stamps, waits for everything, repairs.

use block::{BLOCK_BYTES, BlockIndex, Epoch, GROUP_BLOCKS, GroupIndex, VolumeId, WriteSeq};
use store::{Refusal, RepairError, Store, Token};

use super::{Change, Key, Waiting, World, fill};

const GROUP: u64 = GROUP_BLOCKS as u64;

impl World {
    pub(super) fn replicate(&mut self, volume: u64) -> Result<(), String> {
        match self.random.below(12) {
            0..5 => self.copy(volume),
            5 => self.restamp(volume),
            6 | 7 => self.stable(volume),
            8 => self.settle_all(),
            9 => self.repair(volume),
            _ => self.read_group(volume),
        }
    }

    /// A group of the volume, and its blocks.
    fn group(&mut self, volume: u64) -> (u64, u64) {
        let blocks = self.oracle.now().versions[&Key::Volume(volume)].blocks;
        let group = self.random.below(blocks.div_ceil(GROUP));
        (group, (blocks - group * GROUP).min(GROUP))
    }

    /// Somewhere in the volume's order, or a little beyond.
    fn place(&mut self, volume: u64) -> WriteSeq {
        let [WriteSeq { epoch, n }, _] = self.oracle.now().versions[&Key::Volume(volume)].order;
        let epoch = if self.random.one_in(3) { Epoch(epoch.0 / 2) } else { epoch };
        WriteSeq { epoch, n: 1 + self.random.below(n + 3) }
    }

    /// As a persisted change, which `call` asks for.
    fn submit(
        &mut self,
        change: Change,
        call: impl FnOnce(&mut Store, Token) -> Result<(), Refusal>,
    ) -> Result<bool, String> {
        let count = self.oracle.submitted() + 1;
        let token = self.token(Waiting::Change { count, stable: false });
        match call(&mut self.store, token) {
            Err(refusal) => self.refused(token, refusal).map(|()| false),
            Ok(()) => {
                self.oracle.submit(change);
                Ok(true)
            }
        }
    }

    fn copy(&mut self, volume: u64) -> Result<(), String> {
        let (group, blocks) = self.group(volume);
        let sparse = self.random.number() & self.random.number();
        let mut mapped = self.random.pick(&[0, u64::MAX, sparse, !sparse]) & (u64::MAX >> (GROUP - blocks));
        // What does not fit a segment in one piece is refused.
        while u64::from(mapped.count_ones()) > self.rates.copy_max {
            mapped &= self.random.number();
        }
        let (born, value) = (self.place(volume), self.next_value + 1);
        let mut data = vec![0; mapped.count_ones() as usize * BLOCK_BYTES];
        let bits = (0..GROUP).filter(|bit| mapped >> bit & 1 == 1);
        for ((bit, value), page) in bits.zip(value..).zip(data.chunks_exact_mut(BLOCK_BYTES)) {
            fill(page, value, group * GROUP + bit);
        }
        let taken = self.submit(Change::Copy { volume, group, mapped, value, born }, |store, token| {
            store.replace_group(VolumeId(volume), GroupIndex(group), born, mapped, &data, token)
        })?;
        if taken {
            self.next_value += u64::from(mapped.count_ones());
            self.outcome.copies += 1;
        }
        Ok(())
    }

    fn restamp(&mut self, volume: u64) -> Result<(), String> {
        let [last, _] = self.oracle.now().versions[&Key::Volume(volume)].order;
        let seq = WriteSeq { epoch: Epoch(last.epoch.0 + 1), n: 0 };
        let change = Change::Restamp { volume, seq };
        let taken = self.submit(change, |store, token| store.restamp(VolumeId(volume), seq, token))?;
        self.outcome.restamps += u64::from(taken);
        Ok(())
    }

    fn stable(&mut self, volume: u64) -> Result<(), String> {
        let seq = self.place(volume);
        let change = Change::Stable { volume, seq };
        self.submit(change, |store, token| store.stable(VolumeId(volume), seq, token)).map(|_| ())
    }

    fn settle_all(&mut self) -> Result<(), String> {
        let count = self.oracle.submitted();
        let token = self.token(Waiting::Change { count, stable: true });
        self.outcome.settles += 1;
        self.store.settle(token).or_else(|refusal| self.refused(token, refusal))
    }

    /// Writes a block anew, or tries to with what it does not hold.
    fn repair(&mut self, volume: u64) -> Result<(), String> {
        let (group, blocks) = self.group(volume);
        let block = group * GROUP + self.random.below(blocks);
        let held = self.oracle.now().versions[&Key::Volume(volume)].get(block);
        let offered = if self.random.one_in(4) { self.next_value + 1 } else { held };
        let mut page = vec![0; BLOCK_BYTES];
        fill(&mut page, offered, block);
        let count = self.oracle.submitted();
        let token = self.token(Waiting::Change { count, stable: false });
        match self.store.repair(VolumeId(volume), BlockIndex(block), &page, token) {
            Ok(()) if held == offered && held != 0 => {
                self.outcome.repairs += 1;
                return Ok(());
            }
            Err(RepairError::Refused(refusal)) => return self.refused(token, refusal),
            Err(RepairError::Hole) if held == 0 => {}
            Err(RepairError::Differs { .. }) if held != offered => {}
            other => return Err(format!("block {block} holds {held}, offered {offered}: {other:?}")),
        }
        self.waiting.remove(&token.0);
        Ok(())
    }

    fn read_group(&mut self, volume: u64) -> Result<(), String> {
        let (group, blocks) = self.group(volume);
        let content = &self.oracle.now().versions[&Key::Volume(volume)];
        let (key, first, stamp) = (Key::Volume(volume), group * GROUP, content.born(group));
        let expected = (first..first + blocks).map(|block| content.get(block)).collect();
        let token = self.token(Waiting::Read { key, first, expected });
        match self.store.read_group(VolumeId(volume), GroupIndex(group), token) {
            Err(refusal) => self.refused(token, refusal),
            Ok(born) if born == stamp => Ok(()),
            Ok(born) => Err(format!("group {group} of volume {volume} is stamped {born}, expected {stamp}")),
        }
    }
}
