//! Schedules of faults drawn from seeds, each on a volume of its own under a client that checks every answer. At the end
//! of each everything comes right: the volume becomes whole, all that the client may find is there, and the replicas are
//! equal: every one is read from its disk while it is used, and now and then the pools are looked at offline as well.
//! `make chaos SCHEDULES=500 FIRST=1`; a seed repeats its schedule.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use tests::checked::{CheckedClient, Habits, Load};
use tests::cluster::{Cluster, Role, VolumeView};
use tests::namespaces;
use tests::pools;
use tests::skip::skip;
use tests::wait;

use crate::gaps::Gaps;
use crate::schedule::{Fault, Schedule};

/// Volumes of schedules: more groups than are copied at once.
const SIZE: &str = "12MiB";
/// Blocks that the client uses: all groups of them.
const BLOCKS: u64 = 3000;
/// How long a volume may take to be whole when everything is right.
const WHOLE_PATIENCE: Duration = Duration::from_secs(90);
/// The pools of every so manieth schedule are compared offline, too.
const OFFLINE_EVERY: u64 = 10;
/// Before everything comes right after the last fault.
const LAST_FAULT: Duration = Duration::from_millis(300);
/// Before a client that is not served looks whether it has to attach again.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// Volumes that are made at a time, for schedules to come: each must come right after every schedule.
const MADE_AHEAD: u64 = 6;
/// How long the client may wait for an answer then.
const SERVED_PATIENCE: Duration = Duration::from_secs(60);

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|number| number.parse().ok()).unwrap_or(otherwise)
}

#[test]
fn a_volume_survives_any_schedule_of_faults() {
    if let Some(why) = namespaces::why_no_faults() {
        return skip("a_volume_survives_any_schedule_of_faults", &why);
    }
    let (first, count) = (number("FIRST", 1), number("SCHEDULES", 4));
    let mut run = Run::start(first + count);
    let begin = Instant::now();
    for seed in first..first + count {
        let at = Instant::now();
        let schedule = Schedule::draw(seed);
        println!("FIRST={seed}: {schedule}");
        let (answers, blocks) = run.survive(seed, &schedule);
        let waits = std::mem::take(&mut run.waits).join(", ");
        println!("FIRST={seed}: {answers} answers, {blocks} equal blocks, {:.1?}: {waits}", at.elapsed());
    }
    println!("\n{}", run.gaps);
    let minutes = begin.elapsed().as_secs_f64() / 60.0;
    println!("{count} schedules, {:.1} a minute", f64::from(u32::try_from(count).unwrap()) / minutes);
}

/// The cluster that all schedules run on.
struct Run {
    cluster: Cluster,
    gaps: Gaps,
    paused: BTreeSet<&'static str>,
    voters_away: Vec<u64>,
    /// Seeds below which volumes are made, and all that are to be run.
    made: u64,
    end: u64,
    /// Whether the nodes that run lose power when they are killed.
    loses_power: bool,
    /// The volume of the present schedule.
    volume: String,
    /// What the present schedule took its time for.
    waits: Vec<String>,
    since: Instant,
}

impl Run {
    fn start(end: u64) -> Self {
        let cluster = Cluster::small_in_namespaces();
        cluster.enter_as_client();
        Self {
            cluster,
            gaps: Gaps::default(),
            paused: BTreeSet::new(),
            voters_away: Vec::new(),
            made: 0,
            end,
            loses_power: false,
            volume: String::new(),
            waits: Vec::new(),
            since: Instant::now(),
        }
    }

    /// Notes how long something took that ends now.
    fn took(&mut self, what: &str) {
        let before = std::mem::replace(&mut self.since, Instant::now());
        self.waits.push(format!("{what} {:.1} s", before.elapsed().as_secs_f64()));
    }

    /// All nodes run, and lose power when they are killed or do not.
    fn prepare(&mut self, seed: u64, schedule: &Schedule) {
        self.cluster.power = schedule.loses_power.then_some(seed);
        if self.loses_power != schedule.loses_power {
            // To end in good order one after the other takes longer.
            self.cluster.kill_nodes();
        }
        self.loses_power = schedule.loses_power;
        self.cluster.start_nodes();
        self.cluster.settle();
    }

    /// The volume of a schedule, whole.
    fn volume_of(&mut self, seed: u64) -> VolumeView {
        if seed >= self.made {
            self.made = (seed + MADE_AHEAD).min(self.end);
            for ahead in seed..self.made {
                self.cluster.ask_for_replicated(&format!("v{ahead}"), SIZE);
            }
        }
        self.cluster.whole(&self.volume, WHOLE_PATIENCE)
    }

    fn stop_nodes(&mut self) {
        for node in self.cluster.node_names() {
            if self.cluster.is_started(&node) {
                self.cluster.stop_node(&node);
            }
        }
    }

