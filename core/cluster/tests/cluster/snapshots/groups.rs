//! Groups under random orders of what their nodes do: whatever is ready is one instant, and all ends within its time.

use std::collections::BTreeMap;

use block::{SnapshotId, VolumeId};
use cluster::{Answer, Change, GroupId, Hold, HoldState, Labels, Name, VolumeSpec};
use proptest::prelude::{Strategy, prop_oneof};
use proptest::{collection, proptest};

use crate::world::{GIB, World, name, operation};

const NODES: u8 = 3;

#[derive(Clone, Debug)]
enum Deed {
    Take(u8, u8),
    Delete(u8),
    Tell(u8),
    Work(u8),
    Report(u8),
    Round(u8),
    /// The hold has lasted too long for the node.
    Break(u8),
    Restart(u8),
    Glitch(u8),
    Wait(u64),
}

fn deed() -> impl Strategy<Value = Deed> {
    let node = || 0..NODES;
    prop_oneof![
        2 => (0..3_u8, 1..8_u8).prop_map(|(group, of)| Deed::Take(group, of)),
        1 => (0..3_u8).prop_map(Deed::Delete),
        4 => node().prop_map(Deed::Tell),
        4 => node().prop_map(Deed::Work),
        4 => node().prop_map(Deed::Report),
        16 => node().prop_map(Deed::Round),
        2 => node().prop_map(Deed::Break),
        1 => node().prop_map(Deed::Restart),
        1 => node().prop_map(Deed::Glitch),
        3 => prop_oneof![5..100_u64, 200..1500_u64].prop_map(Deed::Wait),
    ]
}

/// From when to when a node held for an attempt, and when it cut; in steps.
#[derive(Debug, Default)]
struct Watch {
    step: u64,
    holding: BTreeMap<(VolumeId, GroupId), u64>,
    held: BTreeMap<(VolumeId, GroupId), Vec<(u64, u64)>>,
    cut: BTreeMap<SnapshotId, u64>,
}

impl Watch {
    /// What is so after a step.
    fn look(&mut self, world: &World) {
        self.step += 1;
        let all = || world.nodes.values().flat_map(|node| node.pools.values()).flatten();
        let mut now = BTreeMap::new();
        for (volume, replica) in all() {
            if let Some(Hold { group, state: HoldState::Held | HoldState::Cut }) = replica.standing.hold {
                now.insert((*volume, group), ());
                self.holding.entry((*volume, group)).or_insert(self.step);
            }
            for id in replica.snapshots.keys() {
                self.cut.entry(*id).or_insert(self.step);
            }
        }
        let over: Vec<_> = self.holding.keys().filter(|key| !now.contains_key(key)).copied().collect();
        for key in over {
            let since = self.holding.remove(&key).expect("just seen");
            self.held.entry(key).or_default().push((since, self.step));
        }
    }

    /// Whether every volume held, without a gap, from before the first cut until after the last, for one attempt.
    fn is_one_instant(&self, members: &BTreeMap<VolumeId, SnapshotId>) -> bool {
        let cuts: Vec<u64> = members.values().map(|snapshot| self.cut[snapshot]).collect();
        let (first, last) = (cuts.iter().min().unwrap(), cuts.iter().max().unwrap());
        let covers = |holds: &Vec<(u64, u64)>| holds.iter().any(|(since, until)| since <= first && until >= last);
        let attempts: std::collections::BTreeSet<GroupId> = self.held.keys().map(|(_, attempt)| *attempt).collect();
        let held = |volume: &VolumeId, attempt| self.held.get(&(*volume, attempt)).is_some_and(covers);
        attempts.into_iter().any(|attempt| members.keys().all(|volume| held(volume, attempt)))
    }
}

struct History {
    world: World,
    watch: Watch,
}

fn group(index: u8) -> Name {
    name(&format!("g{index}"))
}

