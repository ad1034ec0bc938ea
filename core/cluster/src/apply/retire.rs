//! Volumes that are deleted: at once, or, when they have snapshots, as far as clients can see.

use block::VolumeId;

use crate::command::{Answer, Time};
use crate::name::Name;
use crate::operation::OperationKind;
use crate::refusal::Refusal;
use crate::replica::Replica;
use crate::snapshot::Retired;
use crate::state::State;
use crate::volume::Tombstone;

impl State {
    /// The name is free at once; the data goes when its node is heard, or with the last snapshot. An attached volume is
    /// refused unless by force: whoever deletes it detaches it first, and thereby says that nobody uses it.
    pub(super) fn delete_volume(&mut self, now: Time, name: &Name, force: bool) -> Result<Answer, Refusal> {
        let volume = self.named(name)?;
        if let Some(holder) = volume.attachments.held().first().filter(|_| !force) {
            return Err(Refusal::attached(name, holder));
        }
        if let Some(group) = volume.group {
            self.give_up_group(now, group, &format!("volume {name} was deleted"));
        }
        let (id, _) = self.change_volume(name)?;
        if self.index.snapshots.count_of(id) > 0 {
            return Ok(self.retire(now, id));
        }
        self.remove_volume(now, id);
        Ok(Answer::Started(self.start(now, OperationKind::Delete(id))))
    }

    fn retire(&mut self, now: Time, id: VolumeId) -> Answer {
        let name = self.name_for_retired(id);
        let volume = self.contents.volumes.get_mut(&id).expect("just found");
        self.index.unnamed(&volume.name);
        self.index.snapshots.volume_removed(id, volume);
        volume.retired = Some(Retired { since: now, name: std::mem::replace(&mut volume.name, name) });
        volume.schedules.clear();
        volume.spec.open = false;
        // Whoever uses it is shut out, also by its bare name, and that can be waited for.
        volume.attachments.held.clear();
        volume.attachments.raise();
        volume.is_given_up(None);
        let generation = volume.attachments.generation;
        self.index.snapshots.volume_added(id, volume);
        Answer::Started(self.start(now, OperationKind::Retire(id, generation)))
    }

    /// Under which it goes on, where every volume has a name of its own.
    fn name_for_retired(&self, id: VolumeId) -> Name {
        let mut text = format!("retired-{id}");
        loop {
            let name: Name = text.parse().expect("letters and digits, and not many");
            if !self.index.names().contains_key(&name) {
                return name;
            }
            text.push_str("-x");
        }
    }

    /// Nothing of a volume is wanted any more.
    pub(super) fn remove_volume(&mut self, now: Time, id: VolumeId) {
        let Some(volume) = self.contents.volumes.remove(&id) else { return };
        let revision = self.next_revision();
        self.index.deleted(id, &volume, revision);
        let name = volume.last_name().clone();
        for (pool, Replica { observed, .. }) in volume.replicas {
            let tombstone = Tombstone { name: name.clone(), pool, observed, since: now, revision };
            self.contents.tombstones.insert((id, pool), tombstone);
        }
    }

    /// The last snapshot of a retired volume is gone.
    pub(super) fn end_retired(&mut self, now: Time, id: VolumeId) -> bool {
        let is_over = self.contents.volumes.get(&id).is_some_and(|volume| volume.retired.is_some());
        if !is_over || self.index.snapshots.count_of(id) > 0 {
            return false;
        }
        self.remove_volume(now, id);
        true
    }
}
