//! Volumes that begin as another volume, or as a snapshot of one.
//!
//! A clone's first replicas are made in pools that have the snapshot: nothing is copied. A pool is told to make one only
//! while it is known to have the very snapshot, so before the first configuration nobody has a replica that was not cloned.
//! That configuration has a higher epoch than the snapshot's place: whatever is written to the clone is newer than what it
//! began with. Replicas in other pools are made empty after that, and taught by the primary.

use std::collections::BTreeSet;

use block::{Epoch, PoolId, SnapshotId, VolumeId, WriteSeq};

use super::snapshots::NewSnapshot;
use crate::command::Time;
use crate::name::Name;
use crate::operation::OperationKind;
use crate::refusal::Refusal;
use crate::snapshot::{CloneSource, Keep, Maker, Snapshot, Source};
use crate::state::State;
use crate::volume::{Phase, Volume};

/// What a clone is made of, before anything is changed.
pub(super) struct Beginning {
    from: Source,
    of: VolumeId,
    snapshot: Option<(SnapshotId, WriteSeq)>,
    /// Its size.
    pub size_bytes: u64,
    /// Pools that have it, or will.
    pub pools: BTreeSet<PoolId>,
}

impl State {
    /// Looks for what a clone is to be made of.
    pub(super) fn beginning(&self, from: Source) -> Result<Beginning, Refusal> {
        match &from {
            Source::Snapshot(name) => {
                let (id, snapshot) = self.snapshot(name).ok_or_else(|| Refusal::NoSuchSnapshot(name.clone()))?;
                let at = snapshot.at().filter(|_| self.is_snapshot_ready(snapshot));
                let at = at.ok_or_else(|| Refusal::SnapshotNotReady(name.clone()))?;
                let pools = self.pools_with(id, snapshot);
                let size_bytes = snapshot.size_bytes;
                Ok(Beginning { of: snapshot.source, snapshot: Some((id, at)), size_bytes, pools, from })
            }
            Source::Volume(name) => {
                let (of, volume) = self.volume(name).ok_or_else(|| Refusal::NoSuchVolume(name.clone()))?;
                if volume.phase == Phase::Creating {
                    return Err(Refusal::NotMade(name.clone()));
                }
                self.check_snapshot_room(of)?;
                let pools =
                    if volume.is_replicated() { volume.in_sync().collect() } else { BTreeSet::from([volume.home()]) };
                Ok(Beginning { of, snapshot: None, size_bytes: volume.size_bytes, pools, from })
            }
        }
    }

    /// Pools that have the snapshot.
    fn pools_with(&self, id: SnapshotId, snapshot: &Snapshot) -> BTreeSet<PoolId> {
        let (Some(at), Some(volume)) = (snapshot.at(), self.contents.volumes.get(&snapshot.source)) else {
            return BTreeSet::new();
        };
        volume.replicas.keys().copied().filter(|pool| volume.has_snapshot(*pool, id, at)).collect()
    }

    /// Pools that have what a volume began as: none for one that began empty, or if that is gone.
    pub(crate) fn pools_with_source(&self, volume: &Volume) -> BTreeSet<PoolId> {
        let id = volume.source.as_ref().map(|source| source.snapshot);
        let found = id.and_then(|id| Some((id, self.contents.snapshots.get(&id)?)));
        found.map_or_else(BTreeSet::new, |(id, snapshot)| self.pools_with(id, snapshot))
    }

    /// Notes what a clone is made of. A clone of a volume begins with a snapshot of its own, which goes when it is there.
    pub(super) fn settle_source(&mut self, now: Time, clone: &Name, beginning: Beginning) -> CloneSource {
        let Beginning { from, of, snapshot, .. } = beginning;
        match snapshot {
            Some((snapshot, at)) => CloneSource { from, snapshot, at: Some(at) },
            None => {
                let new = NewSnapshot::of(clone.clone(), now, Maker::Clone);
                let snapshot = self.add_snapshot(now, of, NewSnapshot { keep: Keep::ForClones, ..new });
                CloneSource { from, snapshot, at: None }
            }
        }
    }

    /// The snapshot has its place: what begins as it may be made.
    pub(super) fn begin_clones(&mut self, snapshot: SnapshotId, at: WriteSeq) {
        let revision = self.next_revision();
        let clones: Vec<VolumeId> = self.index.snapshots.clones_of(snapshot).collect();
        for id in clones {
            let Some(source) = self.contents.volumes.get_mut(&id).and_then(|clone| clone.source.as_mut()) else {
                continue;
            };
            source.at = source.at.or(Some(at));
            self.index.touch(id, revision);
        }
    }

    /// Where a volume's snapshots are has changed: what is made of them may be made elsewhere.
    pub(super) fn touch_clones_of(&mut self, id: VolumeId) {
        let revision = self.next_revision();
        let is_made = |clone: &VolumeId| {
            let clone = self.contents.volumes.get(clone);
            clone.is_some_and(|clone| clone.replicas.values().any(crate::replica::Replica::may_create))
        };
        let snapshots = self.index.snapshots.of(id);
        let clones: Vec<VolumeId> =
            snapshots.flat_map(|snapshot| self.index.snapshots.clones_of(snapshot)).filter(is_made).collect();
        for clone in clones {
            self.index.touch(clone, revision);
        }
    }

    /// The snapshot that they were to begin as is withdrawn: they were never there.
    pub(super) fn fail_clones(&mut self, now: Time, snapshot: SnapshotId, sentence: &str) {
        let clones: Vec<VolumeId> = self.index.snapshots.clones_of(snapshot).collect();
        for id in clones {
            self.fail(
                now,
                OperationKind::Create(id),
                &format!("the snapshot that it was to begin with is missing: {sentence}"),
            );
            self.remove_volume(now, id);
        }
    }

    /// Whether a snapshot's clones are not all there: made of it, as far as pools that have it are heard.
    pub(crate) fn is_needed(&self, id: SnapshotId, snapshot: &Snapshot) -> bool {
        let pools = self.pools_with(id, snapshot);
        let needs = |clone: &Volume| {
            let is_made_there =
                |pool: &PoolId| clone.replicas.get(pool).is_some_and(crate::replica::Replica::may_create);
            clone.phase == Phase::Creating || pools.iter().any(is_made_there)
        };
        self.index.snapshots.clones_of(id).any(|clone| self.contents.volumes.get(&clone).is_some_and(needs))
    }

    /// Something became of a clone: what it was made of may not be needed any more.
    pub(super) fn note_source(&mut self, id: VolumeId) {
        let source = self.contents.volumes.get(&id).and_then(|volume| volume.source.as_ref());
        let snapshot = source.and_then(|source| self.contents.snapshots.get(&source.snapshot));
        if let Some(snapshot) = snapshot.filter(|snapshot| snapshot.keep == Keep::ForClones && snapshot.source != id) {
            self.index.note(snapshot.source);
        }
    }
}

impl Volume {
    /// Its first epoch: everything that it begins with was written in earlier ones.
    pub(crate) fn first_epoch(&self) -> Epoch {
        let inherited = self.source.as_ref().and_then(|source| source.at).map_or(0, |at| at.epoch.0);
        Epoch(inherited.checked_add(1).expect("a volume does not change four billion times"))
    }
}
