//! What follows from the contents of a state, kept so that nobody has to look through all of it: which volumes are in a
//! pool, what a name stands for, what changed since when, which operations wait for a volume.

mod snapshots;

use std::collections::{BTreeMap, BTreeSet};

use block::{PoolId, VolumeId};

pub(crate) use snapshots::Snapshots;

use crate::command::Revision;
use crate::name::Name;
use crate::operation::OperationId;
use crate::state::Contents;
use crate::volume::Volume;

/// Names of volumes that are gone altogether, kept for those who have to hear of it.
const GONE_KEPT: usize = 10_000;

/// See the module.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Index {
    names: BTreeMap<Name, VolumeId>,
    pools: BTreeMap<PoolId, InPool>,
    /// Volumes and what is left of them by the revision that changed them last.
    changes: BTreeSet<(Revision, VolumeId)>,
    changed: BTreeMap<VolumeId, Revision>,
    /// Changes up to here are not in `changes`.
    since: Revision,
    /// Names of volumes that are in `changes` and nowhere else.
    gone: BTreeMap<VolumeId, Name>,
    running: BTreeMap<VolumeId, BTreeSet<OperationId>>,
    /// Volumes of which something changed or was started by the command being applied.
    touched: BTreeSet<VolumeId>,
    /// Those of them that were not looked at since.
    agenda: BTreeSet<VolumeId>,
    /// Snapshots, groups and schedules.
    pub snapshots: Snapshots,
    /// Replicated volumes that are not as they should be: time alone may lead to a decision about them.
    restless: BTreeSet<VolumeId>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct InPool {
    volumes: BTreeSet<VolumeId>,
    tombstones: BTreeSet<VolumeId>,
    promised_bytes: u64,
}

impl Index {
    pub fn of(contents: &Contents) -> Self {
        let snapshots = Snapshots::of_contents(contents);
        let mut index = Self { since: contents.revision, snapshots, ..Self::default() };
        for (id, volume) in &contents.volumes {
            index.add(*id, volume);
        }
        for (id, pool) in contents.tombstones.keys() {
            index.pool(*pool).tombstones.insert(*id);
        }
        for (id, operation) in contents.operations.iter().filter(|(_, operation)| operation.ended.is_none()) {
            index.running.entry(operation.kind.volume()).or_default().insert(*id);
        }
        index
    }

    fn add(&mut self, id: VolumeId, volume: &Volume) {
        if volume.retired.is_none() {
            self.names.insert(volume.name.clone(), id);
        }
        for pool in volume.replicas.keys() {
            self.placed(*pool, id, volume.size_bytes);
        }
        self.rest(id, volume);
    }

    /// A replica is wanted in the pool.
    pub fn placed(&mut self, pool: PoolId, id: VolumeId, size_bytes: u64) {
        let pool = self.pool(pool);
        pool.volumes.insert(id);
        pool.promised_bytes = pool.promised_bytes.saturating_add(size_bytes);
    }

    /// A replica is not wanted any more. Its space is on its way: it is not counted.
    pub fn buried(&mut self, pool: PoolId, id: VolumeId, size_bytes: u64) {
        let pool = self.pool(pool);
        pool.volumes.remove(&id);
        pool.tombstones.insert(id);
        pool.promised_bytes = pool.promised_bytes.saturating_sub(size_bytes);
    }

    /// Takes note whether the volume has to be looked at when time passes.
    pub fn rest(&mut self, id: VolumeId, volume: &Volume) {
        if volume.is_restless() {
            self.restless.insert(id);
        } else {
            self.restless.remove(&id);
        }
    }

    /// Volumes to be looked at when time passes: some of them, others at another `start`.
    pub fn restless_from(&self, start: VolumeId, most: usize) -> Vec<VolumeId> {
        let all = self.restless.range(start..).chain(self.restless.range(..start));
        all.take(most).copied().collect()
    }

    /// All of them.
    pub fn restless(&self) -> impl Iterator<Item = VolumeId> {
        self.restless.iter().copied()
    }

    fn pool(&mut self, pool: PoolId) -> &mut InPool {
        self.pools.entry(pool).or_default()
    }

    pub fn created(&mut self, id: VolumeId, volume: &Volume, revision: Revision) {
        self.add(id, volume);
        self.snapshots.volume_added(id, volume);
        self.touch(id, revision);
    }

    /// Its name is free; the rest of it stays.
    pub fn unnamed(&mut self, name: &Name) {
        self.names.remove(name);
    }

    pub fn grown(&mut self, pool: PoolId, by_bytes: u64) {
        let pool = self.pool(pool);
        pool.promised_bytes = pool.promised_bytes.saturating_add(by_bytes);
    }

