//! Consensus between the voters: openraft, its messages over gRPC, and the handle that the rest of the control plane
//! holds.
//!
//! Promise: what was answered was committed by a majority of the voters, each with its own store, and applied here. A
//! voter listens only to voters of its own cluster who know it by the store it votes with: one that lost its disk, and
//! with it votes and entries that others count on, is not listened to and does not vote.
//!
//! - [`consensus`]: the handle; [`start`]: from a folder to a running voter; [`founding`]: whether there may be a
//!   new cluster
//! - [`membership`]: voters come and go, one at a time; [`voters`]: how they are
//! - [`leadership`]: who leads; [`campaign`]: when a voter asks for votes
//! - [`network`], [`service`]: the two sides of a message; [`convert`]: messages and openraft's types; [`door`]: who may
//!   talk to whom
//!
//! Not here: what is kept (`store`), what commands mean (`cluster`), who may propose (`api`).

mod campaign;
mod config;
mod consensus;
mod contacts;
mod convert;
mod door;
#[cfg(test)]
mod drill;
mod founding;
mod leadership;
mod membership;
mod network;
mod service;
mod start;
mod voters;

pub(crate) use config::{Applied, Entry, StoreId, TypeConfig, Voter};
pub(crate) use consensus::{Consensus, ProposeError};
pub(crate) use leadership::Leadership;
pub(crate) use membership::MembershipError;
pub(crate) use start::VoterConfig;
pub use start::{Start, StartError};
pub(crate) use voters::VoterStatus;
