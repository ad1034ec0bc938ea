//! What is decided without being asked for, after every command, about the volumes that the command had to do with; and
//! when time has passed, about those that wait for it. Each step is one decision; the rules are in the module `decide`.

use block::{PoolId, VolumeId};

use crate::command::{Answer, Time};
use crate::configuration::{Configuration, members_min};
use crate::decide::{Move, Recovery, Source, Surplus, next_move, recovery, still_goes};
use crate::node::Admin;
use crate::replica::{Fate, Observed, Reason, Replica};
use crate::replication::Replication;
use crate::state::State;
use crate::volume::{Phase, Tombstone, Volume};

/// Volumes that are looked at when time has passed; the others are next time.
const TICK_VOLUMES_MAX: usize = 1000;
/// Before a place that was not found is looked for again.
const PLACE_RETRY_MS: u64 = 10_000;
/// Rounds of one volume's decisions: each makes what the next decides about. What is left is decided with the next
/// command.
const ROUNDS_MAX: usize = 4;

/// A decision: whether it changed anything.
type Step = fn(&mut State, Time, VolumeId) -> bool;

/// What becomes of snapshots, groups and schedules, of any volume.
const SNAPSHOT_STEPS: [Step; 7] = [
    State::cut_snapshots,
    State::plan_group_of,
    State::withdraw_late,
    State::run_schedules,
    State::prune,
    State::drop_unneeded,
    State::end_retired,
];

/// What becomes of replicas, of a replicated volume. In this order, until none has anything to change.
const STEPS: [Step; 9] = [
    State::begin,
    State::note_loss,
    State::recover,
    State::note_ready,
    State::set_members_min,
    State::judge_replicas,
    State::make_move,
    State::bury,
    State::choose_successor,
];

impl State {
    /// Everything that follows from the command just applied.
    pub(super) fn plan(&mut self, now: Time) {
        while let Some(id) = self.index.next_on_agenda() {
            self.plan_volume(now, id);
        }
    }

    fn plan_volume(&mut self, now: Time, id: VolumeId) {
        let is_in_doubt = self.contents.volumes.get(&id).is_some_and(|volume| self.doubt(id, volume).is_some());
        if !is_in_doubt {
            self.decide_about(now, id);
        }
        self.index.looked_at(id);
        self.note_source(id);
        if let Some(volume) = self.contents.volumes.get(&id).filter(|volume| volume.is_replicated()) {
            self.index.rest(id, volume);
        }
    }

    fn decide_about(&mut self, now: Time, id: VolumeId) {
        self.move_only_one(now, id);
        for _ in 0..ROUNDS_MAX {
            let changed = SNAPSHOT_STEPS.iter().fold(false, |changed, step| step(self, now, id) | changed);
            let changed = changed | self.plan_replicas(now, id);
            if !changed {
                break;
            }
            let revision = self.next_revision();
            self.index.touch(id, revision);
        }
    }

    fn plan_replicas(&mut self, now: Time, id: VolumeId) -> bool {
        let is_replicated = self.contents.volumes.get(&id).is_some_and(Volume::is_replicated);
        is_replicated && STEPS.iter().fold(false, |changed, step| step(self, now, id) | changed)
    }

    fn plan_group_of(&mut self, now: Time, id: VolumeId) -> bool {
        let group = self.contents.volumes.get(&id).and_then(|volume| volume.group);
        group.is_some_and(|group| self.plan_group(now, group))
    }

    /// The only replica of a volume that was never replicated is to be elsewhere: it is replicated from now on.
    fn move_only_one(&mut self, now: Time, id: VolumeId) {
        let Some(volume) = self.contents.volumes.get(&id) else { return };
        let is_there = volume.phase == Phase::Ready && volume.at_home().standing().is_some();
        let is_draining = self.admin_of(volume.home()) == Some(Admin::Draining);
        if volume.is_replicated() || !is_there || !is_draining {
            return;
        }
        let revision = self.next_revision();
        let volume = self.contents.volumes.get_mut(&id).expect("just seen");
        for replica in volume.replicas.values_mut() {
            // What is known of the only one has no time.
            (replica.fate, replica.since) = (Fate::Moves(Reason::Draining), now);
        }
        self.index.touch(id, revision);
    }

