//! Snapshots in words: why one is not ready, why its space is not back, what is kept of a deleted volume.

use block::{PoolId, SnapshotId, VolumeId};

use super::duration;
use crate::group::{Group, GroupPhase};
use crate::name::Name;
use crate::operation::{OperationKind, Waiting};
use crate::schedule::{Run, Schedule, stamp};
use crate::snapshot::{Cut, Keep, Maker, Snapshot};
use crate::state::State;
use crate::volume::{Phase, Volume};

impl State {
    /// What a snapshot is and what it waits for; also of one that is deleted, as long as its space is not back.
    #[must_use]
    pub fn explain_snapshot(&self, name: &Name) -> Option<Vec<String>> {
        let Some((id, snapshot)) = self.snapshot(name) else { return self.explain_deleted(name) };
        let mut sentences = vec![self.explain_cut(id, snapshot)];
        if let Some(group) = snapshot.group.and_then(|group| self.group_of(group)) {
            sentences.push(format!("It belongs to group snapshot {}.", group.name));
            sentences.extend(self.waits_for_group(group).map(|waiting| format!("That waits: {waiting}.")));
        }
        if let Maker::Schedule(schedule) = &snapshot.maker {
            sentences.push(format!(
                "Schedule {schedule} of volume {} made it, and deletes it when it has made enough others.",
                snapshot.source_name
            ));
        }
        sentences.extend(self.explain_source(snapshot));
        Some(sentences)
    }

    fn explain_cut(&self, id: SnapshotId, snapshot: &Snapshot) -> String {
        let Snapshot { name, source_name, .. } = snapshot;
        match snapshot.cut {
            Cut::Wanted { until } => {
                let waits = match snapshot.group {
                    Some(_) => String::new(),
                    None => self.waits_for_cut(snapshot.source, id).map_or_else(String::new, |why| format!(": {why}")),
                };
                let left_ms = until.0.saturating_sub(self.contents.now.0);
                format!(
                    "Snapshot {name} of volume {source_name} is not ready{waits}. It is withdrawn if it is not cut within {}.",
                    duration(left_ms)
                )
            }
            Cut::At(_) => {
                let view = self.snapshot_view(id, snapshot);
                let missing = match view.copies < view.replicas {
                    true => {
                        "; the others get it while they are brought in sync, and those that are away when they are back"
                    }
                    false => "",
                };
                let ready = if view.ready { "ready" } else { "cut" };
                format!(
                    "Snapshot {name} of volume {source_name} is {ready}: {} of {} replicas have it{missing}.",
                    view.copies, view.replicas
                )
            }
        }
    }

    fn explain_source(&self, snapshot: &Snapshot) -> Option<String> {
        let volume = self.contents.volumes.get(&snapshot.source)?;
        let retired = volume.retired.as_ref()?;
        Some(format!(
            "Volume {} was deleted, and what of it is in its {} snapshots is kept on {} until they are deleted as well.",
            retired.name,
            self.index.snapshots.count_of(snapshot.source),
            self.nodes_of(volume.replicas.keys())
        ))
    }

    /// Of the deleted ones of that name, what is left.
    fn explain_deleted(&self, name: &Name) -> Option<Vec<String>> {
        let kept = self.contents.snapshots.iter();
        let kept = kept.filter(|(_, snapshot)| snapshot.keep == Keep::ForClones && snapshot.name == *name);
        let kept = kept.filter_map(|(id, _)| self.explain_kept(*id));
        let buried = self.contents.graves.iter().filter(|(_, grave)| grave.name == *name);
        let mut ids: Vec<SnapshotId> = buried.map(|((id, _), _)| *id).collect();
        ids.dedup();
        let buried = ids.into_iter().filter_map(|id| self.waits_for_graves(id));
        let buried = buried.map(|waiting| format!("Snapshot {name} is deleted, and its space is not back: {waiting}."));
        let sentences: Vec<String> = kept.chain(buried).collect();
        (!sentences.is_empty()).then_some(sentences)
    }

    fn explain_kept(&self, id: SnapshotId) -> Option<String> {
        let snapshot = self.contents.snapshots.get(&id)?;
        let clones = self.unfinished_clones(id);
        let what = match snapshot.maker {
            Maker::Clone => format!("A branch point of volume {} is kept", snapshot.source_name),
            Maker::Person | Maker::Schedule(_) => format!("Snapshot {} is deleted, and kept", snapshot.name),
        };
        Some(format!("{what} until what is cloned from it is there: {clones}."))
    }

    fn unfinished_clones(&self, id: SnapshotId) -> String {
        let clones = self.index.snapshots.clones_of(id).filter_map(|clone| self.contents.volumes.get(&clone));
        clones.map(|clone| format!("volume {}", clone.name)).collect::<Vec<_>>().join(", ")
    }

