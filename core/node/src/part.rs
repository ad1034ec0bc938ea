//! A part of a change: at most one write, or one zeroing, of the store.
//!
//! ```text
//!             claim waits                  ends are partial
//!   start ─┬────────────────> Waiting ─┬─────────────────────> Merging ──┐ both read
//!          │ no claim needed           │ granted                         │
//!          └───────────────────────────┴──────────> hand_over <──────────┘
//!                                                       │ taken (the claim ends here: from now on the store orders)
//!                                                    InStore ──> ended
//! ```
//! A part whose first or last block is only partly new reads the old block, completes itself, and is written whole.
//! Between the read and the handing over nobody else may change its blocks: that is what its claim is for.

use std::mem;
use std::ops::Range;

use block::{BLOCK_BYTES, BlockIndex, BlockRange, Error, VolumeId};
use replication::Change;
use store::{Outcome, Payload, Source};

use crate::mark::Mark;
use crate::pipeline::{Pipeline, error_of};
use crate::slab::Key;

/// A part on its way.
#[derive(Debug)]
pub(crate) struct Part {
    pub op: Key,
    pub volume: VolumeId,
    pub range: BlockRange,
    pub fua: bool,
    /// What its memory counts for.
    held_bytes: u64,
    stage: Stage,
}

/// How far it is.
#[derive(Debug)]
enum Stage {
    /// For its claim, or for room in the store.
    Waiting(Content),
    /// For the old content of its ends.
    Merging { content: Content, ends: u8, error: Option<Error> },
    /// For the store to persist it.
    InStore,
}

/// What its blocks shall hold.
#[derive(Debug)]
pub(crate) enum Content {
    /// Zeroes.
    Zeroes,
    /// `bytes`, of which `fresh` came from the client.
    Bytes { bytes: Memory, fresh: Range<usize> },
}

/// Whole blocks on their way to the store.
#[derive(Debug)]
pub(crate) enum Memory {
    /// Copied by the store into a batch that others share.
    Small(Vec<u8>),
    /// Becomes a batch of its own, not copied.
    Large(Payload),
    /// Held by the other replicas' connections as well.
    Shared(replication::Memory),
}

/// From here on a write is received into a payload of the store; below, the copy is cheaper than a batch of its own.
const LARGE_BLOCKS_MIN: u32 = 9;

impl Memory {
    /// Memory for `blocks` blocks of a volume, of any content.
    pub fn new(pipeline: &mut Pipeline, volume: VolumeId, blocks: u32) -> Self {
        if pipeline.volume(volume).copy.is_some() {
            Self::Shared(replication::Memory::new(block::Pages::zeroed(blocks as usize)))
        } else if blocks < LARGE_BLOCKS_MIN {
            Self::Small(vec![0; blocks as usize * BLOCK_BYTES])
        } else {
            Self::Large(pipeline.store.payload(blocks))
        }
    }

    pub fn bytes_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Small(bytes) => bytes,
            Self::Large(payload) => payload.data_mut(),
            Self::Shared(memory) => memory.bytes_mut(),
        }
    }
}

impl Content {
    /// Whether the old content of the first and of the last block is needed. A single block is needed once.
    fn ends(&self, range: BlockRange) -> (bool, bool) {
        match self {
            Self::Zeroes => (false, false),
            Self::Bytes { fresh, .. } => {
                let (head, tail) = (fresh.start > 0, fresh.end < range.count.0 as usize * BLOCK_BYTES);
                if range.count.0 == 1 { (head || tail, false) } else { (head, tail) }
            }
        }
    }

    /// Takes over what is not fresh from the old block at `at_bytes`.
    fn merge(&mut self, old: &[u8], at_bytes: usize) {
        let Self::Bytes { bytes, fresh } = self else { return };
        let target = &mut bytes.bytes_mut()[at_bytes..at_bytes + BLOCK_BYTES];
        let within = |byte: usize| byte.saturating_sub(at_bytes).min(BLOCK_BYTES);
        let (start, end) = (within(fresh.start), within(fresh.end));
        target[..start].copy_from_slice(&old[..start]);
        target[end..].copy_from_slice(&old[end..BLOCK_BYTES]);
    }
}

