//! A planned change of primary: nothing is admitted any more, everything in flight ends, and another member takes over
//! from where all are.
//!
//! Clients wait meanwhile, and nobody but the control plane can end that. So it is tried for a moment only: when nothing was
//! decided by then, changes are admitted again, and it is tried once more later.

use block::{Instant, PoolId};

use crate::event::Times;
use crate::lead::{Leading, Session, Stage};
use crate::replica::{Context, Replica, Role};
use crate::wanted::Wanted;

/// How far it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum HandOver {
    /// Nobody is to be primary instead.
    No,
    /// Nothing is admitted, until then at most.
    Closed { to: PoolId, until: Instant },
    /// Nothing was decided in time. It is not tried again before.
    Paused { to: PoolId, until: Instant },
}

impl HandOver {
    /// When something is to be done about it.
    pub fn due(self) -> Option<Instant> {
        match self {
            Self::No => None,
            Self::Closed { until, .. } | Self::Paused { until, .. } => Some(until),
        }
    }

    /// Whether changes have to wait.
    pub fn is_closed(self) -> bool {
        matches!(self, Self::Closed { .. })
    }
}

impl<P: Clone> Leading<P> {
    /// Who may be primary instead now.
    pub fn may_hand_over(&self) -> Option<PoolId> {
        let HandOver::Closed { to, .. } = self.hand_over else { return None };
        let idle = self.flight.is_empty() && self.is_everywhere();
        (idle && self.is_open(to)).then_some(to)
    }

    /// Whether everything it ever admitted is in every member's log, so that it can follow another primary as it is.
    pub fn is_everywhere(&self) -> bool {
        self.stage == Stage::Active && self.acked() == self.log.received()
    }

    /// Whether it is a member that gets every change.
    fn is_open(&self, peer: PoolId) -> bool {
        self.configuration.members.contains_key(&peer)
            && self.members.get(&peer).is_some_and(|member| member.session == Session::Open)
    }

    /// Who is to be primary instead: who was asked for, or any that is wanted when this one is not.
    fn heir(&self, wanted: &Wanted) -> Option<PoolId> {
        let other = || self.configuration.others(self.me).find(|peer| wanted.has(*peer) && self.is_open(*peer));
        self.successor.or_else(|| if wanted.has(self.me) { None } else { other() })
    }

    /// Begins a hand-over that is wanted, and ends one that is not or that takes too long.
    pub fn keep_hand_over(&mut self, wanted: &Wanted, now: Instant, times: &Times) {
        let heir = self.heir(wanted).filter(|_| self.stage == Stage::Active);
        self.hand_over = match (self.hand_over, heir) {
            (_, None) => HandOver::No,
            (HandOver::Closed { to, until }, Some(heir)) if heir == to && now >= until => {
                HandOver::Paused { to, until: now + times.hand_over_pause }
            }
            (HandOver::Closed { to, until } | HandOver::Paused { to, until }, Some(heir))
                if heir == to && now < until =>
            {
                self.hand_over
            }
            (HandOver::No | HandOver::Closed { .. } | HandOver::Paused { .. }, Some(to)) => {
                HandOver::Closed { to, until: now + times.hand_over }
            }
        };
    }
}

impl<P: Clone> Replica<P> {
    /// Lets another member be primary, or not any more.
    pub(crate) fn hand_over(&mut self, to: Option<PoolId>, cx: &mut Context<'_, P>) {
        let Role::Leading(leading) = &mut self.role else { return };
        // What was asked for may be decided yet. That harms nothing: whoever becomes primary by it waits until this one goes
        // by it, or its promise has expired.
        leading.successor = to.filter(|to| *to != leading.me && leading.configuration.members.contains_key(to));
        self.keep_leading(cx);
    }
}
