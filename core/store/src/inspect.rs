//! Looking at a pool that nobody serves: what it holds, and whether every block is what was written. Reads only; goes
//! through the very recovery that opening goes through, and stops before a new run begins.

use block::{Checksum, Lsn, Page, Pages, PoolId, PoolOffset, SnapshotId, VolumeId};
use layout::{Damage, Superblock};

use crate::BootId;
use crate::effect::{DiskError, VersionSpace};
use crate::geometry::{Geometry, offset_of};
use crate::job::Media;
use crate::map::{Kind, Location, Map, Run, Version, VersionId};
use crate::open::{OpenError, Recovered, read_superblocks, recover};
use crate::space::Limits;

/// One of the two superblock copies.
#[derive(Clone, Debug)]
pub struct SuperblockCopy {
    /// Where it lies.
    pub at: PoolOffset,
    /// Its number, or what is wrong with it.
    pub number: Result<u64, Damage>,
}

/// A volume, a snapshot, or what deleted ones left.
#[derive(Clone, Debug)]
pub struct VersionFacts {
    /// The version's number in the pool.
    pub id: u32,
    /// The version it was made from.
    pub parent: Option<u32>,
    /// What it is.
    pub kind: VersionName,
    /// Its size.
    pub size_bytes: u64,
    /// What it takes.
    pub space: VersionSpace,
}

/// What a version is called.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum VersionName {
    /// A volume and its name.
    Volume(VolumeId, String),
    /// A snapshot.
    Snapshot(SnapshotId),
    /// A deleted version that others still share blocks with.
    Hidden,
}

/// What a pool holds.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// Its identity.
    pub pool: PoolId,
    /// Both superblocks.
    pub superblocks: [SuperblockCopy; 2],
    /// Format version.
    pub format_version: u16,
    /// Bytes the pool uses.
    pub pool_bytes: u64,
    /// Bytes of a segment.
    pub segment_bytes: u64,
    /// Segments.
    pub segments: u32,
    /// Segments in which something is live.
    pub used_segments: u32,
    /// Whether it was closed in order.
    pub clean: bool,
    /// Whether opening it now would be a cold start: the machine restarted while it was open.
    pub cold: bool,
    /// How often it was opened.
    pub incarnation: u64,
    /// How often that was a cold start.
    pub cold_starts: u64,
    /// First batch behind the last checkpoint.
    pub replay_from: Lsn,
    /// Last batch that counts.
    pub last_lsn: Lsn,
    /// Batches replayed to get there.
    pub replayed_batches: u64,
    /// What clients' data may take.
    pub capacity_bytes: u64,
    /// What it takes.
    pub live_bytes: u64,
    /// What the block map takes on disk.
    pub map_bytes: u64,
    /// Every version.
    pub versions: Vec<VersionFacts>,
}

/// Looks at a pool.
///
/// # Errors
/// See [`OpenError`].
pub fn inspect(media: &dyn Media, device_bytes: u64, boot: BootId) -> Result<Inspection, OpenError> {
    let superblocks = superblock_copies(media)?;
    let recovered = recover(media, device_bytes, boot)?;
    let Recovered { superblock, geometry, contents, replayed, cold } = &recovered;
    let segments = &contents.segments;
    let used = segments.iter().filter(|(_, segment)| segment.live + segment.live_map > 0).count();
    let page = block::PAGE_BYTES as u64;
    Ok(Inspection {
        pool: superblock.pool,
        superblocks,
        format_version: format_version(media, superblock)?,
        pool_bytes: superblock.pool_bytes,
        segment_bytes: geometry.segment_bytes(),
        segments: geometry.segments,
        used_segments: u32::try_from(used).expect("as many as there are segments"),
        clean: superblock.clean,
        cold: *cold,
        incarnation: superblock.incarnation,
        cold_starts: superblock.cold_starts,
        replay_from: superblock.replay.lsn,
        last_lsn: replayed.last,
        replayed_batches: replayed.batches,
        capacity_bytes: Limits::of(*geometry).capacity_blocks * page,
        live_bytes: segments.live_blocks() * page,
        map_bytes: segments.live_map_pages() * page,
        versions: contents.map.versions().map(|(id, version)| facts(&recovered, id, version)).collect(),
    })
}

/// The version that the superblock in force was written in.
fn format_version(media: &dyn Media, superblock: &Superblock) -> Result<u16, OpenError> {
    let mut version = layout::FORMAT_VERSION;
    for at in layout::SUPERBLOCK_OFFSETS {
        let mut page = [Page::ZERO];
        media.read(PoolOffset(at), &mut page)?;
        if Superblock::parse(&page[0].0).as_ref() == Ok(superblock) {
            version = Superblock::format_version(&page[0].0);
        }
    }
    Ok(version)
}

fn superblock_copies(media: &dyn Media) -> Result<[SuperblockCopy; 2], OpenError> {
    let [first, second] = read_superblocks(media)?;
    let [first_at, second_at] = layout::SUPERBLOCK_OFFSETS;
    let copy = |at, parsed: Result<Superblock, Damage>| SuperblockCopy {
        at: PoolOffset(at),
        number: parsed.map(|superblock| superblock.number),
    };
    Ok([copy(first_at, first), copy(second_at, second)])
}

