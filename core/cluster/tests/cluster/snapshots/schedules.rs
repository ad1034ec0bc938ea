//! Schedules.

use cluster::{Change, Keep, Labels, Maker, VolumeSpec};

use crate::world::{GIB, World, name};

const MINUTE_MS: u64 = 60_000;

fn set(world: &mut World, cron: &str, keep: u32) {
    let cron = cron.parse().unwrap();
    world.apply(None, Change::SetSchedule { volume: name("db"), schedule: name("often"), cron, keep }).unwrap();
}

/// Ten minutes past midnight of 1 January 1970.
fn world() -> World {
    let mut world = World::new(1, 10 * GIB);
    world.now = 10 * MINUTE_MS;
    world.create("db", GIB, VolumeSpec::default()).unwrap();
    world.round();
    world
}

fn names(world: &World) -> Vec<String> {
    world.state.snapshots(None).map(|(_, snapshot)| snapshot.name.to_string()).collect()
}

/// Time passes to the next time that something is due, and the node does what follows.
fn next(world: &mut World) {
    let due = world.state.deadline().expect("something is due");
    world.apply_after(due.0.saturating_sub(world.now), None, Change::Tick).unwrap();
    world.round();
    world.round();
}

#[test]
fn a_schedule_makes_snapshots_and_deletes_only_its_own() {
    let mut world = world();
    world
        .apply(None, Change::CreateSnapshot { name: name("by-hand"), volume: name("db"), labels: Labels::new() })
        .unwrap();
    world.round();
    set(&mut world, "*/15 * * * *", 2);
    for expected in [
        &["by-hand", "db-often-19700101t0015z"][..],
        &["by-hand", "db-often-19700101t0015z", "db-often-19700101t0030z"],
        &["by-hand", "db-often-19700101t0030z", "db-often-19700101t0045z"],
        &["by-hand", "db-often-19700101t0045z", "db-often-19700101t0100z"],
    ] {
        next(&mut world);
        assert_eq!(names(&world), expected);
    }
    assert!(world.state.contents().graves.is_empty(), "the space of the others is back");
    set(&mut world, "*/15 * * * *", 1);
    assert_eq!(names(&world), ["by-hand", "db-often-19700101t0100z"], "fewer are kept at once");
    world.apply(None, Change::RemoveSchedule { volume: name("db"), schedule: name("often") }).unwrap();
    assert_eq!(names(&world).len(), 2, "what it made stays");
    assert_eq!(world.state.deadline(), None);
}

#[test]
fn what_is_not_cut_yet_takes_nothing_away() {
    let mut world = world();
    set(&mut world, "*/15 * * * *", 1);
    next(&mut world);
    let due = world.state.deadline().unwrap();
    world.apply_after(due.0 - world.now, None, Change::Tick).unwrap();
    assert_eq!(names(&world).len(), 2, "the one before stays until the next is there");
    world.round();
    assert_eq!(names(&world), ["db-often-19700101t0030z"]);
}

#[test]
fn a_time_at_which_the_volume_is_not_served_is_left_out_and_told() {
    let mut world = world();
    set(&mut world, "*/15 * * * *", 3);
    world.disconnect(&name("n0"));
    next(&mut world);
    assert!(names(&world).is_empty());
    let told = world.state.explain_volume(&name("db")).unwrap().join(" ");
    assert!(told.contains("At 19700101t0015z none was made: the volume was not served."), "{told}");
    world.connect(&name("n0"));
    // Of several times that were missed one is made up for.
    world.apply_after(100 * MINUTE_MS, None, Change::Tick).unwrap();
    world.round();
    world.round();
    assert_eq!(names(&world).len(), 1);
    next(&mut world);
    assert_eq!(names(&world), ["db-often-19700101t0155z".to_owned(), "db-often-19700101t0200z".to_owned()]);
}

#[test]
fn a_schedule_of_a_deleted_volume_is_over_and_its_snapshots_stay() {
    let mut world = world();
    set(&mut world, "*/15 * * * *", 3);
    next(&mut world);
    world.apply(None, Change::DeleteVolume { volume: name("db"), force: false }).unwrap();
    world.round();
    assert_eq!(world.state.deadline(), None);
    let (_, snapshot) = world.state.snapshots(None).next().unwrap();
    assert_eq!((snapshot.keep, &snapshot.maker), (Keep::Named, &Maker::Schedule(name("often"))));
}

#[test]
fn a_schedule_that_cannot_be_is_refused() {
    let mut world = world();
    let set = |schedule: &str, keep| Change::SetSchedule {
        volume: name("db"),
        schedule: name(schedule),
        cron: "@daily".parse().unwrap(),
        keep,
    };
    let long = "a".repeat(120);
    for (change, expected) in [
        (set("often", 0), "0 snapshots cannot be kept"),
        (set("often", 201), "201 snapshots cannot be kept"),
        (set(&long, 1), "too long"),
    ] {
        let words = world.apply(None, change).unwrap_err().to_string();
        assert!(words.contains(expected), "{expected} is missing in: {words}");
    }
    for number in 0..16 {
        world.apply(None, set(&format!("s{number}"), 1)).unwrap();
    }
    let words = world.apply(None, set("one-more", 1)).unwrap_err().to_string();
    assert!(words.contains("has 16 schedules"), "{words}");
    world.apply(None, set("s3", 5)).unwrap();
}