fn memory_bytes(range: BlockRange) -> u64 {
    u64::from(range.count.0) * BLOCK_BYTES as u64
}

impl Pipeline {
    /// Memory for a part, taken into account until the part ends.
    pub(crate) fn part_memory(&mut self, volume: VolumeId, range: BlockRange) -> Memory {
        self.hold(memory_bytes(range));
        Memory::new(self, volume, range.count.0)
    }

    /// Gives up memory that did not become a part.
    pub(crate) fn forget_memory(&mut self, range: BlockRange, memory: Memory) {
        self.let_go(memory_bytes(range));
        match memory {
            Memory::Small(_) | Memory::Shared(_) => {}
            Memory::Large(payload) => self.store.recycle_payload(payload),
        }
    }

    /// Starts a part; the op counts it as outstanding already.
    pub(crate) fn start(&mut self, op: Key, volume: VolumeId, range: BlockRange, fua: bool, content: Content) {
        let merges = content.ends(range) != (false, false);
        let held_bytes = match content {
            Content::Zeroes => 0,
            Content::Bytes { .. } => memory_bytes(range),
        };
        let key = self.parts.insert(Part { op, volume, range, fua, held_bytes, stage: Stage::Waiting(content) });
        let claims = &mut self.volume(volume).claims;
        if (!merges && !claims.overlaps(range)) || claims.claim(key, range) {
            self.proceed(key);
        }
    }

    /// Lets every part go on whose claim was granted.
    pub(crate) fn settle(&mut self) {
        while let Some(key) = self.granted.pop_front() {
            self.proceed(key);
        }
    }

    fn proceed(&mut self, key: Key) {
        let part = self.parts.get_mut(key).expect("a part holds its claim while it lives");
        let Stage::Waiting(content) = mem::replace(&mut part.stage, Stage::InStore) else {
            unreachable!("a claim is granted once, before anything else")
        };
        let (head, tail) = content.ends(part.range);
        let ends = u8::from(head) + u8::from(tail);
        if ends == 0 {
            part.stage = Stage::Waiting(content);
            self.hand_over(key);
        } else {
            part.stage = Stage::Merging { content, ends, error: None };
            self.read_ends(key);
        }
    }

    /// Asks for the old content of the part's ends.
    fn read_ends(&mut self, key: Key) {
        let part = self.parts.get(key).expect("a part lives while it merges");
        let (volume, range) = (part.volume, part.range);
        let Stage::Merging { content, .. } = &part.stage else { unreachable!("ends are read to be merged") };
        let (head, tail) = content.ends(range);
        self.stir();
        let last = BlockIndex(range.end().0 - 1);
        for (wanted, block, mark) in [(head, range.first, Mark::Head(key)), (tail, last, Mark::Tail(key))] {
            if wanted
                && let Err(refusal) = self.store.read(Source::Volume(volume), BlockRange::new(block.0, 1), mark.token())
            {
                self.end_read(mark, key, Outcome::Failed(error_of(refusal)));
            }
        }
    }

    /// The old content of one end came, or did not.
    pub(crate) fn end_read(&mut self, mark: Mark, key: Key, outcome: Outcome) {
        let part = self.parts.get_mut(key).expect("a part lives while it merges");
        let blocks = part.range.count.0 as usize;
        let Stage::Merging { content, ends, error } = &mut part.stage else {
            unreachable!("ends are read while merging")
        };
        *ends -= 1;
        let found = match outcome {
            Outcome::Read(found) => Some(found.buffer),
            Outcome::Failed(failure) => {
                *error = Some(failure);
                None
            }
            Outcome::Done | Outcome::Space(_) => unreachable!("a read ends with data or fails"),
        };
        if let Some(old) = &found {
            let at_bytes = if matches!(mark, Mark::Tail(_)) { (blocks - 1) * BLOCK_BYTES } else { 0 };
            content.merge(&old.bytes()[..BLOCK_BYTES], at_bytes);
        }
        let (over, error) = (*ends == 0, *error);
        if let Some(buffer) = found {
            self.store.recycle(buffer);
        }
        match (over, error) {
            (false, _) => {}
            (true, Some(error)) => self.part_ended(key, Some(error)),
            (true, None) => self.merged(key),
        }
    }

