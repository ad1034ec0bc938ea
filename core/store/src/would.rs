//! What the store would say to a change, for an owner that must know before it lets others make the same one.

use block::{BlockRange, VolumeId};

use crate::Store;
use crate::effect::Refusal;

impl Store {
    /// Whether [`Store::write`] of these blocks would be taken now. It is, if nothing else was asked for in between.
    ///
    /// # Errors
    /// What the write would be refused with.
    pub fn would_write(&self, volume: VolumeId, range: BlockRange) -> Result<(), Refusal> {
        self.check_room()?;
        let version = self.find_range(volume, range)?.version;
        self.check_space(version, range)
    }

    /// Whether [`Store::zero`] of these blocks would be taken now. It is, if nothing else was asked for in between.
    ///
    /// # Errors
    /// What the zeroing would be refused with.
    pub fn would_zero(&self, volume: VolumeId, range: BlockRange) -> Result<(), Refusal> {
        self.check_room()?;
        let version = self.find_range(volume, range)?.version;
        self.check_zero_space(version, range)
    }

    /// How often the pool was opened, this time included.
    #[must_use]
    pub fn incarnation(&self) -> u64 {
        self.checkpoint.superblock.incarnation
    }
}
