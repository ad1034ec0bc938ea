//! One promise each.

use std::collections::{BTreeMap, BTreeSet};

use block::PoolId;
use cluster::{
    AccessMode, Admin, Change, Fate, Health, Modification, Name, Observed, Progress, Refusal, Role, Settings, Volume,
    VolumeSpec, ZoneSpread,
};

use super::members::Members;
use crate::world::{GIB, SimNode, World, name, operation};

pub fn of(replicas: u8) -> VolumeSpec {
    VolumeSpec { replicas, ..VolumeSpec::default() }
}

pub fn volume(world: &World) -> &Volume {
    world.state.volume(&name("db")).unwrap().1
}

pub fn explained(world: &World) -> String {
    world.state.explain_volume(&name("db")).unwrap().join("\n")
}

pub fn node_of(world: &World, pool: PoolId) -> Name {
    world.state.pool(pool).unwrap().node.clone()
}

pub fn primary(world: &World) -> PoolId {
    volume(world).replication.as_ref().unwrap().configuration.primary
}

/// Nodes hear, work, report, and ask for what they want, until nothing changes any more.
pub fn settle(world: &mut World, members: &mut Members) {
    for _ in 0..12 {
        world.round();
        for node in world.nodes.keys().cloned().collect::<Vec<_>>() {
            members.seek(world, &node);
            members.propose(world, &node);
        }
        for change in std::mem::take(&mut members.pending) {
            let _refused_or_not = world.apply(None, change);
        }
        world.apply_after(100, None, Change::Tick).unwrap();
    }
}

pub fn made(nodes: u128, spec: VolumeSpec) -> (World, Members) {
    let (mut world, mut members) = (World::new(nodes, 10 * GIB), Members::default());
    world.create("db", GIB, spec).unwrap();
    settle(&mut world, &mut members);
    assert_eq!(volume(&world).health(), Health::Ready, "{}", explained(&world));
    (world, members)
}

fn stop(world: &mut World, node: &Name) {
    world.disconnect(node);
}

fn start(world: &mut World, node: &Name, cold: bool) {
    world.nodes.get_mut(node).unwrap().restart(cold);
    world.connect(node);
}

fn wait(world: &mut World, ms: u64) {
    world.apply_after(ms, None, Change::Tick).unwrap();
}

fn wait_until(world: &mut World, ms: u64) {
    let now = world.now;
    wait(world, ms - now);
}

fn wait_for_deadline(world: &mut World) {
    let deadline = world.state.deadline().expect("something waits for time");
    wait_until(world, deadline.0);
}

fn administer(world: &mut World, node: &Name, admin: Admin) {
    world.apply(None, Change::Administer { node: node.clone(), admin }).unwrap();
}

fn modify(world: &mut World, modification: Modification) -> Result<cluster::Answer, Refusal> {
    world.apply(None, Change::ModifyVolume { volume: name("db"), modification })
}

#[test]
fn replicas_are_on_nodes_of_their_own_and_in_zones_as_asked() {
    // Four nodes: two in zone a, two in zone b.
    let world = World::new(4, 10 * GIB);
    let place = |replicas, zone_spread| world.state.place(GIB, &VolumeSpec { zone_spread, ..of(replicas) }, None);
    let nodes = |pools: Vec<PoolId>| pools.into_iter().map(|pool| node_of(&world, pool)).collect::<BTreeSet<_>>();
    for spread in [ZoneSpread::Preferred, ZoneSpread::None] {
        assert_eq!(nodes(place(4, spread).unwrap()).len(), 4);
    }
    let zones: BTreeSet<_> = nodes(place(2, ZoneSpread::Preferred).unwrap())
        .iter()
        .map(|node| world.state.node(node).unwrap().zone().unwrap().to_owned())
        .collect();
    assert_eq!(zones.len(), 2, "a zone of its own is better");
    assert_eq!(place(2, ZoneSpread::Required).unwrap().len(), 2);
    let words = place(3, ZoneSpread::Required).unwrap_err().to_string();
    for reason in ["zone a has a replica", "zone b has a replica", "its node has a replica"] {
        assert!(words.contains(reason), "{reason} is missing in: {words}");
    }
    assert!(place(5, ZoneSpread::None).unwrap_err().to_string().contains("its node has a replica"));
}

