//! What a tree's stamps say was written since some point of the volume's order.

use block::{BlockIndex, WriteSeq};

use super::entry::{GROUP_BLOCKS, LEAF_BLOCKS, LeafIndex, offset_in_leaf};
use super::leaf::Leaf;
use super::tree::Tree;

/// 64 blocks that something was written to. The last group of a volume may reach past its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChangedGroup {
    /// The first block.
    pub first: BlockIndex,
    /// The newest write or zeroing among them.
    pub born: WriteSeq,
}

/// Iterator over the changed groups, in order. To go on later, start anew behind the last group's blocks.
#[derive(Debug)]
pub struct Changed<'a> {
    tree: &'a Tree,
    since: WriteSeq,
    leaf: Option<(LeafIndex, &'a Leaf)>,
    group: usize,
}

impl<'a> Changed<'a> {
    pub(super) fn new(tree: &'a Tree, since: WriteSeq, from: BlockIndex) -> Self {
        let index = LeafIndex::of(from);
        let leaf = tree.next_leaf(index);
        let inside = leaf.is_some_and(|(found, _)| found == index);
        Self { tree, since, leaf, group: if inside { offset_in_leaf(from) / GROUP_BLOCKS } else { 0 } }
    }
}

impl Iterator for Changed<'_> {
    type Item = ChangedGroup;

    fn next(&mut self) -> Option<ChangedGroup> {
        loop {
            let (index, leaf) = self.leaf?;
            while let Some(born) = leaf.born(self.group) {
                let first = BlockIndex(index.first_block().0 + (self.group * GROUP_BLOCKS) as u64);
                self.group += 1;
                if born > self.since {
                    return Some(ChangedGroup { first, born });
                }
            }
            self.leaf = self.tree.next_leaf(LeafIndex(index.0 + 1));
            self.group = 0;
        }
    }
}

const _: () = assert!(LEAF_BLOCKS.is_multiple_of(GROUP_BLOCKS), "groups do not straddle leaves");
