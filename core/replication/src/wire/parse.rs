//! Bytes to messages, as far as header and body go. What has no payload is a message then; anything else is
//! [`Pending`] until its payload was received, which may be straight into the memory that the store writes from.

use std::collections::BTreeMap;

use block::{BLOCK_BYTES, Checksum, Epoch, GROUP_BLOCKS, GroupIndex, Incarnation, Instant, PoolId};
use zerocopy::FromBytes;
use zerocopy::little_endian::U64;

use crate::aside::Aside;
use crate::configuration::Configuration;
use crate::message::Message;
use crate::payload::{Lost, Memory, Payload};
use crate::wire::aside;
use crate::wire::body::{
    Body, RawAck, RawCopy, RawEpochAck, RawHeartbeat, RawJoin, RawMember, RawNewEpoch, RawOpen, RawSnapshot, RawStart,
    RawTold,
};
use crate::wire::entries;
use crate::wire::fault::Fault;
use crate::wire::header::{Envelope, Header, Kind, RECOVERY, RawHeader, TIGHT, UNHEARD};
use crate::wire::limits::{GROUPS_MAX, HEADER_BYTES, MEMBERS_MAX};
use crate::wire::link::Signal;
use crate::wire::pending::{Lacking, Pending};

/// What a look at the input led to.
#[derive(Debug)]
pub enum Parsed {
    /// Look again when there are this many bytes: more than now, at most [`crate::wire::INPUT_BYTES_MAX`].
    Incomplete {
        /// Bytes needed in one piece.
        need_bytes: usize,
    },
    /// A message.
    Message {
        /// Bytes done with.
        consumed: usize,
        /// From whom, for whom.
        envelope: Envelope,
        /// What it says.
        message: Message<Payload>,
    },
    /// What the other end of a link says, for [`crate::wire::Link::hear`].
    Signal {
        /// Bytes done with.
        consumed: usize,
        /// From whom, of which link.
        envelope: Envelope,
        /// What it says.
        signal: Signal,
    },
    /// Something beside the order.
    Aside {
        /// Bytes done with.
        consumed: usize,
        /// From whom, for whom.
        envelope: Envelope,
        /// What it says.
        aside: Aside,
    },
    /// The next [`Pending::payload_bytes`] bytes of the stream belong to this message.
    Payload {
        /// Bytes done with.
        consumed: usize,
        /// The rest of it.
        pending: Pending,
    },
}

/// Takes the message at the start of `input`.
///
/// # Errors
/// The stream cannot be followed any more, and the connection must end.
pub fn parse(input: &[u8]) -> Result<Parsed, Fault> {
    let Ok((raw, rest)) = RawHeader::ref_from_prefix(input) else {
        return Ok(Parsed::Incomplete { need_bytes: HEADER_BYTES });
    };
    let header = Header::parse(raw)?;
    let consumed = HEADER_BYTES + header.body_bytes;
    let Some(body) = rest.get(..header.body_bytes) else {
        return Ok(Parsed::Incomplete { need_bytes: consumed });
    };
    let computed = Checksum::of(body);
    if computed != header.body_checksum {
        return Err(Fault::BodyDamaged { kind: header.kind, found: header.body_checksum, computed });
    }
    let mut body = Body::new(header.kind, body);
    let taken = take(&header, &mut body)?;
    body.end()?;
    finish(&header, taken, consumed)
}

/// A body that was understood.
enum Taken {
    /// All there is.
    Whole(Message<Payload>),
    /// No message, but about the link.
    Signal(Signal),
    /// No message, but beside them.
    Aside(Aside),
    /// With a payload, of no bytes perhaps.
    Lacking { lacking: Lacking, payload_bytes: usize, checksums: Vec<Checksum> },
}

fn finish(header: &Header, taken: Taken, consumed: usize) -> Result<Parsed, Fault> {
    let Header { kind, envelope, payload_bytes: found, .. } = *header;
    let expected = match &taken {
        Taken::Whole(_) | Taken::Signal(_) | Taken::Aside(_) => 0,
        Taken::Lacking { payload_bytes, .. } => *payload_bytes,
    };
    if found != expected {
        return Err(Fault::PayloadBytes { kind, found, expected });
    }
    match taken {
        Taken::Whole(message) => Ok(Parsed::Message { consumed, envelope, message }),
        Taken::Signal(signal) => Ok(Parsed::Signal { consumed, envelope, signal }),
        Taken::Aside(aside) => Ok(Parsed::Aside { consumed, envelope, aside }),
        Taken::Lacking { lacking, payload_bytes, checksums } => {
            let pending = Pending { kind, envelope, lacking, payload_bytes, checksums };
            if payload_bytes > 0 {
                return Ok(Parsed::Payload { consumed, pending });
            }
            let (envelope, message) = pending.complete(Memory::default())?;
            Ok(Parsed::Message { consumed, envelope, message })
        }
    }
}

