//! Opening a pool: the newest valid superblock, its checkpoint, the log behind it; then a new run begins in a free
//! segment, and the superblock records where the old one ended before anything is written.

use block::{Lsn, Page, PoolId, PoolOffset, VolumeId};
use layout::{Cut, Damage, LogPosition, RootTable, SUPERBLOCK_OFFSETS, Superblock, VersionKind};

use crate::ahead::Ahead;
use crate::buffers::Buffers;
use crate::checkpoint::Checkpoint;
use crate::contents::{Contents, SnapshotState, VolumeState};
use crate::durability::Durability;
use crate::effect::DiskError;
use crate::format::superblock_copies;
use crate::geometry::Geometry;
use crate::io::IoTable;
use crate::job::Media;
use crate::load::{LoadError, load_image, load_roots};
use crate::log::{Cursor, Log};
use crate::map::{Location, Map, VersionId};
use crate::read::Reads;
use crate::reclaim::Reclaim;
use crate::replay::{LogError, Replayed, gather, replay};
use crate::segments::Segments;
use crate::space::Limits;
use crate::zeroing::Zeroing;
use crate::{BootId, Stats, Store};

/// Why a pool cannot be opened. Nothing was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OpenError {
    /// The device failed.
    #[error("the superblocks cannot be read: {0}")]
    Unreadable(#[from] DiskError),
    /// There is no superblock this program can use.
    #[error("no superblock is valid: the first has {0}, the second has {1}")]
    NoSuperblock(Damage, Damage),
    /// The device is smaller than the pool.
    #[error("the device has {device_bytes} bytes, but the pool was made for {pool_bytes}")]
    DeviceTooSmall {
        /// What there is.
        device_bytes: u64,
        /// What is needed.
        pool_bytes: u64,
    },
    /// The checkpoint is damaged.
    #[error(transparent)]
    Checkpoint(#[from] LoadError),
    /// The log is damaged.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A volume of the root table has no version, or a version no volume.
    #[error("the root table contradicts itself about version {0}")]
    Roots(u64),
    /// The pool was opened many times and never came as far as a checkpoint.
    #[error("the pool was opened {0} times without completing a checkpoint; the superblock holds no more")]
    TooManyRuns(usize),
    /// No segment is free to go on in.
    #[error("no segment is free to write to")]
    NoFreeSegment,
}

/// What recovery found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecoveryReport {
    /// The pool.
    pub pool: PoolId,
    /// The machine restarted since the pool was open, and the pool had not been closed: unflushed writes may be lost.
    pub cold: bool,
    /// Whether it had been closed in order.
    pub clean: bool,
    /// How often it started cold, this time included.
    pub cold_starts: u64,
    /// How often it was opened, this time included.
    pub incarnation: u64,
    /// Batches replayed.
    pub replayed_batches: u64,
    /// Pages of them.
    pub replayed_pages: u64,
    /// The last batch that counts.
    pub last_lsn: Lsn,
}

/// A pool ready for service once `writes` are done.
#[derive(Debug)]
pub struct Opened {
    /// The store.
    pub store: Store,
    /// Superblocks. Make everything on the device durable first; then write each and make it durable, in order;
    /// only then hand the store its first event or request.
    pub writes: Vec<(PoolOffset, block::Pages)>,
    /// What recovery found.
    pub report: RecoveryReport,
}

/// Opens a pool. The caller holds it exclusively and knows that no write of an earlier process can still land.
///
/// # Errors
/// See [`OpenError`].
pub fn open(media: &dyn Media, device_bytes: u64, boot: BootId) -> Result<Opened, OpenError> {
    let recovered = recover(media, device_bytes, boot)?;
    begin_run(recovered, boot)
}

/// What is on the device, before a new run begins.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub superblock: Superblock,
    pub geometry: Geometry,
    pub contents: Contents,
    pub replayed: Replayed,
    pub cold: bool,
}

