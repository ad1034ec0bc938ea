//! The block map: where every block of every volume and snapshot of a pool lies, and what its bytes must check
//! against.
//!
//! Each *version*, the present state of a volume (its head) or a frozen one, is a radix tree from blocks to entries.
//! Trees share their nodes: a snapshot is a handle on a root, and the first write below a shared node copies it.
//! Versions form trees by descent; a location is held by a connected part of one. From that follows who still
//! references a location ([`Map::set`], [`Map::delete_step`]) by looking at neighbours only.
//!
//! What the map promises:
//! - Every location that dies is told once, when it dies; what is live is exactly what some version holds, a hidden
//!   one included, at every moment.
//! - [`Map::counts`] and [`Map::retired`] are exact. Nodes are freed by walks that count, never by `Drop`.
//! - A frozen [`Image`] never changes but for the notes where its nodes were written.
//!
//! What it does not do: no I/O, no bytes of the disk format, no space accounting per segment. It does not check what
//! a client asks; a range that does not lie in its volume is a bug of the caller.

mod changed;
mod delete;
mod differences;
mod entry;
mod image;
mod leaf;
mod ledger;
mod node;
mod relocate;
mod restamp;
mod runs;
mod slots;
mod space;
mod tree;
mod version;
mod versions;
mod walk;
mod write;

#[cfg(test)]
mod tests;

use block::{BlockIndex, BlockRange, GroupIndex, WriteSeq};

use entry::{LeafIndex, first_of_group, group_in_leaf};

pub use changed::{Changed, ChangedGroup};
pub use delete::Progress;
pub use differences::{Base, Difference, Differences};
pub use entry::{DiskRef, Entry, FANOUT, LEAF_BLOCKS, LEVEL_MAX, Location, Place};
pub use image::{Image, RestoreError};
pub use leaf::{Group, Leaf};
pub use ledger::NodeCounts;
pub use node::{Inner, Node};
pub use restamp::{Restamp, RestampCost};
pub use runs::{Run, Runs};
pub use space::{Space, SpaceQuery};
pub use tree::Tree;
pub use version::{FamilyId, Kind, Version, VersionId, VersionRecord};
pub use versions::{Map, Source, VERSIONS_MAX, VersionError};
pub use walk::{Unwritten, Walk};
pub use write::PlacedGroup;

impl Map {
    /// Where a block of a version lies; `None` when it reads as zeroes.
    #[must_use]
    pub fn lookup(&self, version: VersionId, block: BlockIndex) -> Option<Entry> {
        self.version(version).tree.lookup(block)
    }

    /// A range of a version as runs of blocks alike.
    #[must_use]
    pub fn runs(&self, version: VersionId, range: BlockRange) -> Runs<'_> {
        self.version(version).tree.runs(range)
    }

    /// The groups of a version, from `from` on, that a write after `since` touched.
    #[must_use]
    pub fn changed(&self, version: VersionId, since: WriteSeq, from: GroupIndex) -> Changed<'_> {
        self.version(version).tree.changed(since, from)
    }

    /// Whether two versions of the same size have the very same leaf where a group lies.
    #[must_use]
    pub fn shares_group(&self, one: VersionId, other: VersionId, group: GroupIndex) -> bool {
        let leaf = |version| self.version(version).tree.leaf(LeafIndex::of(first_of_group(group)));
        let is_same = match (leaf(one), leaf(other)) {
            (Some(one), Some(other)) => std::ptr::eq(one, other),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        is_same && self.version(one).end == self.version(other).end
    }

    /// The newest write that touched a group of a version; [`WriteSeq::ZERO`] when none did.
    #[must_use]
    pub fn born(&self, version: VersionId, group: GroupIndex) -> WriteSeq {
        let leaf = self.version(version).tree.leaf(LeafIndex::of(first_of_group(group)));
        leaf.and_then(|leaf| leaf.born(group_in_leaf(group))).unwrap_or(WriteSeq::ZERO)
    }
}
