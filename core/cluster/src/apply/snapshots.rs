//! Snapshots: asked for, cut, withdrawn, deleted.

use block::{SnapshotId, VolumeId};

use super::volumes::check_words;
use crate::command::{Answer, Time};
use crate::group::GroupId;
use crate::name::Name;
use crate::node::Labels;
use crate::operation::OperationKind;
use crate::refusal::Refusal;
use crate::snapshot::{CUT_MAX_MS, Cut, Keep, Maker, SNAPSHOTS_MAX, SNAPSHOTS_OF_VOLUME_MAX, Snapshot, SnapshotCopy};
use crate::state::State;
use crate::volume::is_size;

/// What a new snapshot is.
pub(super) struct NewSnapshot {
    pub name: Name,
    pub until: Time,
    pub keep: Keep,
    pub maker: Maker,
    pub group: Option<GroupId>,
    pub labels: Labels,
}

impl NewSnapshot {
    pub fn of(name: Name, now: Time, maker: Maker) -> Self {
        let until = Time(now.0.saturating_add(CUT_MAX_MS));
        Self { name, until, keep: Keep::Named, maker, group: None, labels: Labels::new() }
    }
}

impl State {
    pub(super) fn create_snapshot(
        &mut self,
        now: Time,
        name: Name,
        volume: Name,
        labels: Labels,
    ) -> Result<Answer, Refusal> {
        check_words(None, labels.len())?;
        if let Some((id, there)) = self.snapshot(&name) {
            return self.same_snapshot(id, there, volume);
        }
        let (id, _) = self.volume(&volume).ok_or(Refusal::NoSuchVolume(volume))?;
        self.check_snapshot_room(id)?;
        let snapshot = self.add_snapshot(now, id, NewSnapshot { labels, ..NewSnapshot::of(name, now, Maker::Person) });
        let operation = self.start(now, OperationKind::Snapshot(id, snapshot));
        Ok(Answer::Snapshot { id: snapshot, operation: Some(operation) })
    }

    /// Who asks for a snapshot that is there gets it, if it is of the volume that is meant: a retry joins. The volume may be
    /// gone by now.
    fn same_snapshot(&self, id: SnapshotId, there: &Snapshot, volume: Name) -> Result<Answer, Refusal> {
        let meant = self.volume(&volume).map_or(there.source, |(id, _)| id);
        if there.source_name != volume || there.source != meant {
            let (name, of) = (there.name.clone(), there.source_name.clone());
            return Err(Refusal::SnapshotExists { name, of, asked: volume });
        }
        let kind = |operation: &_| self.contents.operations[operation].kind;
        let makes = |operation: &_| {
            kind(operation) == OperationKind::Snapshot(there.source, id)
                || matches!(kind(operation), OperationKind::Group(_, group) if there.group == Some(group))
        };
        let group = there.group.and_then(|group| self.contents.groups.get(&group));
        let under = group.map_or(there.source, crate::group::Group::first);
        Ok(Answer::Snapshot { id, operation: self.index.running_of(under).find(makes) })
    }

    pub(super) fn check_snapshot_room(&self, volume: VolumeId) -> Result<(), Refusal> {
        if self.contents.snapshots.len() >= SNAPSHOTS_MAX {
            return Err(Refusal::Snapshots);
        }
        if self.index.snapshots.count_of(volume) >= SNAPSHOTS_OF_VOLUME_MAX {
            return Err(Refusal::SnapshotsOfVolume(self.contents.volumes[&volume].name.clone()));
        }
        Ok(())
    }

    /// The name is not taken, and there is room.
    pub(super) fn add_snapshot(&mut self, now: Time, volume: VolumeId, new: NewSnapshot) -> SnapshotId {
        let NewSnapshot { name, until, keep, maker, group, labels } = new;
        self.contents.last_snapshot += 1;
        let id = SnapshotId(self.contents.last_snapshot);
        let source = &self.contents.volumes[&volume];
        let snapshot = Snapshot {
            name,
            source: volume,
            source_name: source.name.clone(),
            size_bytes: source.size_bytes,
            created: now,
            cut: Cut::Wanted { until },
            keep,
            maker,
            group,
            labels,
        };
        self.index.snapshots.added(id, &snapshot);
        self.contents.snapshots.insert(id, snapshot);
        let revision = self.next_revision();
        self.index.touch(volume, revision);
        id
    }

