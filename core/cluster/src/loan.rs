//! What a command made for itself alone, and would delete at its end: a volume to read a snapshot from, a snapshot to be
//! read. A command that was killed deletes nothing, so a loan has to be renewed: whoever leads deletes one that was not for a
//! while, by the ordinary commands.
//!
//! A loan is known by its labels. Nothing that began as zeroes is one, whatever its labels say.

use block::{SnapshotId, VolumeId};

use crate::name::Name;
use crate::snapshot::Keep;
use crate::state::State;

/// Label of a volume that is a loan. Whoever uses it changes the value now and then.
pub const LOAN_LABEL: &str = "plinth-loan";
/// Label of a snapshot that is needed as long as the volume of this name is a loan.
pub const LOAN_OF_LABEL: &str = "plinth-loan-of";

/// A loan.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Loan {
    /// A volume.
    Volume {
        /// Which.
        id: VolumeId,
        /// Its name.
        name: Name,
        /// What its user wrote last.
        renewed: String,
    },
    /// A snapshot whose volume is not there, or not yet.
    Snapshot {
        /// Which.
        id: SnapshotId,
        /// Its name.
        name: Name,
    },
}

impl State {
    /// Everything that is only lent and may have been forgotten.
    pub fn loans(&self) -> impl Iterator<Item = Loan> {
        let volumes = self.volumes(None).filter_map(|(id, volume)| {
            let renewed = volume.spec.labels.get(LOAN_LABEL).filter(|_| volume.source.is_some())?;
            Some(Loan::Volume { id, name: volume.name.clone(), renewed: renewed.clone() })
        });
        let snapshots = self.snapshots(None).filter_map(|(id, snapshot)| {
            let volume = snapshot.labels.get(LOAN_OF_LABEL).filter(|_| snapshot.keep == Keep::Named)?;
            let is_used = volume.parse().is_ok_and(|volume| self.volume(&volume).is_some());
            (!is_used).then(|| Loan::Snapshot { id, name: snapshot.name.clone() })
        });
        volumes.chain(snapshots)
    }
}
