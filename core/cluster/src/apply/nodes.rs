//! What nodes say, and what operators say of them.

use std::collections::{BTreeMap, BTreeSet};

use block::{PoolId, SnapshotId, VolumeId};

use crate::command::{Answer, Revision, Time};
use crate::name::Name;
use crate::node::{Addresses, Admin, LABELS_MAX, Labels, Link, Node, Pool, RemovedPool};
use crate::refusal::Refusal;
use crate::replica::Observed;
use crate::report::{NodeReport, PoolReport, ReplicaReport, Replicas};
use crate::snapshot::SnapshotCopy;
use crate::state::{NODES_MAX, State};
use crate::volume::{Phase, Tombstone};

/// Higher ids are never given, so nothing has to be left out for them; and whoever reports one cannot use all ids up.
const FOREIGN_ID_MAX: u64 = 1 << 48;

/// Of what is not there, or not heard.
static NO_SNAPSHOTS: BTreeMap<SnapshotId, SnapshotCopy> = BTreeMap::new();

impl State {
    pub(super) fn register(
        &mut self,
        now: Time,
        name: Name,
        addresses: Addresses,
        labels: Labels,
    ) -> Result<Answer, Refusal> {
        if labels.len() > LABELS_MAX {
            return Err(Refusal::Labels(labels.len()));
        }
        let known = self.contents.nodes.get(&name);
        if known.is_none() && self.contents.nodes.len() >= NODES_MAX {
            return Err(Refusal::Nodes);
        }
        let moved = known.is_some_and(|known| known.addresses.peers != addresses.peers);
        let admin = known.map_or(Admin::Schedulable, |node| node.admin);
        self.break_groups_on(now, &name);
        // A node that merely turns to a new leader is not made to look lost; its first report says what is.
        self.close_pools(&name);
        self.forget_back(&name);
        if moved {
            self.touch_all_of(&name);
        }
        self.contents.nodes.insert(name, Node { addresses, labels, admin, link: Link::Up { since: now } });
        Ok(Answer::Done)
    }

    pub(super) fn lose(&mut self, now: Time, name: &Name) -> Result<Answer, Refusal> {
        let node = self.contents.nodes.get_mut(name).ok_or_else(|| Refusal::NoSuchNode(name.clone()))?;
        if node.is_up() {
            node.link = Link::Lost { since: now };
        }
        self.break_groups_on(now, name);
        self.close_pools(name);
        self.forget_closed(now, name);
        Ok(Answer::Done)
    }

    /// Nothing is known of what is in pools that the node has not opened.
    fn forget_closed(&mut self, now: Time, node: &Name) {
        for pool in self.ids_of_pools(node) {
            if self.contents.pools[&pool].open {
                continue;
            }
            for volume in self.replicas_in(pool) {
                self.observe(now, (pool, volume), Observed::Unknown, &NO_SNAPSHOTS);
            }
        }
    }

    fn close_pools(&mut self, node: &Name) {
        for pool in self.ids_of_pools(node) {
            self.contents.pools.get_mut(&pool).expect("a pool of the node").open = false;
        }
    }

    /// Volumes of which a replica is or was in the pool.
    fn replicas_in(&self, pool: PoolId) -> Vec<VolumeId> {
        let mut all = self.index.volumes_in(pool);
        all.extend(self.index.tombstones_in(pool));
        all
    }

    /// Who reads of the node's volumes elsewhere has to hear where they are now.
    fn touch_all_of(&mut self, node: &Name) {
        let revision = self.next_revision();
        for pool in self.ids_of_pools(node) {
            for volume in self.index.volumes_in(pool) {
                self.index.touch(volume, revision);
            }
        }
    }

    fn ids_of_pools(&self, node: &Name) -> Vec<PoolId> {
        self.pools_of(node).map(|(id, _)| id).collect()
    }

