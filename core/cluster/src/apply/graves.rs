//! Snapshots that are deleted, pool by pool.

use std::collections::BTreeMap;

use block::{PoolId, SnapshotId, VolumeId};

use crate::command::{Revision, Time};
use crate::group::{Group, GroupPhase};
use crate::name::Name;
use crate::replica::Observed;
use crate::snapshot::{Grave, SNAPSHOTS_MAX, Seen, Snapshot, SnapshotCopy};
use crate::state::State;

/// Higher ids are never given, so nothing has to be left out for them.
const FOREIGN_ID_MAX: u64 = 1 << 48;

/// What was found of a snapshot in a pool.
fn seen(observed: Observed, snapshots: &BTreeMap<SnapshotId, SnapshotCopy>, id: SnapshotId) -> Seen {
    match observed {
        Observed::Unknown => Seen::Unknown,
        Observed::Present { .. } if snapshots.contains_key(&id) => Seen::There,
        Observed::Present { .. } | Observed::Nothing => Seen::Nothing,
    }
}

impl State {
    /// A snapshot is not wanted any more: every pool that has or may get it is to delete it.
    pub(super) fn bury_snapshot(&mut self, now: Time, id: SnapshotId) {
        let Some(snapshot) = self.contents.snapshots.remove(&id) else { return };
        self.index.snapshots.removed(id, &snapshot);
        let pools: Vec<PoolId> = self.contents.volumes[&snapshot.source].replicas.keys().copied().collect();
        for pool in pools {
            self.dig(now, (id, pool), &snapshot);
        }
        let revision = self.next_revision();
        self.index.touch(snapshot.source, revision);
    }

    /// A replica is not wanted in the pool any more, and with it every snapshot that is there.
    pub(super) fn bury_snapshots_in(&mut self, now: Time, volume: VolumeId, pool: PoolId) {
        let all: Vec<(SnapshotId, Snapshot)> =
            self.snapshots_of(volume).map(|(id, snapshot)| (id, snapshot.clone())).collect();
        for (id, snapshot) in all {
            self.dig(now, (id, pool), &snapshot);
        }
    }

    fn dig(&mut self, now: Time, (id, pool): (SnapshotId, PoolId), snapshot: &Snapshot) {
        let is_deleted = |group: &Group| matches!(group.phase, GroupPhase::Deleting { .. });
        let group = snapshot.group.filter(|group| self.contents.groups.get(group).is_some_and(is_deleted));
        let (volume, name) = (snapshot.source, snapshot.name.clone());
        let Some(replica) = self.contents.volumes.get(&volume).and_then(|found| found.replicas.get(&pool)) else {
            return;
        };
        let seen = seen(replica.observed, &replica.snapshots, id);
        let grave = Grave { volume, name, group, seen, since: now, revision: self.next_revision() };
        self.contents.graves.entry((id, pool)).or_insert(grave);
        self.index.snapshots.buried(volume, id, pool);
    }

    /// Takes note of what was found of a volume's deleted snapshots in a pool.
    pub(super) fn look_into_graves(
        &mut self,
        (volume, pool): (VolumeId, PoolId),
        observed: Observed,
        snapshots: &BTreeMap<SnapshotId, SnapshotCopy>,
    ) {
        let here: Vec<SnapshotId> =
            self.index.snapshots.graves_of(volume).filter(|(_, of)| *of == pool).map(|(id, _)| id).collect();
        for id in here {
            self.contents.graves.get_mut(&(id, pool)).expect("the index has it").seen = seen(observed, snapshots, id);
        }
    }

    /// What was deleted and is there again is deleted again: an entry of the volume's order was on its way.
    pub(super) fn bury_again(&mut self, now: Time, (volume, pool): (VolumeId, PoolId)) {
        let Some(replica) = self.contents.volumes.get(&volume).and_then(|found| found.replicas.get(&pool)) else {
            return;
        };
        let is_given = |id: &SnapshotId| {
            let is_foreign = self.contents.foreign_snapshots.contains(id) || self.may_be_of_the_lost(id.0);
            id.0 <= self.contents.last_snapshot && !is_foreign
        };
        let is_dead = |id: &SnapshotId| {
            !self.contents.snapshots.contains_key(id) && !self.contents.graves.contains_key(&(*id, pool))
        };
        let again: Vec<SnapshotId> =
            replica.snapshots.keys().copied().filter(|id| is_given(id) && is_dead(id)).collect();
        let revision = self.next_revision();
        for id in again {
            let name: Name = format!("number-{id}").parse().expect("letters and digits");
            let grave = Grave { volume, name, group: None, seen: Seen::There, since: now, revision };
            self.contents.graves.insert((id, pool), grave);
            self.index.snapshots.buried(volume, id, pool);
            self.index.touch(volume, revision);
        }
    }

    /// Snapshots of numbers that were not given here: they never will be, and what has one is left alone.
    pub(super) fn leave_out_snapshots(&mut self, snapshots: &BTreeMap<SnapshotId, SnapshotCopy>) {
        let last = self.contents.last_snapshot;
        for id in snapshots.keys().filter(|id| (last + 1..=FOREIGN_ID_MAX).contains(&id.0)) {
            if self.contents.foreign_snapshots.len() < SNAPSHOTS_MAX {
                self.contents.foreign_snapshots.insert(*id);
                self.contents.last_snapshot = self.contents.last_snapshot.max(id.0);
            }
        }
    }

    /// A grave is closed when the snapshot is not there **and** the node has heard of the deletion: before, it may still cut
    /// it, as it was told before.
    pub(super) fn close_graves_in(&mut self, pool: PoolId, heard: Revision) {
        for id in self.index.snapshots.graves_in(pool) {
            let grave = &self.contents.graves[&(id, pool)];
            if grave.revision <= heard && grave.seen == Seen::Nothing {
                self.close_grave(id, pool);
            }
        }
    }

    pub(super) fn close_grave(&mut self, id: SnapshotId, pool: PoolId) {
        let revision = self.next_revision();
        let Some(Grave { volume, group, .. }) = self.contents.graves.remove(&(id, pool)) else { return };
        self.index.snapshots.freed(volume, id, pool);
        self.index.touch(volume, revision);
        if let Some(group) = group {
            self.note_gone(group, id);
        }
    }
}
