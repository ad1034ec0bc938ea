//! The client side of a connection, as far as a host needs it that attaches a volume: the handshake that opens an
//! export, and single requests and replies. Replies are simple ones, which is what the kernel's own client speaks.
//!
//! ```text
//!   Greeting ──> Answers ──> Done: the size is known, and with GO requests may follow
//!       └───────────┴──> an error: no server of the protocol, or it says no
//! ```
//! Promise: whatever the server sends, this holds no more than one answer of [`ANSWER_BYTES_MAX`] and never panics.
//! Not here: sockets, time (the owner bounds the wait), and which requests are under way.

mod handshake;
mod message;

pub use handshake::{ANSWER_BYTES_MAX, ClientHandshake, HandshakeFault, HandshakeStep, Purpose, RemoteExport};
pub use message::{REPLY_BYTES, REQUEST_BYTES, RemoteReply, ReplyFault, encode_request, parse_reply};
