//! Group snapshots, phase by phase. Why this is one instant is in the module `group`.

use std::collections::BTreeSet;

use block::{Incarnation, PoolId, SnapshotId, VolumeId};

use super::snapshots::NewSnapshot;
use super::volumes::check_words;
use crate::command::{Answer, Time};
use crate::group::{
    ATTEMPTS_MAX, GROUP_MAX_MS, GROUP_VOLUMES_MAX, GROUPS_MAX, Group, GroupId, GroupMember, GroupPhase, Hold,
    HoldState, PAUSE_MS, PHASE_MAX_MS,
};
use crate::name::Name;
use crate::node::Labels;
use crate::operation::OperationKind;
use crate::refusal::Refusal;
use crate::snapshot::{Maker, Snapshot};
use crate::state::State;
use crate::volume::{Phase, Volume};

/// What the members of a group say of the attempt, together.
enum Verdict {
    /// All have said what is waited for: these.
    All(Vec<(VolumeId, (PoolId, Incarnation))>),
    /// Some have not.
    Waits(String),
    /// Somebody did not hold, or another serves its volume.
    Broken(String),
}

impl State {
    pub(super) fn create_group(
        &mut self,
        now: Time,
        name: Name,
        volumes: &[Name],
        labels: Labels,
    ) -> Result<Answer, Refusal> {
        check_words(None, labels.len())?;
        if let Some((id, there)) = self.group(&name) {
            return self.same_group(id, there, volumes);
        }
        if self.contents.groups.len() >= GROUPS_MAX {
            return Err(Refusal::Groups);
        }
        let distinct: BTreeSet<&Name> = volumes.iter().collect();
        if distinct.is_empty() || distinct.len() > GROUP_VOLUMES_MAX || distinct.len() < volumes.len() {
            return Err(Refusal::GroupVolumes(volumes.len()));
        }
        let members = volumes.iter().map(|volume| self.check_member(&name, volume)).collect::<Result<Vec<_>, _>>()?;
        self.contents.last_group += 1;
        let id = GroupId(self.contents.last_group);
        let none = |name: &Name| GroupMember { volume: name.clone(), snapshot: SnapshotId(0), holder: None };
        let group = Group {
            name,
            members: members.into_iter().zip(volumes).map(|(id, name)| (id, none(name))).collect(),
            created: now,
            until: Time(now.0.saturating_add(GROUP_MAX_MS)),
            phase: GroupPhase::Pausing { until: now },
            attempts: 0,
            trouble: String::new(),
            labels,
        };
        let first = group.first();
        self.index.snapshots.group_added(id, &group);
        for volume in group.members.keys() {
            self.contents.volumes.get_mut(volume).expect("just found").group = Some(id);
        }
        self.contents.groups.insert(id, group);
        let operation = self.start(now, OperationKind::Group(first, id));
        self.begin_attempt(now, id);
        Ok(Answer::Group { id, operation: Some(operation) })
    }

    /// Who asks for a group that is there gets it, if it is of the volumes that are meant: a retry joins.
    fn same_group(&self, id: GroupId, there: &Group, volumes: &[Name]) -> Result<Answer, Refusal> {
        let is: BTreeSet<&Name> = there.members.values().map(|member| &member.volume).collect();
        let is_meant = |name: &Name| self.volume(name).is_none_or(|(id, _)| there.members.contains_key(&id));
        if is != volumes.iter().collect() || !volumes.iter().all(is_meant) {
            return Err(Refusal::GroupExists(there.name.clone()));
        }
        let makes = |operation: &_| matches!(self.contents.operations[operation].kind, OperationKind::Group(_, made) if made == id);
        Ok(Answer::Group { id, operation: self.index.running_of(there.first()).find(makes) })
    }

