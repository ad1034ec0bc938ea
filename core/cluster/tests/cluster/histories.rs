//! Random histories: whatever happens in whatever order, the invariants hold, the same log makes the same state, and
//! when everybody is heard again everything that was asked for ends.

use block::PoolId;
use cluster::{AccessMode, Admin, Change, Observed, Phase, State, VolumeSpec};
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::{collection, proptest};

use crate::world::{GIB, World, name};

#[derive(Clone, Debug)]
enum Deed {
    Create(u8, u64),
    Delete(u8, bool),
    Resize(u8, u64),
    Attach(u8, u8, AccessMode),
    Detach(u8, Option<u8>),
    Connect(u8),
    Disconnect(u8),
    Tell(u8),
    Work(u8),
    Report(u8),
    Cordon(u8, bool),
    Retry(usize),
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        3 => (0..6_u8, 1..4_u64).prop_map(|(volume, gib)| Deed::Create(volume, gib)),
        2 => (0..6_u8, any::<bool>()).prop_map(|(volume, force)| Deed::Delete(volume, force)),
        1 => (0..6_u8, 1..6_u64).prop_map(|(volume, gib)| Deed::Resize(volume, gib)),
        3 => (0..6_u8, 0..3_u8, mode()).prop_map(|(volume, client, mode)| Deed::Attach(volume, client, mode)),
        2 => (0..6_u8, proptest::option::of(0..3_u8)).prop_map(|(volume, client)| Deed::Detach(volume, client)),
        2 => (0..3_u8).prop_map(Deed::Connect),
        1 => (0..3_u8).prop_map(Deed::Disconnect),
        4 => (0..3_u8).prop_map(Deed::Tell),
        4 => (0..3_u8).prop_map(Deed::Work),
        4 => (0..3_u8).prop_map(Deed::Report),
        1 => (0..3_u8, any::<bool>()).prop_map(|(node, cordoned)| Deed::Cordon(node, cordoned)),
        1 => any::<usize>().prop_map(Deed::Retry),
    ]
}

fn mode() -> impl Strategy<Value = AccessMode> {
    prop_oneof![Just(AccessMode::ReadWrite), Just(AccessMode::ReadOnly), Just(AccessMode::Shared)]
}

/// Refusals are as good as answers here.
fn perform(world: &mut World, number: u128, deed: &Deed) {
    let node = |index: &u8| name(&format!("n{index}"));
    let volume = |index: &u8| name(&format!("v{index}"));
    let client = |index: &u8| name(&format!("c{index}"));
    let change = match deed {
        Deed::Create(index, gib) => Change::CreateVolume {
            name: volume(index),
            size_bytes: gib * GIB,
            spec: VolumeSpec::default(),
            source: None,
        },
        Deed::Delete(index, force) => Change::DeleteVolume { volume: volume(index), force: *force },
        Deed::Resize(index, gib) => Change::ResizeVolume { volume: volume(index), size_bytes: gib * GIB },
        Deed::Attach(index, who, mode) => Change::Attach {
            volume: volume(index),
            client: client(who),
            mode: *mode,
            token: cluster::TokenHash([*who; 32]),
            claim: if *who == 0 { cluster::Claim::Keep } else { cluster::Claim::Take },
        },
        Deed::Detach(index, who) => Change::Detach { volume: volume(index), client: who.as_ref().map(client) },
        Deed::Cordon(index, cordoned) => Change::Administer {
            node: node(index),
            admin: if *cordoned { Admin::Cordoned } else { Admin::Schedulable },
        },
        Deed::Connect(index) => return world.connect(&node(index)),
        Deed::Disconnect(index) => return world.disconnect(&node(index)),
        Deed::Tell(index) => return world.tell(&node(index)),
        Deed::Work(index) => return world.nodes.get_mut(&node(index)).unwrap().work(),
        Deed::Report(index) => return world.report(&node(index)),
        Deed::Retry(index) => {
            let requests: Vec<_> = world.log.iter().filter(|command| command.request.is_some()).cloned().collect();
            if requests.is_empty() {
                return;
            }
            let command = requests[index % requests.len()].clone();
            world.log.push(command.clone());
            let _refused_or_not = world.state.apply(command);
            return;
        }
    };
    let _refused_or_not = world.apply(Some(number), change);
}

