//! Three replicas, their stores, connections, clients and a control plane, and everything that can go wrong between them.
//! One seed is one run.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use block::{BlockRange, Epoch, GROUP_BLOCKS, Incarnation, Instant, PoolId, WriteSeq};
use replication::{Change, Configuration, Content, Effect, Event, Message, OpId, Replica, Start, Times};

use crate::control::{Control, Registration};
use crate::history::{self, Op};
use crate::media::{Done, GROUPS, Media, Value, changes};
use crate::random::Random;

/// Replicas.
pub const REPLICAS: usize = 3;
/// One step of the world.
const STEP_NS: u64 = 40_000_000;
/// Steps for which a backup keeps its promise.
const PROMISE: u64 = 34;
/// Steps with faults.
const STEPS: u64 = 900;
/// Steps within which all must be well again without them.
const HEALING_STEPS: u64 = 6000;

fn times() -> Times {
    let steps = |count: u64| std::time::Duration::from_nanos(count * STEP_NS);
    Times {
        heartbeat: steps(5),
        lease: steps(25),
        promise: steps(PROMISE),
        removal: steps(18),
        reconnect: steps(4),
        retry: steps(8),
        join_retry: steps(30),
    }
}

/// One process with its replica.
struct Host {
    replica: Replica<Value>,
    media: Media,
    incarnation: Incarnation,
    warm: bool,
    started: u64,
    up: bool,
    paused_until: u64,
    /// Groups that were read for a learner: they come in any order.
    groups_read: Vec<Event<Value>>,
    /// Whether the end of a connection was noticed here.
    noticed: BTreeMap<usize, bool>,
}

enum Packet {
    Connected,
    Message(Incarnation, Message<Value>),
}

/// A client's request in flight.
struct Request {
    host: usize,
    /// Its operations in the history.
    ops: Vec<usize>,
    /// What is on stable media when it ends.
    flushes: Vec<(usize, WriteSeq)>,
}

/// Content on its way to a client.
struct Reading {
    host: usize,
    incarnation: Incarnation,
    group: usize,
    value: Value,
    invoked: u64,
    generation: u64,
}

/// How much of each fault this seed has, in parts of a million per step.
struct Rates {
    partition: u64,
    heal: u64,
    cut_off: u64,
    restart: u64,
    restart_all: u64,
    pause: u64,
    pause_steps: u64,
    recover: u64,
}

/// How often something happened that a run is meant to reach.
pub type Counters = BTreeMap<&'static str, u64>;

pub struct World {
    random: Random,
    now: u64,
    hosts: Vec<Host>,
    wires: BTreeMap<(usize, usize), VecDeque<Packet>>,
    linked: BTreeSet<(usize, usize)>,
    blocked: BTreeSet<(usize, usize)>,
    cut_off: BTreeSet<usize>,
    control: Control,
    rates: Rates,
    history: Vec<Op>,
    requests: BTreeMap<OpId, Request>,
    readings: Vec<Reading>,
    flushed: [WriteSeq; GROUPS],
    next_value: Value,
    next_op: u64,
    pub counters: Counters,
    trace: bool,
}

fn name(host: usize) -> PoolId {
    PoolId(host as u128)
}

fn index(replica: PoolId) -> usize {
    usize::try_from(replica.0).unwrap()
}

fn pair(a: usize, b: usize) -> (usize, usize) {
    (a.min(b), a.max(b))
}

