//! Reading a checkpoint: the root table, then every node of every version, level by level, many at once. Nodes that
//! versions share on disk become one node in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use block::{Checksum, Page, Pages, PoolOffset, VolumeId};
use layout::{Damage, InnerChild, NodeReader, RootTable, Superblock, VersionKind};

use crate::effect::DiskError;
use crate::geometry::{Geometry, offset_of};
use crate::job::Media;
use crate::map::{
    DiskRef, Entry, FamilyId, Image, Inner, Kind, Leaf, Location, Node, RestoreError, Tree, VersionId, VersionRecord,
};

/// Nodes read at once.
const NODES_AT_ONCE: usize = 1024;

/// Why a checkpoint cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LoadError {
    /// The device failed.
    #[error("{what} at {at} cannot be read: {error}")]
    Unreadable {
        /// What should be there.
        what: &'static str,
        /// Where.
        at: PoolOffset,
        /// What the device said.
        error: DiskError,
    },
    /// The bytes are not what was written.
    #[error("{what} at {at} is damaged: {damage}")]
    Damaged {
        /// What should be there.
        what: &'static str,
        /// Where.
        at: PoolOffset,
        /// What is wrong.
        damage: Damage,
    },
    /// The pieces do not make a map.
    #[error("the checkpoint contradicts itself: {0}")]
    Contradiction(#[from] RestoreError),
}

/// What is to be read and how it must turn out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Wanted {
    at: u32,
    pages: u8,
    checksum: u32,
    level: u8,
}

impl Wanted {
    fn child(child: &InnerChild, level: u8) -> Self {
        Self { at: child.at, pages: child.pages, checksum: child.checksum.0, level }
    }

    fn disk(self) -> DiskRef {
        DiskRef { at: Location(self.at), pages: self.pages, crc: Checksum(self.checksum) }
    }

    fn offset(self) -> PoolOffset {
        offset_of(Location(self.at))
    }
}

/// Reads the root table that the superblock names.
pub(crate) fn load_roots(media: &dyn Media, superblock: &Superblock) -> Result<RootTable, LoadError> {
    const WHAT: &str = "the root table";
    if superblock.roots.is_empty() {
        return Ok(RootTable::default());
    }
    let mut bytes = Vec::new();
    for extent in &superblock.roots {
        let at = offset_of(Location(extent.at));
        let mut pages = Pages::zeroed(extent.pages as usize);
        media.read(at, pages.pages_mut()).map_err(|error| LoadError::Unreadable { what: WHAT, at, error })?;
        let computed = Checksum::of(pages.bytes());
        if computed != extent.checksum {
            let damage = Damage::Checksum { computed, stored: extent.checksum };
            return Err(LoadError::Damaged { what: WHAT, at, damage });
        }
        bytes.extend_from_slice(pages.bytes());
    }
    let at = offset_of(Location(superblock.roots[0].at));
    RootTable::parse(&bytes).map_err(|damage| LoadError::Damaged { what: WHAT, at, damage })
}

/// Reads every tree of the table; `map_page` hears of every node's place, once.
pub(crate) fn load_image(
    media: &dyn Media,
    geometry: Geometry,
    table: &RootTable,
    map_page: &mut impl FnMut(DiskRef),
) -> Result<Image, LoadError> {
    let root = |record: &layout::VersionRecord| {
        let extent = record.root?;
        let pages = u8::try_from(extent.pages).expect("the table's parser checked it");
        Some(Wanted { at: extent.at, pages, checksum: extent.checksum.0, level: record.root_level })
    };
    let roots: Vec<Option<Wanted>> = table.versions.iter().map(root).collect();
    let mut children: BTreeMap<Wanted, Vec<(u8, Wanted)>> = BTreeMap::new();
    let mut nodes: BTreeMap<Wanted, Node> = BTreeMap::new();
    let top = roots.iter().flatten().map(|wanted| wanted.level).max().unwrap_or(0);
    for level in (0..=top).rev() {
        let above = children.values().flatten().map(|(_, child)| *child);
        let mut wanted: Vec<Wanted> = roots.iter().flatten().copied().chain(above).collect();
        wanted.retain(|wanted| wanted.level == level);
        wanted.sort_unstable();
        wanted.dedup();
        read_nodes(media, geometry, &wanted, &mut |wanted, bytes| {
            map_page(wanted.disk());
            if level == 0 {
                nodes.insert(wanted, Node::Leaf(Arc::new(read_leaf(geometry, wanted, bytes)?)));
            } else {
                children.insert(wanted, read_children(wanted, bytes)?);
            }
            Ok(())
        })?;
    }
    build_inner_nodes(&children, &mut nodes);
    let tree = |wanted: &Option<Wanted>| Tree::new(wanted.map(|wanted| nodes[&wanted].clone()));
    let versions = table.versions.iter().zip(&roots).map(|(record, root)| version(record, tree(root))).collect();
    let member = |alias: &layout::AliasRecord| (alias.volume, FamilyId(id32(alias.family)));
    Ok(Image { versions, members: table.aliases.iter().map(member).collect() })
}

