//! The API: requests become commands, and the state becomes answers. Whoever is asked, the leader answers.

mod cluster;
mod diff;
mod fault;
mod forward;
mod hosts;
mod nodes;
mod operations;
mod pages;
mod parse;
mod replicas;
mod snapshots;
mod verify;
mod view;
mod volumes;

use std::sync::Arc;

use ::cluster::{Answer, Change, RequestId, State};
use tonic::Status;

pub(crate) use fault::not_leader;
pub(crate) use forward::{Forward, Leaders};

use crate::link::Questions;
use crate::raft::Consensus;

/// What every service works with.
#[derive(Clone)]
pub(crate) struct Desk {
    pub consensus: Arc<Consensus>,
    pub questions: Arc<Questions>,
}

impl Desk {
    /// Brings a change into the log.
    async fn propose(&self, change: Change, request: Option<RequestId>) -> Result<Answer, Status> {
        self.consensus.propose(change, request).await.map_err(fault::of_proposal)
    }

    /// Looks at the state as of now: everything that was answered before is in it.
    async fn look<R>(&self, look: impl FnOnce(&State) -> R) -> Result<R, Status> {
        self.consensus.linearize().await.map_err(fault::of_proposal)?;
        Ok(self.consensus.read(look))
    }
}