fn check(world: &World) {
    let state = &world.state;
    let mut promised = std::collections::BTreeMap::<PoolId, u64>::new();
    for (id, volume) in state.volumes(None) {
        assert_eq!(state.volume(&volume.name).map(|(id, _)| id), Some(id), "a name stands for one volume");
        *promised.entry(volume.home()).or_default() += volume.size_bytes;
        let writers = volume.attachments.held().iter().filter(|held| held.mode == AccessMode::ReadWrite).count();
        assert!(writers == 0 || volume.attachments.held().len() == 1, "a writer is alone");
        let shared = volume.attachments.held().iter().filter(|held| held.mode == AccessMode::Shared).count();
        assert!(shared == 0 || volume.attachments.held().len() == shared, "nobody else is beside who shares it");
        if let Observed::Present { generation, .. } = volume.at_home().observed {
            assert!(generation <= volume.attachments.generation, "nobody goes by what was never said");
            assert_eq!(volume.phase, Phase::Ready);
        }
    }
    for (id, pool) in state.pools() {
        assert!(state.node(&pool.node).is_some());
        assert!(pool.orphans.is_empty(), "every replica there ever was is known until it is gone: {:?}", pool.orphans);
        let limit = pool.capacity_bytes * state.settings().overcommit_percent / 100;
        let sum = promised.get(&id).copied().unwrap_or(0);
        // Growing is not limited, or a resize of a volume in a pool that is full of promises could never be granted.
        assert!(sum <= limit + 6 * 5 * GIB, "{sum} bytes are promised in a pool of {limit}");
    }
    let waiting = state.operations().filter(|(_, operation)| operation.ended.is_none());
    for (id, operation) in waiting {
        assert!(state.waits_for(id).is_some(), "{operation:?} can say what it waits for");
    }
}

fn heal(world: &mut World) {
    for index in 0..3 {
        world.connect(&name(&format!("n{index}")));
    }
    for _ in 0..3 {
        world.round();
    }
    for (id, operation) in world.state.operations() {
        assert!(operation.ended.is_some(), "{operation:?} waits for {:?}", world.state.waits_for(id));
    }
    assert!(world.state.volumes(None).all(|(_, volume)| volume.is_settled()));
    assert!(world.state.tombstones().next().is_none());
    let held: usize =
        world.nodes.values().flat_map(|node| node.pools.values()).map(std::collections::BTreeMap::len).sum();
    assert_eq!(held, world.state.volumes(None).count(), "no orphan and no lost volume");
}

proptest! {
    #[test]
    fn everything_that_was_asked_for_ends(deeds in collection::vec(deed(), 1..120)) {
        let mut world = World::new(3, 2 * GIB);
        for (number, deed) in (1..).zip(&deeds) {
            perform(&mut world, number, deed);
            check(&world);
        }
        heal(&mut world);
        check(&world);
        let mut again = State::default();
        for command in &world.log {
            let _refused_or_not = again.apply(command.clone());
        }
        assert!(again == world.state, "the same log makes the same state");
        // A voter that begins from a snapshot anywhere in the log comes to the same.
        let (first, rest) = world.log.split_at(world.log.len() / 2);
        let mut again = State::default();
        for command in first {
            let _refused_or_not = again.apply(command.clone());
        }
        let mut loaded = State::load(again.contents().clone()).unwrap();
        for command in rest {
            let _refused_or_not = loaded.apply(command.clone());
        }
        assert!(loaded.contents() == world.state.contents(), "a snapshot and the rest of the log make the same state");
    }
}
