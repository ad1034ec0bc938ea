//! Clusters of real processes: voters and nodes that are killed while they are asked for things.

#![allow(clippy::unwrap_used, reason = "a test says what went wrong by failing")]
#![allow(clippy::print_stdout, reason = "figures are for people")]

mod attach;
mod attachments;
mod guest;
mod history;
mod operations;
mod relays;
mod replicas;
mod takeover;
mod voters;
