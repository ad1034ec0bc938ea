//! What goes wrong, and how often.

use cluster::Change;

use super::voters::VOTERS;
use super::world::World;
use crate::random::Random;
use crate::sim::Crash;

/// Drawn once a seed: once in how many steps each thing happens; 0 for never.
pub(super) struct Rates {
    pub hold: u64,
    pub release: u64,
    pub break_stream: u64,
    pub delay_intent: u64,
    pub elect: u64,
    pub kill_voter: u64,
    pub crash: u64,
    pub wipe: u64,
    /// Whether machines lose power as well; then clients force their writes to stable media.
    pub power: bool,
    /// Of so many things that happen to a node, one is of its disk.
    pub disk: u64,
    pub wish: u64,
    /// Nanoseconds of a step, at most. A group snapshot has to be done in 200 ms.
    pub step_ns: u64,
    /// Requests of a step, at most.
    pub ask: u64,
    pub come: u64,
    pub leave: u64,
}

impl Rates {
    pub fn draw(random: &mut Random) -> Self {
        Self {
            hold: random.pick(&[0, 20, 60]),
            release: random.pick(&[10, 50, 200]),
            break_stream: random.pick(&[0, 100, 400]),
            delay_intent: random.pick(&[1, 3, 20]),
            elect: random.pick(&[0, 100, 400]),
            kill_voter: random.pick(&[0, 150, 600]),
            crash: random.pick(&[0, 150, 500]),
            wipe: random.pick(&[0, 0, 0, 1500]),
            power: random.one_in(3),
            disk: random.pick(&[2, 2, 6, 40]),
            wish: random.pick(&[5, 15, 40]),
            step_ns: random.pick(&[40_000_000, 8_000_000, 2_000_000]),
            ask: random.pick(&[2, 4, 8]),
            come: random.pick(&[10, 30, 80]),
            leave: random.pick(&[0, 100, 300]),
        }
    }

    /// Nothing goes wrong any more, and nobody wants anything new; clients go on.
    pub fn healed(&self) -> Self {
        Self {
            hold: 0,
            release: 0,
            break_stream: 0,
            delay_intent: 1,
            elect: 0,
            kill_voter: 0,
            crash: 0,
            wipe: 0,
            disk: 2,
            wish: 0,
            leave: 0,
            power: self.power,
            step_ns: self.step_ns,
            ask: self.ask,
            come: self.come,
        }
    }
}

impl World {
    pub fn go_wrong(&mut self) -> Result<(), String> {
        if self.once_in(self.rates.hold)
            && let Some(link) = self.any_session()
        {
            self.network.hold(link, true);
        }
        if self.once_in(self.rates.release) {
            let links = self.network.ids();
            if !links.is_empty() {
                self.network.hold(self.random.pick(&links), false);
            }
        }
        if self.once_in(self.rates.break_stream) {
            let site = self.random.index(self.sites.len());
            self.sites[site].stream = None;
        }
        self.voters_go_wrong()?;
        self.machines_go_wrong()
    }

    fn voters_go_wrong(&mut self) -> Result<(), String> {
        let voter = self.random.index(VOTERS);
        if self.once_in(self.rates.elect) || (self.voters.is_headless() && self.random.one_in(20)) {
            self.outcome.elections += 1;
            self.voters.change_leader(&mut self.random);
            self.note_operations();
        }
        if self.random.one_in(50) {
            self.voters.notice(voter);
        }
        if self.once_in(self.rates.kill_voter) {
            self.voters.kill(voter);
        }
        if self.random.one_in(60) {
            self.voters.restart(voter, &mut self.random)?;
        }
        if self.random.one_in(30) {
            self.lose_a_silent_node();
        }
        Ok(())
    }

    /// The leader notes a node as lost that it has no stream of.
    fn lose_a_silent_node(&mut self) {
        let Some(leader) = self.voters.leader() else { return };
        let index = self.random.index(self.sites.len());
        let site = &self.sites[index];
        let heard = site.stream.as_ref().is_some_and(|stream| stream.voter == leader);
        let up = self.voters.state(leader).node(&site.name).is_some_and(cluster::Node::is_up);
        if up && !heard {
            let change = Change::Lose { node: site.name.clone() };
            let command = self.operator.command(None, change, &mut self.random);
            self.voters.propose(leader, command);
        }
    }

    fn machines_go_wrong(&mut self) -> Result<(), String> {
        let index = self.random.index(self.sites.len());
        if self.once_in(self.rates.crash) {
            self.crash(index);
        }
        if self.once_in(self.rates.wipe) {
            self.crash(index);
            self.wipe(index)?;
        }
        if self.random.one_in(40) {
            self.start(index)?;
        }
        Ok(())
    }

    fn crash(&mut self, index: usize) {
        let crash = if self.rates.power && self.random.one_in(2) { Crash::Power } else { Crash::Kill };
        match crash {
            Crash::Power => self.outcome.power_cuts += 1,
            Crash::Kill => self.outcome.kills += 1,
        }
        let site = &mut self.sites[index];
        site.stream = None;
        site.machine.crash(crash, &mut self.network, &mut self.random);
    }

    pub fn start(&mut self, index: usize) -> Result<(), String> {
        self.sites[index].machine.start(self.now)?;
        self.look_at(index)
    }

    /// Somebody puts an empty disk in the place of one that was in use.
    fn wipe(&mut self, index: usize) -> Result<(), String> {
        self.outcome.wipes += 1;
        let machine = &mut self.sites[index].machine;
        for volume in machine.held().keys() {
            self.contents.lose(*volume);
            self.fences.forget(*volume);
        }
        self.anew.wiped(machine.pool);
        machine.wipe()
    }
}
