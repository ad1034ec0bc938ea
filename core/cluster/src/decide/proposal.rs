//! Whether a configuration that a member asks for becomes the next one. Proposals come late, twice, or after the member was
//! removed: only what fits the configuration in force is accepted.

use block::{Epoch, Incarnation, PoolId};

use crate::configuration::{Configuration, Proposal, members_min};
use crate::replica::{Fate, Replica};
use crate::replication::Replication;
use crate::volume::Volume;

/// Why a proposal was not accepted. Nothing was changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotAccepted {
    /// There is no configuration to replace.
    #[error("the volume has no configuration yet")]
    Unmade,
    /// Something newer than what is known here may be somewhere.
    #[error("something newer than what these voters know may be somewhere: an operator has to say what to go on from")]
    InDoubt,
    /// It replaces another configuration than the one in force.
    #[error("epoch {in_force} is in force, and the proposal replaces epoch {expected}")]
    Late {
        /// What it replaces.
        expected: Epoch,
        /// What is in force.
        in_force: Epoch,
    },
    /// Only members propose, each as it was when it became one.
    #[error("pool {pool} in incarnation {incarnation} is no member")]
    NotMember {
        /// Who proposed.
        pool: PoolId,
        /// As what.
        incarnation: Incarnation,
    },
    /// The primary must be a member.
    #[error("pool {0} is to be primary and no member")]
    Primary(PoolId),
    /// A member stays what it is, or goes.
    #[error("member {0} is to be another incarnation of itself")]
    Changed(PoolId),
    /// A new member is a replica that is wanted, and was reported in the very incarnation.
    #[error("pool {0} is no replica that is wanted, or is not known to be there in that incarnation")]
    Unregistered(PoolId),
}

impl Volume {
    /// What the proposal leads to; `None` when it is what is in force already.
    pub(crate) fn judge(&self, proposal: &Proposal) -> Result<Option<Configuration>, NotAccepted> {
        let Some(Replication { configuration: in_force, .. }) = &self.replication else {
            return Err(NotAccepted::Unmade);
        };
        if is_repeated(proposal, in_force) {
            return Ok(None);
        }
        check_proposer(proposal, in_force)?;
        for (pool, incarnation) in &proposal.members {
            self.check_member(in_force, *pool, *incarnation)?;
        }
        let Proposal { primary, members, .. } = proposal.clone();
        let members_min = members_min(in_force.members_min, self.spec.writable_with(), members.len());
        let cache_generation = in_force.cache_generation;
        let epoch = in_force.next_epoch();
        Ok(Some(Configuration { epoch, primary, members, members_min, cache_generation, recovery: false }))
    }

    fn check_member(
        &self,
        in_force: &Configuration,
        pool: PoolId,
        incarnation: Incarnation,
    ) -> Result<(), NotAccepted> {
        match in_force.members.get(&pool) {
            Some(before) if *before == incarnation => Ok(()),
            Some(_) => Err(NotAccepted::Changed(pool)),
            None if self.replicas.get(&pool).is_some_and(|replica| may_join(replica, incarnation)) => Ok(()),
            None => Err(NotAccepted::Unregistered(pool)),
        }
    }
}

/// The answer to the first was lost on its way.
fn is_repeated(proposal: &Proposal, in_force: &Configuration) -> bool {
    let follows = proposal.expected.0.checked_add(1) == Some(in_force.epoch.0);
    follows && !in_force.recovery && proposal.primary == in_force.primary && proposal.members == in_force.members
}

fn check_proposer(proposal: &Proposal, in_force: &Configuration) -> Result<(), NotAccepted> {
    if proposal.expected != in_force.epoch {
        return Err(NotAccepted::Late { expected: proposal.expected, in_force: in_force.epoch });
    }
    let (pool, incarnation) = proposal.proposer;
    if !in_force.has(pool, incarnation) {
        return Err(NotAccepted::NotMember { pool, incarnation });
    }
    if !proposal.members.contains_key(&proposal.primary) {
        return Err(NotAccepted::Primary(proposal.primary));
    }
    Ok(())
}