    pub(super) fn report(&mut self, now: Time, name: &Name, report: NodeReport) -> Result<Answer, Refusal> {
        if !self.contents.nodes.contains_key(name) {
            return Err(Refusal::NoSuchNode(name.clone()));
        }
        let (removed, pools): (Vec<_>, Vec<_>) = report.pools.into_iter().partition(|pool| self.is_left_alone(pool.id));
        for pool in &pools {
            self.check_pool(name, pool)?;
        }
        removed.iter().for_each(|pool| self.note_back(now, name, pool.id));
        for pool in pools {
            self.take_pool(now, name, pool);
        }
        self.forget_closed(now, name);
        if !self.is_listening() {
            self.free_tombstones(name, report.heard);
        }
        Ok(Answer::Done)
    }

    /// A pool may come with another node when its own is not heard: a disk was moved.
    fn check_pool(&self, name: &Name, report: &PoolReport) -> Result<(), Refusal> {
        let known = self.contents.pools.get(&report.id);
        match (known, &report.replicas) {
            (Some(known), _) if known.open && known.node != *name => {
                Err(Refusal::PoolTaken { pool: report.id, first: known.node.clone(), second: name.clone() })
            }
            (Some(known), Replicas::Changed { .. }) if known.open => Ok(()),
            (_, Replicas::Changed { .. }) => Err(Refusal::PoolNotOpen(report.id)),
            (_, Replicas::All(_)) => Ok(()),
        }
    }

    fn take_pool(&mut self, now: Time, node: &Name, report: PoolReport) {
        let PoolReport { id, capacity_bytes, used_bytes, tags, failed, replicas } = report;
        self.leave_out_ids(&replicas);
        let known = self.contents.pools.get(&id);
        let moved = known.is_some_and(|known| known.node != *node || known.failed != failed);
        let orphans = known.map(|known| known.orphans.clone()).unwrap_or_default();
        let pool = Pool { node: node.clone(), capacity_bytes, used_bytes, tags, failed, open: true, orphans };
        self.contents.pools.insert(id, pool);
        if moved {
            let revision = self.next_revision();
            for volume in self.index.volumes_in(id) {
                self.index.touch(volume, revision);
            }
        }
        match replicas {
            Replicas::All(all) => self.take_all(now, id, &all),
            Replicas::Changed { present, gone } => self.take_changed(now, id, &present, &gone),
        }
    }

    /// A pool that was another cluster's may hold volumes of ids that were not given here yet: they never will be, or what
    /// is in it would be taken for a new volume.
    fn leave_out_ids(&mut self, replicas: &Replicas) {
        let (Replicas::All(present) | Replicas::Changed { present, .. }) = replicas;
        let ids = present.iter().map(|replica| replica.volume.0).filter(|id| *id <= FOREIGN_ID_MAX);
        self.contents.last_volume = ids.fold(self.contents.last_volume, u64::max);
        for replica in present {
            self.leave_out_snapshots(&replica.snapshots);
        }
    }

    fn take_all(&mut self, now: Time, pool: PoolId, all: &[ReplicaReport]) {
        let present: BTreeMap<VolumeId, &ReplicaReport> = all.iter().map(|replica| (replica.volume, replica)).collect();
        for volume in self.replicas_in(pool) {
            let found = present.get(&volume);
            let observed = found.map_or(Observed::Nothing, |found| found.observed());
            self.observe(now, (pool, volume), observed, found.map_or(&NO_SNAPSHOTS, |found| &found.snapshots));
        }
        let orphans = present.keys().copied().filter(|volume| self.is_orphan(pool, *volume)).collect();
        self.contents.pools.get_mut(&pool).expect("just put there").orphans = orphans;
    }

    fn take_changed(&mut self, now: Time, pool: PoolId, present: &[ReplicaReport], gone: &[VolumeId]) {
        let changed = present.iter().map(|replica| (replica.volume, replica.observed(), &replica.snapshots));
        let gone_ones = gone.iter().map(|volume| (*volume, Observed::Nothing, &NO_SNAPSHOTS));
        for (volume, observed, snapshots) in changed.chain(gone_ones) {
            self.observe(now, (pool, volume), observed, snapshots);
        }
        let found = present.iter().map(|replica| replica.volume).filter(|volume| self.is_orphan(pool, *volume));
        let found: BTreeSet<VolumeId> = found.collect();
        let orphans = &mut self.contents.pools.get_mut(&pool).expect("just put there").orphans;
        orphans.retain(|volume| !gone.contains(volume) && !found.contains(volume));
        orphans.extend(found);
    }

