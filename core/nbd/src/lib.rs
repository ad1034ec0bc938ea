//! The server side of one NBD connection: bytes in, [`block::Request`]s out; results in, bytes out.
//!
//! Promise: whatever a client sends, it gets the answer the protocol has for it, or a close with a reason; the
//! session never panics on it, never asks for more than [`INPUT_BYTES_MAX`] bytes at once, and keeps nothing that
//! grows with what the client sent. How the stream is cut into reads changes nothing in what goes out, and a write is
//! never answered before all of its payload came.
//!
//! Deliberately not here: sockets and time (no timeouts: the owner of the connection has them), TLS, the checks
//! that need a volume (range, read-only, quota: admission in `node` answers with a [`block::Error`]), the order of
//! requests (replies may be given in any order), extended headers.
//!
//! ```text
//!             client flags               GO, EXPORT_NAME
//!   Greeted ---------------> Negotiating ----------------> Transmitting
//!      |                        |    ^                        |    ^
//!      |                        +----+ any other option       +----+ requests
//!      |  unknown flags         |                             |
//!      |                        |  ABORT, bad magic,          |  DISC, bad magic,
//!      v                        v  too many, too long         v  a payload too large to skip
//!   Closed <--------------------+-----------------------------+
//! ```
//!
//! Source of the rules: `doc/proto.md` of the NBD project. Files: `wire` the bytes and numbers; `option` and
//! `negotiation` the first phase; `transmission` and `reply` the second; `refused` what is dropped; `session` holds them together. `relay` is for a client whose
//! export is on another server; `client` is the other side of a connection.

mod client;
mod exports;
mod limits;
mod negotiation;
mod option;
mod refused;
mod relay;
mod reply;
mod session;
mod ticket;
mod transmission;
mod wire;

pub use client::{
    ANSWER_BYTES_MAX, ClientHandshake, HandshakeFault, HandshakeStep, Purpose, REPLY_BYTES, REQUEST_BYTES,
    RemoteExport, RemoteReply, ReplyFault, encode_request, parse_reply,
};
pub use exports::{Catalog, Export, ExportFault, Exports, Found};
pub use limits::{
    INPUT_BYTES_MAX, LARGE_PAYLOAD_BYTES, META_QUERIES_MAX, NAME_BYTES_MAX, NEGOTIATION_BYTES_MAX, OPTION_BYTES_MAX,
    OPTIONS_MAX, PAYLOAD_BYTES_MAX, SKIPPED_PAYLOAD_BYTES_MAX, STATUS_EXTENTS_MAX,
};
pub use relay::{RelayFault, RelayHandshake, Swallowed};
pub use reply::{Extent, ReadData};
pub use session::{CloseReason, Session, Step};
pub use ticket::Ticket;
