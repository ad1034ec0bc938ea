//! What a replica of a volume asks of its store beside reads and writes: to take and give whole groups, to wait for all
//! that it was given, and to mark what may differ elsewhere.

use block::{BLOCK_BYTES, BlockIndex, Checksum, GROUP_BLOCKS, GroupIndex, VolumeId, WriteSeq};
use layout::Entry;

use crate::Store;
use crate::blocks::Blocks;
use crate::contents::group_range;
use crate::effect::{Refusal, Token};
use crate::map::Restamp;
use crate::read::ReadKind;
use crate::requests::Source;

/// What a group holds on another replica.
#[derive(Clone, Copy, Debug)]
pub struct GroupContent<'a> {
    /// Bit i is set when its i-th block holds data.
    pub mapped: u64,
    /// Those blocks, in order.
    pub data: Blocks<'a>,
    /// Blocks that nobody has.
    pub lost: LostBlocks<'a>,
}

/// Blocks of a group of which only the checksum is known.
#[derive(Clone, Copy, Debug)]
pub struct LostBlocks<'a> {
    /// Bit i is set when its i-th block is one.
    pub blocks: u64,
    /// What each would have to add up to, in order.
    pub checksums: &'a [Checksum],
}

impl LostBlocks<'_> {
    /// Nothing is lost.
    pub const NONE: Self = Self { blocks: 0, checksums: &[] };

    pub(crate) fn blocks_of(self, group: GroupIndex) -> impl Iterator<Item = (BlockIndex, Checksum)> {
        let first = group.0 * u64::from(GROUP_BLOCKS);
        let bits = (0..u64::from(GROUP_BLOCKS)).filter(move |bit| self.blocks >> bit & 1 == 1);
        bits.map(move |bit| BlockIndex(first + bit)).zip(self.checksums.iter().copied())
    }
}

impl Store {
    /// Reads a group of a volume or snapshot, a shorter one at its end; answers its newest change as of the same moment. Ends with
    /// [`crate::Outcome::Read`], which tells holes from data.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn read_group(
        &mut self,
        source: impl Into<Source>,
        group: GroupIndex,
        token: Token,
    ) -> Result<WriteSeq, Refusal> {
        let source = source.into();
        let version = self.version_of(source)?;
        let range = group_range(group, self.contents.map.version(version).end()).ok_or(Refusal::OutOfRange)?;
        let born = self.contents.map.born(version, group);
        self.read(source, range, token)?;
        Ok(born)
    }

    /// As [`Store::read_group`], and blocks that are not what was written do not fail it: they are named in
    /// [`crate::ReadData::lost`], and their bytes mean nothing.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn read_group_with_lost(
        &mut self,
        source: impl Into<Source>,
        group: GroupIndex,
        token: Token,
    ) -> Result<WriteSeq, Refusal> {
        let source = source.into();
        let version = self.version_of(source)?;
        let range = group_range(group, self.contents.map.version(version).end()).ok_or(Refusal::OutOfRange)?;
        let born = self.contents.map.born(version, group);
        self.read_as(source, range, ReadKind::NamesLost, token)?;
        Ok(born)
    }

    /// A group's blocks become what another replica has: where a bit of `mapped` is set, the next block of `data`, copied
    /// before the call returns; holes elsewhere. The group's newest change becomes `born`, unless it has a
    /// newer one. A crash leaves all of it or nothing. Ends when it is persisted.
    ///
    /// # Errors
    /// See [`Refusal`]; [`Refusal::OutOfRange`] also for a block past the volume's end, and for more blocks than a segment
    /// of the pool holds in one piece, which happens only in pools that were made for tests.
    pub fn replace_group<'d>(
        &mut self,
        volume: VolumeId,
        group: GroupIndex,
        born: WriteSeq,
        mapped: u64,
        data: impl Into<Blocks<'d>>,
        token: Token,
    ) -> Result<(), Refusal> {
        let data = data.into();
        self.replace_group_with_lost(volume, group, born, GroupContent { mapped, data, lost: LostBlocks::NONE }, token)
    }

    /// As [`Store::replace_group`], with blocks that are lost everywhere: reading them fails until they are written, or
    /// until somebody is found who has them.
    ///
    /// # Errors
    /// See [`Store::replace_group`].
    pub fn replace_group_with_lost(
        &mut self,
        volume: VolumeId,
        group: GroupIndex,
        born: WriteSeq,
        content: GroupContent<'_>,
        token: Token,
    ) -> Result<(), Refusal> {
        let GroupContent { mapped, data, lost } = content;
        assert_eq!(data.len_bytes(), mapped.count_ones() as usize * BLOCK_BYTES, "a block for every bit");
        assert_eq!(lost.checksums.len(), lost.blocks.count_ones() as usize, "a checksum for every bit");
        assert_eq!(mapped & lost.blocks, 0, "what is lost has no data");
        self.check_room()?;
        let state = self.find(volume)?;
        let taken = mapped | lost.blocks;
        let range = state.copied_range(group, taken).ok_or(Refusal::OutOfRange)?;
        if !self.log.new_segment_has_room(1 + lost.checksums.len(), taken.count_ones() as usize) {
            return Err(Refusal::OutOfRange);
        }
        self.check_copy_space(state.version, range, taken.count_ones())?;
        self.append_copy(Entry::copy(volume, born, group, mapped), data, lost);
        self.wait_for_batch(token, false);
        Ok(())
    }

    /// Every group that was changed after the volume's common stable point counts as changed by `seq` from now on, unless
    /// it has a newer change. Ends when that is persisted.
    ///
    /// # Errors
    /// See [`Refusal`]; [`Refusal::NoSpace`] also when a checkpoint could not write so much of the map at once.
    pub fn restamp(&mut self, volume: VolumeId, seq: WriteSeq, token: Token) -> Result<(), Refusal> {
        self.check_room()?;
        let state = self.find(volume)?;
        let restamp = Restamp { after: state.stable, seq };
        self.check_restamp_space(self.contents.map.restamp_cost(state.version, restamp))?;
        self.append_change(Entry::restamp(volume, seq, restamp.after), &[]);
        self.contents.restamp(volume, restamp);
        self.wait_for_batch(token, false);
        Ok(())
    }

    /// Ends when everything that was asked for before this call is stable, whether it has ended or not; a flush covers
    /// only what has ended.
    ///
    /// # Errors
    /// [`Refusal::Poisoned`].
    pub fn settle(&mut self, token: Token) -> Result<(), Refusal> {
        if self.poisoned().is_none() && !self.log.is_settled() {
            self.wait_for_batch(token, true);
            return Ok(());
        }
        self.flush(token)
    }
}
