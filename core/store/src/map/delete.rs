//! Deleting versions, a bounded step at a time.
//!
//! A deleted version loses its name at once and becomes hidden. With two or more children it stays, as a branch
//! point, until one child is left. With one child or none it waits for its turn, and is then *reduced*: wherever it
//! has a node that neither its parent nor its child shares, what only this node holds dies, and the parent's node
//! takes its place (nothing, where the parent has none). Every step starts at the first block and passes over what is
//! settled. When one step finds everything settled, the version holds nothing alone and is spliced out, in the same
//! step; that changes nothing for any location.
//!
//! Why every moment in between is sound. Let V be the version, P its parent, C its child, and look at one leaf. A
//! location that only V holds dies. One in V and C but not in P leaves V: the part below C stays connected, V was
//! only its top. One in P but not in V enters V: nothing below V holds it, and V is P's neighbour. None is in P and C
//! but not in V, for its holders would not be connected. So the holders of a location are connected, whatever V has
//! become, and the rules of writes and deletes go on to hold with V as it is: before a leaf is reduced V still holds
//! what C drops, and a later step finds it in V alone; afterwards V answers as P would. As no step relies on what an
//! earlier one saw, neighbours may be written, snapshotted, or reduced themselves in between, and a restart, which
//! finds the trees but not the order of the queue, just goes on. (Were the child's node taken instead of the parent's,
//! all of this would hold as well, but a child that is written all the time would give new work all the time.)

use std::collections::VecDeque;
use std::mem;

use block::{SnapshotId, VolumeId};

use super::entry::{FANOUT, Location};
use super::ledger::Ledger;
use super::node::Node;
use super::version::{Kind, VersionId};
use super::versions::{Map, VersionError};

/// Whether bounded work is finished.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// Nothing is left to do.
    Done,
    /// Call again.
    More,
}

/// Every hidden version with at most one child; the first is reduced first.
pub(super) type Deletions = VecDeque<VersionId>;

impl Map {
    /// Deletes a volume: its name is gone at once, its space comes back in [`Map::delete_step`].
    ///
    /// # Errors
    /// There is no such volume.
    pub fn delete_head(&mut self, volume: VolumeId) -> Result<(), VersionError> {
        let id = self.head(volume).ok_or(VersionError::NoSuchVolume(volume))?;
        self.delete(id);
        Ok(())
    }

    /// Deletes a snapshot: its name is gone at once, its space comes back in [`Map::delete_step`].
    ///
    /// # Errors
    /// There is no such snapshot.
    pub fn delete_snapshot(&mut self, id: SnapshotId) -> Result<(), VersionError> {
        let id = self.snapshot_version(id).ok_or(VersionError::NoSuchSnapshot(id))?;
        self.delete(id);
        Ok(())
    }

    /// Goes on with what was deleted. Handles at most `budget` nodes that a deleted version does not share with its
    /// parent, and appends each location that died to `dead`: at most 1024 for each node of the budget, which must
    /// not be 0. `Done` when no deletion is left at all.
    pub fn delete_step(&mut self, budget: usize, dead: &mut Vec<Location>) -> Progress {
        let mut left = budget;
        while let Some(&id) = self.deletions.front() {
            if left == 0 || self.reduce(id, &mut left, dead) == Progress::More {
                return Progress::More;
            }
            left = left.saturating_sub(1);
            self.deletions.pop_front();
            self.remove(id);
        }
        Progress::Done
    }

    fn delete(&mut self, id: VersionId) {
        self.hide(id);
        if self.version(id).is_doomed() {
            self.deletions.push_back(id);
        }
    }

    fn reduce(&mut self, id: VersionId, left: &mut usize, dead: &mut Vec<Location>) -> Progress {
        let mut tree = mem::take(&mut self.slots.get_mut(id).tree);
        let Some(level) = tree.root().map(Node::level) else { return Progress::Done };
        let child = self.slots.get(id).children.first().map(|&child| &self.slots.get(child).tree);
        let beside = Beside {
            parent: self.slots.parent_tree(id).and_then(|parent| parent.at_level(level)),
            child: child.and_then(|child| child.at_level(level)),
        };
        let progress = Reduction { left, dead, ledger: &mut self.ledger }.reduce(tree.root_mut(), beside);
        self.slots.get_mut(id).tree = tree;
        progress
    }

    /// Removes a version that holds nothing alone. If that leaves a hidden parent with one child, it is next.
    fn remove(&mut self, id: VersionId) {
        let version = self.splice_out(id);
        self.ledger.release(version.tree.into_root());
        if let Some(parent) = version.parent.filter(|_| version.children.is_empty()) {
            let above = self.version(parent);
            if above.kind == Kind::Hidden && above.children.len() == 1 {
                self.deletions.push_back(parent);
            }
        }
    }
}

/// What the neighbours of the reduced version hold at one place.
#[derive(Clone, Copy)]
struct Beside<'a> {
    parent: Option<&'a Node>,
    child: Option<&'a Node>,
}

impl<'a> Beside<'a> {
    fn below(self, level: u8, index: usize) -> Self {
        let below = |node: Option<&'a Node>| node.and_then(|node| node.below(level, index));
        Self { parent: below(self.parent), child: below(self.child) }
    }
}

struct Reduction<'a> {
    left: &'a mut usize,
    dead: &'a mut Vec<Location>,
    ledger: &'a mut Ledger,
}

impl Reduction<'_> {
    /// Settles what hangs in `slot`, unless the budget ends before.
    fn reduce(&mut self, slot: &mut Option<Node>, beside: Beside<'_>) -> Progress {
        let Some(node) = slot else { return Progress::Done };
        let shared = [beside.parent, beside.child].into_iter().flatten().any(|beside| beside.is(node));
        if shared {
            return Progress::Done;
        }
        if self.reduce_children(node, beside) == Progress::More {
            return Progress::More;
        }
        if beside.parent.is_some_and(|parent| parent.level() < node.level()) {
            // A lower tree cannot hang here in the node's place. What is below is settled.
            return Progress::Done;
        }
        if *self.left == 0 {
            return Progress::More;
        }
        *self.left -= 1;
        self.replace(slot, beside);
        Progress::Done
    }

    fn reduce_children(&mut self, node: &mut Node, beside: Beside<'_>) -> Progress {
        let Node::Inner(inner) = node else { return Progress::Done };
        let level = inner.level();
        let inner = self.ledger.change_inner(inner);
        for index in 0..FANOUT {
            if self.reduce(inner.child_mut(index), beside.below(level, index)) == Progress::More {
                return Progress::More;
            }
        }
        Progress::Done
    }

    /// Hangs the parent's node in. What the old one alone holds dies: only a leaf holds anything alone here.
    fn replace(&mut self, slot: &mut Option<Node>, beside: Beside<'_>) {
        let old = mem::replace(slot, beside.parent.cloned());
        if let Some(Node::Leaf(leaf)) = &old {
            let neighbours = [beside.parent, beside.child].into_iter().flatten();
            self.dead.extend(leaf.exclusive(&neighbours.collect::<Vec<_>>()));
        }
        self.ledger.release(old);
    }
}