    fn check_member(&self, group: &Name, name: &Name) -> Result<VolumeId, Refusal> {
        let (id, volume) = self.volume(name).ok_or_else(|| Refusal::NoSuchVolume(name.clone()))?;
        if volume.phase == Phase::Creating {
            return Err(Refusal::NotMade(name.clone()));
        }
        if let Some(other) = volume.group.and_then(|other| self.contents.groups.get(&other)) {
            return Err(Refusal::GroupBusy { volume: name.clone(), group: other.name.clone() });
        }
        self.check_snapshot_room(id)?;
        let text = member_name(group, name);
        let snapshot: Name =
            text.parse().map_err(|_| Refusal::GroupName { group: group.clone(), volume: name.clone() })?;
        match self.snapshot(&snapshot) {
            Some((_, there)) => {
                Err(Refusal::SnapshotExists { name: snapshot, of: there.source_name.clone(), asked: name.clone() })
            }
            None => Ok(id),
        }
    }

    fn set_group_phase(&mut self, id: GroupId, phase: GroupPhase) {
        let revision = self.next_revision();
        let Some(group) = self.contents.groups.get_mut(&id) else { return };
        self.index.snapshots.group_removed(id, group);
        group.phase = phase;
        self.index.snapshots.group_added(id, group);
        for volume in group.members.keys() {
            self.index.touch(*volume, revision);
        }
    }

    /// All primaries are to hold for another number; the snapshots are there, and nobody is told of them yet.
    fn begin_attempt(&mut self, now: Time, id: GroupId) {
        self.contents.last_group += 1;
        let hold = GroupId(self.contents.last_group);
        let Group { name, until, labels, members, .. } = self.contents.groups[&id].clone();
        for (volume, member) in members {
            let name: Name = match member_name(&name, &member.volume).parse() {
                Ok(name) if self.snapshot(&name).is_none() => name,
                Ok(_) | Err(_) => {
                    let sentence = format!("the name of its snapshot of volume {} was taken meanwhile", member.volume);
                    return self.give_up_group(now, id, &sentence);
                }
            };
            let new = NewSnapshot {
                until,
                group: Some(id),
                labels: labels.clone(),
                ..NewSnapshot::of(name, now, Maker::Person)
            };
            let snapshot = self.add_snapshot(now, volume, new);
            let members = &mut self.contents.groups.get_mut(&id).expect("just seen").members;
            members.insert(volume, GroupMember { snapshot, holder: None, ..member });
        }
        self.set_group_phase(id, GroupPhase::Holding { hold, since: now });
    }

    /// What follows from what the members say, and from the time. True if anything changed.
    pub(super) fn plan_group(&mut self, now: Time, id: GroupId) -> bool {
        let Some(group) = self.contents.groups.get(&id).filter(|group| group.is_running()) else { return false };
        let (GroupPhase::Holding { hold, since }
        | GroupPhase::Cutting { hold, since }
        | GroupPhase::Releasing { hold, since }) = group.phase
        else {
            return self.try_again(now, id);
        };
        match self.verdict(group, hold) {
            Verdict::All(holders) => self.advance(now, id, holders),
            Verdict::Broken(words) => self.abort(now, id, &words),
            Verdict::Waits(words) if now.0 >= since.0.saturating_add(PHASE_MAX_MS) => self.abort(now, id, &words),
            Verdict::Waits(_) => return false,
        }
        true
    }

    fn try_again(&mut self, now: Time, id: GroupId) -> bool {
        let group = &self.contents.groups[&id];
        let GroupPhase::Pausing { until } = group.phase else { return false };
        if now >= group.until {
            let sentence = format!("it was not taken within {} s: {}", GROUP_MAX_MS / 1000, group.trouble);
            self.give_up_group(now, id, &sentence);
            return true;
        }
        if now < until {
            return false;
        }
        let is_served = |volume: &VolumeId| self.contents.volumes.get(volume).is_some_and(|it| it.serving().is_some());
        if group.members.keys().all(is_served) {
            self.begin_attempt(now, id);
        } else {
            self.set_group_phase(id, GroupPhase::Pausing { until: Time(now.0.saturating_add(PAUSE_MS)) });
        }
        true
    }

