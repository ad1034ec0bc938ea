//! Volumes as the cluster wants them, and how they are.

use std::collections::BTreeMap;

use block::{BLOCK_BYTES, PoolId, VOLUME_BYTES_MAX};

use crate::attachment::Attachments;
use crate::command::{Revision, Time};
use crate::group::GroupId;
use crate::name::Name;
use crate::node::Labels;
use crate::replica::{Fate, Observed, Replica};
use crate::replication::{Condition, Replication};
use crate::schedule::Schedule;
use crate::snapshot::{CloneSource, Retired};

/// Smallest volume: 1 MiB.
pub const VOLUME_BYTES_MIN: u64 = 1 << 20;

/// Longest description.
pub const DESCRIPTION_BYTES_MAX: usize = 1024;

/// Most copies of a volume.
pub const REPLICAS_MAX: u8 = 5;

/// How a volume is to be kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VolumeSpec {
    /// Copies, each on another node: 1 to [`REPLICAS_MAX`].
    pub replicas: u8,
    /// How many of them must be in sync for writes; `None` for half of them, rounded up.
    pub members_min: Option<u8>,
    /// Whether they are in different zones.
    pub zone_spread: ZoneSpread,
    /// Tags that a pool must have.
    pub pool_tags: Vec<String>,
    /// Labels that a node must have; `zone` is one of them.
    pub node_selector: Labels,
    /// Places, each some labels: a node must have all those of one of them. Anywhere will do when there are none.
    pub places: Vec<Labels>,
    /// For people.
    pub description: String,
    /// For people and their tools.
    pub labels: Labels,
    /// While nobody has it attached, clients from the nodes' open networks may use it by its bare name.
    pub open: bool,
}

impl Default for VolumeSpec {
    fn default() -> Self {
        Self {
            replicas: 1,
            members_min: None,
            zone_spread: ZoneSpread::default(),
            pool_tags: Vec::new(),
            node_selector: Labels::new(),
            places: Vec::new(),
            description: String::new(),
            labels: Labels::new(),
            open: false,
        }
    }
}

impl VolumeSpec {
    /// How many members must be there for writes.
    #[must_use]
    pub fn writable_with(&self) -> usize {
        usize::from(self.members_min.unwrap_or(self.replicas.div_ceil(2)))
    }
}

/// Whether the replicas of a volume are in different zones. A node without the label `zone` is a zone of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ZoneSpread {
    /// No zone has two.
    Required,
    /// No zone has two as long as there are others.
    #[default]
    Preferred,
    /// Zones are not looked at.
    None,
}

/// Parameters that may change while a volume is used. `None` leaves one as it is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Modification {
    /// See [`VolumeSpec`].
    pub description: Option<String>,
    /// All labels, not only those that change.
    pub labels: Option<Labels>,
    /// See [`VolumeSpec`].
    pub open: Option<bool>,
    /// See [`VolumeSpec`]: more are made, or the worst placed are given up, one after the other.
    pub replicas: Option<u8>,
    /// See [`VolumeSpec`].
    pub members_min: Option<u8>,
    /// See [`VolumeSpec`]. Replicas that are there stay where they are.
    pub zone_spread: Option<ZoneSpread>,
}

/// How far a volume is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// It was not there as it should be yet.
    Creating,
    /// It was: a single replica was seen, or of several enough were in sync.
    Ready,
}

/// How a volume is, seen from outside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Health {
    /// It was never seen: it is being made.
    Creating,
    /// All that is wanted of it is done.
    Ready,
    /// It is there, and something of it is being changed.
    Changing,
    /// It was there, and its node is not heard or has not opened its pool. Of several replicas: none that counts is heard.
    Unavailable,
    /// Its pool is there without it.
    Lost,
    /// It is served, and fewer replicas are in sync than there should be.
    Degraded,
    /// It is read only: fewer replicas are in sync than it may be written with.
    Blocked,
    /// It is not served, and will be by itself: another replica takes over, or one that is back is gone on from.
    Recovering,
    /// No replica that counts will come back.
    Failed,
    /// It is served, and lost power with writes that were not flushed: clients have to attach it again.
    NeedsAttach,
}

