//! Three replicas, their stores, connections, clients and a control plane, and everything that can go wrong between them.
//! One seed is one run.

mod checks;
mod clients;
mod clones;
mod faults;
mod snapshots;
mod traps;
mod wires;
mod wishes;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use block::{Epoch, GroupIndex, Incarnation, Instant, PoolId, SnapshotId, WriteSeq};
use replication::wire::Lane;
use replication::{Configuration, Effect, Entry, Event, Message, OpId, ReadId, Replica, Snapshot, Start, Times};

use crate::control::{Control, Registration};
use crate::history::{self, Op};
use crate::media::{Done, GROUPS, Media, Value};
use crate::world::snapshots::Cuts;
use tests::random::Random;

/// One step of the world.
const STEP_NS: u64 = 40_000_000;
/// Steps for which a backup keeps its promise.
const PROMISE: u64 = 34;
/// Steps with faults.
const STEPS: u64 = 900;
/// Steps within which all must be well again without them.
const HEALING_STEPS: u64 = 6000;
/// Between two flushes at the end.
const FLUSH_INTERVAL: u64 = 200;

fn times() -> Times {
    let steps = |count: u64| std::time::Duration::from_nanos(count * STEP_NS);
    Times {
        heartbeat: steps(5),
        lease: steps(25),
        promise: steps(PROMISE),
        removal: steps(18),
        reconnect: steps(4),
        stall: steps(40),
        stall_pause: steps(20),
        retry: steps(8),
        join_retry: steps(30),
        hand_over: steps(25),
        hand_over_pause: steps(100),
    }
}

/// What a replica wants of its store, as long as that is too busy to take it.
enum Order {
    Entry { entry: Entry<Value>, own: Option<Incarnation> },
    Group { group: GroupIndex, born: WriteSeq, content: Value },
    Read { id: ReadId, peer: PoolId, group: GroupIndex, from: Option<SnapshotId> },
    Cut { snapshot: Snapshot },
    Drop { id: SnapshotId },
    Settle { incarnation: Incarnation },
    Restamp { seq: WriteSeq },
    Epoch { epoch: Epoch },
}

/// One process with its replica.
struct Host {
    orders: VecDeque<Order>,
    /// The store takes nothing before.
    busy_until: u64,
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

impl Host {
    fn order(&mut self, order: Order) {
        self.orders.push_back(order);
    }

    /// What the store was not given is not given any more.
    fn forget(&mut self) {
        self.orders.retain(|order| matches!(order, Order::Epoch { .. }));
    }

    /// The store takes what waits, if it takes anything.
    fn give(&mut self, now: u64) {
        while now >= self.busy_until
            && let Some(order) = self.orders.pop_front()
        {
            match order {
                Order::Entry { entry, own } => self.media.entry(entry, own),
                Order::Group { group, born, content } => self.media.store_group(group, born, content),
                Order::Read { id, peer, group, from } => {
                    let content = self.media.read(group, from);
                    self.groups_read.push(Event::GroupRead { id, peer, content });
                }
                Order::Cut { snapshot } => self.media.cut(snapshot),
                Order::Drop { id } => self.media.drop_snapshot(id),
                Order::Settle { incarnation } => self.media.settle(incarnation),
                Order::Restamp { seq } => self.media.restamp(seq),
                Order::Epoch { epoch } => self.media.keep_epoch(epoch),
            }
        }
    }

    fn is_idle(&self) -> bool {
        self.orders.is_empty() && !self.media.has_work()
    }
}

/// One direction of the connections between two nodes: one for each kind of messages, which do not wait for each other.
#[derive(Default)]
struct Wire {
    connected: bool,
    lane: Lane,
    queues: [VecDeque<(Incarnation, Message<Value>)>; 3],
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
#[derive(Default)]
struct Rates {
    partition: u64,
    heal: u64,
    cut_off: u64,
    restart: u64,
    restart_all: u64,
    pause: u64,
    pause_steps: u64,
    /// In hundredths.
    reconnect: u64,
    /// In hundredths.
    teach: u64,
    busy: u64,
    recover: u64,
    hand_over: u64,
    stick: u64,
    force: u64,
    want: u64,
    snapshot: u64,
}

/// How often something happened that a run is meant to reach.
pub type Counters = BTreeMap<&'static str, u64>;

pub struct World {
    random: Random,
    now: u64,
    hosts: Vec<Host>,
    wires: BTreeMap<(usize, usize), Wire>,
    /// Everything goes over one connection.
    one_connection: bool,
    /// The volume began as a clone: replicas that are made may be clones, too.
    is_clone: bool,
    /// Connections that deliver nothing for a while: from, to, which.
    stuck: BTreeSet<(usize, usize, usize)>,
    linked: BTreeSet<(usize, usize)>,
    blocked: BTreeSet<(usize, usize)>,
    cut_off: BTreeSet<usize>,
    /// Their stores persist nothing.
    held: BTreeSet<usize>,
    control: Control,
    rates: Rates,
    history: Vec<Op>,
    requests: BTreeMap<OpId, Request>,
    readings: Vec<Reading>,
    flushed: [WriteSeq; GROUPS],
    next_value: Value,
    next_op: u64,
    cuts: Cuts,
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
            busy: random.pick(&[0, 5_000, 30_000]),
            reconnect: 20,
            teach: random.pick(&[10, 50, 100]),
            recover: random.pick(&[3_000, 15_000]),
            hand_over: random.pick(&[0, 10_000]),
            stick: random.pick(&[0, 30_000, 100_000]),
            force: random.pick(&[0, 0, 0, 2_000]),
            want: random.pick(&[0, 3_000, 15_000]),
            snapshot: random.pick(&[0, 5_000, 30_000]),
        };
        // One replica more where some are not wanted now and then.
        let hosts = if rates.want > 0 { 4 } else { 3 };
        let one_connection = seed.is_multiple_of(3);
        let mut world = Self { one_connection, trace, ..Self::of(hosts, members_min, random, rates) };
        if seed % 5 == 2 {
            world.become_clone();
        }
        world
    }

