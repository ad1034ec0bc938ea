//! What happens because time passes: heartbeats, members that do not answer, what was asked for and not answered.

use block::{Instant, PoolId};

use crate::configuration::Configuration;
use crate::event::{Content, Effect, Times};
use crate::lead::{Leading, Member, Pending, Session, Stage, Wish};
use crate::message::Message;
use crate::replica::{Context, Replica, Role};
use crate::wanted::Wanted;

impl<P: Clone> Replica<P> {
    pub(crate) fn tick(&mut self, content: &impl Content, cx: &mut Context<'_, P>) {
        self.go_by_newest(cx);
        match &mut self.role {
            Role::Idle(_) => self.join(content, cx),
            Role::Learner(_) => {}
            Role::Backup(_) | Role::Candidate(_) => self.seek(cx),
            Role::Leading(_) => self.keep_leading(cx),
        }
    }

    /// When [`crate::Event::Tick`] must come at the latest.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        match &self.role {
            Role::Idle(idle) => self.join_deadline(idle),
            Role::Learner(_) => None,
            Role::Backup(backup) => Some(backup.promise),
            Role::Candidate(candidate) => Some(candidate.propose_at),
            Role::Leading(leading) => {
                let lost = leading.members.values().map(|member| member.lost_at(&self.times));
                let change = match &leading.pending {
                    Some(pending) => Some(pending.retry_at),
                    None => lost.min(),
                };
                change.into_iter().chain([leading.beat_at(&self.times)]).chain(leading.hand_over.due()).min()
            }
        }
    }

    pub(crate) fn keep_leading(&mut self, cx: &mut Context<'_, P>) {
        let (times, links) = (self.times, &self.links);
        let Role::Leading(leading) = &mut self.role else { return };
        if cx.now >= leading.beat_at(&times) {
            leading.beaten = Some(cx.now);
            leading.beat_all(&times, cx);
            for peer in leading.unasked(cx.now, &times) {
                if links.contains(&peer) {
                    leading.greet(peer, cx);
                }
            }
        }
        if !leading.look_for_stalls(&times, cx) {
            return self.step_down(cx);
        }
        leading.drop_entering();
        leading.keep_hand_over(&self.wanted, cx.now, &times);
        let proposed = leading.reconfigure(&self.wanted, cx.now, &times);
        if leading.stage == Stage::Active {
            leading.teach(cx);
        }
        if let Some(proposed) = proposed {
            self.propose(proposed, cx);
        }
        self.advance(cx);
    }
}

impl<P: Clone> Leading<P> {
    /// When the next heartbeat is due: soon, as long as somebody has not answered the last one. Packets get lost, and one
    /// that was not heard for a few heartbeats has to go.
    fn beat_at(&self, times: &Times) -> Instant {
        let Some(last) = self.beaten else { return Instant::default() };
        let is_awaited = |member: &Member| member.session == Session::Open && member.heard < last;
        let pause = if self.members.values().any(is_awaited) { times.heartbeat / 4 } else { times.heartbeat };
        last + pause
    }

    fn beat_all(&self, times: &Times, cx: &mut Context<'_, P>) {
        for (peer, member) in &self.members {
            self.beat(*peer, cx.now >= member.heard + times.promise, cx);
        }
    }

    /// Asks for a promise.
    pub fn beat(&self, peer: PoolId, unheard: bool, cx: &mut Context<'_, P>) {
        let epoch = self.configuration.epoch;
        let message = Message::Heartbeat { epoch, sent: cx.now, unheard, acked: self.acked(), stable: self.stable };
        cx.out.push(Effect::Send { to: peer, message });
    }

    /// Members that have not said how far they are, and were not asked just now.
    fn unasked(&self, now: Instant, times: &Times) -> Vec<PoolId> {
        let reconciling = matches!(self.stage, Stage::Reconciling { .. });
        let is_unasked = |member: &Member| match member.session {
            Session::Asked(since) => now >= since + times.retry,
            Session::Broken(_) => true,
            Session::Open => reconciling && member.position.is_none(),
        };
        self.members.iter().filter(|(_, member)| is_unasked(member)).map(|(peer, _)| *peer).collect()
    }

    /// One that was entering and is not taught any more takes part no more, as soon as it cannot become a member.
    fn drop_entering(&mut self) {
        if let Some(peer) = self.entering
            && self.pending.is_none()
            && !self.pupils.contains_key(&peer)
        {
            self.entering = None;
            if !self.configuration.members.contains_key(&peer) {
                self.members.remove(&peer);
            }
        }
    }

    fn rest_if_there(&mut self, peer: PoolId, now: Instant, times: &Times) {
        let is_there = |member: &Member| !matches!(member.session, Session::Broken(_));
        if self.members.get(&peer).is_some_and(is_there) {
            self.rest(peer, now, times);
        }
    }

    /// What to ask the control plane for now.
    fn reconfigure(&mut self, wanted: &Wanted, now: Instant, times: &Times) -> Option<Configuration> {
        if self.pending.is_some_and(|pending| now < pending.retry_at) {
            return None;
        }
        let mut lost: Vec<PoolId> = self
            .configuration
            .others(self.me)
            .filter(|peer| self.members.get(peer).is_some_and(|member| member.is_lost(now, times)))
            .collect();
        let stalled = self.stalled(lost.len(), now, times);
        lost.extend(stalled.into_iter().filter(|peer| !lost.contains(peer)).collect::<Vec<_>>());
        let leaving = if lost.is_empty() { self.superfluous(wanted, now, times) } else { lost.clone() };
        let before = self.pending.map(|pending| pending.wish);
        if before != Some(Wish::Remove) {
            lost.iter().for_each(|peer| self.rest_if_there(*peer, now, times));
        }
        let (wish, proposed) = match before {
            Some(Wish::Add(peer)) if lost.is_empty() && self.with(peer).is_some() => {
                (Wish::Add(peer), self.with(peer)?)
            }
            Some(Wish::HandOver) | None if lost.is_empty() && self.may_hand_over().is_some() => {
                let primary = self.may_hand_over()?;
                (Wish::HandOver, Configuration { primary, ..self.configuration.successor() })
            }
            _ if !leaving.is_empty() => {
                let mut proposed = self.configuration.successor();
                leaving.iter().for_each(|peer| {
                    proposed.members.remove(peer);
                });
                (Wish::Remove, proposed)
            }
            // What was asked for is not wanted any more and may be decided yet, unless something else is before.
            Some(_) => (Wish::Nothing, self.configuration.successor()),
            None => return None,
        };
        self.pending = Some(Pending { wish, retry_at: now + times.retry });
        Some(proposed)
    }
}
