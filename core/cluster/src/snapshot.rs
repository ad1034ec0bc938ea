//! Snapshots: a volume as it was at one place in the order of its writes, kept by the pools that hold the volume.
//!
//! A snapshot is *wanted* first: the primary gives it its place in the order, and says so in its report. From then on every
//! replica is told that place, and the snapshot is *ready*: it holds every write that was acknowledged before it was asked
//! for. Only the word of who serves the volume counts; a deposed primary may have cut it elsewhere, and what it cut is
//! deleted by its replica when that is taught. What is not cut in time is withdrawn, and its number is never used again.
//!
//! ```text
//! wanted --(who serves it reports it)--> cut --(deleted)--> kept for clones --(they are there)--> buried, pool by pool
//!    \--(30 s)--> withdrawn: buried, pool by pool
//! ```
//!
//! - The name is free when somebody deletes the snapshot. As long as a clone is being made from it, it stays, without a
//!   name: a clone's replicas are made by cloning, or taught at length. So a delete waits, and is not refused.
//! - A pool's grave is closed when the pool reports that the snapshot is not there, and its node goes by an intent that
//!   tells of the deletion. A snapshot that turns up again in a pool (an entry of the volume's order was on its way) is
//!   buried there again; one whose number was never given here is foreign, and left alone.
//! - A volume with snapshots that somebody deletes is *retired*: see [`Retired`].

use block::{PoolId, SnapshotId, VolumeId, WriteSeq};

use crate::command::{Revision, Time};
use crate::group::GroupId;
use crate::name::Name;
use crate::node::Labels;
use crate::replica::Observed;
use crate::state::State;
use crate::volume::Volume;

/// Snapshots of a cluster.
pub const SNAPSHOTS_MAX: usize = 100_000;
/// Snapshots of one volume.
pub const SNAPSHOTS_OF_VOLUME_MAX: usize = 250;
/// How long a snapshot may take to be cut.
pub(crate) const CUT_MAX_MS: u64 = 30_000;

/// A snapshot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Snapshot {
    /// Its name; of one without a name of its own, the clone's that it is for.
    pub name: Name,
    /// Of which volume.
    pub source: VolumeId,
    /// The name that had when it was asked for.
    pub source_name: Name,
    /// How large it is: the volume's size when it was cut.
    pub size_bytes: u64,
    /// When it was asked for.
    pub created: Time,
    /// Whether it has its place in the order.
    pub cut: Cut,
    /// Until when it is kept.
    pub keep: Keep,
    /// Who wanted it.
    pub maker: Maker,
    /// The group it is of.
    pub group: Option<GroupId>,
    /// For people and their tools.
    pub labels: Labels,
}

/// Whether a snapshot has its place in the order of the volume's writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cut {
    /// Not yet; then it is withdrawn.
    Wanted {
        /// When.
        until: Time,
    },
    /// Behind this write.
    At(WriteSeq),
}

/// Until when a snapshot is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keep {
    /// Until somebody deletes it.
    Named,
    /// Until what is cloned from it is there: it was deleted, or never asked for by itself.
    ForClones,
}

/// Who wanted a snapshot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Maker {
    /// Somebody.
    Person,
    /// The volume's schedule of this name, which deletes it when it has made enough others.
    Schedule(Name),
    /// Nobody: a clone of the volume begins with it.
    Clone,
}

/// A snapshot as a pool has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SnapshotCopy {
    /// Where it was cut.
    pub at: WriteSeq,
    /// Its size.
    pub size_bytes: u64,
    /// Bytes that would come back if only it were deleted, as of some time ago.
    pub exclusive_bytes: u64,
    /// Bytes that it has in common with others.
    pub shared_bytes: u64,
}

/// A snapshot that a pool is to delete.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Grave {
    /// Of which volume.
    pub volume: VolumeId,
    /// The name it had.
    pub name: Name,
    /// The group it was of, if that is deleted as well.
    pub group: Option<GroupId>,
    /// What is known of it: only whether it is there.
    pub seen: Seen,
    /// Since when.
    pub since: Time,
    /// Intents from here on tell of the deletion.
    pub revision: Revision,
}

/// Whether a snapshot is in a pool.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Seen {
    /// Its node is not heard.
    Unknown,
    /// It is not there.
    Nothing,
    /// It is there.
    There,
}

/// A volume that was deleted and has snapshots. Nobody can use it; its name is free; its replicas and their replication
/// go on, so that the snapshots are repaired and moved like everything else. When the last of them is gone, so is it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Retired {
    /// Since when.
    pub since: Time,
    /// The name it had.
    pub name: Name,
}

/// What a volume began as.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CloneSource {
    /// What was asked for.
    pub from: Source,
    /// The snapshot that its first replicas are cloned from.
    pub snapshot: SnapshotId,
    /// Where that was cut; `None` as long as it is not.
    pub at: Option<WriteSeq>,
}

/// What a new volume is to begin as.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    /// A snapshot.
    Snapshot(Name),
    /// A volume as it is now.
    Volume(Name),
}

impl Snapshot {
    /// Its place in the order, if it has one.
    #[must_use]
    pub fn at(&self) -> Option<WriteSeq> {
        match self.cut {
            Cut::At(at) => Some(at),
            Cut::Wanted { .. } => None,
        }
    }
}

