//! In what a version differs from another one, or from itself before some change.

use block::{BlockCount, BlockIndex, BlockRange, GROUP_BLOCKS, WriteSeq};

use super::entry::{Entry, FANOUT, LEAF_BLOCKS, LeafIndex, offset_in_leaf, span_shift};
use super::leaf::Leaf;
use super::node::Node;
use super::version::VersionId;
use super::versions::Map;

/// What a version is compared with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Base {
    /// With nothing: all of its blocks that do not read as zeroes.
    Nothing,
    /// With another version of its family, block by block.
    Version(VersionId),
    /// With what it was when this was the last change, as far as stamps tell: whole groups of 64 blocks.
    Before(WriteSeq),
}

/// Consecutive blocks that differ.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Difference {
    /// Which.
    pub range: BlockRange,
    /// They read as zeroes now.
    pub is_zero: bool,
}

/// A piece of an answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Differences {
    /// In order; what lies between them is the same in both.
    pub found: Vec<Difference>,
    /// Where to go on; `None` behind the end.
    pub next: Option<BlockIndex>,
}

impl Map {
    /// The differences from `from` on. Looks at no more than `leaves_max` leaves (4 MiB of the volume each) in which there
    /// may be some: what two versions share is not looked at.
    #[must_use]
    pub fn differences(&self, version: VersionId, base: Base, from: BlockIndex, leaves_max: usize) -> Differences {
        let version = self.version(version);
        let (tree, other) = match base {
            Base::Version(other) => (&version.tree, Some(&self.version(other).tree)),
            Base::Nothing | Base::Before(_) => (&version.tree, None),
        };
        let roots = Pair { one: tree.root(), two: other.and_then(|other| other.root()) };
        let mut answer = Differences { found: Vec::new(), next: None };
        let mut at = from;
        for _ in 0..leaves_max {
            if at >= version.end {
                return answer;
            }
            let Some(index) = roots.next(LeafIndex::of(at)) else { return answer };
            let leaf = tree.leaf(index);
            let compared = Compared { base, leaf, other: other.and_then(|other| other.leaf(index)) };
            let first = at.max(index.first_block());
            at = BlockIndex(index.first_block().0 + LEAF_BLOCKS as u64);
            for block in (first.0..at.min(version.end).0).map(BlockIndex) {
                if let Some(is_zero) = compared.differs(offset_in_leaf(block)) {
                    answer.add(block, is_zero);
                }
            }
        }
        answer.next = (at < version.end).then_some(at);
        answer
    }
}

impl Differences {
    fn add(&mut self, block: BlockIndex, is_zero: bool) {
        match self.found.last_mut() {
            Some(last) if last.range.end() == block && last.is_zero == is_zero && last.range.count.0 < u32::MAX => {
                last.range.count.0 += 1;
            }
            Some(_) | None => {
                self.found.push(Difference { range: BlockRange { first: block, count: BlockCount(1) }, is_zero });
            }
        }
    }
}

/// A leaf and what stands in its place in the other version.
struct Compared<'a> {
    base: Base,
    leaf: Option<&'a Leaf>,
    other: Option<&'a Leaf>,
}

impl Compared<'_> {
    /// Whether the block differs, and reads as zeroes.
    fn differs(&self, offset: usize) -> Option<bool> {
        let entry = |leaf: Option<&Leaf>| leaf.map_or(Entry::HOLE, |leaf| leaf.entries()[offset]);
        let (one, two) = (entry(self.leaf), entry(self.other));
        let differs = match self.base {
            Base::Nothing => !one.is_hole(),
            Base::Version(_) => one.location != two.location,
            Base::Before(seq) => {
                let born = self.leaf.and_then(|leaf| leaf.born(offset / GROUP_BLOCKS as usize));
                born.is_some_and(|born| born > seq)
            }
        };
        differs.then_some(one.is_hole())
    }
}

/// The same place of two trees.
#[derive(Clone, Copy)]
struct Pair<'a> {
    one: Option<&'a Node>,
    two: Option<&'a Node>,
}

impl Pair<'_> {
    /// The first leaf at `from` or after it that is not the same in both.
    fn next(self, from: LeafIndex) -> Option<LeafIndex> {
        let level = self.one.into_iter().chain(self.two).map(Node::level).max()?;
        let below_root = u64::from(from.0) >> span_shift(level) == 0;
        if below_root { self.next_below(level, 0, from.0).map(LeafIndex) } else { None }
    }

    /// The same below a place of `level` that begins with the leaf `first`.
    fn next_below(self, level: u8, first: u32, from: u32) -> Option<u32> {
        match (self.one, self.two) {
            (None, None) => return None,
            (Some(one), Some(two)) if one.is(two) => return None,
            (Some(_) | None, _) if level == 0 => return Some(first),
            (Some(_) | None, _) => {}
        }
        let shift = span_shift(level - 1);
        let start = (from.saturating_sub(first) >> shift) as usize;
        (start..FANOUT).find_map(|index| {
            let pair = Pair {
                one: self.one.and_then(|node| node.below(level, index)),
                two: self.two.and_then(|node| node.below(level, index)),
            };
            let at = first + (u32::try_from(index).expect("256 children") << shift);
            pair.next_below(level - 1, at, from)
        })
    }
}
