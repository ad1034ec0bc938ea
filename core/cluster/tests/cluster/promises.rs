//! One promise each.

use block::PoolId;
use cluster::{
    AccessMode, Admin, Answer, Change, Claim, Generation, HOSTS_MAX, Labels, Modification, Observed, Refusal, Settings,
    TokenHash, VolumeSpec, Waiting,
};

use crate::world::{GIB, SimReplica, World, name, operation};

fn zone(zone: &str) -> VolumeSpec {
    VolumeSpec { node_selector: Labels::from([("zone".to_owned(), zone.to_owned())]), ..VolumeSpec::default() }
}

#[test]
fn a_volume_is_there_when_its_node_says_so() {
    let mut world = World::new(2, 10 * GIB);
    let answer = world.create("db", GIB, VolumeSpec::default()).unwrap();
    let making = operation(&answer);
    assert!(!world.has_ended(making));
    let waiting = world.state.waits_for(making).unwrap();
    assert!(matches!(waiting, Waiting::Work { .. }), "{waiting}");
    world.round();
    assert!(world.has_ended(making));
    assert_eq!(world.state.waits_for(making), None);
    let (_, volume) = world.state.volume(&name("db")).unwrap();
    assert!(volume.is_settled());
}

#[test]
fn a_retry_of_a_request_gets_the_same_answer_and_changes_nothing() {
    let mut world = World::new(1, 10 * GIB);
    let create = Change::CreateVolume { name: name("db"), size_bytes: GIB, spec: VolumeSpec::default(), source: None };
    let first = world.apply(Some(1), create.clone()).unwrap();
    world.apply(None, Change::DeleteVolume { volume: name("db"), force: false }).unwrap();
    assert_eq!(world.apply(Some(1), create.clone()).unwrap(), first);
    assert!(world.state.volume(&name("db")).is_none(), "the retry came late");
    assert_ne!(world.apply(Some(2), create).unwrap(), first);
}

#[test]
fn who_asks_for_a_volume_that_is_there_joins_or_hears_what_differs() {
    let mut world = World::new(1, 10 * GIB);
    let first = world.create("db", GIB, VolumeSpec::default()).unwrap();
    assert_eq!(world.create("db", GIB, VolumeSpec::default()).unwrap(), first);
    world.round();
    let Answer::Volume { operation: None, .. } = world.create("db", GIB, VolumeSpec::default()).unwrap() else {
        panic!("it is there");
    };
    let error = world.create("db", 2 * GIB, VolumeSpec::default()).unwrap_err();
    assert!(error.to_string().contains("its size"), "{error}");
    let error = world.create("db", GIB, zone("a")).unwrap_err();
    assert!(error.to_string().contains("its parameters"), "{error}");
}

#[test]
fn placement_obeys_every_rule_and_says_which_one_each_pool_breaks() {
    let mut world = World::new(4, GIB);
    world.nodes.get_mut(&name("n3")).unwrap().tags = vec!["nvme".to_owned()];
    world.report(&name("n3"));
    for (volume, spec, expected) in [
        ("in-b", zone("b"), &[2, 4][..]),
        ("fast", VolumeSpec { pool_tags: vec!["nvme".to_owned()], ..VolumeSpec::default() }, &[4]),
        ("any", VolumeSpec::default(), &[1, 3]),
    ] {
        world.create(volume, GIB, spec).unwrap();
        let pool = world.state.volume(&name(volume)).unwrap().1.home();
        assert!(expected.contains(&pool.0), "{volume} is in {pool}");
    }
    world.apply(None, Change::Administer { node: name("n0"), admin: Admin::Cordoned }).unwrap();
    world.disconnect(&name("n1"));
    let nowhere = VolumeSpec { pool_tags: vec!["tape".to_owned()], ..zone("a") };
    let words = world.create("none", GIB, nowhere).unwrap_err().to_string();
    for reason in ["n0 pool", "cordoned", "n1 pool", "not heard", "n2 pool", "not tagged tape", "zone=a"] {
        assert!(words.contains(reason), "{reason} is missing in: {words}");
    }
    let words = world.create("large", 4 * GIB, VolumeSpec::default()).unwrap_err().to_string();
    assert!(words.contains("overcommit limit"), "{words}");
    let words = World::default().create("db", GIB, VolumeSpec::default()).unwrap_err().to_string();
    assert_eq!(words, "no node has registered a pool");
}