fn facts(recovered: &Recovered, id: VersionId, version: &Version) -> VersionFacts {
    let contents = &recovered.contents;
    let name = |volume| contents.volumes.get(&volume).map_or(String::new(), |state| state.name.clone());
    VersionFacts {
        id: id.0,
        parent: version.parent().map(|parent| parent.0),
        kind: match version.kind() {
            Kind::Head(volume) => VersionName::Volume(volume, name(volume)),
            Kind::Snapshot(snapshot) => VersionName::Snapshot(snapshot),
            Kind::Hidden => VersionName::Hidden,
        },
        size_bytes: version.end().0 * block::BLOCK_BYTES as u64,
        // The query's trees die with the map, which is not used any more.
        space: VersionSpace::of(contents.map.space_query(id).run()),
    }
}

/// The blocks of a volume that hold data and what they hold, in order: equal for pools whose replicas are equal. What it
/// says of their content is proven by [`check`]. Nothing for a volume that is not there.
///
/// # Errors
/// See [`OpenError`].
pub fn volume_checksums(
    media: &dyn Media,
    device_bytes: u64,
    boot: BootId,
    volume: VolumeId,
) -> Result<Vec<(u64, Checksum)>, OpenError> {
    let recovered = recover(media, device_bytes, boot)?;
    let head = recovered.contents.map.head(volume);
    let claims = claims(&recovered.contents.map).into_iter().filter(|claim| Some(claim.version) == head);
    Ok(claims.map(|claim| (claim.block, claim.checksum)).collect())
}

/// A block that is not what was written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BadBlock {
    /// Where it lies.
    pub at: PoolOffset,
    /// A version that holds it.
    pub version: VersionName,
    /// Which block of the version it is.
    pub block: u64,
    /// What the device said, if it did not just return other bytes.
    pub error: Option<DiskError>,
}

/// What a check found.
#[derive(Clone, Debug)]
pub struct CheckReport {
    /// Both superblocks: one may be damaged and the pool still open.
    pub superblocks: [SuperblockCopy; 2],
    /// Blocks verified.
    pub blocks: u64,
    /// Those that are not what was written.
    pub bad: Vec<BadBlock>,
}

impl CheckReport {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.bad.is_empty() && self.superblocks.iter().all(|copy| copy.number.is_ok())
    }
}

/// A block to verify.
#[derive(Clone, Copy)]
struct Claim {
    at: Location,
    checksum: Checksum,
    version: VersionId,
    block: u64,
}

/// Pages read at once.
const WINDOW_PAGES: u32 = 1024;

/// Reads and verifies every block that any version holds; superblocks, checkpoint, map and log are verified on the
/// way. `progress` hears how many of how many blocks are done.
///
/// # Errors
/// See [`OpenError`]: damage that keeps the pool from opening.
pub fn check(
    media: &dyn Media,
    device_bytes: u64,
    boot: BootId,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<CheckReport, OpenError> {
    let superblocks = superblock_copies(media)?;
    let recovered = recover(media, device_bytes, boot)?;
    let mut claims = claims(&recovered.contents.map);
    claims.sort_unstable_by_key(|claim| claim.at);
    claims.dedup_by_key(|claim| claim.at);
    let total = claims.len() as u64;
    let mut report = CheckReport { superblocks, blocks: 0, bad: Vec::new() };
    let mut window = Pages::zeroed(WINDOW_PAGES as usize);
    let mut rest = claims.as_slice();
    while let Some(first) = rest.first() {
        let count = rest.partition_point(|claim| claim.at.0 < first.at.0 + WINDOW_PAGES);
        let (some, after) = rest.split_at(count);
        verify(media, recovered.geometry, some, &mut window, |claim, error| {
            let version = facts(&recovered, claim.version, recovered.contents.map.version(claim.version)).kind;
            report.bad.push(BadBlock { at: offset_of(claim.at), version, block: claim.block, error });
        });
        report.blocks += some.len() as u64;
        progress(report.blocks, total);
        rest = after;
    }
    Ok(report)
}

fn claims(map: &Map) -> Vec<Claim> {
    let mut claims = Vec::new();
    for (id, version) in map.versions() {
        let mut block = 0;
        while block < version.end().0 {
            let count = u32::try_from(version.end().0 - block).unwrap_or(u32::MAX);
            let mut at = block;
            for run in map.runs(id, block::BlockRange::new(block, count)) {
                match run {
                    Run::Hole { count } => at += u64::from(count.0),
                    Run::Mapped { entries } => {
                        for entry in entries {
                            claims.push(Claim { at: entry.location, checksum: entry.crc, version: id, block: at });
                            at += 1;
                        }
                    }
                }
            }
            block += u64::from(count);
        }
    }
    claims
}

fn verify(
    media: &dyn Media,
    geometry: Geometry,
    claims: &[Claim],
    window: &mut Pages,
    mut bad: impl FnMut(&Claim, Option<DiskError>),
) {
    let (Some(first), Some(last)) = (claims.first(), claims.last()) else { return };
    debug_assert!(geometry.spot(last.at).is_some(), "the map was checked when it was loaded");
    let pages = (last.at.0 - first.at.0 + 1) as usize;
    let whole = media.read(offset_of(first.at), &mut window.pages_mut()[..pages]).is_ok();
    for claim in claims {
        let index = (claim.at.0 - first.at.0) as usize;
        let page: &mut Page = &mut window.pages_mut()[index];
        let result = if whole { Ok(()) } else { media.read(offset_of(claim.at), std::slice::from_mut(page)) };
        match result {
            Err(error) => bad(claim, Some(error)),
            Ok(()) if Checksum::of(&page.0) != claim.checksum => bad(claim, None),
            Ok(()) => {}
        }
    }
}
