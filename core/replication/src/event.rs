//! What goes in and out of a replica.

use std::time::Duration;

use block::{Epoch, GroupIndex, Incarnation, PoolId, SnapshotId, WriteSeq};

use crate::configuration::{Configuration, Proposal};
use crate::entry::Entry;
use crate::groups::GroupSet;
use crate::message::Message;
use crate::snapshot::Snapshot;
use crate::wanted::Wanted;

/// A client's request in flight. Chosen by the owner, comes back when it ended.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct OpId(pub u64);

/// A group on its way from the store to a learner.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct ReadId(pub u64);

/// Something that happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event<P> {
    /// The newest configuration that the control plane is known to have decided.
    Configured(Configuration),
    /// A new connection to another replica: nothing of an older one arrives any more, in either direction.
    Connected {
        /// Whose.
        peer: PoolId,
    },
    /// The connection is gone, and what was on its way may be.
    Disconnected {
        /// Whose.
        peer: PoolId,
    },
    /// A message arrived.
    Received {
        /// From whom.
        from: PoolId,
        /// Which it is.
        incarnation: Incarnation,
        /// What it says.
        message: Message<P>,
    },
    /// The store has what it was given by [`Effect::Apply`] up to here.
    Applied {
        /// What the replica was when it gave the changes to the store.
        incarnation: Incarnation,
        /// It survives the process up to this change.
        applied: u64,
        /// It is on stable media up to this change.
        durable: u64,
    },
    /// An [`Effect::ReadGroup`] ended.
    GroupRead {
        /// Of the order.
        id: ReadId,
        /// For whom.
        peer: PoolId,
        /// The newest change in it and its content; `None` when it could not be read.
        content: Option<(WriteSeq, P)>,
    },
    /// An [`Effect::StoreGroup`] survives the process.
    GroupStored,
    /// An [`Effect::Settle`] ended.
    Settled {
        /// What the replica was when it gave the order.
        incarnation: Incarnation,
    },
    /// An [`Effect::Restamp`] ended.
    Restamped,
    /// An [`Effect::KeepEpoch`] ended.
    EpochKept {
        /// Which.
        epoch: Epoch,
    },
    /// The store does not take what it is given: it is full, or its device failed. Nothing that it was given since then
    /// may be counted on.
    Unable,
    /// It takes changes again.
    Able,
    /// The pool has become nearly full, or is so no more: see [`crate::Replica::has_room`].
    Tight(bool),
    /// So many more groups may be read for learners. Without it none are: how fast they are taught is decided by whoever
    /// knows what else is to be done.
    Teach {
        /// How many; what is not read at once is not kept.
        groups: u32,
    },
    /// A primary should let another member be primary, as soon as nothing is in flight; `None`: not any more.
    HandOver {
        /// Which.
        to: Option<PoolId>,
    },
    /// A snapshot was deleted here, because the control plane wants that: it is taught to nobody.
    SnapshotDeleted {
        /// Which.
        id: SnapshotId,
    },
    /// The control plane says which replicas it wants. Until it does all are.
    Wanted(Wanted),
    /// [`crate::Replica::deadline`] has come.
    Tick,
}

