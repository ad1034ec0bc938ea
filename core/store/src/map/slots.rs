//! Where the versions are kept: a slab, so that the hot path finds one by index.

use super::tree::Tree;
use super::version::{Version, VersionId};

const EXISTS: &str = "the number of a version that exists";

#[derive(Debug, Default)]
pub(super) struct Slots {
    versions: Vec<Option<Version>>,
    vacant: Vec<VersionId>,
}

impl Slots {
    pub(super) fn len(&self) -> usize {
        self.versions.len() - self.vacant.len()
    }

    pub(super) fn contains(&self, id: VersionId) -> bool {
        self.versions.get(id.0 as usize).is_some_and(Option::is_some)
    }

    pub(super) fn get(&self, id: VersionId) -> &Version {
        self.versions[id.0 as usize].as_ref().expect(EXISTS)
    }

    pub(super) fn get_mut(&mut self, id: VersionId) -> &mut Version {
        self.versions[id.0 as usize].as_mut().expect(EXISTS)
    }

    pub(super) fn parent_tree(&self, id: VersionId) -> Option<&Tree> {
        self.get(id).parent.map(|parent| &self.get(parent).tree)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (VersionId, &Version)> {
        (0..).map(VersionId).zip(&self.versions).filter_map(|(id, slot)| slot.as_ref().map(|version| (id, version)))
    }

    pub(super) fn add(&mut self, version: Version) -> VersionId {
        let id = self.vacant.pop().unwrap_or_else(|| {
            self.versions.push(None);
            VersionId(u32::try_from(self.versions.len() - 1).expect("at most VERSIONS_MAX"))
        });
        self.versions[id.0 as usize] = Some(version);
        id
    }

    /// For loading, with [`Slots::index_vacant`] at the end: the slot is vacant, `id` below `VERSIONS_MAX`.
    pub(super) fn put(&mut self, id: VersionId, version: Version) {
        let index = id.0 as usize;
        if self.versions.len() <= index {
            self.versions.resize_with(index + 1, || None);
        }
        self.versions[index] = Some(version);
    }

    pub(super) fn index_vacant(&mut self) {
        let vacant = (0..).map(VersionId).zip(&self.versions).filter_map(|(id, slot)| slot.is_none().then_some(id));
        self.vacant = vacant.collect();
    }

    pub(super) fn remove(&mut self, id: VersionId) -> Version {
        let version = self.versions[id.0 as usize].take().expect(EXISTS);
        self.vacant.push(id);
        version
    }
}