impl History {
    /// A volume on each node.
    fn new() -> Self {
        let mut world = World::new(NODES.into(), 10 * GIB);
        for index in 0..NODES {
            world.create(&format!("v{index}"), GIB, VolumeSpec::default()).unwrap();
        }
        world.round();
        Self { world, watch: Watch::default() }
    }

    fn apply(&mut self, ms: u64, change: Change) {
        let _refused_or_not = self.world.apply_after(ms, None, change);
        self.check();
    }

    fn perform(&mut self, deed: &Deed) {
        let node = |index: &u8| name(&format!("n{index}"));
        match deed {
            Deed::Take(index, of) => {
                let volumes =
                    (0..NODES).filter(|volume| of >> volume & 1 == 1).map(|volume| name(&format!("v{volume}")));
                let volumes = volumes.collect();
                self.apply(1, Change::CreateGroup { name: group(*index), volumes, labels: Labels::new() });
            }
            Deed::Delete(index) => self.apply(1, Change::DeleteGroup { group: group(*index) }),
            Deed::Tell(index) => self.world.tell(&node(index)),
            Deed::Work(index) => self.world.nodes.get_mut(&node(index)).unwrap().work(),
            Deed::Report(index) => self.world.report(&node(index)),
            Deed::Round(index) => self.round(&node(index)),
            Deed::Break(index) => self.break_holds(&node(index)),
            Deed::Restart(index) => {
                self.world.nodes.get_mut(&node(index)).unwrap().restart(false);
                self.watch.look(&self.world);
                self.world.connect(&node(index));
            }
            Deed::Glitch(index) => self.world.connect(&node(index)),
            Deed::Wait(ms) => self.apply(*ms, Change::Tick),
        }
        self.watch.look(&self.world);
        self.check();
    }

    fn round(&mut self, node: &Name) {
        self.world.tell(node);
        self.world.nodes.get_mut(node).unwrap().work();
        self.watch.look(&self.world);
        self.world.report(node);
    }

    fn break_holds(&mut self, node: &Name) {
        let pools = &mut self.world.nodes.get_mut(node).unwrap().pools;
        for replica in pools.values_mut().flat_map(BTreeMap::values_mut) {
            if let Some(Hold { group, state: HoldState::Held | HoldState::Cut }) = replica.standing.hold {
                replica.standing.hold = Some(Hold { group, state: HoldState::Broken });
            }
        }
    }

    fn check(&self) {
        let state = &self.world.state;
        for (_, group) in state.groups(None) {
            let members: BTreeMap<VolumeId, SnapshotId> =
                group.members.iter().map(|(volume, member)| (*volume, member.snapshot)).collect();
            let ready = |id: &SnapshotId| {
                let found = state.contents().snapshots.get(id);
                found.is_some_and(|snapshot| state.is_snapshot_ready(snapshot))
            };
            assert_eq!(members.values().any(ready), group.is_ready(), "all of a group, or nothing");
            if group.is_ready() {
                assert!(members.values().all(ready), "all of a group, or nothing");
                let instant = self.watch.is_one_instant(&members);
                assert!(instant, "group {} is one instant: {:?} {:?}", group.name, group, self.watch);
            }
        }
    }

    fn heal(&mut self) {
        for _ in 0..60 {
            for index in 0..NODES {
                self.round(&name(&format!("n{index}")));
                self.check();
            }
            self.apply(200, Change::Tick);
        }
        let running: Vec<_> = self.world.state.running_operations().collect();
        assert!(
            running.is_empty(),
            "{:?}",
            running.iter().map(|id| self.world.state.waits_for(*id)).collect::<Vec<_>>()
        );
        assert!(self.world.state.contents().graves.is_empty());
        for (pool, volumes) in self.world.nodes.values().flat_map(|node| &node.pools) {
            let left: Vec<_> = volumes.values().flat_map(|replica| replica.snapshots.keys()).collect();
            let wanted = |id: &&SnapshotId| self.world.state.contents().snapshots.contains_key(id);
            assert!(left.iter().all(wanted), "{left:?} in {pool}");
        }
    }
}

