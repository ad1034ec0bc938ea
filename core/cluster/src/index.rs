//! What follows from the contents of a state, kept so that nobody has to look through all of it: which volumes are in a
//! pool, what a name stands for, what changed since when, which operations wait for a volume.

use std::collections::{BTreeMap, BTreeSet};

use block::{PoolId, VolumeId};

use crate::command::Revision;
use crate::name::Name;
use crate::operation::OperationId;
use crate::state::Contents;
use crate::volume::{Tombstone, Volume};

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
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct InPool {
    volumes: BTreeSet<VolumeId>,
    tombstones: BTreeSet<VolumeId>,
    promised_bytes: u64,
}

impl Index {
    pub fn of(contents: &Contents) -> Self {
        let mut index = Self { since: contents.revision, ..Self::default() };
        for (id, volume) in &contents.volumes {
            index.add(*id, volume);
        }
        for (id, tombstone) in &contents.tombstones {
            index.pool(tombstone.pool).tombstones.insert(*id);
        }
        for (id, operation) in contents.operations.iter().filter(|(_, operation)| operation.ended.is_none()) {
            index.running.entry(operation.kind.volume()).or_default().insert(*id);
        }
        index
    }

    fn add(&mut self, id: VolumeId, volume: &Volume) {
        self.names.insert(volume.name.clone(), id);
        let pool = self.pool(volume.replica.pool);
        pool.volumes.insert(id);
        pool.promised_bytes = pool.promised_bytes.saturating_add(volume.size_bytes);
    }

    fn pool(&mut self, pool: PoolId) -> &mut InPool {
        self.pools.entry(pool).or_default()
    }

    pub fn created(&mut self, id: VolumeId, volume: &Volume, revision: Revision) {
        self.add(id, volume);
        self.touch(id, revision);
    }

    pub fn grown(&mut self, pool: PoolId, by_bytes: u64) {
        let pool = self.pool(pool);
        pool.promised_bytes = pool.promised_bytes.saturating_add(by_bytes);
    }

    /// Space of a deleted volume is on its way: it is not counted any more.
    pub fn deleted(&mut self, id: VolumeId, volume: &Volume, revision: Revision) {
        self.names.remove(&volume.name);
        let pool = self.pool(volume.replica.pool);
        pool.volumes.remove(&id);
        pool.tombstones.insert(id);
        pool.promised_bytes = pool.promised_bytes.saturating_sub(volume.size_bytes);
        self.touch(id, revision);
    }

    pub fn freed(&mut self, id: VolumeId, tombstone: &Tombstone, revision: Revision) {
        self.pool(tombstone.pool).tombstones.remove(&id);
        self.gone.insert(id, tombstone.name.clone());
        self.touch(id, revision);
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
        self.touched.insert(id);
    }

    pub fn started(&mut self, operation: OperationId, volume: VolumeId) {
        self.running.entry(volume).or_default().insert(operation);
        self.touched.insert(volume);
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
