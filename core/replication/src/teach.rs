//! The primary's side of a learner: copies of what differs, in one order with the changes that come meanwhile.
//!
//! A group is read as it is when its turn comes, and whatever is changed in it afterwards is sent behind the copy: read
//! early and sent late, a copy would take changes back. Snapshots that the learner lacks come before; see [`Plan`].

use std::collections::VecDeque;

use block::{Epoch, GroupIndex, Incarnation, Instant, PoolId, SnapshotId, WriteSeq};

use crate::configuration::Configuration;
use crate::entry::{Change, Entry};
use crate::event::{Content, Effect, ReadId};
use crate::groups::GroupSet;
use crate::lead::{Leading, Member, Pending, Session, Stage, Wish};
use crate::message::Message;
use crate::plan::{Plan, Step};
use crate::replica::{Context, Replica, Role};
use crate::snapshot::Snapshot;

/// Groups that are being read, or were sent and are not stored yet.
const GROUPS_IN_FLIGHT_MAX: u32 = 16;
/// What may wait behind a group that is being read. A learner that falls further behind begins anew.
const QUEUE_MAX: usize = 4096;

/// What a replica says that wants to be taught.
#[derive(Debug)]
pub(crate) struct Joiner {
    pub incarnation: Incarnation,
    pub nonce: u64,
    pub stable: WriteSeq,
    pub dirty: GroupSet,
    pub snapshots: Vec<Snapshot>,
}

/// A learner, as its teacher sees it.
#[derive(Debug)]
pub(crate) struct Pupil<P> {
    incarnation: Incarnation,
    /// What it is still to be given.
    plan: Plan,
    /// What is sent, in order, once its first part was read.
    queue: VecDeque<Lesson<P>>,
    /// Groups in the queue or sent, and not stored yet.
    in_flight: u32,
    stage: PupilStage,
}

/// How far a learner is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum PupilStage {
    /// It gets copies.
    Copying,
    /// It has everything and takes part.
    Entered,
}

#[derive(Debug)]
enum Lesson<P> {
    Reading(ReadId, GroupIndex),
    Ready(Message<P>),
}

impl<P: Clone> Pupil<P> {
    /// Groups that could be read for it now.
    fn wanted(&self) -> u32 {
        let room = GROUPS_IN_FLIGHT_MAX - self.in_flight;
        match self.stage {
            PupilStage::Copying => self.plan.len().min(u64::from(room)).try_into().unwrap_or(room),
            PupilStage::Entered => 0,
        }
    }

    fn say(&mut self, to: PoolId, message: Message<P>, cx: &mut Context<'_, P>) {
        if self.queue.is_empty() {
            cx.out.push(Effect::Send { to, message });
        } else {
            self.queue.push_back(Lesson::Ready(message));
        }
    }
}

impl<P: Clone> Leading<P> {
    /// A change that learners need: in what they have already, or what is on its way to them.
    pub fn teach_change(&mut self, entry: &Entry<P>, cx: &mut Context<'_, P>) {
        if let Change::Snapshot { id, blocks } = entry.change {
            let snapshot = Snapshot { id, at: entry.seq, blocks };
            return self.learners().for_each(|pupil| pupil.plan.cut(snapshot));
        }
        let Some(groups) = entry.change.groups() else { return };
        let mut behind = None;
        for (peer, pupil) in &mut self.pupils {
            // A copy comes after it anyway.
            if pupil.stage != PupilStage::Copying || !pupil.plan.change(groups.clone()) {
                continue;
            }
            if pupil.queue.len() >= QUEUE_MAX {
                behind = Some(*peer);
                continue;
            }
            pupil.say(*peer, Message::Relay { epoch: self.configuration.epoch, entry: entry.clone() }, cx);
        }
        if let Some(peer) = behind {
            cx.out.push(Effect::Disconnect { peer });
        }
    }

