//! A client's end of one connection: it opens a volume with its token, writes and reads whole blocks, and goes on doing
//! so after it was detached, as clients do that have not heard of it.

use std::collections::BTreeMap;

use block::{BLOCK_BYTES, VolumeId};

use super::network::Link;

/// What lets a client in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Permit {
    pub volume: VolumeId,
    /// Name and token, as clients write them.
    pub export: String,
    pub generation: u64,
    pub writes: bool,
}

/// A request under way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Asked {
    /// One value for each block.
    Write { first: u64, values: Vec<u64> },
    /// What each block may hold, as far as was known when it was asked for.
    Read { first: u64, allowed: Vec<Vec<u64>> },
}

/// What a client hears.
#[derive(Debug)]
pub(super) enum Said {
    Refused,
    Written {
        first: u64,
        values: Vec<u64>,
    },
    Read {
        first: u64,
        allowed: Vec<Vec<u64>>,
        bytes: Vec<u8>,
    },
    /// A request failed.
    Failed,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    Greeted,
    Asked,
    Open,
    Over,
}

/// One connection of a client.
pub(super) struct Session {
    pub permit: Permit,
    pub phase: Phase,
    pub size_bytes: u64,
    /// Values from here on were written on this connection.
    pub first_value: u64,
    heard: Vec<u8>,
    asked: BTreeMap<u64, Asked>,
    next_cookie: u64,
}

/// How a write is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Manner {
    /// To stable media.
    pub forced: bool,
    /// Not quite as far as the blocks go, so that the node must read their ends first.
    pub ragged: bool,
}

const FORCE: u16 = 1;
/// Bytes at both ends of a block that say nothing and are always zero.
const MARGIN_BYTES: usize = 8;
/// Where a block says its value, its place, its volume, and its value once more.
const WORDS: [usize; 4] = [8, 16, 24, BLOCK_BYTES - 16];

impl Session {
    pub fn new(permit: Permit) -> Self {
        let (phase, heard, asked) = (Phase::Greeted, Vec::new(), BTreeMap::new());
        Self { permit, phase, size_bytes: 0, first_value: 0, heard, asked, next_cookie: 1 }
    }

    /// The first bytes of a client, which does not wait for the greeting.
    pub fn hello(&self) -> Vec<u8> {
        let name = self.permit.export.as_bytes();
        let name_bytes = u32::try_from(name.len()).expect("short");
        let go = [&name_bytes.to_be_bytes()[..], name, &[0, 0]].concat();
        let go_bytes = u32::try_from(go.len()).expect("short");
        [&3_u32.to_be_bytes()[..], b"IHAVEOPT", &7_u32.to_be_bytes(), &go_bytes.to_be_bytes(), &go].concat()
    }

    /// Whether any request touches one of these blocks.
    pub fn overlaps(&self, first: u64, count: u64) -> bool {
        self.asked.values().any(|asked| {
            let (at, len) = match asked {
                Asked::Write { first, values } => (*first, values.len() as u64),
                Asked::Read { first, allowed } => (*first, allowed.len() as u64),
            };
            at < first + count && first < at + len
        })
    }

    pub fn in_flight(&self) -> usize {
        self.asked.len()
    }

    /// The bytes of a request.
    pub fn ask(&mut self, asked: Asked, manner: Manner) -> Vec<u8> {
        let cookie = self.next_cookie;
        self.next_cookie += 1;
        let (command, first, count, payload) = match &asked {
            Asked::Write { first, values } => (1_u16, *first, values.len(), fill(self.permit.volume, *first, values)),
            Asked::Read { first, allowed } => (0, *first, allowed.len(), Vec::new()),
        };
        self.asked.insert(cookie, asked);
        let flags = if manner.forced && command == 1 { FORCE } else { 0 };
        let margin = if manner.ragged && command == 1 { MARGIN_BYTES } else { 0 };
        let len_bytes = u32::try_from(count * BLOCK_BYTES - 2 * margin).expect("small");
        let mut bytes = 0x2560_9513_u32.to_be_bytes().to_vec();
        bytes.extend(flags.to_be_bytes());
        bytes.extend(command.to_be_bytes());
        bytes.extend(cookie.to_be_bytes());
        bytes.extend((first * BLOCK_BYTES as u64 + margin as u64).to_be_bytes());
        bytes.extend(len_bytes.to_be_bytes());
        bytes.extend(payload.get(margin..payload.len().saturating_sub(margin)).unwrap_or_default());
        bytes
    }

