//! Who holds a replicated volume: decided here, one configuration after the other.
//!
//! Members ask for the next one; what is accepted, and what is decided without being asked for, is in the module
//! `decide`. The protocol that lives by it is proven in the crate `replication`, which has a type of the same shape: core
//! crates do not know each other.

use std::collections::BTreeMap;

use block::{Epoch, Incarnation, PoolId};

/// A volume's replicas that count, and the one among them that orders its writes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Configuration {
    /// Its number: every change has a higher one, and there is one configuration of a number.
    pub epoch: Epoch,
    /// Who orders writes; a member.
    pub primary: PoolId,
    /// The in-sync set: replicas that hold every acknowledged write, each as it was when it came in.
    pub members: BTreeMap<PoolId, Incarnation>,
    /// With fewer members nothing is written.
    pub members_min: usize,
    /// Raised when the volume came back from a loss of power with less than it had acknowledged: clients must not go on
    /// with what they have in mind.
    pub cache_generation: u64,
    /// All members had been lost, or there were none, and the primary was chosen to go on from.
    pub recovery: bool,
}

/// A configuration that a member wants in the place of one it knows. The rest of it is not the member's to say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proposal {
    /// The configuration it replaces.
    pub expected: Epoch,
    /// Who wants it.
    pub proposer: (PoolId, Incarnation),
    /// Who is to order writes.
    pub primary: PoolId,
    /// Who is to count.
    pub members: BTreeMap<PoolId, Incarnation>,
}

impl Configuration {
    /// Whether the replica counts, as it is now.
    #[must_use]
    pub fn has(&self, replica: PoolId, incarnation: Incarnation) -> bool {
        self.members.get(&replica) == Some(&incarnation)
    }

    /// Nobody has it yet: the only member is what the volume begins with, or goes on from.
    pub(crate) fn of_one(
        epoch: Epoch,
        (pool, incarnation): (PoolId, Incarnation),
        members_min: usize,
        cache_generation: u64,
    ) -> Self {
        let members = BTreeMap::from([(pool, incarnation)]);
        Self { epoch, primary: pool, members, members_min, cache_generation, recovery: true }
    }

    /// The epoch after this one.
    pub(crate) fn next_epoch(&self) -> Epoch {
        Epoch(self.epoch.0.checked_add(1).expect("a volume does not change four billion times"))
    }
}

/// How many members must be there for writes, when `wanted` is asked for. It is lowered at once, and raised as far as
/// there are members: whoever asks for more copies does not ask for a pause until they are there.
pub(crate) fn members_min(now: usize, wanted: usize, members: usize) -> usize {
    if wanted <= now { wanted } else { now.max(wanted.min(members)) }
}

#[cfg(test)]
mod tests {
    use super::members_min;

    #[test]
    fn the_limit_for_writes_never_stops_a_volume_that_has_its_members() {
        let rows = [
            // now, wanted, members, then
            (1, 1, 1, 1),
            (1, 2, 1, 1),
            (1, 2, 2, 2),
            (1, 3, 2, 2),
            (2, 3, 1, 2),
            (2, 1, 1, 1),
            (3, 2, 1, 2),
        ];
        for (now, wanted, members, then) in rows {
            assert_eq!(members_min(now, wanted, members), then, "{now} to {wanted} with {members}");
        }
    }
}
