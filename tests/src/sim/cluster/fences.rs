//! Checker: when a detach has ended, nothing of the old client is applied any more. From the end of the operation on
//! the volume's write order must stand still until the next client writes; what a client that was shut out sends is
//! not among the values that a block may hold (`contents`).

use std::collections::BTreeMap;

use block::{VolumeId, WriteSeq};

/// What is known of fences.
#[derive(Default)]
pub(super) struct Fences {
    /// Clients of older generations are shut out.
    shut_out: BTreeMap<VolumeId, u64>,
    /// The newest generation of which a client has sent a write.
    wrote: BTreeMap<VolumeId, u64>,
    /// Where write orders stand still.
    still: BTreeMap<VolumeId, Version>,
}

/// A volume as its node has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Version {
    pub last: WriteSeq,
    pub size_bytes: u64,
    /// Where its newest snapshot was cut.
    pub cut: Option<WriteSeq>,
}

impl Fences {
    pub fn is_shut_out(&self, volume: VolumeId, generation: u64) -> bool {
        self.shut_out.get(&volume).is_some_and(|from| generation < *from)
    }

    /// An operation ended after which only clients of `generation` and later may use the volume, which is at `version`.
    pub fn raise(&mut self, volume: VolumeId, generation: u64, version: Option<Version>) {
        let from = self.shut_out.entry(volume).or_default();
        *from = generation.max(*from);
        let written = self.wrote.get(&volume).is_some_and(|wrote| *wrote >= *from);
        match version.filter(|_| !written) {
            Some(version) => self.still.insert(volume, version),
            None => self.still.remove(&volume),
        };
    }

    /// A client is about to write.
    pub fn write(&mut self, volume: VolumeId, generation: u64) {
        let wrote = self.wrote.entry(volume).or_default();
        *wrote = generation.max(*wrote);
        if !self.is_shut_out(volume, generation) {
            self.still.remove(&volume);
        }
    }

    /// The volume's disk was taken away, or it is deleted and kept for its snapshots only.
    pub fn forget(&mut self, volume: VolumeId) {
        self.still.remove(&volume);
    }

    /// A volume as it is.
    pub fn check(&mut self, volume: VolumeId, now: Version) -> Result<(), String> {
        match self.still.get_mut(&volume) {
            // Growing takes a place in the order as well, and so does a snapshot.
            Some(then) if then.size_bytes != now.size_bytes || (then.cut < now.cut && now.cut == Some(now.last)) => {
                *then = now;
                Ok(())
            }
            Some(then) if then.last.n != now.last.n => {
                Err(format!("volume {volume} was changed from {then:?} to {now:?} after everybody was shut out"))
            }
            Some(_) | None => Ok(()),
        }
    }
}