impl World {
    pub fn new(seed: u64, members_min: usize, trace: bool) -> Self {
        let mut random = Random::seeded(seed);
        let rates = Rates {
            partition: random.pick(&[2_000, 10_000, 30_000]),
            heal: random.pick(&[50_000, 200_000, 400_000]),
            cut_off: random.pick(&[0, 5_000, 20_000]),
            restart: random.pick(&[0, 2_000, 8_000, 20_000]),
            restart_all: random.pick(&[0, 80_000]),
            pause: random.pick(&[0, 4_000, 20_000]),
            pause_steps: random.pick(&[40, 150]),
            recover: random.pick(&[3_000, 15_000]),
        };
        let first = Configuration {
            epoch: Epoch(1),
            primary: name(0),
            members: BTreeMap::from([(name(0), Incarnation(1))]),
            members_min,
            cache_generation: 0,
            recovery: true,
        };
        let mut world = Self {
            random,
            now: 1,
            hosts: Vec::new(),
            wires: BTreeMap::new(),
            linked: BTreeSet::new(),
            blocked: BTreeSet::new(),
            cut_off: BTreeSet::new(),
            control: Control::new(first),
            rates,
            history: Vec::new(),
            requests: BTreeMap::new(),
            readings: Vec::new(),
            flushed: [WriteSeq::ZERO; GROUPS],
            next_value: 1,
            next_op: 1,
            counters: Counters::new(),
            trace,
        };
        for host in 0..REPLICAS {
            let media = Media::new();
            let replica = start(host, Incarnation(1), &media);
            let noticed = (0..REPLICAS).filter(|other| *other != host).map(|other| (other, true)).collect();
            let incarnation = Incarnation(1);
            world.hosts.push(Host {
                replica,
                media,
                incarnation,
                warm: true,
                started: 0,
                up: true,
                paused_until: 0,
                groups_read: Vec::new(),
                noticed,
            });
        }
        world
    }

    fn count(&mut self, what: &'static str) {
        *self.counters.entry(what).or_default() += 1;
    }

    fn time(&self) -> Instant {
        Instant(self.now * STEP_NS)
    }

    fn is_awake(&self, host: usize) -> bool {
        self.hosts[host].up && self.hosts[host].paused_until <= self.now
    }

    // What a replica does.

    fn handle(&mut self, host: usize, event: Event<Value>) -> Result<(), String> {
        let now = self.time();
        let mut effects = Vec::new();
        let Host { replica, media, .. } = &mut self.hosts[host];
        if self.trace {
            println!("{:5} {host} <- {event:?}", self.now);
        }
        let before = replica.status();
        replica.handle(now, event, media, &mut effects);
        let after = replica.status();
        if before.role != after.role {
            self.count(after.role);
        }
        self.carry_out(host, effects)
    }

    fn carry_out(&mut self, host: usize, effects: Vec<Effect<Value>>) -> Result<(), String> {
        for effect in effects {
            if self.trace {
                println!("{:5} {host} -> {effect:?}", self.now);
            }
            let now = self.now;
            let me = &mut self.hosts[host];
            match effect {
                Effect::Send { to, message } => {
                    if matches!(message, Message::Fetch { .. }) {
                        self.count("fetch");
                    }
                    let me = &self.hosts[host];
                    if self.linked.contains(&pair(host, index(to))) && me.noticed[&index(to)] {
                        let packet = Packet::Message(me.replica.incarnation(), message);
                        self.wires.entry((host, index(to))).or_default().push_back(packet);
                    }
                }
                Effect::Disconnect { peer } => self.break_link(host, index(peer)),
                Effect::Apply { entry } => me.media.entry(entry, Some(me.incarnation)),
                Effect::Relayed { entry } => me.media.entry(entry, None),
                Effect::StoreGroup { group, born, content } => me.media.store_group(group, born, content),
                Effect::ReadGroup { peer, group } => {
                    let content = Some(me.media.read(group));
                    me.groups_read.push(Event::GroupRead { peer, group, content });
                }
                Effect::Settle => me.media.settle(me.incarnation),
                Effect::Restamp { seq } => me.media.restamp(seq),
                Effect::KeepEpoch { epoch } => me.media.keep_epoch(epoch),
                Effect::KeepStable { seq } => me.media.keep_stable(seq),
                Effect::Propose(proposal) => self.control.proposals.push_back(proposal),
                Effect::Reincarnated { incarnation } => {
                    me.incarnation = incarnation;
                    (me.warm, me.started) = (true, now);
                }
                Effect::Completed { op } => self.completed(op),
                Effect::Deposed { ops } => {
                    self.count("deposed");
                    for op in ops {
                        self.requests.remove(&op);
                    }
                }
            }
        }
        Ok(())
    }