#[test]
fn copies_that_cannot_be_are_refused() {
    let mut world = World::new(3, 10 * GIB);
    for replicas in [0, 6] {
        assert!(matches!(world.create("db", GIB, of(replicas)), Err(Refusal::ReplicaCount(_))));
    }
    for members_min in [Some(0), Some(4)] {
        let spec = VolumeSpec { members_min, ..of(3) };
        assert!(matches!(world.create("db", GIB, spec), Err(Refusal::MembersMin { .. })));
    }
}

#[test]
fn a_volume_is_made_when_enough_are_in_sync_and_says_what_it_waits_for() {
    let (mut world, mut members) = (World::new(3, 10 * GIB), Members::default());
    let making = operation(&world.create("db", GIB, of(3)).unwrap());
    let waits = |world: &World| world.state.waits_for(making).unwrap().to_string();
    assert!(waits(&world).contains("is to make it"), "{}", waits(&world));
    assert!(volume(&world).replication.is_none());
    let routes = |world: &World| world.state.intent(&name("n0")).routes.len();
    assert_eq!(routes(&world), 0);
    let first = name("n1");
    world.tell(&first);
    world.nodes.get_mut(&first).unwrap().work();
    world.report(&first);
    let configuration = volume(&world).replication.as_ref().unwrap().configuration.clone();
    assert_eq!((node_of(&world, configuration.primary), configuration.members_min), (first.clone(), 2));
    assert!(configuration.recovery && configuration.members.len() == 1);
    assert!(waits(&world).contains("to be primary"), "{}", waits(&world));
    world.round();
    assert!(!world.has_ended(making));
    assert!(waits(&world).contains("1 of 2 replicas that are needed are in sync"), "{}", waits(&world));
    assert_eq!(volume(&world).health(), Health::Creating);
    settle(&mut world, &mut members);
    assert!(world.has_ended(making));
    assert_eq!(volume(&world).health(), Health::Ready);
    assert!(volume(&world).replicas.values().all(|replica| replica.fate == Fate::Stays));
}

#[test]
fn every_replica_is_told_of_all_others_and_everybody_but_the_primary_of_the_primary() {
    let (world, _) = made(4, of(3));
    let serving = node_of(&world, primary(&world));
    for (node, _) in world.state.nodes() {
        let intent = world.state.intent(node);
        let routes: Vec<_> = intent.routes.iter().map(|route| route.address.clone()).collect();
        let expected = if *node == serving { Vec::new() } else { vec![format!("{serving}:7000")] };
        assert_eq!(routes, expected, "{node}");
        match intent.replicas.as_slice() {
            [replica] => {
                let replication = replica.replication.as_ref().unwrap();
                assert!(!replica.may_create);
                assert_eq!(replication.peers.len(), 2);
                assert!(
                    replication.peers.iter().all(|peer| peer.wanted && peer.address == format!("{}:7000", peer.node))
                );
                assert_eq!(
                    replication.configuration.as_ref(),
                    Some(&volume(&world).replication.as_ref().unwrap().configuration)
                );
            }
            others => assert!(others.is_empty()),
        }
    }
}

#[test]
fn a_detach_has_ended_when_the_primary_in_force_says_so() {
    let (mut world, mut members) = made(3, of(3));
    let attached = operation(&world.attach("db", "host", AccessMode::ReadWrite).unwrap());
    let old = primary(&world);
    let backup = volume(&world).in_sync().find(|pool| *pool != old).unwrap();
    // A backup that knows is not enough.
    let backup = node_of(&world, backup);
    world.tell(&backup);
    world.nodes.get_mut(&backup).unwrap().work();
    world.report(&backup);
    assert!(!world.has_ended(attached));
    settle(&mut world, &mut members);
    assert!(world.has_ended(attached));
    // The primary is cut off, and would confirm what it hears; another takes over before it does.
    let node = node_of(&world, old);
    stop(&mut world, &node);
    let detaching = operation(&world.detach("db", None).unwrap());
    let waits = world.state.waits_for(detaching).unwrap().to_string();
    assert!(waits.contains("another replica takes over"), "{waits}");
    settle(&mut world, &mut members);
    assert!(world.has_ended(detaching));
    assert_ne!(primary(&world), old);
}

