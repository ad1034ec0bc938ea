//! A range of a tree as runs of blocks alike, for reads.

use block::{BlockCount, BlockIndex, BlockRange};

use super::entry::{Entry, LEAF_BLOCKS, LeafIndex, offset_in_leaf};
use super::leaf::Leaf;
use super::tree::Tree;

/// Consecutive blocks alike.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Run<'a> {
    /// They read as zeroes. As long as the range allows.
    Hole {
        /// How many.
        count: BlockCount,
    },
    /// They lie one after the other. Ends with the leaf (4 MiB) at the latest.
    Mapped {
        /// One for each block, never empty; the locations are consecutive.
        entries: &'a [Entry],
    },
}

/// Iterator over the runs of a range. The tree is descended once for each leaf.
#[derive(Debug)]
pub struct Runs<'a> {
    tree: &'a Tree,
    at: BlockIndex,
    end: BlockIndex,
    leaf: Option<(LeafIndex, &'a Leaf)>,
}

impl<'a> Runs<'a> {
    pub(super) fn new(tree: &'a Tree, range: BlockRange) -> Self {
        Self { tree, at: range.first, end: range.end(), leaf: None }
    }

    /// What is left of the range, and of the leaf that holds its first block. If there is no such leaf, goes to the
    /// next that there is.
    fn rest_of_leaf(&mut self) -> &'a [Entry] {
        let index = LeafIndex::of(self.at);
        if self.leaf.is_none_or(|(known, _)| known != index) {
            self.leaf = self.tree.next_leaf(index);
        }
        let Some((index, leaf)) = self.leaf else {
            self.at = self.end;
            return &[];
        };
        self.at = self.at.max(index.first_block()).min(self.end);
        let left = usize::try_from(self.end.0 - self.at.0).unwrap_or(LEAF_BLOCKS);
        let first = offset_in_leaf(self.at);
        &leaf.entries()[first..LEAF_BLOCKS.min(first.saturating_add(left))]
    }
}

impl<'a> Iterator for Runs<'a> {
    type Item = Run<'a>;

    fn next(&mut self) -> Option<Run<'a>> {
        let first = self.at;
        while self.at < self.end {
            let rest = self.rest_of_leaf();
            let holes = rest.iter().take_while(|entry| entry.is_hole()).count();
            self.at.0 += holes as u64;
            if holes == rest.len() {
                continue;
            }
            if self.at == first {
                let entries = mapped_run(rest);
                self.at.0 += entries.len() as u64;
                return Some(Run::Mapped { entries });
            }
            break;
        }
        let count = u32::try_from(self.at.0 - first.0).expect("no more than the range has");
        (count > 0).then_some(Run::Hole { count: BlockCount(count) })
    }
}

/// The longest run at the start of `entries`, whose first is mapped.
fn mapped_run(entries: &[Entry]) -> &[Entry] {
    let breaks = entries.windows(2).position(|pair| pair[1].location != pair[0].location.plus(1));
    breaks.map_or(entries, |last| &entries[..=last])
}