#[test]
fn what_was_promised_counts_until_it_is_deleted() {
    let mut world = World::new(1, GIB);
    for volume in ["a", "b", "c"] {
        world.create(volume, GIB, VolumeSpec::default()).unwrap();
    }
    assert!(matches!(world.create("d", GIB, VolumeSpec::default()), Err(Refusal::NoPlace(_))));
    world.apply(None, Change::DeleteVolume { volume: name("b"), force: false }).unwrap();
    world.create("d", GIB, VolumeSpec::default()).unwrap();
    let settings = Settings { overcommit_percent: 400, ..Settings::default() };
    world.apply(None, Change::Set(settings)).unwrap();
    world.create("e", GIB, VolumeSpec::default()).unwrap();
    let words = world.apply(None, Change::Set(Settings { full_percent: 101, ..settings })).unwrap_err().to_string();
    assert!(words.contains("1 to 100"), "{words}");
}

#[test]
fn a_deleted_volume_of_a_dead_node_is_gone_at_once_and_its_space_when_the_node_is_back() {
    let mut world = World::new(1, 10 * GIB);
    world.create("db", GIB, VolumeSpec::default()).unwrap();
    world.round();
    world.disconnect(&name("n0"));
    let deleting = operation(&world.apply(None, Change::DeleteVolume { volume: name("db"), force: false }).unwrap());
    assert!(world.state.volume(&name("db")).is_none());
    let waiting = world.state.waits_for(deleting).unwrap();
    assert!(waiting.to_string().contains("n0 is not heard"), "{waiting}");
    world.round();
    assert!(!world.has_ended(deleting));
    world.connect(&name("n0"));
    world.round();
    assert!(world.has_ended(deleting) && world.state.tombstones().next().is_none());
    assert!(world.nodes[&name("n0")].pools[&PoolId(1)].is_empty());
}

#[test]
fn a_volume_that_was_seen_is_never_made_anew() {
    let mut world = World::new(1, 10 * GIB);
    world.create("db", GIB, VolumeSpec::default()).unwrap();
    world.round();
    world.nodes.get_mut(&name("n0")).unwrap().pools.insert(PoolId(1), Default::default());
    world.report(&name("n0"));
    world.round();
    assert!(world.nodes[&name("n0")].pools[&PoolId(1)].is_empty());
    assert_eq!(world.state.volume(&name("db")).unwrap().1.at_home().observed, Observed::Nothing);
    let attaching = operation(&world.attach("db", "host", AccessMode::ReadWrite).unwrap());
    let waiting = world.state.waits_for(attaching).unwrap();
    assert!(matches!(waiting, Waiting::Data { .. }), "{waiting}");
}

/// A node that is not heard may hold anything: what is not known is never acted upon.
#[test]
fn what_is_not_known_is_not_nothing() {
    let mut world = World::new(1, 10 * GIB);
    world.create("db", GIB, VolumeSpec::default()).unwrap();
    world.tell(&name("n0"));
    world.disconnect(&name("n0"));
    assert!(!world.state.intent(&name("n0")).replicas[0].may_create);
    // It had been told before, and made it.
    world.nodes.get_mut(&name("n0")).unwrap().work();
    world.connect(&name("n0"));
    assert!(world.state.volume(&name("db")).unwrap().1.is_settled());
    // It comes back without its pool.
    let pools = std::mem::take(&mut world.nodes.get_mut(&name("n0")).unwrap().pools);
    world.connect(&name("n0"));
    assert_eq!(world.state.volume(&name("db")).unwrap().1.at_home().observed, Observed::Unknown);
    let deleting = operation(&world.apply(None, Change::DeleteVolume { volume: name("db"), force: false }).unwrap());
    let waiting = world.state.waits_for(deleting).unwrap();
    assert!(matches!(waiting, Waiting::Pool { .. }), "{waiting}");
    world.nodes.get_mut(&name("n0")).unwrap().pools = pools;
    world.report(&name("n0"));
    world.round();
    assert!(world.has_ended(deleting));
}

