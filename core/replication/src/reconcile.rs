//! A new primary brings the members' logs together before it serves: roll forward only, for a block has no way back.

use block::{PoolId, WriteSeq};

use crate::configuration::Configuration;
use crate::entry::Entry;
use crate::event::Effect;
use crate::lead::{Leading, Session, Stage};
use crate::log::Log;
use crate::message::Message;
use crate::replica::{Context, Replica, Role};

impl<P: Clone> Leading<P> {
    /// Goes as far as it can.
    pub fn reconcile(&mut self, cx: &mut Context<'_, P>) {
        let Stage::Reconciling { fetching, pushed } = self.stage else { return };
        if self.members.values().any(|member| member.position.is_none()) {
            return;
        }
        let longest = self.members.iter().max_by_key(|(_, member)| member.position);
        if let Some((peer, position)) = longest.and_then(|(peer, member)| Some((*peer, member.position?)))
            && position > self.log.received()
        {
            if !fetching {
                self.stage = Stage::Reconciling { fetching: true, pushed };
                let message = Message::Fetch { epoch: self.configuration.epoch, after: self.log.received() };
                cx.out.push(Effect::Send { to: peer, message });
            }
            return;
        }
        if !pushed {
            self.stage = Stage::Reconciling { fetching, pushed: true };
            let positions: Vec<(PoolId, u64)> =
                self.members.iter().filter_map(|(peer, member)| Some((*peer, member.position?))).collect();
            positions.into_iter().for_each(|(peer, position)| self.open(peer, position, cx));
        }
        let last = self.log.received();
        let complete = self.log.applied() >= last && self.members.values().all(|member| member.applied >= last);
        if complete && (self.predecessor.is_none() || cx.now >= self.not_before) {
            self.stage = Stage::Active;
        }
    }

    /// From now on the member gets every change, and first what it lacks.
    pub fn open(&mut self, peer: PoolId, received: u64, cx: &mut Context<'_, P>) {
        let Some(member) = self.members.get_mut(&peer) else { return };
        member.session = Session::Open;
        for entry in self.log.after(received) {
            let message = Message::Prepare {
                epoch: self.configuration.epoch,
                entry: entry.clone(),
                acked: 0,
                stable: WriteSeq::ZERO,
            };
            cx.out.push(Effect::Send { to: peer, message });
        }
    }
}

impl<P: Clone> Replica<P> {
    /// The control plane has made this backup primary.
    pub(crate) fn take_over(&mut self, configuration: Configuration, cx: &mut Context<'_, P>) {
        self.see(configuration.epoch, cx);
        let role = std::mem::replace(&mut self.role, Role::Idle(crate::join::Idle::default()));
        let backup = match role {
            Role::Backup(backup) => backup,
            Role::Candidate(candidate) => candidate.backup,
            Role::Idle(_) | Role::Learner(_) | Role::Leading(_) => unreachable!("only backups take over"),
        };
        let stage = Stage::Reconciling { fetching: false, pushed: false };
        let mut leading = Leading::new(self.me, configuration.clone(), backup.log, stage, self.stable);
        leading.predecessor = Some(backup.configuration.primary);
        leading.not_before = backup.promise;
        self.lead(leading, configuration, cx);
    }

    /// All members were lost, and this replica was chosen to go on from.
    pub(crate) fn recover(&mut self, configuration: Configuration, cx: &mut Context<'_, P>) {
        self.see(configuration.epoch, cx);
        let seq = WriteSeq { epoch: configuration.epoch, n: self.last };
        let log = Log::starting_after(self.last, []);
        let leading = Leading::new(self.me, configuration.clone(), log, Stage::Restamping, self.stable);
        self.lead(leading, configuration, cx);
        // What was not flushed may be something else on every replica: whoever comes back must copy it from here.
        cx.out.push(Effect::Restamp { seq });
    }

    fn lead(&mut self, mut leading: Leading<P>, configuration: Configuration, cx: &mut Context<'_, P>) {
        leading.go_by(configuration, cx.now);
        leading.greet_all(&self.links, cx);
        self.role = Role::Leading(Box::new(leading));
        self.advance(cx);
    }

    pub(crate) fn restamped(&mut self, cx: &mut Context<'_, P>) {
        if let Role::Leading(leading) = &mut self.role
            && leading.stage == Stage::Restamping
        {
            leading.stage = Stage::Active;
            self.advance(cx);
        }
    }

    /// The changes it lacked.
    pub(crate) fn fetched(&mut self, entries: Vec<Entry<P>>, cx: &mut Context<'_, P>) {
        let Role::Leading(leading) = &mut self.role else { return };
        let Stage::Reconciling { pushed, .. } = leading.stage else { return };
        leading.stage = Stage::Reconciling { fetching: false, pushed };
        for entry in entries {
            if entry.seq.n == leading.log.received() + 1 {
                self.last = self.last.max(entry.seq.n);
                leading.log.push(entry.clone());
                cx.out.push(Effect::Apply { entry });
            }
        }
        self.advance(cx);
    }
}