    fn completed(&mut self, op: OpId) {
        let request = self.requests.remove(&op).expect("a request ends once");
        for op in request.ops {
            self.history[op].returned = Some(self.now);
        }
        for (group, seq) in request.flushes {
            self.flushed[group] = self.flushed[group].max(seq);
        }
        self.count("completed");
    }

    // Clients.

    fn generation_at(&self, host: usize) -> Option<u64> {
        self.hosts[host].replica.configuration().map(|configuration| configuration.cache_generation)
    }

    fn act_as_client(&mut self) -> Result<(), String> {
        let serving: Vec<usize> = (0..REPLICAS)
            .filter(|host| self.is_awake(*host) && self.hosts[*host].replica.status().role == "primary")
            .collect();
        if serving.is_empty() {
            return Ok(());
        }
        let host = self.random.pick(&serving);
        match self.random.below(100) {
            0..50 => self.write(host),
            50..85 => {
                self.read(host);
                Ok(())
            }
            _ => self.flush(host),
        }
    }

    fn write(&mut self, host: usize) -> Result<(), String> {
        let first = self.random.below(GROUPS as u64);
        let blocks = if self.random.percent(15) && first + 1 < GROUPS as u64 { GROUP_BLOCKS + 1 } else { 1 };
        let range = BlockRange::new(first * u64::from(GROUP_BLOCKS), blocks);
        let value = self.next_value;
        let change = Change::Write { range, payload: value };
        let fua = self.random.percent(5);
        let groups = changes(&change);
        let (op, seq) = self.submit(host, change, fua)?;
        let Some(seq) = seq else { return Ok(()) };
        self.next_value += 1;
        let generation = self.generation_at(host).expect("a primary has a configuration");
        let mut request = Request { host, ops: Vec::new(), flushes: Vec::new() };
        for (group, value) in groups {
            request.ops.push(self.history.len());
            let invoked = self.now;
            self.history.push(Op { group, value, is_read: false, invoked, returned: None, generation, initial: false });
            if fua {
                request.flushes.push((group, seq));
            }
        }
        self.requests.insert(op, request);
        Ok(())
    }

    fn flush(&mut self, host: usize) -> Result<(), String> {
        let held: Vec<_> = self.hosts[host].media.now.iter().map(|version| version.seq).enumerate().collect();
        let (op, seq) = self.submit(host, Change::Flush, false)?;
        if seq.is_some() {
            self.requests.insert(op, Request { host, ops: Vec::new(), flushes: held });
        }
        Ok(())
    }

    fn submit(&mut self, host: usize, change: Change<Value>, fua: bool) -> Result<(OpId, Option<WriteSeq>), String> {
        let op = OpId(self.next_op);
        self.next_op += 1;
        let mut effects = Vec::new();
        let now = self.time();
        let seq = self.hosts[host].replica.submit(now, op, change, fua, &mut effects).ok();
        if self.trace {
            println!("{:5} {host} client {op:?} {seq:?}", self.now);
        }
        self.carry_out(host, effects)?;
        Ok((op, seq))
    }

    fn read(&mut self, host: usize) {
        let group = self.random.index(GROUPS);
        let range = BlockRange::new(group as u64 * u64::from(GROUP_BLOCKS), 1);
        let Host { replica, media, incarnation, .. } = &self.hosts[host];
        if replica.change_in_flight(range).is_some() {
            return;
        }
        let Some(generation) = self.generation_at(host) else { return };
        let (value, incarnation) = (media.now[group].value, *incarnation);
        let invoked = self.now;
        self.readings.push(Reading { host, incarnation, group, value, invoked, generation });
    }

    fn answer_reads(&mut self) {
        let now = self.time();
        for reading in std::mem::take(&mut self.readings) {
            let Reading { host, incarnation, group, value, invoked, generation } = reading;
            if self.hosts[host].up && !self.is_awake(host) {
                self.readings.push(reading);
                continue;
            }
            let host = &self.hosts[host];
            if !host.up || host.incarnation != incarnation || !host.replica.may_answer_reads(now) {
                continue;
            }
            *self.counters.entry("read").or_default() += 1;
            let returned = Some(self.now);
            self.history.push(Op { group, value, is_read: true, invoked, returned, generation, initial: false });
        }
    }

