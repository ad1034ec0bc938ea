//! The control plane, as far as replicas need one: decides on configurations, one by one.

use std::collections::BTreeMap;

use block::{Epoch, Incarnation, PoolId};
use node::CopyObservation;
use replication::{Configuration, Proposal};

pub struct Decider {
    pub decided: Configuration,
    pub registered: BTreeMap<PoolId, CopyObservation>,
    /// Proposals that were not looked at.
    pub proposals: Vec<Proposal>,
    /// Configurations so far.
    pub changes: u64,
}

impl Decider {
    pub fn new(members_min: usize) -> Self {
        let decided = Configuration {
            epoch: Epoch(0),
            primary: PoolId(0),
            members: BTreeMap::new(),
            members_min,
            cache_generation: 0,
            history: Epoch(0),
            recovery: false,
        };
        Self { decided, registered: BTreeMap::new(), proposals: Vec::new(), changes: 0 }
    }

    /// The volume's first configuration: one replica, from which the others copy.
    pub fn begin(&mut self, primary: PoolId) {
        let incarnation = self.registered[&primary].incarnation;
        self.change(Configuration {
            primary,
            members: BTreeMap::from([(primary, incarnation)]),
            recovery: true,
            ..self.decided.clone()
        });
    }

    fn change(&mut self, wanted: Configuration) {
        self.decided = Configuration { epoch: Epoch(self.decided.epoch.0 + 1), ..wanted };
        self.changes += 1;
    }

    /// Looks at what was proposed; whether anything was decided.
    pub fn decide(&mut self) -> bool {
        let before = self.decided.epoch;
        for proposal in std::mem::take(&mut self.proposals) {
            if self.accepts(&proposal) {
                self.change(proposal.configuration);
            }
        }
        self.decided.epoch != before
    }

    fn accepts(&self, proposal: &Proposal) -> bool {
        let Configuration { members, primary, .. } = &proposal.configuration;
        let (proposer, incarnation) = proposal.proposer;
        let stays = |member: &PoolId, incarnation: &Incarnation| match self.decided.members.get(member) {
            Some(before) => before == incarnation,
            None => self.registered.get(member).is_some_and(|now| now.incarnation == *incarnation),
        };
        proposal.expected == self.decided.epoch
            && self.decided.has(proposer, incarnation)
            && members.contains_key(primary)
            && members.iter().all(|(member, incarnation)| stays(member, incarnation))
    }

    /// Goes on from one of the last members when none is as it was. `is_up` for longer than a promise lasts.
    pub fn recover(&mut self, is_up: impl Fn(PoolId) -> bool) -> bool {
        let as_it_was = |member: &PoolId, before: &Incarnation| {
            self.registered.get(member).is_none_or(|now| now.incarnation == *before)
        };
        if self.decided.members.iter().any(|(member, before)| as_it_was(member, before)) {
            return false;
        }
        // No power is lost in these tests, so any of them will do.
        let source = self.decided.members.keys().find_map(|member| {
            let now = self.registered.get(member).filter(|now| now.is_able && is_up(*member))?;
            Some((*member, now.incarnation))
        });
        let Some((primary, incarnation)) = source else { return false };
        let members = BTreeMap::from([(primary, incarnation)]);
        self.change(Configuration { primary, members, recovery: true, ..self.decided.clone() });
        true
    }
}
