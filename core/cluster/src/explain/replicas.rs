//! Replicated volumes in words: how each is, which of its replicas is not in sync, what is done about it and how long that
//! may take.

use block::PoolId;

use super::{Problem, Severity, duration};
use crate::command::Time;
use crate::decide::{Move, Recovery, next_move, recovery};
use crate::name::Name;
use crate::operation::{OperationKind, Waiting};
use crate::replica::{Fate, Observed, Reason, Replica};
use crate::replication::{Condition, Replication};
use crate::state::State;
use crate::volume::{Health, Volume};

impl State {
    /// What is wrong with a volume of several replicas.
    pub(super) fn replicated_problem(&self, volume: &Volume) -> Option<Problem> {
        let severity = match volume.health() {
            Health::Unavailable | Health::Lost | Health::Failed | Health::Recovering | Health::Blocked => {
                Severity::Critical
            }
            Health::Degraded | Health::NeedsAttach => Severity::Warning,
            Health::Creating | Health::Changing | Health::Ready => return None,
        };
        let sentence = self.explain_replicated(volume).join(" ");
        Some(Problem { severity, subject: format!("volume {}", volume.name), sentence })
    }

    /// How the volume is, and what is missing of it.
    pub(super) fn explain_replicated(&self, volume: &Volume) -> Vec<String> {
        let mut sentences = vec![self.explain_service(volume)];
        if let Some(Replication { cut_off, .. }) = &volume.replication
            && !cut_off.is_empty()
        {
            let clients: Vec<String> = cut_off.iter().map(ToString::to_string).collect();
            sentences.push(format!(
                "It lost power with writes that were not flushed, and came back without some of them: {} must attach it again, and look at its file system.",
                clients.join(", ")
            ));
        }
        sentences.extend(self.explain_missing(volume));
        sentences
    }

    fn explain_service(&self, volume: &Volume) -> String {
        let name = &volume.name;
        let wanted = volume.spec.replicas;
        let Some(condition) = volume.condition() else {
            return match wanted {
                1 => format!("Volume {name} has one replica, and that is to move."),
                _ => format!("Volume {name} has one replica, and will have {wanted}."),
            };
        };
        match condition {
            Condition::Unmade => format!("Volume {name} is being made on {}.", self.nodes_of(volume.replicas.keys())),
            Condition::Active { in_sync } => {
                let primary = self.place_in_words(volume.home());
                let needed = volume.replication.as_ref().map_or(1, |replication| replication.configuration.members_min);
                let limit = if volume.is_writable() {
                    String::new()
                } else {
                    format!(": it can be read, and written when {needed} are")
                };
                format!("Volume {name} is served by {primary}; {in_sync} of {wanted} replicas are in sync{limit}.")
            }
            Condition::Starting { .. }
            | Condition::Leaderless { .. }
            | Condition::Lost
            | Condition::Silent
            | Condition::Failed => {
                format!("Volume {name} is not served: {}.", self.outage(volume, condition))
            }
        }
    }

    /// Why nobody serves a volume, and what comes next.
    fn outage(&self, volume: &Volume, condition: Condition) -> String {
        match condition {
            Condition::Starting { primary, role } => {
                format!("the replica of {} is to be primary, and it is {}", self.place_in_words(primary), role.words())
            }
            Condition::Leaderless { primary } => format!(
                "the primary was {}, which is not there as it was; another replica takes over within seconds",
                self.place_in_words(primary)
            ),
            Condition::Lost => self.explain_recovery(volume),
            Condition::Silent => self.explain_silence(volume),
            Condition::Failed => self.explain_failure(volume),
            Condition::Unmade | Condition::Active { .. } => String::from("it is about to be"),
        }
    }

    /// Nobody who has the data is heard. A node that came back with another pool has nothing to say of it.
    fn explain_silence(&self, volume: &Volume) -> String {
        let exchanged: Vec<String> = members(volume)
            .filter(|pool| self.is_exchanged(**pool))
            .map(|pool| format!("{} is back with another pool than {pool}", self.place_in_words(*pool)))
            .collect();
        if exchanged.is_empty() {
            let nodes = self.nodes_of(members(volume));
            return format!("no replica that counts is heard: {nodes}; it goes on when one of these nodes is back");
        }
        format!(
            "no replica that counts is heard, those of {}: {}. Start it with the pool that it had, and the volume goes on; without it what was written last is lost",
            self.nodes_of(members(volume)),
            exchanged.join(", ")
        )
    }

