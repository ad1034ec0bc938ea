//! One seed's life of a cluster.

use std::collections::{BTreeMap, BTreeSet};

use block::{Instant, PoolId, SnapshotId, VolumeId};
use cluster::{Change, ClusterId, Name, OperationId, OperationKind};
use node::Door;

use super::anew::Anew;
use super::client::Session;
use super::contents::Contents;
use super::faults::Rates;
use super::fences::Fences;
use super::machine::{Machine, Wants};
use super::network::{LinkId, Network};
use super::operator::{Operator, name};
use super::outcome::ClusterOutcome;
use super::plant::Plant;
use super::stream::{Goes, Stream};
use super::voters::{VOTERS, Voters};
use crate::random::Random;

/// A storage node and what belongs to it.
pub(super) struct Site {
    pub name: Name,
    pub machine: Machine,
    pub stream: Option<Stream>,
}

/// All of it.
pub(super) struct World {
    pub random: Random,
    pub rates: Rates,
    pub now: Instant,
    pub voters: Voters,
    pub sites: Vec<Site>,
    pub network: Network,
    pub operator: Operator,
    pub sessions: BTreeMap<LinkId, Session>,
    /// The newest connection of each volume's client.
    pub newest: BTreeMap<VolumeId, LinkId>,
    pub contents: Contents,
    pub fences: Fences,
    pub anew: Anew,
    /// Operations that have not ended.
    watched: BTreeSet<OperationId>,
    plant: Plant,
    pub outcome: ClusterOutcome,
}

const SITES: u64 = 3;
const STEPS: u64 = 2500;

/// Runs a seed.
///
/// # Errors
/// What went wrong, with the seed's own words; with a planted bug, if the checkers found it.
pub fn run_cluster_with(seed: u64, plant: Plant, takes_snapshots: bool) -> Result<ClusterOutcome, String> {
    let mut random = Random::seeded(seed);
    let rates = Rates::draw(&mut random);
    let now = Instant(1_000_000_000);
    let site = |index: u64| {
        let machine = Machine::new(PoolId(u128::from(index) + 1), now)?;
        Ok(Site { name: name(&format!("n{index}")), machine, stream: None })
    };
    let mut world = World {
        random,
        rates,
        now,
        voters: Voters::new(),
        sites: (0..SITES).map(site).collect::<Result<_, String>>()?,
        network: Network::default(),
        operator: Operator::new(takes_snapshots),
        sessions: BTreeMap::new(),
        newest: BTreeMap::new(),
        contents: Contents::default(),
        fences: Fences::default(),
        anew: Anew::default(),
        watched: BTreeSet::new(),
        plant,
        outcome: ClusterOutcome::default(),
    };
    world.operator.ask(Change::Found { cluster: ClusterId(7) }, String::new());
    for _ in 0..1 + world.random.below(STEPS) {
        world.step()?;
        world.go_wrong()?;
    }
    world.end()?;
    world.outcome.entries = world.voters.log_len() as u64;
    Ok(world.outcome)
}

impl World {
    /// Everything goes on a little.
    pub fn step(&mut self) -> Result<(), String> {
        self.pass_time();
        if self.once_in(self.rates.wish) {
            self.operator.wish(&mut self.random);
        }
        self.operator.work(&mut self.voters, &mut self.random);
        self.decide()?;
        for site in 0..self.sites.len() {
            self.go_on(site)?;
        }
        self.network.pump()?;
        self.clients()
    }

    fn pass_time(&mut self) {
        let passed_ns = self.random.below(self.rates.step_ns);
        let before_ms = self.now.0 / 1_000_000;
        self.now.0 += passed_ns;
        self.operator.time_passes(self.now.0 / 1_000_000 - before_ms);
        self.tick();
    }

    /// Whoever leads says what time it is, when something waits for it.
    fn tick(&mut self) {
        let Some(leader) = self.voters.leader() else { return };
        let is_due = self.voters.state(leader).deadline().is_some_and(|due| due <= self.operator.now());
        if is_due && self.random.one_in(4) {
            let command = self.operator.command(None, Change::Tick, &mut self.random);
            self.voters.propose(leader, command);
        }
    }

    pub fn once_in(&mut self, times: u64) -> bool {
        times > 0 && self.random.one_in(times)
    }

    /// The log grows and is applied.
    fn decide(&mut self) -> Result<(), String> {
        for _ in 0..self.random.below(3) {
            if self.voters.commit() {
                self.note_operations();
            }
        }
        for _ in 0..self.random.below(8) {
            let voter = self.random.index(VOTERS);
            self.voters.apply(voter)?;
        }
        Ok(())
    }