/// Reads a pool and changes nothing.
pub(crate) fn recover(media: &dyn Media, device_bytes: u64, boot: BootId) -> Result<Recovered, OpenError> {
    let superblock = read_superblock(media)?;
    let geometry = Geometry { segment_pages: superblock.segment_pages, segments: superblock.segments };
    if device_bytes < superblock.pool_bytes {
        return Err(OpenError::DeviceTooSmall { device_bytes, pool_bytes: superblock.pool_bytes });
    }
    let table = load_roots(media, &superblock)?;
    let mut contents = load_contents(media, &superblock, geometry, &table)?;
    let warm = superblock.boot == boot.0;
    contents.finish_deletions(Lsn(superblock.replay.lsn.0 - 1));
    let chain = gather(media, &superblock, geometry, warm);
    let replayed = replay(media, &superblock, geometry, &chain, &mut contents)?;
    let cold = !warm && !superblock.clean;
    Ok(Recovered { superblock, geometry, contents, replayed, cold })
}

/// The valid superblock with the higher number.
pub(crate) fn read_superblock(media: &dyn Media) -> Result<Superblock, OpenError> {
    let [first, second] = read_superblocks(media)?;
    match (first, second) {
        (Ok(first), Ok(second)) => Ok(if first.number >= second.number { first } else { second }),
        (Ok(only), Err(_)) | (Err(_), Ok(only)) => Ok(only),
        (Err(first), Err(second)) => Err(OpenError::NoSuperblock(first, second)),
    }
}

/// Both superblocks, or what is wrong with each.
pub(crate) fn read_superblocks(media: &dyn Media) -> Result<[Result<Superblock, Damage>; 2], DiskError> {
    let read = |at| {
        let mut page = [Page::ZERO];
        let result = media.read(PoolOffset(at), &mut page);
        result.map(|()| Superblock::parse(&page[0].0))
    };
    match SUPERBLOCK_OFFSETS.map(read) {
        [Err(error), Err(_)] => Err(error),
        copies => Ok(copies.map(|copy| {
            copy.unwrap_or(Err(Damage::Field { field: "superblock that the device cannot read", found: 0 }))
        })),
    }
}

fn load_contents(
    media: &dyn Media,
    superblock: &Superblock,
    geometry: Geometry,
    table: &RootTable,
) -> Result<Contents, OpenError> {
    let mut segments = Segments::new(geometry);
    for root in &superblock.roots {
        segments.add_live_map(Location(root.at), root.pages);
    }
    let image = load_image(media, geometry, table, &mut |disk| {
        segments.add_live_map(disk.at, disk.pages.into());
    })?;
    let map = Map::restore(image).map_err(LoadError::from)?;
    map.count_live(&mut |location| segments.add_live(location, 1));
    let mut contents = Contents::new(map, segments);
    restore_names(&mut contents, table)?;
    Ok(contents)
}

fn restore_names(contents: &mut Contents, table: &RootTable) -> Result<(), OpenError> {
    for volume in &table.volumes {
        let version = contents.map.head(volume.id).filter(|version| u64::from(version.0) == volume.version);
        let state = VolumeState {
            id: volume.id,
            name: volume.name.clone(),
            size_bytes: volume.size_bytes,
            last_seq: volume.last_seq,
            epoch: volume.epoch,
            stable: volume.stable,
            version: version.ok_or(OpenError::Roots(volume.version))?,
        };
        if contents.map.version(state.version).end() != state.end() {
            return Err(OpenError::Roots(volume.version));
        }
        contents.volumes.insert(volume.id, state);
    }
    for record in &table.versions {
        match record.kind {
            VersionKind::Head(volume) if !contents.volumes.contains_key(&volume) => {
                return Err(OpenError::Roots(record.id));
            }
            VersionKind::Snapshot(id) => {
                let version = VersionId(u32::try_from(record.id).map_err(|_| OpenError::Roots(record.id))?);
                let size_bytes = record.size_blocks * block::BLOCK_BYTES as u64;
                // A pool by a program that did not note it: there were no clones of other nodes' snapshots then.
                let volume = record.volume.or_else(|| contents.map.volume_below(version)).unwrap_or(VolumeId(0));
                contents.insert_snapshot(SnapshotState { id, volume, size_bytes, seq: record.seq, version });
            }
            VersionKind::Head(_) | VersionKind::Hidden => {}
        }
    }
    Ok(())
}

