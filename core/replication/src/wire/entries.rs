//! Changes with their places, as records.

use block::{BLOCK_BYTES, BlockRange, Epoch, SnapshotId};

use crate::entry::{Change, Entry};
use crate::payload::Payload;
use crate::wire::body::{Body, RawEntry, RawTail};
use crate::wire::fault::Fault;
use crate::wire::header::Kind;
use crate::wire::limits::{BLOCKS_MAX, ENTRIES_BYTES_MAX, ENTRIES_MAX, WRITE_BLOCKS_MAX};

const WRITE: u8 = 1;
const ZERO: u8 = 2;
const FLUSH: u8 = 3;
const SNAPSHOT: u8 = 4;

/// It ends on stable media.
const FUA: u8 = 1 << 0;

/// An entry as a record. Its payload's checksums and the payload itself go elsewhere.
pub(crate) fn record<P>(entry: &Entry<P>) -> RawEntry {
    let blocks = |range: &BlockRange| (range.first.0, u64::from(range.count.0));
    let (change, (first, count)) = match &entry.change {
        Change::Write { range, .. } => (WRITE, blocks(range)),
        Change::Zero { range } => (ZERO, blocks(range)),
        Change::Flush => (FLUSH, (0, 0)),
        Change::Snapshot { id, blocks } => (SNAPSHOT, (id.0, *blocks)),
    };
    let (low, high) = (count & u64::from(u32::MAX), count >> u32::BITS);
    RawEntry {
        seq: entry.seq.into(),
        first: first.into(),
        count: u32::try_from(low).expect("masked to 32 bits").into(),
        change,
        flags: if entry.fua { FUA } else { 0 },
        count_high: u16::try_from(high).expect("a volume has fewer blocks").into(),
        reserved: [0; 4],
    }
}

/// The payload of a write.
pub(crate) fn payload(entry: &Entry<Payload>) -> Option<&Payload> {
    match &entry.change {
        Change::Write { payload, .. } => Some(payload),
        Change::Zero { .. } | Change::Flush | Change::Snapshot { .. } => None,
    }
}

/// One entry of a message of this epoch.
pub(crate) fn parse_one(body: &mut Body<'_>, in_force: Epoch) -> Result<Entry<()>, Fault> {
    let kind = body.kind;
    parse(body.take()?, kind, in_force)
}

/// Several entries, without gaps, and what stands before them.
pub(crate) fn parse_tail(body: &mut Body<'_>, in_force: Epoch) -> Result<(u64, Vec<Entry<()>>), Fault> {
    let kind = body.kind;
    let tail: &RawTail = body.take()?;
    let count = tail.entries.get();
    let too_many = Fault::Entries { kind, entries: count };
    if count as usize > ENTRIES_MAX {
        return Err(too_many);
    }
    let records = body.take_all::<RawEntry>(count as usize)?;
    let mut entries: Vec<Entry<()>> = Vec::with_capacity(records.len());
    for raw in records {
        let entry = parse(raw, kind, in_force)?;
        if let Some(before) = entries.last() {
            check_order(kind, entry.seq.n, before.seq.n.saturating_add(1))?;
        }
        entries.push(entry);
    }
    let payload_bytes = entries.iter().map(|entry| entry.change.payload_blocks() as usize * BLOCK_BYTES).sum::<usize>();
    if payload_bytes > ENTRIES_BYTES_MAX {
        return Err(too_many);
    }
    Ok((tail.last.get(), entries))
}

/// Changes follow each other without gaps.
pub(crate) fn check_order(kind: Kind, found: u64, expected: u64) -> Result<(), Fault> {
    if found == expected { Ok(()) } else { Err(Fault::Order { kind, found, expected }) }
}

fn parse(raw: &RawEntry, kind: Kind, in_force: Epoch) -> Result<Entry<()>, Fault> {
    let seq = raw.seq.get();
    if seq.n == 0 || seq.epoch == Epoch(0) || seq.epoch > in_force {
        return Err(Fault::Place { kind, epoch: seq.epoch, n: seq.n, in_force });
    }
    let is_reserved = raw.reserved == [0; 4] && (raw.change == SNAPSHOT || raw.count_high.get() == 0);
    if raw.flags & !FUA != 0 || !is_reserved {
        return Err(Fault::ChangeFlags { kind, flags: raw.flags });
    }
    let (first, count) = (raw.first.get(), raw.count.get());
    let range = BlockRange::new(first, count);
    let lies_in_a_volume = first < BLOCKS_MAX && u64::from(count) <= BLOCKS_MAX - first;
    let (change, is_valid) = match raw.change {
        WRITE => (Change::Write { range, payload: () }, lies_in_a_volume && (1..=WRITE_BLOCKS_MAX).contains(&count)),
        ZERO => (Change::Zero { range }, lies_in_a_volume && count > 0),
        FLUSH => (Change::Flush, first == 0 && count == 0),
        SNAPSHOT => {
            let blocks = u64::from(raw.count_high.get()) << u32::BITS | u64::from(count);
            (Change::Snapshot { id: SnapshotId(first), blocks }, (1..=BLOCKS_MAX).contains(&blocks))
        }
        found => return Err(Fault::Change { kind, found }),
    };
    if !is_valid {
        return Err(Fault::Range { kind, first: range.first, count });
    }
    Ok(Entry { seq, change, fua: raw.flags & FUA != 0 })
}
