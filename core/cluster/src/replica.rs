//! One pool's copy of a volume: what is known of it, and what is to become of it.

use std::collections::BTreeMap;

use block::{Epoch, Incarnation, SnapshotId};

use crate::attachment::Generation;
use crate::command::Time;
use crate::group::Hold;
use crate::snapshot::SnapshotCopy;

/// One pool's copy of a volume.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Replica {
    /// What is known of it.
    pub observed: Observed,
    /// The snapshots it had when it was heard last; none when it is not there.
    pub snapshots: BTreeMap<SnapshotId, SnapshotCopy>,
    /// Since when it is there in this incarnation, or not there, or nothing is known of it. 0 for a volume's only one.
    pub since: Time,
    /// It was there once. From then on it is never made anew: an empty copy in the place of a lost one would be a lie.
    pub seen: bool,
    /// What is to become of it.
    pub fate: Fate,
}

/// What is known of a replica.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Observed {
    /// Its node has not been heard since this mattered.
    Unknown,
    /// Its node was heard, and it is not there.
    Nothing,
    /// It is there.
    Present {
        /// Its size.
        size_bytes: u64,
        /// The attachments its node goes by.
        generation: Generation,
        /// What it is among the volume's replicas.
        standing: Standing,
    },
}

/// What a replica says of its part in the replication of its volume. All zero for one that has none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Standing {
    /// Which life of it; from 1 on. Raised whenever it forgets what it promised, so at every start.
    pub incarnation: Incarnation,
    /// The oldest incarnation since which no power was lost: what that one was given is still there.
    pub warm_from: Incarnation,
    /// The configuration it goes by, or one that is out went by last; 0 if it never went by any.
    pub epoch: Epoch,
    /// What it is.
    pub role: Role,
    /// It cannot take part for now: its pool is full, or takes no writes.
    pub unable: bool,
    /// How far it is with what it copies from the primary; `None` when it copies nothing.
    pub resync: Option<Progress>,
    /// Blocks that no replica has.
    pub lost_blocks: u64,
    /// What became of the last hold it was asked for.
    pub hold: Option<Hold>,
    /// Why it does not cut a snapshot that it should cut.
    pub cut_refused: Option<CutRefusal>,
    /// Deleted snapshots that its pool keeps because the volume and others began as them.
    pub branch_points: u32,
}

/// Why a snapshot is not cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CutRefusal {
    /// The volume has as many as it can have, those that are being deleted included.
    ManySnapshots,
    /// The pool is full up to its reserve.
    PoolFull,
    /// The pool holds as many volumes and snapshots as it can.
    PoolCrowded,
    /// The pool takes no more writes.
    PoolFailed,
    /// A node of an earlier version has a replica, and cannot be told of snapshots.
    OldNode,
}

impl CutRefusal {
    /// In a sentence: `its pool is full`, and what helps.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::ManySnapshots => {
                "it has as many snapshots of the volume as a replica can have, those that are being deleted included; delete some"
            }
            Self::PoolFull => {
                "its pool is full up to its reserve; delete snapshots or volumes, or make the pool larger"
            }
            Self::PoolCrowded => "its pool holds as many volumes and snapshots as it can; delete some",
            Self::PoolFailed => "its pool takes no more writes after a device error; look at the disk",
            Self::OldNode => {
                "a node of an earlier version has a replica of the volume, and cannot be told of snapshots; update it"
            }
        }
    }
}

/// What a replica is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Role {
    /// Not in sync, and nobody teaches it.
    #[default]
    Out,
    /// Being taught.
    Learner,
    /// It has everything and takes part, and is no member yet.
    Joining,
    /// In sync.
    Backup,
    /// In sync, and asking to be primary.
    Candidate,
    /// Chosen to go on from, and marking what may differ elsewhere.
    Recovering,
    /// Primary, and bringing the members' logs together.
    Reconciling,
    /// Primary, and serving.
    Primary,
}

/// Groups of blocks to be copied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    /// Not copied yet.
    pub left: u64,
    /// All there were to copy when it began.
    pub groups: u64,
}

/// What is to become of a replica.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It is wanted.
    Stays,
    /// Another is to take its place; until then it is as good as it is.
    Moves(Reason),
    /// It is not wanted any more. The primary asks for a configuration without it; then it is deleted.
    Goes,
}

