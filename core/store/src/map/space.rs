//! Who holds what: live locations, and the space of a version, exactly.
//!
//! The versions that hold a location are connected, so what none of a version's neighbours holds, no one else holds.
//! Nodes that two versions share are not entered.

use super::entry::{FANOUT, Location};
use super::node::Node;
use super::tree::Tree;
use super::version::{Kind, VersionId};
use super::versions::Map;

/// Blocks of a version.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Space {
    /// Mapped blocks.
    pub logical: u64,
    /// Those no other version holds. The others are shared.
    pub exclusive: u64,
    /// Those that would become free if it were deleted now. None while it has several children; else the exclusive
    /// ones, and what a hidden branch point holds that goes with it.
    pub reclaimable: u64,
}

/// Trees from which a version's [`Space`] is computed, on any thread. Costs some microseconds for each leaf. Never
/// drop it: give [`SpaceQuery::into_trees`] to [`Map::release`].
#[derive(Debug)]
#[must_use]
pub struct SpaceQuery {
    version: Tree,
    neighbours: Vec<Tree>,
    deletion: Deletion,
}

/// What would go if the version were deleted.
#[derive(Debug)]
enum Deletion {
    /// Nothing: it has several children.
    Nothing,
    /// It.
    Itself,
    /// It and its parent, whose other neighbours these are.
    WithParent { parent: Tree, beside: Vec<Tree> },
}

impl SpaceQuery {
    /// The answer, as of when the query was made.
    #[must_use]
    pub fn run(&self) -> Space {
        let exclusive = exclusive_count(&self.version, &self.neighbours);
        let reclaimable = match &self.deletion {
            Deletion::Nothing => 0,
            Deletion::Itself => exclusive,
            Deletion::WithParent { parent, beside } => exclusive + exclusive_count(parent, beside),
        };
        Space { logical: self.version.root().map_or(0, mapped_count), exclusive, reclaimable }
    }

    /// What [`Map::release`] needs.
    pub fn into_trees(self) -> impl Iterator<Item = Tree> {
        let beside = match self.deletion {
            Deletion::Nothing | Deletion::Itself => Vec::new(),
            Deletion::WithParent { parent, mut beside } => {
                beside.push(parent);
                beside
            }
        };
        self.neighbours.into_iter().chain(beside).chain([self.version])
    }
}

impl Map {
    /// What is needed to compute a version's space. While versions are being deleted, the answer is about what they
    /// still hold.
    pub fn space_query(&self, id: VersionId) -> SpaceQuery {
        let version = self.version(id);
        let share = |&id: &VersionId| self.version(id).tree.share();
        let neighbours = version.parent.iter().chain(&version.children).map(share).collect();
        SpaceQuery { version: version.tree.share(), neighbours, deletion: self.deletion_of(id) }
    }

    /// Calls `live` with every live location of the pool, once.
    pub fn count_live(&self, live: &mut impl FnMut(Location)) {
        for (id, version) in self.versions() {
            let parent = self.slots.parent_tree(id);
            for_each_exclusive(&version.tree, parent, live);
        }
    }

    fn deletion_of(&self, id: VersionId) -> Deletion {
        let version = self.version(id);
        if version.children.len() > 1 {
            return Deletion::Nothing;
        }
        let Some(parent) = version.parent.map(|parent| self.version(parent)) else { return Deletion::Itself };
        if parent.kind != Kind::Hidden || parent.children.len() > 2 || !version.children.is_empty() {
            return Deletion::Itself;
        }
        let beside = parent.parent.iter().chain(parent.children.iter().filter(|&&sibling| sibling != id));
        let beside = beside.map(|&id| self.version(id).tree.share()).collect();
        Deletion::WithParent { parent: parent.tree.share(), beside }
    }
}

fn mapped_count(node: &Node) -> u64 {
    match node {
        Node::Leaf(leaf) => leaf.mapped() as u64,
        Node::Inner(inner) => inner.children().map(|(_, child)| mapped_count(child)).sum(),
    }
}

fn exclusive_count(tree: &Tree, others: &[Tree]) -> u64 {
    let mut count = 0;
    for_each_exclusive(tree, others, &mut |_| count += 1);
    count
}

/// Calls `found` with each location of `tree` that no other tree holds at the same block.
fn for_each_exclusive<'a>(tree: &Tree, others: impl IntoIterator<Item = &'a Tree>, found: &mut impl FnMut(Location)) {
    let Some(root) = tree.root() else { return };
    let mut others = others.into_iter().filter_map(|other| other.at_level(root.level())).collect();
    for_each_exclusive_below(root, &mut others, 0, found);
}

/// `others` from `first` on stand beside `node`; the ones before belong to callers.
fn for_each_exclusive_below<'a>(
    node: &Node,
    others: &mut Vec<&'a Node>,
    first: usize,
    found: &mut impl FnMut(Location),
) {
    if others[first..].iter().any(|other| other.is(node)) {
        return;
    }
    let inner = match node {
        Node::Leaf(leaf) => return leaf.exclusive(&others[first..]).for_each(found),
        Node::Inner(inner) => inner,
    };
    let end = others.len();
    for (index, child) in (0..FANOUT).filter_map(|index| Some((index, inner.child(index)?))) {
        for at in first..end {
            let below: Option<&'a Node> = others[at].below(inner.level(), index);
            others.extend(below);
        }
        for_each_exclusive_below(child, others, end, found);
        others.truncate(end);
    }
}
