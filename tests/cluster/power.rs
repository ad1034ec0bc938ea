//! Power that is lost everywhere at once, in the midst of writes.

use std::time::Duration;

use tests::checked::Habits;
use tests::cluster::Cluster;
use tests::random::Random;
use tests::wait;

use crate::gaps::Gaps;
use crate::scene::{Scene, VOLUME};

/// How often.
fn rounds() -> u64 {
    std::env::var("POWER_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(3)
}

fn lose_power_from_now_on(cluster: &mut Cluster, seed: u64) {
    cluster.node_names().iter().for_each(|node| cluster.stop_node(node));
    cluster.power = Some(seed);
    cluster.start_nodes();
    cluster.settle();
}

/// Longest time until the volume can be attached again.
const BACK_MAX: Duration = Duration::from_secs(20);

#[test]
fn power_lost_everywhere_takes_only_what_was_not_flushed_and_ends_the_clients_session() {
    let name = "power_lost_everywhere_takes_only_what_was_not_flushed_and_ends_the_clients_session";
    let habits = Habits { blocks: 3000, rest: Duration::from_micros(100), ..Habits::default() };
    let Some(mut scene) = Scene::start_with(name, habits, |cluster| lose_power_from_now_on(cluster, 7)) else {
        return;
    };
    let (mut random, mut gaps) = (Random::seeded(scene.seed), Gaps::default());
    for round in 0..rounds() {
        let before = scene.cluster.whole(VOLUME, BACK_MAX);
        scene.load().go_on(Duration::from_millis(200 + random.below(600)));
        scene.cluster.power = Some(random.number() >> 20);
        scene.cluster.kill_nodes();
        let since = std::time::Instant::now();
        scene.cluster.start_nodes();
        scene.client().power_lost();
        let shell = scene.cluster.shell();
        let after = wait::within(BACK_MAX, || shell.look(VOLUME).filter(|view| view.phase == "needs_attach"));
        let after = after.unwrap_or_else(|| panic!("nobody has to attach it again: {:?}", shell.look(VOLUME)));
        gaps.add("power lost everywhere", since.elapsed());
        assert!(after.clients.is_empty(), "the client's session has ended: {after:?}");
        let uris = scene.client().uris().to_vec();
        assert!(uris.iter().all(|uri| !shell.is_let_in(uri)), "the token of before is refused");
        scene.client().move_to(shell.attach(VOLUME, "host1"));
        let found = scene.settle();
        assert_eq!(found.id, before.id);
        let blocks = scene.compare();
        println!("round {round}: back after {:.2?}, {blocks} equal blocks", gaps.last());
    }
    println!("{gaps}");
}

#[test]
fn a_loss_of_power_that_is_kept_secret_is_found_by_the_client() {
    let name = "a_loss_of_power_that_is_kept_secret_is_found_by_the_client";
    let Some(mut scene) = Scene::start_with(name, Habits::default(), |cluster| {
        cluster.hides_lost_power = true;
        lose_power_from_now_on(cluster, 0);
    }) else {
        return;
    };
    let found = (0..10).find_map(|_| {
        scene.load().go_on(Duration::from_millis(300));
        scene.cluster.kill_nodes();
        scene.cluster.start_nodes();
        scene.client().check_all(BACK_MAX).err()
    });
    println!("{found:?}");
    assert!(found.expect("writes are lost").contains("and allowed is"));
}

#[test]
fn one_node_that_loses_power_is_taught_before_it_counts() {
    let Some(mut scene) =
        Scene::start_with("one_node_that_loses_power_is_taught_before_it_counts", Habits::default(), |cluster| {
            lose_power_from_now_on(cluster, 2);
        })
    else {
        return;
    };
    let mut gaps = Gaps::default();
    for round in 0..2 * rounds() {
        let (primary, backup) = scene.pair();
        let victim = if round % 2 == 0 { primary } else { backup };
        scene.load().go_on(Duration::from_millis(400));
        scene.load().mark();
        scene.cluster.kill_node(&victim);
        scene.cluster.start_node(&victim);
        gaps.add("one node lost power", scene.resume(BACK_MAX));
        assert_eq!(scene.settle().clients, ["host1"], "its session goes on");
    }
    let blocks = scene.compare();
    println!("{gaps}\n{blocks} equal blocks");
}
