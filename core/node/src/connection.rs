//! One client connection: its buffers, its session, and how far it is.
//!
//! ```text
//!   Negotiating ──> Open <──> Receiving        Draining: nothing is read any more; what was admitted is finished and
//!        │           │            │            sent, then the connection is closed.
//!        │           v            v            Closing: Effect::Close is out; the memory stays until Event::Closed.
//!        │        Draining <──────┤            Succeeding: before Open, while others' requests end.
//!        v           v            v            Leaving: instead of Open, when the volume is on another node; the
//!        └───────> Closing ──> removed         connection is handed over, and removed.
//! ```

use std::mem;

use block::{Instant, Outbox, VolumeId};
use nbd::Session;

use crate::door::Entrance;
use crate::event::{ConnId, Why};
use crate::inbox::Inbox;
use crate::limits::{PATIENCE, PAYLOAD_PATIENCE, UNAWAITED_BYTES_MAX};
use crate::pass::Pass;
use crate::write::Assembly;

/// A connection's state.
#[derive(Debug)]
pub(crate) struct Connection {
    pub id: ConnId,
    /// What is known of its client.
    pub entrance: Entrance,
    pub stage: Stage,
    pub session: Session,
    pub inbox: Inbox,
    /// What is being sent, and what follows it.
    pub sending: Outbox,
    pub pending: Outbox,
    pub receive_outstanding: bool,
    pub send_outstanding: bool,
    /// Requests in flight, and the bytes they name.
    pub requests: u32,
    pub request_bytes: u64,
    /// When the bytes in the inbox came.
    pub arrived: Instant,
    /// In the queue of those to take requests from, or of those that wait for the store.
    pub queued: bool,
    /// A change of it waits for room in the store, unless there is room now.
    pub choked: bool,
    /// In the list of those to look at when the turn ends.
    pub touched: bool,
    /// A timer will look at it.
    pub timed: bool,
    /// Its part of the node's backlog.
    pub noted_backlog_bytes: usize,
}

/// How far a connection is.
#[derive(Debug)]
pub(crate) enum Stage {
    /// No export is open yet.
    Negotiating { since: Instant },
    /// Requests are taken.
    Open { pass: Pass },
    /// Requests will be taken when all that was admitted of those before it has ended.
    Succeeding { pass: Pass },
    /// The bytes that come belong to a write.
    Receiving { pass: Pass, assembly: Assembly, progress: Instant },
    /// It ends in good order. A receive may still be outstanding, and into what.
    Draining { pass: Option<Pass>, why: Why, since: Instant, held: Option<Assembly> },
    /// Another node has what it wants; it is handed over when what is being sent is out.
    Leaving { address: String, since: Instant },
    /// It has ended.
    Closing { held: Option<Assembly> },
}

impl Connection {
    pub fn new(id: ConnId, entrance: Entrance, now: Instant) -> Self {
        let mut pending = Outbox::default();
        let session = Session::new(&mut pending);
        Self {
            id,
            entrance,
            stage: Stage::Negotiating { since: now },
            session,
            inbox: Inbox::default(),
            sending: Outbox::default(),
            pending,
            receive_outstanding: false,
            send_outstanding: false,
            requests: 0,
            request_bytes: 0,
            arrived: now,
            queued: false,
            choked: false,
            touched: false,
            timed: false,
            noted_backlog_bytes: 0,
        }
    }

    /// What lets it use the volume that it counts as a client of.
    pub fn pass(&self) -> Option<Pass> {
        match self.stage {
            Stage::Open { pass } | Stage::Succeeding { pass } | Stage::Receiving { pass, .. } => Some(pass),
            Stage::Draining { pass, .. } => pass,
            Stage::Negotiating { .. } | Stage::Leaving { .. } | Stage::Closing { .. } => None,
        }
    }

    /// The volume it counts as a client of.
    pub fn volume(&self) -> Option<VolumeId> {
        self.pass().map(|pass| pass.volume)
    }

    /// Bytes to be sent.
    pub fn backlog_bytes(&self) -> usize {
        self.sending.len_bytes() + self.pending.len_bytes()
    }

    /// When patience ends, as things are.
    pub fn due(&self) -> Option<Instant> {
        match self.stage {
            Stage::Negotiating { since } | Stage::Leaving { since, .. } | Stage::Draining { since, .. } => {
                Some(since + PATIENCE)
            }
            Stage::Receiving { progress, .. } => Some(progress + PAYLOAD_PATIENCE),
            Stage::Open { .. } | Stage::Succeeding { .. } | Stage::Closing { .. } => None,
        }
    }

    /// Where the bytes of a receive go; the same place as long as one is outstanding.
    pub fn receive_target(&mut self) -> &mut [u8] {
        match &mut self.stage {
            Stage::Receiving { assembly, .. }
            | Stage::Draining { held: Some(assembly), .. }
            | Stage::Closing { held: Some(assembly) } => assembly.free(),
            Stage::Negotiating { .. }
            | Stage::Open { .. }
            | Stage::Succeeding { .. }
            | Stage::Leaving { .. }
            | Stage::Draining { held: None, .. }
            | Stage::Closing { held: None } => self.inbox.free(),
        }
    }

    /// Whether everything owed to the client went out.
    pub fn is_settled(&self) -> bool {
        self.requests == 0 && self.backlog_bytes() == 0 && !self.send_outstanding
    }

    /// Makes what is to be sent ready. If there is anything, and nothing is under way, answers whether something of this
    /// connection goes on when it was sent.
    pub fn prepare_send(&mut self) -> Option<bool> {
        if self.send_outstanding || self.backlog_bytes() == 0 {
            return None;
        }
        // A send that was short is gone on with when the client has taken some of it.
        let is_rest = !self.sending.is_empty();
        if !is_rest {
            mem::swap(&mut self.sending, &mut self.pending);
            self.sending.seal();
        }
        let goes_on = matches!(self.stage, Stage::Open { .. } | Stage::Receiving { .. });
        Some(is_rest || !goes_on || self.sending.len_bytes() > UNAWAITED_BYTES_MAX)
    }
}

/// The connections by slot.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    slots: Vec<Option<Box<Connection>>>,
    count: usize,
}

impl Connections {
    pub fn len(&self) -> usize {
        self.count
    }

    pub fn insert(&mut self, connection: Connection) {
        let slot = connection.id.slot as usize;
        if slot >= self.slots.len() {
            self.slots.resize_with(slot + 1, || None);
        }
        assert!(self.slots[slot].is_none(), "a slot is used again only after Closed");
        self.slots[slot] = Some(Box::new(connection));
        self.count += 1;
    }

    pub fn get(&self, id: ConnId) -> Option<&Connection> {
        self.slots.get(id.slot as usize)?.as_deref().filter(|connection| connection.id == id)
    }

    pub fn get_mut(&mut self, id: ConnId) -> Option<&mut Connection> {
        self.slots.get_mut(id.slot as usize)?.as_deref_mut().filter(|connection| connection.id == id)
    }

    pub fn remove(&mut self, id: ConnId) -> Option<Box<Connection>> {
        self.get(id)?;
        self.count -= 1;
        self.slots[id.slot as usize].take()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Connection> {
        self.slots.iter().filter_map(Option::as_deref)
    }
}
