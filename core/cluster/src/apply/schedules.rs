//! Snapshots that volumes get by themselves, and those that go for them.

use block::{SnapshotId, VolumeId};

use super::snapshots::NewSnapshot;
use crate::command::{Answer, Time};
use crate::name::Name;
use crate::refusal::Refusal;
use crate::schedule::{Cron, KEEP_MAX, Run, SCHEDULES_MAX, Schedule, snapshot_name};
use crate::snapshot::{Cut, Keep, Maker};
use crate::state::State;
use crate::volume::Volume;

impl State {
    pub(super) fn set_schedule(
        &mut self,
        now: Time,
        volume: &Name,
        name: Name,
        cron: Cron,
        keep: u32,
    ) -> Result<Answer, Refusal> {
        let there = &self.named(volume)?.schedules;
        if !(1..=KEEP_MAX).contains(&keep) {
            return Err(Refusal::Keep(keep));
        }
        if there.len() >= SCHEDULES_MAX && !there.contains_key(&name) {
            return Err(Refusal::Schedules(volume.clone()));
        }
        if snapshot_name(volume, &name, now).is_none() {
            return Err(Refusal::ScheduleName { volume: volume.clone(), schedule: name });
        }
        let next = cron.after(now).unwrap_or(Time(u64::MAX));
        self.change_schedules(volume, |schedules| {
            let before = schedules.remove(&name);
            let last = before.as_ref().and_then(|before| before.last.clone());
            let next = before.filter(|before| before.cron == cron).map_or(next, |before| before.next);
            schedules.insert(name, Schedule { cron, keep, next, last });
        })
    }

    pub(super) fn remove_schedule(&mut self, volume: &Name, name: &Name) -> Result<Answer, Refusal> {
        if !self.named(volume)?.schedules.contains_key(name) {
            return Err(Refusal::NoSuchSchedule { volume: volume.clone(), schedule: name.clone() });
        }
        self.change_schedules(volume, |schedules| {
            schedules.remove(name);
        })
    }

    fn change_schedules(
        &mut self,
        name: &Name,
        change: impl FnOnce(&mut std::collections::BTreeMap<Name, Schedule>),
    ) -> Result<Answer, Refusal> {
        let (id, _) = self.change_volume(name)?;
        self.edit_schedules(id, change);
        Ok(Answer::Done)
    }

    fn edit_schedules(&mut self, id: VolumeId, change: impl FnOnce(&mut std::collections::BTreeMap<Name, Schedule>)) {
        let Some(volume) = self.contents.volumes.get_mut(&id) else { return };
        self.index.snapshots.volume_removed(id, volume);
        change(&mut volume.schedules);
        self.index.snapshots.volume_added(id, volume);
    }

    /// Makes the snapshots that are due.
    pub(super) fn run_schedules(&mut self, now: Time, id: VolumeId) -> bool {
        let Some(volume) = self.contents.volumes.get(&id) else { return false };
        let due: Vec<Name> = volume
            .schedules
            .iter()
            .filter(|(_, schedule)| schedule.next <= now)
            .map(|(name, _)| name.clone())
            .collect();
        for name in &due {
            let made = self.run_schedule(now, id, name);
            self.edit_schedules(id, |schedules| {
                let schedule = schedules.get_mut(name).expect("just seen");
                schedule.next = schedule.cron.after(now).unwrap_or(Time(u64::MAX));
                schedule.last = Some(Run { at: now, made });
            });
        }
        !due.is_empty()
    }

    fn run_schedule(&mut self, now: Time, id: VolumeId, schedule: &Name) -> Result<SnapshotId, String> {
        let volume = &self.contents.volumes[&id];
        if volume.serving().is_none() {
            return Err("the volume was not served".to_owned());
        }
        if self.made_by(id, schedule).any(|(_, is_cut)| !is_cut) {
            return Err("the one before was not cut yet".to_owned());
        }
        self.check_snapshot_room(id).map_err(|refusal| refusal.to_string())?;
        let name = snapshot_name(&volume.name, schedule, now).ok_or("its name would be too long")?;
        if self.snapshot(&name).is_some() {
            return Err(format!("there is a snapshot \"{name}\" already"));
        }
        Ok(self.add_snapshot(now, id, NewSnapshot::of(name, now, Maker::Schedule(schedule.clone()))))
    }

    /// A schedule's snapshots, oldest first, and whether each is cut.
    fn made_by<'a>(&'a self, id: VolumeId, schedule: &'a Name) -> impl Iterator<Item = (SnapshotId, bool)> + 'a {
        let made = self.snapshots_of(id).filter(move |(_, snapshot)| {
            snapshot.keep == Keep::Named && matches!(&snapshot.maker, Maker::Schedule(by) if by == schedule)
        });
        made.map(|(id, snapshot)| (id, !matches!(snapshot.cut, Cut::Wanted { .. })))
    }

    /// A schedule's snapshot was withdrawn.
    pub(super) fn note_failed_run(&mut self, id: VolumeId, snapshot: SnapshotId, sentence: &str) {
        self.edit_schedules(id, |schedules| {
            let runs = schedules.values_mut().filter_map(|schedule| schedule.last.as_mut());
            for run in runs.filter(|run| run.made == Ok(snapshot)) {
                run.made = Err(sentence.to_owned());
            }
        });
    }

    /// Of what a schedule made, the oldest go when there are more than it keeps. What is not cut yet does not count.
    pub(super) fn prune(&mut self, _now: Time, id: VolumeId) -> bool {
        let Some(Volume { schedules, .. }) = self.contents.volumes.get(&id) else { return false };
        let over = |(name, schedule): (&Name, &Schedule)| {
            let cut: Vec<SnapshotId> = self.made_by(id, name).filter(|(_, is_cut)| *is_cut).map(|(id, _)| id).collect();
            let over = cut.len().saturating_sub(schedule.keep as usize);
            cut.into_iter().take(over).collect::<Vec<_>>()
        };
        let over: Vec<SnapshotId> = schedules.iter().flat_map(over).collect();
        for snapshot in &over {
            self.release_snapshot(*snapshot);
        }
        !over.is_empty()
    }
}
