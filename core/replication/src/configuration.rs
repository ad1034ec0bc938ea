//! Who holds a volume: decided by the control plane, one configuration after the other.

use std::collections::BTreeMap;

use block::{Epoch, Incarnation, PoolId, WriteSeq};

/// A volume's replicas that count, and the one among them that orders its writes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Configuration {
    /// Its number: every change has a higher one, and there is one configuration of a number.
    pub epoch: Epoch,
    /// Who orders writes; a member.
    pub primary: PoolId,
    /// The in-sync set: replicas that hold every acknowledged write, each as it was when it came in. One that was started
    /// anew since has another incarnation and is not meant.
    pub members: BTreeMap<PoolId, Incarnation>,
    /// With fewer members nothing is written.
    pub members_min: usize,
    /// Raised when the volume came back from a loss of power with less than it had acknowledged (never less than it had
    /// flushed): clients must not go on with what they have in mind.
    pub cache_generation: u64,
    /// The first epoch of this history. Before it an operator made a replica primary that may have lacked what others
    /// had: the common stable points of older epochs say nothing about this one.
    pub history: Epoch,
    /// All members had been lost, and this one's next incarnation was chosen to go on from. Every replica that comes
    /// back copies from it.
    pub recovery: bool,
}

impl Configuration {
    /// Whether the replica counts, as it is now.
    #[must_use]
    pub fn has(&self, replica: PoolId, incarnation: Incarnation) -> bool {
        self.members.get(&replica) == Some(&incarnation)
    }

    /// From which point on a replica with this common stable point may differ.
    pub(crate) fn comparable(&self, stable: WriteSeq) -> WriteSeq {
        if stable.epoch < self.history { WriteSeq::ZERO } else { stable }
    }

    /// Every member but this one.
    pub(crate) fn others(&self, me: PoolId) -> impl Iterator<Item = PoolId> {
        self.members.keys().copied().filter(move |member| *member != me)
    }

    /// What follows this one, as its member would have it. The control plane gives it its number.
    pub(crate) fn successor(&self) -> Self {
        Self { recovery: false, ..self.clone() }
    }
}

/// A configuration that a member wants instead of one that it knows. Whoever decides accepts it only if `expected` is in
/// force and the proposer is a member of it; then it gets the next epoch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proposal {
    /// The configuration it replaces.
    pub expected: Epoch,
    /// Who wants it.
    pub proposer: (PoolId, Incarnation),
    /// What is wanted; its epoch is that of what it replaces.
    pub configuration: Configuration,
}