    /// What is to be told of a volume's snapshots, schedules and source.
    pub(super) fn explain_snapshots_of(&self, id: VolumeId, volume: &Volume) -> Vec<String> {
        let mut sentences = Vec::new();
        if let Some(retired) = &volume.retired {
            sentences.push(format!(
                "It was called {} and is deleted; its {} snapshots are kept, and with them what they hold. Nobody can use it.",
                retired.name,
                self.index.snapshots.count_of(id)
            ));
        }
        sentences.extend(self.snapshots_of(id).filter_map(|(id, snapshot)| match (snapshot.keep, snapshot.cut) {
            (Keep::ForClones, _) => self.explain_kept(id),
            (Keep::Named, Cut::Wanted { .. }) => Some(self.explain_cut(id, snapshot)),
            (Keep::Named, Cut::At(_)) => None,
        }));
        sentences.extend(self.explain_branch_points(volume));
        let mut graves: Vec<SnapshotId> = self.index.snapshots.graves_of(id).map(|(id, _)| id).collect();
        graves.dedup();
        if let Some(waiting) = graves.iter().find_map(|id| self.waits_for_graves(*id)) {
            sentences.push(format!("The space of {} deleted snapshots is not back: {waiting}.", graves.len()));
        }
        sentences.extend(volume.schedules.iter().map(|(name, schedule)| explain_schedule(name, schedule)));
        sentences
    }

    /// Deleted snapshots from which more than one volume goes on: no name leads to them.
    fn explain_branch_points(&self, volume: &Volume) -> Option<String> {
        let count = volume.branch_points();
        (count > 0).then(|| {
            format!(
                "It shares {count} deleted snapshots with volumes that began as them, or began as one itself; their space comes back when all but one of these are deleted."
            )
        })
    }

    /// What a deleted snapshot waits for.
    pub(crate) fn waits_for_graves(&self, id: SnapshotId) -> Option<Waiting> {
        if self.contents.snapshots.contains_key(&id) {
            let sentence = format!("{} is made from it", self.unfinished_clones(id));
            return Some(Waiting::Service { sentence });
        }
        let all = || self.graves_of(id).filter_map(|(pool, _)| self.waits_for_pool(pool, "free its space"));
        all().find(|waiting| matches!(waiting, Waiting::Work { .. })).or_else(|| all().next())
    }

    /// What a clone waits for before any of its replicas can be made.
    pub(crate) fn waits_for_clone(&self, id: VolumeId) -> Option<Waiting> {
        let volume = self.contents.volumes.get(&id)?;
        let source =
            volume.source.as_ref().filter(|_| volume.phase == Phase::Creating && volume.replication.is_none())?;
        let snapshot = self.contents.snapshots.get(&source.snapshot)?;
        if source.at.is_none() {
            let kind = OperationKind::Snapshot(snapshot.source, source.snapshot);
            return self.waits_for_volume(kind, "cut the snapshot that it begins with");
        }
        let having = self.pools_with_source(volume);
        let has_none = !volume.replicas.keys().any(|pool: &PoolId| having.contains(pool));
        has_none.then(|| Waiting::Service {
            sentence: format!(
                "it can begin only where what it begins as is, and that is on none of {}; it goes on when one of them is heard and has it",
                self.nodes_of(volume.replicas.keys())
            ),
        })
    }

    /// What a group waits for.
    pub(crate) fn waits_for_group(&self, group: &Group) -> Option<Waiting> {
        let sentence = match group.phase {
            GroupPhase::Holding { .. } => "all primaries are to hold acknowledgements".to_owned(),
            GroupPhase::Cutting { .. } => "all primaries are to cut it".to_owned(),
            GroupPhase::Releasing { .. } => {
                "all primaries are to confirm that they held until the last one had cut it".to_owned()
            }
            GroupPhase::Pausing { .. } => format!("it is tried again in a moment, for {}", group.trouble),
            GroupPhase::Ready | GroupPhase::Deleting { .. } => return None,
        };
        Some(Waiting::Service { sentence })
    }

    /// What a group is and what it waits for.
    #[must_use]
    pub fn explain_group(&self, name: &Name) -> Option<Vec<String>> {
        let (_, group) = self.group(name)?;
        let volumes: Vec<String> = group.members.values().map(|member| format!("volume {}", member.volume)).collect();
        let of = volumes.join(", ");
        Some(vec![match self.waits_for_group(group) {
            Some(waiting) => format!("Group snapshot {name} of {of} is not ready: {waiting}."),
            None => format!("Group snapshot {name} of {of} is ready."),
        }])
    }
}

fn explain_schedule(name: &Name, schedule: &Schedule) -> String {
    let Schedule { cron, keep, next, last } = schedule;
    let next = stamp(*next);
    let last = match last {
        None => String::new(),
        Some(Run { at, made: Ok(_) }) => format!(" The last one was made at {}.", stamp(*at)),
        Some(Run { at, made: Err(why) }) => format!(" At {} none was made: {why}.", stamp(*at)),
    };
    format!("Schedule {name} (\"{cron}\", UTC) keeps {keep} snapshots; the next one is due at {next}.{last}")
}
