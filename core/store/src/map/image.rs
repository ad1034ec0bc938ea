//! Frozen states of the whole map: what a checkpoint writes and recovery reads; and giving back what was frozen.

use std::collections::BTreeSet;
use std::sync::Arc;

use block::VolumeId;

use super::delete::Progress;
use super::ledger::{NodeCounts, node_pages};
use super::node::Node;
use super::tree::Tree;
use super::version::{FamilyId, Kind, Version, VersionId, VersionRecord};
use super::versions::{END_MAX, Map, VERSIONS_MAX};

/// The whole map as it was at one moment. It shares all nodes and never changes, except that nodes get their
/// [`super::DiskRef`]. Never drop it: give [`Image::into_trees`] to [`Map::release`].
#[derive(Debug, Default)]
#[must_use]
pub struct Image {
    /// Every version.
    pub versions: Vec<VersionRecord>,
    /// Which volumes ever wrote into which family, deleted volumes included.
    pub members: Vec<(VolumeId, FamilyId)>,
}

/// Why a loaded image is not a map.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RestoreError {
    /// The number is taken or too large.
    #[error("version {0:?} occurs twice or has too large a number")]
    Id(VersionId),
    /// The parent is missing, a head, or in another family; or the version is its own ancestor.
    #[error("version {0:?} has a parent that cannot be one")]
    Parent(VersionId),
    /// The volume or snapshot is another version's.
    #[error("version {0:?} has a name that is taken")]
    Name(VersionId),
    /// Larger than a volume can be.
    #[error("version {0:?} is larger than a volume can be")]
    Size(VersionId),
}

impl Image {
    /// What [`Map::release`] needs.
    pub fn into_trees(self) -> impl Iterator<Item = Tree> {
        self.versions.into_iter().map(|version| version.tree)
    }
}

impl Map {
    /// Freezes the whole map. Costs a handle for each version.
    pub fn freeze(&self) -> Image {
        let versions = self.versions().map(|(id, version)| VersionRecord {
            id,
            parent: version.parent,
            kind: version.kind,
            family: version.family,
            end: version.end,
            tree: version.tree.share(),
        });
        Image { versions: versions.collect(), members: self.members.iter().copied().collect() }
    }

    /// The map an image was frozen from. Deletions that were under way start again. Other handles on the nodes may
    /// be dropped afterwards without harm, and should be before the map is written.
    ///
    /// # Errors
    /// The image cannot have been frozen from a map.
    pub fn restore(image: Image) -> Result<Self, RestoreError> {
        let mut map = Self::default();
        let ids: Vec<VersionId> = image.versions.iter().map(|version| version.id).collect();
        for record in image.versions {
            map.admit(record)?;
        }
        for &id in &ids {
            map.hang_in(id)?;
        }
        map.check_descent(&ids)?;
        map.slots.index_vacant();
        map.members.extend(image.members.into_iter().filter(|(_, family)| map.families.contains_key(family)));
        map.deletions = map.versions().filter(|(_, version)| version.is_doomed()).map(|(id, _)| id).collect();
        map.ledger.counts = map.recount();
        map.ledger.unwritten_pages = map.recount_unwritten();
        Ok(map)
    }

    /// Takes back handles on frozen nodes. The work is left to [`Map::release_step`].
    pub fn release(&mut self, trees: impl IntoIterator<Item = Tree>) {
        self.released.extend(trees.into_iter().filter_map(Tree::into_root));
    }

    /// Goes on with what was released: handles up to `budget` handles, about 50 ns each.
    pub fn release_step(&mut self, budget: usize) -> Progress {
        for _ in 0..budget {
            let Some(node) = self.released.pop() else { break };
            self.ledger.release_one(node, &mut self.released);
        }
        if self.released.is_empty() { Progress::Done } else { Progress::More }
    }

    fn admit(&mut self, record: VersionRecord) -> Result<(), RestoreError> {
        let VersionRecord { id, parent, kind, family, end, tree } = record;
        if self.slots.contains(id) || id.0 as usize >= VERSIONS_MAX {
            return Err(RestoreError::Id(id));
        }
        let taken = match kind {
            Kind::Head(volume) => self.heads.contains_key(&volume),
            Kind::Snapshot(snapshot) => self.snapshots.contains_key(&snapshot),
            Kind::Hidden => false,
        };
        if taken {
            return Err(RestoreError::Name(id));
        }
        if end > END_MAX {
            return Err(RestoreError::Size(id));
        }
        self.slots.put(id, Version { parent, children: Vec::new(), kind, family, end, tree });
        self.register(id);
        Ok(())
    }

    fn hang_in(&mut self, id: VersionId) -> Result<(), RestoreError> {
        let Version { parent, family, .. } = *self.version(id);
        let Some(parent) = parent else { return Ok(()) };
        if !self.slots.contains(parent) {
            return Err(RestoreError::Parent(id));
        }
        let above = self.slots.get_mut(parent);
        if above.family != family || matches!(above.kind, Kind::Head(_)) {
            return Err(RestoreError::Parent(id));
        }
        above.children.push(id);
        Ok(())
    }

    /// Every version descends from one without a parent.
    fn check_descent(&self, ids: &[VersionId]) -> Result<(), RestoreError> {
        let roots = self.versions().filter(|(_, version)| version.parent.is_none());
        let mut pending: Vec<VersionId> = roots.map(|(id, _)| id).collect();
        let mut reached = BTreeSet::new();
        while let Some(id) = pending.pop() {
            reached.insert(id);
            pending.extend(&self.version(id).children);
        }
        ids.iter().find(|id| !reached.contains(id)).map_or(Ok(()), |&id| Err(RestoreError::Parent(id)))
    }

    /// The distinct nodes of all versions, and of what was released and not looked at yet.
    pub(super) fn recount(&self) -> NodeCounts {
        let roots = self.versions().filter_map(|(_, version)| version.tree.root());
        count_nodes(roots.chain(&self.released))
    }

    fn recount_unwritten(&self) -> u64 {
        let roots = self.versions().filter_map(|(_, version)| version.tree.root());
        count_unwritten(roots.chain(&self.released))
    }
}

/// Distinct nodes that can be reached from `roots`.
pub(super) fn count_nodes<'a>(roots: impl Iterator<Item = &'a Node>) -> NodeCounts {
    let mut counts = NodeCounts::default();
    for_each_node(roots, |node| counts.add(node));
    counts
}

/// Pages of those without a copy on disk.
pub(super) fn count_unwritten<'a>(roots: impl Iterator<Item = &'a Node>) -> u64 {
    let mut pages = 0;
    for_each_node(roots, |node| pages += if node.disk().is_none() { node_pages(node) } else { 0 });
    pages
}

fn for_each_node<'a>(roots: impl Iterator<Item = &'a Node>, mut visit: impl FnMut(&'a Node)) {
    let mut seen = BTreeSet::new();
    let mut pending: Vec<&Node> = roots.collect();
    while let Some(node) = pending.pop() {
        if node.is_shared() && !seen.insert(address(node)) {
            continue;
        }
        visit(node);
        if let Node::Inner(inner) = node {
            pending.extend(inner.children().map(|(_, child)| child));
        }
    }
}

fn address(node: &Node) -> usize {
    match node {
        Node::Leaf(leaf) => Arc::as_ptr(leaf).addr(),
        Node::Inner(inner) => Arc::as_ptr(inner).addr(),
    }
}