    fn admin_of(&self, pool: PoolId) -> Option<Admin> {
        Some(self.contents.nodes.get(&self.contents.pools.get(&pool)?.node)?.admin)
    }

    /// Time has passed: volumes that wait for it are looked at.
    pub(super) fn tick(&mut self, now: Time) -> Answer {
        self.contents.ticked = now;
        // Which are first changes, or those of the lowest numbers would be all that are ever looked at.
        let start =
            VolumeId(self.contents.revision.0.wrapping_mul(TICK_VOLUMES_MAX as u64) % (self.contents.last_volume + 1));
        for id in self.index.restless_from(start, TICK_VOLUMES_MAX) {
            self.index.note(id);
        }
        let late = self.index.snapshots.late(now).filter_map(|id| Some(self.contents.snapshots.get(&id)?.source));
        let groups = self.index.snapshots.running().map(|id| self.contents.groups[&id].first());
        let due = late.chain(groups).chain(self.index.snapshots.due(now)).take(TICK_VOLUMES_MAX);
        for id in due.collect::<Vec<_>>() {
            self.index.note(id);
        }
        Answer::Done
    }

    /// When [`crate::Change::Tick`] has to come; `None` while nothing waits for time.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        if self.is_listening() {
            return None;
        }
        let volumes = self.index.restless().filter_map(|id| self.due(id, self.contents.volumes.get(&id)?));
        let groups = self.index.snapshots.running().filter_map(|id| self.contents.groups[&id].due());
        volumes.chain(groups).chain(self.index.snapshots.next()).min()
    }

    fn due(&self, id: VolumeId, volume: &Volume) -> Option<Time> {
        if self.doubt(id, volume).is_some() {
            return None;
        }
        let after = |time: Time, wait_ms: u64| Time(time.0.saturating_add(wait_ms));
        let missing = volume.replicas.values().filter(|replica| {
            let is_unable = replica.standing().is_some_and(|standing| standing.unable);
            replica.fate == Fate::Stays && (replica.observed == Observed::Unknown || is_unable)
        });
        let replaced = missing.map(|replica| after(replica.since, self.contents.settings.replace_after_ms)).min();
        let placed = (next_move(volume) == Some(Move::Place)).then(|| after(self.contents.ticked, PLACE_RETRY_MS));
        let recovered = match self.recovery(volume, self.contents.now) {
            Some(Recovery::Waits(until)) => until,
            Some(Recovery::From(_)) => Some(self.contents.now),
            Some(Recovery::Failed) | None => None,
        };
        [replaced, placed, recovered].into_iter().flatten().min()
    }

    /// The first configuration: of the first replica that is there. All that are being made are empty; one that was there
    /// alone is the only one, and others are made when it is primary.
    fn begin(&mut self, _now: Time, id: VolumeId) -> bool {
        let volume = &self.contents.volumes[&id];
        if volume.replication.is_some() {
            return false;
        }
        let ready = |(pool, replica): (&PoolId, &Replica)| {
            let incarnation = replica.standing()?.incarnation;
            (incarnation.0 > 0 && self.takes_writes(*pool)).then_some((*pool, incarnation))
        };
        let Some(first) = volume.replicas.iter().find_map(ready) else { return false };
        let members_min = match volume.phase {
            Phase::Creating => volume.spec.writable_with(),
            // It is in use already.
            Phase::Ready => 1,
        };
        let epoch = volume.first_epoch();
        self.decide(id, Configuration::of_one(epoch, first, members_min, 0));
        true
    }

    /// Since when no member is there as it was.
    fn note_loss(&mut self, now: Time, id: VolumeId) -> bool {
        let Some(volume) = self.contents.volumes.get_mut(&id) else { return false };
        let is_there = volume.in_sync().next().is_some();
        let Some(replication) = &mut volume.replication else { return false };
        let before = replication.lost_since;
        replication.lost_since = if is_there { None } else { before.or(Some(now)) };
        replication.lost_since != before
    }

    fn recovery(&self, volume: &Volume, now: Time) -> Option<Recovery> {
        let lost_since = volume.replication.as_ref()?.lost_since?;
        Some(recovery(volume, lost_since, now, |pool| self.takes_writes(pool)))
    }

    fn takes_writes(&self, pool: PoolId) -> bool {
        self.contents.pools.get(&pool).is_some_and(|pool| !pool.failed)
    }

    /// When no member is there as it was: from which one to go on.
    fn recover(&mut self, now: Time, id: VolumeId) -> bool {
        let volume = &self.contents.volumes[&id];
        let Some(Recovery::From(source)) = self.recovery(volume, now) else { return false };
        let Some(Replication { configuration: lost, .. }) = &volume.replication else { return false };
        let Source { pool, incarnation, warm } = source;
        let cache_generation = lost.cache_generation + u64::from(!warm);
        let next = Configuration::of_one(lost.next_epoch(), (pool, incarnation), lost.members_min, cache_generation);
        self.decide(id, next);
        let volume = self.contents.volumes.get_mut(&id).expect("just seen");
        if !warm {
            volume.cut_off();
        }
        true
    }

    /// A volume is made when it can be written.
    fn note_ready(&mut self, _now: Time, id: VolumeId) -> bool {
        let Some(volume) = self.contents.volumes.get_mut(&id) else { return false };
        let is_made = volume.phase == Phase::Creating && volume.is_writable();
        if is_made {
            volume.phase = Phase::Ready;
        }
        is_made
    }

    /// How many members writes need: when it was changed, and whoever is primary is heard.
    fn set_members_min(&mut self, _now: Time, id: VolumeId) -> bool {
        let volume = &self.contents.volumes[&id];
        if volume.active_primary().is_none() {
            return false;
        }
        let Some(Replication { configuration: in_force, .. }) = &volume.replication else { return false };
        let wanted = members_min(in_force.members_min, volume.spec.writable_with(), in_force.members.len());
        if wanted == in_force.members_min {
            return false;
        }
        let epoch = in_force.next_epoch();
        self.decide(id, Configuration { epoch, members_min: wanted, recovery: false, ..in_force.clone() });
        true
    }

    /// What is to become of each replica.
    fn judge_replicas(&mut self, now: Time, id: VolumeId) -> bool {
        let volume = &self.contents.volumes[&id];
        let judged: Vec<(PoolId, Fate)> =
            volume.replicas.iter().map(|(pool, replica)| (*pool, self.fate(now, volume, *pool, replica))).collect();
        let volume = self.contents.volumes.get_mut(&id).expect("just seen");
        let mut changed = false;
        for (pool, fate) in judged {
            let replica = volume.replicas.get_mut(&pool).expect("just seen");
            changed |= replica.fate != fate;
            replica.fate = fate;
        }
        changed
    }

    fn fate(&self, now: Time, volume: &Volume, pool: PoolId, replica: &Replica) -> Fate {
        if replica.fate == Fate::Goes && still_goes(volume, pool) {
            return Fate::Goes;
        }
        self.reason(now, volume, pool, replica).map_or(Fate::Stays, Fate::Moves)
    }

    /// Why another replica is to take its place.
    fn reason(&self, now: Time, volume: &Volume, pool: PoolId, replica: &Replica) -> Option<Reason> {
        let found = self.contents.pools.get(&pool)?;
        let patience = Time(replica.since.0.saturating_add(self.contents.settings.replace_after_ms));
        let is_here = |other: &PoolId| self.contents.pools.get(other).is_some_and(|other| other.node == found.node);
        // What is to be replaced itself is in nobody's way: its node may have come back with another pool.
        let is_crowded = || {
            let earlier = volume.replicas.iter().take_while(|(other, _)| **other != pool);
            earlier.filter(|(_, other)| other.fate == Fate::Stays).any(|(other, _)| is_here(other))
        };
        let admin = self.admin_of(pool)?;
        match replica.observed {
            Observed::Nothing if replica.seen => Some(Reason::Gone),
            Observed::Unknown if now >= patience => Some(Reason::Silent),
            _ if found.failed => Some(Reason::Failed),
            Observed::Present { standing, .. } if standing.unable && now >= patience => Some(Reason::Full),
            _ if is_crowded() => Some(Reason::Crowded),
            _ => match admin {
                Admin::Draining => Some(Reason::Draining),
                Admin::Schedulable | Admin::Cordoned => None,
            },
        }
    }

    /// Places another replica, or gives one up.
    fn make_move(&mut self, now: Time, id: VolumeId) -> bool {
        let volume = &self.contents.volumes[&id];
        match next_move(volume) {
            None => false,
            Some(Move::Place) => match self.place_another(id, volume) {
                // It is told by `explain`, and looked for again.
                Err(_no_place) => false,
                Ok(pool) => {
                    self.add_replica(now, id, pool);
                    true
                }
            },
            Some(Move::Drop(Surplus(pools))) => {
                let Some(pool) = self.worst_placed(volume, &pools) else { return false };
                let volume = self.contents.volumes.get_mut(&id).expect("just seen");
                volume.replicas.get_mut(&pool).expect("it is one of them").fate = Fate::Goes;
                true
            }
        }
    }

    fn add_replica(&mut self, now: Time, id: VolumeId, pool: PoolId) {
        let volume = self.contents.volumes.get_mut(&id).expect("just seen");
        volume.replicas.insert(pool, Replica::new(now));
        self.index.placed(pool, id, volume.size_bytes);
    }

    /// A replica that was given up is deleted when it is no member any more.
    fn bury(&mut self, now: Time, id: VolumeId) -> bool {
        let revision = self.next_revision();
        let volume = self.contents.volumes.get_mut(&id).expect("just seen");
        let Some(Replication { configuration, .. }) = &volume.replication else { return false };
        let is_over = |(pool, replica): &(&PoolId, &Replica)| {
            replica.fate == Fate::Goes && !configuration.members.contains_key(*pool)
        };
        let over: Vec<PoolId> = volume.replicas.iter().filter(is_over).map(|(pool, _)| *pool).collect();
        for pool in &over {
            self.bury_snapshots_in(now, id, *pool);
            let volume = self.contents.volumes.get_mut(&id).expect("just seen");
            let Replica { observed, .. } = volume.replicas.remove(pool).expect("just seen");
            let tombstone = Tombstone { name: volume.last_name().clone(), pool: *pool, observed, since: now, revision };
            self.contents.tombstones.insert((id, *pool), tombstone);
            self.index.buried(*pool, id, volume.size_bytes);
        }
        !over.is_empty()
    }

    /// Who the primary is to hand over to: as an operator wished, or because its own replica is to move.
    fn choose_successor(&mut self, _now: Time, id: VolumeId) -> bool {
        let volume = self.contents.volumes.get_mut(&id).expect("just seen");
        let Some(Replication { configuration, hand_over_to: before, .. }) = &volume.replication else { return false };
        let (primary, before) = (configuration.primary, *before);
        let could = |pool: &PoolId| *pool != primary && volume.member(*pool).is_some();
        let moves = matches!(volume.replicas[&primary].fate, Fate::Moves(_));
        let stays = |pool: &PoolId| volume.replicas[pool].fate == Fate::Stays;
        let other = || volume.in_sync().filter(could).find(stays).filter(|_| moves);
        let now = before.filter(could).or_else(other);
        if let Some(replication) = &mut volume.replication {
            replication.hand_over_to = now;
        }
        now != before
    }
}