    fn explain_recovery(&self, volume: &Volume) -> String {
        let lost_since = volume.replication.as_ref().and_then(|replication| replication.lost_since).unwrap_or_default();
        let takes_writes = |pool| self.pool(pool).is_some_and(|pool| !pool.failed);
        match recovery(volume, lost_since, self.contents.now, takes_writes) {
            Recovery::Waits(Some(until)) => format!(
                "all replicas that count were started anew; it goes on from one that is back, and waits for the others at most {} more",
                duration(until.0.saturating_sub(self.contents.now.0))
            ),
            Recovery::Waits(None) => format!(
                "the replicas that count are on {}, and none of them is back in a pool that takes writes; it goes on when one is",
                self.nodes_of(members(volume))
            ),
            Recovery::From(_) => {
                String::from("all replicas that count were started anew; it goes on from one of them now")
            }
            Recovery::Failed => self.explain_failure(volume),
        }
    }

    fn explain_failure(&self, volume: &Volume) -> String {
        let others = volume.replicas.iter().filter(|(_, replica)| replica.standing().is_some());
        let others: Vec<String> =
            others.map(|(pool, _)| format!("pool {pool} of node {}", self.node_name(*pool))).collect();
        let way = match others.as_slice() {
            [] => String::from("no other replica is there: bring an old pool back, or delete the volume"),
            others => format!(
                "an older copy is in {}: it can be forced to be primary, and what it lacks is lost for good; or bring an old pool back, or delete the volume",
                others.join(" and ")
            ),
        };
        format!("every replica that counts is gone, those of {}; {way}", self.nodes_of(members(volume)))
    }

    /// A sentence for each replica that is not as it should be.
    fn explain_missing(&self, volume: &Volume) -> Vec<String> {
        let is_wrong =
            |(pool, replica): &(&PoolId, &Replica)| volume.member(**pool).is_none() || replica.fate != Fate::Stays;
        let wrong = volume.replicas.iter().filter(is_wrong);
        let mut sentences: Vec<String> =
            wrong.filter_map(|(pool, replica)| self.explain_replica_of(volume, *pool, replica)).collect();
        if next_move(volume) == Some(Move::Place)
            && let Some(id) = self.id_of(volume)
            && let Err(no_place) = self.place_another(id, volume)
        {
            sentences.push(format!("There is no place for another replica, and it is looked for again: {no_place}."));
        }
        sentences.extend(self.explain_hand_over(volume));
        sentences
    }

    /// Also of a retired one.
    fn id_of(&self, volume: &Volume) -> Option<block::VolumeId> {
        let retired = || self.retired().find(|(_, other)| other.name == volume.name);
        self.volume(&volume.name).or_else(retired).map(|(id, _)| id)
    }

    fn explain_hand_over(&self, volume: &Volume) -> Option<String> {
        let to = volume.replication.as_ref()?.hand_over_to?;
        Some(format!(
            "{} is to serve it next: the primary hands over when nothing is in flight.",
            capitalised(&self.place_in_words(to))
        ))
    }

    fn explain_replica_of(&self, volume: &Volume, pool: PoolId, replica: &Replica) -> Option<String> {
        let place = self.place_in_words(pool);
        let now = self.contents.now;
        let is = match replica.observed {
            Observed::Unknown => {
                let silent = duration(now.0.saturating_sub(replica.since.0));
                match self.is_exchanged(pool) {
                    true => format!("is in pool {pool}, and its node came back with another one {silent} ago"),
                    false => format!("has not been heard for {silent}"),
                }
            }
            Observed::Nothing if replica.seen => String::from("is gone"),
            Observed::Nothing => String::from("is being made"),
            Observed::Present { .. } if volume.member(pool).is_some() => String::from("is in sync"),
            Observed::Present { standing, .. } => match standing.resync {
                Some(progress) => {
                    format!("is being filled: {} % done{}", progress.done_percent(), remaining(now, replica))
                }
                None if standing.unable => {
                    String::from("is out of sync: its pool is full, or takes no writes; it tries again by itself")
                }
                None => format!("is {}", standing.role.words()),
            },
        };
        let then = match replica.fate {
            Fate::Stays if replica.observed == Observed::Unknown => {
                let patience_ms = self.contents.settings.replace_after_ms;
                format!("; another takes its place when that is {}", duration(patience_ms))
            }
            Fate::Stays => String::new(),
            Fate::Moves(reason) => format!("; another is to take its place: {}", reason_in_words(reason)),
            Fate::Goes if volume.member(pool).is_some() => {
                String::from("; it is given up as soon as the primary has asked for that")
            }
            Fate::Goes => String::from("; it is given up"),
        };
        Some(format!("The replica of {place} {is}{then}."))
    }