/// Why another replica is to take the place of one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// Its pool is there without it.
    Gone,
    /// Its pool takes no more writes.
    Failed,
    /// Its pool has had no room for it for too long.
    Full,
    /// It has not been heard of for too long.
    Silent,
    /// Its node has another replica of the volume.
    Crowded,
    /// Its node is to be emptied.
    Draining,
}

impl Replica {
    /// One that is to be made.
    pub(crate) fn new(now: Time) -> Self {
        // Its node was just seen with the pool, and nothing of the volume was ever there.
        Self { observed: Observed::Nothing, snapshots: BTreeMap::new(), since: now, seen: false, fate: Fate::Stays }
    }

    /// Whether its node may make it.
    pub(crate) fn may_create(&self) -> bool {
        !self.seen && self.observed == Observed::Nothing
    }

    /// What it says of itself, if it is known to be there.
    #[must_use]
    pub fn standing(&self) -> Option<Standing> {
        match self.observed {
            Observed::Present { standing, .. } => Some(standing),
            Observed::Unknown | Observed::Nothing => None,
        }
    }

    /// How long the rest of its filling takes, if it goes on as since the replica was started.
    #[must_use]
    pub fn remaining_ms(&self, now: Time) -> Option<u64> {
        let Progress { left, groups } = self.standing()?.resync?;
        let done = groups.saturating_sub(left);
        let passed_ms = now.0.saturating_sub(self.since.0);
        let left_ms = (u128::from(passed_ms) * u128::from(left)).checked_div(u128::from(done))?;
        (passed_ms > 0).then(|| u64::try_from(left_ms).unwrap_or(u64::MAX))
    }

    /// Takes note of what was found.
    pub(crate) fn observe(&mut self, now: Time, found: Observed) {
        if !self.observed.is_same_life(found) {
            self.since = now;
        }
        self.observed = found;
        self.seen |= matches!(found, Observed::Present { .. });
    }

    /// Takes note of the snapshots that were found beside it; of one that is not heard they are what they were. True if
    /// there are others than before: not if only their space is another.
    pub(crate) fn note_snapshots(&mut self, found: &BTreeMap<SnapshotId, SnapshotCopy>) -> bool {
        if self.observed == Observed::Unknown || self.snapshots == *found {
            return false;
        }
        let places = |of: &BTreeMap<SnapshotId, SnapshotCopy>| -> Vec<_> {
            of.iter().map(|(id, copy)| (*id, copy.at)).collect()
        };
        let differ = places(&self.snapshots) != places(found);
        self.snapshots.clone_from(found);
        differ
    }
}

impl Observed {
    /// Whether it is still what it was: there in the same incarnation, not there, not known.
    fn is_same_life(self, other: Self) -> bool {
        match (self, other) {
            (Self::Unknown, Self::Unknown) | (Self::Nothing, Self::Nothing) => true,
            (Self::Present { standing: one, .. }, Self::Present { standing: two, .. }) => {
                one.incarnation == two.incarnation
            }
            (Self::Unknown | Self::Nothing | Self::Present { .. }, _) => false,
        }
    }

    /// Without what is only shown.
    pub(crate) fn essence(self) -> Self {
        match self {
            Self::Present { size_bytes, generation, standing } => Self::Present {
                size_bytes,
                generation,
                standing: Standing { resync: None, lost_blocks: 0, cut_refused: None, branch_points: 0, ..standing },
            },
            Self::Unknown | Self::Nothing => self,
        }
    }
}

impl Role {
    /// In a sentence: `it is reconciling`.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Out => "out of sync",
            Self::Learner => "being filled",
            Self::Joining => "about to be in sync",
            Self::Backup => "in sync",
            Self::Candidate => "asking to be primary",
            Self::Recovering => "recovering",
            Self::Reconciling => "bringing the replicas together",
            Self::Primary => "primary",
        }
    }
}

impl Progress {
    /// How much of it is done.
    #[must_use]
    pub fn done_percent(self) -> u64 {
        let done = u128::from(self.groups.saturating_sub(self.left)) * 100;
        u64::try_from(done / u128::from(self.groups.max(1))).unwrap_or(100)
    }
}