#[test]
fn a_second_writer_hears_who_has_the_volume_and_force_shuts_the_first_out() {
    let mut world = World::new(1, 10 * GIB);
    world.create("db", GIB, VolumeSpec::default()).unwrap();
    world.round();
    let attached = world.attach("db", "one", AccessMode::ReadWrite).unwrap();
    world.round();
    assert!(world.has_ended(operation(&attached)));
    let words = world.attach("db", "two", AccessMode::ReadWrite).unwrap_err().to_string();
    assert!(words.contains("attached to \"one\" for writing"), "{words}");
    let words = world.apply(None, Change::DeleteVolume { volume: name("db"), force: false }).unwrap_err().to_string();
    assert!(words.contains("attached to \"one\""), "{words}");
    let forced = operation(&world.detach("db", None).unwrap());
    let Answer::Attached { generation, operation: second } = world.attach("db", "two", AccessMode::ReadWrite).unwrap()
    else {
        panic!("it is free")
    };
    assert_eq!(generation, Generation(3));
    assert!(!world.has_ended(forced) && !world.has_ended(second), "the node has not shut out anybody yet");
    world.round();
    assert!(world.has_ended(forced) && world.has_ended(second));
    let nobody = operation(&world.detach("db", Some("one")).unwrap());
    assert!(world.has_ended(nobody), "there is nothing to shut out");
}

#[test]
fn a_volume_grows_and_does_not_shrink() {
    let mut world = World::new(1, 10 * GIB);
    world.create("db", GIB, VolumeSpec::default()).unwrap();
    world.round();
    let resize = |size_bytes| Change::ResizeVolume { volume: name("db"), size_bytes };
    let growing = operation(&world.apply(None, resize(2 * GIB)).unwrap());
    assert!(!world.has_ended(growing));
    world.round();
    assert!(world.has_ended(growing));
    assert!(matches!(world.apply(None, resize(GIB)), Err(Refusal::Shrinks { .. })));
    assert!(matches!(world.apply(None, resize(2 * GIB + 1)), Err(Refusal::Size(_))));
    let labels = Some(Labels::from([("team".to_owned(), "db".to_owned())]));
    let modification = Modification { labels: labels.clone(), ..Modification::default() };
    world.apply(None, Change::ModifyVolume { volume: name("db"), modification }).unwrap();
    assert_eq!(Some(&world.state.volume(&name("db")).unwrap().1.spec.labels), labels.as_ref());
}

#[test]
fn a_node_is_removed_when_it_holds_nothing() {
    let mut world = World::new(2, 10 * GIB);
    world.create("db", GIB, zone("a")).unwrap();
    let remove = |node: &str| Change::RemoveNode { node: name(node) };
    assert!(matches!(world.apply(None, remove("n0")), Err(Refusal::NodeInUse { replicas: 1, .. })));
    world.apply(None, Change::DeleteVolume { volume: name("db"), force: false }).unwrap();
    world.disconnect(&name("n0"));
    world.apply(None, remove("n0")).unwrap();
    assert!(world.state.tombstones().next().is_none() && world.state.node(&name("n0")).is_none());
    assert!(matches!(world.apply(None, remove("n0")), Err(Refusal::NoSuchNode(_))));
}

#[test]
fn a_node_that_runs_is_not_removed_and_advice_says_to_stop_it() {
    let mut world = World::new(2, 10 * GIB);
    let remove = Change::RemoveNode { node: name("n0") };
    let advice = |world: &World| world.state.explain_node(&name("n0")).unwrap().join(" ");
    assert!(matches!(world.apply(None, remove.clone()), Err(Refusal::NodeHeard(_))));
    world.apply(None, Change::Administer { node: name("n0"), admin: Admin::Draining }).unwrap();
    assert!(matches!(world.apply(None, remove.clone()), Err(Refusal::NodeHeard(_))), "also when it is empty");
    assert!(advice(&world).contains("stop it, then plinth node remove n0"), "{}", advice(&world));
    assert_eq!(world.state.node(&name("n0")).unwrap().admin, Admin::Draining, "nothing is forgotten");
    world.disconnect(&name("n0"));
    assert!(advice(&world).contains("nothing is on it"), "{}", advice(&world));
    world.apply(None, remove).unwrap();
}

