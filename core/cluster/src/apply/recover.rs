//! A state goes on after most of its voters were lost. See the module `recovered`.

use std::collections::BTreeSet;

use block::{Epoch, PoolId, VolumeId};

use crate::attachment::Generation;
use crate::command::{Answer, Change, Revision, Time};
use crate::configuration::Configuration;
use crate::name::Name;
use crate::recovered::{NUMBERS_SKIPPED, REVISIONS_SKIPPED};
use crate::refusal::Refusal;
use crate::replica::{Observed, Replica};
use crate::replication::Replication;
use crate::state::State;
use crate::volume::{Phase, Volume};

/// Nodes that are named in a refusal.
const NAMED_MAX: usize = 8;

/// Whether a change is taken while nodes are only listened to.
pub(super) fn is_listened_to(change: &Change) -> bool {
    match change {
        Change::Found { .. }
        | Change::Register { .. }
        | Change::Lose { .. }
        | Change::Report { .. }
        | Change::Tick
        | Change::Recover
        | Change::Resume { .. } => true,
        Change::Administer { .. }
        | Change::RemoveNode { .. }
        | Change::RemovePool { .. }
        | Change::CreateVolume { .. }
        | Change::ResizeVolume { .. }
        | Change::ModifyVolume { .. }
        | Change::DeleteVolume { .. }
        | Change::Attach { .. }
        | Change::Detach { .. }
        | Change::Set(_)
        | Change::Configure { .. }
        | Change::ForcePromote { .. }
        | Change::HandOver { .. }
        | Change::CreateSnapshot { .. }
        | Change::DeleteSnapshot { .. }
        | Change::CreateGroup { .. }
        | Change::DeleteGroup { .. }
        | Change::SetSchedule { .. }
        | Change::RemoveSchedule { .. }
        | Change::RegisterHost { .. }
        | Change::RemoveHost { .. } => false,
    }
}

impl State {
    /// From now on nothing that was heard before counts.
    pub(super) fn recover_state(&mut self, now: Time) -> Result<Answer, Refusal> {
        let nodes: Vec<Name> = self.contents.nodes.keys().cloned().collect();
        for node in nodes {
            self.lose(now, &node)?;
        }
        let recovered = self.contents.recovered.get_or_insert_default();
        (recovered.since, recovered.resumed) = (now, false);
        Ok(Answer::Done)
    }

    /// An operator says that the nodes that are not heard, which are named, are gone for good.
    pub(super) fn resume(&mut self, without: &BTreeSet<Name>) -> Result<Answer, Refusal> {
        if !self.is_listening() {
            return Ok(Answer::Done);
        }
        let unheard: BTreeSet<Name> = self.unheard_nodes().into_iter().cloned().collect();
        if let Some(heard) = without.iter().find(|node| !unheard.contains(*node)) {
            return Err(Refusal::NotUnheard(heard.clone()));
        }
        let silent: Vec<String> = unheard.difference(without).map(ToString::to_string).collect();
        if !silent.is_empty() {
            let nodes = silent.into_iter().take(NAMED_MAX).collect::<Vec<_>>().join(",");
            return Err(Refusal::Unheard(nodes));
        }
        self.skip_numbers();
        let given_up: Vec<PoolId> =
            self.contents.pools.iter().filter(|(_, pool)| !pool.open).map(|(id, _)| *id).collect();
        let volumes: Vec<VolumeId> = self.contents.volumes.keys().copied().collect();
        let doubted = volumes.iter().copied().filter(|id| self.is_doubtful(*id, !given_up.is_empty())).collect();
        let recovered = self.contents.recovered.get_or_insert_default();
        recovered.resumed = true;
        recovered.doubted = doubted;
        recovered.given_up.extend(given_up.into_iter().map(|pool| (pool, None)));
        for id in volumes {
            self.go_on_with(id);
        }
        Ok(Answer::Done)
    }

    /// What the lost voters may have numbered is not numbered again, and no node takes what comes now for older than what
    /// they told it.
    fn skip_numbers(&mut self) {
        let skipped = u64::from(NUMBERS_SKIPPED);
        let contents = &mut self.contents;
        contents.revision = Revision(contents.revision.0 + REVISIONS_SKIPPED);
        let first = contents.last_snapshot + 1;
        contents.last_snapshot += skipped;
        contents.last_volume += skipped;
        contents.last_operation += skipped;
        contents.last_group += skipped;
        let last = contents.last_snapshot;
        contents.recovered.get_or_insert_default().unknown_snapshots.push((first, last));
        let revision = self.next_revision();
        // What a node heard from the lost voters confirms nothing.
        self.contents.tombstones.values_mut().for_each(|tombstone| tombstone.revision = revision);
        self.contents.graves.values_mut().for_each(|grave| grave.revision = revision);
    }

    /// Whether somebody who was not heard may have something newer of a replicated volume. If a node is given up, only what
    /// is exactly as it was known is out of doubt: the volume may have been moved to that node, and from there on.
    fn is_doubtful(&self, id: VolumeId, is_one_given_up: bool) -> bool {
        let volume = &self.contents.volumes[&id];
        let Some(Replication { configuration, .. }) = &volume.replication else { return false };
        let is_silent = |replica: &Replica| replica.observed == Observed::Unknown;
        let as_known = || {
            let members = configuration.members.keys();
            volume.active_primary().is_some() && members.clone().all(|member| volume.member(*member).is_some())
        };
        volume.replicas.values().any(is_silent) || (is_one_given_up && !as_known())
    }

    fn go_on_with(&mut self, id: VolumeId) {
        let is_in_doubt = self.doubt(id, &self.contents.volumes[&id]).is_some();
        let volume = self.contents.volumes.get_mut(&id).expect("it was just listed");
        volume.fence_the_unknown();
        volume.forbid_empty();
        if !is_in_doubt && let Some(Replication { configuration: known, .. }) = &volume.replication {
            let is_recovering = known.recovery && volume.active_primary().is_none();
            // The same members: what the lost voters may have decided, and nobody goes by, can be decided no more.
            let next = Configuration { epoch: skipped(known.epoch), recovery: is_recovering, ..known.clone() };
            self.decide(id, next);
        }
        let revision = self.next_revision();
        self.index.touch(id, revision);
    }
}

/// An epoch that the lost voters cannot have given.
pub(super) fn skipped(epoch: Epoch) -> Epoch {
    Epoch(epoch.0.checked_add(NUMBERS_SKIPPED).expect("there are not four thousand recoveries"))
}

impl Volume {
    /// Attachments that the lost voters may have ended do not come to life again. If who serves the volume goes by the ones that
    /// are known, and nobody by later ones, they are in force. A node that was started anew goes by none.
    fn fence_the_unknown(&mut self) {
        let known = self.attachments.generation;
        let told = |replica: &Replica| match replica.observed {
            Observed::Present { generation, .. } => Some(generation),
            Observed::Nothing => Some(Generation(0)),
            Observed::Unknown => None,
        };
        let newest = self.replicas.values().filter_map(told).max().unwrap_or_default();
        if told(self.at_home()) == Some(known) && newest <= known {
            return;
        }
        self.cut_off();
        let generation = &mut self.attachments.generation;
        generation.0 = generation.0.max(newest.0) + u64::from(NUMBERS_SKIPPED);
    }

    /// One that was being made may have been made and moved since: an empty one in its place would be a lie.
    fn forbid_empty(&mut self) {
        if self.phase == Phase::Creating && self.replication.is_none() {
            self.replicas.values_mut().for_each(|replica| replica.seen = true);
        }
    }
}
