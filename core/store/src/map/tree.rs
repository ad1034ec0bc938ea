//! One version's tree.

use std::sync::Arc;

use block::{BlockIndex, BlockRange, GroupIndex, WriteSeq};

use super::changed::Changed;
use super::entry::{Entry, FANOUT, LeafIndex, Place, offset_in_leaf, span_shift};
use super::leaf::Leaf;
use super::ledger::Ledger;
use super::node::Node;
use super::runs::Runs;

/// The blocks of one version. What is absent reads as zeroes.
///
/// The tree is as high as the highest block written so far needs, whatever the volume's size: a root of level 0
/// covers 4 MiB, of level 1 1 GiB, of level 2 256 GiB, of level 3 64 TiB.
#[derive(Debug, Default)]
pub struct Tree {
    root: Option<Node>,
}

impl Tree {
    /// For loading.
    #[must_use]
    pub fn new(root: Option<Node>) -> Self {
        Self { root }
    }

    /// The topmost node; `None` when nothing was ever written.
    #[must_use]
    pub fn root(&self) -> Option<&Node> {
        self.root.as_ref()
    }

    /// Where a block lies; `None` when it reads as zeroes.
    #[must_use]
    pub fn lookup(&self, block: BlockIndex) -> Option<Entry> {
        let entry = self.leaf(LeafIndex::of(block))?.entries()[offset_in_leaf(block)];
        (!entry.is_hole()).then_some(entry)
    }

    /// The range as runs of blocks alike.
    #[must_use]
    pub fn runs(&self, range: BlockRange) -> Runs<'_> {
        Runs::new(self, range)
    }

    /// The groups, from `from` on, that a write after `since` touched.
    #[must_use]
    pub fn changed(&self, since: WriteSeq, from: GroupIndex) -> Changed<'_> {
        Changed::new(self, since, from)
    }

    /// Another handle on the same nodes.
    pub(super) fn share(&self) -> Self {
        Self { root: self.root.clone() }
    }

    pub(super) fn root_mut(&mut self) -> &mut Option<Node> {
        &mut self.root
    }

    pub(super) fn into_root(self) -> Option<Node> {
        self.root
    }

    pub(super) fn node(&self, place: Place) -> Option<&Node> {
        let mut node = self.root_over(place)?;
        while node.level() > place.level {
            node = child(node, place)?;
        }
        Some(node)
    }

    pub(super) fn leaf(&self, index: LeafIndex) -> Option<&Leaf> {
        let place = Place::of_leaf(index);
        let mut node = self.root_over(place)?;
        loop {
            match node {
                Node::Leaf(leaf) => return Some(leaf),
                Node::Inner(_) => node = child(node, place)?,
            }
        }
    }

    /// The first leaf at `from` or after it.
    pub(super) fn next_leaf(&self, from: LeafIndex) -> Option<(LeafIndex, &Leaf)> {
        let (index, leaf) = first_leaf(self.root.as_ref()?, from.0)?;
        Some((LeafIndex(index), leaf))
    }

    /// Where this tree holds what a tree with a root of `level` holds: its root, or a first descendant.
    pub(super) fn at_level(&self, level: u8) -> Option<&Node> {
        let mut node = self.root.as_ref()?;
        while node.level() > level {
            node = node.below(node.level(), 0)?;
        }
        Some(node)
    }

    /// Changes a leaf, which is created if need be, and all above it.
    pub(super) fn change_leaf<R>(
        &mut self,
        index: LeafIndex,
        ledger: &mut Ledger,
        change: impl FnOnce(&mut Leaf) -> R,
    ) -> R {
        let place = Place::of_leaf(index);
        let top = self.raise(place, ledger);
        let (mut slot, mut level) = (&mut self.root, top);
        loop {
            match slot.get_or_insert_with(|| ledger.create(level)) {
                Node::Leaf(leaf) => return ledger.change_leaf(leaf, change),
                Node::Inner(inner) => {
                    slot = ledger.change_inner(inner).child_mut(place.child_at(level));
                    level -= 1;
                }
            }
        }
    }

    /// Makes the tree high enough for `place`; answers the level of the root there is or has to be made.
    fn raise(&mut self, place: Place, ledger: &mut Ledger) -> u8 {
        let level = place.level_covering();
        match &self.root {
            Some(root) if root.level() >= level => return root.level(),
            Some(_) | None => {}
        }
        self.root = self.root.take().map(|root| ledger.lift(root, level));
        level
    }

    fn root_over(&self, place: Place) -> Option<&Node> {
        self.root.as_ref().filter(|root| place.level_covering() <= root.level())
    }
}

fn child(node: &Node, place: Place) -> Option<&Node> {
    node.below(node.level(), place.child_at(node.level()))
}

/// The first leaf below `node` at `from` or after it, both counted from the node's first.
fn first_leaf(node: &Node, from: u32) -> Option<(u32, &Leaf)> {
    let inner = match node {
        Node::Leaf(leaf) => return (from == 0).then_some((0, Arc::as_ref(leaf))),
        Node::Inner(inner) => inner,
    };
    let shift = span_shift(inner.level() - 1);
    let first = from >> shift;
    (first..u32::try_from(FANOUT).expect("256")).find_map(|index| {
        let within = if index == first { from & ((1 << shift) - 1) } else { 0 };
        let (at, leaf) = first_leaf(inner.child(index as usize)?, within)?;
        Some((index << shift | at, leaf))
    })
}