    // Connections.

    fn break_link(&mut self, a: usize, b: usize) {
        if self.linked.remove(&pair(a, b)) {
            self.wires.remove(&(a, b));
            self.wires.remove(&(b, a));
            self.hosts[a].noticed.insert(b, false);
            self.hosts[b].noticed.insert(a, false);
        }
    }

    fn notice(&mut self, host: usize) -> Result<(), String> {
        for other in (0..REPLICAS).filter(|other| *other != host) {
            if !self.hosts[host].noticed[&other] {
                self.hosts[host].noticed.insert(other, true);
                self.handle(host, Event::Disconnected { peer: name(other) })?;
            }
        }
        Ok(())
    }

    fn connect(&mut self) {
        for a in 0..REPLICAS {
            for b in a + 1..REPLICAS {
                let ready = |host: usize, other: usize| self.is_awake(host) && self.hosts[host].noticed[&other];
                let free = !self.blocked.contains(&(a, b)) && !self.blocked.contains(&(b, a));
                if !self.linked.contains(&(a, b)) && free && ready(a, b) && ready(b, a) && self.random.percent(20) {
                    self.linked.insert((a, b));
                    self.wires.insert((a, b), VecDeque::from([Packet::Connected]));
                    self.wires.insert((b, a), VecDeque::from([Packet::Connected]));
                }
            }
        }
    }

    fn deliver(&mut self, from: usize, to: usize) -> Result<(), String> {
        if self.blocked.contains(&(from, to)) || !self.is_awake(to) {
            return Ok(());
        }
        self.notice(to)?;
        match self.wires.get_mut(&(from, to)).and_then(VecDeque::pop_front) {
            None => Ok(()),
            Some(Packet::Connected) => self.handle(to, Event::Connected { peer: name(from) }),
            Some(Packet::Message(incarnation, message)) => {
                self.handle(to, Event::Received { from: name(from), incarnation, message })
            }
        }
    }

    // Time.

    fn look(&mut self, host: usize) -> Result<(), String> {
        self.notice(host)?;
        if !self.cut_off.contains(&host) {
            let Host { incarnation, warm, started: since, .. } = self.hosts[host];
            self.control.registered.insert(name(host), Registration { incarnation, warm, since });
            self.handle(host, Event::Configured(self.control.decided.clone()))?;
        }
        self.handle(host, Event::Tick)
    }

    fn persist(&mut self, host: usize, count: u64) -> Result<(), String> {
        for _ in 0..count {
            if !self.is_awake(host) {
                return Ok(());
            }
            let reads = self.hosts[host].groups_read.len();
            if reads > 0 && self.random.percent(50) {
                let read = self.random.index(reads);
                let event = self.hosts[host].groups_read.swap_remove(read);
                self.handle(host, event)?;
            }
            let event = match self.hosts[host].media.persist() {
                None => return Ok(()),
                Some(Done::Nothing) => continue,
                Some(Done::Applied { incarnation, applied, durable }) => {
                    Event::Applied { incarnation, applied, durable }
                }
                Some(Done::GroupStored) => Event::GroupStored,
                Some(Done::EpochKept { epoch }) => Event::EpochKept { epoch },
                Some(Done::Restamped) => Event::Restamped,
                Some(Done::Settled { incarnation }) => Event::Settled { incarnation },
            };
            self.handle(host, event)?;
        }
        Ok(())
    }

    fn step(&mut self) -> Result<(), String> {
        self.now += 1;
        for _ in 0..2 {
            let from = self.random.index(REPLICAS);
            let to = (from + 1 + self.random.index(REPLICAS - 1)) % REPLICAS;
            for _ in 0..=self.random.below(4) {
                self.deliver(from, to)?;
            }
        }
        let host = self.random.index(REPLICAS);
        match self.random.below(100) {
            0..35 => self.act_as_client()?,
            _ if !self.hosts[host].up => {
                if self.random.percent(25) {
                    self.hosts[host].up = true;
                }
            }
            _ if self.is_awake(host) => self.look(host)?,
            _ => {}
        }
        let host = self.random.index(REPLICAS);
        let count = self.random.below(6);
        self.persist(host, count)?;
        self.connect();
        self.answer_reads();
        self.fail()?;
        if self.random.percent(25) {
            let cut_off = &self.cut_off;
            self.control.decide(&mut self.random, |replica| cut_off.contains(&index(replica)));
        }
        self.check()
    }

