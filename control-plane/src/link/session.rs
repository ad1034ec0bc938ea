//! One stream: what the node says goes into the log, what follows from the state goes to the node.

use std::sync::Arc;

use block::PoolId;
use cluster::{Change, NodeIntent, Proposal, Revision, State};
use proto::link::{self, FromNode, ToNode, from_node};
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use super::questions::{Answer, Questions};
use super::streams::{Streams, Turn};
use super::{StreamError, convert, of_stream};
use crate::api::not_leader;
use crate::raft::{Consensus, Leadership, ProposeError};

pub(super) struct Session {
    pub consensus: Arc<Consensus>,
    pub streams: Arc<Streams>,
    pub questions: Arc<Questions>,
    pub turn: Turn,
}

type Outbound = mpsc::Sender<Result<ToNode, Status>>;

impl Session {
    /// Until either side ends it, a newer one begins, or this voter does not lead any more.
    pub async fn run(self, mut from_node: Streaming<FromNode>, to_node: Outbound) {
        let end = tokio::select! {
            end = self.listen(&mut from_node, &to_node) => end,
            end = self.tell(&to_node) => end,
            () = to_node.closed() => None,
        };
        if let Some(status) = end {
            tracing::info!(node = %self.turn.node, reason = status.message(), "the stream of a node ends");
            // Whether it still hears that is its own affair.
            let _heard = to_node.try_send(Err(status));
        }
        self.questions.ended(&self.turn.node, &to_node);
        drop(to_node);
        self.streams.ended(self.turn).await;
    }

    /// Brings reports and proposals into the log, one after the other: a replica is known as what it is before another
    /// member asks for it on the same stream.
    async fn listen(&self, from_node: &mut Streaming<FromNode>, to_node: &Outbound) -> Option<Status> {
        loop {
            let message = match from_node.message().await {
                Ok(Some(FromNode { message: Some(message) })) => message,
                Ok(None) => return None,
                Ok(Some(FromNode { message: None })) => return Some(Status::invalid_argument("an unknown message")),
                Err(status) => return Some(status),
            };
            let heard = match message {
                from_node::Message::Report(report) => self.report(report).await,
                from_node::Message::Proposal(proposal) => self.propose(proposal, to_node).await,
                from_node::Message::Compared(compared) => {
                    self.questions.answered(&self.turn.node, Answer::Compared(compared));
                    Ok(())
                }
                from_node::Message::Differed(differed) => {
                    self.questions.answered(&self.turn.node, Answer::Differed(differed));
                    Ok(())
                }
                from_node::Message::Ping(link::Ping { number }) => {
                    to_node.send(Ok(convert::pong(number))).await.map_err(|_| Status::cancelled("the node is gone"))
                }
                from_node::Message::Hello(_) => Err(Status::invalid_argument("a second Hello")),
            };
            if let Err(status) = heard {
                return Some(status);
            }
        }
    }

    async fn report(&self, report: link::Report) -> Result<(), Status> {
        let report = convert::report(report)?;
        let change = Change::Report { node: self.turn.node.clone(), report };
        self.streams.propose(&self.turn, change).await.map_err(of_stream)
    }

    /// Answers whether what the node's replica asks for is in force.
    async fn propose(&self, proposal: link::Proposal, to_node: &Outbound) -> Result<(), Status> {
        let (volume, proposal) = convert::proposal(proposal)?;
        if !self.consensus.read(|state| self.is_ours(state, &proposal)) {
            return Err(Status::permission_denied("proposal.proposer: the pool is not one of this node"));
        }
        let change = Change::Configure { volume, proposal: proposal.clone() };
        let in_force = match self.streams.propose(&self.turn, change).await {
            Ok(()) => true,
            Err(StreamError::Proposal(ProposeError::Refused(refusal))) => {
                tracing::debug!(node = %self.turn.node, %volume, reason = %refusal, "a configuration is not accepted");
                false
            }
            Err(error @ (StreamError::Superseded | StreamError::Proposal(_))) => return Err(of_stream(error)),
        };
        let decision = convert::decision(volume, &proposal, in_force);
        to_node.send(Ok(decision)).await.map_err(|_| Status::cancelled("the node is gone"))
    }

    fn is_ours(&self, state: &State, proposal: &Proposal) -> bool {
        state.pool(proposal.proposer.0).is_some_and(|pool| pool.node == self.turn.node)
    }

    /// What the node was not told yet, and the removed pools it came with.
    fn news(&self, state: &State, told: Option<Revision>, removed: &[PoolId]) -> (Option<NodeIntent>, Vec<PoolId>) {
        let node = &self.turn.node;
        // Before an operator says to resume, the node goes on as if no voter were there.
        if state.is_listening() {
            return (None, removed.to_vec());
        }
        let found = state.removed_pools_at(node);
        let nothing_else = || NodeIntent { revision: state.revision(), ..NodeIntent::default() };
        let intent = match told {
            None => Some(state.intent(node)),
            Some(told) => state.intent_since(node, told).or_else(|| (found != removed).then(nothing_else)),
        };
        (intent, found)
    }

    /// Tells the node all that it should be, and then what changed.
    async fn tell(&self, to_node: &Outbound) -> Option<Status> {
        let mut revisions = self.consensus.revisions();
        let mut leadership = self.consensus.leadership_changes();
        let mut told: Option<Revision> = None;
        let mut removed = Vec::new();
        loop {
            revisions.mark_unchanged();
            let (intent, found) = self.consensus.read(|state| self.news(state, told, &removed));
            if let Some(intent) = intent {
                (told, removed) = (Some(intent.revision), found);
                to_node.send(Ok(convert::intent(intent, &removed))).await.ok()?;
            }
            tokio::select! {
                changed = revisions.changed() => changed.ok()?,
                leads = leadership.wait_for(|leadership| !matches!(leadership, Leadership::Here { .. })) => {
                    let leads = leads.ok()?.clone();
                    return Some(match leads {
                        Leadership::There { voter, .. } => not_leader(Some(&voter)),
                        Leadership::Here { .. } | Leadership::Nobody => not_leader(None),
                    });
                }
            }
            if !self.streams.is_newest(&self.turn) {
                return Some(Status::aborted("a newer stream of this node has begun"));
            }
        }
    }
}