/// A volume.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Volume {
    /// Its name.
    pub name: Name,
    /// The size it should have.
    pub size_bytes: u64,
    /// How it is kept.
    pub spec: VolumeSpec,
    /// How far it is.
    pub phase: Phase,
    /// Its copies, and those on their way in and out. Never empty.
    pub replicas: BTreeMap<PoolId, Replica>,
    /// What was decided about them; `None` for a single one, and before the first is there.
    pub replication: Option<Replication>,
    /// Who may use it.
    pub attachments: Attachments,
    /// When it was asked for.
    pub created: Time,
    /// What it began as; `None` for one that began empty.
    pub source: Option<CloneSource>,
    /// It was deleted, and has snapshots.
    pub retired: Option<Retired>,
    /// By their names.
    pub schedules: BTreeMap<Name, Schedule>,
    /// The group snapshot that is being made of it and others.
    pub group: Option<GroupId>,
}

impl Volume {
    /// How it is.
    #[must_use]
    pub fn health(&self) -> Health {
        match self.condition() {
            None => self.health_of_one(),
            Some(Condition::Unmade) => Health::Creating,
            Some(Condition::Failed) => Health::Failed,
            Some(_) if self.phase == Phase::Creating => Health::Creating,
            Some(Condition::Active { in_sync }) => self.health_when_served(in_sync),
            Some(Condition::Starting { .. } | Condition::Leaderless { .. } | Condition::Lost) => Health::Recovering,
            Some(Condition::Silent) => Health::Unavailable,
        }
    }

    fn health_of_one(&self) -> Health {
        match (self.phase, self.at_home().observed) {
            (Phase::Creating, _) => Health::Creating,
            (Phase::Ready, Observed::Unknown) => Health::Unavailable,
            (Phase::Ready, Observed::Nothing) => Health::Lost,
            (Phase::Ready, Observed::Present { .. }) if self.is_settled() => Health::Ready,
            (Phase::Ready, Observed::Present { .. }) => Health::Changing,
        }
    }

    fn health_when_served(&self, in_sync: usize) -> Health {
        let Some(Replication { configuration, cut_off, .. }) = &self.replication else { return Health::Creating };
        if configuration.members.len() < configuration.members_min {
            return Health::Blocked;
        }
        if !cut_off.is_empty() {
            return Health::NeedsAttach;
        }
        if in_sync < usize::from(self.spec.replicas) {
            return Health::Degraded;
        }
        if self.is_settled() { Health::Ready } else { Health::Changing }
    }

    /// The name under which clients knew it last.
    pub(crate) fn last_name(&self) -> &Name {
        self.retired.as_ref().map_or(&self.name, |retired| &retired.name)
    }

    /// The pool whose node serves it, or is to: the primary's, or the only one's.
    #[must_use]
    pub fn home(&self) -> PoolId {
        let first = || *self.replicas.keys().next().expect("a volume has a replica");
        self.replication.as_ref().map_or_else(first, |replication| replication.configuration.primary)
    }

    /// The replica there.
    #[must_use]
    pub fn at_home(&self) -> &Replica {
        &self.replicas[&self.home()]
    }

    /// When the next of its schedules is due.
    pub(crate) fn next_due(&self) -> Option<Time> {
        self.schedules.values().map(|schedule| schedule.next).min()
    }

