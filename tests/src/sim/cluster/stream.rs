//! The stream between a node and the voter it believes to lead: reports one way, intents the other, in order, late, and
//! broken off at any time. A new one begins anew on both sides.

use std::collections::{BTreeMap, VecDeque};

use block::{PoolId, VolumeId};
use cluster::{
    Addresses, Change, Generation, Labels, Name, NodeIntent, NodeReport, PoolReport, ReplicaReport, Replicas, Revision,
    Standing,
};
use node::{Attachment, Intent, Observation, ReplicaIntent, ReplicaObservation, Route, TokenHash};

use super::voters::{Fate, Ticket, Voters};

/// One stream.
pub(super) struct Stream {
    pub voter: usize,
    term: u64,
    /// The proposal that opens it, and then that of a report.
    proposed: Option<Ticket>,
    open: bool,
    told: Option<Revision>,
    to_node: VecDeque<NodeIntent>,
    to_voter: VecDeque<NodeReport>,
    /// What the node said of itself on this stream.
    said: Option<Observation>,
}

/// Whether a stream goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Goes {
    On,
    Broken,
}

impl Stream {
    /// The node's first word, to a voter that believes to lead.
    pub fn begin(
        voters: &mut Voters,
        voter: usize,
        node: &Name,
        command: impl FnOnce(Change) -> cluster::Command,
    ) -> Option<Self> {
        let term = voters.leads(voter)?;
        let addresses = Addresses { peers: node.to_string(), nbd: vec![node.to_string()] };
        let change = Change::Register { node: node.clone(), addresses, labels: Labels::new() };
        let proposed = Some(voters.propose(voter, command(change)));
        let (to_node, to_voter) = (VecDeque::new(), VecDeque::new());
        Some(Self { voter, term, proposed, open: false, told: None, to_node, to_voter, said: None })
    }

    /// Whether the node has said anything on it.
    pub fn has_spoken(&self) -> bool {
        self.said.is_some()
    }

    /// The node says what it is, if that is news.
    pub fn say(&mut self, pool: PoolId, now: &Observation) {
        if self.said.as_ref() != Some(now) {
            self.to_voter.push_back(report(pool, self.said.as_ref(), now));
            self.said = Some(now.clone());
        }
    }

    /// The voter's side goes on: a report into the log, an intent out.
    pub fn work(&mut self, voters: &mut Voters, node: &Name, command: impl FnOnce(Change) -> cluster::Command) -> Goes {
        if voters.leads(self.voter) != Some(self.term) {
            return Goes::Broken;
        }
        if let Some(ticket) = self.proposed {
            match voters.fate(ticket) {
                Fate::Waits => {}
                Fate::Answered(Ok(_)) => (self.proposed, self.open) = (None, true),
                Fate::Answered(Err(_)) | Fate::Unknown => return Goes::Broken,
            }
        }
        if self.open {
            self.tell(voters, node);
            if self.proposed.is_none()
                && let Some(report) = self.to_voter.pop_front()
            {
                let change = Change::Report { node: node.clone(), report };
                self.proposed = Some(voters.propose(self.voter, command(change)));
            }
        }
        Goes::On
    }

    fn tell(&mut self, voters: &Voters, node: &Name) {
        let state = voters.state(self.voter);
        let intent = match self.told {
            None => Some(state.intent(node)),
            Some(told) => state.intent_since(node, told),
        };
        if let Some(intent) = intent {
            self.told = Some(intent.revision);
            self.to_node.push_back(intent);
        }
    }

    /// The next intent arrives.
    pub fn arrive(&mut self) -> Option<Intent> {
        self.to_node.pop_front().map(intent)
    }

    /// Whether nothing is on its way.
    pub fn is_quiet(&self) -> bool {
        self.open && self.proposed.is_none() && self.to_node.is_empty() && self.to_voter.is_empty()
    }
}

/// All that a node holds, or what changed since it said something.
fn report(pool: PoolId, before: Option<&Observation>, now: &Observation) -> NodeReport {
    let one = |replica: &ReplicaObservation| ReplicaReport {
        volume: replica.volume,
        size_bytes: replica.size_bytes,
        generation: Generation(replica.generation),
        standing: Standing::default(),
        snapshots: BTreeMap::new(),
    };
    let by_id = |observation: &Observation| -> BTreeMap<VolumeId, ReplicaObservation> {
        observation.replicas.iter().map(|replica| (replica.volume, *replica)).collect()
    };
    let replicas = match before.map(by_id) {
        None => Replicas::All(now.replicas.iter().map(one).collect()),
        Some(before) => Replicas::Changed {
            present: now.replicas.iter().filter(|now| before.get(&now.volume) != Some(*now)).map(one).collect(),
            gone: before.into_keys().filter(|id| now.replicas.iter().all(|now| now.volume != *id)).collect(),
        },
    };
    let report = PoolReport { id: pool, capacity_bytes: 1 << 30, used_bytes: 0, tags: vec![], failed: false, replicas };
    NodeReport { heard: Revision(now.heard), pools: vec![report] }
}

fn intent(intent: NodeIntent) -> Intent {
    // Nobody takes snapshots here.
    let NodeIntent { revision, whole, replicas, deletions, routes, lost_routes, snapshot_deletions: _ } = intent;
    Intent {
        cluster: 1,
        revision: revision.0,
        whole,
        replicas: replicas.into_iter().map(replica).collect(),
        deletions: deletions.into_iter().map(|(_, volume)| volume).collect(),
        routes: routes
            .into_iter()
            .map(|route| Route { name: route.name.to_string(), address: route.address })
            .collect(),
        lost_routes: lost_routes.iter().map(ToString::to_string).collect(),
    }
}

fn replica(replica: cluster::ReplicaIntent) -> ReplicaIntent {
    let cluster::ReplicaIntent { volume, name, size_bytes, may_create, attachments, open, .. } = replica;
    let attachment = |held: &cluster::Attachment| Attachment {
        client: held.client.to_string(),
        read_only: held.mode == cluster::AccessMode::ReadOnly,
        generation: held.generation.0,
        token: TokenHash(held.token.0),
    };
    ReplicaIntent {
        volume,
        name: name.to_string(),
        size_bytes,
        may_create,
        generation: attachments.generation.0,
        attachments: attachments.held().iter().map(attachment).collect(),
        open,
        // The simulated clusters keep single replicas; `replication_sim` and the tests of `node` have several.
        copies: None,
    }
}
