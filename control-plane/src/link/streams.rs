//! Which stream of each node is the newest, and who is lost.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cluster::{Change, Name};
use tokio::time::sleep;

use super::{GRACE, StreamError, clock, loans};
use crate::raft::{Consensus, Leadership};

/// How long a new leader waits for the nodes of the one before.
const RETURN_MAX: Duration = Duration::from_secs(5);

/// See the module.
pub(crate) struct Streams {
    consensus: Arc<Consensus>,
    newest: Mutex<Newest>,
}

#[derive(Default)]
struct Newest {
    last: u64,
    nodes: BTreeMap<Name, Node>,
}

struct Node {
    /// The stream's number. Held while something of the node is brought into the log, so that one comes after the other.
    stream: Arc<tokio::sync::Mutex<u64>>,
    /// The stream that was begun last, which may wait for the lock above.
    begun: u64,
    open: bool,
}

/// A stream's right to speak for its node, until a newer one begins.
pub(super) struct Turn {
    pub node: Name,
    number: u64,
    stream: Arc<tokio::sync::Mutex<u64>>,
}

impl Streams {
    pub fn new(consensus: Arc<Consensus>) -> Self {
        Self { consensus, newest: Mutex::default() }
    }

    fn newest(&self) -> std::sync::MutexGuard<'_, Newest> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on the node's older streams are not listened to.
    pub(super) fn begin(&self, node: &Name) -> Turn {
        let mut newest = self.newest();
        newest.last += 1;
        let number = newest.last;
        let entry =
            newest.nodes.entry(node.clone()).or_insert_with(|| Node { stream: Arc::default(), begun: 0, open: true });
        (entry.begun, entry.open) = (number, true);
        Turn { node: node.clone(), number, stream: Arc::clone(&entry.stream) }
    }

    /// Whether no newer stream has begun.
    pub(super) fn is_newest(&self, turn: &Turn) -> bool {
        self.newest().nodes.get(&turn.node).is_some_and(|node| node.begun == turn.number)
    }

    /// Brings something the node said into the log.
    pub(super) async fn propose(&self, turn: &Turn, change: Change) -> Result<(), StreamError> {
        let mut speaking = turn.stream.lock().await;
        if !self.is_newest(turn) {
            return Err(StreamError::Superseded);
        }
        *speaking = turn.number;
        self.consensus.propose(change, None).await.map(drop).map_err(StreamError::Proposal)
    }

    /// The stream has ended: if no other begins soon, the node is lost.
    pub(super) async fn ended(&self, turn: Turn) {
        if self.is_newest(&turn)
            && let Some(node) = self.newest().nodes.get_mut(&turn.node)
        {
            node.open = false;
        }
        sleep(GRACE).await;
        match self.propose(&turn, Change::Lose { node: turn.node.clone() }).await {
            Ok(()) => tracing::warn!(node = %turn.node, "node is not heard any more"),
            // It is heard again, or somebody else leads and looks after it.
            Err(StreamError::Superseded) => {}
            Err(error @ StreamError::Proposal(_)) => tracing::debug!(node = %turn.node, ?error, "not noted as lost"),
        }
    }

    fn is_open(&self, node: &Name) -> bool {
        self.newest().nodes.get(node).is_some_and(|node| node.open)
    }

    /// What a leader does without being asked.
    pub async fn watch(self: Arc<Self>) {
        tokio::join!(
            clock::run(Arc::clone(&self.consensus)),
            loans::run(Arc::clone(&self.consensus)),
            self.watch_nodes()
        );
    }

    /// Whenever this voter has come to lead: nodes that were heard by the leader before and do not come are lost.
    async fn watch_nodes(&self) {
        let mut changes = self.consensus.leadership_changes();
        loop {
            let leading = |leadership: &Leadership| matches!(leadership, Leadership::Here { .. });
            let Ok(term) = changes.wait_for(leading).await.map(|leadership| leadership.clone()) else { return };
            sleep(RETURN_MAX).await;
            if self.consensus.leadership() == term {
                self.lose_the_silent().await;
            }
            if changes.wait_for(|leadership| *leadership != term).await.is_err() {
                return;
            }
        }
    }

    async fn lose_the_silent(&self) {
        let up: Vec<Name> = self
            .consensus
            .read(|state| state.nodes().filter(|(_, node)| node.is_up()).map(|(name, _)| name.clone()).collect());
        for node in up.into_iter().filter(|node| !self.is_open(node)) {
            let turn = self.begin(&node);
            self.ended(turn).await;
        }
    }
}
