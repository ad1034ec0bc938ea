//! Making a pool, and telling what a device holds before anything else looks at it.

use block::{Lsn, PAGE_BYTES, Page, Pages, PoolId, PoolOffset};
use layout::{Damage, LogPosition, SUPERBLOCK_OFFSETS, Superblock};

use crate::geometry::{Geometry, SEGMENT_PAGES, SEGMENTS_MIN};
use crate::job::Media;
use crate::{BootId, DiskError};

/// What a new pool is to be.
#[derive(Clone, Copy, Debug)]
pub struct FormatOptions {
    /// Its identity, drawn at random by the caller.
    pub pool: PoolId,
    /// Size of the file or device.
    pub pool_bytes: u64,
    /// The machine's boot id.
    pub boot: BootId,
    /// Whether overwriting a page that was never written costs no more than any other: true for a device, false for
    /// a preallocated file.
    pub zeroed: bool,
    /// Pages of a segment: [`SEGMENT_PAGES`] but in tests of small pools.
    pub segment_pages: u32,
}

impl FormatOptions {
    /// A pool on a preallocated file.
    #[must_use]
    pub fn new(pool: PoolId, pool_bytes: u64, boot: BootId) -> Self {
        Self { pool, pool_bytes, boot, zeroed: false, segment_pages: SEGMENT_PAGES }
    }
}

/// Why no pool can be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FormatError {
    /// Too small to be of use.
    #[error("{found_bytes} bytes are too small for a pool: it needs at least {needed_bytes}")]
    TooSmall {
        /// What there is.
        found_bytes: u64,
        /// What is needed.
        needed_bytes: u64,
    },
}

/// The pages that make an empty pool: write them in order, then make them durable.
///
/// # Errors
/// See [`FormatError`].
pub fn format(options: &FormatOptions) -> Result<Vec<(PoolOffset, Pages)>, FormatError> {
    let geometry = Geometry::for_pool(options.pool_bytes, options.segment_pages);
    if geometry.segments < SEGMENTS_MIN {
        let needed_bytes = Geometry { segments: SEGMENTS_MIN, ..geometry }.pool_bytes();
        return Err(FormatError::TooSmall { found_bytes: options.pool_bytes, needed_bytes });
    }
    let superblock = Superblock {
        number: 1,
        pool: options.pool,
        boot: options.boot.0,
        clean: true,
        pool_bytes: geometry.pool_bytes(),
        segment_pages: geometry.segment_pages,
        segments: geometry.segments,
        zeroed_segments: if options.zeroed { geometry.segments } else { 0 },
        replay: LogPosition { lsn: Lsn(1), segment: 0, generation: 0, page: 1 },
        durable: Lsn(0),
        incarnation: 0,
        cold_starts: 0,
        roots: Vec::new(),
        cuts: Vec::new(),
    };
    Ok(superblock_copies(&superblock))
}

/// Both copies of a superblock.
pub(crate) fn superblock_copies(superblock: &Superblock) -> Vec<(PoolOffset, Pages)> {
    let copy = |at| {
        let mut pages = Pages::zeroed(1);
        superblock.encode(pages.page_mut(0));
        (PoolOffset(at), pages)
    };
    let first = superblock.slot();
    let other = SUPERBLOCK_OFFSETS[usize::from(first == SUPERBLOCK_OFFSETS[0])];
    vec![copy(first), copy(other)]
}

/// What a file or device holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Probe {
    /// A pool that this program can open.
    Pool(PoolId),
    /// A pool of a newer program.
    NewerPool {
        /// Its format version.
        version: u16,
    },
    /// A pool both of whose superblocks are damaged.
    Damaged(Damage),
    /// Only zeroes where a pool's or another format's marks would be.
    Blank,
    /// Something that is not ours.
    Foreign {
        /// Its first bytes.
        first: [u8; 8],
    },
}

/// Looks at the places where the superblocks would be, and at the start of the device.
///
/// # Errors
/// What the device said.
pub fn probe(media: &dyn Media) -> Result<Probe, DiskError> {
    let mut pages = [[Page::ZERO; 1]; SUPERBLOCK_OFFSETS.len()];
    for (pages, at) in pages.iter_mut().zip(SUPERBLOCK_OFFSETS) {
        media.read(PoolOffset(at), pages)?;
    }
    let parsed = pages.each_ref().map(|page| Superblock::parse(&page[0].0));
    if let Some(superblock) = parsed.iter().flatten().max_by_key(|superblock| superblock.number) {
        return Ok(Probe::Pool(superblock.pool));
    }
    let damages = parsed.iter().filter_map(|parsed| parsed.as_ref().err());
    for damage in damages.clone() {
        if let Damage::Version { found } = damage {
            return Ok(Probe::NewerPool { version: *found });
        }
    }
    if let Some(damage) = damages.clone().find(|damage| !matches!(damage, Damage::Magic { .. })) {
        return Ok(Probe::Damaged(*damage));
    }
    let mut head = vec![Page::ZERO; HEAD_PAGES];
    media.read(PoolOffset(0), &mut head)?;
    let written = head.iter().chain(pages.iter().flatten()).find(|page| page.0 != Page::ZERO.0);
    Ok(match written {
        None => Probe::Blank,
        Some(page) => Probe::Foreign { first: page.0[..8].try_into().expect("8 bytes") },
    })
}

/// Pages at the start in which other formats leave their marks: partition tables, file systems, LVM, md.
const HEAD_PAGES: usize = 32;
const _: () =
    assert!((HEAD_PAGES * PAGE_BYTES) as u64 <= SUPERBLOCK_OFFSETS[1], "the head ends before the second copy");