    /// What an operation on a volume of several replicas waits for.
    pub(crate) fn waits_for_replicas(
        &self,
        kind: OperationKind,
        volume: &Volume,
        work: &'static str,
    ) -> Option<Waiting> {
        match volume.condition() {
            None => self.waits_for_pool(volume.home(), work),
            Some(Condition::Unmade) => {
                let all = || volume.replicas.keys().filter_map(|pool| self.waits_for_pool(*pool, work));
                all().find(|waiting| matches!(waiting, Waiting::Work { .. })).or_else(|| all().next())
            }
            Some(Condition::Active { in_sync }) => Some(self.waits_when_served(kind, volume, in_sync, work)?),
            Some(condition) => Some(Waiting::Service { sentence: self.outage(volume, condition) }),
        }
    }

    fn waits_when_served(
        &self,
        kind: OperationKind,
        volume: &Volume,
        in_sync: usize,
        work: &'static str,
    ) -> Option<Waiting> {
        let configuration = &volume.replication.as_ref()?.configuration;
        match kind {
            OperationKind::Create(_) => {
                let others = self.explain_missing(volume).join(" ");
                Some(Waiting::InSync { in_sync, needed: configuration.members_min, others })
            }
            OperationKind::Resize(_, wanted_bytes) => {
                let is_small = |pool: &&PoolId| !matches!(volume.replicas[*pool].observed, Observed::Present { size_bytes, .. } if size_bytes >= wanted_bytes);
                let last = configuration.members.keys().find(is_small).unwrap_or(&configuration.primary);
                self.waits_for_pool(*last, work)
            }
            OperationKind::Attach(..)
            | OperationKind::Delete(_)
            | OperationKind::Snapshot(..)
            | OperationKind::DeleteSnapshot(..)
            | OperationKind::Retire(..)
            | OperationKind::Group(..)
            | OperationKind::DeleteGroup(..) => self.waits_for_pool(configuration.primary, work),
        }
    }

    pub(super) fn node_name(&self, pool: PoolId) -> String {
        self.pool(pool).map_or_else(|| String::from("a node that is gone"), |pool| pool.node.to_string())
    }

    pub(super) fn place_in_words(&self, pool: PoolId) -> String {
        format!("node {}", self.node_name(pool))
    }

    pub(super) fn nodes_of<'a>(&self, pools: impl Iterator<Item = &'a PoolId>) -> String {
        let nodes: std::collections::BTreeSet<&Name> = pools.filter_map(|pool| Some(&self.pool(*pool)?.node)).collect();
        let nodes: Vec<String> = nodes.into_iter().map(|node| format!("node {node}")).collect();
        nodes.join(", ")
    }
}

fn members(volume: &Volume) -> impl Iterator<Item = &PoolId> {
    volume.replication.iter().flat_map(|replication| replication.configuration.members.keys())
}

fn reason_in_words(reason: Reason) -> &'static str {
    match reason {
        Reason::Gone => "its pool is there without it",
        Reason::Failed => "its pool takes no more writes",
        Reason::Full => "its pool has had no room for it for too long",
        Reason::Silent => "it has been silent for too long",
        Reason::Crowded => "its node has another one",
        Reason::Draining => "its node is to be emptied",
    }
}

fn remaining(now: Time, replica: &Replica) -> String {
    replica.remaining_ms(now).map_or_else(String::new, |left_ms| format!(", about {} left", duration(left_ms)))
}

/// At the beginning of a sentence.
fn capitalised(words: &str) -> String {
    let mut rest = words.chars();
    rest.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(rest).collect()
}
