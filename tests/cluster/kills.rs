//! Nodes that are killed in the midst of writes.

use std::time::Duration;

use tests::random::Random;

use crate::gaps::Gaps;
use crate::scene::Scene;

/// Longest time without an answer when the primary is killed.
const PRIMARY_GAP_MAX: Duration = Duration::from_secs(5);
/// And when a backup is: until it is missed and the cluster goes on without it.
const BACKUP_GAP_MAX: Duration = Duration::from_secs(3);
/// When all nodes are killed and started again at once.
const ALL_GAP_MAX: Duration = Duration::from_secs(15);

/// How often each is killed.
fn rounds() -> u64 {
    std::env::var("NODE_KILL_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(5)
}

#[test]
fn nothing_is_lost_when_a_primary_or_a_backup_is_killed_in_the_midst_of_writes() {
    let Some(mut scene) = Scene::start("nothing_is_lost_when_a_primary_or_a_backup_is_killed_in_the_midst_of_writes")
    else {
        return;
    };
    let mut gaps = Gaps::default();
    let mut random = Random::seeded(scene.seed);
    for round in 0..rounds() {
        for (what, limit) in [("primary", PRIMARY_GAP_MAX), ("backup", BACKUP_GAP_MAX)] {
            let (primary, backup) = scene.pair();
            let killed = if what == "primary" { &primary } else { &backup };
            scene.load().go_on(Duration::from_millis(100 + random.below(400)));
            scene.load().mark();
            scene.cluster.kill_node(killed);
            let gap = scene.resume(3 * limit);
            println!("round {round}: the {what} {killed} was killed, {gap:.2?} without an answer");
            gaps.add(&format!("{what} killed"), gap);
            assert!(gap < limit, "{gap:?}");
            scene.cluster.start_node(killed);
            scene.settle();
        }
    }
    println!("{gaps}");
    if let Some(latency) = scene.load().take_latency() {
        println!("{latency}");
    }
}

#[test]
fn nothing_acknowledged_is_lost_when_all_nodes_are_killed_at_once() {
    let Some(mut scene) = Scene::start("nothing_acknowledged_is_lost_when_all_nodes_are_killed_at_once") else {
        return;
    };
    let mut gaps = Gaps::default();
    for round in 0..rounds().div_ceil(2) {
        scene.load().go_on(Duration::from_millis(500));
        scene.load().mark();
        scene.cluster.kill_nodes();
        scene.cluster.start_nodes();
        let gap = scene.resume(2 * ALL_GAP_MAX);
        println!("round {round}: all were killed, {gap:.2?} without an answer");
        gaps.add("all nodes killed", gap);
        assert!(gap < ALL_GAP_MAX, "{gap:?}");
        let view = scene.settle();
        assert_eq!(view.clients, ["host1"], "its session goes on");
    }
    println!("{gaps}");
}
