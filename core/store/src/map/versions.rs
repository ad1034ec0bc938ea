//! The versions of a pool: how they come to be, their names, their tree.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;

use block::{BLOCK_SHIFT, BlockIndex, BlockRange, SnapshotId, VOLUME_BYTES_MAX, VolumeId};

use super::delete::Deletions;
use super::entry::{DiskRef, LeafIndex};
use super::ledger::{Ledger, NodeCounts};
use super::node::Node;
use super::slots::Slots;
use super::tree::Tree;
use super::version::{FamilyId, Kind, Version, VersionId};

/// Most versions of a pool, hidden ones included.
pub const VERSIONS_MAX: usize = 1 << 16;

/// The block after the last one of the largest volume.
pub(super) const END_MAX: BlockIndex = BlockIndex(VOLUME_BYTES_MAX >> BLOCK_SHIFT);

/// All versions of all volumes of a pool.
#[derive(Debug, Default)]
pub struct Map {
    pub(super) slots: Slots,
    pub(super) heads: BTreeMap<VolumeId, VersionId>,
    pub(super) snapshots: BTreeMap<SnapshotId, VersionId>,
    pub(super) families: BTreeMap<FamilyId, Vec<VersionId>>,
    /// Which volumes ever wrote into which family. A volume that was deleted and created again has several.
    pub(super) members: BTreeSet<(VolumeId, FamilyId)>,
    pub(super) deletions: Deletions,
    /// Handles that were given back and not looked at yet.
    pub(super) released: Vec<Node>,
    pub(super) ledger: Ledger,
}

/// Which state a clone starts from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// The present state of a volume.
    Head(VolumeId),
    /// A snapshot.
    Snapshot(SnapshotId),
}

/// Why a version was not made, changed or deleted. Nothing was changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum VersionError {
    /// No such volume.
    #[error("volume {0} is not in this pool")]
    NoSuchVolume(VolumeId),
    /// No such snapshot.
    #[error("snapshot {0} is not in this pool")]
    NoSuchSnapshot(SnapshotId),
    /// The volume's id is taken.
    #[error("volume {0} exists")]
    VolumeExists(VolumeId),
    /// The snapshot's id is taken.
    #[error("snapshot {0} exists")]
    SnapshotExists(SnapshotId),
    /// A volume never shrinks, a clone is at least as large as its source, and 64 TiB is the most.
    #[error("{asked} blocks are less than there are, or more than a volume can have")]
    Size {
        /// The size that was asked for.
        asked: BlockIndex,
    },
    /// The pool holds [`VERSIONS_MAX`] versions, or so many that it could not hold the ones this needs.
    #[error("the pool holds its maximum of versions")]
    TooMany,
}

impl Map {
    /// Creates a volume of `end` blocks that reads as zeroes, in a family of its own.
    ///
    /// # Errors
    /// The id is taken, the size too large, or there are too many versions.
    pub fn create_head(&mut self, volume: VolumeId, end: BlockIndex) -> Result<VersionId, VersionError> {
        self.check_new_head(volume, BlockIndex(0), end)?;
        self.check_room(1)?;
        let family = FamilyId(self.families.last_key_value().map_or(0, |(last, _)| last.0 + 1));
        let root = Version {
            parent: None,
            children: Vec::new(),
            kind: Kind::Head(volume),
            family,
            end,
            tree: Tree::default(),
        };
        Ok(self.add(root))
    }

    /// Freezes the volume's present state as a snapshot: the version that is answered. It takes the head's place, and
    /// the head, which keeps its number, becomes its child. No block is touched.
    ///
    /// # Errors
    /// There is no such volume, the snapshot's id is taken, or there are too many versions.
    pub fn snapshot(&mut self, volume: VolumeId, id: SnapshotId) -> Result<VersionId, VersionError> {
        let head = self.head(volume).ok_or(VersionError::NoSuchVolume(volume))?;
        self.snapshot_until(volume, id, self.version(head).end)
    }

