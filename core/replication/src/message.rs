//! What replicas of one volume say to each other, in order and over connections that may break.

use block::{Epoch, GroupIndex, Incarnation, Instant, WriteSeq};

use crate::configuration::Configuration;
use crate::entry::Entry;
use crate::groups::GroupSet;
use crate::snapshot::Snapshot;

/// A message. Every one is of the epoch it carries, and its sender's incarnation travels with it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message<P> {
    /// Primary: answer, and promise not to seek primacy for a while.
    Heartbeat {
        /// In force at the primary.
        epoch: Epoch,
        /// By the primary's clock; comes back.
        sent: Instant,
        /// The primary has not heard the receiver for longer than a promise lasts.
        unheard: bool,
        /// See [`Message::Prepare`].
        acked: u64,
        /// See [`Message::Prepare`].
        stable: WriteSeq,
    },
    /// The promise.
    HeartbeatAck {
        /// In force.
        epoch: Epoch,
        /// Of the heartbeat.
        sent: Instant,
        /// See [`Message::Ack`].
        tight: bool,
    },
    /// Primary: the next change.
    Prepare {
        /// In force at the primary.
        epoch: Epoch,
        /// The change.
        entry: Entry<P>,
        /// Every member has applied the changes up to here: nobody will ask for them again.
        acked: u64,
        /// The common stable point.
        stable: WriteSeq,
    },
    /// Backup: how far it is.
    Ack {
        /// In force.
        epoch: Epoch,
        /// Changes up to here survive the process.
        applied: u64,
        /// Changes up to here are on stable media.
        durable: u64,
        /// Its pool is nearly full: it takes what is in flight, and may not take much more.
        tight: bool,
    },
    /// Primary: go by this configuration, and say how far you are.
    NewEpoch {
        /// What is in force.
        configuration: Configuration,
        /// By the primary's clock; comes back.
        sent: Instant,
    },
    /// Backup: it does. Counts as a promise, too.
    EpochAck {
        /// In force.
        epoch: Epoch,
        /// Changes up to here have arrived.
        received: u64,
        /// See [`Message::Ack`].
        applied: u64,
        /// See [`Message::Ack`].
        durable: u64,
        /// Of the message it answers.
        sent: Instant,
    },
    /// New primary: send the changes that I lack.
    Fetch {
        /// In force.
        epoch: Epoch,
        /// The last one it has.
        after: u64,
    },
    /// Backup: here they are.
    Entries {
        /// In force.
        epoch: Epoch,
        /// In order.
        entries: Vec<Entry<P>>,
    },
    /// A replica that is not in sync: teach me.
    Join {
        /// Which it is now.
        incarnation: Incarnation,
        /// Of this request; comes back.
        nonce: u64,
        /// Its common stable point.
        stable: WriteSeq,
        /// What was written to it since.
        dirty: GroupSet,
        /// The snapshots that it has.
        snapshots: Vec<Snapshot>,
    },
    /// Primary: the copy begins.
    Start {
        /// In force.
        epoch: Epoch,
        /// Of the request.
        nonce: u64,
        /// So many are to be copied.
        groups: u64,
        /// The snapshots that there are: what the learner has beside them is not of this order.
        snapshots: Vec<Snapshot>,
    },
    /// Primary: a whole group as it is now.
    Copy {
        /// In force.
        epoch: Epoch,
        /// Which.
        group: GroupIndex,
        /// Its newest change.
        born: WriteSeq,
        /// Its blocks and holes.
        content: P,
    },
    /// Primary, to a learner: what you hold is this snapshot.
    Cut {
        /// In force.
        epoch: Epoch,
        /// Which.
        snapshot: Snapshot,
    },
    /// Learner: one more group survives its process.
    Copied {
        /// In force.
        epoch: Epoch,
    },
    /// Primary, to a learner: a change, in order with the copies.
    Relay {
        /// In force.
        epoch: Epoch,
        /// The change.
        entry: Entry<P>,
    },
    /// Primary: you have everything. From now on you take part; make it stable and say so.
    Enter {
        /// In force.
        epoch: Epoch,
        /// The last change it has by now.
        last: u64,
        /// Changes that somebody may still ask for.
        tail: Vec<Entry<P>>,
    },
    /// Learner: all it has is on stable media.
    Flushed {
        /// In force.
        epoch: Epoch,
    },
}
