//! Stamping anew what was changed after some place of a volume's order. After all replicas of a volume were lost, what
//! was changed since the last flush that all of them had may differ between them: the replica that the others are to be
//! made like marks it as newer than anything that they can have.

use std::mem;

use block::WriteSeq;

use super::entry::LeafIndex;
use super::leaf::Leaf;
use super::version::{Kind, VersionId};
use super::versions::Map;

/// Every stamp after `after` becomes at least `seq`. None is lowered: too high a stamp costs a copy, too low a one
/// costs data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Restamp {
    /// What was stamped up to here stays as it is.
    pub after: WriteSeq,
    /// The new stamp.
    pub seq: WriteSeq,
}

/// What it takes to stamp a volume anew.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RestampCost {
    /// Leaves that change.
    pub leaves: u64,
    /// Those that the parent version holds as well, so that there will be a copy.
    pub shared: u64,
}

impl Restamp {
    pub(super) fn changes(self, born: WriteSeq) -> bool {
        born > self.after && born < self.seq
    }
}

impl Map {
    /// Stamps a head anew. Costs about a microsecond for each leaf that changes, and less for every other.
    pub fn restamp(&mut self, head: VersionId, restamp: Restamp) {
        let version = self.slots.get_mut(head);
        assert!(matches!(version.kind, Kind::Head(_)), "only a head is stamped");
        let mut tree = mem::take(&mut version.tree);
        let mut from = LeafIndex(0);
        while let Some((index, leaf)) = tree.next_leaf(from) {
            if leaf.is_changed_by(restamp) {
                tree.change_leaf(index, &mut self.ledger, |leaf| leaf.restamp(restamp));
            }
            from = LeafIndex(index.0 + 1);
        }
        self.slots.get_mut(head).tree = tree;
    }

    /// What that would take.
    #[must_use]
    pub fn restamp_cost(&self, head: VersionId, restamp: Restamp) -> RestampCost {
        let parent = self.slots.parent_tree(head);
        let is_shared = |index, leaf: &Leaf| {
            let held = parent.and_then(|parent| parent.leaf(index));
            held.is_some_and(|held| std::ptr::eq(held, leaf))
        };
        let mut cost = RestampCost::default();
        let mut from = LeafIndex(0);
        while let Some((index, leaf)) = self.version(head).tree.next_leaf(from) {
            if leaf.is_changed_by(restamp) {
                cost.leaves += 1;
                cost.shared += u64::from(is_shared(index, leaf));
            }
            from = LeafIndex(index.0 + 1);
        }
        cost
    }
}
