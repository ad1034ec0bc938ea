//! One copy of a volume: what it is at the moment, and what every event leads to.

use std::collections::BTreeSet;

use block::{Epoch, Incarnation, Instant, PoolId, WriteSeq};

use crate::backup::{Backup, Candidate};
use crate::configuration::{Configuration, Proposal};
use crate::event::{Content, Effect, Event, Times};
use crate::join::{Idle, Learner, Lesson};
use crate::lead::Leading;
use crate::message::Message;
use crate::teach::Joiner;
use crate::wanted::Wanted;

/// What a replica is started with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Start {
    /// Its name: that of the pool it lies in.
    pub me: PoolId,
    /// Higher than any it had before.
    pub incarnation: Incarnation,
    /// The highest epoch it has gone by.
    pub epoch_seen: Epoch,
    /// Its common stable point.
    pub stable: WriteSeq,
    /// The last change in its store.
    pub last: u64,
    /// What is waited for, and how long.
    pub times: Times,
}

/// One of a volume's copies.
#[derive(Debug)]
pub struct Replica<P> {
    pub(crate) me: PoolId,
    pub(crate) times: Times,
    pub(crate) incarnation: Incarnation,
    /// Nothing of a lower one is gone by.
    pub(crate) epoch_seen: Epoch,
    /// The part of that which is on stable media.
    pub(crate) epoch_kept: Epoch,
    /// The common stable point.
    pub(crate) stable: WriteSeq,
    /// No change in the store has a higher number.
    pub(crate) last: u64,
    /// Of the last request to be taught.
    pub(crate) nonce: u64,
    /// What the control plane said last.
    pub(crate) newest: Option<Configuration>,
    /// Which replicas it wants.
    pub(crate) wanted: Wanted,
    /// Whether its store takes what it is given. Without that it is out, and stays out.
    pub(crate) able: bool,
    /// Whether its pool is nearly full.
    pub(crate) tight: bool,
    /// Whom it has connections to.
    pub(crate) links: BTreeSet<PoolId>,
    pub(crate) role: Role<P>,
}

/// What a replica is.
#[derive(Debug)]
pub(crate) enum Role<P> {
    /// Not in sync, and nobody teaches it.
    Idle(Idle),
    /// Being taught.
    Learner(Learner<P>),
    /// In sync.
    Backup(Backup<P>),
    /// In sync, and asking to be primary.
    Candidate(Candidate<P>),
    /// Primary, or about to be.
    Leading(Box<Leading<P>>),
}

/// A replica at a glance.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Status {
    /// What it is.
    pub role: &'static str,
    /// What it goes by; 0 if it goes by none.
    pub epoch: Epoch,
    /// Which it is.
    pub incarnation: Incarnation,
    /// The last change that arrived.
    pub received: u64,
    /// Of one that is being taught: groups that are still to be copied, and all there were when it began.
    pub copying: Option<(u64, u64)>,
}

/// What every handler is given.
pub(crate) struct Context<'a, P> {
    pub now: Instant,
    pub out: &'a mut Vec<Effect<P>>,
}

impl<P: Clone> Replica<P> {
    /// One that was just started. It is out of sync whatever it was before: what it promised and what was on its way is
    /// forgotten.
    #[must_use]
    pub fn new(start: Start) -> Self {
        Self {
            me: start.me,
            times: start.times,
            incarnation: start.incarnation,
            epoch_seen: start.epoch_seen,
            epoch_kept: start.epoch_seen,
            stable: start.stable,
            last: start.last,
            nonce: 0,
            newest: None,
            wanted: Wanted::default(),
            able: true,
            tight: false,
            links: BTreeSet::new(),
            role: Role::Idle(Idle::default()),
        }
    }

    /// Takes note of an event.
    pub fn handle(&mut self, now: Instant, event: Event<P>, content: &impl Content, out: &mut Vec<Effect<P>>) {
        let mut cx = Context { now, out };
        let cx = &mut cx;
        match event {
            Event::Configured(configuration) => self.configured(configuration, cx),
            Event::Connected { peer } => {
                self.disconnected(peer, cx);
                self.links.insert(peer);
                self.connected(peer, cx);
            }
            Event::Disconnected { peer } => self.disconnected(peer, cx),
            Event::Received { from, incarnation, message } => self.received(from, incarnation, message, content, cx),
            Event::Applied { incarnation, applied, durable } => {
                if incarnation == self.incarnation {
                    self.applied(applied, durable, cx);
                }
            }
            Event::GroupRead { id, peer, content } => self.group_read(id, peer, content, cx),
            Event::GroupStored => self.group_stored(cx),
            Event::Settled { incarnation } => {
                if incarnation == self.incarnation {
                    self.settled(cx);
                }
            }
            Event::Restamped => self.restamped(cx),
            Event::EpochKept { epoch } => {
                self.epoch_kept = self.epoch_kept.max(epoch);
                self.answer_new_epoch(cx);
                self.say_flushed(cx);
            }
            Event::Unable => {
                self.able = false;
                self.step_down(cx);
            }
            Event::Able => self.able = true,
            Event::Tight(tight) => self.tight = tight,
            Event::Teach { groups } => self.may_teach(groups, cx),
            Event::HandOver { to } => self.hand_over(to, cx),
            Event::SnapshotDeleted { id } => self.snapshot_deleted(id, cx),
            Event::Wanted(wanted) => self.note_wanted(wanted, cx),
            Event::Tick => self.tick(content, cx),
        }
    }

