//! What the cluster keeps of a volume that has more than one replica, and what can be said of it at a glance.

use block::{Epoch, PoolId};

use crate::command::Time;
use crate::configuration::Configuration;
use crate::name::Name;
use crate::replica::{Fate, Observed, Replica, Role, Standing};
use crate::volume::{Phase, Volume};

/// Decided about the replicas of a volume.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Replication {
    /// In force.
    pub configuration: Configuration,
    /// The epoch at which an operator went on from a replica that may lack acknowledged writes, or 1: what was common to
    /// the replicas in earlier epochs says nothing any more.
    pub lineage: u64,
    /// No member has been there as it was since then.
    pub lost_since: Option<Time>,
    /// The member that the primary is to hand over to.
    pub hand_over_to: Option<PoolId>,
    /// Clients whose attachments were ended because the volume came back with less than it had acknowledged, and who have
    /// not attached it again.
    pub cut_off: Vec<Name>,
}

/// How the replicas of a volume are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Condition {
    /// The first of them is being made.
    Unmade,
    /// The primary serves.
    Active {
        /// Members that are there as they were.
        in_sync: usize,
    },
    /// The primary is there, and is not serving yet.
    Starting {
        /// Which.
        primary: PoolId,
        /// What it is.
        role: Role,
    },
    /// The primary is not there as it was, and another member is: it takes over.
    Leaderless {
        /// Who was primary.
        primary: PoolId,
    },
    /// No member is there as it was, and one that is back will be chosen to go on from.
    Lost,
    /// No member is there.
    Silent,
    /// No member will come back: every one's pool is there without it.
    Failed,
}

impl Replication {
    /// What a volume begins with.
    pub(crate) fn new(configuration: Configuration) -> Self {
        Self { configuration, lineage: 1, lost_since: None, hand_over_to: None, cut_off: Vec::new() }
    }
}

impl Volume {
    /// Whether it is kept by the replication protocol: because it was, because there are to be several replicas, because
    /// its only one is to be elsewhere, because it began as another volume's snapshot (what it writes must be told from what
    /// it began with), or because the only one has heard of it already. A node does not go back from there.
    #[must_use]
    pub fn is_replicated(&self) -> bool {
        let has_heard = |replica: &Replica| replica.standing().is_some_and(|standing| standing.incarnation.0 > 0);
        let has_begun = |replica: &Replica| replica.fate != Fate::Stays || has_heard(replica);
        self.replication.is_some()
            || self.spec.replicas > 1
            || self.source.is_some()
            || self.replicas.values().any(has_begun)
    }

    /// What a member says of itself, if it is there as it was when it became one.
    #[must_use]
    pub fn member(&self, pool: PoolId) -> Option<Standing> {
        let configuration = &self.replication.as_ref()?.configuration;
        let standing = self.replicas.get(&pool)?.standing()?;
        configuration.has(pool, standing.incarnation).then_some(standing)
    }

    /// Members that are there as they were.
    pub fn in_sync(&self) -> impl Iterator<Item = PoolId> {
        self.replicas.keys().copied().filter(|pool| self.member(*pool).is_some())
    }

    /// The primary, if it says that it serves under the configuration in force.
    #[must_use]
    pub fn active_primary(&self) -> Option<(PoolId, Standing)> {
        let Configuration { primary, epoch, .. } = self.replication.as_ref()?.configuration;
        let standing = self.member(primary)?;
        (standing.role == Role::Primary && standing.epoch == epoch).then_some((primary, standing))
    }

    /// Whether writes are acknowledged, as far as is known.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        let enough = |configuration: &Configuration| configuration.members.len() >= configuration.members_min;
        let replication = self.replication.as_ref();
        self.active_primary().is_some() && replication.is_some_and(|replication| enough(&replication.configuration))
    }

    /// The epoch in force; 0 before the first.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.replication.as_ref().map_or(Epoch(0), |replication| replication.configuration.epoch)
    }

    /// How its replicas are, if it has more than one.
    #[must_use]
    pub fn condition(&self) -> Option<Condition> {
        let Some(replication) = &self.replication else {
            let is_made = self.phase == Phase::Ready;
            let begins = self.spec.replicas > 1 || self.source.is_some();
            return (begins && !is_made).then_some(Condition::Unmade);
        };
        let Configuration { primary, members, .. } = &replication.configuration;
        let in_sync = self.in_sync().count();
        if self.active_primary().is_some() {
            return Some(Condition::Active { in_sync });
        }
        if let Some(standing) = self.member(*primary) {
            return Some(Condition::Starting { primary: *primary, role: standing.role });
        }
        if in_sync > 0 {
            return Some(Condition::Leaderless { primary: *primary });
        }
        let seen = || members.keys().map(|member| self.replicas[member].observed);
        if seen().all(|observed| observed == Observed::Nothing) {
            return Some(Condition::Failed);
        }
        let is_back = seen().any(|observed| matches!(observed, Observed::Present { .. }));
        Some(if is_back { Condition::Lost } else { Condition::Silent })
    }
}
