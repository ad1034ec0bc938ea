//! Links that do not work, in both directions or in one.

use std::time::{Duration, Instant};

use tests::cluster::Cluster;

use crate::gaps::Gaps;
use crate::scene::Scene;

/// The longest time without an answer.
const GAP_MAX: Duration = Duration::from_secs(8);
/// How long a link does not work.
const CUT: Duration = Duration::from_secs(4);

/// A way to cut links, between a primary and a backup or from everybody.
type Cut = fn(&Cluster, primary: &str, backup: &str);

const CUTS: [(&str, Cut); 9] = [
    ("primary isolated", |cluster, primary, _| {
        cluster.cut_towards(primary);
        cluster.cut_from(primary);
    }),
    ("primary hears nobody", |cluster, primary, _| cluster.cut_towards(primary)),
    ("nobody hears the primary", |cluster, primary, _| cluster.cut_from(primary)),
    ("backup isolated", |cluster, _, backup| {
        cluster.cut_towards(backup);
        cluster.cut_from(backup);
    }),
    ("backup hears nobody", |cluster, _, backup| cluster.cut_towards(backup)),
    ("nobody hears the backup", |cluster, _, backup| cluster.cut_from(backup)),
    ("primary and backup apart", |cluster, primary, backup| {
        cluster.cut(primary, backup);
        cluster.cut(backup, primary);
    }),
    ("backup does not hear the primary", |cluster, primary, backup| cluster.cut(primary, backup)),
    ("primary does not hear the backup", |cluster, primary, backup| cluster.cut(backup, primary)),
];

#[test]
fn a_volume_goes_on_whichever_link_is_cut_in_whichever_direction() {
    let Some(mut scene) = Scene::start("a_volume_goes_on_whichever_link_is_cut_in_whichever_direction") else { return };
    let mut gaps = Gaps::default();
    for (what, cut) in CUTS {
        let (primary, backup) = scene.pair();
        let epoch = scene.cluster.epoch();
        scene.load().go_on(Duration::from_millis(300));
        scene.load().mark();
        cut(&scene.cluster, &primary, &backup);
        let begin = Instant::now();
        // The first answers may have been under way.
        scene.load().go_on(Duration::from_secs(1));
        scene.load().await_answers(500, 2 * GAP_MAX);
        scene.load().go_on(CUT.saturating_sub(begin.elapsed()));
        let gap = scene.load().longest();
        scene.cluster.heal();
        scene.load().mark();
        scene.load().go_on(Duration::from_secs(1));
        let healing = scene.resume(GAP_MAX);
        scene.settle();
        let changes = scene.cluster.epoch().zip(epoch).map(|(after, before)| after - before);
        println!("{what}: {gap:.2?} without an answer, {healing:.2?} when healed, {changes:?} changes");
        gaps.add(what, gap);
        gaps.add("healed", healing);
        assert!(gap < GAP_MAX, "{what}: {gap:?}");
    }
    println!("{gaps}");
}
