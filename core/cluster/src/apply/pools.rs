//! Pools that never come back.
//!
//! An operator says so, of a pool or of its node. Then nobody is there to free what was deleted in them, and nobody is to look for them: what the
//! cluster keeps about them goes. A pool that comes back all the same is left alone: what it holds is of the past, and its
//! replicas are no members of anything.

use block::{PoolId, SnapshotId, VolumeId};

use crate::command::{Answer, Time};
use crate::name::Name;
use crate::node::RemovedPool;
use crate::operation::OperationKind;
use crate::recovered::Recovered;
use crate::refusal::Refusal;
use crate::replica::Replica;
use crate::replication::{Condition, Replication};
use crate::snapshot::{Cut, Snapshot};
use crate::state::State;
use crate::volume::{Tombstone, Volume};

/// Removed pools that are known. When there are more, those that were removed first are forgotten: they would be taken in as
/// pools with volumes that nobody knows.
const REMOVED_POOLS_MAX: usize = 4096;
/// Things that are named when a pool holds the only copy of them.
const NAMED_MAX: usize = 8;

/// What a pool is to a volume that has a replica in it.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Bond {
    /// Others have what it has.
    Loose,
    /// The volume goes by it.
    Member,
    /// Nobody else has these, in words.
    Only(Vec<String>),
}

impl State {
    pub(super) fn remove_pool(&mut self, now: Time, id: PoolId, force: bool) -> Result<Answer, Refusal> {
        let node = match self.contents.pools.get(&id) {
            Some(pool) if pool.open => return Err(Refusal::PoolHeard { pool: id, node: pool.node.clone() }),
            Some(pool) => pool.node.clone(),
            None if self.contents.removed_pools.contains_key(&id) => return Ok(Answer::Done),
            None => return Err(Refusal::NoSuchPool(id)),
        };
        let volumes = self.index.volumes_in(id);
        self.check_bonds(id, &volumes)?;
        let only = self.only_in(id);
        if !only.is_empty() && !force {
            return Err(Refusal::PoolHoldsOnly { pool: id, what: in_words(&only) });
        }
        for volume in volumes {
            self.give_up(now, id, volume);
        }
        self.forget_pool(id);
        self.remember_removed(id, RemovedPool { node, since: now, back: None });
        Ok(Answer::Done)
    }

    /// What would be lost with a pool, in words.
    #[must_use]
    pub fn only_in(&self, pool: PoolId) -> Vec<String> {
        let bonds = self.index.volumes_in(pool).into_iter().map(|volume| self.bond(pool, volume));
        bonds.flat_map(|bond| if let Bond::Only(what) = bond { what } else { Vec::new() }).collect()
    }

    fn check_bonds(&self, pool: PoolId, volumes: &[VolumeId]) -> Result<(), Refusal> {
        for id in volumes {
            let volume = &self.contents.volumes[id];
            if self.bond(pool, *id) == Bond::Member {
                return Err(Refusal::PoolCounts { pool, volume: volume.name.clone() });
            }
            let in_group = self.snapshots_of(*id).find_map(|(_, snapshot)| {
                let group = self.contents.groups.get(&snapshot.group?)?;
                Some((snapshot, group))
            });
            if let Some((snapshot, group)) = in_group.filter(|_| is_all_there_is(volume, pool)) {
                return Err(Refusal::InGroup { snapshot: snapshot.name.clone(), group: group.name.clone() });
            }
        }
        Ok(())
    }

    fn bond(&self, pool: PoolId, id: VolumeId) -> Bond {
        let volume = &self.contents.volumes[&id];
        if is_all_there_is(volume, pool) {
            return Bond::Only(self.whole_in_words(id, volume));
        }
        let is_member = |replication: &Replication| replication.configuration.members.contains_key(&pool);
        if volume.replication.as_ref().is_some_and(is_member) {
            return Bond::Member;
        }
        if volume.replicas[&pool].seen && !matches!(volume.condition(), Some(Condition::Active { .. })) {
            let sentence = format!("what volume {} was once: none of its replicas serves it", volume.name);
            return Bond::Only(vec![sentence]);
        }
        let only: Vec<String> = self.snapshots_only_in(pool, id, volume);
        if only.is_empty() { Bond::Loose } else { Bond::Only(only) }
    }

    fn whole_in_words(&self, id: VolumeId, volume: &Volume) -> Vec<String> {
        let snapshots = self.snapshots_of(id).map(|(_, snapshot)| format!("snapshot {}", snapshot.name));
        let name = volume.retired.is_none().then(|| format!("volume {}", volume.name));
        name.into_iter().chain(snapshots).collect()
    }