    fn learners(&mut self) -> impl Iterator<Item = &mut Pupil<P>> {
        self.pupils.values_mut().filter(|pupil| pupil.stage == PupilStage::Copying)
    }

    /// Copies on, and lets learners in that have everything.
    pub fn teach(&mut self, cx: &mut Context<'_, P>) {
        let mut complete = None;
        for (peer, pupil) in &mut self.pupils {
            if pupil.stage != PupilStage::Copying {
                continue;
            }
            while let Some(step) = pupil.plan.next() {
                match step {
                    Step::Cut(snapshot) => {
                        pupil.say(*peer, Message::Cut { epoch: self.configuration.epoch, snapshot }, cx);
                    }
                    Step::Read { from, group } if self.lessons > 0 && pupil.in_flight < GROUPS_IN_FLIGHT_MAX => {
                        self.lessons -= 1;
                        pupil.in_flight += 1;
                        self.last_read.0 += 1;
                        let id = self.last_read;
                        pupil.queue.push_back(Lesson::Reading(id, group));
                        cx.out.push(Effect::ReadGroup { id, peer: *peer, group, from });
                    }
                    Step::Read { .. } => break,
                }
                pupil.plan.done(step);
            }
            if pupil.plan.is_over() && pupil.queue.is_empty() && pupil.in_flight == 0 {
                complete = Some(*peer);
            }
        }
        if let Some(peer) = complete
            && self.entering.is_none()
            && self.pending.is_none()
        {
            self.let_in(peer, cx);
        }
    }

    /// From now on the learner counts as a member that may be one: before it is asked for, since nobody can say when it is
    /// decided.
    fn let_in(&mut self, peer: PoolId, cx: &mut Context<'_, P>) {
        let Some(pupil) = self.pupils.get_mut(&peer) else { return };
        pupil.stage = PupilStage::Entered;
        let last = self.log.received();
        // It makes all of this stable before it becomes a member.
        let mut member = Member::new(pupil.incarnation, Session::Open, cx.now);
        (member.applied, member.durable) = (last, last);
        self.members.insert(peer, member);
        self.entering = Some(peer);
        // Whoever becomes primary may have to give somebody what only this one had.
        let tail = self.log.after(0).cloned().collect();
        let message = Message::Enter { epoch: self.configuration.epoch, last, tail };
        cx.out.push(Effect::Send { to: peer, message });
        // Reads wait for its promise from here on.
        self.beat(peer, false, cx);
    }

    /// The configuration with the learner as a member, if it is one that has entered.
    pub fn with(&self, peer: PoolId) -> Option<Configuration> {
        let pupil = self.pupils.get(&peer).filter(|pupil| pupil.stage == PupilStage::Entered)?;
        let mut wanted = self.configuration.successor();
        wanted.members.insert(peer, pupil.incarnation);
        Some(wanted)
    }
}

impl<P: Clone> Replica<P> {
    /// Groups that its learners are still to be given.
    #[must_use]
    pub fn groups_to_teach(&self) -> u64 {
        let Role::Leading(leading) = &self.role else { return 0 };
        leading.pupils.values().map(|pupil| pupil.plan.len() + u64::from(pupil.in_flight)).sum()
    }

    /// Groups that could be read for its learners now; [`crate::Event::Teach`] has it done.
    #[must_use]
    pub fn lessons_wanted(&self) -> u32 {
        let Role::Leading(leading) = &self.role else { return 0 };
        leading.pupils.values().map(Pupil::wanted).sum()
    }

    /// So many more groups may be read for learners.
    pub(crate) fn may_teach(&mut self, groups: u32, cx: &mut Context<'_, P>) {
        if let Role::Leading(leading) = &mut self.role {
            leading.lessons = groups;
            leading.teach(cx);
            leading.lessons = 0;
        }
    }