    fn merged(&mut self, key: Key) {
        let part = self.parts.get_mut(key).expect("a part lives while it merges");
        let Stage::Merging { content, .. } = mem::replace(&mut part.stage, Stage::InStore) else {
            unreachable!("merging ends once")
        };
        part.stage = Stage::Waiting(content);
        self.hand_over(key);
    }

    /// Gives the part to the store, now or when that has room.
    pub(crate) fn hand_over(&mut self, key: Key) {
        let id = self.parts.get(key).expect("a part lives until the store has it").volume;
        if self.volume(id).copy.is_some() {
            return self.wait_for_place(id, Mark::Part(key));
        }
        if !self.store.has_room() {
            self.postponed.push_back(key);
            return;
        }
        let part = self.parts.get_mut(key).expect("a part lives until the store has it");
        let Stage::Waiting(content) = mem::replace(&mut part.stage, Stage::InStore) else {
            unreachable!("a part is handed over once")
        };
        let (volume, range, fua, token) = (part.volume, part.range, part.fua, Mark::Part(key).token());
        let fits = self.store.check_growth(volume, range);
        let taken = self.change(volume, |store, seq| match content {
            Content::Zeroes => store.zero(volume, seq, range, fua, token),
            Content::Bytes { bytes: Memory::Shared(memory), .. } => {
                let bytes = &memory.bytes()[..range.count.0 as usize * BLOCK_BYTES];
                fits.and_then(|()| store.write(volume, seq, range.first, bytes, fua, token))
            }
            Content::Bytes { bytes: Memory::Small(bytes), .. } => {
                fits.and_then(|()| store.write(volume, seq, range.first, &bytes, fua, token))
            }
            Content::Bytes { bytes: Memory::Large(payload), .. } => match fits {
                Ok(()) => store.write_payload(volume, seq, range.first, payload, fua, token),
                Err(refusal) => {
                    store.recycle_payload(payload);
                    Err(refusal)
                }
            },
        });
        match taken {
            Ok(()) => self.release(key, volume),
            Err(refusal) => self.part_ended(key, Some(error_of(refusal))),
        }
    }

    /// What a part that waits for a place is about, and whether it is of zeroes.
    pub(crate) fn aim_of_part(&self, key: Key) -> (BlockRange, bool) {
        let part = self.parts.get(key).expect("a part lives while it waits for a place");
        (part.range, matches!(part.stage, Stage::Waiting(Content::Zeroes)))
    }

    /// A part as a change that others make as well; and whether it ends only on stable media.
    pub(crate) fn change_of_part(&mut self, key: Key) -> (Change<replication::Payload>, bool) {
        let part = self.parts.get_mut(key).expect("a part lives while it waits for a place");
        let Stage::Waiting(content) = mem::replace(&mut part.stage, Stage::InStore) else {
            unreachable!("a part takes its place once")
        };
        let range = part.range;
        let blocks = range.count.0 as usize;
        let change = match content {
            Content::Zeroes => Change::Zero { range },
            Content::Bytes { bytes: Memory::Shared(memory), .. } => {
                Change::Write { range, payload: memory.seal(blocks) }
            }
            Content::Bytes { bytes: mut other, .. } => {
                let mut memory = replication::Memory::new(block::Pages::zeroed(blocks));
                memory.bytes_mut().copy_from_slice(&other.bytes_mut()[..blocks * BLOCK_BYTES]);
                if let Memory::Large(payload) = other {
                    self.store.recycle_payload(payload);
                }
                Change::Write { range, payload: memory.seal(blocks) }
            }
        };
        (change, part.fua)
    }

    pub(crate) fn release(&mut self, key: Key, volume: VolumeId) {
        let volume = self.volumes.get_mut(&volume).expect("a volume with parts in flight is not removed");
        volume.claims.release(key, |granted| self.granted.push_back(granted));
    }

    pub(crate) fn part_ended(&mut self, key: Key, error: Option<Error>) {
        let part = self.parts.remove(key).expect("a part ends once");
        self.release(key, part.volume);
        self.let_go(part.held_bytes);
        self.step_ended(part.op, error);
    }
}
