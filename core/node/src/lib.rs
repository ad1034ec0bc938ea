//! A whole storage node as one machine: events in, effects out.
//!
//! ```text
//!   Received ──> inbox ──> nbd::Session ──> admission ──> pipeline ──> store ──> Write, Read, Sync
//!   Sent     <── outbox <─ nbd::Session <── reply     <── pipeline <── store <── Written, ReadEnded, Synced
//! ```
//! Promises: what was admitted runs to its end, whatever becomes of its client; a client gets exactly one reply to
//! each request, or its connection ends; nothing grows past a bound of [`limits`], for what is full stops reading
//! sockets; connections take turns. Requests smaller than a block, or not aligned, keep every other byte of the
//! blocks they touch, whatever runs beside them.
//!
//! Under [`Offer::Intended`] a node lives by what the control plane wants of it: it makes, grows and deletes what an
//! [`Intent`] names and nothing else, lets in whom it names, and hands clients of other nodes' volumes over. A client
//! that is shut out can change nothing any more when [`Node::observation`] has the generation that shut it out.
//!
//! A volume with replicas on other nodes is served by its primary only (`copies`): every change goes through its
//! replica, and is acknowledged when the other nodes (`peers`) have it.
//!
//! Not here: sockets, clocks and threads (the reactor), bytes of NBD (`nbd`), bytes on disk (`store`), what replicas
//! say to each other (`replication`).
//!
//! What the reactor owes: at most one receive and one send per connection, as ordered; [`Event::TurnEnded`] after
//! every batch of events and at [`Node::deadline`]; [`Event::Closed`] for every [`Effect::Close`], when the kernel
//! is done with the connection's memory and not before, and nothing about that connection afterwards.

pub mod limits;

mod admission;
mod agenda;
mod claims;
mod command;
mod connection;
mod control;
mod copies;
mod door;
mod ending;
mod event;
mod exports;
mod extents;
mod fence;
mod hold;
mod inbox;
mod intake;
mod intent;
mod mark;
mod network;
mod node;
mod observe;
mod offer;
mod part;
mod pass;
mod peers;
mod pipeline;
mod read;
mod reconcile;
mod relay;
mod reports;
mod retire;
mod serve;
mod slab;
mod snapshots;
mod spaces;
mod stop;
mod token;
mod turn;
mod volume;
mod wire;
mod wishes;
mod write;
mod zeroing;

pub use command::{
    Absence, Answer, Command, ComparedReplica, ControlError, LostBlock, NodeStats, RotCounters, VolumeSummary,
};
pub use door::Door;
pub use event::{ConnId, ControlId, Effect, Event, Operation, Report, Why};
pub use intent::{
    Attachment, CopiesIntent, CopyObservation, Copying, CutRefusal, HoldObservation, HoldState, Intent, Observation,
    Origin, ReplicaIntent, ReplicaObservation, Route, SnapshotIntent, SnapshotObservation, SnapshotsIntent,
};
pub use network::{Network, NetworkError};
pub use node::{Node, NodeConfig, Offer, SendSlices};
pub use peers::{FrameSlices, PeerFault};
pub use relay::Relay;
pub use replication::{COMPARED_GROUPS_MAX, Configuration, Found, GroupRange, Proposal, Wanted};
pub use token::TokenHash;
pub use volume::Counters;
pub use wire::PreambleFault;
