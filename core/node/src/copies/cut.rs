//! Snapshots of a replicated volume: its primary gives each a place in the order.
//!
//! A snapshot that the control plane knows no place of is cut, unless an earlier primary did and it is here: then it is the
//! one, once everything up to its place is stable everywhere.

use block::{BLOCK_BYTES, SnapshotId, VolumeId};
use replication::SNAPSHOTS_MAX;

use crate::copies::{Replicated, Uncut};
use crate::intent::{CutRefusal, ReplicaIntent};
use crate::pipeline::Pipeline;
use crate::wishes::Wishes;

impl Pipeline {
    /// The control plane wants these of a volume's snapshots.
    pub(crate) fn want_snapshots(&mut self, id: VolumeId, replica: &ReplicaIntent, wishes: &Wishes) {
        if wishes.uncut(replica).next().is_none() {
            self.note_refused(id, None);
        }
        let Some(copy) = self.copy_mut(id) else { return };
        let uncut = wishes.uncut(replica).map(|wanted| {
            let told = copy.uncut.get(&wanted.id).is_some_and(|before| before.told);
            (wanted.id, Uncut { group: wanted.group, told })
        });
        let uncut = uncut.collect();
        let is_retired = replica.snapshots.retired;
        if copy.uncut != uncut || copy.retired.is_some() != is_retired {
            copy.uncut = uncut;
            copy.retired = is_retired.then_some(copy.retired.unwrap_or(0));
            self.copies.stirred.insert(id);
            self.pump();
        }
    }

    /// Gives places to snapshots that have none, as far as may be now.
    pub(super) fn cut_wanted(&mut self, id: VolumeId) {
        let Some(copy) = self.copy_mut(id) else { return };
        if copy.uncut.is_empty() || !copy.is_serving() {
            return;
        }
        let wanted: Vec<_> = copy.uncut.iter().map(|(snapshot, uncut)| (*snapshot, *uncut)).collect();
        for (snapshot, uncut) in wanted {
            match self.store.snapshot_state(snapshot).map(|found| found.seq) {
                Some(at) => self.see_to_it(id, snapshot, at),
                None => self.try_cut(id, snapshot, uncut.group),
            }
        }
    }

    /// It is here: it must be everywhere, on stable media, before it is told of.
    fn see_to_it(&mut self, id: VolumeId, snapshot: SnapshotId, at: block::WriteSeq) {
        let now = self.copies.now;
        let Some(copy) = self.copy_mut(id) else { return };
        if copy.replica.vouches_for(at) {
            let is_news = copy.uncut.get_mut(&snapshot).is_some_and(|uncut| !std::mem::replace(&mut uncut.told, true));
            if is_news {
                self.copies.news.insert(id);
            }
            return;
        }
        if !copy.work.is_empty() || !copy.events.is_empty() {
            return;
        }
        let mut effects = Vec::new();
        // Where it cannot be now it is looked at again: something happens at every heartbeat.
        let _ = copy.replica.make_stable(now, at, &mut effects);
        self.order(id, effects);
    }

    fn try_cut(&mut self, id: VolumeId, snapshot: SnapshotId, group: u64) {
        let Some(volume) = self.volumes.get(&id) else { return };
        let Some(copy) = volume.copy.as_deref() else { return };
        if !self.is_known_to_all(copy) {
            return self.note_refused(id, self.has_old_member(copy).then_some(CutRefusal::OldNode));
        }
        if self.store.snapshots_of(id).count() >= SNAPSHOTS_MAX {
            return self.note_refused(id, Some(CutRefusal::ManySnapshots));
        }
        if !self.may_cut(volume, group) {
            return;
        }
        let (now, blocks) = (self.copies.now, volume.size_bytes / BLOCK_BYTES as u64);
        // Only when nothing else is before it with the store is what the store says now what it will say then.
        self.hand_work(id);
        if let Err(refusal) = self.store.would_snapshot(id, snapshot) {
            return self.note_store_refused(id, refusal);
        }
        let Some(copy) = self.copy_mut(id) else { return };
        if !copy.work.is_empty() || !copy.events.is_empty() {
            return;
        }
        let mut effects = Vec::new();
        let placed = copy.replica.cut(now, snapshot, blocks, &mut effects);
        self.order(id, effects);
        if placed.is_ok() {
            self.note_refused(id, None);
            self.note_cut(id, group);
        }
    }

    /// Nodes of earlier versions cannot be told of snapshots.
    fn is_known_to_all(&self, copy: &Replicated) -> bool {
        let Some(found) = copy.replica.configuration() else { return false };
        found.members.keys().all(|peer| *peer == self.copies.me || self.copies.peers.knows_snapshots(*peer))
    }

    /// Whether that is why; of one that is not connected it is not known.
    fn has_old_member(&self, copy: &Replicated) -> bool {
        let mut members = copy.replica.configuration().into_iter().flat_map(|found| found.members.keys());
        let peers = &self.copies.peers;
        members.any(|peer| peers.is_open(*peer) && !peers.knows_snapshots(*peer))
    }

    pub(crate) fn order(&mut self, id: VolumeId, mut effects: Vec<replication::Effect<replication::Payload>>) {
        if !effects.is_empty() {
            self.carry_out(id, &mut effects);
            self.hand_work(id);
            self.copies.stirred.insert(id);
        }
    }
}
