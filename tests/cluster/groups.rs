//! Group snapshots while nodes die, stand still, and the control plane loses its leader: each is one instant of two volumes
//! on different primaries, or is not there at all.
//!
//! `make groups GROUPS=1000 SEED=1`; a seed repeats the faults.

mod fault;
mod ordered;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tests::cluster::{Cluster, Shell};
use tests::namespaces;
use tests::random::Random;
use tests::skip::skip;
use tests::wait;

use fault::{Fault, Faults};
use ordered::{Door, Progress, SLOTS, Shown, Window, check, write};

/// The first is written to before the second.
const VOLUMES: [&str; 2] = ["cause", "effect"];
const SIZE_BYTES: u64 = SLOTS * 4096;
/// Groups that wait to be looked at: few, so that they are looked at between faults as well.
const UNCHECKED_MAX: usize = 4;
/// How long a group may be neither ready nor failed, with a leader killed meanwhile.
const DECIDED_MAX: Duration = Duration::from_secs(60);

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// A cluster with both volumes.
fn start(test: &str) -> Option<Cluster> {
    if let Some(why) = namespaces::why_no_faults() {
        skip(test, &why);
        return None;
    }
    let cluster = Cluster::in_namespaces();
    cluster.enter_as_client();
    for volume in VOLUMES {
        cluster.create_replicated(volume, &SIZE_BYTES.to_string());
    }
    Some(cluster)
}

fn door(shell: &Shell, volume: &str) -> Door {
    Door::new(shell.attach(volume, "ordered"))
}

/// The snapshots `NAME-cause` and `NAME-effect` show one instant.
fn one_instant(shell: &Shell, name: &str, window: Window) -> Result<Shown, String> {
    let clones = VOLUMES.map(|volume| {
        let (snapshot, clone) = (format!("{name}-{volume}"), format!("{name}-{volume}-read"));
        let create = ["volume", "create", &clone, "--from-snapshot", &snapshot, "--replicas", "1", "--timeout", "30"];
        let mut said = String::new();
        let made = wait::within(DECIDED_MAX, || {
            let output = shell.plinth(&create);
            said = String::from_utf8_lossy(&output.stderr).into_owned();
            (output.status.success() || said.contains("is there already")).then_some(())
        });
        assert!(made.is_some(), "{clone}: {said}");
        clone
    });
    let [mut cause, mut effect] = clones.each_ref().map(|clone| door(shell, clone));
    let shown = check(&mut cause, &mut effect, window).map_err(|wrong| {
        let explained = clones.each_ref().map(|clone| shell.plinth(&["explain", "volume", clone, "--timeout", "5"]));
        let explained = explained.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        format!("{wrong}\n{}", explained.join("\n"))
    });
    shell.run(&["volume", "delete", &clones[0], &clones[1], "--force", "--no-wait"]);
    shown
}

/// What became of a group.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Fate {
    Ready,
    Failed,
}

/// Waits until a group is ready, or is not there; then none of its snapshots is.
fn fate(shell: &Shell, name: &str) -> Fate {
    let decided = wait::within(DECIDED_MAX, || {
        let output = shell.plinth(&["snapshot", "group", "show", name, "-o", "json", "--timeout", "10"]);
        match output.status.code() {
            Some(0) => {
                let group: Value = serde_json::from_slice(&output.stdout).expect("JSON");
                (group["ready"] == true).then_some(Fate::Ready)
            }
            Some(3) => Some(Fate::Failed),
            Some(_) | None => None,
        }
    });
    let decided = decided.unwrap_or_else(|| panic!("{name} is neither ready nor failed"));
    let listed = shell.json(&["snapshot", "list"]);
    let is_of_it = |one: &&Value| VOLUMES.iter().any(|volume| one["name"] == format!("{name}-{volume}"));
    let (there, ready): (Vec<_>, Vec<_>) = {
        let all: Vec<&Value> = listed.as_array().expect("a list").iter().filter(is_of_it).collect();
        (all.clone(), all.into_iter().filter(|one| one["ready"] == true).collect())
    };
    match decided {
        Fate::Ready => assert_eq!(ready.len(), VOLUMES.len(), "all or none: {there:?}"),
        Fate::Failed => assert!(there.is_empty(), "all or none: {there:?}"),
    }
    decided
}

/// A group to be looked at.
struct Taken {
    name: String,
    window: Window,
}

/// Looks at groups as they come, and deletes them; answers how many showed a cause without its effect, which is allowed.
fn look_at_all(shell: &Shell, taken: &Receiver<Taken>, seed: u64) -> u64 {
    let mut between = 0;
    for Taken { name, window } in taken {
        let shown = one_instant(shell, &name, window);
        let shown = shown.unwrap_or_else(|wrong| panic!("SEED={seed}: group {name}, {window:?}: {wrong}"));
        between += u64::from(shown.cause > shown.effect);
        let gone = || shell.plinth(&["snapshot", "group", "delete", &name, "--no-wait"]).status.success().then_some(());
        wait::until("a group to be deleted", gone);
    }
    between
}