fn begin_run(recovered: Recovered, boot: BootId) -> Result<Opened, OpenError> {
    let Recovered { superblock: old, geometry, mut contents, replayed, cold } = recovered;
    settle_segments(geometry, &mut contents.segments, &replayed);
    let segment = contents.segments.reserve_successor().ok_or(OpenError::NoFreeSegment)?;
    let successor = contents.segments.reserve_successor().ok_or(OpenError::NoFreeSegment)?;
    let incarnation = old.incarnation + 1;
    let generation = (incarnation << 32).max(replayed.generation + 1);
    contents.segments.open(segment, generation);
    let start = LogPosition { lsn: replayed.last.next(), segment, generation, page: 1 };
    let superblock = next_superblock(&old, start, boot, cold)?;
    let report = RecoveryReport {
        pool: old.pool,
        cold,
        clean: old.clean,
        cold_starts: superblock.cold_starts,
        incarnation,
        replayed_batches: replayed.batches,
        replayed_pages: replayed.pages,
        last_lsn: replayed.last,
    };
    let writes = superblock_copies(&superblock);
    let cursor = Cursor { segment, generation, page: 0, successor };
    let log = Log::new(superblock.pool, geometry, incarnation, cursor, start.lsn);
    let replay_pages = if superblock.replay == start { 0 } else { replayed.pages };
    let mut store = assemble(geometry, contents, log, superblock, replay_pages);
    store.free_segments();
    Ok(Opened { store, writes, report })
}

/// Which segments the pool uses, now that everything was replayed.
fn settle_segments(geometry: Geometry, segments: &mut Segments, replayed: &Replayed) {
    for used in &replayed.used {
        segments.restore_used(used.segment, used.generation, used.last);
    }
    for segment in 0..geometry.segments {
        let entry = segments.get(segment);
        if entry.live + entry.live_map > 0 && entry.generation == 0 {
            segments.restore_used(segment, 0, Lsn(0));
        }
    }
}

fn next_superblock(old: &Superblock, start: LogPosition, boot: BootId, cold: bool) -> Result<Superblock, OpenError> {
    let mut superblock = Superblock {
        number: old.number + 1,
        boot: boot.0,
        clean: false,
        durable: Lsn(start.lsn.0 - 1),
        incarnation: old.incarnation + 1,
        cold_starts: old.cold_starts + u64::from(cold),
        ..old.clone()
    };
    if start.lsn == old.replay.lsn {
        superblock.replay = start;
        superblock.cuts.clear();
        return Ok(superblock);
    }
    let cut = Cut { last_lsn: superblock.durable, segment: start.segment, generation: start.generation };
    superblock.cuts.retain(|earlier| earlier.last_lsn < cut.last_lsn);
    if superblock.cuts.len() == Superblock::CUTS_MAX {
        return Err(OpenError::TooManyRuns(Superblock::CUTS_MAX));
    }
    superblock.cuts.push(cut);
    Ok(superblock)
}

fn assemble(geometry: Geometry, contents: Contents, log: Log, superblock: Superblock, replay_pages: u64) -> Store {
    let zeroing = Zeroing::new(superblock.zeroed_segments, geometry.segments);
    let durability = Durability::new(superblock.durable);
    let mut checkpoint = Checkpoint::new(superblock, replay_pages);
    checkpoint.want_if_changed();
    Store {
        geometry,
        limits: Limits::of(geometry),
        contents,
        log,
        io: IoTable::default(),
        reads: Reads::default(),
        ahead: Ahead::default(),
        read_runs: Vec::new(),
        durability,
        checkpoint,
        reclaim: Reclaim::new(),
        zeroing,
        buffers: Buffers::new(geometry.segment_pages),
        effects: Vec::new(),
        stats: Stats::default(),
        poisoned: None,
        stopping: false,
        deleting: false,
        releasing: false,
        freed_blocks: 0,
        next_job: 0,
        jobs_running: 0,
        space_requests: Vec::new(),
    }
}
