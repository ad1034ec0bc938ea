//! A checkpoint's root table: every version with the root of its tree, every volume, and which families the ids in
//! older log entries belong to.

use block::{Checksum, Epoch, SnapshotId, VolumeId, WriteSeq};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::batch::parse_name;
use crate::{Damage, Extent, VOLUME_NAME_BYTES_MAX, expect_field};

const MAGIC: u64 = u64::from_le_bytes(*b"PLroots1");
const NO_PARENT: u64 = u64::MAX;
const _: () = assert!(size_of::<RawTable>() == 32, "FORMAT.md says 32");
const _: () = assert!(size_of::<RawVersion>() == 80, "FORMAT.md says 80");
const _: () = assert!(size_of::<RawVolume>() == 200, "FORMAT.md says 200");
const _: () = assert!(size_of::<RawAlias>() == 16, "FORMAT.md says 16");

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy)]
#[repr(C)]
struct RawTable {
    magic: U64,
    versions: U32,
    volumes: U32,
    aliases: U32,
    reserved: U32,
    reserved_tail: U64,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy)]
#[repr(C)]
struct RawVersion {
    id: U64,
    parent: U64,
    subject: U64,
    family: U64,
    size_blocks: U64,
    seq: U64,
    epoch: U32,
    root_at: U32,
    root_checksum: U32,
    root_pages: u8,
    kind: u8,
    root_level: u8,
    reserved: u8,
    volume: U64,
    reserved_tail: U64,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy)]
#[repr(C)]
struct RawVolume {
    id: U64,
    version: U64,
    size_bytes: U64,
    last_seq: U64,
    stable_seq: U64,
    last_epoch: U32,
    stable_epoch: U32,
    epoch: U32,
    name_bytes: U16,
    reserved: U16,
    reserved_tail: [U64; 2],
    name: [u8; VOLUME_NAME_BYTES_MAX],
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy)]
#[repr(C)]
struct RawAlias {
    volume: U64,
    family: U64,
}

/// What a version is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VersionKind {
    /// The present state of a volume.
    Head(VolumeId),
    /// A snapshot.
    Snapshot(SnapshotId),
    /// A branch point nobody can name.
    Hidden,
}

/// A version of a volume and where its tree begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VersionRecord {
    /// Its number in the pool.
    pub id: u64,
    /// The version it was made from.
    pub parent: Option<u64>,
    /// What it is.
    pub kind: VersionKind,
    /// The volume all versions of its family descend from.
    pub family: u64,
    /// Its size.
    pub size_blocks: u64,
    /// The write order's last entry that it contains, for a snapshot.
    pub seq: WriteSeq,
    /// The volume that a snapshot is of; `None` also where a program wrote it that did not note it.
    pub volume: Option<VolumeId>,
    /// Root node, `None` when nothing is mapped.
    pub root: Option<Extent>,
    /// The root node's level, 0 for a leaf.
    pub root_level: u8,
}

/// A volume.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VolumeRecord {
    /// Its id.
    pub id: VolumeId,
    /// Its name.
    pub name: String,
    /// The version that is its head.
    pub version: u64,
    /// Its size.
    pub size_bytes: u64,
    /// The last entry of its write order.
    pub last_seq: WriteSeq,
    /// Its common stable point.
    pub stable: WriteSeq,
    /// Highest epoch seen.
    pub epoch: Epoch,
}

/// Which family log entries of a volume belong to, also after the volume is gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AliasRecord {
    /// The volume.
    pub volume: VolumeId,
    /// Its family.
    pub family: u64,
}

/// The whole table.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RootTable {
    /// Every version, parents before children.
    pub versions: Vec<VersionRecord>,
    /// Every volume.
    pub volumes: Vec<VolumeRecord>,
    /// Every family name still in use.
    pub aliases: Vec<AliasRecord>,
}

impl RootTable {
    /// The table's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let count = |len: usize| U32::new(u32::try_from(len).expect("limits keep the table small"));
        let table = RawTable {
            magic: MAGIC.into(),
            versions: count(self.versions.len()),
            volumes: count(self.volumes.len()),
            aliases: count(self.aliases.len()),
            reserved: 0.into(),
            reserved_tail: 0.into(),
        };
        let mut bytes = table.as_bytes().to_vec();
        for version in &self.versions {
            bytes.extend_from_slice(encode_version(version).as_bytes());
        }
        for volume in &self.volumes {
            bytes.extend_from_slice(encode_volume(volume).as_bytes());
        }
        for alias in &self.aliases {
            let raw = RawAlias { volume: alias.volume.0.into(), family: alias.family.into() };
            bytes.extend_from_slice(raw.as_bytes());
        }
        bytes
    }

    /// Reads the table from bytes whose checksum the caller has verified; bytes behind it are ignored.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, Damage> {
        let short = Damage::Field { field: "length of a root table", found: bytes.len() as u64 };
        let (table, rest) = RawTable::ref_from_prefix(bytes).map_err(|_| short)?;
        if table.magic.get() != MAGIC {
            return Err(Damage::Magic { found: table.magic.get(), expected: MAGIC });
        }
        let (versions, rest) =
            <[RawVersion]>::ref_from_prefix_with_elems(rest, table.versions.get() as usize).map_err(|_| short)?;
        let (volumes, rest) =
            <[RawVolume]>::ref_from_prefix_with_elems(rest, table.volumes.get() as usize).map_err(|_| short)?;
        let (aliases, _) =
            <[RawAlias]>::ref_from_prefix_with_elems(rest, table.aliases.get() as usize).map_err(|_| short)?;
        let alias = |raw: &RawAlias| AliasRecord { volume: VolumeId(raw.volume.get()), family: raw.family.get() };
        Ok(Self {
            versions: versions.iter().map(parse_version).collect::<Result<_, _>>()?,
            volumes: volumes.iter().map(parse_volume).collect::<Result<_, _>>()?,
            aliases: aliases.iter().map(alias).collect(),
        })
    }
}