    /// The same, but the snapshot ends at `end`, behind which nothing was ever written.
    ///
    /// # Errors
    /// The same; and the volume ends before.
    pub fn snapshot_until(
        &mut self,
        volume: VolumeId,
        id: SnapshotId,
        end: BlockIndex,
    ) -> Result<VersionId, VersionError> {
        let head = self.head(volume).ok_or(VersionError::NoSuchVolume(volume))?;
        if end > self.version(head).end {
            return Err(VersionError::Size { asked: end });
        }
        if self.snapshots.contains_key(&id) {
            return Err(VersionError::SnapshotExists(id));
        }
        self.check_room(1)?;
        let frozen = self.freeze_head(head, Kind::Snapshot(id));
        self.slots.get_mut(frozen).end = end;
        Ok(frozen)
    }

    /// Creates a volume of `end` blocks that starts from another's state. To clone a head, a hidden version is frozen
    /// first, of which both heads are children. No block is touched.
    ///
    /// # Errors
    /// There is no such source, the id is taken, the size below the source's or too large, or there are too many
    /// versions.
    pub fn clone_from(&mut self, source: Source, volume: VolumeId, end: BlockIndex) -> Result<VersionId, VersionError> {
        let origin = match source {
            Source::Head(from) => self.head(from).ok_or(VersionError::NoSuchVolume(from))?,
            Source::Snapshot(from) => self.snapshot_version(from).ok_or(VersionError::NoSuchSnapshot(from))?,
        };
        self.check_new_head(volume, self.version(origin).end, end)?;
        let parent = match source {
            Source::Head(_) => {
                self.check_room(2)?;
                self.freeze_head(origin, Kind::Hidden)
            }
            Source::Snapshot(_) => {
                self.check_room(1)?;
                origin
            }
        };
        let Version { family, ref tree, .. } = *self.version(parent);
        let tree = tree.share();
        let kind = Kind::Head(volume);
        let clone = self.add(Version { parent: Some(parent), children: Vec::new(), kind, family, end, tree });
        self.slots.get_mut(parent).children.push(clone);
        Ok(clone)
    }

    /// Grows a volume to `end` blocks; what is added reads as zeroes.
    ///
    /// # Errors
    /// There is no such volume, or the size is below the present one or too large.
    pub fn resize(&mut self, volume: VolumeId, end: BlockIndex) -> Result<(), VersionError> {
        let head = self.head(volume).ok_or(VersionError::NoSuchVolume(volume))?;
        let head = self.slots.get_mut(head);
        if end < head.end || end > END_MAX {
            return Err(VersionError::Size { asked: end });
        }
        head.end = end;
        Ok(())
    }

    /// A volume whose head descends from a version, if there is one.
    #[must_use]
    pub fn volume_below(&self, id: VersionId) -> Option<VolumeId> {
        let mut below = vec![id];
        while let Some(id) = below.pop() {
            match self.version(id).kind {
                Kind::Head(volume) => return Some(volume),
                Kind::Snapshot(_) | Kind::Hidden => below.extend(&self.version(id).children),
            }
        }
        None
    }

    /// The version of a volume's present state.
    #[must_use]
    pub fn head(&self, volume: VolumeId) -> Option<VersionId> {
        self.heads.get(&volume).copied()
    }

    /// The version of a snapshot.
    #[must_use]
    pub fn snapshot_version(&self, id: SnapshotId) -> Option<VersionId> {
        self.snapshots.get(&id).copied()
    }

    /// A version that exists.
    #[must_use]
    pub fn version(&self, id: VersionId) -> &Version {
        self.slots.get(id)
    }

    /// Every version, hidden ones included.
    pub fn versions(&self) -> impl Iterator<Item = (VersionId, &Version)> {
        self.slots.iter()
    }

    /// Number of versions, hidden ones included.
    #[must_use]
    pub fn versions_count(&self) -> usize {
        self.slots.len()
    }

    /// Leaves of a head in the range that its parent version holds as well: changing one makes a copy.
    #[must_use]
    pub fn leaves_shared_with_parent(&self, head: VersionId, range: BlockRange) -> u64 {
        let Some(parent) = self.slots.parent_tree(head) else { return 0 };
        let tree = &self.version(head).tree;
        let mut from = LeafIndex::of(range.first);
        let mut shared = 0;
        while let Some((index, leaf)) = tree.next_leaf(from).filter(|(index, _)| index.first_block() < range.end()) {
            shared += u64::from(parent.leaf(index).is_some_and(|held| std::ptr::eq(held, leaf)));
            from = LeafIndex(index.0 + 1);
        }
        shared
    }

