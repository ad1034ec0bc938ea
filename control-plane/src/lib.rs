//! Effects of the control plane: the Raft log on disk, voters' messages, the API, the nodes' streams.

#![cfg_attr(not(test), allow(dead_code, reason = "the API that uses it is being built"))]

mod raft;
mod record;
mod store;
