//! A state that was recovered from one voter when most of them had lost theirs.
//!
//! What the lost voters decided last may be known to nodes and not to this state. So at first nodes are only listened to:
//! they are told nothing, and nothing is decided, which for them is as if no voter were there. When an operator says to
//! resume, what they told is compared with what is known here. A volume of which something newer may be somewhere is *in
//! doubt*: nothing is decided about it by itself, until an operator says which replica to go on from.
//!
//! ```text
//!   Recover ──> listening: Register, Lose, Report, and nothing else ──> Resume ──> as always, but for volumes in doubt
//! ```
//! Numbers go on far above all that the lost voters may have given: epochs, generations, revisions, ids.

use std::collections::{BTreeMap, BTreeSet};

use block::{Epoch, PoolId, VolumeId};

use crate::command::Time;
use crate::name::Name;
use crate::replica::Replica;
use crate::state::State;
use crate::volume::Volume;

/// So many numbers of each kind the lost voters cannot have given since. An epoch has 32 bits: there is room for four
/// thousand recoveries.
pub(crate) const NUMBERS_SKIPPED: u32 = 1 << 20;
/// The same for revisions, which every command raises.
pub(crate) const REVISIONS_SKIPPED: u64 = 1 << 40;

/// What is kept of a recovery.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Recovered {
    /// When.
    pub since: Time,
    /// An operator has said to resume.
    pub resumed: bool,
    /// Pools of nodes that the operator gave up then, and who came with one since. Nothing in them is used.
    pub given_up: BTreeMap<PoolId, Option<Name>>,
    /// Volumes of which a replica that was not heard may have something newer.
    pub doubted: BTreeSet<VolumeId>,
    /// First and last numbers of snapshots that the lost voters may have given: what has one is left alone.
    pub unknown_snapshots: Vec<(u64, u64)>,
}

/// Why nothing is decided about a volume by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Doubt {
    /// A replica goes by a configuration that is newer than the one known.
    Newer {
        /// The replica with the newest one.
        pool: PoolId,
        /// What it goes by.
        epoch: Epoch,
    },
    /// A pool has a copy that nobody knows of here.
    Stray(PoolId),
    /// A replica that may have something newer was given up without having been heard.
    Unheard,
}

impl State {
    /// Whether nodes are only listened to.
    #[must_use]
    pub fn is_listening(&self) -> bool {
        self.contents.recovered.as_ref().is_some_and(|recovered| !recovered.resumed)
    }

    /// Nodes whose pools have not been heard since the state was recovered.
    #[must_use]
    pub fn unheard_nodes(&self) -> BTreeSet<&Name> {
        self.contents.pools.values().filter(|pool| !pool.open).map(|pool| &pool.node).collect()
    }

    /// Why nothing is decided about a volume by itself, if that is so.
    #[must_use]
    pub fn doubt(&self, id: VolumeId, volume: &Volume) -> Option<Doubt> {
        let recovered = self.contents.recovered.as_ref();
        // Before the first configuration is decided, only those who heard the lost voters can know of one.
        let may_be = volume.replication.is_some() || recovered.is_some();
        let newer = || volume.newer().filter(|_| may_be).map(|(pool, epoch)| Doubt::Newer { pool, epoch });
        let stray = || self.stray(id).map(Doubt::Stray);
        let unheard = |recovered: &Recovered| recovered.doubted.contains(&id).then_some(Doubt::Unheard);
        newer().or_else(|| recovered.and_then(|recovered| stray().or_else(|| unheard(recovered))))
    }

    /// A pool that was reported with a copy of a volume that is not to be there. Only after a recovery can that be one
    /// that counts.
    fn stray(&self, id: VolumeId) -> Option<PoolId> {
        self.contents.pools.iter().find(|(_, pool)| pool.orphans.contains(&id)).map(|(pool, _)| *pool)
    }

    /// Whether a snapshot of this number may have been made by voters that were lost.
    pub(crate) fn may_be_of_the_lost(&self, snapshot: u64) -> bool {
        let ranges = self.contents.recovered.iter().flat_map(|recovered| &recovered.unknown_snapshots);
        ranges.clone().any(|(first, last)| (*first..=*last).contains(&snapshot))
    }
}

impl Volume {
    /// The replica that goes by the newest configuration, if that is newer than the one known here.
    pub(crate) fn newer(&self) -> Option<(PoolId, Epoch)> {
        let epochs = self.replicas.iter().filter_map(|(pool, replica)| Some((*pool, epoch_of(replica)?)));
        let known = self.epoch().0.max(self.first_epoch().0 - 1);
        epochs.max_by_key(|(_, epoch)| *epoch).filter(|(_, epoch)| epoch.0 > known)
    }
}

fn epoch_of(replica: &Replica) -> Option<Epoch> {
    Some(replica.standing()?.epoch)
}
