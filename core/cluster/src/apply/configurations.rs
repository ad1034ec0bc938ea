//! Configurations of replicated volumes that are asked for: by members, and by operators.

use block::{Incarnation, PoolId, VolumeId};

use super::recover;
use crate::attachment::AccessMode;
use crate::command::Answer;
use crate::configuration::{Configuration, Proposal};
use crate::decide::NotAccepted;
use crate::name::Name;
use crate::recovered::{Doubt, NUMBERS_SKIPPED};
use crate::refusal::Refusal;
use crate::replica::{Replica, Standing};
use crate::replication::Replication;
use crate::state::State;
use crate::volume::Volume;

impl State {
    /// Answers when the configuration that the proposal asks for is in force.
    pub(super) fn configure(&mut self, id: VolumeId, proposal: &Proposal) -> Result<Answer, Refusal> {
        let volume = self.contents.volumes.get(&id).ok_or(Refusal::Deleted(id))?;
        if self.doubt(id, volume).is_some() {
            return Err(Refusal::NotAccepted { volume: id, reason: NotAccepted::InDoubt });
        }
        let judged = volume.judge(proposal).map_err(|reason| Refusal::NotAccepted { volume: id, reason })?;
        if let Some(next) = judged {
            self.decide(id, next);
        }
        Ok(Answer::Done)
    }

    /// Puts a configuration in force.
    pub(super) fn decide(&mut self, id: VolumeId, next: Configuration) {
        let revision = self.next_revision();
        let Some(volume) = self.contents.volumes.get_mut(&id) else { return };
        match &mut volume.replication {
            Some(replication) => {
                assert!(next.epoch > replication.configuration.epoch, "epochs only grow");
                replication.configuration = next;
            }
            none => *none = Some(Replication::new(next)),
        }
        self.index.touch(id, revision);
    }

    /// The data of all other replicas is given up for that of this one.
    pub(super) fn force_promote(&mut self, name: &Name, pool: PoolId) -> Result<Answer, Refusal> {
        let (id, volume) = self.volume(name).ok_or_else(|| Refusal::NoSuchVolume(name.clone()))?;
        // Who asks again after a lost answer hears that it is done.
        if volume.is_promoted(pool) {
            return Ok(Answer::Done);
        }
        let doubt = self.doubt(id, volume);
        check_promotion(volume, pool, doubt)?;
        let expected = "is there and could be gone on from";
        let missing = || Refusal::NoSuchReplica { volume: name.clone(), pool, expected };
        let Standing { incarnation, .. } =
            volume.replicas.get(&pool).and_then(Replica::standing).ok_or_else(missing)?;
        let next = volume.promoted((pool, incarnation), doubt).ok_or_else(missing)?;
        self.decide(id, next);
        if let Some(recovered) = &mut self.contents.recovered {
            recovered.doubted.remove(&id);
        }
        let volume = self.contents.volumes.get_mut(&id).expect("just found");
        if let Some(replication) = &mut volume.replication {
            replication.lineage = u64::from(replication.configuration.epoch.0);
            replication.lost_since = None;
        }
        volume.cut_off();
        Ok(Answer::Done)
    }

    /// The primary is told, and asks for the configuration when everybody has what it was given.
    pub(super) fn hand_over(&mut self, name: &Name, pool: PoolId) -> Result<Answer, Refusal> {
        let (id, volume) = self.volume(name).ok_or_else(|| Refusal::NoSuchVolume(name.clone()))?;
        if volume.member(pool).is_none() {
            let expected = "is in sync";
            return Err(Refusal::NoSuchReplica { volume: name.clone(), pool, expected });
        }
        let revision = self.next_revision();
        if let Some(replication) = self.contents.volumes.get_mut(&id).and_then(|volume| volume.replication.as_mut()) {
            replication.hand_over_to = (replication.configuration.primary != pool).then_some(pool);
        }
        self.index.touch(id, revision);
        Ok(Answer::Done)
    }
}

/// Nobody's data is given up while a member has all of it; and if something newer may be somewhere, none but the newest that
/// is heard is gone on from.
fn check_promotion(volume: &Volume, pool: PoolId, doubt: Option<Doubt>) -> Result<(), Refusal> {
    let name = || volume.name.clone();
    let newest = volume.replicas.values().filter_map(Replica::standing).map(|standing| standing.epoch).max();
    let epoch = volume.replicas.get(&pool).and_then(Replica::standing).map(|standing| standing.epoch);
    match (doubt, volume.in_sync().next()) {
        (None, Some(member)) => Err(Refusal::NotLost { volume: name(), member }),
        (None, None) => Ok(()),
        (Some(Doubt::Stray(stray)), _) => Err(Refusal::Stray { volume: name(), pool: stray }),
        (Some(Doubt::Newer { pool: newer, .. }), _) if epoch < newest => Err(Refusal::Older { volume: name(), newer }),
        (Some(Doubt::Newer { .. } | Doubt::Unheard), _) => Ok(()),
    }
}

impl Volume {
    /// The configuration with which it goes on from a replica by force; `None` when it never had any.
    fn promoted(&self, replica: (PoolId, Incarnation), doubt: Option<Doubt>) -> Option<Configuration> {
        let newest = self.newer().map_or(self.epoch(), |(_, epoch)| epoch);
        let (epoch, members_min, generation) = match (&self.replication, doubt) {
            (None, None) => return None,
            (None, Some(_)) => (recover::skipped(newest), 1, 0),
            (Some(Replication { configuration: lost, .. }), None) => {
                (lost.next_epoch(), lost.members_min, lost.cache_generation)
            }
            // What nodes heard of the lost voters may have risen, too.
            (Some(Replication { configuration: lost, .. }), Some(_)) => {
                let generation = lost.cache_generation + u64::from(NUMBERS_SKIPPED);
                (recover::skipped(newest), lost.members_min, generation)
            }
        };
        Some(Configuration::of_one(epoch, replica, members_min, generation + 1))
    }

    /// Whether it goes on from this replica, by an operator's word, and nothing has changed since.
    fn is_promoted(&self, pool: PoolId) -> bool {
        let is_by_force = |replication: &Replication| {
            let Configuration { epoch, primary, recovery, .. } = replication.configuration;
            recovery && primary == pool && replication.lineage == u64::from(epoch.0) && epoch.0 > 1
        };
        self.replication.as_ref().is_some_and(is_by_force) && self.member(pool).is_some()
    }

    /// Clients must not go on with what they have in mind: every attachment ends, and whoever had one has to ask for
    /// another. Clients without one are shut out as well, and may come again.
    pub(super) fn cut_off(&mut self) {
        let held = std::mem::take(&mut self.attachments.held);
        self.attachments.raise();
        let Some(Replication { cut_off, .. }) = &mut self.replication else { return };
        for client in held.into_iter().map(|held| held.client) {
            if !cut_off.contains(&client) {
                cut_off.push(client);
            }
        }
    }

    /// A client that was cut off has attached it again. A writer is alone: whoever else was cut off has lost it.
    pub(super) fn is_attached_again(&mut self, client: &Name, mode: AccessMode) {
        let all = match mode {
            AccessMode::ReadWrite => None,
            AccessMode::ReadOnly | AccessMode::Shared => Some(client),
        };
        self.is_given_up(all);
    }

    /// A client that was cut off does not want it any more; or none does.
    pub(super) fn is_given_up(&mut self, client: Option<&Name>) {
        if let Some(Replication { cut_off, .. }) = &mut self.replication {
            cut_off.retain(|cut| client.is_some_and(|client| cut != client));
        }
    }
}
