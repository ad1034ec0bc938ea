//! The nodes' streams, at the leader. A node says what it holds and hears what it should be; nothing here decides.
//!
//! Promises: what a node said on one stream is brought into the log in the order it was said; when a newer stream of the
//! same node has begun, nothing of an older one is brought in any more. A node that is not heard for [`GRACE`] is lost.

mod clock;
mod convert;
mod loans;
mod point;
mod questions;
mod session;
mod streams;

use std::sync::Arc;
use std::time::Duration;

use cluster::Name;
use proto::link::node_link_server::NodeLink;
use proto::link::{FromNode, ToNode, from_node};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::api::not_leader;
use crate::raft::{Consensus, Leadership, ProposeError};
pub(crate) use questions::{AskError, Questions};
use session::Session;
pub(crate) use streams::Streams;

/// A node that says nothing at first is not waited for longer.
const HELLO_MAX: Duration = Duration::from_secs(5);
/// How long a node may take to come back before it is lost.
const GRACE: Duration = Duration::from_secs(2);
/// Intents on their way to a node that reads slowly.
const INTENTS_MAX: usize = 4;

/// The service.
#[derive(Clone)]
pub(crate) struct Link {
    consensus: Arc<Consensus>,
    streams: Arc<Streams>,
    questions: Arc<Questions>,
}

impl Link {
    pub fn new(consensus: Arc<Consensus>, questions: Arc<Questions>) -> Self {
        Self { questions, streams: Arc::new(Streams::new(Arc::clone(&consensus))), consensus }
    }

    /// For the watch over nodes that do not come.
    pub fn streams(&self) -> Arc<Streams> {
        Arc::clone(&self.streams)
    }

    fn check_leading(&self) -> Result<(), Status> {
        match self.consensus.leadership() {
            Leadership::Here { .. } => Ok(()),
            Leadership::There { voter, .. } => Err(not_leader(Some(&voter))),
            Leadership::Nobody => Err(not_leader(None)),
        }
    }
}

#[tonic::async_trait]
impl NodeLink for Link {
    type ConnectStream = ReceiverStream<Result<ToNode, Status>>;

    async fn connect(&self, request: Request<Streaming<FromNode>>) -> Result<Response<Self::ConnectStream>, Status> {
        self.check_leading()?;
        let mut from_node = request.into_inner();
        let first = timeout(HELLO_MAX, from_node.message()).await;
        let first = first.map_err(|_| Status::deadline_exceeded("the node said nothing"))??;
        let Some(FromNode { message: Some(from_node::Message::Hello(hello)) }) = first else {
            return Err(Status::invalid_argument("a stream begins with a Hello"));
        };
        let hello = convert::hello(hello)?;
        let cluster = self.consensus.read(cluster::State::cluster).ok_or_else(|| not_leader(None))?;
        if let Some(other) = hello.cluster.filter(|other| *other != cluster) {
            let sentence = format!("this is cluster {cluster}, and node {} belongs to cluster {other}", hello.node);
            return Err(Status::failed_precondition(sentence));
        }
        let (to_node, intents) = mpsc::channel(INTENTS_MAX);
        let node: Name = hello.node.clone();
        let (compares, differs) = (hello.compares, hello.differs);
        let turn = self.streams.begin(&node);
        let registered = self.streams.propose(&turn, hello.into_change()).await;
        registered.map_err(of_stream)?;
        tracing::info!(%node, "node is heard");
        to_node.try_send(Ok(convert::welcome(cluster))).expect("there is room for the first");
        if compares {
            self.questions.begin(&node, to_node.clone(), differs);
        }
        let questions = Arc::clone(&self.questions);
        let session =
            Session { questions, consensus: Arc::clone(&self.consensus), streams: Arc::clone(&self.streams), turn };
        tokio::spawn(session.run(from_node, to_node));
        Ok(Response::new(ReceiverStream::new(intents)))
    }
}

/// Why a stream ends.
#[derive(Debug)]
enum StreamError {
    /// A newer one of the same node has begun.
    Superseded,
    Proposal(ProposeError),
}

fn of_stream(error: StreamError) -> Status {
    match error {
        StreamError::Superseded => Status::aborted("a newer stream of this node has begun"),
        StreamError::Proposal(ProposeError::NotLeader { leader }) => {
            not_leader(leader.as_ref().map(|(_, voter)| voter))
        }
        StreamError::Proposal(ProposeError::Refused(refusal)) => Status::failed_precondition(refusal.to_string()),
        StreamError::Proposal(ProposeError::Unavailable(reason)) => Status::unavailable(reason),
    }
}
