//! What clients ask for.

use block::VolumeId;

use crate::attachment::{AccessMode, AttachError, Attachments, TokenHash};
use crate::command::{Answer, Time};
use crate::name::Name;
use crate::node::LABELS_MAX;
use crate::operation::OperationKind;
use crate::refusal::Refusal;
use crate::state::{State, VOLUMES_MAX};
use crate::volume::{
    DESCRIPTION_BYTES_MAX, Modification, Observed, Phase, Replica, Tombstone, Volume, VolumeSpec, is_size,
};

impl State {
    pub(super) fn create_volume(
        &mut self,
        now: Time,
        name: Name,
        size_bytes: u64,
        spec: VolumeSpec,
    ) -> Result<Answer, Refusal> {
        if !is_size(size_bytes) {
            return Err(Refusal::Size(size_bytes));
        }
        if spec.replicas != 1 {
            return Err(Refusal::Replicas(spec.replicas));
        }
        check_words(
            Some(&spec.description),
            spec.labels.len().max(spec.node_selector.len()).max(spec.pool_tags.len()),
        )?;
        if let Some((id, there)) = self.volume(&name) {
            return self.same_volume(id, there, size_bytes, &spec);
        }
        if self.contents.volumes.len() >= VOLUMES_MAX {
            return Err(Refusal::Volumes);
        }
        let pool = self.place(size_bytes, &spec).map_err(Refusal::NoPlace)?;
        self.contents.last_volume += 1;
        let id = VolumeId(self.contents.last_volume);
        let volume = Volume {
            name,
            size_bytes,
            spec,
            phase: Phase::Creating,
            // Its node was just seen with this pool, and no volume of this id was ever anywhere.
            replica: Replica { pool, observed: Observed::Nothing },
            attachments: Attachments::default(),
            created: now,
        };
        self.index.created(id, &volume, self.next_revision());
        self.contents.volumes.insert(id, volume);
        let operation = self.start(now, OperationKind::Create(id));
        Ok(Answer::Volume { id, operation: Some(operation) })
    }

    /// Who asks for a volume that is there gets it, if it is the one that is meant: a retry joins.
    fn same_volume(&self, id: VolumeId, there: &Volume, size_bytes: u64, spec: &VolumeSpec) -> Result<Answer, Refusal> {
        let differs = |difference| Err(Refusal::Exists { name: there.name.clone(), difference });
        if there.size_bytes != size_bytes {
            return differs("its size");
        }
        if there.spec != *spec {
            return differs("its parameters");
        }
        let creates = |operation: &_| self.contents.operations[operation].kind == OperationKind::Create(id);
        Ok(Answer::Volume { id, operation: self.index.running_of(id).find(creates) })
    }

    /// Something of the volume is about to be changed that nodes have to hear of.
    fn change_volume(&mut self, name: &Name) -> Result<(VolumeId, &mut Volume), Refusal> {
        let revision = self.next_revision();
        let id = *self.index.names().get(name).ok_or_else(|| Refusal::NoSuchVolume(name.clone()))?;
        self.index.touch(id, revision);
        Ok((id, self.contents.volumes.get_mut(&id).expect("a name stands for a volume")))
    }

    fn named(&self, name: &Name) -> Result<&Volume, Refusal> {
        self.volume(name).map(|(_, volume)| volume).ok_or_else(|| Refusal::NoSuchVolume(name.clone()))
    }

    pub(super) fn resize_volume(&mut self, now: Time, name: Name, size_bytes: u64) -> Result<Answer, Refusal> {
        if !is_size(size_bytes) {
            return Err(Refusal::Size(size_bytes));
        }
        let is_bytes = self.named(&name)?.size_bytes;
        if size_bytes < is_bytes {
            return Err(Refusal::Shrinks { volume: name, is_bytes, asked_bytes: size_bytes });
        }
        let (id, volume) = self.change_volume(&name)?;
        volume.size_bytes = size_bytes;
        let pool = volume.replica.pool;
        self.index.grown(pool, size_bytes - is_bytes);
        Ok(Answer::Started(self.start(now, OperationKind::Resize(id, size_bytes))))
    }

    pub(super) fn modify_volume(&mut self, name: &Name, modification: Modification) -> Result<Answer, Refusal> {
        let Modification { description, labels, open } = modification;
        check_words(description.as_deref(), labels.as_ref().map_or(0, std::collections::BTreeMap::len))?;
        let spec = &mut self.change_volume(name)?.1.spec;
        spec.description = description.unwrap_or_else(|| std::mem::take(&mut spec.description));
        spec.labels = labels.unwrap_or_else(|| std::mem::take(&mut spec.labels));
        let closes = spec.open && open == Some(false);
        spec.open = open.unwrap_or(spec.open);
        if closes {
            // Whoever uses it by its bare name is shut out, and that can be waited for.
            self.change_volume(name)?.1.attachments.raise();
        }
        Ok(Answer::Done)
    }

    /// The name is free at once; the data goes when its node is heard. An attached volume is refused unless by force:
    /// whoever deletes it detaches it first, and thereby says that nobody uses it.
    pub(super) fn delete_volume(&mut self, now: Time, name: &Name, force: bool) -> Result<Answer, Refusal> {
        let volume = self.named(name)?;
        if let Some(holder) = volume.attachments.held().first().filter(|_| !force) {
            return Err(Refusal::attached(name, holder));
        }
        let (id, _) = self.change_volume(name)?;
        let volume = self.contents.volumes.remove(&id).expect("just found");
        let revision = self.next_revision();
        self.index.deleted(id, &volume, revision);
        let Replica { pool, observed } = volume.replica;
        self.contents.tombstones.insert(id, Tombstone { name: volume.name, pool, observed, since: now, revision });
        Ok(Answer::Started(self.start(now, OperationKind::Delete(id))))
    }

    pub(super) fn attach(
        &mut self,
        now: Time,
        name: &Name,
        client: &Name,
        mode: AccessMode,
        token: TokenHash,
    ) -> Result<Answer, Refusal> {
        self.named(name)?.attachments.check(client, mode).map_err(|error| match error {
            AttachError::Held(holder) => Refusal::attached(name, &holder),
            AttachError::TooMany => Refusal::Readers(name.clone()),
        })?;
        let (id, volume) = self.change_volume(name)?;
        let generation = volume.attachments.attach(client, mode, token);
        let operation = self.start(now, OperationKind::Attach(id, generation));
        Ok(Answer::Attached { generation, operation })
    }

    /// Always possible, whatever has become of the client. Has ended when the node that serves the volume has dropped
    /// it: then nothing of it will ever be applied.
    pub(super) fn detach(&mut self, now: Time, name: &Name, client: Option<&Name>) -> Result<Answer, Refusal> {
        let (id, volume) = self.change_volume(name)?;
        let generation = volume.attachments.detach(client).unwrap_or(volume.attachments.generation);
        Ok(Answer::Started(self.start(now, OperationKind::Attach(id, generation))))
    }
}

fn check_words(description: Option<&str>, labels: usize) -> Result<(), Refusal> {
    let len_bytes = description.map_or(0, str::len);
    if len_bytes > DESCRIPTION_BYTES_MAX {
        return Err(Refusal::Description(len_bytes));
    }
    if labels > LABELS_MAX {
        return Err(Refusal::Labels(labels));
    }
    Ok(())
}
