//! The handle on a running voter.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cluster::{Answer, Change, Command, Refusal, RequestId, Revision, State, Time};
use openraft::Raft;
use openraft::error::{CheckIsLeaderError, ClientWriteError, Fatal, ForwardToLeader, RaftError};
use proto::raft::raft_server::RaftServer;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::campaign::Standing;
use super::config::{Applied, COMMAND_BYTES_MAX, MESSAGE_BYTES_MAX, TypeConfig, Voter};
use super::contacts::Contacts;
use super::door::Door;
use super::leadership::Leadership;
use super::network::Network;
use super::service::Service;
use crate::record;
use crate::store::Shared;

/// How long a proposal, or a question for the latest state, may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two attempts to hear from a majority.
const RETRY_INTERVAL: Duration = Duration::from_millis(50);
/// How long a voter may take to stop.
const STOP_MAX: Duration = Duration::from_secs(5);

/// A running voter. It ends when this is dropped; better is [`Consensus::stop`].
pub(crate) struct Consensus {
    pub(super) raft: Raft<TypeConfig>,
    pub(super) door: Arc<Door>,
    pub(super) contacts: Arc<Contacts>,
    pub(super) standing: Arc<Standing>,
    pub(super) network: Network,
    pub(super) state: Arc<Shared>,
    pub(super) leadership: watch::Receiver<Leadership>,
    /// Held while voters come or go.
    pub(super) changing: Arc<Mutex<()>>,
    /// They end with this.
    pub(super) tasks: [JoinHandle<()>; 2],
}

/// Why a proposal led to nothing, as far as is known.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum ProposeError {
    /// It was looked at, and nothing was changed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Another voter has to be asked.
    #[error("{}", not_here(leader.as_ref()))]
    NotLeader {
        /// Which, if it is known.
        leader: Option<(u64, Voter)>,
    },
    /// Nothing is known of what became of it.
    #[error("{0}")]
    Unavailable(String),
}

pub(super) fn not_here(leader: Option<&(u64, Voter)>) -> String {
    match leader {
        Some((id, voter)) => format!("voter {id} at {} leads: ask it", voter.address),
        None => "the voters have no leader at the moment: most of them must be up and reach each other".to_owned(),
    }
}

impl Consensus {
    /// This voter.
    pub(crate) fn id(&self) -> u64 {
        self.door.voter
    }

    /// The last election it knows of.
    pub(crate) fn term(&self) -> u64 {
        self.raft.metrics().borrow().current_term
    }

    /// What answers other voters' messages.
    pub(crate) fn service(&self) -> RaftServer<Service> {
        let (raft, door, contacts) = (self.raft.clone(), Arc::clone(&self.door), Arc::clone(&self.contacts));
        RaftServer::new(Service { raft, door, contacts, standing: Arc::clone(&self.standing) })
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// Brings a change into the log, and answers when it was applied here. With a request, asking again is harmless.
    ///
    /// # Errors
    /// See [`ProposeError`].
    pub(crate) async fn propose(&self, change: Change, request: Option<RequestId>) -> Result<Answer, ProposeError> {
        let command = Command { at: now(), request, change };
        let len_bytes = record::command_len(&command);
        if len_bytes > COMMAND_BYTES_MAX {
            let sentence =
                format!("the command takes {len_bytes} bytes, and it may take {COMMAND_BYTES_MAX}: split it");
            return Err(ProposeError::Unavailable(sentence));
        }
        let written = timeout(PATIENCE, self.raft.client_write(command)).await;
        let response = written.map_err(|_| late())?.map_err(|error| match error {
            RaftError::APIError(ClientWriteError::ForwardToLeader(forward)) => not_leader(forward),
            RaftError::APIError(ClientWriteError::ChangeMembershipError(error)) => {
                ProposeError::Unavailable(error.to_string())
            }
            RaftError::Fatal(fatal) => ProposeError::Unavailable(stopped(&fatal)),
        })?;
        match response.data {
            Applied::Answered(result) => Ok(result?),
            Applied::Nothing => Err(ProposeError::Unavailable("the log answered for another entry".to_owned())),
        }
    }

    /// Waits until this voter's state holds everything that was answered before this call, by whomever.
    ///
    /// # Errors
    /// When it does not lead, or a majority does not answer.
    pub(crate) async fn linearize(&self) -> Result<(), ProposeError> {
        timeout(PATIENCE, self.confirm()).await.map_err(|_| late())?
    }

    async fn confirm(&self) -> Result<(), ProposeError> {
        loop {
            match self.raft.ensure_linearizable().await {
                Ok(_applied) => return Ok(()),
                Err(RaftError::APIError(CheckIsLeaderError::ForwardToLeader(forward))) => {
                    return Err(not_leader(forward));
                }
                // A heartbeat was lost or late. Until a majority answers, nobody can tell.
                Err(RaftError::APIError(CheckIsLeaderError::QuorumNotEnough(_))) => sleep(RETRY_INTERVAL).await,
                Err(RaftError::Fatal(fatal)) => return Err(ProposeError::Unavailable(stopped(&fatal))),
            }
        }
    }

    /// Shows the state as it is here. Nothing is applied meanwhile: it must be brief.
    pub(crate) fn read<R>(&self, look: impl FnOnce(&State) -> R) -> R {
        self.state.read(look)
    }

    /// Raised after a change of the state can be seen.
    pub(crate) fn revisions(&self) -> watch::Receiver<Revision> {
        self.state.revisions()
    }

    /// Who leads.
    pub(crate) fn leadership(&self) -> Leadership {
        self.leadership.borrow().clone()
    }

    /// Raised when that changes.
    pub(crate) fn leadership_changes(&self) -> watch::Receiver<Leadership> {
        self.leadership.clone()
    }

    /// Waits until the voter cannot go on, and says why.
    pub(crate) async fn failed(&self) -> String {
        let mut metrics = self.raft.metrics();
        let end = metrics.wait_for(|metrics| metrics.running_state.is_err()).await;
        let fatal = end.as_deref().ok().and_then(|metrics| metrics.running_state.as_ref().err());
        stopped(fatal.unwrap_or(&Fatal::Stopped))
    }

    /// Ends in good order. All that was promised to be kept is on disk at any time, so there is nothing to save.
    pub(crate) async fn stop(&self) {
        self.tasks.iter().for_each(JoinHandle::abort);
        match timeout(STOP_MAX, self.raft.shutdown()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!("the voter did not end in good order: {error}"),
            Err(_) => tracing::warn!("the voter did not end within {} s", STOP_MAX.as_secs()),
        }
    }
}

impl Drop for Consensus {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

pub(super) fn not_leader(forward: ForwardToLeader<u64, Voter>) -> ProposeError {
    ProposeError::NotLeader { leader: forward.leader_id.zip(forward.leader_node) }
}

pub(super) fn late() -> ProposeError {
    let seconds = PATIENCE.as_secs();
    let sentence = format!(
        "no majority of the voters answered within {seconds} s: it may happen yet, or not. Most voters must be up and \
         reach each other; then ask again"
    );
    ProposeError::Unavailable(sentence)
}

pub(super) fn stopped(fatal: &Fatal<u64>) -> String {
    match fatal {
        Fatal::StorageError(error) => format!("this voter's store failed ({error})"),
        Fatal::Panicked => "this voter met a state that cannot be".to_owned(),
        Fatal::Stopped => "this voter has stopped".to_owned(),
    }
}

/// A clock before 1970 says 0: the time is only shown.
fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
