//! Consensus between the voters: openraft, its messages over gRPC, and the handle that the rest of the control plane
//! holds.

mod config;

pub(crate) use config::{Applied, Entry, StoreId, TypeConfig, Voter};
