//! What clients ask for.

use std::collections::BTreeMap;

use block::VolumeId;

use super::clones::Beginning;
use crate::attachment::{AccessMode, AttachError, Attachments, Claim, TokenHash};
use crate::command::{Answer, Time};
use crate::name::Name;
use crate::node::LABELS_MAX;
use crate::operation::OperationKind;
use crate::refusal::Refusal;
use crate::replica::Replica;
use crate::snapshot::Source;
use crate::state::{State, VOLUMES_MAX};
use crate::volume::{DESCRIPTION_BYTES_MAX, Modification, Phase, REPLICAS_MAX, Volume, VolumeSpec, is_size};

/// An attachment that is asked for.
pub(super) struct Asked {
    pub client: Name,
    pub mode: AccessMode,
    pub token: TokenHash,
    pub claim: Claim,
}

/// A volume that is asked for.
pub(super) struct Wish {
    pub name: Name,
    /// 0 for the size of what it begins as.
    pub size_bytes: u64,
    pub spec: VolumeSpec,
    pub source: Option<Source>,
}

impl State {
    pub(super) fn create_volume(&mut self, now: Time, wish: Wish) -> Result<Answer, Refusal> {
        let Wish { name, size_bytes, spec, source } = wish;
        // What begins as something may be as large as that.
        let is_as_source = size_bytes == 0 && source.is_some();
        if !is_as_source && !is_size(size_bytes) {
            return Err(Refusal::Size(size_bytes));
        }
        check_copies(spec.replicas, spec.members_min)?;
        check_words(
            Some(&spec.description),
            spec.labels.len().max(spec.node_selector.len()).max(spec.pool_tags.len()),
        )?;
        check_words(None, spec.places.iter().map(BTreeMap::len).chain([spec.places.len()]).max().unwrap_or(0))?;
        if let Some((id, there)) = self.volume(&name) {
            return self.same_volume(id, there, &Wish { name, size_bytes, spec, source });
        }
        if self.index.snapshots.is_retired(&name) {
            let difference = "it was deleted, and its snapshots are kept";
            return Err(Refusal::Exists { name, difference });
        }
        if self.contents.volumes.len() >= VOLUMES_MAX {
            return Err(Refusal::Volumes);
        }
        let beginning = source.map(|source| self.beginning(source)).transpose()?;
        let size_bytes = check_beginning(beginning.as_ref(), &name, size_bytes)?;
        let pools = self.place(size_bytes, &spec, beginning.as_ref().map(|it| &it.pools)).map_err(Refusal::NoPlace)?;
        let source = beginning.map(|beginning| self.settle_source(now, &name, beginning));
        let since = if spec.replicas > 1 || source.is_some() { now } else { Time::default() };
        self.contents.last_volume += 1;
        let id = VolumeId(self.contents.last_volume);
        let volume = Volume {
            name,
            size_bytes,
            spec,
            phase: Phase::Creating,
            replicas: pools.into_iter().map(|pool| (pool, Replica::new(since))).collect(),
            replication: None,
            attachments: Attachments::default(),
            created: now,
            source,
            retired: None,
            schedules: BTreeMap::new(),
            group: None,
        };
        self.index.created(id, &volume, self.next_revision());
        self.contents.volumes.insert(id, volume);
        let operation = self.start(now, OperationKind::Create(id));
        Ok(Answer::Volume { id, operation: Some(operation) })
    }

    /// Who asks for a volume that is there gets it, if it is the one that is meant: a retry joins.
    fn same_volume(&self, id: VolumeId, there: &Volume, wish: &Wish) -> Result<Answer, Refusal> {
        let differs = |difference| Err(Refusal::Exists { name: there.name.clone(), difference });
        if there.source.as_ref().map(|source| &source.from) != wish.source.as_ref() {
            return differs("what it began as");
        }
        if there.size_bytes != wish.size_bytes && wish.size_bytes > 0 {
            return differs("its size");
        }
        if there.spec != wish.spec {
            return differs("its parameters");
        }
        let creates = |operation: &_| self.contents.operations[operation].kind == OperationKind::Create(id);
        Ok(Answer::Volume { id, operation: self.index.running_of(id).find(creates) })
    }

    /// Something of the volume is about to be changed that nodes have to hear of.
    pub(super) fn change_volume(&mut self, name: &Name) -> Result<(VolumeId, &mut Volume), Refusal> {
        let revision = self.next_revision();
        let id = *self.index.names().get(name).ok_or_else(|| Refusal::NoSuchVolume(name.clone()))?;
        self.index.touch(id, revision);
        Ok((id, self.contents.volumes.get_mut(&id).expect("a name stands for a volume")))
    }

    pub(super) fn named(&self, name: &Name) -> Result<&Volume, Refusal> {
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
        for pool in volume.replicas.keys().copied().collect::<Vec<_>>() {
            self.index.grown(pool, size_bytes - is_bytes);
        }
        Ok(Answer::Started(self.start(now, OperationKind::Resize(id, size_bytes))))
    }

