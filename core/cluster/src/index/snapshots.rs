//! What follows from the snapshots, groups and schedules of a state.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};

use block::{PoolId, SnapshotId, VolumeId};

use crate::command::Time;
use crate::group::{Group, GroupId, GroupPhase};
use crate::name::Name;
use crate::snapshot::{Cut, Keep, Snapshot};
use crate::state::Contents;
use crate::volume::Volume;

/// See the module.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Snapshots {
    names: BTreeMap<Name, SnapshotId>,
    of_volume: BTreeMap<VolumeId, BTreeSet<SnapshotId>>,
    /// Those that have no place in the order yet, by when they are withdrawn.
    wanted: BTreeSet<(Time, SnapshotId)>,
    /// Volumes that began as one.
    clones: BTreeMap<SnapshotId, BTreeSet<VolumeId>>,
    /// Graves by volume.
    graves: BTreeMap<VolumeId, BTreeSet<(SnapshotId, PoolId)>>,
    graves_in: BTreeMap<PoolId, BTreeSet<SnapshotId>>,
    retired: BTreeMap<Name, VolumeId>,
    groups: BTreeMap<Name, GroupId>,
    /// Those that are being made.
    running: BTreeSet<GroupId>,
    /// Volumes by when their next schedule is due.
    due: BTreeSet<(Time, VolumeId)>,
}

fn remove<K: Ord, V: Ord>(map: &mut BTreeMap<K, BTreeSet<V>>, key: &K, value: &V) {
    if let Some(set) = map.get_mut(key) {
        set.remove(value);
        if set.is_empty() {
            map.remove(key);
        }
    }
}

impl Snapshots {
    pub fn of_contents(contents: &Contents) -> Self {
        let mut index = Self::default();
        for (id, snapshot) in &contents.snapshots {
            index.added(*id, snapshot);
        }
        for ((id, pool), grave) in &contents.graves {
            index.buried(grave.volume, *id, *pool);
        }
        for (id, volume) in &contents.volumes {
            index.volume_added(*id, volume);
        }
        for (id, group) in &contents.groups {
            index.group_added(*id, group);
        }
        index
    }

    /// A snapshot is there, or is another now; `removed` took the one before away.
    pub fn added(&mut self, id: SnapshotId, snapshot: &Snapshot) {
        if snapshot.keep == Keep::Named {
            self.names.insert(snapshot.name.clone(), id);
        }
        self.of_volume.entry(snapshot.source).or_default().insert(id);
        if let Cut::Wanted { until } = snapshot.cut {
            self.wanted.insert((until, id));
        }
    }

    pub fn removed(&mut self, id: SnapshotId, snapshot: &Snapshot) {
        if snapshot.keep == Keep::Named {
            self.names.remove(&snapshot.name);
        }
        remove(&mut self.of_volume, &snapshot.source, &id);
        if let Cut::Wanted { until } = snapshot.cut {
            self.wanted.remove(&(until, id));
        }
    }

    pub fn buried(&mut self, volume: VolumeId, id: SnapshotId, pool: PoolId) {
        self.graves.entry(volume).or_default().insert((id, pool));
        self.graves_in.entry(pool).or_default().insert(id);
    }

    pub fn freed(&mut self, volume: VolumeId, id: SnapshotId, pool: PoolId) {
        remove(&mut self.graves, &volume, &(id, pool));
        remove(&mut self.graves_in, &pool, &id);
    }

    /// What a volume's schedules, source and retirement say; `volume_removed` took what they said before away.
    pub fn volume_added(&mut self, id: VolumeId, volume: &Volume) {
        if let Some(source) = &volume.source {
            self.clones.entry(source.snapshot).or_default().insert(id);
        }
        if volume.retired.is_some() {
            self.retired.insert(volume.name.clone(), id);
        }
        self.due.extend(volume.next_due().map(|due| (due, id)));
    }

    pub fn volume_removed(&mut self, id: VolumeId, volume: &Volume) {
        if let Some(source) = &volume.source {
            remove(&mut self.clones, &source.snapshot, &id);
        }
        if volume.retired.is_some() {
            self.retired.remove(&volume.name);
        }
        if let Some(due) = volume.next_due() {
            self.due.remove(&(due, id));
        }
    }

    pub fn group_added(&mut self, id: GroupId, group: &Group) {
        if !matches!(group.phase, GroupPhase::Deleting { .. }) {
            self.groups.insert(group.name.clone(), id);
        }
        if group.is_running() {
            self.running.insert(id);
        }
    }

    pub fn group_removed(&mut self, id: GroupId, group: &Group) {
        if !matches!(group.phase, GroupPhase::Deleting { .. }) {
            self.groups.remove(&group.name);
        }
        self.running.remove(&id);
    }

    pub fn named(&self, name: &Name) -> Option<SnapshotId> {
        self.names.get(name).copied()
    }

    pub fn named_after(&self, after: Option<&Name>) -> impl Iterator<Item = SnapshotId> {
        self.names.range::<Name, _>((after.map_or(Unbounded, Excluded), Unbounded)).map(|(_, id)| *id)
    }

    pub fn of(&self, volume: VolumeId) -> impl Iterator<Item = SnapshotId> {
        self.of_volume.get(&volume).into_iter().flatten().copied()
    }

    pub fn count_of(&self, volume: VolumeId) -> usize {
        self.of_volume.get(&volume).map_or(0, BTreeSet::len)
    }

    pub fn graves_of(&self, volume: VolumeId) -> impl Iterator<Item = (SnapshotId, PoolId)> {
        self.graves.get(&volume).into_iter().flatten().copied()
    }

    pub fn graves_in(&self, pool: PoolId) -> Vec<SnapshotId> {
        self.graves_in.get(&pool).into_iter().flatten().copied().collect()
    }

    pub fn clones_of(&self, snapshot: SnapshotId) -> impl Iterator<Item = VolumeId> {
        self.clones.get(&snapshot).into_iter().flatten().copied()
    }

    pub fn retired(&self) -> impl Iterator<Item = VolumeId> {
        self.retired.values().copied()
    }

    pub fn is_retired(&self, name: &Name) -> bool {
        self.retired.contains_key(name)
    }

    pub fn group(&self, name: &Name) -> Option<GroupId> {
        self.groups.get(name).copied()
    }

    pub fn groups_after(&self, after: Option<&Name>) -> impl Iterator<Item = GroupId> {
        self.groups.range::<Name, _>((after.map_or(Unbounded, Excluded), Unbounded)).map(|(_, id)| *id)
    }

    pub fn running(&self) -> impl Iterator<Item = GroupId> {
        self.running.iter().copied()
    }

    /// Snapshots that are to be withdrawn by then.
    pub fn late(&self, now: Time) -> impl Iterator<Item = SnapshotId> {
        self.wanted.iter().take_while(move |(until, _)| *until <= now).map(|(_, id)| *id)
    }

    /// Volumes of which a schedule is due by then.
    pub fn due(&self, now: Time) -> impl Iterator<Item = VolumeId> {
        self.due.iter().take_while(move |(due, _)| *due <= now).map(|(_, id)| *id)
    }

    /// When a snapshot is to be withdrawn next, or a schedule is due.
    pub fn next(&self) -> Option<Time> {
        let first = |set: &BTreeSet<(Time, SnapshotId)>| set.first().map(|(time, _)| *time);
        let due = self.due.first().map(|(time, _)| *time);
        [first(&self.wanted), due].into_iter().flatten().min()
    }
}