#[test]
fn a_volume_that_lost_a_replica_is_degraded_and_says_which_since_when_and_what_is_done() {
    let (mut world, mut members) = made(3, of(3));
    let lost = volume(&world).in_sync().find(|pool| *pool != primary(&world)).unwrap();
    let node = node_of(&world, lost);
    stop(&mut world, &node);
    settle(&mut world, &mut members);
    assert_eq!(volume(&world).health(), Health::Degraded);
    wait(&mut world, 58_000);
    let words = explained(&world);
    for part in
        ["2 of 3 replicas are in sync", &format!("node {node} has not been heard for 60 s"), "when that is 10 min"]
    {
        assert!(words.contains(part), "{part} is missing in: {words}");
    }
    start(&mut world, &node, false);
    let now = world.now;
    let held = world.nodes.get_mut(&node).unwrap().pools.get_mut(&lost).unwrap().values_mut().next().unwrap();
    held.standing.resync = Some(Progress { left: 75, groups: 100 });
    held.standing.role = Role::Learner;
    world.report(&node);
    wait_until(&mut world, now + 20_000);
    let words = explained(&world);
    assert!(words.contains("is being filled: 25 % done, about 60 s left"), "{words}");
    settle(&mut world, &mut members);
    assert_eq!(volume(&world).health(), Health::Ready);
}

#[test]
fn with_too_few_in_sync_a_volume_is_blocked_and_says_how_many_it_needs() {
    let (mut world, mut members) = made(3, of(3));
    for pool in volume(&world).in_sync().filter(|pool| *pool != primary(&world)).collect::<Vec<_>>() {
        let node = node_of(&world, pool);
        stop(&mut world, &node);
    }
    settle(&mut world, &mut members);
    assert_eq!(volume(&world).health(), Health::Blocked);
    assert!(explained(&world).contains("written when 2 are"), "{}", explained(&world));
    modify(&mut world, Modification { members_min: Some(1), ..Modification::default() }).unwrap();
    settle(&mut world, &mut members);
    assert_eq!(volume(&world).health(), Health::Degraded, "whoever asks for less can write at once");
}

#[test]
fn after_a_loss_of_power_a_volume_goes_on_and_its_clients_attach_it_again() {
    let (mut world, mut members) = made(2, of(2));
    world.attach("db", "host", AccessMode::ReadWrite).unwrap();
    settle(&mut world, &mut members);
    let before = volume(&world).attachments.generation;
    for node in [name("n0"), name("n1")] {
        stop(&mut world, &node);
    }
    assert_eq!(volume(&world).health(), Health::Unavailable);
    assert!(explained(&world).contains("no replica that counts is heard"), "{}", explained(&world));
    start(&mut world, &name("n0"), true);
    assert_eq!(volume(&world).health(), Health::Recovering);
    assert!(explained(&world).contains("waits for the others at most"), "{}", explained(&world));
    wait_for_deadline(&mut world);
    assert_eq!(volume(&world).health(), Health::Recovering, "the other may be back soon");
    start(&mut world, &name("n1"), true);
    wait_for_deadline(&mut world);
    let replication = volume(&world).replication.as_ref().unwrap();
    assert_eq!((replication.configuration.cache_generation, replication.configuration.recovery), (1, true));
    assert!(volume(&world).attachments.held().is_empty() && volume(&world).attachments.generation > before);
    settle(&mut world, &mut members);
    assert_eq!(volume(&world).health(), Health::NeedsAttach);
    assert!(explained(&world).contains("host must attach it again"), "{}", explained(&world));
    world.attach("db", "host", AccessMode::ReadWrite).unwrap();
    settle(&mut world, &mut members);
    assert_eq!(volume(&world).health(), Health::Ready);
}

