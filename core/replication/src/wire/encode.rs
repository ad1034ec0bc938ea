//! Messages to bytes. The payload is not copied: it is named, and follows by reference.

use block::{BLOCK_BYTES, Checksum, Epoch, GROUP_BLOCKS, Instant, WriteSeq};
use zerocopy::IntoBytes;
use zerocopy::little_endian::{U32, U64};

use crate::configuration::Configuration;
use crate::entry::Entry;
use crate::groups::GroupSet;
use crate::message::Message;
use crate::payload::Payload;
use crate::snapshot::Snapshot;
use crate::wire::body::{
    RawAck, RawCopy, RawEpochAck, RawHeartbeat, RawJoin, RawMember, RawNewEpoch, RawOpen, RawSnapshot, RawStart,
    RawTail, RawTold,
};
use crate::wire::entries;
use crate::wire::groups;
use crate::wire::header::{Envelope, Header, Kind, RECOVERY, TIGHT, UNHEARD};
use crate::wire::limits::{
    ENTRIES_BYTES_MAX, ENTRIES_MAX, HEADER_BYTES, MEMBERS_MAX, SNAPSHOTS_SENT_MAX, WRITE_BLOCKS_MAX,
};
use crate::wire::link::Signal;

/// Why a message is not one that may be sent. Nothing was appended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unsendable {
    /// Of entries that somebody fetches, send the first ones: the rest will be fetched. A learner must wait.
    #[error(
        "{entries} changes with {payload_bytes} bytes; one message has at most {ENTRIES_MAX}, with at most \
         {ENTRIES_BYTES_MAX} bytes: send fewer"
    )]
    TooManyEntries {
        /// How many.
        entries: usize,
        /// Of them all.
        payload_bytes: usize,
    },
    /// A configuration that nobody should have decided.
    #[error("a configuration of {members} members; there are 1 to {MEMBERS_MAX}: change the volume's replicas")]
    Members {
        /// How many.
        members: usize,
    },
    /// A volume with more snapshots than anybody should have made.
    #[error("a volume with {snapshots} snapshots; at most {SNAPSHOTS_SENT_MAX} can be told of: delete some")]
    Snapshots {
        /// How many.
        snapshots: usize,
    },
}

/// Appends header and body of a message to `out`. What [`payloads`] names belongs right behind them, in that order.
///
/// # Errors
/// See [`Unsendable`].
pub fn encode(envelope: &Envelope, message: &Message<Payload>, out: &mut Vec<u8>) -> Result<(), Unsendable> {
    check(message)?;
    let start = out.len();
    out.resize(start + HEADER_BYTES, 0);
    let begun = push_body(message, out);
    let payload_bytes = payloads(message).map(|payload| payload.bytes().len()).sum();
    finish(envelope, &begun, payload_bytes, &mut out[start..]);
    Ok(())
}

/// Appends what one end of a link says to the other.
pub fn encode_signal(envelope: &Envelope, signal: Signal, out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + HEADER_BYTES, 0);
    let kind = match signal {
        Signal::Open { to } => {
            push(out, &RawOpen { to: to.0.into() });
            Kind::Open
        }
        Signal::Opened => Kind::Opened,
        Signal::Close => Kind::Close,
    };
    finish(envelope, &Begun { kind, flags: 0, epoch: Epoch(0), body_bytes: None }, 0, &mut out[start..]);
}

/// Writes the header of a frame in which everything else is there.
pub(crate) fn finish(envelope: &Envelope, begun: &Begun, payload_bytes: usize, frame: &mut [u8]) {
    let Begun { kind, flags, epoch, body_bytes } = *begun;
    let (header, rest) = frame.split_at_mut(HEADER_BYTES);
    let body_bytes = body_bytes.unwrap_or(rest.len());
    let made = Header {
        kind,
        flags,
        epoch,
        body_bytes,
        payload_bytes: rest.len() - body_bytes + payload_bytes,
        body_checksum: Checksum::of(&rest[..body_bytes]),
        envelope: *envelope,
    };
    header.copy_from_slice(&made.encode());
}

/// What follows header and body of a message, in order.
pub fn payloads(message: &Message<Payload>) -> impl Iterator<Item = &Payload> {
    let (content, some): (Option<&Payload>, &[Entry<Payload>]) = match message {
        Message::Copy { content, .. } => (Some(content), &[]),
        Message::Prepare { entry, .. } | Message::Relay { entry, .. } => (None, std::slice::from_ref(entry)),
        Message::Entries { entries, .. } => (None, entries),
        Message::Enter { tail, .. } => (None, tail),
        Message::Heartbeat { .. }
        | Message::HeartbeatAck { .. }
        | Message::Ack { .. }
        | Message::NewEpoch { .. }
        | Message::EpochAck { .. }
        | Message::Fetch { .. }
        | Message::Join { .. }
        | Message::Start { .. }
        | Message::Cut { .. }
        | Message::Copied { .. }
        | Message::Flushed { .. } => (None, &[]),
    };
    content.into_iter().chain(some.iter().filter_map(entries::payload))
}

