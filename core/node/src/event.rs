//! What goes in and out of a node.

use std::time::Duration;

use block::{PoolId, PoolOffset, VolumeId};
use replication::Proposal;
use store::{IoId, Job, JobId};

use crate::command::{Answer, Command, ControlError};
use crate::door::Door;
use crate::intent::Intent;
use crate::peers::PeerFault;
use crate::relay::Relay;
use crate::wire::PreambleFault;

/// A client connection. The reactor chooses slots, small and used again, and never uses one pair twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConnId {
    /// Place in the reactor's table.
    pub slot: u32,
    /// Which use of the slot.
    pub generation: u32,
}

/// A command on its way; chosen by the sender, comes back with the answer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ControlId(pub u64);

/// Something that happened.
#[derive(Debug)]
pub enum Event {
    /// A client connected.
    Accepted {
        /// Its name from now on.
        conn: ConnId,
        /// Where it came in.
        door: Door,
    },
    /// An [`Effect::Receive`] ended with bytes.
    Received {
        /// Whose.
        conn: ConnId,
        /// How many lie at the front of [`crate::Node::receive_target`]; at least one.
        len_bytes: usize,
    },
    /// An [`Effect::Send`] ended.
    Sent {
        /// Whose.
        conn: ConnId,
        /// How many bytes went out; fewer than there were is fine.
        len_bytes: usize,
    },
    /// End of stream, reset or any other error: nothing more will be received.
    Broken {
        /// Whose.
        conn: ConnId,
    },
    /// After [`Effect::Close`]: the kernel no longer touches the connection's memory.
    Closed {
        /// Which.
        conn: ConnId,
    },
    /// An [`Effect::Connect`] ended with a connection. From now on it is like one that was accepted.
    PeerConnected {
        /// Whose.
        peer: PoolId,
        /// Its name from now on.
        conn: ConnId,
    },
    /// An [`Effect::Connect`] came to nothing. It is ordered again.
    PeerFailed {
        /// Whose.
        peer: PoolId,
    },
    /// Something happened to the store's device.
    Disk(store::Event),
    /// An operator's command.
    Control {
        /// Comes back with the answer.
        id: ControlId,
        /// What to do.
        command: Command,
    },
    /// The control plane says what the node should be. Without effect where the node offers every volume.
    Intended(Box<Intent>),
    /// Every event of this turn was handled: take requests, submit, send.
    TurnEnded,
    /// End in good order.
    Stop,
}

/// What a node wants done.
#[derive(Debug)]
pub enum Effect {
    /// Receive into [`crate::Node::receive_target`]. At most one is outstanding per connection.
    Receive {
        /// From whom.
        conn: ConnId,
    },
    /// Send [`crate::Node::send_source`]. At most one is outstanding per connection.
    Send {
        /// To whom.
        conn: ConnId,
        /// Whether something waits for its end. If not, a send of everything that there was may be told as late as
        /// before the next event: nobody need be woken for it.
        awaited: bool,
    },
    /// Shut the socket down, cancel what is outstanding, and answer [`Event::Closed`] when the kernel is done with
    /// the connection's memory. Sent once per connection; comes also for one that was never served.
    Close {
        /// Which.
        conn: ConnId,
    },
    /// Connect to another node, and answer [`Event::PeerConnected`] or, after two seconds at most,
    /// [`Event::PeerFailed`]. At most one is outstanding per peer.
    Connect {
        /// Comes back.
        peer: PoolId,
        /// Where it takes connections of other nodes' replicas; not looked at here.
        address: String,
    },
    /// Ask the control plane for another configuration of a volume. What comes of it is told by an [`Intent`].
    Propose {
        /// Of which volume.
        volume: VolumeId,
        /// What is wanted.
        proposal: Proposal,
    },
    /// Write [`crate::Node::write_source`] to the pool.
    Write {
        /// Names the operation and its bytes.
        io: IoId,
        /// Where to.
        at: PoolOffset,
    },
    /// Read from the pool into [`crate::Node::read_target`].
    Read {
        /// Names the operation and its buffer.
        io: IoId,
        /// Where from.
        at: PoolOffset,
    },
    /// fdatasync the pool.
    Sync {
        /// Names the operation.
        io: IoId,
    },
    /// Run the job on another thread.
    Run {
        /// Names the job.
        id: JobId,
        /// What to run.
        job: Job,
    },
    /// A command ended.
    Answered {
        /// Which.
        id: ControlId,
        /// How.
        answer: Result<Answer, ControlError>,
    },
    /// [`crate::Node::observation`] has something new to say.
    ObservationChanged,
    /// The client wants a volume of another node: take the connection away and pass it on. Nothing is outstanding on
    /// it, and the node has forgotten it: neither [`Effect::Close`] nor [`Event::Closed`] follows.
    HandOver {
        /// Which.
        conn: ConnId,
        /// Where to, and what to say.
        relay: Box<Relay>,
    },
    /// A request was replied to.
    Measured {
        /// Whose it was.
        volume: VolumeId,
        /// What it was.
        operation: Operation,
        /// Bytes it named.
        bytes: u32,
        /// From the arrival of its header to its reply, ready to be sent.
        took: Duration,
        /// Whether the reply was an error.
        failed: bool,
    },
    /// Something the operator should know.
    Report(Report),
    /// The end of [`Event::Stop`]: nothing is in flight and the pool is clean.
    Stopped,
}

/// Kinds of requests.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Operation {
    /// Read.
    Read,
    /// Write.
    Write,
    /// Flush.
    Flush,
    /// Discard.
    Discard,
    /// Write zeroes.
    WriteZeroes,
    /// Block status.
    BlockStatus,
    /// Cache.
    Cache,
}

/// News for the operator. The node has already acted on it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Report {
    /// From the store.
    Store(store::Report),
    /// A client opened a volume.
    Opened {
        /// Which connection.
        conn: ConnId,
        /// Which volume.
        volume: VolumeId,
    },
    /// A connection ended.
    Ended {
        /// Which connection.
        conn: ConnId,
        /// The volume it had opened, if it had.
        volume: Option<VolumeId>,
        /// Why.
        why: Why,
    },
    /// A connection with another node's replicas ended, or was refused.
    Peer {
        /// Which node, by its pool, if it is known.
        peer: Option<PoolId>,
        /// Why.
        fault: PeerFault,
    },
    /// That many reports about connections were left out in the second before.
    Suppressed {
        /// How many.
        count: u64,
    },
}

/// Why a connection ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// The session ended it: a polite end or a broken protocol.
    Session(nbd::CloseReason),
    /// End of stream or a socket error.
    Broken,
    /// No export was opened in time.
    TooSlow,
    /// The payload of a write made no progress.
    Stalled,
    /// It took too long to end in good order.
    Abrupt,
    /// As many connections as there may be.
    TooMany,
    /// Its volume was deleted.
    VolumeDeleted,
    /// The control plane does not let it in any more: its attachment ended, or its volume is not offered or not open
    /// any more.
    ShutOut,
    /// Its volume is served by another node from now on, or by nobody for a moment: its client asks there again.
    Deposed,
    /// The same client came again with the token of a writer: two connections of one writer could overtake each other.
    Superseded,
    /// It came in where other nodes do, and is none.
    Preamble(PreambleFault),
    /// The node is stopping.
    Stopping,
}