    fn snapshots_only_in(&self, pool: PoolId, id: VolumeId, volume: &Volume) -> Vec<String> {
        let holders = |snapshot| {
            let all = volume.replicas.iter().filter(move |(_, replica)| replica.snapshots.contains_key(&snapshot));
            all.map(|(holder, _)| *holder)
        };
        let is_only_here = |(snapshot, found): &(SnapshotId, &Snapshot)| {
            matches!(found.cut, Cut::At(_)) && holders(*snapshot).eq([pool])
        };
        self.snapshots_of(id).filter(is_only_here).map(|(_, snapshot)| format!("snapshot {}", snapshot.name)).collect()
    }

    /// The volume goes on without its replica in the pool, or goes with it.
    fn give_up(&mut self, now: Time, pool: PoolId, id: VolumeId) {
        if is_all_there_is(&self.contents.volumes[&id], pool) {
            return self.give_up_volume(now, id);
        }
        self.bury_snapshots_in(now, id, pool);
        let revision = self.next_revision();
        let volume = self.contents.volumes.get_mut(&id).expect("the index has it");
        let Replica { observed, .. } = volume.replicas.remove(&pool).expect("the index has it");
        let tombstone = Tombstone { name: volume.last_name().clone(), pool, observed, since: now, revision };
        self.contents.tombstones.insert((id, pool), tombstone);
        self.index.buried(pool, id, volume.size_bytes);
        self.index.touch(id, revision);
    }

    fn give_up_volume(&mut self, now: Time, id: VolumeId) {
        const WHY: &str = "its pool was removed";
        if let Some(group) = self.contents.volumes[&id].group {
            self.give_up_group(now, group, WHY);
        }
        let snapshots: Vec<_> = self.snapshots_of(id).map(|(snapshot, _)| snapshot).collect();
        for snapshot in snapshots {
            self.fail(now, OperationKind::Snapshot(id, snapshot), WHY);
            self.fail_clones(now, snapshot, WHY);
            self.bury_snapshot(now, snapshot);
        }
        self.remove_volume(now, id);
    }

    /// Nobody is there any more to free what was deleted in it.
    pub(super) fn forget_pool(&mut self, pool: PoolId) {
        for snapshot in self.index.snapshots.graves_in(pool) {
            self.close_grave(snapshot, pool);
        }
        for volume in self.index.tombstones_in(pool) {
            self.drop_tombstone(pool, volume);
        }
        self.contents.pools.remove(&pool);
        self.index.remove_pool(pool);
    }

    pub(super) fn remember_removed(&mut self, id: PoolId, pool: RemovedPool) {
        let removed = &mut self.contents.removed_pools;
        removed.insert(id, pool);
        if let Some(recovered) = &mut self.contents.recovered {
            recovered.given_up.remove(&id);
        }
        let removed = &mut self.contents.removed_pools;
        if removed.len() > REMOVED_POOLS_MAX
            && let Some(oldest) = removed.iter().min_by_key(|(_, pool)| pool.since).map(|(id, _)| *id)
        {
            removed.remove(&oldest);
        }
    }

    /// Whether nothing in a pool is used, whoever comes with it.
    pub(super) fn is_left_alone(&self, pool: PoolId) -> bool {
        let is_given_up = |recovered: &Recovered| recovered.given_up.contains_key(&pool);
        self.contents.removed_pools.contains_key(&pool) || self.contents.recovered.as_ref().is_some_and(is_given_up)
    }

    /// Somebody came with a pool that was removed, or given up.
    pub(super) fn note_back(&mut self, now: Time, node: &Name, id: PoolId) {
        if let Some(back) = self.contents.recovered.as_mut().and_then(|recovered| recovered.given_up.get_mut(&id)) {
            *back = Some(node.clone());
        }
        if let Some(pool) = self.contents.removed_pools.get_mut(&id)
            && pool.back.as_ref().is_none_or(|(found, _)| found != node)
        {
            pool.back = Some((node.clone(), now));
        }
    }

    /// What pools the node has is still to be heard.
    pub(super) fn forget_back(&mut self, node: &Name) {
        let had = |pool: &&mut RemovedPool| pool.back.as_ref().is_some_and(|(found, _)| found == node);
        self.contents.removed_pools.values_mut().filter(had).for_each(|pool| pool.back = None);
        let given_up = self.contents.recovered.iter_mut().flat_map(|recovered| recovered.given_up.values_mut());
        given_up.filter(|back| back.as_ref() == Some(node)).for_each(|back| *back = None);
    }
}

/// Whether nothing of the volume is anywhere else, or nothing that ever held its data.
fn is_all_there_is(volume: &Volume, pool: PoolId) -> bool {
    let mut others = volume.replicas.iter().filter(|(other, _)| **other != pool).map(|(_, replica)| replica);
    match &volume.replication {
        Some(_) => others.next().is_none(),
        None => !others.any(|other| other.seen || !volume.replicas[&pool].seen),
    }
}

fn in_words(only: &[String]) -> String {
    let named = only.iter().take(NAMED_MAX).cloned().collect::<Vec<_>>().join(", ");
    match only.len().saturating_sub(NAMED_MAX) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}