    /// Runs a schedule; answers how much was answered, and how many blocks are equal.
    fn survive(&mut self, seed: u64, schedule: &Schedule) -> (usize, usize) {
        let name = format!("v{seed}");
        self.since = Instant::now();
        self.volume.clone_from(&name);
        self.prepare(seed, schedule);
        self.took("preparing");
        let view = self.volume_of(seed);
        let habits = Habits { blocks: BLOCKS, ..Habits::default() };
        let client = CheckedClient::new(self.cluster.shell().attach(&name, "host1"), habits, seed);
        let mut load = Load::start(client);
        self.took("making");
        let mut kind = "nothing yet";
        for step in &schedule.steps {
            // A fault tells its gap in what follows, until the next one.
            load.go_on(step.after);
            self.gap(&load, kind);
            load.mark();
            self.make(&step.fault);
            kind = step.fault.kind();
        }
        load.go_on(LAST_FAULT);
        self.gap(&load, kind);
        self.took("faults");
        self.come_right();
        load = self.serve_again(&name, load, schedule.loses_power);
        self.took("serving again");
        let latency = load.take_latency().map_or(0, |latency| latency.answers);
        let whole = self.cluster.whole(&name, WHOLE_PATIENCE);
        self.took("being whole");
        let mut client = load.stop();
        client.check_all(SERVED_PATIENCE).unwrap_or_else(|broken| panic!("FIRST={seed}: {broken}"));
        client.hang_up();
        let verified = self.cluster.verify(&name, WHOLE_PATIENCE);
        let mut blocks = usize::try_from(verified.unwrap_or_else(|found| panic!("FIRST={seed}: {found}"))).unwrap();
        if seed.is_multiple_of(OFFLINE_EVERY) {
            blocks = self.compare(seed, &view, &whole);
        }
        self.cluster.run(&["volume", "delete", &name, "--force", "--no-wait"]);
        self.took("checking");
        (latency, blocks)
    }

    /// Waits until the client is served. That all members lost power may be noticed late: a node that was killed just now
    /// is primary for a moment yet, as far as is known.
    fn serve_again(&mut self, name: &str, mut load: Load, may_lose: bool) -> Load {
        let since = Instant::now();
        loop {
            load = self.attach_again(name, load, may_lose);
            if load.hears_answers(100, LOOK_AGAIN) {
                return load;
            }
            assert!(since.elapsed() < SERVED_PATIENCE, "{name} did not serve within {SERVED_PATIENCE:?}");
        }
    }

    /// When all members lost power, what was acknowledged and not flushed may be gone: the client's attachment has ended,
    /// and that is the only way in which it may.
    fn attach_again(&mut self, name: &str, load: Load, may_lose: bool) -> Load {
        let shell = self.cluster.shell();
        let view = wait::until("a primary", || shell.look(name).filter(|view| view.primary.is_some()));
        if view.phase != "needs_attach" && !view.clients.is_empty() {
            return load;
        }
        assert!(may_lose, "{name} lost its client though no power was lost: {view:?}");
        let mut client = load.stop();
        client.power_lost();
        client.move_to(shell.attach(name, "host1"));
        Load::start(client)
    }

    fn gap(&mut self, load: &Load, what: &str) {
        self.gaps.add(what, load.longest());
    }

    fn make(&mut self, fault: &Fault) {
        self.start_voters();
        match fault {
            Fault::Kill(node) => {
                self.paused.remove(node);
                self.cluster.kill_node(node);
            }
            Fault::KillAll => {
                self.paused.clear();
                self.cluster.kill_nodes();
                self.cluster.start_nodes();
            }
            Fault::Stop(node) if self.cluster.is_started(node) && !self.paused.contains(node) => {
                self.cluster.stop_node(node);
            }
            Fault::Pause(node) if self.cluster.is_started(node) => {
                self.paused.insert(node);
                self.cluster.pause_node(node);
            }
            Fault::Stop(_) | Fault::Pause(_) => {}
            Fault::StartAll => self.cluster.start_nodes(),
            Fault::Resume => self.resume(),
            Fault::Cut(from, to) => self.cluster.cut(from, to),
            Fault::Deafen(node) => self.cluster.cut_towards(node),
            Fault::Mute(node) => self.cluster.cut_from(node),
            Fault::Lose(percent) => self.cluster.lose_some(*percent),
            Fault::Heal => self.cluster.heal(),
            Fault::KillLeader => self.kill_leader(),
        }
    }

    fn kill_leader(&mut self) {
        if let Some(leader) = self.cluster.status().and_then(|status| status["leader"].as_u64()).filter(|id| *id > 0) {
            self.cluster.kill_voter(leader);
            self.voters_away.push(leader);
        }
    }

    fn start_voters(&mut self) {
        for voter in std::mem::take(&mut self.voters_away) {
            self.cluster.start_voter(voter, Role::Joiner);
        }
    }

    fn resume(&mut self) {
        for node in std::mem::take(&mut self.paused) {
            self.cluster.resume_node(node);
        }
    }

    /// Everything works from now on.
    fn come_right(&mut self) {
        self.cluster.heal();
        self.resume();
        self.start_voters();
        self.cluster.start_nodes();
    }

    /// Ends all nodes in good order, and compares what they have. They come back for the next schedule.
    fn compare(&mut self, seed: u64, view: &VolumeView, whole: &VolumeView) -> usize {
        self.stop_nodes();
        let paths: Vec<_> = whole.nodes.iter().map(|node| self.cluster.pool_path(node)).collect();
        let compared = pools::compare(&paths, view.id);
        compared.unwrap_or_else(|difference| panic!("FIRST={seed}: {difference}"))
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if thread::panicking() {
            let explained = self.cluster.shell().plinth(&["explain", "volume", &self.volume, "--timeout", "5"]);
            println!("{}", String::from_utf8_lossy(&explained.stdout));
            println!("{:?}\n{}", self.cluster.shell().look(&self.volume), self.cluster.last_words());
        }
    }
}
