//! A version: one state of one volume, frozen or being written.

use block::{BlockIndex, SnapshotId, VolumeId};

use super::tree::Tree;

/// Number of a version. A head keeps its own through snapshots and clones of it; numbers of versions that are gone
/// are used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct VersionId(pub u32);

/// Number of a family: all versions that descend from one created volume, clones included. Only inside a family can
/// versions hold the same location. Used again when the family is gone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FamilyId(pub u32);

/// What a version is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The present state of a volume: the only kind that is written. Never has children.
    Head(VolumeId),
    /// A snapshot.
    Snapshot(SnapshotId),
    /// Nameless. With two or more children, a branch point; with one or none, being deleted.
    Hidden,
}

/// A version as a checkpoint stores it and recovery gives it back.
#[derive(Debug)]
pub struct VersionRecord {
    /// Its number.
    pub id: VersionId,
    /// The version it descends from.
    pub parent: Option<VersionId>,
    /// What it is for.
    pub kind: Kind,
    /// Its family, the same as its parent's.
    pub family: FamilyId,
    /// The block after the last one.
    pub end: BlockIndex,
    /// Its blocks.
    pub tree: Tree,
}

/// One state of one volume.
#[derive(Debug)]
pub struct Version {
    pub(super) parent: Option<VersionId>,
    pub(super) children: Vec<VersionId>,
    pub(super) kind: Kind,
    pub(super) family: FamilyId,
    pub(super) end: BlockIndex,
    pub(super) tree: Tree,
}

impl Version {
    /// The version it descends from.
    #[must_use]
    pub fn parent(&self) -> Option<VersionId> {
        self.parent
    }

    /// The versions that descend from it, in no particular order.
    #[must_use]
    pub fn children(&self) -> &[VersionId] {
        &self.children
    }

    /// What it is for.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Its family.
    #[must_use]
    pub fn family(&self) -> FamilyId {
        self.family
    }

    /// The block after the last one.
    #[must_use]
    pub fn end(&self) -> BlockIndex {
        self.end
    }

    /// Its blocks.
    #[must_use]
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Whether it is, or will be without another decision, being deleted.
    pub(super) fn is_doomed(&self) -> bool {
        self.kind == Kind::Hidden && self.children.len() <= 1
    }
}