    /// Ends of operations are taken at their word as soon as they are decided.
    pub fn note_operations(&mut self) {
        self.note_snapshots();
        let state = self.voters.decided();
        self.watched.extend(state.running_operations());
        let ended: Vec<OperationKind> = self
            .watched
            .iter()
            .filter_map(|id| state.operation(*id).filter(|operation| operation.ended.is_some()))
            .map(|operation| operation.kind)
            .collect();
        self.watched = state.running_operations().collect();
        for kind in ended {
            match kind {
                OperationKind::Attach(volume, generation) | OperationKind::Retire(volume, generation) => {
                    self.raise_fence(volume, generation.0);
                }
                OperationKind::Group(_, group) => {
                    let is_ready = self.voters.decided().group_of(group).is_some_and(cluster::Group::is_ready);
                    self.outcome.groups += u64::from(is_ready);
                }
                OperationKind::Create(_)
                | OperationKind::Resize(..)
                | OperationKind::Delete(_)
                | OperationKind::Snapshot(..)
                | OperationKind::DeleteSnapshot(..)
                | OperationKind::DeleteGroup(..) => {}
            }
        }
    }

    /// Snapshots that are wanted, cut or gone, and what begins as one.
    fn note_snapshots(&mut self) {
        let Self { voters, contents, fences, outcome, .. } = self;
        let state = voters.decided();
        for (id, snapshot) in &state.contents().snapshots {
            if !contents.kept.is_known(*id) {
                contents.snapshot_wanted(*id, snapshot.source);
            }
        }
        let at = |id: SnapshotId| state.contents().snapshots.get(&id).map(cluster::Snapshot::at);
        let over: Vec<SnapshotId> = contents.kept.open().filter(|id| at(*id) != Some(None)).collect();
        for id in over {
            outcome.snapshots += u64::from(at(id).is_some());
            contents.kept.close(id);
        }
        for (id, volume) in &state.contents().volumes {
            if let Some(source) = volume.source.as_ref().filter(|source| source.at.is_some()) {
                outcome.clones += u64::from(contents.clone_begins(*id, source.snapshot));
            }
        }
        // What nobody can use any more is zeroed.
        state.retired().for_each(|(id, _)| fences.forget(id));
    }

    fn raise_fence(&mut self, volume: VolumeId, generation: u64) {
        if let Some(there) = self.voters.decided().contents().volumes.get(&volume) {
            let site = self.sites.iter().find(|site| site.machine.pool == there.home());
            let held = site.and_then(|site| site.machine.held().get(&volume));
            self.outcome.fences += 1;
            self.fences.raise(volume, generation, held.copied());
        }
    }

    /// A site's machine and stream go on.
    fn go_on(&mut self, index: usize) -> Result<(), String> {
        let mut wants = Wants::default();
        for _ in 0..self.random.below(3) {
            let (now, random) = (self.now, &mut self.random);
            self.sites[index].machine.turn(now, &mut self.network, random, self.rates.disk, &mut wants)?;
            self.look_at(index)?;
        }
        self.stream(index, &mut wants)?;
        for volume in wants.made {
            self.outcome.volumes += 1;
            self.anew.made(volume, self.voters.decided())?;
        }
        for (near, relay) in wants.relays {
            self.outcome.relays += 1;
            self.pass_on(near, relay)?;
        }
        Ok(())
    }

    /// What a machine holds is compared with what must not have changed.
    pub fn look_at(&mut self, index: usize) -> Result<(), String> {
        let machine = &self.sites[index].machine;
        for (volume, last) in machine.held() {
            self.fences.check(*volume, *last)?;
        }
        Ok(())
    }

    fn pass_on(&mut self, near: LinkId, relay: node::Relay) -> Result<(), String> {
        let node::Relay { address, upstream, downstream, handshake } = relay;
        let site = self.sites.iter().position(|site| site.name.as_str() == address && site.machine.is_up());
        self.network.link(near).to_client.extend(downstream);
        let Some(site) = site else {
            self.network.link(near).server_closed = true;
            return Ok(());
        };
        let far = self.network.open();
        self.network.link(far).to_server.extend(upstream);
        self.network.relay(near, far, handshake);
        self.sites[site].machine.accept(self.now, far, Door::Peer)
    }

    fn stream(&mut self, index: usize, wants: &mut Wants) -> Result<(), String> {
        let Self { random, voters, operator, sites, anew, outcome, plant, .. } = self;
        let site = &mut sites[index];
        if !site.machine.is_up() {
            return Ok(());
        }
        let Some(stream) = &mut site.stream else {
            let voter = random.index(VOTERS);
            let begun =
                Stream::begin(voters, voter, &site.name, *plant, |change| operator.command(None, change, random));
            site.stream = begun;
            outcome.streams += u64::from(site.stream.is_some());
            return Ok(());
        };
        let begun_now = !stream.has_spoken();
        if site.machine.take_news() || begun_now {
            let observation = site.machine.node().expect("it is up").observation();
            anew.told(site.machine.pool, &observation, voters.decided())?;
            stream.say(site.machine.pool, &observation);
        }
        wants.proposals.drain(..).for_each(|(volume, wanted)| stream.propose(volume, &wanted));
        if stream.work(voters, &site.name, |change| operator.command(None, change, random)) == Goes::Broken {
            site.stream = None;
            return Ok(());
        }
        if random.one_in(self.rates.delay_intent)
            && let Some(intent) = stream.arrive(site.machine.pool)
        {
            site.machine.intend(self.now, intent, wants)?;
        }
        Ok(())
    }
}