#[test]
fn a_removed_node_that_is_started_again_is_told_so_and_its_old_pool_is_left_alone() {
    let mut world = World::new(2, 10 * GIB);
    world.create("db", GIB, zone("a")).unwrap();
    world.round();
    world.disconnect(&name("n0"));
    world.apply(None, Change::DeleteVolume { volume: name("db"), force: false }).unwrap();
    world.apply(None, Change::RemoveNode { node: name("n0") }).unwrap();
    world.connect(&name("n0"));
    world.round();
    let told = |world: &World| world.state.problems(9).iter().any(|problem| problem.sentence.contains("has it again"));
    assert!(told(&world) && world.state.pool(PoolId(1)).is_none(), "what it holds is of the past");
    assert_eq!(world.state.removed_pools_at(&name("n0")), [PoolId(1)]);
    assert!(matches!(world.create("db", GIB, zone("a")), Err(Refusal::NoPlace(_))), "nothing is placed on it");
    // It has another disk.
    let node = world.nodes.get_mut(&name("n0")).unwrap();
    node.pools.clear();
    node.pools.insert(PoolId(9), std::collections::BTreeMap::new());
    world.disconnect(&name("n0"));
    world.connect(&name("n0"));
    world.round();
    assert!(!told(&world) && world.state.removed_pools_at(&name("n0")).is_empty());
    world.create("db", GIB, zone("a")).expect("there is a pool");
}

#[test]
fn a_pool_is_one_nodes_at_a_time_and_moves_with_its_disk() {
    let mut world = World::new(2, 10 * GIB);
    world.create("db", GIB, zone("a")).unwrap();
    world.round();
    let moved = world.nodes[&name("n0")].pools.clone();
    world.nodes.get_mut(&name("n1")).unwrap().pools.extend(moved);
    let report = world.nodes.get_mut(&name("n1")).unwrap().report();
    let change = Change::Report { node: name("n1"), report };
    assert!(matches!(world.apply(None, change.clone()), Err(Refusal::PoolTaken { .. })));
    world.disconnect(&name("n0"));
    world.apply(None, change).unwrap();
    assert_eq!(world.state.intent(&name("n1")).replicas.len(), 1);
    assert!(world.state.intent(&name("n0")).replicas.is_empty());
}

/// A pool that was another cluster's is full of ids.
#[test]
fn a_new_volume_is_never_taken_for_one_that_a_pool_brought_along() {
    let mut world = World::new(1, 10 * GIB);
    world.create("db", GIB, VolumeSpec::default()).unwrap();
    world.round();
    let pool = world.nodes.get_mut(&name("n0")).unwrap().pools.get_mut(&PoolId(1)).unwrap();
    for stranger in [2, 3, u64::MAX] {
        pool.insert(block::VolumeId(stranger), SimReplica::default());
    }
    world.report(&name("n0"));
    let Answer::Volume { id, .. } = world.create("new", GIB, VolumeSpec::default()).unwrap() else {
        panic!("there is room")
    };
    assert_eq!(id, block::VolumeId(4));
    assert_eq!(world.state.pools().next().unwrap().1.orphans.len(), 3);
}

#[test]
fn volumes_nobody_knows_are_told_and_left_alone() {
    let mut world = World::new(1, 10 * GIB);
    let stranger = block::VolumeId(77);
    let pool = world.nodes.get_mut(&name("n0")).unwrap().pools.get_mut(&PoolId(1)).unwrap();
    pool.insert(stranger, SimReplica::default());
    world.round();
    world.round();
    assert!(world.state.pools().next().unwrap().1.orphans.iter().eq([&stranger]));
    assert!(world.nodes[&name("n0")].pools[&PoolId(1)].contains_key(&stranger));
}

