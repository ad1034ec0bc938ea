//! Voters come and go, one at a time. A change that would leave the cluster without a majority of voters that answer is
//! refused: it could not be finished, and nothing else could be done until it is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use cluster::ClusterId;
use openraft::error::{ChangeMembershipError, ClientWriteError, RaftError};
use openraft::{ChangeMembers, Membership, Raft};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::config::{StoreId, TypeConfig, Voter};
use super::consensus::{Consensus, ProposeError, late, not_here, not_leader, stopped};
use super::voters::lag;

/// How long a voter may take to say who it is.
const HELLO_MAX: Duration = Duration::from_secs(3);
/// How long a change of the membership may take.
const CHANGE_MAX: Duration = Duration::from_secs(10);
/// How long a new voter may take to get the state and the log.
const CATCH_UP_MAX: Duration = Duration::from_secs(120);
/// Entries that a new voter may lack when it begins to vote.
const LAG_MAX: u64 = 50;
/// A voter that was heard within this time answers.
const HEARD_MAX: Duration = Duration::from_secs(2);
/// Most voters of a cluster, those that catch up included.
const VOTERS_MAX: usize = 7;

/// Why the voters were not changed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum MembershipError {
    /// Another voter has to be asked.
    #[error("{}", not_here(leader.as_ref()))]
    NotLeader {
        /// Which, if it is known.
        leader: Option<(u64, Voter)>,
    },
    /// Nothing is known of what became of it.
    #[error("{0}")]
    Unavailable(String),
    /// One at a time.
    #[error("the voters are being changed just now: ask again when that is done")]
    Busy,
    /// A number that no voter has.
    #[error("0 is no number of a voter: choose 1 or more")]
    Id,
    /// There is such a voter.
    #[error("there is a voter {id} at {address}: choose another id, or remove it first")]
    Exists {
        /// Which.
        id: u64,
        /// Where.
        address: String,
    },
    /// There is no such voter.
    #[error("there is no voter {0}")]
    NoSuchVoter(u64),
    /// Somebody has to keep the cluster.
    #[error("voter {0} is the last one: a cluster cannot be without voters")]
    Last(u64),
    /// Too many.
    #[error("the cluster has {VOTERS_MAX} voters, the most there can be: 3 or 5 are enough")]
    TooMany,
    /// Nobody is there.
    #[error("nobody answers for voter {id} at {address}: {reason}. Start it with --join first")]
    Silent {
        /// Which.
        id: u64,
        /// Where.
        address: String,
        /// What happened.
        reason: String,
    },
    /// It is somebody else's.
    #[error("the voter at {address} belongs to cluster {theirs}: start one with an empty folder")]
    OtherCluster {
        /// Where.
        address: String,
        /// Whose it is.
        theirs: ClusterId,
    },
    /// It is part of the cluster, or was, under another number.
    #[error("the store of the voter at {address} is that of voter {known}: start one with an empty folder")]
    Known {
        /// Where.
        address: String,
        /// Whose store it is.
        known: u64,
    },
    /// It did not get the log in time.
    #[error("voter {id} did not catch up within {} s and was not added; it lacks {lag} entries", CATCH_UP_MAX.as_secs())]
    Behind {
        /// Which.
        id: u64,
        /// Entries it lacks.
        lag: u64,
    },
    /// There would be no majority.
    #[error(
        "only {answering} of the {voters} voters there would be answer, which is no majority: start those that do not \
         answer ({silent}), or replace them first"
    )]
    NoMajority {
        /// Voters there would be.
        voters: usize,
        /// Those that answer.
        answering: usize,
        /// Those that do not.
        silent: String,
    },
}

impl From<ProposeError> for MembershipError {
    fn from(error: ProposeError) -> Self {
        match error {
            ProposeError::NotLeader { leader } => Self::NotLeader { leader },
            ProposeError::Refused(refusal) => Self::Unavailable(refusal.to_string()),
            ProposeError::Unavailable(reason) => Self::Unavailable(reason),
        }
    }
}

impl Consensus {
    /// Adds a voter that is started and waits: first it gets the state and the log, then it votes.
    ///
    /// # Errors
    /// See [`MembershipError`]. The voters are as they were, unless it is unavailable.
    pub(crate) async fn add_voter(&self, id: u64, address: String) -> Result<(), MembershipError> {
        let _changing = self.changing.try_lock().map_err(|_| MembershipError::Busy)?;
        self.linearize().await?;
        if id == 0 {
            return Err(MembershipError::Id);
        }
        let members = self.members();
        if let Some(voter) = members.get_node(&id).filter(|_| votes(&members, id)) {
            let address = voter.address.clone();
            return Err(MembershipError::Exists { id, address });
        }
        if members.nodes().filter(|(member, _)| **member != id).count() >= VOTERS_MAX {
            return Err(MembershipError::TooMany);
        }
        let voter = self.ask_who(id, address).await?;
        if members.get_node(&id).is_some() {
            // Left over from an attempt that was cut off.
            self.change(ChangeMembers::RemoveNodes(BTreeSet::from([id]))).await?;
        }
        self.change(ChangeMembers::AddNodes(BTreeMap::from([(id, voter)]))).await?;
        let added = match self.wait_for(id).await {
            Ok(()) => self.change(ChangeMembers::AddVoterIds(BTreeSet::from([id]))).await,
            Err(error) => Err(error),
        };
        if let Err(error @ MembershipError::Behind { .. }) = added {
            self.change(ChangeMembers::RemoveNodes(BTreeSet::from([id]))).await?;
            return Err(error);
        }
        added
    }

