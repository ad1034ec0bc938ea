//! A planned change of primary: nothing is admitted any more, everything in flight ends, and another member takes over
//! from where all are.

use block::PoolId;

use crate::lead::{Leading, Session, Stage};
use crate::replica::{Context, Replica, Role};

impl<P: Clone> Leading<P> {
    /// Who may be primary instead now.
    pub fn may_hand_over(&self) -> Option<PoolId> {
        let to = self.successor?;
        let idle = self.flight.is_empty() && self.is_everywhere();
        let reached = self.members.get(&to).is_some_and(|member| member.session == Session::Open);
        (idle && reached && self.configuration.members.contains_key(&to)).then_some(to)
    }

    /// Whether everything it ever admitted is in every member's log, so that it can follow another primary as it is.
    pub fn is_everywhere(&self) -> bool {
        self.stage == Stage::Active && self.acked() == self.log.received()
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
