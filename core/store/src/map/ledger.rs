//! What there is: every node that comes, changes or goes passes here, so that the counts are exact and no copy on
//! disk is forgotten.

use std::sync::Arc;

use block::PAGE_BYTES;

use super::entry::DiskRef;
use super::leaf::Leaf;
use super::node::{Inner, Node};

/// Distinct nodes in memory, however many trees and frozen images hold each, and the pages they take when encoded.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct NodeCounts {
    /// Leaves.
    pub leaves: u64,
    /// Nodes above leaves.
    pub inners: u64,
    /// Pages of both.
    pub pages: u64,
}

impl NodeCounts {
    pub(super) fn add(&mut self, node: &Node) {
        match node {
            Node::Leaf(leaf) => self.add_leaf(leaf),
            Node::Inner(_) => self.add_inner(),
        }
    }

    fn add_leaf(&mut self, leaf: &Leaf) {
        self.leaves += 1;
        self.pages += leaf_pages(leaf);
    }

    fn add_inner(&mut self) {
        self.inners += 1;
        self.pages += 1;
    }
}

fn leaf_pages(leaf: &Leaf) -> u64 {
    leaf.encoded_bytes().div_ceil(PAGE_BYTES) as u64
}

pub(super) fn node_pages(node: &Node) -> u64 {
    node.encoded_bytes().div_ceil(PAGE_BYTES) as u64
}

#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub(super) counts: NodeCounts,
    /// Pages of nodes of which there is no copy on disk.
    pub(super) unwritten_pages: u64,
    /// Copies on disk whose node is gone or changed.
    pub(super) retired: Vec<DiskRef>,
}

impl Ledger {
    /// A new node of `level` without content.
    pub(super) fn create(&mut self, level: u8) -> Node {
        let node = match level {
            0 => Node::Leaf(Arc::new(Leaf::empty())),
            _ => Node::Inner(Arc::new(Inner::empty(level))),
        };
        self.counts.add(&node);
        self.unwritten_pages += 1;
        node
    }

    /// A node of `level` that holds `node` as its first descendant.
    pub(super) fn lift(&mut self, mut node: Node, level: u8) -> Node {
        while node.level() < level {
            let mut above = Inner::empty(node.level() + 1);
            above.insert(0, node);
            node = Node::Inner(Arc::new(above));
            self.counts.add_inner();
            self.unwritten_pages += 1;
        }
        node
    }

    /// The leaf, to change: the one that is there when no one else holds it, else a copy in its place.
    pub(super) fn change_leaf<R>(&mut self, leaf: &mut Arc<Leaf>, change: impl FnOnce(&mut Leaf) -> R) -> R {
        if Arc::strong_count(leaf) > 1 {
            *leaf = Arc::new(leaf.copy());
            self.counts.add_leaf(leaf);
            self.unwritten_pages += leaf_pages(leaf);
        }
        let leaf = Arc::get_mut(leaf).expect("only this tree holds it, and nobody has weak handles");
        let pages = leaf_pages(leaf);
        if let Some(disk) = leaf.take_disk() {
            self.retired.push(disk);
            self.unwritten_pages += pages;
        }
        let answer = change(leaf);
        self.counts.pages = self.counts.pages + leaf_pages(leaf) - pages;
        self.unwritten_pages = self.unwritten_pages + leaf_pages(leaf) - pages;
        answer
    }

    /// The inner node, to change it or something below: in place or a copy, as with leaves.
    pub(super) fn change_inner<'a>(&mut self, inner: &'a mut Arc<Inner>) -> &'a mut Inner {
        if Arc::strong_count(inner) > 1 {
            *inner = Arc::new(inner.copy());
            self.counts.add_inner();
            self.unwritten_pages += 1;
        }
        let inner = Arc::get_mut(inner).expect("only this tree holds it, and nobody has weak handles");
        if let Some(disk) = inner.take_disk() {
            self.retired.push(disk);
            self.unwritten_pages += 1;
        }
        inner
    }

    /// A copy of the node was written.
    pub(super) fn note_written(&mut self, node: &Node, disk: DiskRef) {
        node.set_disk(disk);
        self.unwritten_pages -= node_pages(node);
    }

    /// A node went out of memory; its copy on disk, if there is one, is of no use any more.
    fn forget(&mut self, pages: u64, disk: Option<DiskRef>) {
        self.counts.pages -= pages;
        match disk {
            Some(disk) => self.retired.push(disk),
            None => self.unwritten_pages -= pages,
        }
    }

    /// Gives up a handle, and what nobody else holds below it.
    pub(super) fn release(&mut self, node: Option<Node>) {
        let mut pending: Vec<Node> = node.into_iter().collect();
        while let Some(node) = pending.pop() {
            self.release_one(node, &mut pending);
        }
    }

    /// Gives up one handle; if it was the last, the handles below it come to `pending`.
    pub(super) fn release_one(&mut self, mut node: Node, pending: &mut Vec<Node>) {
        match &mut node {
            Node::Leaf(leaf) => {
                if let Some(leaf) = Arc::get_mut(leaf) {
                    self.counts.leaves -= 1;
                    self.forget(leaf_pages(leaf), leaf.take_disk());
                }
            }
            Node::Inner(inner) => {
                if let Some(inner) = Arc::get_mut(inner) {
                    self.counts.inners -= 1;
                    self.forget(1, inner.take_disk());
                    pending.extend(inner.take_children());
                }
            }
        }
    }
}