#[test]
fn without_a_loss_of_power_clients_do_not_notice() {
    let (mut world, mut members) = made(3, of(3));
    world.attach("db", "host", AccessMode::ReadWrite).unwrap();
    settle(&mut world, &mut members);
    for node in world.nodes.keys().cloned().collect::<Vec<_>>() {
        stop(&mut world, &node);
        start(&mut world, &node, false);
    }
    assert_eq!(volume(&world).health(), Health::Recovering);
    wait_for_deadline(&mut world);
    settle(&mut world, &mut members);
    assert_eq!(volume(&world).health(), Health::Ready);
    let configuration = &volume(&world).replication.as_ref().unwrap().configuration;
    assert_eq!(configuration.cache_generation, 0);
    assert_eq!(volume(&world).attachments.held().len(), 1);
}

#[test]
fn when_every_member_is_gone_an_older_copy_is_taken_only_by_force() {
    let (mut world, mut members) = made(3, of(3));
    let last = primary(&world);
    let others: Vec<PoolId> = volume(&world).in_sync().filter(|pool| *pool != last).collect();
    for pool in &others {
        let node = node_of(&world, *pool);
        stop(&mut world, &node);
    }
    settle(&mut world, &mut members);
    let promote = |pool| Change::ForcePromote { volume: name("db"), pool };
    assert!(matches!(world.apply(None, promote(others[0])), Err(Refusal::NotLost { .. })));
    let node = node_of(&world, last);
    world.nodes.get_mut(&node).unwrap().pools.values_mut().for_each(BTreeMap::clear);
    start(&mut world, &node, true);
    let node = node_of(&world, others[0]);
    start(&mut world, &node, false);
    wait(&mut world, 60_000);
    assert_eq!(volume(&world).health(), Health::Failed);
    assert!(explained(&world).contains("an older copy is in pool"), "{}", explained(&world));
    assert!(matches!(world.apply(None, promote(last)), Err(Refusal::NoSuchReplica { .. })));
    world.apply(None, promote(others[0])).unwrap();
    let replication = volume(&world).replication.as_ref().unwrap();
    let begun = u64::from(replication.configuration.epoch.0);
    assert_eq!((replication.lineage, replication.configuration.primary), (begun, others[0]));
    assert_eq!(replication.configuration.cache_generation, 1);
    settle(&mut world, &mut members);
    assert_eq!(volume(&world).health(), Health::Degraded, "one node is still stopped: {}", explained(&world));
    assert_eq!(volume(&world).in_sync().count(), 2);
}

#[test]
fn a_node_that_is_silent_for_too_long_is_replaced_and_deletes_its_copy_when_it_is_back() {
    let (mut world, mut members) = made(4, of(3));
    let settings = Settings { replace_after_ms: 60_000, ..Settings::default() };
    world.apply(None, Change::Set(settings)).unwrap();
    let lost = volume(&world).in_sync().find(|pool| *pool != primary(&world)).unwrap();
    let node = node_of(&world, lost);
    stop(&mut world, &node);
    settle(&mut world, &mut members);
    wait_for_deadline(&mut world);
    assert_eq!(volume(&world).replicas.len(), 4, "one more until it is in sync");
    settle(&mut world, &mut members);
    assert_eq!(volume(&world).health(), Health::Ready);
    assert!(!volume(&world).replicas.contains_key(&lost));
    assert_eq!(world.state.tombstones().count(), 1);
    let deleting = operation(&world.apply(None, Change::DeleteVolume { volume: name("db"), force: false }).unwrap());
    world.round();
    assert!(world.state.waits_for(deleting).unwrap().to_string().contains(&format!("node {node} is not heard")));
    start(&mut world, &node, false);
    settle(&mut world, &mut members);
    assert!(world.has_ended(deleting));
    assert!(world.nodes.values().all(|node| node.pools.values().all(BTreeMap::is_empty)), "nothing is left");
}