    fn advance(&mut self, now: Time, id: GroupId, holders: Vec<(VolumeId, (PoolId, Incarnation))>) {
        let Some(group) = self.contents.groups.get_mut(&id) else { return };
        for (volume, holder) in holders {
            group.members.get_mut(&volume).expect("it is one of them").holder = Some(holder);
        }
        let next = match group.phase {
            GroupPhase::Holding { hold, .. } => GroupPhase::Cutting { hold, since: now },
            GroupPhase::Cutting { hold, .. } => GroupPhase::Releasing { hold, since: now },
            GroupPhase::Releasing { .. } => GroupPhase::Ready,
            GroupPhase::Pausing { .. } | GroupPhase::Ready | GroupPhase::Deleting { .. } => return,
        };
        if next == GroupPhase::Ready {
            self.let_go(id);
        }
        self.set_group_phase(id, next);
    }

    /// Its volumes are free for another group.
    fn let_go(&mut self, id: GroupId) {
        let members: Vec<VolumeId> = self.contents.groups[&id].members.keys().copied().collect();
        for volume in members {
            if let Some(volume) = self.contents.volumes.get_mut(&volume) {
                volume.group = volume.group.filter(|group| *group != id);
            }
        }
    }

    fn verdict(&self, group: &Group, hold: GroupId) -> Verdict {
        let mut holders = Vec::new();
        let mut waits = None;
        for (id, member) in &group.members {
            let name = &member.volume;
            let Some(volume) = self.contents.volumes.get(id) else {
                return Verdict::Broken(format!("volume {name} is gone"));
            };
            let Some((holder, said)) = said(volume) else {
                waits = Some(format!("volume {name} is not served"));
                continue;
            };
            if member.holder.is_some_and(|before| before != holder) {
                return Verdict::Broken(format!("another replica serves volume {name} now"));
            }
            let is_cut = self.contents.snapshots.get(&member.snapshot).is_some_and(|snapshot| snapshot.at().is_some());
            match expected(&group.phase, said.filter(|said| said.group == hold).map(|said| said.state), is_cut) {
                Some(true) => holders.push((*id, holder)),
                Some(false) => waits = Some(format!("the primary of volume {name} took longer than {PHASE_MAX_MS} ms")),
                None => return Verdict::Broken(format!("the primary of volume {name} could not hold for long enough")),
            }
        }
        waits.map_or(Verdict::All(holders), Verdict::Waits)
    }

    /// Nothing of the attempt counts. Another is made, a few times.
    fn abort(&mut self, now: Time, id: GroupId, words: &str) {
        let Some(group) = self.contents.groups.get_mut(&id) else { return };
        group.attempts += 1;
        words.clone_into(&mut group.trouble);
        let pause = Time(now.0.saturating_add(PAUSE_MS * u64::from(group.attempts)));
        if group.attempts >= ATTEMPTS_MAX || pause >= group.until {
            let sentence = format!("it was tried {} times: {words}", group.attempts);
            return self.give_up_group(now, id, &sentence);
        }
        self.bury_attempt(now, id);
        self.set_group_phase(id, GroupPhase::Pausing { until: pause });
    }

    fn bury_attempt(&mut self, now: Time, id: GroupId) {
        let snapshots: Vec<SnapshotId> = self.contents.groups[&id].members.values().map(|it| it.snapshot).collect();
        for snapshot in snapshots {
            self.bury_snapshot(now, snapshot);
        }
    }

    /// It ends without its snapshots.
    pub(super) fn give_up_group(&mut self, now: Time, id: GroupId, sentence: &str) {
        let Some(group) = self.contents.groups.get(&id) else { return };
        self.fail(now, OperationKind::Group(group.first(), id), sentence);
        self.bury_attempt(now, id);
        self.let_go(id);
        // Nodes hear that nothing is to be held.
        self.set_group_phase(id, GroupPhase::Ready);
        let group = self.contents.groups.remove(&id).expect("just seen");
        self.index.snapshots.group_removed(id, &group);
    }

    /// The node may have been started anew, with a hold that had a gap.
    pub(super) fn break_groups_on(&mut self, now: Time, node: &Name) {
        let running: Vec<GroupId> = self.index.snapshots.running().collect();
        for id in running {
            let group = &self.contents.groups[&id];
            let is_there = |volume: &VolumeId| {
                let volume = self.contents.volumes.get(volume);
                let pools = volume.into_iter().flat_map(|volume| volume.replicas.keys());
                pools.filter_map(|pool| self.contents.pools.get(pool)).any(|pool| pool.node == *node)
            };
            let is_begun = !matches!(group.phase, GroupPhase::Pausing { .. });
            if is_begun && group.members.keys().any(is_there) {
                self.abort(now, id, &format!("the stream of node {node} broke off"));
            }
        }
    }