fn take(header: &Header, body: &mut Body<'_>) -> Result<Taken, Fault> {
    if let Some(aside) = aside::take(body)? {
        return Ok(Taken::Aside(aside));
    }
    let epoch = header.epoch;
    let message = match header.kind {
        Kind::Prepare | Kind::Entries | Kind::Join | Kind::Copy | Kind::Relay | Kind::Enter => {
            return take_lacking(header, body);
        }
        Kind::Heartbeat => {
            let raw: &RawHeartbeat = body.take()?;
            let (sent, unheard) = (Instant(raw.sent.get()), header.flags & UNHEARD != 0);
            Message::Heartbeat { epoch, sent, unheard, acked: raw.told.acked.get(), stable: raw.told.stable.get() }
        }
        Kind::HeartbeatAck => {
            Message::HeartbeatAck { epoch, sent: Instant(number(body)?), tight: header.flags & TIGHT != 0 }
        }
        Kind::Ack => {
            let raw: &RawAck = body.take()?;
            let (applied, durable) = (raw.applied.get(), raw.durable.get());
            Message::Ack { epoch, applied, durable, tight: header.flags & TIGHT != 0 }
        }
        Kind::NewEpoch => take_configuration(header, body)?,
        Kind::EpochAck => {
            let raw: &RawEpochAck = body.take()?;
            let (received, applied, durable) = (raw.received.get(), raw.applied.get(), raw.durable.get());
            Message::EpochAck { epoch, received, applied, durable, sent: Instant(raw.sent.get()) }
        }
        Kind::Fetch => Message::Fetch { epoch, after: number(body)? },
        Kind::Start => {
            let raw: &RawStart = body.take()?;
            let (nonce, groups) = (raw.nonce.get(), raw.groups.get());
            Message::Start { epoch, nonce, groups, snapshots: body.snapshots()? }
        }
        Kind::Cut => {
            let raw: &RawSnapshot = body.take()?;
            Message::Cut { epoch, snapshot: body.snapshot(raw)? }
        }
        Kind::Copied => Message::Copied { epoch },
        Kind::Flushed => Message::Flushed { epoch },
        Kind::Open => return Ok(Taken::Signal(Signal::Open { to: PoolId(body.take::<RawOpen>()?.to.get()) })),
        Kind::Opened => return Ok(Taken::Signal(Signal::Opened)),
        Kind::Close => return Ok(Taken::Signal(Signal::Close)),
        Kind::Want | Kind::Have | Kind::Compare | Kind::Compared => unreachable!("they were taken before"),
    };
    Ok(Taken::Whole(message))
}

fn take_lacking(header: &Header, body: &mut Body<'_>) -> Result<Taken, Fault> {
    let Header { kind, epoch, .. } = *header;
    let (lacking, blocks) = match kind {
        Kind::Prepare => {
            let told: &RawTold = body.take()?;
            let entry = entries::parse_one(body, epoch)?;
            let blocks = entry.change.payload_blocks();
            (Lacking::Prepare { epoch, entry, acked: told.acked.get(), stable: told.stable.get() }, blocks)
        }
        Kind::Relay => {
            let entry = entries::parse_one(body, epoch)?;
            let blocks = entry.change.payload_blocks();
            (Lacking::Relay { epoch, entry }, blocks)
        }
        Kind::Entries => {
            let (last, entries) = entries::parse_tail(body, epoch)?;
            entries::check_order(kind, last, 0)?;
            let blocks = entries.iter().map(|entry| entry.change.payload_blocks()).sum();
            (Lacking::Entries { epoch, entries }, blocks)
        }
        Kind::Enter => {
            let (last, tail) = entries::parse_tail(body, epoch)?;
            if let Some(entry) = tail.last() {
                entries::check_order(kind, entry.seq.n, last)?;
            }
            let blocks = tail.iter().map(|entry| entry.change.payload_blocks()).sum();
            (Lacking::Enter { epoch, last, tail }, blocks)
        }
        Kind::Copy => return take_copy(epoch, body),
        Kind::Join => return take_join(header, body),
        Kind::Heartbeat | Kind::HeartbeatAck | Kind::Ack | Kind::NewEpoch | Kind::EpochAck | Kind::Fetch => {
            unreachable!("they have no payload")
        }
        Kind::Start | Kind::Cut | Kind::Copied | Kind::Flushed | Kind::Open | Kind::Opened | Kind::Close => {
            unreachable!("they have no payload")
        }
        Kind::Want | Kind::Have | Kind::Compare | Kind::Compared => unreachable!("they have no payload"),
    };
    let checksums = body.checksums(blocks as usize)?;
    Ok(Taken::Lacking { lacking, payload_bytes: blocks as usize * BLOCK_BYTES, checksums })
}