/// What stands in the header because of the message.
pub(crate) struct Begun {
    pub kind: Kind,
    /// What of the bytes behind the header is the body; nothing when all of them are.
    pub body_bytes: Option<usize>,
    pub flags: u8,
    pub epoch: Epoch,
}

fn check(message: &Message<Payload>) -> Result<(), Unsendable> {
    match message {
        Message::Entries { entries: some, .. } | Message::Enter { tail: some, .. } => {
            let payload_bytes = some.iter().map(|entry| entry.change.payload_blocks() as usize * BLOCK_BYTES).sum();
            if some.len() > ENTRIES_MAX || payload_bytes > ENTRIES_BYTES_MAX {
                return Err(Unsendable::TooManyEntries { entries: some.len(), payload_bytes });
            }
        }
        Message::NewEpoch { configuration, .. } => {
            let members = configuration.members.len();
            if !(1..=MEMBERS_MAX).contains(&members) {
                return Err(Unsendable::Members { members });
            }
        }
        Message::Join { snapshots, .. } | Message::Start { snapshots, .. } => {
            if snapshots.len() > SNAPSHOTS_SENT_MAX {
                return Err(Unsendable::Snapshots { snapshots: snapshots.len() });
            }
        }
        Message::Heartbeat { .. }
        | Message::HeartbeatAck { .. }
        | Message::Prepare { .. }
        | Message::Ack { .. }
        | Message::EpochAck { .. }
        | Message::Fetch { .. }
        | Message::Cut { .. }
        | Message::Copy { .. }
        | Message::Copied { .. }
        | Message::Relay { .. }
        | Message::Flushed { .. } => {}
    }
    Ok(())
}

fn tight_flag(tight: bool) -> u8 {
    if tight { TIGHT } else { 0 }
}

fn push_body(message: &Message<Payload>, out: &mut Vec<u8>) -> Begun {
    let (kind, epoch) = match message {
        Message::Heartbeat { epoch, sent, unheard, acked, stable } => {
            push(out, &RawHeartbeat { sent: sent.0.into(), told: told(*acked, *stable) });
            let flags = if *unheard { UNHEARD } else { 0 };
            return Begun { kind: Kind::Heartbeat, flags, epoch: *epoch, body_bytes: None };
        }
        Message::NewEpoch { configuration, sent } => {
            push_configuration(configuration, *sent, out);
            let flags = if configuration.recovery { RECOVERY } else { 0 };
            return Begun { kind: Kind::NewEpoch, flags, epoch: configuration.epoch, body_bytes: None };
        }
        Message::Join { incarnation, nonce, stable, dirty, snapshots } => {
            let join = RawJoin {
                incarnation: incarnation.0.into(),
                nonce: (*nonce).into(),
                stable: (*stable).into(),
                dirty_checksum: 0.into(),
            };
            let body_bytes = Some(push_join(join, dirty, snapshots, out));
            return Begun { kind: Kind::Join, flags: 0, epoch: Epoch(0), body_bytes };
        }
        Message::HeartbeatAck { epoch, sent, tight } => {
            let kind = push_number(Kind::HeartbeatAck, sent.0, out);
            return Begun { kind, flags: tight_flag(*tight), epoch: *epoch, body_bytes: None };
        }
        Message::Fetch { epoch, after } => (push_number(Kind::Fetch, *after, out), *epoch),
        Message::Start { epoch, nonce, groups, snapshots } => {
            push(out, &RawStart { nonce: (*nonce).into(), groups: (*groups).into() });
            push_snapshots(snapshots, out);
            (Kind::Start, *epoch)
        }
        Message::Prepare { epoch, entry, acked, stable } => {
            push(out, &told(*acked, *stable));
            push_entries(std::slice::from_ref(entry), out);
            (Kind::Prepare, *epoch)
        }
        Message::Relay { epoch, entry } => {
            push_entries(std::slice::from_ref(entry), out);
            (Kind::Relay, *epoch)
        }
        Message::Entries { epoch, entries } => (push_tail(Kind::Entries, 0, entries, out), *epoch),
        Message::Enter { epoch, last, tail } => (push_tail(Kind::Enter, *last, tail, out), *epoch),
        Message::Ack { epoch, applied, durable, tight } => {
            push(out, &RawAck { applied: (*applied).into(), durable: (*durable).into() });
            return Begun { kind: Kind::Ack, flags: tight_flag(*tight), epoch: *epoch, body_bytes: None };
        }
        Message::EpochAck { epoch, received, applied, durable, sent } => {
            let (received, applied) = ((*received).into(), (*applied).into());
            push(out, &RawEpochAck { received, applied, durable: (*durable).into(), sent: sent.0.into() });
            (Kind::EpochAck, *epoch)
        }
        Message::Copy { epoch, group, born, content } => {
            push(out, &RawCopy { group: group.0.into(), born: (*born).into(), holes: content.holes().into() });
            push_group(content, out);
            (Kind::Copy, *epoch)
        }
        Message::Cut { epoch, snapshot } => (push_snapshots(std::slice::from_ref(snapshot), out), *epoch),
        Message::Copied { epoch } => (Kind::Copied, *epoch),
        Message::Flushed { epoch } => (Kind::Flushed, *epoch),
    };
    Begun { kind, flags: 0, epoch, body_bytes: None }
}

