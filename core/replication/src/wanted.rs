//! Which replicas the control plane wants, and what a primary does about those that it does not.
//!
//! A replica that is not wanted is not taught. As a member it is as good as any other until as many others as are wanted are
//! in sync and reached: only then the primary asks for a configuration without it. A primary that is not wanted lets a
//! member that is be primary.

use std::collections::BTreeSet;

use block::{Instant, PoolId};

use crate::event::{Effect, Times};
use crate::lead::{Leading, Session, Stage};
use crate::replica::{Context, Replica, Role};

/// What the control plane wants of a volume's replicas. Said whole, as often as one likes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Wanted {
    /// Replicas that are not wanted, this one perhaps among them. All others are.
    pub unwanted: BTreeSet<PoolId>,
    /// So many members stay when one that is not wanted goes.
    pub copies: usize,
}

impl Wanted {
    /// Whether the replica is wanted.
    #[must_use]
    pub fn has(&self, replica: PoolId) -> bool {
        !self.unwanted.contains(&replica)
    }
}

impl<P: Clone> Leading<P> {
    /// Members that are not wanted, as many of them as can be done without.
    pub fn superfluous(&self, wanted: &Wanted, now: Instant, times: &Times) -> Vec<PoolId> {
        if self.stage != Stage::Active {
            return Vec::new();
        }
        let is_reached = |peer: &PoolId| {
            self.members.get(peer).is_some_and(|member| member.session == Session::Open && !member.is_lost(now, times))
        };
        let reached = 1 + self.configuration.others(self.me).filter(is_reached).count();
        let spare = reached.saturating_sub(wanted.copies.max(self.configuration.members_min).max(1));
        self.configuration.others(self.me).filter(|peer| !wanted.has(*peer)).filter(is_reached).take(spare).collect()
    }

    /// Whoever is taught and is not wanted is taught no more.
    fn stop_teaching(&mut self, wanted: &Wanted, cx: &mut Context<'_, P>) {
        self.pupils.retain(|peer, _| {
            if !wanted.has(*peer) {
                cx.out.push(Effect::Disconnect { peer: *peer });
            }
            wanted.has(*peer)
        });
    }
}

impl<P: Clone> Replica<P> {
    /// The control plane says which replicas it wants.
    pub(crate) fn note_wanted(&mut self, wanted: Wanted, cx: &mut Context<'_, P>) {
        if self.wanted == wanted {
            return;
        }
        self.wanted = wanted;
        if let Role::Leading(leading) = &mut self.role {
            leading.stop_teaching(&self.wanted, cx);
            self.keep_leading(cx);
        }
    }
}