    /// Removes a voter, also a dead one, for good: its number is not to be used again.
    ///
    /// # Errors
    /// See [`MembershipError`]. The voters are as they were, unless it is unavailable.
    pub(crate) async fn remove_voter(&self, id: u64) -> Result<(), MembershipError> {
        let _changing = self.changing.try_lock().map_err(|_| MembershipError::Busy)?;
        self.linearize().await?;
        let members = self.members();
        if members.get_node(&id).is_none() {
            return Err(MembershipError::NoSuchVoter(id));
        }
        if !votes(&members, id) {
            return self.change(ChangeMembers::RemoveNodes(BTreeSet::from([id]))).await;
        }
        let left: BTreeSet<u64> = members.voter_ids().filter(|voter| *voter != id).collect();
        if left.is_empty() {
            return Err(MembershipError::Last(id));
        }
        self.check_majority(&left)?;
        self.change(ChangeMembers::RemoveVoters(BTreeSet::from([id]))).await
    }

    fn members(&self) -> Membership<u64, Voter> {
        self.raft.metrics().borrow().membership_config.membership().clone()
    }

    /// Asks a voter which store it will vote with.
    async fn ask_who(&self, id: u64, address: String) -> Result<Voter, MembershipError> {
        let silent = |reason: String| MembershipError::Silent { id, address: address.clone(), reason };
        let hello = self.network.hello(id, &address, HELLO_MAX).await.map_err(|error| silent(error.to_string()))?;
        let number = |bytes: &[u8]| bytes.try_into().map(u128::from_be_bytes);
        let store = number(&hello.store).map(StoreId).map_err(|_| silent("its answer makes no sense".to_owned()))?;
        if let Ok(theirs) = number(&hello.cluster).map(ClusterId)
            && self.door.cluster() != Some(theirs)
        {
            return Err(MembershipError::OtherCluster { address, theirs });
        }
        if let Some((known, _)) = self.members().nodes().find(|(known, voter)| voter.store == store && **known != id) {
            return Err(MembershipError::Known { address, known: *known });
        }
        Ok(Voter { address, store })
    }

    async fn wait_for(&self, id: u64) -> Result<(), MembershipError> {
        let mut metrics = self.raft.metrics();
        let known = |replication: &BTreeMap<u64, _>| replication.contains_key(&id);
        let caught_up = metrics.wait_for(|metrics| match &metrics.replication {
            Some(replication) => known(replication) && lag(metrics, id) <= LAG_MAX,
            None => true,
        });
        let in_time = timeout(CATCH_UP_MAX, caught_up).await;
        match in_time {
            // If it leads no more, the change that follows says so.
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(MembershipError::Unavailable(stopped(&openraft::error::Fatal::Stopped))),
            Err(_) => Err(MembershipError::Behind { id, lag: lag(&self.raft.metrics().borrow(), id) }),
        }
    }

    fn check_majority(&self, voters: &BTreeSet<u64>) -> Result<(), MembershipError> {
        let answers = |id: &u64| *id == self.id() || self.contacts.since(*id).is_some_and(|since| since < HEARD_MAX);
        let (answering, silent): (Vec<u64>, Vec<u64>) = voters.iter().partition(|id| answers(id));
        if answering.len() > voters.len() / 2 {
            return Ok(());
        }
        let silent: Vec<String> = silent.iter().map(|id| format!("voter {id}")).collect();
        Err(MembershipError::NoMajority { voters: voters.len(), answering: answering.len(), silent: silent.join(", ") })
    }

    async fn change(&self, members: ChangeMembers<u64, Voter>) -> Result<(), MembershipError> {
        change(&self.raft, members).await
    }
}

fn votes(members: &Membership<u64, Voter>, id: u64) -> bool {
    members.voter_ids().any(|voter| voter == id)
}

async fn change(raft: &Raft<TypeConfig>, members: ChangeMembers<u64, Voter>) -> Result<(), MembershipError> {
    let changed = timeout(CHANGE_MAX, raft.change_membership(members, false)).await.map_err(|_| late())?;
    match changed {
        Ok(_applied) => Ok(()),
        Err(RaftError::APIError(ClientWriteError::ForwardToLeader(forward))) => Err(not_leader(forward).into()),
        Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(error))) => Err(match error {
            ChangeMembershipError::InProgress(_) => MembershipError::Busy,
            error @ (ChangeMembershipError::EmptyMembership(_) | ChangeMembershipError::LearnerNotFound(_)) => {
                MembershipError::Unavailable(error.to_string())
            }
        }),
        Err(RaftError::Fatal(fatal)) => Err(MembershipError::Unavailable(stopped(&fatal))),
    }
}

/// What a new leader sees to.
#[derive(Clone)]
pub(super) struct Caretaker {
    pub raft: Raft<TypeConfig>,
    pub me: Voter,
    pub changing: Arc<Mutex<()>>,
}

impl Caretaker {
    /// Finishes a change of the voters that another leader did not live to finish, and says where this voter is reached
    /// if that is not as it was.
    pub async fn tidy(self) {
        let Ok(_changing) = self.changing.try_lock() else { return };
        let (id, members) = {
            let metrics = self.raft.metrics();
            let metrics = metrics.borrow();
            (metrics.id, metrics.membership_config.membership().clone())
        };
        if members.get_joint_config().len() > 1 {
            self.make(ChangeMembers::AddVoterIds(BTreeSet::new())).await;
        }
        if members.get_node(&id).is_some_and(|known| known.store == self.me.store && *known != self.me) {
            self.make(ChangeMembers::SetNodes(BTreeMap::from([(id, self.me.clone())]))).await;
        }
    }

    async fn make(&self, members: ChangeMembers<u64, Voter>) {
        if let Err(error) = change(&self.raft, members).await {
            tracing::warn!("the voters could not be put in order: {error}");
        }
    }
}
