//! The control plane: decides on configurations, one by one, from proposals that come late, twice, or never.

use std::collections::{BTreeMap, VecDeque};

use block::{Epoch, Incarnation, PoolId};
use replication::{Configuration, Proposal, Wanted};

use tests::random::Random;

/// What a replica has said of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Registration {
    pub incarnation: Incarnation,
    /// The one before ended without a loss of power.
    pub warm: bool,
    pub since: u64,
}

pub struct Control {
    pub decided: Configuration,
    pub wanted: Wanted,
    pub proposals: VecDeque<Proposal>,
    pub registered: BTreeMap<PoolId, Registration>,
    pub changes: u64,
}

/// Who could be chosen when all members are lost.
#[derive(Clone, Copy, Debug)]
pub struct Source {
    pub replica: PoolId,
    pub incarnation: Incarnation,
    pub warm: bool,
}

impl Control {
    pub fn new(decided: Configuration) -> Self {
        let wanted = Wanted { copies: decided.members_min, ..Wanted::default() };
        Self { decided, wanted, proposals: VecDeque::new(), registered: BTreeMap::new(), changes: 0 }
    }

    /// Looks at one of the proposals.
    pub fn decide(&mut self, random: &mut Random, is_cut_off: impl Fn(PoolId) -> bool) {
        if self.proposals.is_empty() {
            return;
        }
        let index = random.index(self.proposals.len());
        if is_cut_off(self.proposals[index].proposer.0) {
            return;
        }
        let proposal = self.proposals.remove(index).unwrap();
        if !random.percent(10) {
            self.decide_on(proposal);
        }
    }

    /// Accepts a proposal, or not.
    pub fn decide_on(&mut self, proposal: Proposal) {
        if self.accepts(&proposal) {
            self.decided = proposal.configuration;
            self.decided.epoch = Epoch(proposal.expected.0 + 1);
            self.changes += 1;
        }
    }

    fn accepts(&self, proposal: &Proposal) -> bool {
        let Configuration { members, primary, .. } = &proposal.configuration;
        let (proposer, incarnation) = proposal.proposer;
        proposal.expected == self.decided.epoch
            && self.decided.has(proposer, incarnation)
            && members.contains_key(primary)
            && members.iter().all(|(member, incarnation)| match self.decided.members.get(member) {
                Some(before) => before == incarnation,
                None => {
                    self.wanted.has(*member)
                        && self.registered.get(member).is_some_and(|now| now.incarnation == *incarnation)
                }
            })
    }

    /// Members that are back as something else, and could be gone on from: only of the last set, for others may lack what
    /// was acknowledged.
    pub fn sources(&self) -> Vec<Source> {
        let members = self.decided.members.iter();
        let back = members.filter_map(|(replica, before)| {
            let now = self.registered.get(replica)?;
            let warm = now.warm && now.incarnation.0 == before.0 + 1;
            (now.incarnation != *before).then_some(Source { replica: *replica, incarnation: now.incarnation, warm })
        });
        back.collect()
    }

    /// Goes on from a replica that was no member.
    pub fn force(&mut self, replica: PoolId, incarnation: Incarnation) {
        self.recover(Source { replica, incarnation, warm: false });
        self.decided.history = self.decided.epoch;
    }

    /// Goes on from one replica.
    pub fn recover(&mut self, source: Source) {
        self.decided = Configuration {
            epoch: Epoch(self.decided.epoch.0 + 1),
            primary: source.replica,
            members: BTreeMap::from([(source.replica, source.incarnation)]),
            cache_generation: self.decided.cache_generation + u64::from(!source.warm),
            recovery: true,
            ..self.decided.clone()
        };
        self.changes += 1;
    }
}