    pub fn deleted(&mut self, id: VolumeId, volume: &Volume, revision: Revision) {
        if volume.retired.is_none() {
            self.names.remove(&volume.name);
        }
        self.snapshots.volume_removed(id, volume);
        self.restless.remove(&id);
        for pool in volume.replicas.keys() {
            self.buried(*pool, id, volume.size_bytes);
        }
        self.touch(id, revision);
    }

    /// What was left of a replica in the pool is not there any more.
    pub fn freed(&mut self, pool: PoolId, id: VolumeId, revision: Revision) {
        self.pool(pool).tombstones.remove(&id);
        self.touch(id, revision);
    }

    /// Nothing of the volume is left anywhere.
    pub fn forgotten(&mut self, id: VolumeId, name: Name) {
        self.gone.insert(id, name);
        if self.gone.len() > GONE_KEPT {
            self.forget_oldest();
        }
    }

    /// Half of what is gone is forgotten: whoever has not heard of it yet is told everything anew.
    fn forget_oldest(&mut self) {
        let mut revisions: Vec<Revision> = self.gone.keys().map(|id| self.changed[id]).collect();
        revisions.sort_unstable();
        self.since = self.since.max(revisions[revisions.len() / 2]);
        let kept = self.changes.split_off(&(Revision(self.since.0 + 1), VolumeId(0)));
        for (_, id) in std::mem::replace(&mut self.changes, kept) {
            self.changed.remove(&id);
            self.gone.remove(&id);
        }
    }

    pub fn remove_pool(&mut self, pool: PoolId) {
        self.pools.remove(&pool);
    }

    /// Something about the volume that nodes have to hear, or operations wait for, changes.
    pub fn touch(&mut self, id: VolumeId, revision: Revision) {
        if let Some(before) = self.changed.insert(id, revision) {
            self.changes.remove(&(before, id));
        }
        self.changes.insert((revision, id));
        self.note(id);
    }

    /// Something about the volume changes that nodes need not hear of.
    pub fn note(&mut self, id: VolumeId) {
        self.touched.insert(id);
        self.agenda.insert(id);
    }

    /// A volume that the command being applied has to do with, and that was not looked at since.
    pub fn next_on_agenda(&mut self) -> Option<VolumeId> {
        self.agenda.pop_first()
    }

    /// It was looked at.
    pub fn looked_at(&mut self, id: VolumeId) {
        self.agenda.remove(&id);
    }

    pub fn started(&mut self, operation: OperationId, volume: VolumeId) {
        self.running.entry(volume).or_default().insert(operation);
        self.note(volume);
    }

    /// Operations that may have ended by the command just applied.
    pub fn take_touched(&mut self) -> Vec<OperationId> {
        let touched = std::mem::take(&mut self.touched);
        touched.iter().filter_map(|volume| self.running.get(volume)).flatten().copied().collect()
    }

    pub fn ended(&mut self, operation: OperationId, volume: VolumeId) {
        if let Some(running) = self.running.get_mut(&volume) {
            running.remove(&operation);
            if running.is_empty() {
                self.running.remove(&volume);
            }
        }
    }

    pub fn running(&self) -> impl Iterator<Item = OperationId> {
        self.running.values().flatten().copied()
    }

    pub fn running_of(&self, volume: VolumeId) -> impl Iterator<Item = OperationId> {
        self.running.get(&volume).into_iter().flatten().copied()
    }

    pub fn names(&self) -> &BTreeMap<Name, VolumeId> {
        &self.names
    }

    pub fn volumes_in(&self, pool: PoolId) -> Vec<VolumeId> {
        self.pools.get(&pool).map(|pool| pool.volumes.iter().copied().collect()).unwrap_or_default()
    }

    pub fn count_in(&self, pool: PoolId) -> usize {
        self.pools.get(&pool).map_or(0, |pool| pool.volumes.len())
    }

    pub fn tombstones_in(&self, pool: PoolId) -> Vec<VolumeId> {
        self.pools.get(&pool).map(|pool| pool.tombstones.iter().copied().collect()).unwrap_or_default()
    }

    pub fn promised_bytes(&self, pool: PoolId) -> u64 {
        self.pools.get(&pool).map_or(0, |pool| pool.promised_bytes)
    }

    /// Volumes that changed after `revision`, oldest first; `None` when that is not known any more.
    pub fn changed_since(&self, revision: Revision) -> Option<impl Iterator<Item = VolumeId>> {
        let from = (Revision(revision.0 + 1), VolumeId(0));
        (revision >= self.since).then(|| self.changes.range(from..).map(|(_, id)| *id))
    }

    /// The name of a volume that is gone altogether.
    pub fn name_of_gone(&self, id: VolumeId) -> Option<&Name> {
        self.gone.get(&id)
    }
}