/// Lower levels first, so that a node's children are there.
fn build_inner_nodes(children: &BTreeMap<Wanted, Vec<(u8, Wanted)>>, nodes: &mut BTreeMap<Wanted, Node>) {
    let mut order: Vec<&Wanted> = children.keys().collect();
    order.sort_by_key(|wanted| wanted.level);
    for wanted in order {
        let mut inner = Inner::empty(wanted.level);
        for (index, child) in &children[wanted] {
            inner.insert(*index, nodes[child].clone());
        }
        let node = Node::Inner(Arc::new(inner));
        node.set_disk(wanted.disk());
        nodes.insert(*wanted, node);
    }
}

fn version(record: &layout::VersionRecord, tree: Tree) -> VersionRecord {
    VersionRecord {
        id: VersionId(id32(record.id)),
        parent: record.parent.map(|parent| VersionId(id32(parent))),
        kind: match record.kind {
            VersionKind::Head(volume) => Kind::Head(VolumeId(volume.0)),
            VersionKind::Snapshot(snapshot) => Kind::Snapshot(snapshot),
            VersionKind::Hidden => Kind::Hidden,
        },
        family: FamilyId(id32(record.family)),
        end: block::BlockIndex(record.size_blocks),
        tree,
    }
}

/// Ids are written as 64 bits and used as 32; one that does not fit is refused by the map as out of range.
fn id32(id: u64) -> u32 {
    u32::try_from(id).unwrap_or(u32::MAX)
}

fn read_nodes(
    media: &dyn Media,
    geometry: Geometry,
    wanted: &[Wanted],
    take: &mut impl FnMut(Wanted, &[u8]) -> Result<(), LoadError>,
) -> Result<(), LoadError> {
    for some in wanted.chunks(NODES_AT_ONCE) {
        for wanted in some {
            check_place(geometry, *wanted)?;
        }
        let mut buffers: Vec<Pages> = some.iter().map(|wanted| Pages::zeroed(wanted.pages.into())).collect();
        let mut reads: Vec<(PoolOffset, &mut [Page])> =
            some.iter().zip(&mut buffers).map(|(wanted, pages)| (wanted.offset(), pages.pages_mut())).collect();
        let results = media.read_many(&mut reads);
        for ((wanted, pages), result) in some.iter().zip(&buffers).zip(results) {
            let (what, at) = ("a map node", wanted.offset());
            result.map_err(|error| LoadError::Unreadable { what, at, error })?;
            let computed = Checksum::of(pages.bytes());
            let stored = Checksum(wanted.checksum);
            if computed != stored {
                return Err(LoadError::Damaged { what, at, damage: Damage::Checksum { computed, stored } });
            }
            take(*wanted, pages.bytes())?;
        }
    }
    Ok(())
}

fn check_place(geometry: Geometry, wanted: Wanted) -> Result<(), LoadError> {
    let last = Location(wanted.at.saturating_add(u32::from(wanted.pages).saturating_sub(1)));
    let inside = wanted.pages > 0 && geometry.spot(Location(wanted.at)).is_some() && geometry.spot(last).is_some();
    let damage = Damage::Field { field: "place of a map node", found: wanted.at.into() };
    if inside { Ok(()) } else { Err(LoadError::Damaged { what: "a map node", at: wanted.offset(), damage }) }
}

fn damaged(wanted: Wanted) -> impl Fn(Damage) -> LoadError {
    move |damage| LoadError::Damaged { what: "a map node", at: wanted.offset(), damage }
}

fn read_leaf(geometry: Geometry, wanted: Wanted, bytes: &[u8]) -> Result<Leaf, LoadError> {
    let mut reader = NodeReader::new(bytes).map_err(damaged(wanted))?;
    check_level(wanted, reader.header.level)?;
    let mut leaf = Leaf::empty();
    while let Some((record, entries)) = reader.group().map_err(damaged(wanted))? {
        let mut inside = true;
        let entries = entries.map(|(at, crc)| {
            inside &= geometry.spot(Location(at)).is_some();
            Entry { location: Location(at), crc }
        });
        let filled = leaf.fill_group(record.group.into(), record.born, record.mapped, entries);
        if !filled || !inside {
            let damage = Damage::Field { field: "location of a mapped block", found: 0 };
            return Err(damaged(wanted)(damage));
        }
    }
    leaf.set_disk(wanted.disk());
    Ok(leaf)
}

fn read_children(wanted: Wanted, bytes: &[u8]) -> Result<Vec<(u8, Wanted)>, LoadError> {
    let mut reader = NodeReader::new(bytes).map_err(damaged(wanted))?;
    check_level(wanted, reader.header.level)?;
    let mut children: Vec<(u8, Wanted)> = Vec::new();
    while let Some(child) = reader.child().map_err(damaged(wanted))? {
        let ascending = children.last().is_none_or(|(last, _)| *last < child.index);
        if !ascending {
            let damage = Damage::Field { field: "order of a node's children", found: child.index.into() };
            return Err(damaged(wanted)(damage));
        }
        children.push((child.index, Wanted::child(&child, wanted.level - 1)));
    }
    Ok(children)
}

fn check_level(wanted: Wanted, found: u8) -> Result<(), LoadError> {
    let damage = Damage::Field { field: "level of a map node", found: found.into() };
    if found == wanted.level { Ok(()) } else { Err(damaged(wanted)(damage)) }
}
