//! Messages as bytes: the one place that knows them. PROTOCOL.md says what every byte is for.
//!
//! Between two nodes are up to three connections ([`Channel`]), each begun with a [`Hello`] and its [`Answer`], and shared by
//! all volumes: a [`Link`] is what two replicas have of them. Then frames follow: a header of 64 bytes, the body, the
//! payload. [`encode()`] makes the first two of a message, and
//! [`payloads`] says what follows; [`parse()`] takes them, and a [`Pending`] the payload, wherever it was received into.
//!
//! Promise: whatever the bytes are, nothing here panics, needs more than [`INPUT_BYTES_MAX`] bytes in one piece, or
//! allocates beyond what the limits allow; what is taken encodes to the same bytes again. What cannot be followed ends
//! the connection, with a sentence.
//!
//! Deliberately not here: sockets, time, which connection is the newest, who may speak at all.

mod answer;
mod aside;
mod body;
mod channel;
mod encode;
mod entries;
mod fault;
mod groups;
mod header;
mod hello;
mod limits;
mod link;
mod parse;
mod pending;

pub use answer::{Answer, Answered};
pub use aside::encode_aside;
pub use channel::{Channel, Lane};
pub use encode::{Unsendable, encode, encode_signal, payloads};
pub use fault::Fault;
pub use header::{Envelope, Kind};
pub use hello::{ASIDES, Greeted, HEARTBEATS_APART, Hello, LOST, MAGIC as HELLO_MAGIC, ROOM, Refusal, SNAPSHOTS};
pub use limits::{
    ANSWER_BYTES_MAX, ENTRIES_BYTES_MAX, ENTRIES_MAX, FRAME_BYTES_MAX, HEADER_BYTES, HELLO_BYTES_MAX, INPUT_BYTES_MAX,
    MEMBERS_MAX, NAME_BYTES_MAX, SNAPSHOTS_SENT_MAX, WRITE_BLOCKS_MAX,
};
pub use link::{Heard, Link, Signal};
pub use parse::{Parsed, parse};
pub use pending::Pending;
