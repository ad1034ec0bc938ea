//! Writing a block anew that was lost here and came from another replica.
//!
//! The map knows the checksum of what was lost, so what comes is it or is refused. It is written as reclaim writes what it
//! moves: every version that held the lost block holds the new one, snapshots included, and stamps stay.

use block::{BLOCK_BYTES, BlockIndex, BlockRange, Checksum, GROUP_BLOCKS, GroupIndex, VolumeId};
use layout::{Entry, EntryKind};

use crate::Store;
use crate::blocks::Blocks;
use crate::effect::{Refusal, Token};
use crate::map::VersionId;
use crate::requests::Source;

/// Why a block was not written anew. Nothing was changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RepairError {
    /// As with any request.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The block was changed since it was found bad, or the other replica holds something else: read both again.
    #[error("the block has checksum {expected} here, and what was offered has {offered}: read both again")]
    Differs {
        /// Of what was lost.
        expected: Checksum,
        /// Of what was offered.
        offered: Checksum,
    },
    /// The block reads as zeroes now: there is nothing to lose.
    #[error("the block holds nothing any more, so nothing of it is lost")]
    Hole,
}

impl Store {
    /// Writes a block anew if `data` is what was written to it last; its newest change stays what it is. Ends when that is
    /// persisted.
    ///
    /// # Errors
    /// See [`RepairError`].
    pub fn repair(
        &mut self,
        source: impl Into<Source>,
        block: BlockIndex,
        data: &[u8],
        token: Token,
    ) -> Result<(), RepairError> {
        assert_eq!(data.len(), BLOCK_BYTES, "one block");
        self.check_room()?;
        let (volume, version) = self.writer_of(source.into(), block)?;
        let held = self.contents.map.lookup(version, block).ok_or(RepairError::Hole)?;
        let offered = Checksum::of(data);
        if held.crc != offered {
            return Err(RepairError::Differs { expected: held.crc, offered });
        }
        let seq = self.contents.map.born(version, GroupIndex(block.0 / u64::from(GROUP_BLOCKS)));
        let from = held.location;
        let entry = Entry { volume, seq, kind: EntryKind::Reclaim, first: block.0, count: 1, aux: from.0 };
        self.open_batch(1);
        let to = self.log.append(entry, Blocks::known(data, &[offered])).0;
        let lsn = self.log.current_lsn();
        let moved = self.contents.relocate(volume, block, from, to, lsn);
        assert!(moved, "this version holds it");
        self.contents.segments.clear_stuck(self.geometry.segment_of(from));
        self.stats.entries += 1;
        self.stats.repaired_blocks += 1;
        self.checkpoint.note_change();
        self.wait_for_batch(token, false);
        Ok(())
    }

    /// A volume that wrote the family of versions to which the source belongs, and the source's version.
    fn writer_of(&self, source: Source, block: BlockIndex) -> Result<(VolumeId, VersionId), Refusal> {
        match source {
            Source::Volume(volume) => Ok((volume, self.find_range(volume, BlockRange::new(block.0, 1))?.version)),
            Source::Snapshot(id) => {
                let state = self.contents.snapshots.get(&id).ok_or(Refusal::NoSuchSnapshot(id))?;
                let inside = block < self.contents.map.version(state.version).end();
                if inside { Ok((state.volume, state.version)) } else { Err(Refusal::OutOfRange) }
            }
        }
    }
}
