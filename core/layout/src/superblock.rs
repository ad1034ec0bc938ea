//! The superblock: where the last completed checkpoint is and where replay begins. Two copies; the valid one with the
//! higher number counts.

use block::{Checksum, Lsn, PAGE_BYTES, PoolId};
use zerocopy::little_endian::{U16, U32, U64, U128};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{Damage, FORMAT_VERSION, PageBytes, check_version, checksum_without, expect_field};

/// Byte offsets of the two copies in the pool. Segments begin after the second one's MiB.
pub const SUPERBLOCK_OFFSETS: [u64; 2] = [0, 1 << 20];

const MAGIC: u64 = u64::from_le_bytes(*b"PLinth\0\x01");
const CHECKSUM_AT: usize = 12;
const EXTENTS_MAX: usize = 128;
const CUTS_MAX: usize = 64;
const _: () = assert!(size_of::<RawSuperblock>() == PAGE_BYTES, "a superblock is one page");

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy)]
#[repr(C)]
struct RawExtent {
    at: U32,
    pages: U32,
    checksum: U32,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy)]
#[repr(C)]
struct RawCut {
    last_lsn: U64,
    generation: U64,
    segment: U32,
    reserved: U32,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy)]
#[repr(C)]
struct RawSuperblock {
    magic: U64,
    version: U16,
    clean: U16,
    /// crc32c of the page, this field as zero.
    checksum: U32,
    number: U64,
    pool: U128,
    boot: U128,
    pool_bytes: U64,
    segment_pages: U32,
    segments: U32,
    zeroed_segments: U32,
    replay_segment: U32,
    replay_page: U32,
    extents: U16,
    cuts: U16,
    replay_lsn: U64,
    replay_generation: U64,
    durable: U64,
    incarnation: U64,
    cold_starts: U64,
    reserved: [U64; 11],
    extent: [RawExtent; EXTENTS_MAX],
    cut: [RawCut; CUTS_MAX],
    reserved_tail: [U32; 202],
}

/// Consecutive pages of the log with a checksum over all of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extent {
    /// First page, counted from the start of the pool.
    pub at: u32,
    /// How many.
    pub pages: u32,
    /// crc32c of their bytes.
    pub checksum: Checksum,
}

/// A place in the log: where a batch begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogPosition {
    /// The batch.
    pub lsn: Lsn,
    /// Segment it lies in.
    pub segment: u32,
    /// Use of the segment.
    pub generation: u64,
    /// Page of the segment.
    pub page: u32,
}

/// Where one run of the pool ended and the next began. What lies in the log behind a cut was written by the earlier
/// run but not found whole by recovery: it never happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cut {
    /// Last batch of the earlier run that counts.
    pub last_lsn: Lsn,
    /// Segment in which the log goes on.
    pub segment: u32,
    /// Use of that segment.
    pub generation: u64,
}

/// A pool's superblock.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Superblock {
    /// Grows with every write of a superblock.
    pub number: u64,
    /// The pool's identity.
    pub pool: PoolId,
    /// Boot id of the machine when this was written: another one now means that device caches may be lost.
    pub boot: u128,
    /// Whether the pool was closed in order: nothing was in flight.
    pub clean: bool,
    /// Bytes of the pool this format uses.
    pub pool_bytes: u64,
    /// Pages of a segment.
    pub segment_pages: u32,
    /// Number of segments.
    pub segments: u32,
    /// Segments from the first that were written at least once since the file was made.
    pub zeroed_segments: u32,
    /// Where replay begins.
    pub replay: LogPosition,
    /// Every batch up to here is on stable media.
    pub durable: Lsn,
    /// Runs of the pool so far; every opening is a new one.
    pub incarnation: u64,
    /// How often the pool was opened after its machine had restarted without closing it.
    pub cold_starts: u64,
    /// The checkpoint's root table; empty for a new pool.
    pub roots: Vec<Extent>,
    /// Ends of runs since the checkpoint, oldest first.
    pub cuts: Vec<Cut>,
}

impl Superblock {
    /// Most extents a root table may have.
    pub const ROOTS_MAX: usize = EXTENTS_MAX;
    /// Most openings between two checkpoints.
    pub const CUTS_MAX: usize = CUTS_MAX;