    /// Whether its nodes have done all that is wanted of it.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.has_size(self.size_bytes) && self.has_confirmed(self.attachments.generation) && self.is_whole()
    }

    /// Whether all replicas that count are at least as large.
    pub(crate) fn has_size(&self, wanted_bytes: u64) -> bool {
        let is_large = |replica: &Replica| matches!(replica.observed, Observed::Present { size_bytes, .. } if size_bytes >= wanted_bytes);
        match &self.replication {
            None => is_large(self.at_home()),
            Some(Replication { configuration, .. }) => {
                self.active_primary().is_some()
                    && configuration.members.keys().all(|pool| is_large(&self.replicas[pool]))
            }
        }
    }

    /// Whether the attachments up to this one are in force: who serves the volume goes by them, and whoever serves it
    /// later is told of them together with the configuration that makes it primary.
    pub(crate) fn has_confirmed(&self, wanted: crate::attachment::Generation) -> bool {
        let serves = !self.is_replicated() || self.active_primary().is_some();
        serves && matches!(self.at_home().observed, Observed::Present { generation, .. } if generation >= wanted)
    }

    /// Whether time alone may lead to a decision about it.
    pub(crate) fn is_restless(&self) -> bool {
        let is_well = |replica: &Replica| replica.fate == Fate::Stays && replica.standing().is_some();
        let is_lost = self.replication.as_ref().is_none_or(|replication| replication.lost_since.is_some());
        self.is_replicated() && (is_lost || !self.is_whole() || !self.replicas.values().all(is_well))
    }

    /// Whether as many replicas as wanted are in sync, and no other is there.
    fn is_whole(&self) -> bool {
        let wanted = usize::from(self.spec.replicas);
        !self.is_replicated() || (self.replicas.len() == wanted && self.in_sync().count() == wanted)
    }
}

/// What is left of a replica that is not wanted any more until its node has freed the space: of a deleted volume, or of
/// one that goes on elsewhere.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tombstone {
    /// The name its volume has or had.
    pub name: Name,
    /// Where it is.
    pub pool: PoolId,
    /// What is known of it.
    pub observed: Observed,
    /// Since when.
    pub since: Time,
    /// Intents from here on tell of the deletion.
    pub revision: Revision,
}

/// Whether a volume can have this size.
pub(crate) fn is_size(size_bytes: u64) -> bool {
    (VOLUME_BYTES_MIN..=VOLUME_BYTES_MAX).contains(&size_bytes) && size_bytes.is_multiple_of(BLOCK_BYTES as u64)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use block::{Epoch, Incarnation, PoolId};

    use super::{Phase, VOLUME_BYTES_MIN, Volume, VolumeSpec};
    use crate::attachment::{Attachments, Generation};
    use crate::command::Time;
    use crate::configuration::Configuration;
    use crate::replica::{Fate, Observed, Replica, Role, Standing};
    use crate::replication::Replication;

    pub fn members(of: &[(u128, u64)]) -> BTreeMap<PoolId, Incarnation> {
        of.iter().map(|(pool, incarnation)| (PoolId(*pool), Incarnation(*incarnation))).collect()
    }

    /// A replica that is there and has no part in anything.
    pub fn present(incarnation: u64) -> Observed {
        let standing = Standing { incarnation: Incarnation(incarnation), ..Standing::default() };
        Observed::Present { size_bytes: VOLUME_BYTES_MIN, generation: Generation(0), standing }
    }

    /// A volume with its members as they should be, and no other replica.
    pub fn replicated(epoch: u32, primary: u128, of: &[(u128, u64)]) -> Volume {
        let replica = |(pool, incarnation): &(u128, u64)| {
            let role = if *pool == primary { Role::Primary } else { Role::Backup };
            let standing =
                Standing { incarnation: Incarnation(*incarnation), epoch: Epoch(epoch), role, ..Standing::default() };
            let observed = Observed::Present { size_bytes: VOLUME_BYTES_MIN, generation: Generation(0), standing };
            let snapshots = BTreeMap::new();
            (PoolId(*pool), Replica { observed, snapshots, since: Time(0), seen: true, fate: Fate::Stays })
        };
        let configuration = Configuration {
            epoch: Epoch(epoch),
            primary: PoolId(primary),
            members: members(of),
            members_min: 1,
            cache_generation: 0,
            recovery: false,
        };
        Volume {
            name: "db".parse().unwrap(),
            size_bytes: VOLUME_BYTES_MIN,
            spec: VolumeSpec { replicas: 3, ..VolumeSpec::default() },
            phase: Phase::Ready,
            replicas: of.iter().map(replica).collect(),
            replication: Some(Replication::new(configuration)),
            attachments: Attachments::default(),
            created: Time(0),
            source: None,
            retired: None,
            schedules: BTreeMap::new(),
            group: None,
        }
    }
}
