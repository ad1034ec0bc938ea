//! Moving what lies in the pool: blocks, and copies of nodes.
//!
//! All versions that share a node share its changed copy afterwards. A frozen image that holds the node keeps the old
//! one, untouched.

use std::mem;

use block::{BlockIndex, VolumeId};

use super::entry::{LeafIndex, Location, Place, offset_in_leaf};
use super::leaf::Leaf;
use super::ledger::Ledger;
use super::node::Node;
use super::version::{FamilyId, VersionId};
use super::versions::Map;

impl Map {
    /// A version that holds `location` at `block`, where the volume `writer`, which may be gone, once wrote it. Costs
    /// a descent for each version of the families the writer belonged to.
    #[must_use]
    pub fn find_holder(&self, writer: VolumeId, block: BlockIndex, location: Location) -> Option<VersionId> {
        let families = self.members.range((writer, FamilyId(0))..=(writer, FamilyId(u32::MAX)));
        let mut versions = families.flat_map(|(_, family)| &self.families[family]).copied();
        versions.find(|&version| self.holds(version, block, location))
    }

    /// All versions that do.
    #[must_use]
    pub fn holders(&self, writer: VolumeId, block: BlockIndex, location: Location) -> Vec<VersionId> {
        let holder = self.find_holder(writer, block, location);
        holder.map_or_else(Vec::new, |holder| self.all_holders(holder, block, location))
    }

    /// Replaces `from` by `to` in every version that holds it at `block`; checksum and stamp stay. True if there was
    /// one: then `from` has died and `to` is live. Else nothing was changed. `writer` as in [`Map::find_holder`].
    pub fn relocate(&mut self, writer: VolumeId, block: BlockIndex, from: Location, to: Location) -> bool {
        let Some(holder) = self.find_holder(writer, block, from) else { return false };
        let holders = self.all_holders(holder, block, from);
        let offset = offset_in_leaf(block);
        let place = Place::of_leaf(LeafIndex::of(block));
        self.change_shared(&holders, place, |leaf| leaf.relocate(offset, to));
        true
    }

    /// Makes the node at `place` whose copy on disk lies at `at` unwritten again, and so all above it, so that the
    /// next checkpoint writes it anew and the old copy's place becomes free. Whether a version had such a node.
    pub fn rewrite(&mut self, family: FamilyId, place: Place, at: Location) -> bool {
        let holders: Vec<VersionId> = self.holders_of_node(family, place, at).collect();
        self.change_shared(&holders, place, |_| ());
        !holders.is_empty()
    }

    /// Whether a version has a node at `place` whose copy on disk lies at `at`.
    #[must_use]
    pub fn holds_node(&self, family: FamilyId, place: Place, at: Location) -> bool {
        self.holders_of_node(family, place, at).next().is_some()
    }

    fn holders_of_node(&self, family: FamilyId, place: Place, at: Location) -> impl Iterator<Item = VersionId> {
        let lies_there = move |node: &Node| node.disk().is_some_and(|disk| disk.at == at);
        let versions = self.families.get(&family).into_iter().flatten().copied();
        versions.filter(move |&version| self.version(version).tree.node(place).is_some_and(lies_there))
    }

    fn holds(&self, version: VersionId, block: BlockIndex, location: Location) -> bool {
        let leaf = self.version(version).tree.leaf(LeafIndex::of(block));
        leaf.is_some_and(|leaf| leaf.location(offset_in_leaf(block)) == location)
    }

    /// All versions that hold what `holder` holds. They are connected, so only their neighbours are looked at.
    fn all_holders(&self, holder: VersionId, block: BlockIndex, location: Location) -> Vec<VersionId> {
        let mut holders = Vec::new();
        let mut pending = vec![(holder, holder)];
        while let Some((version, seen_from)) = pending.pop() {
            holders.push(version);
            let around = self.version(version);
            let neighbours = around.parent.iter().chain(&around.children).filter(|&&next| next != seen_from);
            let holding = neighbours.filter(|&&next| self.holds(next, block, location));
            pending.extend(holding.map(|&next| (next, version)));
        }
        holders
    }

    fn change_shared(&mut self, holders: &[VersionId], place: Place, edit: impl FnMut(&mut Leaf)) {
        let mut change = SharedChange { place, edit, ledger: &mut self.ledger, changed: Vec::new() };
        for &holder in holders {
            let root = self.slots.get_mut(holder).tree.root_mut();
            change.apply(root.as_mut().expect("it holds something there"));
        }
        for (old, new) in mem::take(&mut change.changed) {
            change.ledger.release(Some(old));
            change.ledger.release(Some(new));
        }
    }
}

/// One change to a place of several trees, made once for each distinct node.
struct SharedChange<'a, E> {
    place: Place,
    edit: E,
    ledger: &'a mut Ledger,
    /// Shared nodes that were copied, and their copies. Held until the end, so that no new node has an old one's
    /// address.
    changed: Vec<(Node, Node)>,
}

impl<E: FnMut(&mut Leaf)> SharedChange<'_, E> {
    fn apply(&mut self, node: &mut Node) {
        if let Some((_, new)) = self.changed.iter().find(|(old, _)| old.is(node)) {
            let old = mem::replace(node, new.clone());
            return self.ledger.release(Some(old));
        }
        let before = node.is_shared().then(|| node.clone());
        self.change(node);
        self.changed.extend(before.map(|before| (before, node.clone())));
    }

    fn change(&mut self, node: &mut Node) {
        let place = self.place;
        match node {
            Node::Leaf(leaf) => self.ledger.change_leaf(leaf, &mut self.edit),
            Node::Inner(inner) => {
                let level = inner.level();
                let inner = self.ledger.change_inner(inner);
                if level > place.level {
                    let child = inner.child_mut(place.child_at(level));
                    self.apply(child.as_mut().expect("it holds something there"));
                }
            }
        }
    }
}