    /// Byte offset of the copy that a superblock of this number overwrites first.
    #[must_use]
    pub fn slot(&self) -> u64 {
        SUPERBLOCK_OFFSETS[usize::from(self.number % 2 == 1)]
    }

    /// Writes the page.
    pub fn encode(&self, page: &mut PageBytes) {
        let mut raw = RawSuperblock::read_from_bytes(&[0; PAGE_BYTES]).expect("its own size");
        raw.magic = MAGIC.into();
        raw.version = FORMAT_VERSION.into();
        raw.clean = u16::from(self.clean).into();
        raw.number = self.number.into();
        raw.pool = self.pool.0.into();
        raw.boot = self.boot.into();
        raw.pool_bytes = self.pool_bytes.into();
        raw.segment_pages = self.segment_pages.into();
        raw.segments = self.segments.into();
        raw.zeroed_segments = self.zeroed_segments.into();
        raw.replay_segment = self.replay.segment.into();
        raw.replay_page = self.replay.page.into();
        raw.replay_lsn = self.replay.lsn.0.into();
        raw.replay_generation = self.replay.generation.into();
        raw.durable = self.durable.0.into();
        raw.incarnation = self.incarnation.into();
        raw.cold_starts = self.cold_starts.into();
        raw.extents = u16::try_from(self.roots.len()).expect("at most ROOTS_MAX").into();
        raw.cuts = u16::try_from(self.cuts.len()).expect("at most CUTS_MAX").into();
        for (raw, extent) in raw.extent.iter_mut().zip(&self.roots) {
            *raw = RawExtent { at: extent.at.into(), pages: extent.pages.into(), checksum: extent.checksum.0.into() };
        }
        for (raw, cut) in raw.cut.iter_mut().zip(&self.cuts) {
            raw.last_lsn = cut.last_lsn.0.into();
            raw.generation = cut.generation.into();
            raw.segment = cut.segment.into();
        }
        raw.checksum = Checksum::of(raw.as_bytes()).0.into();
        page.copy_from_slice(raw.as_bytes());
    }

    /// The format version that a page names, which is all that is believed of it.
    #[must_use]
    pub fn format_version(page: &PageBytes) -> u16 {
        RawSuperblock::ref_from_bytes(page.as_slice()).expect("one page").version.get()
    }

    /// Reads the page.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn parse(page: &PageBytes) -> Result<Self, Damage> {
        let raw = RawSuperblock::ref_from_bytes(page.as_slice()).expect("one page");
        if raw.magic.get() != MAGIC {
            return Err(Damage::Magic { found: raw.magic.get(), expected: MAGIC });
        }
        check_version(raw.version.get())?;
        let computed = checksum_without(page, CHECKSUM_AT);
        let stored = Checksum(raw.checksum.get());
        if computed != stored {
            return Err(Damage::Checksum { computed, stored });
        }
        check_fields(raw)?;
        Ok(from_raw(raw))
    }
}

fn check_fields(raw: &RawSuperblock) -> Result<(), Damage> {
    expect_field("extents of the root table", usize::from(raw.extents.get()) <= EXTENTS_MAX, raw.extents.get())?;
    expect_field("cuts", usize::from(raw.cuts.get()) <= CUTS_MAX, raw.cuts.get())?;
    let (segments, pages) = (raw.segments.get(), raw.segment_pages.get());
    expect_field("pages of a segment", (16..=1 << 16).contains(&pages), pages)?;
    let data_bytes = u64::from(segments) * u64::from(pages) * PAGE_BYTES as u64;
    let fits = SUPERBLOCK_OFFSETS[1] * 2 + data_bytes <= raw.pool_bytes.get();
    expect_field("segments", fits && u64::from(segments) * u64::from(pages) < u64::from(u32::MAX), segments)?;
    expect_field("segment where replay begins", raw.replay_segment.get() < segments, raw.replay_segment.get())?;
    expect_field("page where replay begins", raw.replay_page.get() <= pages, raw.replay_page.get())?;
    expect_field("zero-written segments", raw.zeroed_segments.get() <= segments, raw.zeroed_segments.get())
}