fn push_number(kind: Kind, number: u64, out: &mut Vec<u8>) -> Kind {
    push(out, &U64::new(number));
    kind
}

fn push_tail(kind: Kind, last: u64, some: &[Entry<Payload>], out: &mut Vec<u8>) -> Kind {
    let count = u32::try_from(some.len()).expect("it was checked");
    push(out, &RawTail { last: last.into(), entries: count.into() });
    push_entries(some, out);
    kind
}

fn push_entries(some: &[Entry<Payload>], out: &mut Vec<u8>) {
    for entry in some {
        push(out, &entries::record(entry));
    }
    for (entry, payload) in some.iter().filter_map(|entry| Some((entry, entries::payload(entry)?))) {
        let has_all = payload.blocks() == entry.change.payload_blocks() && payload.holes() == 0;
        assert!(has_all, "a write has one block of data for each of its range");
        assert!((1..=WRITE_BLOCKS_MAX).contains(&payload.blocks()), "larger writes are cut when they are admitted");
        push_checksums(payload, out);
    }
}

/// The checksums of all blocks that are not holes, in order, and which of them are lost.
fn push_group(content: &Payload, out: &mut Vec<u8>) {
    let (lost, checksums) = content.lost().map_or((0, &[][..]), |lost| (lost.blocks, &lost.checksums[..]));
    let blocks = content.blocks() + content.holes().count_ones() + lost.count_ones();
    assert_eq!(blocks, GROUP_BLOCKS, "a copy is of a whole group");
    let (mut of_data, mut of_lost) = (content.checksums().iter(), checksums.iter());
    for bit in (0..GROUP_BLOCKS).filter(|bit| content.holes() >> bit & 1 == 0) {
        let next = if lost >> bit & 1 == 1 { of_lost.next() } else { of_data.next() };
        push(out, &U32::new(next.expect("they were counted").0));
    }
    if lost != 0 {
        push(out, &U64::new(lost));
    }
}

fn push_checksums(payload: &Payload, out: &mut Vec<u8>) {
    payload.checksums().iter().for_each(|checksum| push(out, &U32::new(checksum.0)));
}

fn push_configuration(configuration: &Configuration, sent: Instant, out: &mut Vec<u8>) {
    let count = |members: usize| U32::new(u32::try_from(members).unwrap_or(u32::MAX));
    push(
        out,
        &RawNewEpoch {
            sent: sent.0.into(),
            primary: configuration.primary.0.into(),
            cache_generation: configuration.cache_generation.into(),
            members_min: count(configuration.members_min),
            members: count(configuration.members.len()),
            history: configuration.history.0.into(),
        },
    );
    for (pool, incarnation) in &configuration.members {
        push(out, &RawMember { pool: pool.0.into(), incarnation: incarnation.0.into() });
    }
}

/// The only body whose payload is not blocks: it is appended, too.
fn push_join(mut join: RawJoin, dirty: &GroupSet, snapshots: &[Snapshot], out: &mut Vec<u8>) -> usize {
    let at = out.len();
    push(out, &join);
    push_snapshots(snapshots, out);
    let body_bytes = out.len() - at;
    join.dirty_checksum = groups::encode(dirty, out).0.into();
    out[at..at + size_of::<RawJoin>()].copy_from_slice(join.as_bytes());
    body_bytes
}

/// By rising place, so that they are written in one way only.
pub(crate) fn push_snapshots(snapshots: &[Snapshot], out: &mut Vec<u8>) -> Kind {
    let mut sorted = snapshots.to_vec();
    sorted.sort_unstable();
    for Snapshot { at, id, blocks } in sorted {
        push(out, &RawSnapshot { at: at.into(), id: id.0.into(), blocks: blocks.into() });
    }
    Kind::Cut
}

fn told(acked: u64, stable: WriteSeq) -> RawTold {
    RawTold { acked: acked.into(), stable: stable.into() }
}

pub(crate) fn push<T: IntoBytes + zerocopy::Immutable>(out: &mut Vec<u8>, record: &T) {
    out.extend_from_slice(record.as_bytes());
}
