//! Decides on the configurations of one volume, one by one, as the control plane does.

use std::collections::BTreeMap;

use block::{Epoch, Incarnation, PoolId};
use node::CopyObservation;
use node::{Configuration, Proposal};

pub struct Decider {
    pub decided: Configuration,
    /// What was heard last of each replica.
    pub registered: BTreeMap<PoolId, CopyObservation>,
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
        Self { decided, registered: BTreeMap::new() }
    }

    /// The first configuration: one replica, from which the others copy.
    pub fn begin(&mut self, primary: PoolId) {
        let members = BTreeMap::from([(primary, self.registered[&primary].incarnation)]);
        self.change(Configuration { primary, members, recovery: true, ..self.decided.clone() });
    }

    /// Accepts what a member wants, or not.
    pub fn decide(&mut self, proposal: Proposal) {
        let Configuration { members, primary, .. } = &proposal.configuration;
        let (proposer, incarnation) = proposal.proposer;
        let stays = |member: &PoolId, incarnation: &Incarnation| match self.decided.members.get(member) {
            Some(before) => before == incarnation,
            None => self.registered.get(member).is_some_and(|now| now.incarnation == *incarnation),
        };
        if proposal.expected == self.decided.epoch
            && self.decided.has(proposer, incarnation)
            && members.contains_key(primary)
            && members.iter().all(|(member, incarnation)| stays(member, incarnation))
        {
            self.change(proposal.configuration);
        }
    }

    /// When no member is as it was, goes on from one of them that is up for longer than a promise lasts.
    pub fn recover(&mut self, is_up: impl Fn(PoolId) -> bool) {
        let as_it_was = |member: &PoolId, before: &Incarnation| {
            self.registered.get(member).is_none_or(|now| now.incarnation == *before)
        };
        if self.decided.members.iter().any(|(member, before)| as_it_was(member, before)) {
            return;
        }
        let source = self.decided.members.keys().find(|member| is_up(**member)).copied();
        if let Some(primary) = source {
            let members = BTreeMap::from([(primary, self.registered[&primary].incarnation)]);
            self.change(Configuration { primary, members, recovery: true, ..self.decided.clone() });
        }
    }

    fn change(&mut self, wanted: Configuration) {
        self.decided = Configuration { epoch: Epoch(self.decided.epoch.0 + 1), ..wanted };
    }
}
