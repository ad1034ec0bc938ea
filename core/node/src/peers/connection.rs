//! One connection with another node: its buffers, and how far it is.

use block::{Instant, Pages, PoolId};
use replication::Memory;
use replication::wire::{Channel, Hello, INPUT_BYTES_MAX, Pending};

use crate::event::ConnId;
use crate::inbox::{INBOX_BYTES, Inbox};
use crate::limits::{PEER_KEEPALIVE, PEER_SILENCE, PEER_STUCK, UNAWAITED_BYTES_MAX};
use crate::peers::send::PeerOutbox;

const _: () = assert!(INPUT_BYTES_MAX <= INBOX_BYTES, "whatever is needed in one piece fits the inbox");

/// A connection's state.
#[derive(Debug)]
pub(crate) struct PeerConnection {
    pub conn: ConnId,
    /// [`Channel::Control`] for heartbeats, [`Channel::Live`] for everything else.
    pub channel: Channel,
    pub stage: Stage,
    /// Of whoever made it; a newer connection of the same node has a higher one.
    pub session: u64,
    /// What both ends can besides.
    pub features: u64,
    pub inbox: Inbox,
    /// Bytes that must be there before the next look.
    pub need_bytes: usize,
    /// A payload that is arriving.
    pub receiving: Option<Receiving>,
    pub outbox: PeerOutbox,
    pub receive_outstanding: bool,
    pub send: Sending,
    /// The last send was short.
    pub is_slow: bool,
    /// When it said something last, and when this node did.
    pub heard: Instant,
    pub said: Instant,
}

/// Whether a send is under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sending {
    /// None is.
    No,
    /// One of so many bytes, whose end is told as it comes.
    Awaited { len_bytes: usize },
    /// One of so many bytes, whose end is told before the next event.
    Unawaited { len_bytes: usize },
}

/// How far it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stage {
    /// This node said who it is.
    Asking { peer: PoolId },
    /// The other one has not said who it is.
    Answering,
    /// Messages go both ways.
    Open { peer: PoolId },
    /// The other one was refused; the connection ends when it has been told why.
    Leaving,
    /// It has ended; the memory stays until the kernel is done with it.
    Closing,
}

/// A message and the part of its payload that arrived.
#[derive(Debug)]
pub(crate) struct Receiving {
    pub pending: Pending,
    pub memory: Memory,
    pub filled_bytes: usize,
}

impl Receiving {
    pub fn new(pending: Pending) -> Self {
        let pages = pending.payload_bytes().div_ceil(block::PAGE_BYTES);
        Self { pending, memory: Memory::new(Pages::zeroed(pages)), filled_bytes: 0 }
    }

    /// Where the next bytes go.
    pub fn free(&mut self) -> &mut [u8] {
        let end = self.pending.payload_bytes();
        &mut self.memory.bytes_mut()[self.filled_bytes..end]
    }

    pub fn is_complete(&self) -> bool {
        self.filled_bytes == self.pending.payload_bytes()
    }
}

impl PeerConnection {
    /// One that this node made: it says `hello` first.
    pub fn asking(conn: ConnId, now: Instant, hello: &Hello, peer: PoolId) -> Self {
        let mut connection = Self::new(conn, now, Stage::Asking { peer });
        (connection.session, connection.channel) = (hello.session, hello.channel);
        connection.outbox.push_bytes(hello.encode());
        connection
    }

    /// One that another node made.
    pub fn answering(conn: ConnId, now: Instant) -> Self {
        Self::new(conn, now, Stage::Answering)
    }

    fn new(conn: ConnId, now: Instant, stage: Stage) -> Self {
        Self {
            conn,
            channel: Channel::Live,
            stage,
            session: 0,
            features: 0,
            inbox: Inbox::default(),
            need_bytes: 0,
            receiving: None,
            outbox: PeerOutbox::default(),
            receive_outstanding: false,
            send: Sending::No,
            is_slow: false,
            heard: now,
            said: now,
        }
    }

    /// Where received bytes go.
    pub fn receive_target(&mut self) -> &mut [u8] {
        match &mut self.receiving {
            Some(receiving) => receiving.free(),
            None => self.inbox.free(),
        }
    }

    /// Whether something is to be said so that the other end knows that this one is there.
    pub fn is_quiet(&self, now: Instant) -> bool {
        matches!(self.stage, Stage::Open { .. }) && self.outbox.is_empty() && now >= self.said + PEER_KEEPALIVE
    }

    /// Begins to send what is to be said; answers whether something goes on when it was sent.
    pub fn begin_send(&mut self, now: Instant) -> bool {
        self.outbox.pin();
        let len_bytes = self.outbox.unsent_bytes();
        let awaited = self.is_slow || !matches!(self.stage, Stage::Open { .. }) || len_bytes > UNAWAITED_BYTES_MAX;
        if awaited {
            self.send = Sending::Awaited { len_bytes };
        } else {
            (self.send, self.said) = (Sending::Unawaited { len_bytes }, now);
        }
        awaited
    }

    /// A send ended.
    pub fn sent(&mut self, now: Instant, sent_bytes: usize) {
        if let Sending::Awaited { len_bytes } | Sending::Unawaited { len_bytes } = self.send {
            self.is_slow = sent_bytes < len_bytes;
        }
        (self.send, self.said) = (Sending::No, now);
        self.outbox.sent(sent_bytes);
    }

    /// When it has said nothing for too long; later if its heartbeats, which came last at `beat`, have a connection of
    /// their own.
    pub fn silent_at(&self, beat: Option<Instant>) -> Instant {
        let stuck = self.heard + PEER_STUCK;
        let beats = beat.map_or(self.heard, |beat| beat.max(self.heard));
        (beats + PEER_SILENCE).min(stuck)
    }

    pub fn deadline(&self, beat: Option<Instant>) -> Option<Instant> {
        let silent = self.silent_at(beat);
        match self.stage {
            Stage::Closing => None,
            Stage::Open { .. } if self.outbox.is_empty() || matches!(self.send, Sending::Unawaited { .. }) => {
                Some(silent.min(self.said + PEER_KEEPALIVE))
            }
            Stage::Open { .. } | Stage::Asking { .. } | Stage::Answering | Stage::Leaving => Some(silent),
        }
    }
}