proptest! {
    #![proptest_config(crate::cases(1024))]

    #[test]
    fn whatever_happens_a_group_that_is_ready_is_one_instant_of_all_its_volumes(
        deeds in collection::vec(deed(), 1..150),
    ) {
        let mut history = History::new();
        for deed in &deeds {
            history.perform(deed);
        }
        history.heal();
    }
}

fn all() -> Vec<Name> {
    (0..NODES).map(|volume| name(&format!("v{volume}"))).collect()
}

fn take(history: &mut History) -> Answer {
    history.world.apply(None, Change::CreateGroup { name: name("g"), volumes: all(), labels: Labels::new() }).unwrap()
}

#[test]
fn a_group_is_ready_when_all_nodes_have_held_cut_and_released() {
    let mut history = History::new();
    let answer = take(&mut history);
    for rounds in 0..3 {
        assert!(!history.world.has_ended(operation(&answer)), "after {rounds} rounds");
        (0..NODES).for_each(|index| history.round(&name(&format!("n{index}"))));
    }
    assert!(history.world.has_ended(operation(&answer)));
    history.check();
    assert!(history.world.state.group(&name("g")).unwrap().1.is_ready());
    assert_eq!(history.world.state.snapshots(None).count(), 3);
    assert!(history.world.state.contents().volumes.values().all(|volume| volume.group.is_none()));
}

#[test]
fn a_group_that_cannot_hold_is_tried_again_and_then_fails_with_a_reason() {
    let mut history = History::new();
    let answer = take(&mut history);
    let id = operation(&answer);
    for _ in 0..80 {
        for index in 0..NODES {
            let node = name(&format!("n{index}"));
            history.world.tell(&node);
            history.world.nodes.get_mut(&node).unwrap().work();
            history.watch.look(&history.world);
            if index == 1 {
                history.break_holds(&node);
            }
            history.world.report(&node);
        }
        history.apply(200, Change::Tick);
    }
    let failed = history.world.state.operation(id).unwrap().failed.clone().expect("it failed");
    assert_eq!(failed, "it was tried 5 times: the primary of volume v1 could not hold for long enough");
    assert!(history.world.state.group(&name("g")).is_none());
    history.heal();
    assert_eq!(history.world.state.snapshots(None).count(), 0, "all or nothing");
    let retried = take(&mut history);
    (0..3).for_each(|_| (0..NODES).for_each(|index| history.round(&name(&format!("n{index}")))));
    assert!(history.world.has_ended(operation(&retried)));
    assert!(history.world.state.group(&name("g")).unwrap().1.is_ready(), "the name is free");
}

#[test]
fn a_group_of_which_a_volume_is_not_served_fails_in_time() {
    let mut history = History::new();
    history.world.disconnect(&name("n2"));
    let answer = take(&mut history);
    let begun = history.world.now;
    while !history.world.has_ended(operation(&answer)) {
        history.apply(100, Change::Tick);
        assert!(history.world.now < begun + 12_000, "it ends");
    }
    let failed = history.world.state.operation(operation(&answer)).unwrap().failed.clone().unwrap();
    assert!(failed.contains("volume v2 is not served"), "{failed}");
}

#[test]
fn deleting_a_volume_ends_the_group_that_is_being_taken_of_it() {
    let mut history = History::new();
    let answer = take(&mut history);
    history.world.apply(None, Change::DeleteVolume { volume: name("v1"), force: false }).unwrap();
    let failed = history.world.state.operation(operation(&answer)).unwrap().failed.clone().unwrap();
    assert_eq!(failed, "volume v1 was deleted");
    history.heal();
    assert_eq!(history.world.state.volume_count(), 2);
    assert_eq!(history.world.state.retired().count(), 0);
}
