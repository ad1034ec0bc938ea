//! Inner nodes, and nodes of either kind.

use std::sync::{Arc, OnceLock};

use block::PAGE_BYTES;

use super::entry::{DiskRef, FANOUT, LEVEL_MAX};
use super::leaf::Leaf;

const HEADER_BYTES: usize = 32;
const CHILD_BYTES: usize = 12;

const _: () = assert!(HEADER_BYTES + FANOUT * CHILD_BYTES <= PAGE_BYTES, "an inner node is encoded in one page");

/// A shared node. Cloning it shares it: for loading, where equal copies on disk become one node.
///
/// Nodes of a map are freed by walks that count, never by dropping the last handle: a handle that came out of a map
/// goes back through [`super::Map::release`].
#[derive(Clone, Debug)]
pub enum Node {
    /// 1024 blocks.
    Leaf(Arc<Leaf>),
    /// 256 nodes of the level below.
    Inner(Arc<Inner>),
}

/// A node with up to 256 children, all of the level below its own.
#[derive(Debug)]
pub struct Inner {
    level: u8,
    children: [Option<Node>; FANOUT],
    disk: OnceLock<DiskRef>,
}

impl Node {
    /// Height above the leaves: 0 for a leaf.
    #[must_use]
    pub fn level(&self) -> u8 {
        match self {
            Self::Leaf(_) => 0,
            Self::Inner(inner) => inner.level,
        }
    }

    /// Where its newest copy lies, if neither it nor a node below changed since that was written.
    #[must_use]
    pub fn disk(&self) -> Option<DiskRef> {
        match self {
            Self::Leaf(leaf) => leaf.disk(),
            Self::Inner(inner) => inner.disk(),
        }
    }

    /// Notes where its copy was written. Once only.
    pub fn set_disk(&self, disk: DiskRef) {
        match self {
            Self::Leaf(leaf) => leaf.set_disk(disk),
            Self::Inner(inner) => inner.set_disk(disk),
        }
    }

    /// Size on disk.
    #[must_use]
    pub fn encoded_bytes(&self) -> usize {
        match self {
            Self::Leaf(leaf) => leaf.encoded_bytes(),
            Self::Inner(inner) => inner.encoded_bytes(),
        }
    }

    /// Whether the two are one node.
    pub(super) fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Leaf(one), Self::Leaf(two)) => Arc::ptr_eq(one, two),
            (Self::Inner(one), Self::Inner(two)) => Arc::ptr_eq(one, two),
            (Self::Leaf(_), Self::Inner(_)) | (Self::Inner(_), Self::Leaf(_)) => false,
        }
    }

    /// For nodes at the bottom.
    pub(super) fn leaf(&self) -> &Leaf {
        match self {
            Self::Leaf(leaf) => leaf,
            Self::Inner(_) => unreachable!("what stands at level 0 is a leaf"),
        }
    }

    /// Whether another tree or image holds it as well.
    pub(super) fn is_shared(&self) -> bool {
        match self {
            Self::Leaf(leaf) => Arc::strong_count(leaf) > 1,
            Self::Inner(inner) => Arc::strong_count(inner) > 1,
        }
    }

    /// What lies below child `index` of a node of `level` that stands where `self` stands, if trees of different
    /// heights are compared: a lower root stands for higher ones whose first child it is.
    pub(super) fn below(&self, level: u8, index: usize) -> Option<&Self> {
        debug_assert!(self.level() <= level, "a higher tree is entered at the level of the lower one");
        match self {
            Self::Inner(inner) if inner.level == level => inner.child(index),
            Self::Leaf(_) | Self::Inner(_) => (index == 0).then_some(self),
        }
    }
}

impl Inner {
    /// For loading: a node of level 1 to 3 without children.
    #[must_use]
    pub fn empty(level: u8) -> Self {
        assert!((1..=LEVEL_MAX).contains(&level), "the loader has checked the level");
        Self { level, children: [const { None }; FANOUT], disk: OnceLock::new() }
    }

    /// For loading: hangs `child` in at `index`.
    pub fn insert(&mut self, index: u8, child: Node) {
        assert_eq!(child.level() + 1, self.level, "children are of the level below");
        self.children[usize::from(index)] = Some(child);
    }

    /// Height above the leaves, at least 1.
    #[must_use]
    pub fn level(&self) -> u8 {
        self.level
    }

    /// The children there are, with their indices, in order.
    pub fn children(&self) -> impl Iterator<Item = (u8, &Node)> {
        (0..=u8::MAX).zip(&self.children).filter_map(|(index, child)| child.as_ref().map(|child| (index, child)))
    }

    /// Size on disk; never more than a page.
    #[must_use]
    pub fn encoded_bytes(&self) -> usize {
        HEADER_BYTES + CHILD_BYTES * self.children().count()
    }

    /// Where its newest copy lies, if nothing below it changed since that was written.
    #[must_use]
    pub fn disk(&self) -> Option<DiskRef> {
        self.disk.get().copied()
    }

    /// Notes where its copy was written. Once only.
    pub fn set_disk(&self, disk: DiskRef) {
        debug_assert!(self.children().all(|(_, child)| child.disk().is_some()), "children are written before");
        self.disk.set(disk).expect("an unchanged node is written once");
    }

    pub(super) fn child(&self, index: usize) -> Option<&Node> {
        self.children[index].as_ref()
    }

    pub(super) fn child_mut(&mut self, index: usize) -> &mut Option<Node> {
        &mut self.children[index]
    }

    /// The same children, not written yet.
    pub(super) fn copy(&self) -> Self {
        Self { level: self.level, children: self.children.clone(), disk: OnceLock::new() }
    }

    pub(super) fn take_disk(&mut self) -> Option<DiskRef> {
        self.disk.take()
    }

    pub(super) fn take_children(&mut self) -> impl Iterator<Item = Node> {
        self.children.iter_mut().filter_map(Option::take)
    }
}