/// One that is on its way out does not come in again: it may be deleted by now.
fn may_join(replica: &Replica, incarnation: Incarnation) -> bool {
    let is_wanted = match replica.fate {
        Fate::Stays | Fate::Moves(_) => true,
        Fate::Goes => false,
    };
    is_wanted && replica.standing().is_some_and(|standing| standing.incarnation == incarnation)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use block::{Epoch, Incarnation, PoolId};

    use super::NotAccepted;
    use crate::configuration::Proposal;
    use crate::replica::{Fate, Observed};
    use crate::volume::tests::{members, present, replicated};

    fn proposal(expected: u32, proposer: (u128, u64), primary: u128, of: &[(u128, u64)]) -> Proposal {
        let (pool, incarnation) = proposer;
        Proposal {
            expected: Epoch(expected),
            proposer: (PoolId(pool), Incarnation(incarnation)),
            primary: PoolId(primary),
            members: members(of),
        }
    }

    /// Pools 1 (primary) and 2 are members of epoch 7 as incarnations 11 and 12; 3 is there as 13, 4 as 14 and on its way
    /// out, 5 is not heard.
    #[test]
    fn a_proposal_is_accepted_only_from_a_member_and_for_members_as_they_are() {
        let mut volume = replicated(7, 1, &[(1, 11), (2, 12)]);
        for (pool, observed, fate) in
            [(3, present(13), Fate::Stays), (4, present(14), Fate::Goes), (5, Observed::Unknown, Fate::Stays)]
        {
            let replica = crate::replica::Replica { observed, fate, ..volume.replicas[&PoolId(1)].clone() };
            volume.replicas.insert(PoolId(pool), replica);
        }
        let late = |expected| Some(NotAccepted::Late { expected: Epoch(expected), in_force: Epoch(7) });
        let stranger = |pool, incarnation| {
            Some(NotAccepted::NotMember { pool: PoolId(pool), incarnation: Incarnation(incarnation) })
        };
        let rows = [
            ("shrink", proposal(7, (1, 11), 1, &[(1, 11)]), None),
            ("failover", proposal(7, (2, 12), 2, &[(2, 12)]), None),
            ("hand-over", proposal(7, (1, 11), 2, &[(1, 11), (2, 12)]), None),
            ("nothing", proposal(7, (1, 11), 1, &[(1, 11), (2, 12)]), None),
            ("grow", proposal(7, (1, 11), 1, &[(1, 11), (2, 12), (3, 13)]), None),
            ("late", proposal(6, (1, 11), 1, &[(1, 11)]), late(6)),
            ("early", proposal(8, (1, 11), 1, &[(1, 11)]), late(8)),
            ("of a member that was started anew", proposal(7, (2, 13), 2, &[(2, 12)]), stranger(2, 13)),
            ("of a replica that is no member", proposal(7, (3, 13), 3, &[(3, 13)]), stranger(3, 13)),
            ("without a primary", proposal(7, (1, 11), 3, &[(1, 11)]), Some(NotAccepted::Primary(PoolId(3)))),
            ("of nobody", proposal(7, (1, 11), 1, &[]), Some(NotAccepted::Primary(PoolId(1)))),
            (
                "with a member as another",
                proposal(7, (1, 11), 1, &[(1, 11), (2, 13)]),
                Some(NotAccepted::Changed(PoolId(2))),
            ),
            (
                "with one that was started anew since",
                proposal(7, (1, 11), 1, &[(1, 11), (3, 12)]),
                Some(NotAccepted::Unregistered(PoolId(3))),
            ),
            (
                "with one that is to go",
                proposal(7, (1, 11), 1, &[(1, 11), (4, 14)]),
                Some(NotAccepted::Unregistered(PoolId(4))),
            ),
            (
                "with one that is not heard",
                proposal(7, (1, 11), 1, &[(1, 11), (5, 15)]),
                Some(NotAccepted::Unregistered(PoolId(5))),
            ),
            (
                "with one that is no replica",
                proposal(7, (1, 11), 1, &[(1, 11), (6, 16)]),
                Some(NotAccepted::Unregistered(PoolId(6))),
            ),
        ];
        for (what, proposal, refused) in rows {
            match volume.judge(&proposal) {
                Ok(Some(next)) => {
                    assert_eq!(refused, None, "{what}");
                    assert_eq!((next.epoch, &next.members), (Epoch(8), &proposal.members), "{what}");
                    assert!(!next.recovery && next.primary == proposal.primary, "{what}");
                }
                Ok(None) => panic!("{what} is not in force yet"),
                Err(found) => assert_eq!(Some(found), refused, "{what}"),
            }
        }
    }

    #[test]
    fn a_proposal_that_comes_twice_is_answered_as_the_first() {
        let mut volume = replicated(7, 1, &[(1, 11), (2, 12)]);
        let shrink = proposal(7, (1, 11), 1, &[(1, 11)]);
        let next = volume.judge(&shrink).unwrap().expect("it is new");
        volume.replication.as_mut().unwrap().configuration = next.clone();
        assert_eq!(volume.judge(&shrink), Ok(None));
        let other = proposal(7, (2, 12), 2, &[(2, 12)]);
        assert!(matches!(volume.judge(&other), Err(NotAccepted::Late { .. })));
        assert_eq!(volume.replication.unwrap().configuration.members, BTreeMap::from([(PoolId(1), Incarnation(11))]));
    }
}