/// What a replica wants done, in this order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect<P> {
    /// Send a message. Without a connection it is lost.
    Send {
        /// To whom.
        to: PoolId,
        /// What.
        message: Message<P>,
    },
    /// End the connection: what was sent on it may not arrive. [`Event::Disconnected`] follows at both ends.
    Disconnect {
        /// Whose.
        peer: PoolId,
    },
    /// Give the change to the store, in this order. [`Event::Applied`] follows.
    Apply {
        /// The change.
        entry: Entry<P>,
    },
    /// Give a change to the store that is not part of the replica's own log. No event follows.
    Relayed {
        /// The change.
        entry: Entry<P>,
    },
    /// Replace a group's content, and note this as its newest change. [`Event::GroupStored`] follows.
    StoreGroup {
        /// Which.
        group: GroupIndex,
        /// Its newest change.
        born: WriteSeq,
        /// Its blocks and holes.
        content: P,
    },
    /// Read a group as it is with all that was given to the store before. [`Event::GroupRead`] follows.
    ReadGroup {
        /// Comes back. Not used twice: what was read for an earlier session of a learner may come late, and has lost what
        /// was changed since.
        id: ReadId,
        /// For whom.
        peer: PoolId,
        /// Which.
        group: GroupIndex,
        /// Of this snapshot, and not of the volume as it is; it may be gone by then.
        from: Option<SnapshotId>,
    },
    /// What the store holds becomes this snapshot, which is not part of the replica's own log. No event follows.
    Cut {
        /// Which.
        snapshot: Snapshot,
    },
    /// Delete a snapshot: it is not of this order. No event follows.
    DropSnapshot {
        /// Which.
        id: SnapshotId,
    },
    /// Wait until all that was given to the store is on stable media. [`Event::Settled`] follows.
    Settle,
    /// Note `seq` as the newest change of every group that was changed after the common stable point.
    /// [`Event::Restamped`] follows when that survives the process.
    Restamp {
        /// The stamp.
        seq: WriteSeq,
    },
    /// Remember the epoch. [`Event::EpochKept`] follows when it is on stable media.
    KeepEpoch {
        /// Which.
        epoch: Epoch,
    },
    /// Remember the common stable point, some time: an older one is safe.
    KeepStable {
        /// Which.
        seq: WriteSeq,
    },
    /// Give the store nothing more of what was ordered before and was not given to it yet, but for epochs: a learner's
    /// lessons ended. What came later than it says what it has would be missing from that.
    Forget,
    /// Ask the control plane for another configuration. What comes of it is told by [`Event::Configured`].
    Propose(Proposal),
    /// The replica has become another incarnation: the control plane must know. What was ordered before and was not given
    /// to the store is forgotten as by [`Effect::Forget`].
    Reincarnated {
        /// Which.
        incarnation: Incarnation,
    },
    /// A client's request ended well.
    Completed {
        /// Which.
        op: OpId,
    },
    /// This replica orders writes no more: what became of the requests that have not ended is not known, and their
    /// clients must ask again where the primary is.
    Deposed {
        /// Which.
        ops: Vec<OpId>,
    },
}

/// What a replica has to know of its own content.
pub trait Content {
    /// The groups that were changed after this place of the order.
    fn changed_since(&self, seq: WriteSeq) -> GroupSet;

    /// The volume's snapshots, in any order.
    fn snapshots(&self) -> Vec<Snapshot>;

    /// The groups of one of them that were changed after this place of the order.
    fn changed_in(&self, snapshot: SnapshotId, seq: WriteSeq) -> GroupSet;
}

/// What is waited for, and how long. Everybody has the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Times {
    /// Between two heartbeats.
    pub heartbeat: Duration,
    /// For so long after it sent a heartbeat that was answered the primary may answer reads.
    pub lease: Duration,
    /// For so long after it answered a heartbeat a backup does not seek primacy. Longer than the lease by more than
    /// clocks may differ.
    pub promise: Duration,
    /// A member that did not answer for so long is to be removed.
    pub removal: Duration,
    /// A member whose connection is gone is to be removed after so long.
    pub reconnect: Duration,
    /// A member that answers, and lacks for so long what the primary has, is to be removed.
    pub stall: Duration,
    /// Before it is taught again; twice as long every time.
    pub stall_pause: Duration,
    /// Before something is asked again.
    pub retry: Duration,
    /// Before a replica that was not taught asks again.
    pub join_retry: Duration,
    /// For so long at most clients wait for another primary to be decided on.
    pub hand_over: Duration,
    /// Before that is tried again.
    pub hand_over_pause: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(200),
            lease: Duration::from_millis(1000),
            promise: Duration::from_millis(1070),
            removal: Duration::from_millis(600),
            reconnect: Duration::from_millis(50),
            stall: Duration::from_millis(2000),
            stall_pause: Duration::from_secs(10),
            retry: Duration::from_millis(200),
            join_retry: Duration::from_millis(1000),
            hand_over: Duration::from_millis(1000),
            hand_over_pause: Duration::from_millis(10_000),
        }
    }
}
