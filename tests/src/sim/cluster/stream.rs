//! The stream between a node and the voter it believes to lead: reports one way, intents the other, in order, late, and
//! broken off at any time. A new one begins anew on both sides.

use std::collections::VecDeque;

use block::{PoolId, VolumeId};
use cluster::{Addresses, Change, Labels, Name, NodeIntent, NodeReport, Revision};
use node::{Intent, Observation, Proposal};

use super::plant::Plant;
use super::voters::{Fate, Ticket, Voters};
use super::words;

/// What a node says.
enum Word {
    Report(NodeReport),
    Proposal(Change),
}

/// One stream.
pub(super) struct Stream {
    pub voter: usize,
    term: u64,
    /// The proposal that opens it, and then that of a report.
    proposed: Option<Ticket>,
    open: bool,
    told: Option<Revision>,
    to_node: VecDeque<NodeIntent>,
    to_voter: VecDeque<Word>,
    /// What the node said of itself on this stream.
    said: Option<Observation>,
    plant: Plant,
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
        plant: Plant,
        command: impl FnOnce(Change) -> cluster::Command,
    ) -> Option<Self> {
        let term = voters.leads(voter)?;
        let addresses = Addresses { peers: node.to_string(), nbd: vec![node.to_string()] };
        let change = Change::Register { node: node.clone(), addresses, labels: Labels::new() };
        let proposed = Some(voters.propose(voter, command(change)));
        let (to_node, to_voter) = (VecDeque::new(), VecDeque::new());
        Some(Self { voter, term, proposed, open: false, told: None, to_node, to_voter, said: None, plant })
    }

    /// Whether the node has said anything on it.
    pub fn has_spoken(&self) -> bool {
        self.said.is_some()
    }

    /// The node says what it is, if that is news.
    pub fn say(&mut self, pool: PoolId, now: &Observation) {
        if self.said.as_ref() != Some(now) {
            self.to_voter.push_back(Word::Report(words::report(pool, self.said.as_ref(), now)));
            self.said = Some(now.clone());
        }
    }

    /// A replica of the node wants another configuration.
    pub fn propose(&mut self, volume: VolumeId, proposal: &Proposal) {
        self.to_voter.push_back(Word::Proposal(words::proposal(volume, proposal)));
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
                // A configuration may be refused; whoever wanted it hears what is in force.
                Fate::Answered(Err(_)) if self.open => self.proposed = None,
                Fate::Answered(Err(_)) | Fate::Unknown => return Goes::Broken,
            }
        }
        if self.open {
            self.tell(voters, node);
            if self.proposed.is_none()
                && let Some(word) = self.to_voter.pop_front()
            {
                let change = match word {
                    Word::Report(report) => Change::Report { node: node.clone(), report },
                    Word::Proposal(change) => change,
                };
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
    pub fn arrive(&mut self, pool: PoolId) -> Option<Intent> {
        let intent = self.to_node.pop_front()?;
        Some(words::intent(pool, self.plant.garble(intent, self.said.as_ref())))
    }

    /// Whether nothing is on its way.
    pub fn is_quiet(&self) -> bool {
        self.open && self.proposed.is_none() && self.to_node.is_empty() && self.to_voter.is_empty()
    }
}