fn from_raw(raw: &RawSuperblock) -> Superblock {
    let extent =
        |raw: &RawExtent| Extent { at: raw.at.get(), pages: raw.pages.get(), checksum: Checksum(raw.checksum.get()) };
    let cut = |raw: &RawCut| Cut {
        last_lsn: Lsn(raw.last_lsn.get()),
        segment: raw.segment.get(),
        generation: raw.generation.get(),
    };
    Superblock {
        number: raw.number.get(),
        pool: PoolId(raw.pool.get()),
        boot: raw.boot.get(),
        clean: raw.clean.get() != 0,
        pool_bytes: raw.pool_bytes.get(),
        segment_pages: raw.segment_pages.get(),
        segments: raw.segments.get(),
        zeroed_segments: raw.zeroed_segments.get(),
        replay: LogPosition {
            lsn: Lsn(raw.replay_lsn.get()),
            segment: raw.replay_segment.get(),
            generation: raw.replay_generation.get(),
            page: raw.replay_page.get(),
        },
        durable: Lsn(raw.durable.get()),
        incarnation: raw.incarnation.get(),
        cold_starts: raw.cold_starts.get(),
        roots: raw.extent[..usize::from(raw.extents.get())].iter().map(extent).collect(),
        cuts: raw.cut[..usize::from(raw.cuts.get())].iter().map(cut).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::{CHECKSUM_AT, Cut, Extent, LogPosition, Superblock};
    use crate::{Damage, FORMAT_VERSION, FORMAT_VERSION_MIN, checksum_without};
    use block::{Checksum, Lsn, PAGE_BYTES, PoolId};

    fn superblock() -> Superblock {
        Superblock {
            number: 12,
            pool: PoolId(1 << 100),
            boot: 77,
            clean: true,
            pool_bytes: 1 << 30,
            segment_pages: 2048,
            segments: 100,
            zeroed_segments: 4,
            replay: LogPosition { lsn: Lsn(5), segment: 6, generation: 7, page: 8 },
            durable: Lsn(9),
            incarnation: 10,
            cold_starts: 11,
            roots: vec![Extent { at: 3000, pages: 5, checksum: Checksum(6) }; 128],
            cuts: vec![Cut { last_lsn: Lsn(3), segment: 5, generation: 9 }; 64],
        }
    }

    #[test]
    fn a_superblock_reads_back_and_every_flipped_bit_is_noticed() {
        let mut page = [0; PAGE_BYTES];
        superblock().encode(&mut page);
        assert_eq!(Superblock::parse(&page), Ok(superblock()));
        for bit in 0..PAGE_BYTES * 8 {
            let mut rotten = page;
            rotten[bit / 8] ^= 1 << (bit % 8);
            assert!(Superblock::parse(&rotten).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_newer_version_is_told_apart_from_damage() {
        let mut page = [0; PAGE_BYTES];
        superblock().encode(&mut page);
        assert_eq!(Superblock::format_version(&page), FORMAT_VERSION);
        for other in [0, FORMAT_VERSION + 1] {
            page[8..10].copy_from_slice(&other.to_le_bytes());
            assert_eq!(Superblock::parse(&page), Err(Damage::Version { found: other }));
        }
    }

    #[test]
    fn every_version_that_was_ever_released_is_read() {
        for version in FORMAT_VERSION_MIN..=FORMAT_VERSION {
            let mut page = [0; PAGE_BYTES];
            superblock().encode(&mut page);
            page[8..10].copy_from_slice(&version.to_le_bytes());
            let checksum = checksum_without(&page, CHECKSUM_AT);
            page[CHECKSUM_AT..CHECKSUM_AT + 4].copy_from_slice(&checksum.0.to_le_bytes());
            assert_eq!(Superblock::parse(&page), Ok(superblock()));
        }
    }

    #[test]
    fn impossible_geometry_is_refused() {
        let mut page = [0; PAGE_BYTES];
        Superblock { segments: 1 << 20, ..superblock() }.encode(&mut page);
        assert!(matches!(Superblock::parse(&page), Err(Damage::Field { field: "segments", .. })));
    }
}