#[test]
fn a_drained_node_hands_over_and_gives_its_replica_up_when_another_is_in_sync() {
    let (mut world, mut members) = made(3, of(2));
    let first = primary(&world);
    let node = node_of(&world, first);
    administer(&mut world, &node, Admin::Draining);
    let successor = volume(&world).replication.as_ref().unwrap().hand_over_to.unwrap();
    assert_ne!(successor, first);
    assert_eq!(volume(&world).replicas.len(), 3);
    assert!(volume(&world).in_sync().any(|pool| pool == first), "it counts until another is there");
    settle(&mut world, &mut members);
    assert_eq!((volume(&world).health(), primary(&world)), (Health::Ready, successor));
    assert!(!volume(&world).replicas.contains_key(&first));
    assert!(world.nodes[&node].pools[&first].is_empty());
    assert_eq!(world.state.volumes_in(first), 0);
}

#[test]
fn a_drained_node_keeps_what_has_no_other_place() {
    let (mut world, mut members) = made(2, of(2));
    let node = name("n0");
    administer(&mut world, &node, Admin::Draining);
    settle(&mut world, &mut members);
    assert_eq!(volume(&world).in_sync().count(), 2);
    assert!(explained(&world).contains("no place for another replica"), "{}", explained(&world));
    administer(&mut world, &node, Admin::Schedulable);
    assert!(volume(&world).replicas.values().all(|replica| replica.fate == Fate::Stays));
}

#[test]
fn a_volume_gets_more_replicas_and_fewer_while_it_is_used() {
    let (mut world, mut members) = (World::new(4, 10 * GIB), Members::default());
    world.create("db", GIB, of(1)).unwrap();
    settle(&mut world, &mut members);
    assert!(volume(&world).replication.is_none());
    let home = volume(&world).home();
    // Its node is one that knows of replication: it says in which incarnation its replica is.
    let node = node_of(&world, home);
    world
        .nodes
        .get_mut(&node)
        .unwrap()
        .pools
        .get_mut(&home)
        .unwrap()
        .values_mut()
        .next()
        .unwrap()
        .standing
        .incarnation = block::Incarnation(1);
    world.nodes.get_mut(&node).unwrap().life = 1;
    let asked = |replicas| Modification { replicas: Some(replicas), ..Modification::default() };
    for (replicas, nodes) in [(3, 3), (4, 4), (2, 2), (1, 1)] {
        modify(&mut world, asked(replicas)).unwrap();
        for _ in 0..3 {
            settle(&mut world, &mut members);
        }
        let volume = volume(&world);
        assert_eq!((volume.health(), volume.replicas.len()), (Health::Ready, nodes), "{}", explained(&world));
        let configuration = &volume.replication.as_ref().unwrap().configuration;
        assert_eq!(configuration.members_min, usize::from(replicas).div_ceil(2));
        assert_eq!(configuration.primary, home, "the primary is the last to go");
    }
    assert!(world.state.tombstones().next().is_none());
    let (mut world, _) = (World::new(4, 10 * GIB), ());
    world.create("db", GIB, of(2)).unwrap();
    assert!(matches!(modify(&mut world, asked(3)), Err(Refusal::NotMade(_))));
}

#[test]
fn a_volume_has_grown_when_all_who_count_have() {
    let (mut world, mut members) = made(3, of(3));
    let resize = Change::ResizeVolume { volume: name("db"), size_bytes: 2 * GIB };
    let growing = operation(&world.apply(None, resize).unwrap());
    let first = node_of(&world, primary(&world));
    world.tell(&first);
    world.nodes.get_mut(&first).unwrap().work();
    world.report(&first);
    assert!(!world.has_ended(growing));
    assert!(world.state.waits_for(growing).unwrap().to_string().contains("make it larger"));
    settle(&mut world, &mut members);
    assert!(world.has_ended(growing));
    for (pool, _) in world.state.pools() {
        assert_eq!(world.state.promised_bytes(pool), 2 * GIB);
    }
}