    /// A replica asks to be taught.
    pub(crate) fn join_asked(&mut self, from: PoolId, joiner: Joiner, content: &impl Content, cx: &mut Context<'_, P>) {
        let Joiner { incarnation, nonce, stable, dirty, snapshots } = joiner;
        let Role::Leading(leading) = &mut self.role else { return };
        if leading.stage != Stage::Active || leading.configuration.has(from, incarnation) {
            return;
        }
        if leading.configuration.members.contains_key(&from) {
            // What it was is a member and is no more: nothing that it says now may count for what it was.
            if let Some(member) = leading.members.get_mut(&from) {
                member.heard = Instant::default();
                member.lease_from = None;
            }
            return;
        }
        if leading.entering.is_some()
            || leading.pupils.contains_key(&from)
            || !self.wanted.has(from)
            || !leading.has_rested(from, cx.now)
        {
            return;
        }
        let plan = Plan::new(content, leading.configuration.comparable(stable), dirty, &snapshots);
        let groups = plan.len();
        let pupil = Pupil { incarnation, plan, queue: VecDeque::new(), in_flight: 0, stage: PupilStage::Copying };
        leading.pupils.insert(from, pupil);
        let snapshots = content.snapshots();
        let message = Message::Start { epoch: leading.configuration.epoch, nonce, groups, snapshots };
        cx.out.push(Effect::Send { to: from, message });
        leading.teach(cx);
    }

    /// A snapshot is gone: who was still to be given it begins anew.
    pub(crate) fn snapshot_deleted(&mut self, id: SnapshotId, cx: &mut Context<'_, P>) {
        if let Role::Leading(leading) = &mut self.role {
            let having = leading.pupils.iter().filter(|(_, pupil)| pupil.plan.has(id));
            having.for_each(|(peer, _)| cx.out.push(Effect::Disconnect { peer: *peer }));
        }
    }

    /// A group was read for a learner.
    pub(crate) fn group_read(
        &mut self,
        id: ReadId,
        peer: PoolId,
        content: Option<(WriteSeq, P)>,
        cx: &mut Context<'_, P>,
    ) {
        let Role::Leading(leading) = &mut self.role else { return };
        let epoch = leading.configuration.epoch;
        let Some(pupil) = leading.pupils.get_mut(&peer) else { return };
        let read = pupil.queue.iter_mut().find_map(|lesson| match lesson {
            Lesson::Reading(found, group) if *found == id => Some((*group, lesson)),
            Lesson::Reading(_, _) | Lesson::Ready(_) => None,
        });
        let Some((group, place)) = read else { return };
        let Some((born, content)) = content else {
            return cx.out.push(Effect::Disconnect { peer });
        };
        *place = Lesson::Ready(Message::Copy { epoch, group, born, content });
        while matches!(pupil.queue.front(), Some(Lesson::Ready(_)))
            && let Some(Lesson::Ready(message)) = pupil.queue.pop_front()
        {
            cx.out.push(Effect::Send { to: peer, message });
        }
        leading.teach(cx);
    }

    /// A learner has stored a group.
    pub(crate) fn copied(&mut self, from: PoolId, epoch: Epoch, cx: &mut Context<'_, P>) {
        if let Role::Leading(leading) = &mut self.role
            && leading.configuration.epoch == epoch
            && let Some(pupil) = leading.pupils.get_mut(&from)
        {
            pupil.in_flight = pupil.in_flight.saturating_sub(1);
            leading.teach(cx);
        }
    }

    /// A learner has made everything stable that it had when it entered.
    pub(crate) fn flushed(&mut self, from: PoolId, epoch: Epoch, cx: &mut Context<'_, P>) {
        let Role::Leading(leading) = &mut self.role else { return };
        if leading.configuration.epoch != epoch || leading.pending.is_some() || leading.entering != Some(from) {
            return;
        }
        if let Some(wanted) = leading.with(from) {
            let wish = Wish::Add(from);
            leading.pending = Some(Pending { wish, retry_at: cx.now + self.times.retry });
            self.propose(wanted, cx);
        }
    }
}
