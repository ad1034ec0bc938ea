//! Byte strings in, byte strings out.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod client;
mod handshake;
mod options;
mod relay;
mod remote;
mod replies;
mod requests;
mod server;
mod streams;
