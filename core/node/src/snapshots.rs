//! Snapshots that the control plane wants, and those that it does not: what the node does about them beside the volumes'
//! replicas, and what it says of them.
//!
//! A snapshot is known by its number and its place in the order. One that was cut at another place than the control plane
//! knows is what a primary cut that was deposed before anybody else had it: it goes.

use block::{SnapshotId, VolumeId};
use replication::SNAPSHOTS_MAX;
use store::{Refusal, SnapshotState, Token, VersionSpace};

use crate::control::Task;
use crate::intent::{CutRefusal, ReplicaIntent, SnapshotIntent, SnapshotObservation};
use crate::node::Node;
use crate::pipeline::Pipeline;
use crate::volume::Volume;
use crate::wishes::Wishes;

impl Node {
    /// What is to be done about a volume's snapshots next.
    pub(crate) fn snapshot_task(&self, id: VolumeId) -> Option<Task> {
        let doomed = self.pipeline.store.snapshots_of(id).find(|found| self.is_doomed(id, found));
        if let Some(doomed) = doomed {
            return Some(Task::DeleteSnapshot { snapshot: doomed.id });
        }
        let replica = self.wishes.replica(id)?;
        let volume = self.pipeline.volumes.get(&id)?;
        // A volume that has replicas gives it a place in their order.
        if volume.copy.is_some() || replica.copies.is_some() || !volume.is_served_here() {
            return None;
        }
        let uncut = self.wishes.uncut(replica);
        let mut due = uncut.filter(|wanted| self.pipeline.may_cut(volume, wanted.group));
        let next = due.find(|wanted| self.pipeline.store.snapshot_state(wanted.id).is_none());
        let retired = || self.pipeline.next_to_retire(id, 0).filter(|_| replica.snapshots.retired);
        match next {
            Some(next) => Some(Task::Snapshot { snapshot: next.id }),
            None => retired().map(|range| Task::Retire { range }),
        }
    }

    fn is_doomed(&self, id: VolumeId, found: &SnapshotState) -> bool {
        let known = self.wishes.replica(id).into_iter().flat_map(|replica| &replica.snapshots.wanted);
        let elsewhere = |wanted: &SnapshotIntent| wanted.id == found.id && wanted.at.is_some_and(|at| at != found.seq);
        self.wishes.deletes_snapshot(found.id) || known.into_iter().any(elsewhere)
    }

    /// Cuts a snapshot of a volume of one replica.
    pub(crate) fn cut_alone(&mut self, id: VolumeId, snapshot: SnapshotId, token: Token) -> Result<(), Refusal> {
        if self.pipeline.store.snapshots_of(id).count() >= SNAPSHOTS_MAX {
            self.pipeline.note_refused(id, Some(CutRefusal::ManySnapshots));
            return Err(Refusal::TooMany);
        }
        let begun = self.pipeline.change(id, |store, seq| store.snapshot(id, seq, snapshot, token));
        if let Err(refusal) = begun {
            self.pipeline.note_store_refused(id, refusal);
            return Err(refusal);
        }
        self.pipeline.note_refused(id, None);
        self.pipeline.cutting.insert(snapshot);
        let wanted = self.wishes.replica(id).into_iter().flat_map(|replica| &replica.snapshots.wanted);
        let group = wanted.into_iter().find(|wanted| wanted.id == snapshot).map_or(0, |wanted| wanted.group);
        self.pipeline.note_cut(id, group);
        Ok(())
    }

    /// Deletes a snapshot. It is told of until that is on stable media.
    pub(crate) fn delete_snapshot(&mut self, snapshot: SnapshotId, token: Token) -> Result<(), Refusal> {
        let found = self.pipeline.store.snapshot_state(snapshot).copied();
        self.pipeline.store.delete_snapshot(snapshot, token)?;
        if let Some(state) = found {
            self.pipeline.fading.insert(snapshot, state);
            self.pipeline.drive(state.volume, replication::Event::SnapshotDeleted { id: snapshot });
        }
        Ok(())
    }
}

impl CutRefusal {
    /// The store's word on it; none for what is over in a moment.
    fn of(refusal: Refusal) -> Option<Self> {
        match refusal {
            Refusal::NoSpace { .. } => Some(Self::PoolFull),
            Refusal::Poisoned => Some(Self::PoolFailed),
            Refusal::TooMany => Some(Self::PoolCrowded),
            Refusal::Busy
            | Refusal::NoSuchVolume(_)
            | Refusal::NoSuchSnapshot(_)
            | Refusal::Exists
            | Refusal::OutOfRange => None,
        }
    }
}

impl Pipeline {
    /// The store does not cut it. What is over in a moment does not change what is told.
    pub(crate) fn note_store_refused(&mut self, id: VolumeId, refusal: Refusal) {
        if let Some(refused) = CutRefusal::of(refusal) {
            self.note_refused(id, Some(refused));
        }
    }

    /// Why a snapshot that is wanted of a volume is not cut, or that nothing is in the way.
    pub(crate) fn note_refused(&mut self, id: VolumeId, refused: Option<CutRefusal>) {
        let Some(volume) = self.volumes.get_mut(&id) else { return };
        if std::mem::replace(&mut volume.cut_refused, refused) != refused {
            self.copies.news.insert(id);
        }
    }
}

impl Wishes {
    /// Snapshots of a volume that are to be cut.
    pub fn uncut<'a>(&self, replica: &'a ReplicaIntent) -> impl Iterator<Item = &'a SnapshotIntent> {
        replica.snapshots.wanted.iter().filter(|wanted| wanted.at.is_none() && !self.deletes_snapshot(wanted.id))
    }
}

impl Node {
    /// A volume's snapshots that are there for good, as far as this node can tell. Of those that the control plane knows by
    /// their place a primary told before.
    pub(crate) fn snapshots_told(&self, volume: &Volume) -> Vec<SnapshotObservation> {
        let pipeline = &self.pipeline;
        let replica = volume.copy.as_deref().map(|copy| &copy.replica);
        let wanted = self.wishes.replica(volume.id).map_or(&[][..], |replica| &replica.snapshots.wanted);
        let is_known =
            |found: &SnapshotState| wanted.iter().any(|wanted| (wanted.id, wanted.at) == (found.id, Some(found.seq)));
        let is_there = |found: &&SnapshotState| {
            let is_sure = replica.is_none_or(|replica| replica.vouches_for(found.seq)) || is_known(found);
            is_sure && !pipeline.cutting.contains(&found.id)
        };
        let fading = pipeline.fading.values().filter(|found| found.volume == volume.id);
        let there = pipeline.store.snapshots_of(volume.id).filter(is_there);
        let observation = |found: &SnapshotState| {
            let SnapshotState { id, seq: at, size_bytes, .. } = *found;
            let VersionSpace { exclusive_bytes, shared_bytes, .. } = self.spaces.of(id);
            SnapshotObservation { id, at, size_bytes, exclusive_bytes, shared_bytes }
        };
        let mut told: Vec<_> = there.chain(fading).map(observation).collect();
        told.sort_unstable_by_key(|found| found.id);
        told
    }
}
