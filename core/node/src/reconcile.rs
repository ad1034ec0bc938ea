//! Does what the control plane wants: makes volumes, grows them, deletes them, one step of a volume at a time, as fast
//! as the store takes them. What fails is tried again, not at once: the reason may go away, and others are waiting.
//!
//! Nothing is done that no intent asks for. A volume that no intent names is kept and not offered.

use block::{Instant, SnapshotId, VolumeId};
use store::{Refusal, SnapshotState, Source};

use crate::command::{Answer, ControlError};
use crate::control::{Asker, Task};
use crate::event::Effect;
use crate::intent::{Intent, Origin, ReplicaIntent};
use crate::mark::Mark;
use crate::node::{Node, Offer};
use crate::slab::Key;
use crate::stop::Phase;

/// Characters of a volume's name that go into its pool's name for it. With the id behind it, it is unique even while
/// an older volume of the name is still there, and fits a pool's names.
const NAME_CHARACTERS: usize = 100;

impl Node {
    /// The control plane has spoken.
    pub(crate) fn intended(&mut self, now: Instant, intent: Intent, effects: &mut Vec<Effect>) {
        match self.config.offer {
            Offer::Every => return,
            Offer::Intended => {}
        }
        let cluster = intent.cluster;
        let doomed = intent.snapshot_deletions.clone();
        let Some(mut touched) = self.wishes.take(intent) else { return };
        let volume_of = |id: &SnapshotId| self.pipeline.store.snapshot_state(*id).map(|state| state.volume);
        touched.extend(doomed.iter().filter_map(volume_of));
        for peer in self.pipeline.copies.peers.belong_to(cluster, now) {
            self.pipeline.peer_down(peer);
        }
        self.shut_out(now, effects);
        self.adopt(&touched);
        self.unconfirmed.extend(&touched);
        self.agenda.look_at(touched);
    }

    /// Volumes are known by the names that the control plane gives them.
    fn adopt<'a>(&mut self, volumes: impl IntoIterator<Item = &'a VolumeId>) {
        for id in volumes {
            if let (Some(replica), Some(volume)) = (self.wishes.replica(*id), self.pipeline.volumes.get_mut(id)) {
                volume.name.clone_from(&replica.name);
                // Only a replica of the wanted size hears of a configuration: so none ever is primary with less than any
                // primary before it showed its clients.
                let is_large_enough = volume.size_bytes >= replica.size_bytes;
                if let Some(copies) = replica.copies.as_ref().filter(|_| is_large_enough) {
                    self.pipeline.follow(*id, copies);
                }
                if replica.snapshots.hold > 0 {
                    self.pipeline.holding.insert(*id);
                }
                self.pipeline.want_snapshots(*id, replica, &self.wishes);
            }
        }
        if matches!(self.phase, Phase::Leaving { .. }) {
            self.pipeline.leave_primacy();
        }
    }

    /// Begins what can be begun now.
    pub(crate) fn reconcile(&mut self, now: Instant) {
        self.agenda.begin_turn(now);
        if self.phase.is_stopping() {
            return;
        }
        while self.pipeline.store.has_room()
            && let Some(volume) = self.agenda.next()
        {
            match self.begin_next(volume) {
                Ok(()) => {}
                Err(Refusal::Busy) => return self.agenda.look_at([volume]),
                Err(_) => self.agenda.postpone(now, volume),
            }
        }
    }

    /// What is to be done about the volume next.
    fn next_task(&self, id: VolumeId) -> Option<Task> {
        match (self.wishes.replica(id), self.pipeline.volumes.get(&id)) {
            (Some(replica), Some(volume)) if volume.size_bytes < replica.size_bytes => {
                Some(Task::Resize { volume: id, size_bytes: replica.size_bytes })
            }
            (Some(replica), None) if replica.may_create => Some(Task::Create { volume: id }),
            (None, Some(_)) if self.wishes.deletes(id) => {
                let delete = |snapshot: &SnapshotState| Task::DeleteSnapshot { snapshot: snapshot.id };
                let first = self.pipeline.store.snapshots_of(id).next().map(delete);
                Some(first.unwrap_or(Task::Delete { volume: id }))
            }
            (_, Some(_)) => self.snapshot_task(id),
            (Some(_) | None, None) => None,
        }
    }

    fn begin_next(&mut self, id: VolumeId) -> Result<(), Refusal> {
        let Some(task) = self.next_task(id) else {
            if !self.pipeline.volumes.contains_key(&id) {
                self.wishes.deleted(id);
            }
            return Ok(());
        };
        let key = self.commands.begin(Asker::Intent { volume: id }, task);
        let begun = self.begin_task(id, key, task);
        match begun {
            Ok(()) => {
                self.agenda.begin(id, self.wishes.revision());
                self.pipeline.stir();
            }
            Err(_) => self.commands.withdraw(key),
        }
        begun
    }

    fn begin_task(&mut self, id: VolumeId, key: Key, task: Task) -> Result<(), Refusal> {
        let token = Mark::Command(key).token();
        match task {
            Task::Create { volume } => {
                let Some(ReplicaIntent { name, size_bytes, snapshots, .. }) = self.wishes.replica(volume) else {
                    return Ok(());
                };
                let name = format!("{name:.NAME_CHARACTERS$}@{}", volume.0);
                let Some(Origin { snapshot, at }) = snapshots.origin else {
                    return self.pipeline.store.create_volume(volume, &name, *size_bytes, token);
                };
                // One of the same number that was cut elsewhere is another one.
                let found = self.pipeline.store.snapshot_state(snapshot).filter(|found| found.seq == at);
                found.ok_or(Refusal::NoSuchSnapshot(snapshot))?;
                self.pipeline.store.clone_volume(Source::Snapshot(snapshot), volume, &name, *size_bytes, token)
            }
            Task::Resize { volume, size_bytes } => {
                // What its primary has sent may have made it larger than this node was told.
                let is_bytes = self.pipeline.store.volume(volume).map_or(0, |state| state.size_bytes);
                let size_bytes = size_bytes.max(is_bytes);
                self.pipeline.change(volume, |store, seq| store.resize_volume(volume, seq, size_bytes, token))
            }
            Task::Delete { volume } => {
                self.begin_delete(key, volume);
                Ok(())
            }
            Task::Snapshot { snapshot } => self.cut_alone(id, snapshot, token),
            Task::DeleteSnapshot { snapshot } => self.delete_snapshot(snapshot, token),
            Task::Retire { range } => self.pipeline.retire_alone(id, range, token),
            Task::Plain => unreachable!("an intent does not want it"),
        }
    }

    /// What was begun for an intent ended.
    pub(crate) fn task_ended(&mut self, now: Instant, volume: VolumeId, result: &Result<Answer, ControlError>) {
        self.agenda.ended(volume);
        self.observation_changed = true;
        match result {
            Ok(_) => {
                self.adopt([&volume]);
                self.unconfirmed.insert(volume);
                self.agenda.look_at([volume]);
            }
            Err(_) => self.agenda.postpone(now, volume),
        }
    }
}