#[test]
fn a_replica_whose_pool_is_there_without_it_is_made_anew_as_another() {
    let (mut world, mut members) = made(3, of(3));
    let lost = volume(&world).in_sync().find(|pool| *pool != primary(&world)).unwrap();
    let node = node_of(&world, lost);
    world.nodes.get_mut(&node).unwrap().pools.values_mut().for_each(BTreeMap::clear);
    start(&mut world, &node, true);
    let replica = &volume(&world).replicas[&lost];
    assert!(replica.seen && replica.observed == Observed::Nothing);
    assert!(!world.state.intent(&node).replicas[0].may_create, "it is a member yet");
    settle(&mut world, &mut members);
    wait(&mut world, 11_000);
    settle(&mut world, &mut members);
    assert_eq!(volume(&world).health(), Health::Ready, "{}", explained(&world));
    assert!(volume(&world).replicas.contains_key(&lost), "there is no other place");
}

#[test]
fn a_pool_is_removed_when_no_volume_counts_on_it_and_another_takes_its_place() {
    let (mut world, mut members) = made(4, of(3));
    let gone = volume(&world).in_sync().find(|pool| *pool != primary(&world)).unwrap();
    world.disconnect(&node_of(&world, gone));
    let remove = Change::RemovePool { pool: gone, force: false };
    assert!(matches!(world.apply(None, remove.clone()), Err(Refusal::PoolCounts { .. })), "it is a member yet");
    settle(&mut world, &mut members);
    assert!(volume(&world).member(gone).is_none() && volume(&world).replicas.contains_key(&gone));
    world.apply(None, remove).unwrap();
    assert!(!volume(&world).replicas.contains_key(&gone));
    assert_eq!(world.state.tombstones().count(), 0);
    settle(&mut world, &mut members);
    assert_eq!(volume(&world).health(), Health::Ready, "{}", explained(&world));
    let peers = |world: &World| -> Vec<PoolId> {
        let intents = world.nodes.keys().flat_map(|node| world.state.intent(node).replicas);
        intents.flat_map(|intent| intent.replication.unwrap().peers).map(|peer| peer.pool).collect()
    };
    assert!(!peers(&world).contains(&gone), "nobody looks for it any more");
}

#[test]
fn an_operator_can_choose_the_primary() {
    let (mut world, mut members) = made(3, of(3));
    let other = volume(&world).in_sync().find(|pool| *pool != primary(&world)).unwrap();
    let hand_over = |pool| Change::HandOver { volume: name("db"), pool };
    assert!(matches!(world.apply(None, hand_over(PoolId(99))), Err(Refusal::NoSuchReplica { .. })));
    world.apply(None, hand_over(other)).unwrap();
    settle(&mut world, &mut members);
    assert_eq!(primary(&world), other);
    assert_eq!(volume(&world).replication.as_ref().unwrap().hand_over_to, None);
}

#[test]
fn the_only_replica_of_a_volume_leaves_a_node_that_is_drained() {
    let (mut world, mut members) = made(3, of(1));
    assert!(!volume(&world).is_replicated());
    let (home, node) = (volume(&world).home(), node_of(&world, volume(&world).home()));
    administer(&mut world, &node, Admin::Draining);
    assert_eq!(volume(&world).replicas[&home].fate, Fate::Moves(cluster::Reason::Draining));
    assert!(world.state.explain_node(&node).unwrap().join(" ").contains("one replica, and that is to move"));
    for _ in 0..3 {
        settle(&mut world, &mut members);
    }
    assert_eq!(volume(&world).health(), Health::Ready, "{}", explained(&world));
    assert_ne!(node_of(&world, volume(&world).home()), node);
    assert_eq!(volume(&world).replicas.len(), 1);
    world.disconnect(&node);
    world.apply(None, Change::RemoveNode { node }).unwrap();
}