    pub(super) fn modify_volume(
        &mut self,
        now: Time,
        name: &Name,
        modification: Modification,
    ) -> Result<Answer, Refusal> {
        let Modification { description, labels, open, replicas, members_min, zone_spread } = modification;
        check_words(description.as_deref(), labels.as_ref().map_or(0, std::collections::BTreeMap::len))?;
        let (replicas, members_min) = self.copies(name, replicas, members_min)?;
        let (_, volume) = self.change_volume(name)?;
        if !volume.is_replicated() && replicas > 1 {
            // What is known of the only one has no time.
            volume.replicas.values_mut().for_each(|replica| replica.since = now);
        }
        let spec = &mut volume.spec;
        (spec.replicas, spec.members_min) = (replicas, members_min);
        spec.zone_spread = zone_spread.unwrap_or(spec.zone_spread);
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

    /// What is asked for of copies, checked together. A limit for writes that was asked for before and does not fit the new
    /// number of copies is as if it had not been asked for.
    fn copies(&self, name: &Name, replicas: Option<u8>, min: Option<u8>) -> Result<(u8, Option<u8>), Refusal> {
        let Volume { spec, phase, .. } = self.named(name)?;
        let replicas = replicas.unwrap_or(spec.replicas);
        if replicas != spec.replicas && *phase == Phase::Creating {
            return Err(Refusal::NotMade(name.clone()));
        }
        let min = min.or(spec.members_min.filter(|min| *min <= replicas));
        check_copies(replicas, min)?;
        Ok((replicas, min))
    }

    pub(super) fn attach(&mut self, now: Time, name: &Name, asked: &Asked) -> Result<Answer, Refusal> {
        let Asked { client, mode: wanted, token, claim } = asked;
        let there = &self.named(name)?.attachments;
        let mode = there.mode_for(client, *wanted, *claim);
        there.check(client, mode, *token, *claim).map_err(|error| match error {
            AttachError::Held(holder) => Refusal::attached(name, &holder),
            AttachError::TooMany => Refusal::Readers(name.clone()),
            AttachError::Otherwise(held) => {
                Refusal::AttachedOtherwise { volume: name.clone(), client: client.clone(), held }
            }
            AttachError::NotHeld => Refusal::NotAttached { volume: name.clone(), client: client.clone(), mode },
        })?;
        let (id, volume) = self.change_volume(name)?;
        let generation = match volume.attachments.kept(client, mode, *token, *claim) {
            // Who may have lost writes has to attach it anew, and this says only that it did once.
            Some(generation) if *claim == Claim::Keep => generation,
            kept => {
                let generation = kept.unwrap_or_else(|| volume.attachments.attach(client, mode, *token));
                volume.is_attached_again(client, mode);
                generation
            }
        };
        let operation = self.start(now, OperationKind::Attach(id, generation));
        Ok(Answer::Attached { generation, operation })
    }

    /// Always possible, whatever has become of the client. Has ended when the node that serves the volume has dropped
    /// it: then nothing of it will ever be applied. Of a replicated volume that is the primary of the configuration in
    /// force: an older one can acknowledge nothing any more, and a later one is told of the detach before it serves.
    pub(super) fn detach(&mut self, now: Time, name: &Name, client: Option<&Name>) -> Result<Answer, Refusal> {
        let (id, volume) = self.change_volume(name)?;
        let generation = volume.attachments.detach(client).unwrap_or(volume.attachments.generation);
        volume.is_given_up(client);
        Ok(Answer::Started(self.start(now, OperationKind::Attach(id, generation))))
    }
}

/// The size of a volume that begins as something: not smaller than that.
fn check_beginning(beginning: Option<&Beginning>, name: &Name, asked_bytes: u64) -> Result<u64, Refusal> {
    match beginning {
        Some(Beginning { size_bytes, .. }) if asked_bytes > 0 && asked_bytes < *size_bytes => {
            Err(Refusal::SmallerThanSource { volume: name.clone(), source_bytes: *size_bytes, asked_bytes })
        }
        Some(Beginning { size_bytes, .. }) => Ok(asked_bytes.max(*size_bytes)),
        None => Ok(asked_bytes),
    }
}

fn check_copies(replicas: u8, members_min: Option<u8>) -> Result<(), Refusal> {
    if !(1..=REPLICAS_MAX).contains(&replicas) {
        return Err(Refusal::ReplicaCount(replicas));
    }
    match members_min {
        Some(found) if !(1..=replicas).contains(&found) => Err(Refusal::MembersMin { found, replicas }),
        Some(_) | None => Ok(()),
    }
}

pub(super) fn check_words(description: Option<&str>, labels: usize) -> Result<(), Refusal> {
    let len_bytes = description.map_or(0, str::len);
    if len_bytes > DESCRIPTION_BYTES_MAX {
        return Err(Refusal::Description(len_bytes));
    }
    if labels > LABELS_MAX {
        return Err(Refusal::Labels(labels));
    }
    Ok(())
}
