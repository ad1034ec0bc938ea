//! The sending side of voters' messages: one lazy connection per address, made anew by itself when it breaks. Every call
//! ends within the time that openraft gives it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use openraft::error::{InstallSnapshotError, RPCError, RaftError, RemoteError, Unreachable};
use openraft::network::{Backoff, RPCOption};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse, VoteRequest,
    VoteResponse,
};
use openraft::{RaftNetwork, RaftNetworkFactory, SnapshotSegmentId};
use proto::raft as wire;
use proto::raft::raft_client::RaftClient;
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint};
use tonic::{Response, Status};

use super::campaign::Opinion;
use super::config::{MESSAGE_BYTES_MAX, StoreId, TypeConfig, Voter};
use super::contacts::Contacts;
use super::convert::{self, Unusable};
use super::door::{Door, WHOEVER};

const CONNECT_MAX: Duration = Duration::from_secs(1);
/// How often a silent connection is asked whether it is still there, and how long it may take to answer.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(1);
const KEEPALIVE_MAX: Duration = Duration::from_secs(2);
/// Between two attempts to reach a voter that could not be reached.
const RETRY_INTERVAL: Duration = Duration::from_millis(200);
/// Connections kept; there are a few voters, and their addresses change rarely.
const CHANNELS_MAX: usize = 16;

/// Makes clients for the other voters.
#[derive(Clone)]
pub(super) struct Network {
    door: Arc<Door>,
    contacts: Arc<Contacts>,
    channels: Arc<Mutex<BTreeMap<String, Channel>>>,
}

/// One other voter.
pub(super) struct Peer {
    id: u64,
    store: StoreId,
    client: Result<RaftClient<Channel>, Failure>,
    network: Network,
    /// What was logged last: each reason once.
    logged: Option<String>,
}

/// Why a call led to nothing.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum Failure {
    /// No such place.
    #[error("{0} is no address: it must be HOST:PORT")]
    Address(String),
    /// It took too long.
    #[error("it did not answer within {} ms", .0.as_millis())]
    Late(Duration),
    /// What it, or the system, said.
    #[error("{0}")]
    Status(String),
    /// Its answer.
    #[error(transparent)]
    Unusable(#[from] Unusable),
}

type CallError<E = openraft::error::Infallible> = RPCError<u64, Voter, RaftError<u64, E>>;

impl Network {
    pub fn new(door: Arc<Door>, contacts: Arc<Contacts>) -> Self {
        Self { door, contacts, channels: Arc::default() }
    }

    /// Asks who listens at an address.
    pub async fn hello(&self, to: u64, address: &str, patience: Duration) -> Result<wire::HelloResponse, Failure> {
        let mut client = self.client(address)?;
        let request = wire::HelloRequest { envelope: Some(self.door.envelope(to, None)) };
        call(patience, client.hello(request)).await
    }

    /// Asks whoever listens at an address which cluster it belongs to.
    pub async fn whoever(&self, address: &str, patience: Duration) -> Result<wire::HelloResponse, Failure> {
        self.hello(WHOEVER, address, patience).await
    }

    /// Asks a voter whether it would vote for somebody.
    pub async fn canvass(&self, to: u64, voter: &Voter, patience: Duration) -> Result<Opinion, Failure> {
        let mut client = self.client(&voter.address)?;
        let request = wire::CanvassRequest { envelope: Some(self.door.envelope(to, Some(voter.store))) };
        Ok(convert::parse_opinion(call(patience, client.canvass(request)).await?))
    }

    fn client(&self, address: &str) -> Result<RaftClient<Channel>, Failure> {
        let client = RaftClient::new(self.channel(address)?);
        Ok(client.max_decoding_message_size(MESSAGE_BYTES_MAX).max_encoding_message_size(MESSAGE_BYTES_MAX))
    }

    fn channel(&self, address: &str) -> Result<Channel, Failure> {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = channels.get(address) {
            return Ok(channel.clone());
        }
        let endpoint = Endpoint::from_shared(format!("http://{address}"))
            .map_err(|_| Failure::Address(address.to_owned()))?
            .connect_timeout(CONNECT_MAX)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_MAX)
            .keep_alive_while_idle(true);
        let channel = endpoint.connect_lazy();
        if channels.len() >= CHANNELS_MAX {
            channels.clear();
        }
        channels.insert(address.to_owned(), channel.clone());
        Ok(channel)
    }
}

async fn call<T>(patience: Duration, answer: impl Future<Output = Result<Response<T>, Status>>) -> Result<T, Failure> {
    match timeout(patience, answer).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => Err(Failure::Status(status.message().to_owned())),
        Err(_) => Err(Failure::Late(patience)),
    }
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Peer;

    async fn new_client(&mut self, target: u64, node: &Voter) -> Peer {
        let client = self.client(&node.address);
        Peer { id: target, store: node.store, client, network: self.clone(), logged: None }
    }
}

impl Peer {
    fn envelope(&self) -> wire::Envelope {
        self.network.door.envelope(self.id, Some(self.store))
    }

    fn client(&self) -> Result<RaftClient<Channel>, Failure> {
        self.client.clone()
    }

    /// Notes how a call went.
    #[expect(clippy::result_large_err, reason = "openraft wants it so")]
    fn noted<T, E: std::error::Error>(&mut self, result: Result<T, Failure>) -> Result<T, CallError<E>> {
        match result {
            Ok(answer) => {
                self.network.contacts.note(self.id);
                self.logged = None;
                Ok(answer)
            }
            Err(failure) => {
                let sentence = failure.to_string();
                if self.logged.as_ref() != Some(&sentence) {
                    tracing::warn!(voter = self.id, "a voter cannot be talked to: {sentence}");
                    self.logged = Some(sentence);
                }
                // Whatever it is, it is tried again after a while.
                Err(RPCError::Unreachable(Unreachable::new(&failure)))
            }
        }
    }
}

impl RaftNetwork<TypeConfig> for Peer {
    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<u64>, CallError> {
        let message = convert::encode_append(self.envelope(), &rpc);
        let result = async {
            let answer = call(option.hard_ttl(), self.client()?.append_entries(message)).await?;
            Ok(convert::parse_appended(answer)?)
        };
        let result = result.await;
        self.noted(result)
    }

    async fn vote(&mut self, rpc: VoteRequest<u64>, option: RPCOption) -> Result<VoteResponse<u64>, CallError> {
        let message = convert::encode_vote_request(self.envelope(), &rpc);
        let result = async {
            let answer = call(option.hard_ttl(), self.client()?.vote(message)).await?;
            Ok(convert::parse_ballot(answer)?)
        };
        let result = result.await;
        self.noted(result)
    }

    async fn install_snapshot(
        &mut self,
        rpc: InstallSnapshotRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<InstallSnapshotResponse<u64>, CallError<InstallSnapshotError>> {
        let sent = SnapshotSegmentId { id: rpc.meta.snapshot_id.clone(), offset: rpc.offset };
        let message = convert::encode_piece(self.envelope(), rpc);
        let result = async {
            let answer = call(option.hard_ttl(), self.client()?.install_snapshot(message)).await?;
            Ok(convert::parse_installed(answer, sent)?)
        };
        let result = result.await;
        let installed = self.noted(result)?;
        installed.map_err(|mismatch| RemoteError::new(self.id, RaftError::APIError(mismatch)).into())
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(std::iter::repeat(RETRY_INTERVAL))
    }
}