impl Volume {
    /// Whether the pool is known to have the snapshot that was cut there, and no other of its number.
    #[must_use]
    pub fn has_snapshot(&self, pool: PoolId, id: SnapshotId, at: WriteSeq) -> bool {
        self.copy_of(pool, id, at).is_some()
    }

    /// The snapshot as the pool has it.
    pub(crate) fn copy_of(&self, pool: PoolId, id: SnapshotId, at: WriteSeq) -> Option<&SnapshotCopy> {
        let replica = self.replicas.get(&pool)?;
        let is_there = matches!(replica.observed, Observed::Present { .. });
        replica.snapshots.get(&id).filter(|copy| is_there && copy.at == at)
    }

    /// Deleted snapshots that are kept because the volume and others began as them, as who serves it says, or whoever is
    /// heard.
    #[must_use]
    pub fn branch_points(&self) -> u32 {
        let told = |pool: PoolId| Some(self.replicas.get(&pool)?.standing()?.branch_points);
        let most = || self.replicas.keys().filter_map(|pool| told(*pool)).max();
        self.serving().and_then(told).or_else(most).unwrap_or(0)
    }

    /// Whether a replica may be made with nothing in it: there is somebody to fill it, or the volume begins empty.
    pub(crate) fn may_begin_empty(&self) -> bool {
        self.source.is_none() || self.replication.is_some()
    }

    /// Whose word counts on what became of a snapshot or a hold: the primary that serves under the configuration in
    /// force, or the only replica of a volume that has none.
    #[must_use]
    pub fn serving(&self) -> Option<PoolId> {
        if self.is_replicated() {
            return self.active_primary().map(|(pool, _)| pool);
        }
        self.at_home().standing().map(|_| self.home())
    }
}

/// How a snapshot is, seen from outside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SnapshotView {
    /// Whether a volume can be made from it.
    pub ready: bool,
    /// How many replicas of its volume have it.
    pub copies: usize,
    /// How many there should be.
    pub replicas: usize,
    /// See [`SnapshotCopy`]; as the primary says, if it is there.
    pub exclusive_bytes: u64,
    /// See [`SnapshotCopy`].
    pub shared_bytes: u64,
}

impl State {
    /// Every snapshot that has a name, in order of names, behind `after`: for pages.
    pub fn snapshots(&self, after: Option<&Name>) -> impl Iterator<Item = (SnapshotId, &Snapshot)> {
        self.index.snapshots.named_after(after).map(|id| (id, &self.contents.snapshots[&id]))
    }

    /// One that has a name.
    #[must_use]
    pub fn snapshot(&self, name: &Name) -> Option<(SnapshotId, &Snapshot)> {
        let id = self.index.snapshots.named(name)?;
        Some((id, &self.contents.snapshots[&id]))
    }

    /// How many there are.
    #[must_use]
    pub fn snapshot_count(&self) -> usize {
        self.contents.snapshots.len()
    }

    /// A volume's snapshots, oldest first, with those that only clones need.
    pub fn snapshots_of(&self, volume: VolumeId) -> impl Iterator<Item = (SnapshotId, &Snapshot)> {
        self.index.snapshots.of(volume).map(|id| (id, &self.contents.snapshots[&id]))
    }

    /// Pools that are to delete a snapshot.
    pub fn graves_of(&self, snapshot: SnapshotId) -> impl Iterator<Item = (PoolId, &Grave)> {
        let all = (snapshot, PoolId(u128::MIN))..=(snapshot, PoolId(u128::MAX));
        self.contents.graves.range(all).map(|((_, pool), grave)| (*pool, grave))
    }

    /// Whether a volume can be made from it: it is cut, and so is all of its group.
    #[must_use]
    pub fn is_snapshot_ready(&self, snapshot: &Snapshot) -> bool {
        let group_is_ready = || {
            let group = snapshot.group.and_then(|group| self.contents.groups.get(&group));
            group.is_none_or(crate::group::Group::is_ready)
        };
        snapshot.at().is_some() && group_is_ready()
    }

    /// How a snapshot is.
    #[must_use]
    pub fn snapshot_view(&self, id: SnapshotId, snapshot: &Snapshot) -> SnapshotView {
        let ready = self.is_snapshot_ready(snapshot);
        let none = SnapshotView { ready, copies: 0, replicas: 0, exclusive_bytes: 0, shared_bytes: 0 };
        let Some(volume) = self.contents.volumes.get(&snapshot.source) else { return none };
        let replicas = usize::from(volume.spec.replicas);
        let Some(at) = snapshot.at() else { return SnapshotView { replicas, ..none } };
        let copies = || volume.replicas.keys().filter_map(|pool| Some((*pool, volume.copy_of(*pool, id, at)?)));
        let serving = volume.serving();
        let told = copies().find(|(pool, _)| Some(*pool) == serving).or_else(|| copies().next());
        let (exclusive_bytes, shared_bytes) =
            told.map_or((0, 0), |(_, copy)| (copy.exclusive_bytes, copy.shared_bytes));
        SnapshotView { copies: copies().count(), replicas, exclusive_bytes, shared_bytes, ..none }
    }

    /// Volumes that were deleted and whose snapshots are kept.
    pub fn retired(&self) -> impl Iterator<Item = (VolumeId, &Volume)> {
        self.index.snapshots.retired().map(|id| (id, &self.contents.volumes[&id]))
    }
}