fn take_copy(epoch: Epoch, body: &mut Body<'_>) -> Result<Taken, Fault> {
    let raw: &RawCopy = body.take()?;
    let (group, holes) = (GroupIndex(raw.group.get()), raw.holes.get());
    if group.0 >= GROUPS_MAX {
        return Err(Fault::Group { found: group.0 });
    }
    let mut checksums = body.checksums((GROUP_BLOCKS - holes.count_ones()) as usize)?;
    let lost = if body.is_over() { None } else { Some(take_lost(number(body)?, holes, &mut checksums)?) };
    let payload_bytes = checksums.len() * BLOCK_BYTES;
    let lacking = Lacking::Copy { epoch, group, born: raw.born.get(), holes, lost };
    Ok(Taken::Lacking { lacking, payload_bytes, checksums })
}

/// Takes the checksums of blocks that are lost out of those of all blocks that are not holes.
fn take_lost(blocks: u64, holes: u64, checksums: &mut Vec<Checksum>) -> Result<Lost, Fault> {
    if blocks == 0 || blocks & holes != 0 {
        return Err(Fault::Lost { found: blocks, holes });
    }
    let bits = (0..GROUP_BLOCKS).filter(|bit| holes >> bit & 1 == 0);
    let (lost, data): (Vec<_>, Vec<_>) =
        bits.zip(std::mem::take(checksums)).partition(|(bit, _)| blocks >> bit & 1 == 1);
    checksums.extend(data.into_iter().map(|(_, checksum)| checksum));
    Ok(Lost { blocks, checksums: lost.into_iter().map(|(_, checksum)| checksum).collect() })
}

fn take_join(header: &Header, body: &mut Body<'_>) -> Result<Taken, Fault> {
    let raw: &RawJoin = body.take()?;
    let incarnation = incarnation(header.kind, raw.incarnation)?;
    let checksum = Checksum(raw.dirty_checksum.get());
    let (nonce, stable) = (raw.nonce.get(), raw.stable.get());
    let lacking = Lacking::Join { incarnation, nonce, stable, checksum, snapshots: body.snapshots()? };
    Ok(Taken::Lacking { lacking, payload_bytes: header.payload_bytes, checksums: Vec::new() })
}

fn take_configuration(header: &Header, body: &mut Body<'_>) -> Result<Message<Payload>, Fault> {
    let raw: &RawNewEpoch = body.take()?;
    let (count, members_min) = (raw.members.get(), raw.members_min.get());
    let fault = Fault::Configuration { members: count, members_min };
    if !(1..=MEMBERS_MAX).contains(&(count as usize)) || members_min as usize > MEMBERS_MAX {
        return Err(fault);
    }
    let mut members = BTreeMap::new();
    for member in body.take_all::<RawMember>(count as usize)? {
        let pool = PoolId(member.pool.get());
        if members.last_key_value().is_some_and(|(before, _)| *before >= pool) {
            return Err(fault);
        }
        members.insert(pool, incarnation(header.kind, member.incarnation)?);
    }
    let primary = PoolId(raw.primary.get());
    if !members.contains_key(&primary) {
        return Err(fault);
    }
    let configuration = Configuration {
        epoch: header.epoch,
        primary,
        members,
        members_min: members_min as usize,
        cache_generation: raw.cache_generation.get(),
        recovery: header.flags & RECOVERY != 0,
        history: Epoch(raw.history.get()),
    };
    Ok(Message::NewEpoch { configuration, sent: Instant(raw.sent.get()) })
}

fn incarnation(kind: Kind, raw: U64) -> Result<Incarnation, Fault> {
    match raw.get() {
        0 => Err(Fault::NoIncarnation { kind }),
        number => Ok(Incarnation(number)),
    }
}

fn number(body: &mut Body<'_>) -> Result<u64, Fault> {
    Ok(body.take::<U64>()?.get())
}
