//! A message whose payload is on its way.

use block::{Checksum, Epoch, GroupIndex, Incarnation, WriteSeq};

use crate::entry::{Change, Entry};
use crate::message::Message;
use crate::payload::{BadBlock, Lost, Memory, Payload};
use crate::snapshot::Snapshot;
use crate::wire::fault::Fault;
use crate::wire::groups;
use crate::wire::header::{Envelope, Kind};

/// A message that lacks its payload.
#[derive(Debug)]
pub struct Pending {
    pub(crate) kind: Kind,
    pub(crate) envelope: Envelope,
    pub(crate) lacking: Lacking,
    pub(crate) payload_bytes: usize,
    /// Of the payload's blocks; none where it is not blocks.
    pub(crate) checksums: Vec<Checksum>,
}

/// What is known of it.
#[derive(Debug)]
pub(crate) enum Lacking {
    Prepare { epoch: Epoch, entry: Entry<()>, acked: u64, stable: WriteSeq },
    Entries { epoch: Epoch, entries: Vec<Entry<()>> },
    Join { incarnation: Incarnation, nonce: u64, stable: WriteSeq, checksum: Checksum, snapshots: Vec<Snapshot> },
    Copy { epoch: Epoch, group: GroupIndex, born: WriteSeq, holes: u64, lost: Option<Lost> },
    Relay { epoch: Epoch, entry: Entry<()> },
    Enter { epoch: Epoch, last: u64, tail: Vec<Entry<()>> },
}

/// Hands out the blocks of one payload in order.
struct Blocks {
    all: Payload,
    next: u32,
}

impl Pending {
    /// What it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// From whom, for whom.
    #[must_use]
    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// How many bytes of the stream belong to it, right behind what was consumed.
    #[must_use]
    pub fn payload_bytes(&self) -> usize {
        self.payload_bytes
    }

    /// The payload is there, at the front of `memory`: the message, if that is what was sent.
    ///
    /// # Errors
    /// The payload was damaged, and the connection must end.
    pub fn complete(self, memory: Memory) -> Result<(Envelope, Message<Payload>), Fault> {
        assert!(self.payload_bytes <= memory.bytes().len(), "all of the payload was received");
        let Self { kind, envelope, lacking, payload_bytes, checksums } = self;
        if let Lacking::Join { incarnation, nonce, stable, checksum, snapshots } = lacking {
            let bytes = &memory.bytes()[..payload_bytes];
            let computed = Checksum::of(bytes);
            if computed != checksum {
                return Err(Fault::DirtyDamaged { found: checksum, computed });
            }
            let dirty = groups::parse(bytes)?;
            return Ok((envelope, Message::Join { incarnation, nonce, stable, dirty, snapshots }));
        }
        let damaged =
            |BadBlock { index, expected, found }| Fault::BlockDamaged { kind, index, found: expected, computed: found };
        let blocks = Blocks { all: memory.seal_verified(checksums).map_err(damaged)?, next: 0 };
        Ok((envelope, lacking.filled(blocks)))
    }
}

impl Lacking {
    fn filled(self, mut blocks: Blocks) -> Message<Payload> {
        match self {
            Self::Prepare { epoch, entry, acked, stable } => {
                Message::Prepare { epoch, entry: blocks.fill(&entry), acked, stable }
            }
            Self::Relay { epoch, entry } => Message::Relay { epoch, entry: blocks.fill(&entry) },
            Self::Entries { epoch, entries } => Message::Entries { epoch, entries: blocks.fill_all(&entries) },
            Self::Enter { epoch, last, tail } => Message::Enter { epoch, last, tail: blocks.fill_all(&tail) },
            Self::Copy { epoch, group, born, holes, lost: None } => {
                Message::Copy { epoch, group, born, content: blocks.all.with_holes(holes) }
            }
            Self::Copy { epoch, group, born, holes, lost: Some(lost) } => {
                Message::Copy { epoch, group, born, content: blocks.all.with_lost(holes, lost) }
            }
            Self::Join { .. } => unreachable!("its payload is not blocks"),
        }
    }
}

impl Blocks {
    fn fill(&mut self, entry: &Entry<()>) -> Entry<Payload> {
        let first = self.next;
        self.next += entry.change.payload_blocks();
        let change = match entry.change {
            Change::Write { range, payload: () } => Change::Write { range, payload: self.all.part(first..self.next) },
            Change::Zero { range } => Change::Zero { range },
            Change::Flush => Change::Flush,
            Change::Snapshot { id, blocks } => Change::Snapshot { id, blocks },
        };
        Entry { seq: entry.seq, change, fua: entry.fua }
    }

    fn fill_all(&mut self, entries: &[Entry<()>]) -> Vec<Entry<Payload>> {
        entries.iter().map(|entry| self.fill(entry)).collect()
    }
}