    /// Whether a head has a leaf for the block that its parent version does not hold: changing it makes no copy.
    #[must_use]
    pub fn has_own_leaf(&self, head: VersionId, block: BlockIndex) -> bool {
        let index = LeafIndex::of(block);
        let Some(own) = self.version(head).tree.leaf(index) else { return false };
        let inherited = self.slots.parent_tree(head).and_then(|parent| parent.leaf(index));
        inherited.is_none_or(|held| !std::ptr::eq(held, own))
    }

    /// Distinct nodes in memory, those of images that were not released included.
    #[must_use]
    pub fn counts(&self) -> NodeCounts {
        self.ledger.counts
    }

    /// Pages of those of which there is no copy on disk: what a checkpoint would write now.
    #[must_use]
    pub fn unwritten_pages(&self) -> u64 {
        self.ledger.unwritten_pages
    }

    /// Notes where a copy of a node was written. Once only for each.
    pub fn note_written(&mut self, node: &Node, disk: DiskRef) {
        self.ledger.note_written(node, disk);
    }

    /// Copies on disk that no node stands for any more, because it changed or is gone. To be drained.
    pub fn retired(&mut self) -> &mut Vec<DiskRef> {
        &mut self.ledger.retired
    }

    /// Enters a version in all indices but its parent's children.
    pub(super) fn register(&mut self, id: VersionId) {
        let Version { kind, family, .. } = *self.version(id);
        self.families.entry(family).or_default().push(id);
        match kind {
            Kind::Head(volume) => {
                self.heads.insert(volume, id);
                self.members.insert((volume, family));
            }
            Kind::Snapshot(snapshot) => {
                self.snapshots.insert(snapshot, id);
            }
            Kind::Hidden => {}
        }
    }

    /// Removes a version's name.
    pub(super) fn hide(&mut self, id: VersionId) {
        let kind = mem::replace(&mut self.slots.get_mut(id).kind, Kind::Hidden);
        match kind {
            Kind::Head(volume) => {
                self.heads.remove(&volume);
            }
            Kind::Snapshot(snapshot) => {
                self.snapshots.remove(&snapshot);
            }
            Kind::Hidden => {}
        }
    }

    /// Takes a nameless version out of the tree: what descends from it, descends from its parent now.
    pub(super) fn splice_out(&mut self, id: VersionId) -> Version {
        let version = self.slots.remove(id);
        if let Some(parent) = version.parent {
            let parent = self.slots.get_mut(parent);
            parent.children.retain(|&child| child != id);
            parent.children.extend(&version.children);
        }
        for &child in &version.children {
            self.slots.get_mut(child).parent = version.parent;
        }
        self.leave_family(id, version.family);
        version
    }

    fn leave_family(&mut self, id: VersionId, family: FamilyId) {
        let versions = self.families.get_mut(&family).expect("a version's family exists");
        versions.retain(|&member| member != id);
        if versions.is_empty() {
            self.families.remove(&family);
            self.members.retain(|&(_, of)| of != family);
        }
    }

    fn add(&mut self, version: Version) -> VersionId {
        let id = self.slots.add(version);
        self.register(id);
        id
    }

    /// Puts a frozen copy of a head between it and its parent.
    fn freeze_head(&mut self, head: VersionId, kind: Kind) -> VersionId {
        let Version { parent, family, end, ref tree, .. } = *self.version(head);
        let tree = tree.share();
        let frozen = self.add(Version { parent, children: vec![head], kind, family, end, tree });
        self.slots.get_mut(head).parent = Some(frozen);
        if let Some(parent) = parent {
            let place = self.slots.get_mut(parent).children.iter_mut().find(|child| **child == head);
            *place.expect("a child is among its parent's children") = frozen;
        }
        frozen
    }

    fn check_new_head(&self, volume: VolumeId, least: BlockIndex, end: BlockIndex) -> Result<(), VersionError> {
        if self.heads.contains_key(&volume) {
            return Err(VersionError::VolumeExists(volume));
        }
        if end < least || end > END_MAX {
            return Err(VersionError::Size { asked: end });
        }
        Ok(())
    }

    fn check_room(&self, count: usize) -> Result<(), VersionError> {
        if self.slots.len() + count > VERSIONS_MAX { Err(VersionError::TooMany) } else { Ok(()) }
    }
}
