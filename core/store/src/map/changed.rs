//! What a tree's stamps say was written since some point of the volume's order.

use block::{GroupIndex, WriteSeq};

use super::entry::{LEAF_GROUPS, LeafIndex, first_of_group, group_in_leaf};
use super::leaf::Leaf;
use super::tree::Tree;

/// A group of blocks that something was written to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChangedGroup {
    /// Which. The last one of a volume may reach past its end.
    pub group: GroupIndex,
    /// The newest write or zeroing among them.
    pub born: WriteSeq,
}

/// Iterator over the changed groups, in order. To go on later, start anew behind the last one.
#[derive(Debug)]
pub struct Changed<'a> {
    tree: &'a Tree,
    since: WriteSeq,
    leaf: Option<(LeafIndex, &'a Leaf)>,
    group: usize,
}

impl<'a> Changed<'a> {
    pub(super) fn new(tree: &'a Tree, since: WriteSeq, from: GroupIndex) -> Self {
        let first = first_of_group(from);
        let index = LeafIndex::of(first);
        let leaf = tree.next_leaf(index);
        let inside = leaf.is_some_and(|(found, _)| found == index);
        Self { tree, since, leaf, group: if inside { group_in_leaf(from) } else { 0 } }
    }
}

impl Iterator for Changed<'_> {
    type Item = ChangedGroup;

    fn next(&mut self) -> Option<ChangedGroup> {
        loop {
            let (index, leaf) = self.leaf?;
            while let Some(born) = leaf.born(self.group) {
                let group = GroupIndex(u64::from(index.0) * LEAF_GROUPS as u64 + self.group as u64);
                self.group += 1;
                if born > self.since {
                    return Some(ChangedGroup { group, born });
                }
            }
            self.leaf = self.tree.next_leaf(LeafIndex(index.0 + 1));
            self.group = 0;
        }
    }
}