    /// Takes what has arrived.
    pub fn hear(&mut self, link: &mut Link) -> Result<Vec<Said>, String> {
        if link.held {
            return Ok(Vec::new());
        }
        self.heard.extend(link.to_client.drain(..));
        let mut said = Vec::new();
        while let Some(one) = self.next()? {
            said.extend(one);
        }
        if link.server_closed {
            self.phase = Phase::Over;
        }
        Ok(said)
    }

    /// The next thing said, when it is there as a whole; some of it is of no interest.
    fn next(&mut self) -> Result<Option<Option<Said>>, String> {
        match self.phase {
            Phase::Greeted => {
                let Some(greeting) = self.take(18) else { return Ok(None) };
                self.phase = Phase::Asked;
                if greeting == b"NBDMAGICIHAVEOPT\0\x03" {
                    Ok(Some(None))
                } else {
                    Err("a strange greeting".to_owned())
                }
            }
            Phase::Asked => Ok(self.option_reply()),
            Phase::Open => self.reply(),
            Phase::Over => Ok(None),
        }
    }

    fn option_reply(&mut self) -> Option<Option<Said>> {
        let len_bytes = self.u32(16)? as usize;
        let reply = self.take(20 + len_bytes)?;
        match number(&reply, 12) {
            1 => self.phase = Phase::Open,
            3 if reply[20..22] == [0, 0] => {
                self.size_bytes = u64::from_be_bytes(reply[22..30].try_into().expect("8 bytes"));
            }
            kind if kind >= 1 << 31 => {
                self.phase = Phase::Over;
                return Some(Some(Said::Refused));
            }
            _ => {}
        }
        Some(None)
    }

    fn reply(&mut self) -> Result<Option<Option<Said>>, String> {
        let Some(head) = self.heard.get(..16) else { return Ok(None) };
        if number(head, 0) != 0x6744_6698 {
            return Err("a strange reply".to_owned());
        }
        let (error, cookie) = (number(head, 4), u64::from_be_bytes(head[8..16].try_into().expect("8 bytes")));
        let data_bytes = match self.asked.get(&cookie) {
            Some(Asked::Read { allowed, .. }) if error == 0 => allowed.len() * BLOCK_BYTES,
            Some(_) => 0,
            None => return Err(format!("request {cookie} is answered, which nobody asked")),
        };
        let Some(reply) = self.take(16 + data_bytes) else { return Ok(None) };
        let asked = self.asked.remove(&cookie).expect("just looked at");
        Ok(Some(Some(match asked {
            _ if error != 0 => Said::Failed,
            Asked::Write { first, values } => Said::Written { first, values },
            Asked::Read { first, allowed } => Said::Read { first, allowed, bytes: reply[16..].to_vec() },
        })))
    }

    fn u32(&self, at: usize) -> Option<u32> {
        self.heard.get(at..at + 4).map(|bytes| number(bytes, 0))
    }

    fn take(&mut self, len_bytes: usize) -> Option<Vec<u8>> {
        (self.heard.len() >= len_bytes).then(|| self.heard.drain(..len_bytes).collect())
    }
}

fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("4 bytes"))
}

/// Blocks that say what they are, where they belong, and whether they are whole.
fn fill(volume: VolumeId, first: u64, values: &[u64]) -> Vec<u8> {
    let mut bytes = vec![0; values.len() * BLOCK_BYTES];
    for ((block, value), page) in (first..).zip(values).zip(bytes.chunks_exact_mut(BLOCK_BYTES)) {
        for (at, word) in WORDS.into_iter().zip([*value, block, volume.0, *value]) {
            page[at..at + 8].copy_from_slice(&word.to_le_bytes());
        }
    }
    bytes
}

/// The value that a block holds, and the volume it was written to; 0 when it was never written.
pub(super) fn value_of(block: u64, page: &[u8]) -> Result<(u64, VolumeId), String> {
    let found = WORDS.map(|at| u64::from_le_bytes(page[at..at + 8].try_into().expect("8 bytes")));
    let [value, place, owner, end] = found;
    if found == [0; 4] || (place == block && end == value) {
        return Ok((value, VolumeId(owner)));
    }
    Err(format!("block {block} holds bytes of block {place} of volume {owner}: {value} / {end}"))
}