/// Takes groups under faults, and has them looked at.
fn take_all(faults: &mut Faults, count: u64, progress: &Progress, taken: &SyncSender<Taken>) -> Tally {
    let shell = faults.cluster.shell();
    let mut tally = Tally::default();
    for round in 1..=count {
        let (name, begin) = (format!("g{round}"), Instant::now());
        let fault = faults.draw();
        let before = progress.acknowledged();
        let command = ["snapshot", "group", "create", &name, VOLUMES[0], VOLUMES[1], "--timeout", "30"];
        let ended = thread::scope(|scope| {
            let taking = scope.spawn(|| shell.plinth(&command));
            faults.make(&fault);
            taking.join().expect("a command ends")
        });
        let fate = fate(&shell, &name);
        let window = Window { before, after: progress.acknowledged() };
        faults.mend();
        tally.add(&fault, fate);
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        println!("{name}: {fault}: {fate:?} after {:.1?}, {window:?} {}", begin.elapsed(), said.trim_end());
        if fate == Fate::Ready && taken.send(Taken { name, window }).is_err() {
            // Who looks at them has found something, and says it.
            break;
        }
    }
    tally
}

/// How many of each fault came to which end.
#[derive(Debug, Default)]
struct Tally(BTreeMap<(&'static str, Fate), u64>);

impl Tally {
    fn add(&mut self, fault: &Fault, fate: Fate) {
        *self.0.entry((fault.kind(), fate)).or_default() += 1;
    }

    fn ready(&self) -> u64 {
        self.0.iter().filter(|((_, fate), _)| *fate == Fate::Ready).map(|(_, count)| count).sum()
    }
}

/// Says that the writer is to stop, also when a test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_group_snapshot_shows_no_effect_without_its_cause_whatever_fails() {
    let Some(cluster) = start("a_group_snapshot_shows_no_effect_without_its_cause_whatever_fails") else { return };
    let (count, seed) = (number("GROUPS_TAKEN", 20), number("SEED", 1));
    println!("again: make groups GROUPS={count} SEED={seed}");
    let shell = cluster.shell();
    let [mut cause, mut effect] = VOLUMES.map(|volume| door(&shell, volume));
    let (progress, stop) = (Progress::default(), AtomicBool::new(false));
    let mut faults = Faults::new(cluster, Random::seeded(seed), VOLUMES);
    let (sender, receiver) = sync_channel(UNCHECKED_MAX);
    let begin = Instant::now();
    let (tally, between) = thread::scope(|scope| {
        scope.spawn(|| write(&mut cause, &mut effect, &progress, &stop));
        let _stop = Stop(&stop);
        let shell = &shell;
        let looking = scope.spawn(move || look_at_all(shell, &receiver, seed));
        let tally = take_all(&mut faults, count, &progress, &sender);
        drop(sender);
        (tally, looking.join().expect("every group was one instant"))
    });
    println!("{count} groups in {:.0?}: {tally:?}, {between} between a cause and its effect", begin.elapsed());
    println!("{} pairs of writes", progress.acknowledged());
    assert!(tally.ready() * 2 > count, "most are ready: {tally:?}");
    assert!(progress.acknowledged() > 10 * count, "the writer went on: {}", progress.acknowledged());
    faults.come_right();
    assert_eq!(shell.json(&["snapshot", "group", "list"]), Value::Array(Vec::new()), "nothing is left");
}

#[test]
fn snapshots_without_a_hold_are_found_to_show_effects_without_causes() {
    let Some(cluster) = start("snapshots_without_a_hold_are_found_to_show_effects_without_causes") else { return };
    let shell = cluster.shell();
    let [mut cause, mut effect] = VOLUMES.map(|volume| door(&shell, volume));
    let (progress, stop) = (Progress::default(), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| write(&mut cause, &mut effect, &progress, &stop));
        let _stop = Stop(&stop);
        for name in ["s1", "s2", "s3"] {
            wait::until("some writes", || (progress.acknowledged() > 100).then_some(()));
            let before = progress.acknowledged();
            for volume in VOLUMES {
                shell.run(&["snapshot", "create", &format!("{name}-{volume}"), "--volume", volume]);
            }
            let found = one_instant(&shell, name, Window { before, after: progress.acknowledged() });
            let wrong = found.expect_err("nothing was held between the two");
            assert!(wrong.contains("an effect without its cause"), "{wrong}");
        }
    });
}