    fn received(
        &mut self,
        from: PoolId,
        incarnation: Incarnation,
        message: Message<P>,
        content: &impl Content,
        cx: &mut Context<'_, P>,
    ) {
        match message {
            Message::Heartbeat { epoch, sent, unheard, acked, stable } => {
                self.told(from, epoch, acked, stable, cx);
                self.heartbeat(from, epoch, sent, unheard, cx);
            }
            Message::HeartbeatAck { epoch, sent, tight } => {
                self.heartbeat_ack(from, incarnation, epoch, sent);
                self.note_room(from, incarnation, tight);
            }
            Message::Prepare { epoch, entry, acked, stable } => {
                self.prepare(from, epoch, entry, cx);
                self.told(from, epoch, acked, stable, cx);
            }
            Message::Ack { applied, durable, tight, .. } => {
                self.note_room(from, incarnation, tight);
                self.ack(from, incarnation, applied, durable, cx);
            }
            Message::NewEpoch { configuration, sent } => self.new_epoch(from, configuration, sent, cx),
            Message::EpochAck { epoch, received, applied, durable, sent } => {
                if self.hears(from, incarnation, epoch) {
                    self.epoch_ack(from, received, (applied, durable), sent, cx);
                }
            }
            Message::Fetch { epoch, after } => self.fetch(from, epoch, after, cx),
            Message::Entries { epoch, entries } => {
                if self.hears(from, incarnation, epoch) {
                    self.fetched(entries, cx);
                }
            }
            Message::Join { incarnation, nonce, stable, dirty, snapshots } => {
                let joiner = Joiner { incarnation, nonce, stable, dirty, snapshots };
                self.join_asked(from, joiner, content, cx);
            }
            Message::Start { epoch, nonce, groups, snapshots } => {
                let lesson = Lesson { epoch, nonce, groups, snapshots };
                self.start(from, &lesson, content, cx);
            }
            Message::Copy { epoch, group, born, content } => {
                if self.learns_from(from, epoch) {
                    cx.out.push(Effect::StoreGroup { group, born, content });
                }
            }
            Message::Copied { epoch } => self.copied(from, epoch, cx),
            Message::Cut { epoch, snapshot } => {
                if self.learns_from(from, epoch) {
                    self.last = self.last.max(snapshot.at.n);
                    cx.out.push(Effect::Cut { snapshot });
                }
            }
            Message::Relay { epoch, entry } => {
                if self.learns_from(from, epoch) {
                    self.last = self.last.max(entry.seq.n);
                    cx.out.push(Effect::Relayed { entry });
                }
            }
            Message::Enter { epoch, last, tail } => {
                if self.learns_from(from, epoch) {
                    self.enter(last, tail, cx);
                }
            }
            Message::Flushed { epoch } => self.flushed(from, epoch, cx),
        }
    }

    /// The control plane has decided. Everything older is the past.
    fn configured(&mut self, found: Configuration, cx: &mut Context<'_, P>) {
        if self.newest.as_ref().is_none_or(|newest| newest.epoch < found.epoch) {
            self.newest = Some(found);
        }
        self.go_by_newest(cx);
    }

    /// Acts on the newest configuration, unless it is what it goes by. Not only when it is told: a message that was long on
    /// its way may have made it a member of an older one since.
    pub(crate) fn go_by_newest(&mut self, cx: &mut Context<'_, P>) {
        let Some(found) = self.newest.as_ref().filter(|_| self.able) else { return };
        let is_idle = matches!(self.role, Role::Idle(_));
        let is_older = found.epoch <= self.epoch() || found.epoch < self.epoch_seen;
        if is_older || (is_idle && !(found.recovery && found.primary == self.me)) {
            return;
        }
        let found = found.clone();
        let mine = found.has(self.me, self.incarnation);
        let leads = found.primary == self.me;
        match (&self.role, mine, leads) {
            (Role::Leading(_), true, true) => self.lead_on(found, cx),
            (Role::Backup(_) | Role::Candidate(_), true, true) => self.take_over(found, cx),
            (Role::Idle(_), true, true) if found.recovery => self.recover(found, cx),
            (Role::Learner(learner), true, true) if found.recovery && !learner.is_in() => {
                self.step_down(cx);
                self.recover(found, cx);
            }
            (Role::Idle(_), _, _) => {}
            (Role::Learner(learner), false, _) if learner.teacher == found.primary => {}
            (Role::Learner(learner), true, false) if learner.is_in() => self.follow(found, cx),
            (Role::Backup(_) | Role::Candidate(_), true, false) => self.follow(found, cx),
            (Role::Leading(leading), true, false) if leading.is_everywhere() => self.follow(found, cx),
            // Out of sync, or a primary no more: what it holds beyond the others is nothing that counts.
            (_, _, _) => self.step_down(cx),
        }
    }

