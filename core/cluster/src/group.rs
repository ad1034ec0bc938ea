//! Group snapshots: several volumes as they were at one instant, all of them or none.
//!
//! Each volume has a primary of its own, and no clock is shared. What makes them one instant is that for a while nobody is
//! told that a write has ended: a client issues a write that depends on another only after that was acknowledged. Every
//! primary *holds* acknowledgements from before the first snapshot is cut until after the last one is. So if a write is
//! in its volume's snapshot, every write that it depends on was acknowledged before all held, or was cut with it: a write
//! that waited for an acknowledgement in vain cannot have led to another one that is in a snapshot.
//!
//! ```text
//! holding --(all say HELD)--> cutting --(all say CUT)--> releasing --(all say RELEASED, all places are known)--> ready
//!    \              \                  \--(BROKEN, another primary, 200 ms)--> pausing --> holding, a few times
//!     \--------------\--------------------------------------------------------/      \--(too often, too late)--> failed
//! ```
//!
//! - Each arrow is one command on the replicated state: whoever leads goes on from where it stands.
//! - The order of the words is what counts: the snapshots are told to nodes after all have said HELD, and the holds are
//!   ended after all have said CUT. A primary says RELEASED only if its hold lasted without a gap until it heard of that
//!   end; so each hold covers the time from the last HELD to the last CUT, in which all cuts lie.
//! - It must be the same replica in the same life that says HELD, CUT and RELEASED. If it is another one, or if its node's
//!   stream began anew, the hold had a gap: all snapshots of the attempt are deleted, and another attempt is made under
//!   another number, for a primary holds once for each.
//! - A group is *ready* in one step, with all its snapshots; before, none of them can be used.

use std::collections::{BTreeMap, BTreeSet};

use block::{Incarnation, PoolId, SnapshotId, VolumeId};

use crate::command::Time;
use crate::name::Name;
use crate::node::Labels;
use crate::state::State;

/// Number of a group; never used again. Attempts draw theirs from the same sequence.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct GroupId(pub u64);

/// Volumes of one group.
pub const GROUP_VOLUMES_MAX: usize = 64;
/// Groups of a cluster.
pub const GROUPS_MAX: usize = 10_000;
/// How long a phase may last: a primary holds no longer either.
pub(crate) const PHASE_MAX_MS: u64 = 200;
/// Attempts.
pub(crate) const ATTEMPTS_MAX: u8 = 5;
/// Before the next attempt; longer each time.
pub(crate) const PAUSE_MS: u64 = 300;
/// How long all attempts may take.
pub(crate) const GROUP_MAX_MS: u64 = 10_000;

/// A group snapshot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Group {
    /// Its name.
    pub name: Name,
    /// Its volumes, each with its snapshot.
    pub members: BTreeMap<VolumeId, GroupMember>,
    /// When it was asked for.
    pub created: Time,
    /// When it is given up.
    pub until: Time,
    /// How far it is.
    pub phase: GroupPhase,
    /// Attempts so far.
    pub attempts: u8,
    /// What made the last attempt fail, in words.
    pub trouble: String,
    /// For people and their tools.
    pub labels: Labels,
}

/// A volume of a group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupMember {
    /// The name it had when the group was asked for.
    pub volume: Name,
    /// Its snapshot, in the last attempt.
    pub snapshot: SnapshotId,
    /// Who holds: nobody else's word counts.
    pub holder: Option<(PoolId, Incarnation)>,
}

/// How far a group is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum GroupPhase {
    /// Primaries are to hold.
    Holding {
        /// Number of the attempt.
        hold: GroupId,
        /// Since when.
        since: Time,
    },
    /// All hold, and are to cut.
    Cutting {
        /// Number of the attempt.
        hold: GroupId,
        /// Since when.
        since: Time,
    },
    /// All have cut, and need not hold any more.
    Releasing {
        /// Number of the attempt.
        hold: GroupId,
        /// Since when.
        since: Time,
    },
    /// An attempt failed, and another comes.
    Pausing {
        /// Then.
        until: Time,
    },
    /// Every snapshot is there.
    Ready,
    /// It was deleted; these snapshots are still in pools.
    Deleting {
        /// Which.
        left: BTreeSet<SnapshotId>,
    },
}

/// What a primary says of a hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hold {
    /// The attempt.
    pub group: GroupId,
    /// What became of it.
    pub state: HoldState,
}

/// What became of a hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HoldState {
    /// No write has been acknowledged since this was reported first.
    Held,
    /// The same, and the snapshot has its place in the order.
    Cut,
    /// It lasted until the node was told that it is not needed any more.
    Released,
    /// It ended before.
    Broken,
}

impl Group {
    /// Whether all its snapshots can be used.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.phase == GroupPhase::Ready
    }

    /// Whether it is being made.
    #[must_use]
    pub fn is_running(&self) -> bool {
        match self.phase {
            GroupPhase::Holding { .. }
            | GroupPhase::Cutting { .. }
            | GroupPhase::Releasing { .. }
            | GroupPhase::Pausing { .. } => true,
            GroupPhase::Ready | GroupPhase::Deleting { .. } => false,
        }
    }

    /// The attempt for which primaries are to hold now.
    pub(crate) fn holds(&self) -> Option<GroupId> {
        match self.phase {
            GroupPhase::Holding { hold, .. } | GroupPhase::Cutting { hold, .. } => Some(hold),
            GroupPhase::Releasing { .. }
            | GroupPhase::Pausing { .. }
            | GroupPhase::Ready
            | GroupPhase::Deleting { .. } => None,
        }
    }

    /// The attempt whose snapshots nodes have been told of.
    pub(crate) fn cuts(&self) -> Option<GroupId> {
        match self.phase {
            GroupPhase::Cutting { hold, .. } | GroupPhase::Releasing { hold, .. } => Some(hold),
            GroupPhase::Holding { .. }
            | GroupPhase::Pausing { .. }
            | GroupPhase::Ready
            | GroupPhase::Deleting { .. } => None,
        }
    }

    /// When time alone leads to a decision about it.
    pub(crate) fn due(&self) -> Option<Time> {
        match self.phase {
            GroupPhase::Holding { since, .. }
            | GroupPhase::Cutting { since, .. }
            | GroupPhase::Releasing { since, .. } => Some(Time(since.0.saturating_add(PHASE_MAX_MS))),
            GroupPhase::Pausing { until } => Some(until),
            GroupPhase::Ready | GroupPhase::Deleting { .. } => None,
        }
    }

    /// The volume that its operations are kept under.
    pub(crate) fn first(&self) -> VolumeId {
        *self.members.keys().next().expect("a group has a volume")
    }
}

impl State {
    /// Every group that has a name, in order of names, behind `after`: for pages.
    pub fn groups(&self, after: Option<&Name>) -> impl Iterator<Item = (GroupId, &Group)> {
        self.index.snapshots.groups_after(after).map(|id| (id, &self.contents.groups[&id]))
    }

    /// One of them.
    #[must_use]
    pub fn group(&self, name: &Name) -> Option<(GroupId, &Group)> {
        let id = self.index.snapshots.group(name)?;
        Some((id, &self.contents.groups[&id]))
    }

    /// A group by its number.
    #[must_use]
    pub fn group_of(&self, id: GroupId) -> Option<&Group> {
        self.contents.groups.get(&id)
    }
}