    /// So many replicas; the first one is primary.
    fn of(hosts: usize, members_min: usize, random: Random, rates: Rates) -> Self {
        let first = Configuration {
            epoch: Epoch(1),
            primary: name(0),
            members: BTreeMap::from([(name(0), Incarnation(1))]),
            members_min,
            cache_generation: 0,
            history: Epoch(1),
            recovery: true,
        };
        let mut world = Self {
            random,
            now: 1,
            hosts: Vec::new(),
            wires: BTreeMap::new(),
            one_connection: false,
            is_clone: false,
            stuck: BTreeSet::new(),
            linked: BTreeSet::new(),
            blocked: BTreeSet::new(),
            cut_off: BTreeSet::new(),
            held: BTreeSet::new(),
            control: Control::new(first),
            rates,
            history: Vec::new(),
            requests: BTreeMap::new(),
            readings: Vec::new(),
            flushed: [WriteSeq::ZERO; GROUPS],
            next_value: 1,
            next_op: 1,
            cuts: Cuts::default(),
            counters: Counters::new(),
            trace: false,
        };
        for host in 0..hosts {
            let media = Media::new();
            let replica = start(host, Incarnation(1), &media);
            let noticed = (0..hosts).filter(|other| *other != host).map(|other| (other, true)).collect();
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
                orders: VecDeque::new(),
                busy_until: 0,
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
        match (before.role, after.role) {
            (before, after) if before == after => {}
            ("joining", "out") => self.count("joining ended early"),
            ("candidate", "backup") => self.count("candidate lost"),
            ("primary", "backup") => self.count("handed over"),
            (_, after) => self.count(after),
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
                        let packet = (me.replica.incarnation(), message);
                        let wire = self.wires.get_mut(&(host, index(to))).expect("linked");
                        let channel = if self.one_connection { 0 } else { wire.lane.next(&packet.1) as usize - 1 };
                        wire.queues[channel].push_back(packet);
                    }
                }
                Effect::Disconnect { peer } => self.break_link(host, index(peer)),
                Effect::Apply { entry } => me.order(Order::Entry { entry, own: Some(me.incarnation) }),
                Effect::Relayed { entry } => me.order(Order::Entry { entry, own: None }),
                Effect::StoreGroup { group, born, content } => me.order(Order::Group { group, born, content }),
                Effect::ReadGroup { id, peer, group, from } => {
                    me.order(Order::Read { id, peer, group, from });
                    self.count_if(from.is_some(), "layer read");
                }
                Effect::Cut { snapshot } => {
                    me.order(Order::Cut { snapshot });
                    self.count("layer cut");
                }
                Effect::DropSnapshot { id } => {
                    me.order(Order::Drop { id });
                    self.count("ghost dropped");
                }
                Effect::Settle => me.order(Order::Settle { incarnation: me.incarnation }),
                Effect::Restamp { seq } => me.order(Order::Restamp { seq }),
                Effect::KeepEpoch { epoch } => me.order(Order::Epoch { epoch }),
                Effect::Forget => me.forget(),
                Effect::KeepStable { seq } => me.media.keep_stable(seq),
                Effect::Propose(proposal) => self.control.proposals.push_back(proposal),
                Effect::Reincarnated { incarnation } => {
                    me.forget();
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
        let now = self.now;
        self.hosts[host].give(now);
        Ok(())
    }

    fn look(&mut self, host: usize) -> Result<(), String> {
        self.notice(host)?;
        if !self.cut_off.contains(&host) {
            let Host { incarnation, warm, started: since, .. } = self.hosts[host];
            self.control.registered.insert(name(host), Registration { incarnation, warm, since });
            self.handle(host, Event::Wanted(self.control.wanted.clone()))?;
            self.handle(host, Event::Configured(self.control.decided.clone()))?;
        }
        self.handle(host, Event::Tick)?;
        self.see_to_snapshots(host)?;
        match self.hosts[host].replica.lessons_wanted() {
            wanted if wanted > 0 && self.random.percent(self.rates.teach) => {
                let groups = 1 + u32::try_from(self.random.below(u64::from(wanted))).expect("a few");
                self.handle(host, Event::Teach { groups })
            }
            _ => Ok(()),
        }
    }

    fn persist(&mut self, host: usize, count: u64) -> Result<(), String> {
        for _ in 0..count {
            if !self.is_awake(host) {
                return Ok(());
            }
            let now = self.now;
            self.hosts[host].give(now);
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
        let hosts = self.hosts.len();
        for _ in 0..2 {
            let from = self.random.index(hosts);
            let to = (from + 1 + self.random.index(hosts - 1)) % hosts;
            for _ in 0..=self.random.below(4) {
                self.deliver(from, to)?;
            }
        }
        let host = self.random.index(hosts);
        match self.random.below(100) {
            0..35 => self.act_as_client()?,
            _ if !self.hosts[host].up => self.hosts[host].up = self.random.percent(25),
            _ if self.is_awake(host) => self.look(host)?,
            _ => {}
        }
        let host = self.random.index(hosts);
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

    pub fn run(mut self) -> Result<Counters, String> {
        for _ in 0..STEPS {
            self.step()?;
        }
        self.heal()?;
        self.note_cuts();
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