fn encode_version(version: &VersionRecord) -> RawVersion {
    let (kind, subject) = match version.kind {
        VersionKind::Head(volume) => (0, volume.0),
        VersionKind::Snapshot(snapshot) => (1, snapshot.0),
        VersionKind::Hidden => (2, 0),
    };
    let root = version.root.unwrap_or(Extent { at: 0, pages: 0, checksum: Checksum(0) });
    RawVersion {
        id: version.id.into(),
        parent: version.parent.unwrap_or(NO_PARENT).into(),
        subject: subject.into(),
        family: version.family.into(),
        size_blocks: version.size_blocks.into(),
        seq: version.seq.n.into(),
        epoch: version.seq.epoch.0.into(),
        root_at: root.at.into(),
        root_checksum: root.checksum.0.into(),
        root_pages: u8::try_from(root.pages).expect("a node takes at most three pages"),
        kind,
        root_level: version.root_level,
        reserved: 0,
        volume: version.volume.map_or(0, |volume| volume.0).into(),
        reserved_tail: 0.into(),
    }
}

fn parse_version(raw: &RawVersion) -> Result<VersionRecord, Damage> {
    let kind = match raw.kind {
        0 => VersionKind::Head(VolumeId(raw.subject.get())),
        1 => VersionKind::Snapshot(SnapshotId(raw.subject.get())),
        2 => VersionKind::Hidden,
        other => return Err(Damage::Field { field: "kind of a version", found: other.into() }),
    };
    expect_field("pages of a root node", raw.root_pages <= 3, raw.root_pages)?;
    let root =
        Extent { at: raw.root_at.get(), pages: raw.root_pages.into(), checksum: Checksum(raw.root_checksum.get()) };
    Ok(VersionRecord {
        id: raw.id.get(),
        parent: (raw.parent.get() != NO_PARENT).then(|| raw.parent.get()),
        kind,
        family: raw.family.get(),
        size_blocks: raw.size_blocks.get(),
        seq: WriteSeq { epoch: Epoch(raw.epoch.get()), n: raw.seq.get() },
        volume: Some(VolumeId(raw.volume.get())).filter(|volume| volume.0 > 0),
        root: (root.pages > 0).then_some(root),
        root_level: raw.root_level,
    })
}

fn encode_volume(volume: &VolumeRecord) -> RawVolume {
    let mut name = [0; VOLUME_NAME_BYTES_MAX];
    name[..volume.name.len()].copy_from_slice(volume.name.as_bytes());
    RawVolume {
        id: volume.id.0.into(),
        version: volume.version.into(),
        size_bytes: volume.size_bytes.into(),
        last_seq: volume.last_seq.n.into(),
        stable_seq: volume.stable.n.into(),
        last_epoch: volume.last_seq.epoch.0.into(),
        stable_epoch: volume.stable.epoch.0.into(),
        epoch: volume.epoch.0.into(),
        name_bytes: u16::try_from(volume.name.len()).expect("at most VOLUME_NAME_BYTES_MAX").into(),
        reserved: 0.into(),
        reserved_tail: [0.into(); 2],
        name,
    }
}

fn parse_volume(raw: &RawVolume) -> Result<VolumeRecord, Damage> {
    Ok(VolumeRecord {
        id: VolumeId(raw.id.get()),
        name: parse_name(&raw.name, raw.name_bytes.get())?,
        version: raw.version.get(),
        size_bytes: raw.size_bytes.get(),
        last_seq: WriteSeq { epoch: Epoch(raw.last_epoch.get()), n: raw.last_seq.get() },
        stable: WriteSeq { epoch: Epoch(raw.stable_epoch.get()), n: raw.stable_seq.get() },
        epoch: Epoch(raw.epoch.get()),
    })
}

#[cfg(test)]
mod tests {
    use super::{AliasRecord, RootTable, VersionKind, VersionRecord, VolumeRecord};
    use crate::Extent;
    use block::{Checksum, Epoch, SnapshotId, VolumeId, WriteSeq};

    fn table() -> RootTable {
        let seq = WriteSeq { epoch: Epoch(1), n: 2 };
        let version = |id, parent, kind, root| VersionRecord {
            id,
            parent,
            kind,
            family: 1,
            size_blocks: 256,
            seq,
            volume: matches!(kind, VersionKind::Snapshot(_)).then_some(VolumeId(1)),
            root,
            root_level: 2,
        };
        RootTable {
            versions: vec![
                version(1, None, VersionKind::Hidden, None),
                version(2, Some(1), VersionKind::Snapshot(SnapshotId(3)), None),
                version(
                    3,
                    Some(2),
                    VersionKind::Head(VolumeId(1)),
                    Some(Extent { at: 7, pages: 1, checksum: Checksum(2) }),
                ),
            ],
            volumes: vec![VolumeRecord {
                id: VolumeId(1),
                name: "a".repeat(128),
                version: 3,
                size_bytes: 1 << 20,
                last_seq: seq,
                stable: WriteSeq::ZERO,
                epoch: Epoch(1),
            }],
            aliases: vec![AliasRecord { volume: VolumeId(1), family: 1 }],
        }
    }

    #[test]
    fn a_table_reads_back_as_it_was_written() {
        let bytes = table().encode();
        assert_eq!(RootTable::parse(&bytes), Ok(table()));
        for len in 0..bytes.len() {
            assert!(RootTable::parse(&bytes[..len]).is_err(), "{len} bytes");
        }
    }
}
