//! From a folder to a running voter.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cluster::{Change, ClusterId, State};
use openraft::Raft;
use openraft::error::{InitializeError, RaftError};
use tokio::sync::{Mutex, watch};
use tokio::time::timeout;

use super::campaign::{Campaign, Standing};
use super::config::{self, TypeConfig, Voter};
use super::consensus::{Consensus, ProposeError, stopped};
use super::contacts::Contacts;
use super::door::Door;
use super::founding::is_new;
use super::leadership::{self, Leadership};
use super::membership::Caretaker;
use super::network::Network;
use crate::store::{Store, StoreError};

/// How long a lone voter may take to elect itself.
const ELECTION_MAX: Duration = Duration::from_secs(10);

/// What a voter is started with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct VoterConfig {
    /// Its number, 1 or more.
    pub id: u64,
    /// Where it keeps what it must not forget.
    pub data: PathBuf,
    /// Where others reach it: HOST:PORT.
    pub address: String,
    /// How it comes to be part of a cluster.
    pub start: Start,
    /// Where the other voters are to be, for one that founds a cluster: HOST:PORT each.
    pub others: Vec<String>,
}

/// How a voter comes to be part of a cluster.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Start {
    /// Found a new cluster with this voter alone; when one of the others belongs to one already, as [`Start::Join`]. A folder that has one already just goes on.
    Bootstrap,
    /// Wait to be added by the leader of an existing cluster, or go on with what the folder has.
    Join,
}

/// Why a voter did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A number that no voter has.
    #[error("0 is no number of a voter: choose 1 or more")]
    Id,
    /// What it keeps. In words.
    #[error("{0}")]
    Store(String),
    /// No randomness, for the cluster's id.
    #[error("no cluster can be founded without random numbers: {0}")]
    Random(getrandom::Error),
    /// The consensus did not start. In words.
    #[error("the voter cannot take part in consensus: {0}")]
    Consensus(String),
    /// It was to found a cluster, and nobody knows whether there is one.
    #[error(
        "no cluster is founded: {address} does not say whether there is one already ({reason}). Start the voter there, or \
         take it off the list of others if it is never to be one"
    )]
    Unasked {
        /// Who is silent.
        address: String,
        /// Why.
        reason: String,
    },
    /// The cluster was not founded. In words.
    #[error("the cluster cannot be founded: {0}")]
    Found(String),
}

impl From<StoreError> for StartError {
    fn from(error: StoreError) -> Self {
        Self::Store(error.to_string())
    }
}

impl Consensus {
    /// Opens what the voter keeps and starts it. Waits for no other voter.
    ///
    /// # Errors
    /// In words, see [`StartError`].
    pub(crate) async fn start(config: VoterConfig) -> Result<Self, StartError> {
        Self::start_with(config, config::SNAPSHOT_ENTRIES).await
    }

    /// Tests make snapshots more often.
    pub(super) async fn start_with(voter: VoterConfig, snapshot_entries: u64) -> Result<Self, StartError> {
        let VoterConfig { id, data, address, mut start, mut others } = voter;
        if id == 0 {
            return Err(StartError::Id);
        }
        let (store, log, machine) = open(data, id).await?;
        let state = machine.shared();
        let door = Arc::new(Door::new(store));
        let contacts = Arc::new(Contacts::default());
        let network = Network::new(Arc::clone(&door), Arc::clone(&contacts));
        if start == Start::Bootstrap && door.cluster().is_none() {
            others.retain(|other| *other != address);
            if is_new(&network, &others).await? {
                door.adopt(draw()?).await?;
            } else {
                start = Start::Join;
            }
        }
        let raft = Raft::new(id, config::config(snapshot_entries), network.clone(), log.clone(), machine)
            .await
            .map_err(|fatal| StartError::Consensus(stopped(&fatal)))?;
        let changing = Arc::new(Mutex::new(()));
        let (changes, leadership) = watch::channel(Leadership::Nobody);
        let me = Voter { address, store: door.store_id };
        let caretaker = Caretaker { raft: raft.clone(), me: me.clone(), changing: Arc::clone(&changing) };
        let watcher = tokio::spawn(watch_leadership(raft.clone(), caretaker, changes, Arc::clone(&contacts)));
        let standing = Arc::new(Standing { raft: raft.clone(), log, contacts: Arc::clone(&contacts) });
        let campaign = tokio::spawn(Campaign { standing: Arc::clone(&standing), network: network.clone() }.run());
        let tasks = [watcher, campaign];
        let consensus = Self { raft, door, contacts, standing, network, state, leadership, changing, tasks };
        let founded = start == Start::Bootstrap && consensus.initialize(me).await?;
        consensus.lead_if_alone(founded).await?;
        Ok(consensus)
    }