    fn is_orphan(&self, pool: PoolId, volume: VolumeId) -> bool {
        let known = self.contents.volumes.get(&volume).is_some_and(|volume| volume.replicas.contains_key(&pool));
        !known && !self.contents.tombstones.contains_key(&(volume, pool))
    }

    /// Takes note of what was found of a volume in a pool, if it was ever wanted there.
    fn observe(
        &mut self,
        now: Time,
        (pool, id): (PoolId, VolumeId),
        found: Observed,
        snapshots: &BTreeMap<SnapshotId, SnapshotCopy>,
    ) {
        self.look_into_graves((id, pool), found, snapshots);
        if let Some(tombstone) = self.contents.tombstones.get_mut(&(id, pool)) {
            tombstone.observed = found;
            return;
        }
        let Some(volume) = self.contents.volumes.get_mut(&id) else { return };
        let is_replicated = volume.is_replicated();
        let Some(replica) = volume.replicas.get_mut(&pool) else { return };
        let before = replica.observed;
        replica.observe(if is_replicated { now } else { Time::default() }, found);
        let other_snapshots = replica.note_snapshots(snapshots);
        if !is_replicated && replica.seen {
            volume.phase = Phase::Ready;
        }
        if before.essence() != found.essence() || other_snapshots {
            let revision = self.next_revision();
            self.index.touch(id, revision);
            self.bury_again(now, (id, pool));
            self.touch_clones_of(id);
        }
    }

    /// A tombstone goes when its replica is not there **and** the node has heard of the deletion: before, it may still
    /// make the replica as it was told before.
    fn free_tombstones(&mut self, node: &Name, heard: Revision) {
        for pool in self.ids_of_pools(node) {
            self.close_graves_in(pool, heard);
            for volume in self.index.tombstones_in(pool) {
                let tombstone = &self.contents.tombstones[&(volume, pool)];
                let is_last = self.index.snapshots.graves_of(volume).all(|(_, of)| of != pool);
                if is_last && tombstone.revision <= heard && tombstone.observed == Observed::Nothing {
                    self.drop_tombstone(pool, volume);
                }
            }
        }
    }

    pub(super) fn drop_tombstone(&mut self, pool: PoolId, volume: VolumeId) {
        let revision = self.next_revision();
        let Some(Tombstone { name, .. }) = self.contents.tombstones.remove(&(volume, pool)) else { return };
        self.index.freed(pool, volume, revision);
        if !self.contents.volumes.contains_key(&volume) && self.tombstones_of(volume).next().is_none() {
            self.index.forgotten(volume, name);
        }
    }

    pub(super) fn administer(&mut self, name: &Name, admin: Admin) -> Result<Answer, Refusal> {
        self.contents.nodes.get_mut(name).ok_or_else(|| Refusal::NoSuchNode(name.clone()))?.admin = admin;
        // What is on a node that is to be emptied is to be elsewhere.
        for pool in self.ids_of_pools(name) {
            for volume in self.index.volumes_in(pool) {
                self.index.note(volume);
            }
        }
        Ok(Answer::Done)
    }

    /// A node that runs would register itself again, with nothing of what an operator said of it. What is in its pools is of
    /// the past from now on, so they are known as removed: should they come back, nothing in them is used.
    pub(super) fn remove_node(&mut self, now: Time, name: &Name) -> Result<Answer, Refusal> {
        let node = self.contents.nodes.get(name).ok_or_else(|| Refusal::NoSuchNode(name.clone()))?;
        let is_up = node.is_up();
        let pools = self.ids_of_pools(name);
        let replicas = pools.iter().map(|pool| self.index.volumes_in(*pool).len()).sum();
        if replicas > 0 {
            return Err(Refusal::NodeInUse { node: name.clone(), replicas });
        }
        if is_up {
            return Err(Refusal::NodeHeard(name.clone()));
        }
        for pool in pools {
            self.forget_pool(pool);
            self.remember_removed(pool, RemovedPool { node: name.clone(), since: now, back: None });
        }
        self.forget_back(name);
        self.contents.nodes.remove(name);
        Ok(Answer::Done)
    }
}