    /// Goes by this epoch from now on, and by no older one ever again.
    pub(crate) fn see(&mut self, epoch: Epoch, cx: &mut Context<'_, P>) {
        if epoch > self.epoch_seen {
            self.epoch_seen = epoch;
            cx.out.push(Effect::KeepEpoch { epoch });
        }
    }

    /// Leaves what it was. Whoever counted on what it had promised counts on another incarnation.
    pub(crate) fn step_down(&mut self, cx: &mut Context<'_, P>) {
        let was = std::mem::replace(&mut self.role, Role::Idle(Idle::default()));
        match was {
            Role::Idle(_) => return,
            Role::Learner(learner) => {
                cx.out.push(Effect::Disconnect { peer: learner.teacher });
                if !learner.is_in() {
                    return cx.out.push(Effect::Forget);
                }
            }
            Role::Backup(_) | Role::Candidate(_) => {}
            Role::Leading(leading) => leading.depose(cx),
        }
        self.incarnation.0 += 1;
        cx.out.push(Effect::Reincarnated { incarnation: self.incarnation });
    }

    pub(crate) fn disconnected(&mut self, peer: PoolId, cx: &mut Context<'_, P>) {
        if !self.links.remove(&peer) {
            return;
        }
        match &mut self.role {
            Role::Learner(learner) if learner.teacher == peer => self.step_down(cx),
            Role::Leading(leading) => leading.broken(peer, cx.now),
            Role::Idle(_) | Role::Learner(_) | Role::Backup(_) | Role::Candidate(_) => {}
        }
    }

    fn connected(&mut self, peer: PoolId, cx: &mut Context<'_, P>) {
        if let Role::Leading(leading) = &mut self.role {
            leading.greet(peer, cx);
        }
    }

    /// The store has more of its own log.
    fn applied(&mut self, applied: u64, durable: u64, cx: &mut Context<'_, P>) {
        match &mut self.role {
            Role::Leading(leading) => {
                leading.log.note(applied, durable);
                self.advance(cx);
            }
            Role::Backup(backup) => {
                backup.log.note(applied, durable);
                backup.acknowledge(self.tight, cx);
            }
            Role::Learner(learner) => learner.note(applied, durable, self.tight, cx),
            // It has stopped acknowledging for good.
            Role::Candidate(candidate) => candidate.backup.log.note(applied, durable),
            Role::Idle(_) => {}
        }
    }

    /// Asks for another configuration than the one it goes by.
    pub(crate) fn propose(&self, configuration: Configuration, cx: &mut Context<'_, P>) {
        let proposal = Proposal { expected: configuration.epoch, proposer: (self.me, self.incarnation), configuration };
        cx.out.push(Effect::Propose(proposal));
    }

    /// What it goes by; 0 if it goes by none.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        match &self.role {
            Role::Idle(_) => Epoch(0),
            Role::Learner(learner) => learner.epoch,
            Role::Backup(backup) => backup.configuration.epoch,
            Role::Candidate(candidate) => candidate.backup.configuration.epoch,
            Role::Leading(leading) => leading.configuration.epoch,
        }
    }

    /// Which it is.
    #[must_use]
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// What it goes by as primary or backup.
    #[must_use]
    pub fn configuration(&self) -> Option<&Configuration> {
        match &self.role {
            Role::Idle(_) | Role::Learner(_) => None,
            Role::Backup(backup) => Some(&backup.configuration),
            Role::Candidate(candidate) => Some(&candidate.backup.configuration),
            Role::Leading(leading) => Some(&leading.configuration),
        }
    }

    /// What it is.
    #[must_use]
    pub fn status(&self) -> Status {
        let (role, received) = match &self.role {
            Role::Idle(_) => ("out", 0),
            Role::Learner(learner) => (if learner.is_in() { "joining" } else { "learner" }, learner.received()),
            Role::Backup(backup) => ("backup", backup.log.received()),
            Role::Candidate(candidate) => ("candidate", candidate.backup.log.received()),
            Role::Leading(leading) => (leading.stage.name(), leading.log.received()),
        };
        let copying = match &self.role {
            Role::Learner(learner) => learner.progress(),
            Role::Idle(_) | Role::Backup(_) | Role::Candidate(_) | Role::Leading(_) => None,
        };
        Status { role, epoch: self.epoch(), incarnation: self.incarnation, received, copying }
    }
}
