//! The API over the wire, with nodes that do at once what they are told.

#![allow(clippy::unwrap_used, reason = "a test says what went wrong by failing")]
#![allow(clippy::print_stdout, reason = "figures are for people")]

mod forward;
mod node;
mod plane;
mod scale;
mod snapshots;
mod volumes;