    pub(super) fn delete_group(&mut self, now: Time, name: &Name) -> Result<Answer, Refusal> {
        let (id, group) = self.group(name).ok_or_else(|| Refusal::NoSuchGroup(name.clone()))?;
        if !group.is_ready() {
            self.give_up_group(now, id, "it was deleted before it was ready");
            return Ok(Answer::Done);
        }
        let (first, left) = (group.first(), group.members.values().map(|member| member.snapshot).collect());
        let snapshots: BTreeSet<SnapshotId> = left;
        self.set_group_phase(id, GroupPhase::Deleting { left: snapshots.clone() });
        for snapshot in snapshots {
            self.release_snapshot(snapshot);
        }
        Ok(Answer::Started(self.start(now, OperationKind::DeleteGroup(first, id))))
    }

    /// A pool has deleted a snapshot of a deleted group.
    pub(super) fn note_gone(&mut self, id: GroupId, snapshot: SnapshotId) {
        let is_left = self.contents.snapshots.contains_key(&snapshot) || self.graves_of(snapshot).next().is_some();
        let Some(group) = self.contents.groups.get_mut(&id).filter(|_| !is_left) else { return };
        let GroupPhase::Deleting { left } = &mut group.phase else { return };
        left.remove(&snapshot);
        if left.is_empty() {
            let first = group.first();
            let group = self.contents.groups.remove(&id).expect("just seen");
            self.index.snapshots.group_removed(id, &group);
            self.index.note(first);
        }
    }

    /// Whether the word of this replica counts on where a snapshot was cut: of a group's, only while that has told its
    /// primary to cut it, and only that primary's.
    pub(super) fn may_be_cut_by(&self, serving: PoolId, volume: &Volume, snapshot: &Snapshot) -> bool {
        let Some(group) = snapshot.group.and_then(|group| self.contents.groups.get(&group)) else { return true };
        let holder = group.members.get(&snapshot.source).and_then(|member| member.holder);
        let is_holder = said(volume).is_some_and(|(who, _)| who.0 == serving && holder == Some(who));
        group.cuts().is_some() && is_holder
    }
}

/// The name of a volume's snapshot in a group.
fn member_name(group: &Name, volume: &Name) -> String {
    format!("{group}-{volume}")
}

/// Who serves a volume, and what it says of the last hold.
fn said(volume: &Volume) -> Option<((PoolId, Incarnation), Option<Hold>)> {
    let pool = volume.serving()?;
    let standing = volume.replicas.get(&pool)?.standing()?;
    Some(((pool, standing.incarnation), standing.hold))
}

/// Whether what a primary says of the attempt is what its phase waits for; `None` when it can never be.
fn expected(phase: &GroupPhase, said: Option<HoldState>, is_cut: bool) -> Option<bool> {
    match (phase, said) {
        (_, Some(HoldState::Broken)) => None,
        (GroupPhase::Holding { .. }, None) => Some(false),
        (GroupPhase::Holding { .. }, Some(HoldState::Held)) => Some(true),
        // It was told of nothing to cut, and of no end.
        (GroupPhase::Holding { .. }, Some(HoldState::Cut | HoldState::Released)) => None,
        (GroupPhase::Cutting { .. }, Some(HoldState::Held)) => Some(false),
        (GroupPhase::Cutting { .. }, Some(HoldState::Cut)) => Some(true),
        (GroupPhase::Cutting { .. }, Some(HoldState::Released)) => None,
        (GroupPhase::Releasing { .. }, Some(HoldState::Held | HoldState::Cut)) => Some(false),
        (GroupPhase::Releasing { .. }, Some(HoldState::Released)) => Some(is_cut),
        // It has forgotten that it held.
        (GroupPhase::Cutting { .. } | GroupPhase::Releasing { .. }, None) => None,
        (GroupPhase::Pausing { .. } | GroupPhase::Ready | GroupPhase::Deleting { .. }, _) => Some(false),
    }
}
