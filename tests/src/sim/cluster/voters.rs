//! The control plane, as far as it matters here: one log, voters that apply it each at its own pace, a leader that
//! loses what it was about to add when another takes over, and leaders that have not noticed yet that they are none.

use std::collections::{BTreeMap, VecDeque};

use cluster::{Answer, Command, Refusal, State};

use crate::random::Random;

/// How many there are.
pub(super) const VOTERS: usize = 3;

/// Something proposed, to ask about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Ticket(pub u64);

/// What became of a proposal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    /// Nothing is known yet.
    Waits,
    /// It was applied, and this was the answer.
    Answered(Result<Answer, Refusal>),
    /// It may be in the log or not: whoever asked asks again.
    Unknown,
}

struct Entry {
    command: Command,
    ticket: Ticket,
}

struct Voter {
    up: bool,
    state: State,
    applied: usize,
    /// The term it believes to lead.
    leads: Option<u64>,
}

/// All voters and their log.
pub(super) struct Voters {
    log: Vec<Entry>,
    /// What the leader is about to add.
    pending: VecDeque<Entry>,
    voters: Vec<Voter>,
    term: u64,
    leader: usize,
    fates: BTreeMap<Ticket, Fate>,
    last_ticket: u64,
    /// What a voter is that applies the log as it grows.
    reference: State,
}

impl Voters {
    pub fn new() -> Self {
        let voter = || Voter { up: true, state: State::default(), applied: 0, leads: None };
        let mut voters: Vec<Voter> = (0..VOTERS).map(|_| voter()).collect();
        voters[0].leads = Some(1);
        Self {
            log: Vec::new(),
            pending: VecDeque::new(),
            voters,
            term: 1,
            leader: 0,
            fates: BTreeMap::new(),
            last_ticket: 0,
            reference: State::default(),
        }
    }

    /// What is decided, whether anybody has noticed or not.
    pub fn decided(&self) -> &State {
        &self.reference
    }

    pub fn log_len(&self) -> usize {
        self.log.len()
    }

    /// What a voter knows.
    pub fn state(&self, voter: usize) -> &State {
        &self.voters[voter].state
    }

    /// The term that a voter believes to lead, if it is up.
    pub fn leads(&self, voter: usize) -> Option<u64> {
        let voter = &self.voters[voter];
        voter.leads.filter(|_| voter.up)
    }

    /// The voter that leads, if any does.
    pub fn leader(&self) -> Option<usize> {
        Some(self.leader).filter(|_| !self.is_headless())
    }

    /// Proposes by a voter that believes to lead.
    pub fn propose(&mut self, voter: usize, command: Command) -> Ticket {
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        self.fates.insert(ticket, Fate::Waits);
        if self.leads(voter) == Some(self.term) {
            self.pending.push_back(Entry { command, ticket });
        } else {
            // Nobody follows it, so nothing will come of it.
            self.fates.insert(ticket, Fate::Unknown);
        }
        ticket
    }

    pub fn fate(&self, ticket: Ticket) -> Fate {
        self.fates.get(&ticket).cloned().unwrap_or(Fate::Unknown)
    }

    /// The leader's next proposal is decided; answers whether there was one.
    pub fn commit(&mut self) -> bool {
        let Some(entry) = self.pending.pop_front() else { return false };
        let _refused_or_not = self.reference.apply(entry.command.clone());
        self.log.push(entry);
        true
    }

    /// A voter applies the next entry, if it can.
    pub fn apply(&mut self, index: usize) -> Result<bool, String> {
        let voter = &mut self.voters[index];
        let Some(entry) = self.log.get(voter.applied).filter(|_| voter.up) else { return Ok(false) };
        let answer = voter.state.apply(entry.command.clone());
        voter.applied += 1;
        if voter.leads == Some(self.term)
            && let Some(fate @ Fate::Waits) = self.fates.get_mut(&entry.ticket)
        {
            *fate = Fate::Answered(answer);
        }
        let current = voter.applied == self.log.len();
        if current && voter.state.contents() != self.reference.contents() {
            return Err(format!("voter {index} came to another state than the log leads to"));
        }
        Ok(true)
    }

    /// Another voter leads. Some of what the old one was about to add is decided before, and nobody is told of any.
    pub fn change_leader(&mut self, random: &mut Random) {
        let up: Vec<usize> = (0..self.voters.len()).filter(|&voter| self.voters[voter].up).collect();
        if up.is_empty() {
            return;
        }
        for _ in 0..random.below(self.pending.len() as u64 + 1) {
            self.commit();
        }
        self.pending.clear();
        for fate in self.fates.values_mut().filter(|fate| **fate == Fate::Waits) {
            *fate = Fate::Unknown;
        }
        self.term += 1;
        self.leader = random.pick(&up);
        // It has every decided entry, and serves when it has applied them.
        let leader = &mut self.voters[self.leader];
        leader.leads = Some(self.term);
        while leader.applied < self.log.len() {
            let _refused_or_not = leader.state.apply(self.log[leader.applied].command.clone());
            leader.applied += 1;
        }
        self.forget_old_tickets();
    }

    fn forget_old_tickets(&mut self) {
        let old = Ticket(self.last_ticket.saturating_sub(2000));
        self.fates = self.fates.split_off(&old);
    }

    /// A voter that believes to lead hears that it does not.
    pub fn notice(&mut self, voter: usize) {
        let term = self.term;
        let voter = &mut self.voters[voter];
        voter.leads = voter.leads.filter(|leads| *leads == term);
    }

    /// A voter dies. Should it have led, nothing happens until another does.
    pub fn kill(&mut self, voter: usize) {
        let dead = &mut self.voters[voter];
        (dead.up, dead.leads) = (false, None);
        if voter == self.leader {
            self.pending.clear();
            for fate in self.fates.values_mut().filter(|fate| **fate == Fate::Waits) {
                *fate = Fate::Unknown;
            }
        }
    }

    /// A dead voter is back: with a snapshot and what follows it in the log, or with the log alone.
    pub fn restart(&mut self, voter: usize, random: &mut Random) -> Result<(), String> {
        let voter = &mut self.voters[voter];
        if voter.up {
            return Ok(());
        }
        voter.up = true;
        if random.one_in(2) {
            let contents = voter.state.contents().clone();
            voter.state = State::load(contents).map_err(|error| error.to_string())?;
        } else {
            (voter.state, voter.applied) = (State::default(), 0);
        }
        Ok(())
    }

    /// Whether somebody has to be chosen to lead.
    pub fn is_headless(&self) -> bool {
        self.leads(self.leader) != Some(self.term)
    }

    /// Whether every voter that is up knows everything, and nothing is about to be added.
    pub fn is_settled(&self) -> bool {
        self.pending.is_empty() && self.voters.iter().all(|voter| !voter.up || voter.applied == self.log.len())
    }
}
