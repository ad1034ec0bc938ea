//! The receiving side of voters' messages.

use std::sync::Arc;

use openraft::Raft;
use openraft::error::RaftError;
use openraft::raft::AppendEntriesResponse;
use proto::raft as wire;
use proto::raft::raft_server::Raft as Messages;
use tonic::{Request, Response, Status};

use super::campaign::Standing;
use super::config::TypeConfig;
use super::contacts::Contacts;
use super::convert::{self, Unusable};
use super::door::{Door, Stranger};
use crate::store::SNAPSHOT_BYTES_MAX;

/// Answers other voters.
#[derive(Clone)]
pub(crate) struct Service {
    pub(super) raft: Raft<TypeConfig>,
    pub(super) door: Arc<Door>,
    pub(super) contacts: Arc<Contacts>,
    pub(super) standing: Arc<Standing>,
}

impl Service {
    /// Lets a message in. The first one decides which cluster a new voter belongs to.
    async fn admit(&self, envelope: Option<&wire::Envelope>) -> Result<(), Status> {
        let cluster = self.door.check(envelope).map_err(|stranger| refusal(&stranger))?;
        if self.door.cluster().is_none() {
            self.door.adopt(cluster).await.map_err(|error| Status::unavailable(error.to_string()))?;
        }
        if let Some(envelope) = envelope {
            self.contacts.note(envelope.from);
        }
        Ok(())
    }
}

/// Told to both sides: whoever looks at either finds it.
fn refusal(stranger: &Stranger) -> Status {
    tracing::warn!("a voter's message is refused: {stranger}");
    Status::failed_precondition(stranger.to_string())
}

fn unusable(error: &Unusable) -> Status {
    tracing::warn!("a voter's message cannot be used: {error}");
    Status::invalid_argument(error.to_string())
}

#[tonic::async_trait]
impl Messages for Service {
    async fn hello(&self, request: Request<wire::HelloRequest>) -> Result<Response<wire::HelloResponse>, Status> {
        self.door.check_hello(request.into_inner().envelope.as_ref()).map_err(|stranger| refusal(&stranger))?;
        let cluster = self.door.cluster().map(|cluster| cluster.0.to_be_bytes().to_vec()).unwrap_or_default();
        let store = self.door.store_id.0.to_be_bytes().to_vec();
        Ok(Response::new(wire::HelloResponse { voter: self.door.voter, store, cluster }))
    }

    async fn append_entries(
        &self,
        request: Request<wire::AppendEntriesRequest>,
    ) -> Result<Response<wire::AppendEntriesResponse>, Status> {
        let message = request.into_inner();
        self.admit(message.envelope.as_ref()).await?;
        let request = convert::parse_append(&message).map_err(|error| unusable(&error))?;
        let answer = match self.raft.append_entries(request).await {
            Ok(response) => {
                if !matches!(response, AppendEntriesResponse::HigherVote(_)) {
                    self.contacts.note_leader();
                }
                convert::encode_appended(&response)
            }
            Err(error) => {
                let result = wire::append_entries_response::Result::Failed(error.to_string());
                wire::AppendEntriesResponse { result: Some(result) }
            }
        };
        Ok(Response::new(answer))
    }

    async fn canvass(&self, request: Request<wire::CanvassRequest>) -> Result<Response<wire::CanvassResponse>, Status> {
        self.admit(request.into_inner().envelope.as_ref()).await?;
        let opinion = self.standing.opinion().await;
        opinion.map(|opinion| Response::new(convert::encode_opinion(&opinion))).map_err(Status::unavailable)
    }

    async fn vote(&self, request: Request<wire::VoteRequest>) -> Result<Response<wire::VoteResponse>, Status> {
        let message = request.into_inner();
        self.admit(message.envelope.as_ref()).await?;
        let request = convert::parse_vote_request(&message).map_err(|error| unusable(&error))?;
        let answer = match self.raft.vote(request).await {
            Ok(response) => {
                if response.vote_granted {
                    self.contacts.note_vote();
                }
                convert::encode_ballot(&response)
            }
            Err(error) => wire::VoteResponse { result: Some(wire::vote_response::Result::Failed(error.to_string())) },
        };
        Ok(Response::new(answer))
    }

    async fn install_snapshot(
        &self,
        request: Request<wire::InstallSnapshotRequest>,
    ) -> Result<Response<wire::InstallSnapshotResponse>, Status> {
        let message = request.into_inner();
        self.admit(message.envelope.as_ref()).await?;
        if message.offset.saturating_add(message.piece.len() as u64) > SNAPSHOT_BYTES_MAX {
            let sentence = format!("the snapshot has more than {SNAPSHOT_BYTES_MAX} bytes, the most there can be");
            return Err(Status::resource_exhausted(sentence));
        }
        let request = convert::parse_piece(message).map_err(|error| unusable(&error))?;
        let answer = match self.raft.install_snapshot(request).await {
            Ok(response) => {
                self.contacts.note_leader();
                convert::encode_installed(&response)
            }
            Err(RaftError::APIError(mismatch)) => convert::encode_mismatch(mismatch),
            Err(RaftError::Fatal(error)) => {
                let result = wire::install_snapshot_response::Result::Failed(error.to_string());
                wire::InstallSnapshotResponse { result: Some(result) }
            }
        };
        Ok(Response::new(answer))
    }
}