/// A pod was moved while its old host was away: what the host still wants must not take the volume back.
#[test]
fn a_late_renewal_never_attaches_again_what_was_detached() {
    let mut world = World::new(1, 10 * GIB);
    world.create("db", GIB, VolumeSpec::default()).unwrap();
    world.round();
    let ask = |world: &mut World, client: &str, token: u8, claim| {
        let (mode, token) = (AccessMode::ReadWrite, TokenHash([token; 32]));
        world.apply(None, Change::Attach { volume: name("db"), client: name(client), mode, token, claim })
    };
    ask(&mut world, "old", 1, Claim::Keep).unwrap();
    ask(&mut world, "old", 2, Claim::Renew).unwrap();
    world.detach("db", Some("old")).unwrap();
    assert!(matches!(ask(&mut world, "old", 3, Claim::Renew), Err(Refusal::NotAttached { .. })));
    ask(&mut world, "new", 4, Claim::Keep).unwrap();
    for claim in [Claim::Renew, Claim::Keep, Claim::Take] {
        assert!(ask(&mut world, "old", 5, claim).is_err(), "{claim:?}");
    }
    let held = world.state.volume(&name("db")).unwrap().1.attachments.held();
    assert!(held.len() == 1 && held[0].client == name("new") && held[0].token == TokenHash([4; 32]), "{held:?}");
}

#[test]
fn a_volume_stays_in_the_places_that_were_asked_for() {
    let mut world = World::new(6, GIB);
    let place = |zone: &str| Labels::from([("zone".to_owned(), zone.to_owned())]);
    let nodes: Vec<_> = world.state.nodes().map(|(_, node)| node.labels["zone"].clone()).collect();
    assert!(nodes.contains(&"a".to_owned()) && nodes.contains(&"b".to_owned()), "{nodes:?}");
    for (index, places) in [vec![place("b")], vec![place("nowhere"), place("b")]].into_iter().enumerate() {
        let volume = format!("in-b-{index}");
        world.create(&volume, GIB, VolumeSpec { places, ..VolumeSpec::default() }).unwrap();
        let home = world.state.volume(&name(&volume)).unwrap().1.home();
        let node = &world.state.pool(home).unwrap().node;
        assert_eq!(world.state.node(node).unwrap().labels["zone"], "b");
    }
    let nowhere = VolumeSpec { places: vec![place("nowhere")], ..VolumeSpec::default() };
    assert!(world.create("none", GIB, nowhere.clone()).unwrap_err().to_string().contains("none of the places"));
    assert_eq!(world.state.room(&nowhere).volume_max_bytes, 0);
}

/// What room says can be made, and one block more cannot.
#[test]
fn room_is_exact() {
    let mut world = World::new(4, GIB);
    for replicas in [1, 2, 3] {
        let spec = VolumeSpec { replicas, ..VolumeSpec::default() };
        let room = world.state.room(&spec);
        assert!(room.volume_max_bytes >= GIB && room.total_bytes >= room.volume_max_bytes, "{room:?}");
        assert!(world.state.place(room.volume_max_bytes, &spec, None).is_ok());
        assert!(world.state.place(room.volume_max_bytes + 4096, &spec, None).is_err());
        world.create(&format!("v{replicas}"), GIB, spec).unwrap();
    }
}

#[test]
fn the_host_that_was_not_seen_for_longest_makes_room() {
    let mut world = World::new(1, GIB);
    let register = |world: &mut World, host: &str| {
        world.apply_after(1, None, Change::RegisterHost { host: name(host), labels: Labels::new() }).unwrap();
    };
    for index in 0..HOSTS_MAX {
        register(&mut world, &format!("h{index}"));
    }
    register(&mut world, "h0");
    register(&mut world, "one-more");
    assert_eq!(world.state.hosts().count(), HOSTS_MAX);
    let known = |host: &str| world.state.host(&name(host)).is_some();
    assert_eq!((known("h0"), known("h1"), known("one-more")), (true, false, true));
    assert!(matches!(world.apply(None, Change::RemoveHost { host: name("h1") }), Err(Refusal::NoSuchHost(_))));
    world.apply(None, Change::RemoveHost { host: name("h0") }).unwrap();
    assert!(world.state.host(&name("h0")).is_none());
}
