//! What a volume holds, as little as is needed to see whether another replica holds the same. From the map alone: nothing
//! is read from the device.

use block::{BLOCK_BYTES, BlockIndex, Checksum, GROUP_BLOCKS, GroupIndex, PoolOffset, SnapshotId, VolumeId};

use crate::Store;
use crate::contents::group_range;
use crate::effect::Refusal;
use crate::geometry::offset_of;
use crate::map::{Entry, Run, VersionId};
use crate::requests::Source;

/// What a group holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GroupDigest {
    /// Of where its blocks are not zeroes, and of their checksums. The same for groups that read the same, whether their
    /// zeroes are written or not.
    pub digest: Checksum,
    /// Blocks that are not zeroes.
    pub blocks: u32,
    /// Blocks that take space in the pool.
    pub mapped: u32,
}

/// Where a block lies, and what it must be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HeldBlock {
    /// Where.
    pub at: PoolOffset,
    /// What its bytes must add up to.
    pub checksum: Checksum,
}

impl Store {
    /// Digests of `count` groups from `first` on; those behind the volume's end are empty.
    ///
    /// # Errors
    /// [`Refusal::NoSuchVolume`].
    pub fn digests(&self, volume: VolumeId, first: GroupIndex, count: u32) -> Result<Vec<GroupDigest>, Refusal> {
        self.digests_with(volume, &[], first, count)
    }

    /// As [`Store::digests`], each with those of the group in these snapshots behind it, in this order.
    ///
    /// # Errors
    /// [`Refusal::NoSuchVolume`], [`Refusal::NoSuchSnapshot`].
    pub fn digests_with(
        &self,
        volume: VolumeId,
        snapshots: &[SnapshotId],
        first: GroupIndex,
        count: u32,
    ) -> Result<Vec<GroupDigest>, Refusal> {
        let head = self.find(volume)?.version;
        let versions = snapshots.iter().map(|snapshot| self.version_of(Source::Snapshot(*snapshot)));
        let versions: Vec<VersionId> = versions.collect::<Result<_, _>>()?;
        let zeroes = Checksum::of(&[0; BLOCK_BYTES]);
        let groups = (first.0..first.0 + u64::from(count)).map(GroupIndex);
        Ok(groups.map(|group| self.digest_with(head, &versions, group, zeroes)).collect())
    }

    /// Blocks of a group of a snapshot that none of these holds as well, at the same place of the disk.
    #[must_use]
    pub fn held_alone(&self, snapshot: SnapshotId, group: GroupIndex, beside: &[Source]) -> u32 {
        let map = &self.contents.map;
        let Ok(version) = self.version_of(Source::Snapshot(snapshot)) else { return 0 };
        let Some(range) = group_range(group, map.version(version).end()) else { return 0 };
        let beside: Vec<VersionId> = beside.iter().filter_map(|source| self.version_of(*source).ok()).collect();
        if beside.iter().any(|other| map.shares_group(version, *other, group)) {
            return 0;
        }
        let lies = |version, block| map.lookup(version, block).map(|entry| entry.location);
        let is_alone = |block: &u64| {
            let here = lies(version, BlockIndex(*block));
            here.is_some() && beside.iter().all(|other| lies(*other, BlockIndex(*block)) != here)
        };
        let count = (range.first.0..range.end().0).filter(is_alone).count();
        u32::try_from(count).expect("at most a group")
    }

    fn digest_with(&self, head: VersionId, versions: &[VersionId], group: GroupIndex, zeroes: Checksum) -> GroupDigest {
        let map = &self.contents.map;
        let of = |version| self.digest_of(version, group_range(group, map.version(version).end()), zeroes);
        let mut found = of(head);
        let mut before: Option<(VersionId, GroupDigest)> = None;
        for version in versions.iter().copied() {
            // Most of them share most of what they hold.
            let same = before.filter(|(before, _)| map.shares_group(*before, version, group));
            let digest = same.map_or_else(|| of(version), |(_, digest)| digest);
            found.digest = found.digest.then(&digest.digest.0.to_le_bytes());
            before = Some((version, digest));
        }
        found
    }

    fn digest_of(&self, version: VersionId, range: Option<block::BlockRange>, zeroes: Checksum) -> GroupDigest {
        let mut group = GroupDigest { digest: Checksum(0), blocks: 0, mapped: 0 };
        let Some(range) = range else { return group };
        let mut at = 0_u32;
        for run in self.contents.map.runs(version, range) {
            match run {
                Run::Hole { count } => at += count.0,
                Run::Mapped { entries } => {
                    for entry in entries {
                        group.add(at, entry, zeroes);
                        at += 1;
                    }
                }
            }
        }
        group
    }

    /// What a volume or snapshot holds in a block; `None` when that reads as zeroes, or is not there.
    #[must_use]
    pub fn held(&self, source: impl Into<Source>, block: BlockIndex) -> Option<HeldBlock> {
        let version = self.version_of(source.into()).ok()?;
        let inside = block < self.contents.map.version(version).end();
        let entry = inside.then(|| self.contents.map.lookup(version, block))??;
        Some(HeldBlock { at: offset_of(entry.location), checksum: entry.crc })
    }
}

impl GroupDigest {
    fn add(&mut self, at: u32, entry: &Entry, zeroes: Checksum) {
        self.mapped += 1;
        if entry.crc == zeroes {
            return;
        }
        let at = u8::try_from(at % GROUP_BLOCKS).expect("a group has 64 blocks");
        self.digest = self.digest.then(&[at]).then(&entry.crc.0.to_le_bytes());
        self.blocks += 1;
    }
}
