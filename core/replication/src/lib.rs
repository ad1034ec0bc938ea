//! Replication of one volume: a primary orders its changes and sends them to every in-sync replica, under configurations
//! that the control plane decides. PROTOCOL.md says what is promised and why each rule is there.
//!
//! A [`Replica`] is one of a volume's copies. Pure: facts arrive as [`Event`]s, orders leave as [`Effect`]s; its owner
//! has the store, the connections and the clock.
//!
//! - [`Configuration`]: who holds the volume; [`Proposal`]: what its members may ask for
//! - [`Entry`], [`Change`]: what is replicated; [`Message`]: what replicas say to each other
//! - [`Snapshot`]: a place in the order, of which every replica keeps what it held there
//! - [`Aside`]: what their owners say to each other beside that, about lost blocks and about being equal
//! - [`wire`]: messages as bytes; [`Payload`]: the bytes of a write, held by several at once
//!
//! Not here: what a disk or a client looks like, who decides on configurations.

mod aside;
mod backup;
mod configuration;
mod entry;
mod event;
mod groups;
mod hand_over;
mod join;
mod lead;
mod log;
mod message;
mod payload;
mod plan;
mod primary;
mod reconcile;
mod replica;
mod snapshot;
mod stall;
mod teach;
mod tick;
mod wanted;
pub mod wire;

pub use aside::{Aside, COMPARED_GROUPS_MAX, Found, GroupRange};
pub use configuration::{Configuration, Proposal};
pub use entry::{Change, Entry};
pub use event::{Content, Effect, Event, OpId, ReadId, Times};
pub use groups::GroupSet;
pub use message::Message;
pub use payload::{BadBlock, Lost, Memory, Payload};
pub use primary::NotServing;
pub use replica::{Replica, Start, Status};
pub use snapshot::{SNAPSHOTS_MAX, Snapshot};
pub use wanted::Wanted;