#[test]
fn a_volume_that_was_told_to_be_replicated_stays_so_although_it_is_not_wanted_any_more() {
    let (mut world, mut members) = made(2, of(1));
    let node = node_of(&world, volume(&world).home());
    administer(&mut world, &node, Admin::Draining);
    world.tell(&node);
    world.nodes.get_mut(&node).unwrap().work();
    administer(&mut world, &node, Admin::Schedulable);
    assert!(!volume(&world).is_replicated(), "the node has not said that it has heard of it");
    world.report(&node);
    assert!(volume(&world).is_replicated(), "it does not go back from there, and would serve nobody");
    settle(&mut world, &mut members);
    assert_eq!(volume(&world).health(), Health::Ready, "{}", explained(&world));
    assert_eq!(node_of(&world, volume(&world).home()), node);
}

#[test]
fn a_replica_without_room_for_too_long_is_replaced_and_says_why() {
    let (mut world, mut members) = made(4, of(3));
    let full = volume(&world).in_sync().find(|pool| *pool != primary(&world)).unwrap();
    let node = node_of(&world, full);
    let set_unable = |world: &mut World, unable: bool| {
        let volumes = world.nodes.get_mut(&node).unwrap().pools.get_mut(&full).unwrap();
        volumes.values_mut().for_each(|held| held.standing.unable = unable);
    };
    // It left: another incarnation, which stays out.
    stop(&mut world, &node);
    start(&mut world, &node, false);
    set_unable(&mut world, true);
    world.report(&node);
    assert_eq!(volume(&world).replicas[&full].fate, Fate::Stays, "it may be over soon");
    let primary_node = node_of(&world, primary(&world));
    members.propose(&mut world, &primary_node);
    for change in std::mem::take(&mut members.pending) {
        world.apply(None, change).unwrap();
    }
    assert!(explained(&world).contains("its pool is full, or takes no writes"), "{}", explained(&world));
    wait(&mut world, 600_000);
    assert_eq!(volume(&world).replicas[&full].fate, Fate::Moves(cluster::Reason::Full), "{}", explained(&world));
    assert!(explained(&world).contains("its pool has had no room for it for too long"));
    for _ in 0..3 {
        settle(&mut world, &mut members);
    }
    assert_eq!(volume(&world).health(), Health::Ready, "{}", explained(&world));
    assert!(!volume(&world).replicas.contains_key(&full));
}

#[test]
fn whoever_promotes_by_force_twice_is_told_that_it_is_done() {
    let (mut world, _) = made(3, of(2));
    let nodes: Vec<Name> = volume(&world).replicas.keys().map(|pool| node_of(&world, *pool)).collect();
    let pool = primary(&world);
    let promote = Change::ForcePromote { volume: name("db"), pool };
    assert!(matches!(world.apply(None, promote.clone()), Err(Refusal::NotLost { .. })));
    nodes.iter().for_each(|node| stop(&mut world, node));
    let node = node_of(&world, pool);
    start(&mut world, &node, true);
    world.apply(None, promote.clone()).unwrap();
    let epoch = volume(&world).epoch();
    world.apply(None, promote).unwrap();
    assert_eq!(volume(&world).epoch(), epoch, "nothing is lost twice");
}

/// A cluster in which a node of a backup came back with a new pool: which node, its old pool, and what was in that.
fn with_an_exchanged_pool(new: PoolId) -> (World, Members, Name, PoolId, SimNode) {
    let (mut world, mut members) = made(3, of(3));
    world.apply(None, Change::Set(Settings { replace_after_ms: 10_000, ..Settings::default() })).unwrap();
    let old = volume(&world).in_sync().find(|pool| *pool != primary(&world)).unwrap();
    let node = node_of(&world, old);
    stop(&mut world, &node);
    settle(&mut world, &mut members);
    let mut before = world.nodes[&node].clone();
    before.pools = world.nodes.get_mut(&node).unwrap().exchange(new);
    start(&mut world, &node, true);
    (world, members, node, old, before)
}