    pub(super) fn delete_snapshot(&mut self, now: Time, name: &Name) -> Result<Answer, Refusal> {
        let (id, snapshot) = self.snapshot(name).ok_or_else(|| Refusal::NoSuchSnapshot(name.clone()))?;
        if let Some(group) = snapshot.group.and_then(|group| self.contents.groups.get(&group)) {
            return Err(Refusal::InGroup { snapshot: name.clone(), group: group.name.clone() });
        }
        let source = snapshot.source;
        self.fail(now, OperationKind::Snapshot(source, id), "it was deleted before it was cut");
        self.release_snapshot(id);
        Ok(Answer::Started(self.start(now, OperationKind::DeleteSnapshot(source, id))))
    }

    /// Its name is free, and it stays as long as clones need it.
    pub(super) fn release_snapshot(&mut self, id: SnapshotId) {
        self.change_snapshot(id, |snapshot| snapshot.keep = Keep::ForClones);
    }

    fn change_snapshot(&mut self, id: SnapshotId, change: impl FnOnce(&mut Snapshot)) {
        let revision = self.next_revision();
        let Some(snapshot) = self.contents.snapshots.get_mut(&id) else { return };
        self.index.snapshots.removed(id, snapshot);
        change(snapshot);
        self.index.snapshots.added(id, snapshot);
        self.index.touch(snapshot.source, revision);
    }

    /// Snapshots get their place in the order: by the word of who serves the volume now, and of nobody else.
    pub(super) fn cut_snapshots(&mut self, _now: Time, id: VolumeId) -> bool {
        let found = self.newly_cut(id);
        for (snapshot, copy) in &found {
            let size_bytes = copy.size_bytes;
            self.change_snapshot(*snapshot, |snapshot| {
                snapshot.cut = Cut::At(copy.at);
                snapshot.size_bytes = if is_size(size_bytes) { size_bytes } else { snapshot.size_bytes };
            });
            self.begin_clones(*snapshot, copy.at);
        }
        !found.is_empty()
    }

    fn newly_cut(&self, id: VolumeId) -> Vec<(SnapshotId, SnapshotCopy)> {
        let Some(volume) = self.contents.volumes.get(&id) else { return Vec::new() };
        let Some(serving) = volume.serving() else { return Vec::new() };
        let wanted = self.snapshots_of(id).filter(|(_, snapshot)| match snapshot.cut {
            Cut::Wanted { .. } => self.may_be_cut_by(serving, volume, snapshot),
            Cut::At(_) => false,
        });
        let epoch = volume.epoch();
        let copy = |id: SnapshotId| volume.replicas[&serving].snapshots.get(&id).copied();
        let found = wanted.filter_map(|(id, _)| Some((id, copy(id)?)));
        found.filter(|(_, copy)| !volume.is_replicated() || copy.at.epoch <= epoch).collect()
    }

    /// What was not cut in time is withdrawn, and so is what was to begin as it.
    pub(super) fn withdraw_late(&mut self, now: Time, id: VolumeId) -> bool {
        let is_late = |snapshot: &Snapshot| match snapshot.cut {
            // Those of a group are withdrawn together.
            Cut::Wanted { until } => until <= now && snapshot.group.is_none(),
            Cut::At(_) => false,
        };
        let late: Vec<SnapshotId> =
            self.snapshots_of(id).filter(|(_, snapshot)| is_late(snapshot)).map(|(id, _)| id).collect();
        for snapshot in &late {
            let kind = OperationKind::Snapshot(id, *snapshot);
            let why = self.waits_for_cut(id, *snapshot).map_or_else(String::new, |why| format!(": {why}"));
            let sentence = format!("it was not cut within {} s, and is withdrawn{why}", CUT_MAX_MS / 1000);
            self.fail(now, kind, &sentence);
            self.note_failed_run(id, *snapshot, &sentence);
            self.fail_clones(now, *snapshot, &sentence);
            self.bury_snapshot(now, *snapshot);
        }
        !late.is_empty()
    }

    /// What is kept for clones only goes when they are there.
    pub(super) fn drop_unneeded(&mut self, now: Time, id: VolumeId) -> bool {
        let is_over = |(id, snapshot): &(SnapshotId, &Snapshot)| {
            snapshot.keep == Keep::ForClones && !self.is_needed(*id, snapshot)
        };
        let over: Vec<SnapshotId> = self.snapshots_of(id).filter(is_over).map(|(id, _)| id).collect();
        for snapshot in &over {
            self.bury_snapshot(now, *snapshot);
        }
        !over.is_empty()
    }
}
