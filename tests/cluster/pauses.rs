//! Nodes that stand still for a while and go on, with everything that was said to them meanwhile.

use std::time::{Duration, Instant};

use tests::checked::Habits;

use crate::gaps::Gaps;
use crate::scene::Scene;

/// For how long a primary answers reads without hearing from others.
const LEASE: Duration = Duration::from_millis(1000);
/// For how long others do not seek primacy.
const PROMISE: Duration = Duration::from_millis(1070);
const GAP_MAX: Duration = Duration::from_secs(6);
/// Until a primary that went on has noticed everything.
const AFTERWARDS: Duration = Duration::from_millis(1500);

#[test]
fn a_primary_that_stood_still_answers_nothing_that_is_not_true_any_more() {
    let name = "a_primary_that_stood_still_answers_nothing_that_is_not_true_any_more";
    let habits = Habits { keeps_left: true, patience: Duration::from_millis(700), ..Habits::default() };
    let Some(mut scene) = Scene::start_with(name, habits, |_| {}) else { return };
    let mut gaps = Gaps::default();
    let mut asked_late = 0;
    for pause in [LEASE / 2, LEASE, LEASE + LEASE / 20, 2 * PROMISE, 5 * PROMISE, 10 * PROMISE] {
        let (primary, _) = scene.pair();
        scene.load().go_on(Duration::from_millis(300));
        scene.load().mark();
        scene.cluster.pause_node(&primary);
        let since = Instant::now();
        if pause > 2 * LEASE {
            scene.load().await_answers(200, GAP_MAX);
        }
        let rest = pause.saturating_sub(since.elapsed());
        scene.load().go_on(rest);
        let mut gap = scene.load().longest();
        // What is asked for now is later than all that others acknowledged meanwhile.
        let asked = scene.client().read_on_left();
        scene.cluster.resume_node(&primary);
        let heard =
            scene.client().hear_left(AFTERWARDS).unwrap_or_else(|lie| panic!("PLINTH_SEED={}: {lie}", scene.seed));
        gap = gap.max(scene.resume(GAP_MAX));
        println!("{primary} stood still for {pause:.2?}: {gap:.2?} without an answer; {asked} late reads, {heard:?}");
        asked_late += asked;
        gaps.add("primary stood still", gap);
        assert!(gap < GAP_MAX, "{gap:?}");
        scene.settle();
    }
    println!("{gaps}");
    assert!(asked_late > 0, "connections to a primary that stands still are left open");
}

#[test]
fn a_backup_that_stands_still_is_missed_for_a_moment() {
    let Some(mut scene) = Scene::start("a_backup_that_stands_still_is_missed_for_a_moment") else { return };
    let mut gaps = Gaps::default();
    for pause in [LEASE / 2, 2 * PROMISE, 4 * PROMISE] {
        let (_, backup) = scene.pair();
        scene.load().go_on(Duration::from_millis(300));
        scene.load().mark();
        scene.cluster.pause_node(&backup);
        scene.load().go_on(pause);
        scene.cluster.resume_node(&backup);
        let gap = scene.resume(GAP_MAX);
        println!("{backup} stood still for {pause:.2?}: {gap:.2?} without an answer");
        assert!(gap < Duration::from_secs(3), "{gap:?}");
        gaps.add("backup stood still", gap);
        scene.settle();
    }
    println!("{gaps}");
}
