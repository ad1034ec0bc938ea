//! Members that answer and do not keep up: a device that hangs, or is many times slower than the others.
//!
//! Clients wait for every member, so the slowest one is what they see. A member that lacks for too long what this replica has
//! had goes, as if it did not answer, unless too few would be left. A primary that lacks for too long what a member has lets
//! the others go on. Every time that a member goes and comes back clients wait: who had to go for this, or was not heard more
//! than once, comes back after a pause only, each time a longer one. That a process ended is not counted.

use std::collections::BTreeMap;
use std::time::Duration;

use block::{Instant, PoolId};

use crate::event::{Effect, Times};
use crate::lead::{Leading, Session, Stage};
use crate::replica::Context;

/// The pause doubles so often.
const DOUBLINGS_MAX: u32 = 5;

/// What a replica lacks, and since when.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Stall(Option<Lack>);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Lack {
    reach: Reach,
    since: Instant,
}

/// How far a store is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Reach {
    applied: u64,
    durable: u64,
}

/// Of a member that had to go: it is not taught before, and how often that was.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pause {
    until: Instant,
    times: u32,
}

impl Reach {
    fn lacks(self, other: Self) -> bool {
        self.applied < other.applied || self.durable < other.durable
    }

    /// As far as anybody waits for stable media: up to this change.
    fn awaited(self, upto: u64) -> Self {
        Self { durable: self.durable.min(upto), ..self }
    }
}

impl Stall {
    fn look(&mut self, now: Instant, own: Reach, others: Reach) {
        if !self.0.is_some_and(|lack| own.lacks(lack.reach)) {
            self.0 = own.lacks(others).then_some(Lack { reach: others, since: now });
        }
    }

    fn is_longer(&self, now: Instant, time: Duration) -> bool {
        self.0.is_some_and(|lack| now >= lack.since + time)
    }
}

impl<P: Clone> Leading<P> {
    /// Looks who keeps up; answers whether this replica does.
    pub fn look_for_stalls(&mut self, times: &Times, cx: &mut Context<'_, P>) -> bool {
        if self.stage != Stage::Active {
            self.stall = Stall::default();
            self.members.values_mut().for_each(|member| member.stall = Stall::default());
            return true;
        }
        let flush = self.flight.durable.front().map_or(0, |(seq, _)| seq.n);
        let own = Reach { applied: self.log.applied(), durable: self.log.durable() };
        let mut most = own;
        for member in self.members.values_mut() {
            let reach = Reach { applied: member.applied, durable: member.durable };
            match member.session {
                Session::Open => member.stall.look(cx.now, reach, own.awaited(flush)),
                // That it does not answer is another matter.
                Session::Broken(_) | Session::Asked(_) => member.stall = Stall::default(),
            }
            most = Reach { applied: most.applied.max(reach.applied), durable: most.durable.max(reach.durable) };
        }
        self.stall.look(cx.now, own, most.awaited(flush));
        if let Some(peer) = self.entering.filter(|peer| self.is_stalled(*peer, cx.now, times)) {
            self.pupils.remove(&peer);
            self.rest(peer, cx.now, times);
            cx.out.push(Effect::Disconnect { peer });
        }
        // The others are given the time to be removed first.
        !self.stall.is_longer(cx.now, times.stall * 3 / 2)
    }

    fn is_stalled(&self, peer: PoolId, now: Instant, times: &Times) -> bool {
        self.members.get(&peer).is_some_and(|member| member.stall.is_longer(now, times.stall))
    }

    /// Members that do not keep up, as many of them as can be done without when so many others go.
    pub fn stalled(&self, going: usize, now: Instant, times: &Times) -> Vec<PoolId> {
        let staying = self.configuration.members.len() - going;
        let spare = staying.saturating_sub(self.configuration.members_min.max(1));
        self.configuration.others(self.me).filter(|peer| self.is_stalled(*peer, now, times)).take(spare).collect()
    }

    /// The replica is not taught again at once; but if it was only not heard, the first time does not count, and the others
    /// count for less.
    pub fn rest(&mut self, peer: PoolId, now: Instant, times: &Times) {
        let is_recent = |pause: &&Pause| now < pause.until + times.stall_pause * (1 << DOUBLINGS_MAX);
        let before = self.pauses.get(&peer).filter(is_recent).map_or(0, |pause| pause.times);
        let longer = |pause: Duration, times: u32| pause * (1 << times.min(DOUBLINGS_MAX));
        let pause = match before.checked_sub(1) {
            _ if self.is_stalled(peer, now, times) => longer(times.stall_pause, before),
            Some(again) => longer(times.stall_pause / 5, again),
            None => Duration::ZERO,
        };
        self.pauses.insert(peer, Pause { until: now + pause, times: before + 1 });
    }

    /// Whether it may be taught again.
    pub fn has_rested(&self, peer: PoolId, now: Instant) -> bool {
        self.pauses.get(&peer).is_none_or(|pause| now >= pause.until)
    }
}

/// Of members that had to go.
pub(crate) type Pauses = BTreeMap<PoolId, Pause>;