#[test]
fn a_node_that_comes_back_with_another_pool_is_given_its_replica_again() {
    // Its id may be lower or higher than that of the old one.
    for new in [PoolId(0), PoolId(1000)] {
        let (mut world, mut members, node, old, _) = with_an_exchanged_pool(new);
        settle(&mut world, &mut members);
        assert!(explained(&world).contains("its node came back with another one"), "{}", explained(&world));
        assert!(!volume(&world).replicas.contains_key(&new), "it may have been started with a wrong path");
        wait(&mut world, 21_000);
        assert!(volume(&world).replicas.contains_key(&new), "{}", explained(&world));
        settle(&mut world, &mut members);
        assert_eq!(volume(&world).health(), Health::Ready, "{}", explained(&world));
        assert!(volume(&world).member(new).is_some() && !volume(&world).replicas.contains_key(&old));
        // And once more.
        stop(&mut world, &node);
        settle(&mut world, &mut members);
        let newer = PoolId(500);
        world.nodes.get_mut(&node).unwrap().exchange(newer);
        start(&mut world, &node, true);
        wait(&mut world, 11_000);
        wait(&mut world, 11_000);
        settle(&mut world, &mut members);
        assert_eq!(volume(&world).health(), Health::Ready, "{}", explained(&world));
        assert!(volume(&world).member(newer).is_some());
    }
}

#[test]
fn an_old_pool_that_is_back_in_time_is_gone_on_with() {
    for new in [PoolId(0), PoolId(1000)] {
        for is_placed in [false, true] {
            let (mut world, mut members, node, old, before) = with_an_exchanged_pool(new);
            if is_placed {
                wait(&mut world, 21_000);
                assert!(volume(&world).replicas.contains_key(&new));
                world.tell(&node);
                world.nodes.get_mut(&node).unwrap().work();
                world.report(&node);
            }
            stop(&mut world, &node);
            world.nodes.insert(node.clone(), before);
            start(&mut world, &node, false);
            for _ in 0..3 {
                settle(&mut world, &mut members);
                wait(&mut world, 11_000);
            }
            settle(&mut world, &mut members);
            assert_eq!(volume(&world).health(), Health::Ready, "{}", explained(&world));
            assert!(volume(&world).member(old).is_some(), "{new:?} {is_placed}");
        }
    }
}

#[test]
fn what_was_only_in_a_pool_that_is_gone_is_not_made_anew() {
    let (mut world, mut members) = made(3, of(1));
    world.apply(None, Change::Set(Settings { replace_after_ms: 10_000, ..Settings::default() })).unwrap();
    let old = volume(&world).home();
    let node = node_of(&world, old);
    stop(&mut world, &node);
    world.nodes.get_mut(&node).unwrap().exchange(PoolId(1000));
    start(&mut world, &node, true);
    for _ in 0..3 {
        settle(&mut world, &mut members);
        wait(&mut world, 700_000);
    }
    assert_eq!(volume(&world).health(), Health::Unavailable);
    assert!(explained(&world).contains("and has another one: start it with the pool that it had"));
    assert_eq!(volume(&world).replicas.keys().collect::<Vec<_>>(), [&old]);
    assert!(world.nodes.values().all(|node| node.pools.values().all(BTreeMap::is_empty)), "nothing is made");
    // The same of a volume whose only member was there.
    let (mut world, mut members, _, _, _) = with_an_exchanged_pool(PoolId(1000));
    let last = primary(&world);
    for pool in volume(&world).in_sync().filter(|pool| *pool != last).collect::<Vec<_>>() {
        let node = node_of(&world, pool);
        stop(&mut world, &node);
    }
    settle(&mut world, &mut members);
    let node = node_of(&world, last);
    stop(&mut world, &node);
    world.nodes.get_mut(&node).unwrap().exchange(PoolId(1001));
    start(&mut world, &node, true);
    for _ in 0..3 {
        settle(&mut world, &mut members);
        wait(&mut world, 11_000);
    }
    assert_eq!(volume(&world).health(), Health::Unavailable, "{}", explained(&world));
    assert!(explained(&world).contains("is back with another pool than"), "{}", explained(&world));
    assert!(world.nodes.values().filter(|node| node.up).all(|node| node.pools.values().all(BTreeMap::is_empty)));
}