    /// Makes this voter the only one of a new cluster, unless it is part of one.
    async fn initialize(&self, me: Voter) -> Result<bool, StartError> {
        match self.raft.initialize(BTreeMap::from([(self.id(), me)])).await {
            Ok(()) => Ok(true),
            Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(false),
            Err(RaftError::APIError(InitializeError::NotInMembers(error))) => Err(StartError::Found(error.to_string())),
            Err(RaftError::Fatal(fatal)) => Err(StartError::Found(stopped(&fatal))),
        }
    }

    /// A voter alone need not wait for anybody. It founds its cluster if it was killed before it did; others are added to
    /// a cluster that is founded only.
    async fn lead_if_alone(&self, is_new: bool) -> Result<(), StartError> {
        let failed = |fatal| StartError::Consensus(stopped(&fatal));
        let id = self.id();
        let alone = self.raft.with_raft_state(move |state| state.membership_state.effective().voter_ids().eq([id]));
        if !alone.await.map_err(failed)? {
            return Ok(());
        }
        if !is_new {
            self.raft.trigger().elect().await.map_err(failed)?;
        }
        let mut changes = self.leadership_changes();
        let elected = changes.wait_for(|leadership| matches!(leadership, Leadership::Here { .. }));
        let late = || StartError::Consensus("it is alone and did not elect itself: is its disk slow?".to_owned());
        timeout(ELECTION_MAX, elected).await.map_err(|_| late())?.map_err(|_| late())?;
        self.found().await.map_err(|error| StartError::Found(error.to_string()))
    }

    async fn found(&self) -> Result<(), ProposeError> {
        // What is committed may not be applied yet.
        self.linearize().await?;
        if let Some(cluster) = self.door.cluster()
            && self.read(State::cluster).is_none()
        {
            self.propose(Change::Found { cluster }, None).await?;
        }
        Ok(())
    }
}

async fn open(data: PathBuf, id: u64) -> Result<(Store, crate::store::LogStore, crate::store::Machine), StartError> {
    let opened = tokio::task::spawn_blocking(move || {
        let store = Store::open(&data, id)?;
        let (log, machine) = (store.log(), store.machine()?);
        Ok((store, log, machine))
    });
    let opened: Result<_, StoreError> = opened.await.map_err(|error| StartError::Store(error.to_string()))?;
    Ok(opened?)
}

fn draw() -> Result<ClusterId, StartError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(StartError::Random)?;
    Ok(ClusterId(u128::from_be_bytes(bytes)))
}

/// Tells who leads, until the voter ends.
async fn watch_leadership(
    raft: Raft<TypeConfig>,
    caretaker: Caretaker,
    changes: watch::Sender<Leadership>,
    contacts: Arc<Contacts>,
) {
    let mut metrics = raft.metrics();
    loop {
        let (now, members) = {
            let seen = metrics.borrow_and_update();
            (leadership::of(&seen), Arc::clone(&seen.membership_config))
        };
        let changed = changes.send_if_modified(|before| {
            let differs = *before != now;
            before.clone_from(&now);
            differs
        });
        if changed {
            tracing::info!(leadership = ?now, "who leads has changed");
            contacts.retain(|id| members.membership().get_node(&id).is_some());
            if matches!(now, Leadership::Here { .. }) {
                tokio::spawn(caretaker.clone().tidy());
            }
        }
        if metrics.changed().await.is_err() {
            changes.send_replace(Leadership::Nobody);
            return;
        }
    }
}