    // Faults.

    fn fail(&mut self) -> Result<(), String> {
        let host = self.random.index(REPLICAS);
        if self.random.ppm(self.rates.partition) {
            self.partition();
        }
        if !self.blocked.is_empty() && self.random.ppm(self.rates.partition * self.rates.heal / 1_000_000 * 3) {
            self.blocked.clear();
        }
        if self.random.ppm(self.rates.cut_off) {
            self.cut_off.insert(host);
        }
        if !self.cut_off.is_empty() && self.random.ppm(self.rates.cut_off * self.rates.heal / 1_000_000 * 3) {
            self.cut_off.clear();
        }
        if self.random.ppm(self.rates.restart) && self.hosts[host].up {
            let cold = self.random.percent(50);
            self.restart(host, cold);
            self.hosts[host].up = self.random.percent(60);
            if self.random.ppm(self.rates.restart_all) {
                for host in 0..REPLICAS {
                    let cold = self.random.percent(80);
                    self.restart(host, cold);
                }
            }
        }
        if self.random.ppm(self.rates.pause) {
            self.hosts[host].paused_until = self.now + 5 + self.random.below(self.rates.pause_steps);
        }
        if self.random.ppm(self.rates.recover) { self.recover() } else { Ok(()) }
    }

    fn partition(&mut self) {
        let a = self.random.index(REPLICAS);
        let b = (a + 1 + self.random.index(REPLICAS - 1)) % REPLICAS;
        match self.random.below(10) {
            0..3 => self.break_link(a, b),
            3..7 => self.blocked.extend([(a, b), (b, a)]),
            7 => {
                self.blocked.insert((a, b));
            }
            _ => {
                for other in (0..REPLICAS).filter(|other| *other != a) {
                    self.blocked.extend([(a, other), (other, a)]);
                }
            }
        }
    }

    fn restart(&mut self, host: usize, cold: bool) {
        for other in (0..REPLICAS).filter(|other| *other != host) {
            self.break_link(host, other);
            self.hosts[host].noticed.insert(other, true);
        }
        self.requests.retain(|_, request| request.host != host);
        self.count(if cold { "power lost" } else { "killed" });
        let me = &mut self.hosts[host];
        if cold {
            me.media.power_lost(&mut self.random);
        } else {
            me.media.killed();
        }
        me.groups_read.clear();
        me.incarnation.0 += 1;
        (me.warm, me.started) = (!cold, self.now);
        me.replica = start(host, me.incarnation, &me.media);
        if self.trace {
            println!("{:5} {host} restarted, cold: {cold}", self.now);
        }
    }

    /// When no member is as it was, the control plane goes on from one of them.
    fn recover(&mut self) -> Result<(), String> {
        let is_there = |host: usize| self.hosts[host].up && !self.cut_off.contains(&host);
        let alive = self.control.decided.members.iter().any(|(replica, incarnation)| {
            let host = index(*replica);
            is_there(host)
                && self.hosts[host].incarnation == *incarnation
                && self.control.registered.get(replica).is_some_and(|found| found.incarnation == *incarnation)
        });
        if alive {
            return Ok(());
        }
        let mut sources = self.control.sources();
        sources.retain(|source| {
            let host = index(source.replica);
            is_there(host)
                && self.hosts[host].incarnation == source.incarnation
                && self.now - self.hosts[host].started > PROMISE
        });
        if sources.iter().any(|source| source.warm) {
            sources.retain(|source| source.warm);
        }
        if sources.is_empty() {
            return Ok(());
        }
        let source = sources[self.random.index(sources.len())];
        self.control.recover(source);
        self.count("recovery");
        if source.warm {
            return Ok(());
        }
        self.count("cold recovery");
        for group in 0..GROUPS {
            let version = self.hosts[index(source.replica)].media.now[group];
            if version.seq < self.flushed[group] {
                return Err(format!("I11: the source of a recovery lost group {group}, which was flushed"));
            }
            self.history.push(Op {
                group,
                value: version.value,
                is_read: false,
                invoked: 0,
                returned: Some(0),
                generation: self.control.decided.cache_generation,
                initial: true,
            });
        }
        Ok(())
    }

