//! A backup: takes what the primary sends, promises not to seek primacy as long as it hears it, and seeks it afterwards.

use block::{Epoch, Instant, WriteSeq};

use block::PoolId;

use crate::configuration::Configuration;
use crate::entry::Entry;
use crate::event::Effect;
use crate::log::Log;
use crate::message::Message;
use crate::replica::{Context, Replica, Role};

/// An in-sync replica that is not primary.
#[derive(Debug)]
pub(crate) struct Backup<P> {
    pub configuration: Configuration,
    pub log: Log<P>,
    /// Until then it does not seek primacy.
    pub promise: Instant,
    /// The send time of a new epoch that it has not answered, for it is not kept yet.
    pub unanswered: Option<Instant>,
}

/// A backup whose promise has expired. It acknowledges nothing of its epoch ever again: what it asked for may be decided
/// however late, and then nobody may count on more of it than it had.
#[derive(Debug)]
pub(crate) struct Candidate<P> {
    pub backup: Backup<P>,
    pub propose_at: Instant,
}

impl<P: Clone> Backup<P> {
    pub fn acknowledge(&self, tight: bool, cx: &mut Context<'_, P>) {
        let (applied, durable) = (self.log.applied(), self.log.durable());
        let message = Message::Ack { epoch: self.configuration.epoch, applied, durable, tight };
        cx.out.push(Effect::Send { to: self.configuration.primary, message });
    }
}

impl<P: Clone> Replica<P> {
    /// What came of an epoch, as far as this replica counts and is not primary.
    pub(crate) fn follow(&mut self, configuration: Configuration, cx: &mut Context<'_, P>) {
        self.see(configuration.epoch, cx);
        let promise = cx.now + self.times.promise;
        let role = std::mem::replace(&mut self.role, Role::Idle(crate::join::Idle::default()));
        let (log, before) = match role {
            Role::Backup(backup) => (backup.log, backup.promise),
            Role::Candidate(candidate) => (candidate.backup.log, candidate.backup.promise),
            Role::Learner(learner) => learner.into_log(),
            // It has handed over: what it has in its log everybody has.
            Role::Leading(leading) => {
                leading.depose(cx);
                (leading.log, Instant::default())
            }
            Role::Idle(_) => unreachable!("it cannot follow without joining"),
        };
        let promise = promise.max(before);
        self.role = Role::Backup(Backup { configuration, log, promise, unanswered: None });
    }

    /// The primary says what is in force.
    pub(crate) fn new_epoch(
        &mut self,
        from: PoolId,
        configuration: Configuration,
        sent: Instant,
        cx: &mut Context<'_, P>,
    ) {
        let counts = configuration.has(self.me, self.incarnation) && configuration.primary == from;
        let follows = match &self.role {
            Role::Backup(_) => true,
            Role::Learner(learner) => learner.is_in(),
            Role::Candidate(candidate) => configuration.epoch > candidate.backup.configuration.epoch,
            Role::Leading(leading) => configuration.epoch > leading.configuration.epoch && leading.is_everywhere(),
            Role::Idle(_) => false,
        };
        if !counts || !follows || configuration.epoch < self.epoch_seen {
            return;
        }
        self.follow(configuration, cx);
        if let Role::Backup(backup) = &mut self.role {
            backup.promise = cx.now + self.times.promise;
            backup.unanswered = Some(sent);
        }
        self.answer_new_epoch(cx);
    }

    /// Says how far it is, once the epoch is kept.
    pub(crate) fn answer_new_epoch(&mut self, cx: &mut Context<'_, P>) {
        if let Role::Backup(backup) = &mut self.role
            && self.epoch_kept >= backup.configuration.epoch
            && let Some(sent) = backup.unanswered.take()
        {
            let message = Message::EpochAck {
                epoch: backup.configuration.epoch,
                received: backup.log.received(),
                applied: backup.log.applied(),
                durable: backup.log.durable(),
                sent,
            };
            cx.out.push(Effect::Send { to: backup.configuration.primary, message });
        }
    }

    pub(crate) fn heartbeat(
        &mut self,
        from: PoolId,
        epoch: Epoch,
        sent: Instant,
        unheard: bool,
        cx: &mut Context<'_, P>,
    ) {
        let promise = match &mut self.role {
            Role::Backup(backup) if backup.configuration.primary == from && backup.configuration.epoch == epoch => {
                &mut backup.promise
            }
            Role::Learner(learner) if learner.teacher == from && learner.epoch == epoch => {
                let Some(promise) = learner.promise() else { return };
                promise
            }
            _ => return,
        };
        // Neither an answer nor a promise to a primary that does not hear the answers: somebody has to give way.
        if unheard {
            return;
        }
        *promise = cx.now + self.times.promise;
        cx.out.push(Effect::Send { to: from, message: Message::HeartbeatAck { epoch, sent, tight: self.tight } });
    }

    /// The next change, if it is.
    pub(crate) fn prepare(&mut self, from: PoolId, epoch: Epoch, entry: Entry<P>, cx: &mut Context<'_, P>) {
        let n = entry.seq.n;
        let log = match &mut self.role {
            Role::Backup(backup) if backup.configuration.primary == from && backup.configuration.epoch == epoch => {
                &mut backup.log
            }
            Role::Learner(learner) if learner.teacher == from && learner.epoch == epoch => {
                let Some(log) = learner.log() else { return };
                log
            }
            _ => return,
        };
        if n == log.received() + 1 {
            log.push(entry.clone());
            self.last = self.last.max(n);
            cx.out.push(Effect::Apply { entry });
        } else if n <= log.received()
            && let Role::Backup(backup) = &self.role
        {
            backup.acknowledge(self.tight, cx);
        }
    }

    /// What the primary knows of all members.
    pub(crate) fn told(&mut self, from: PoolId, epoch: Epoch, acked: u64, stable: WriteSeq, cx: &mut Context<'_, P>) {
        if let Role::Backup(backup) = &mut self.role
            && backup.configuration.primary == from
            && backup.configuration.epoch == epoch
        {
            backup.log.forget(acked);
            self.announce(stable, cx);
        }
    }

    /// The common stable point moves forward.
    pub(crate) fn announce(&mut self, stable: WriteSeq, cx: &mut Context<'_, P>) {
        if stable > self.stable {
            self.stable = stable;
            cx.out.push(Effect::KeepStable { seq: stable });
        }
    }

    /// A new primary lacks some changes.
    pub(crate) fn fetch(&self, from: PoolId, epoch: Epoch, after: u64, cx: &mut Context<'_, P>) {
        if let Role::Backup(backup) = &self.role
            && backup.configuration.epoch == epoch
        {
            let entries = backup.log.after(after).cloned().collect();
            cx.out.push(Effect::Send { to: from, message: Message::Entries { epoch, entries } });
        }
    }

    /// The promise has expired.
    pub(crate) fn seek(&mut self, cx: &mut Context<'_, P>) {
        match std::mem::replace(&mut self.role, Role::Idle(crate::join::Idle::default())) {
            Role::Backup(backup) if cx.now >= backup.promise => {
                self.role = Role::Candidate(Candidate { backup, propose_at: cx.now });
            }
            role => self.role = role,
        }
        if let Role::Candidate(candidate) = &mut self.role
            && cx.now >= candidate.propose_at
        {
            candidate.propose_at = cx.now + self.times.retry;
            let mut wanted = candidate.backup.configuration.successor();
            wanted.members.remove(&wanted.primary);
            wanted.primary = self.me;
            self.propose(wanted, cx);
        }
    }
}
