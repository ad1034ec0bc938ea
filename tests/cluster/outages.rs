//! Outages of more than one thing: no control plane, links that lose packets, replicas that die one after the other.

use std::thread;
use std::time::{Duration, Instant};

use tests::cluster::{Cluster, Role};
use tests::wait;

use crate::gaps::Gaps;
use crate::scene::{Scene, VOLUME};

/// Longest time without an answer when nothing that I/O needs is away; the machine is shared.
const UNDISTURBED_MAX: Duration = Duration::from_secs(1);
/// Until the volume serves again when the control plane is back: an election, nodes that find the leader, a decision.
const BACK_MAX: Duration = Duration::from_secs(20);
/// How long packets get lost.
const LOSSES: Duration = Duration::from_secs(30);
/// Configurations that may follow each other in that time: two members that went and came back. Usually there are none.
const CHANGES_MAX: u64 = 4;
/// Before a replica that is not heard is replaced, and until another one is placed and filled.
const REPLACED_MAX: Duration = Duration::from_secs(60);

#[test]
fn io_needs_no_control_plane_until_a_replica_dies_and_then_waits_for_it() {
    let Some(mut scene) = Scene::start("io_needs_no_control_plane_until_a_replica_dies_and_then_waits_for_it") else {
        return;
    };
    let (_, backup) = scene.pair();
    scene.load().go_on(Duration::from_millis(300));
    scene.load().mark();
    scene.cluster.kill_voters();
    scene.load().go_on(Duration::from_secs(4));
    let gap = scene.load().longest();
    assert!(gap < UNDISTURBED_MAX, "without a control plane: {gap:?}");
    scene.cluster.kill_node(&backup);
    scene.load().go_on(Duration::from_millis(1500));
    assert!(scene.load().stands_still(Duration::from_secs(2)), "nobody can say that the backup does not count");
    for voter in scene.cluster.voter_ids() {
        scene.cluster.start_voter(voter, Role::Joiner);
    }
    let since = Instant::now();
    scene.load().await_answers(100, BACK_MAX);
    println!("{gap:.2?} without an answer; served again {:.2?} after the voters were started", since.elapsed());
    scene.cluster.start_node(&backup);
    scene.settle();
}

#[test]
fn packets_that_get_lost_make_no_storm_of_failovers() {
    let Some(mut scene) = Scene::start("packets_that_get_lost_make_no_storm_of_failovers") else { return };
    let before = scene.cluster.epoch().expect("the nodes say");
    scene.load().mark();
    scene.cluster.lose_some(5);
    scene.load().go_on(LOSSES);
    let gap = scene.load().longest();
    scene.cluster.heal();
    scene.settle();
    let changes = scene.cluster.epoch().expect("the nodes say") - before;
    println!("5 % of packets lost for {LOSSES:?}: {changes} configurations, {gap:.2?} without an answer");
    assert!(changes <= CHANGES_MAX, "{changes} configurations in {LOSSES:?}");
}

#[test]
fn nothing_is_lost_when_the_others_die_while_one_is_taught() {
    let Some(mut scene) = Scene::start("nothing_is_lost_when_the_others_die_while_one_is_taught") else { return };
    let mut gaps = Gaps::default();
    for round in 0..2 {
        let (primary, backup) = scene.pair();
        let nodes = scene.cluster.node_names();
        let third = nodes.into_iter().find(|node| *node != primary && *node != backup).expect("there are three");
        scene.load().go_on(Duration::from_millis(300));
        scene.cluster.kill_node(&backup);
        // Enough is written for its lessons to take a while.
        scene.load().go_on(Duration::from_secs(2));
        scene.load().mark();
        scene.cluster.start_node(&backup);
        thread::sleep(Duration::from_millis(100 + 150 * round));
        scene.cluster.kill_node(&primary);
        scene.load().go_on(Duration::from_millis(300));
        scene.cluster.kill_node(&third);
        scene.load().go_on(Duration::from_secs(1));
        scene.cluster.start_nodes();
        gaps.add("two died while one was taught", scene.resume(BACK_MAX));
        assert_eq!(scene.settle().clients, ["host1"]);
    }
    println!("{gaps}");
}

fn explained(cluster: &Cluster, volume: &str) -> String {
    cluster.run(&["explain", "volume", volume])
}

fn await_words(cluster: &Cluster, volume: &str, words: &str) {
    let told = || explained(cluster, volume).contains(words).then_some(());
    let is_told = wait::within(REPLACED_MAX, told);
    assert!(is_told.is_some(), "\"{words}\" is not in: {}", explained(cluster, volume));
}

#[test]
fn a_node_that_comes_back_with_an_empty_disk_is_filled_again_and_what_was_only_there_is_not_made_up() {
    let name = "a_node_that_comes_back_with_an_empty_disk_is_filled_again_and_what_was_only_there_is_not_made_up";
    let Some(mut scene) = Scene::start(name) else { return };
    scene.cluster.run(&["cluster", "set", "--replace-after", "10s"]);
    scene.cluster.run(&["volume", "create", "alone", "--size", "16MiB"]);
    let uris = scene.cluster.shell().attach("alone", "host2");
    let shell = scene.cluster.shell();
    assert!(shell.is_let_in(&uris[0]));
    let node = shell.look("alone").expect("somebody says").nodes.remove(0);
    scene.load().go_on(Duration::from_millis(500));
    scene.cluster.kill_node(&node);
    scene.cluster.exchange_pool(&node);
    scene.cluster.start_node(&node);
    scene.load().await_answers(100, BACK_MAX);
    await_words(&scene.cluster, VOLUME, "its node came back with another one");
    await_words(&scene.cluster, "alone", "start it with the pool that it had");
    let since = Instant::now();
    scene.settle();
    println!("whole {:.1?} after the loss was told; {} equal blocks", since.elapsed(), scene.verify());
    assert!(!shell.is_let_in(&uris[0]), "an empty volume was made in the place of a lost one");
    // The old disk is found again: what was only there is there, and what goes on elsewhere leaves it.
    scene.load().go_on(Duration::from_millis(500));
    scene.cluster.kill_node(&node);
    scene.cluster.exchange_pool(&node);
    scene.cluster.start_node(&node);
    scene.load().await_answers(100, BACK_MAX);
    scene.settle();
    assert!(shell.is_let_in(&uris[0]), "{}", explained(&scene.cluster, "alone"));
    scene.verify();
    scene.compare();
}