    // What must hold.

    fn check(&self) -> Result<(), String> {
        let now = self.time();
        for replica in self.control.decided.members.keys() {
            let media = &self.hosts[index(*replica)].media;
            for group in 0..GROUPS {
                if media.durable_version(group) < self.flushed[group] {
                    return Err(format!(
                        "I5: member {} may lose group {group}: {} is durable, {} was flushed",
                        replica.0,
                        media.durable_version(group),
                        self.flushed[group]
                    ));
                }
            }
        }
        let serving = self.hosts.iter().filter(|host| host.up && host.replica.may_answer_reads(now)).count();
        if serving > 1 { Err(format!("I2: {serving} replicas may answer reads")) } else { Ok(()) }
    }

    fn heal(&mut self) -> Result<(), String> {
        self.blocked.clear();
        self.cut_off.clear();
        for host in &mut self.hosts {
            host.up = true;
            host.paused_until = 0;
        }
        let mut flushed = false;
        for _ in 0..HEALING_STEPS {
            self.now += 1;
            for a in 0..REPLICAS {
                for b in 0..REPLICAS {
                    if a != b {
                        self.deliver(a, b)?;
                    }
                }
                self.persist(a, 4)?;
            }
            self.control.decide(&mut self.random, |_| false);
            let host = self.random.index(REPLICAS);
            self.look(host)?;
            self.connect();
            self.answer_reads();
            if self.random.percent(5) {
                self.recover()?;
            }
            self.check()?;
            if self.is_settled() && (!flushed || self.is_announced()) {
                if flushed {
                    self.count("healed");
                    return self.compare();
                }
                flushed = true;
                self.flush(index(self.control.decided.primary))?;
            }
        }
        let states: Vec<_> = self.hosts.iter().map(|host| host.replica.status()).collect();
        Err(format!("L1: not well after {HEALING_STEPS} steps: {:?} {states:?}", self.control.decided))
    }

    fn is_settled(&self) -> bool {
        let decided = &self.control.decided;
        let received = self.hosts[0].replica.status().received;
        decided.members.len() == REPLICAS
            && self.requests.is_empty()
            && self.hosts.iter().enumerate().all(|(host, state)| {
                let status = state.replica.status();
                let role = if decided.primary == name(host) { "primary" } else { "backup" };
                status.role == role && status.epoch == decided.epoch && status.received == received
            })
            && self.hosts.iter().all(|host| !host.media.has_work())
    }

    /// Whether every replica has heard of the last flush.
    fn is_announced(&self) -> bool {
        let stable = |host: &Host| host.media.stable();
        self.hosts.iter().all(|host| stable(host) == stable(&self.hosts[0]))
    }

    fn compare(&self) -> Result<(), String> {
        for group in 0..GROUPS {
            let values: BTreeSet<Value> = self.hosts.iter().map(|host| host.media.now[group].value).collect();
            if values.len() > 1 {
                return Err(format!("I10: the replicas of group {group} differ: {values:?}"));
            }
        }
        for (host, state) in self.hosts.iter().enumerate() {
            let dirty = state.media.changed_since(state.media.stable());
            if !dirty.is_empty() {
                return Err(format!("I10: replica {host} is dirty after a flush: {dirty:?}"));
            }
        }
        Ok(())
    }

    pub fn run(mut self) -> Result<Counters, String> {
        for _ in 0..STEPS {
            self.step()?;
        }
        self.heal()?;
        history::check(&self.history)?;
        Ok(self.counters)
    }
}

fn start(host: usize, incarnation: Incarnation, media: &Media) -> Replica<Value> {
    Replica::new(Start {
        me: name(host),
        incarnation,
        epoch_seen: media.epoch(),
        stable: media.stable(),
        last: media.last,
        times: times(),
    })
}
