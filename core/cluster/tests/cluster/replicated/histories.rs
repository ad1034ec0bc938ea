//! Random histories: nodes stop, start, lose power and lose pools; proposals come late, twice or never; volumes are made,
//! grown, given more replicas and fewer, and deleted. Whatever happens in whatever order, the invariants hold, and when
//! everybody is heard again every volume that has not lost all its members is whole.

use std::collections::BTreeMap;

use block::{Epoch, PoolId, SnapshotId, VolumeId, WriteSeq};
use cluster::{
    AccessMode, Admin, Change, Configuration, Health, Labels, Modification, OperationKind, Source, State, Volume,
    VolumeSpec, ZoneSpread,
};
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::{collection, proptest};

use super::members::Members;
use crate::world::{GIB, SimNode, World, name};

const NODES: u8 = 5;

#[derive(Clone, Debug)]
enum Deed {
    Create(u8, u8),
    Delete(u8),
    Replicas(u8, u8),
    Attach(u8, u8),
    Detach(u8),
    Stop(u8),
    Start(u8, bool),
    Glitch(u8),
    Wipe(u8),
    Exchange(u8),
    Round(u8),
    Write(u8),
    Propose(u8),
    Seek(u8),
    Decide(usize, bool),
    Drain(u8, bool),
    HandOver(u8, u8),
    Wait(u64),
    Snapshot(u8, u8),
    DeleteSnapshot(u8),
    CloneSnapshot(u8, u8, u8),
    CloneVolume(u8, u8, u8),
    Schedule(u8, bool),
    Cut(u8),
    Ghost(u8),
}

fn deed() -> impl Strategy<Value = Deed> {
    let node = || 0..NODES;
    prop_oneof![
        3 => (0..3_u8, 1..4_u8).prop_map(|(volume, replicas)| Deed::Create(volume, replicas)),
        1 => (0..6_u8).prop_map(Deed::Delete),
        2 => (0..3_u8, 1..5_u8).prop_map(|(volume, replicas)| Deed::Replicas(volume, replicas)),
        2 => (0..3_u8, 0..2_u8).prop_map(|(volume, client)| Deed::Attach(volume, client)),
        1 => (0..3_u8).prop_map(Deed::Detach),
        3 => node().prop_map(Deed::Stop),
        4 => (node(), any::<bool>()).prop_map(|(node, cold)| Deed::Start(node, cold)),
        1 => node().prop_map(Deed::Glitch),
        1 => node().prop_map(Deed::Wipe),
        1 => node().prop_map(Deed::Exchange),
        12 => node().prop_map(Deed::Round),
        8 => node().prop_map(Deed::Write),
        6 => node().prop_map(Deed::Propose),
        3 => node().prop_map(Deed::Seek),
        8 => (any::<usize>(), any::<bool>()).prop_map(|(which, twice)| Deed::Decide(which, twice)),
        1 => (node(), any::<bool>()).prop_map(|(node, drains)| Deed::Drain(node, drains)),
        1 => (0..3_u8, 0..3_u8).prop_map(|(volume, which)| Deed::HandOver(volume, which)),
        4 => (0..4_u8, 0..3_u8).prop_map(|(snapshot, volume)| Deed::Snapshot(snapshot, volume)),
        2 => (0..4_u8).prop_map(Deed::DeleteSnapshot),
        2 => (3..6_u8, 0..4_u8, 1..4_u8).prop_map(|(volume, of, replicas)| Deed::CloneSnapshot(volume, of, replicas)),
        2 => (3..6_u8, 0..3_u8, 1..4_u8).prop_map(|(volume, of, replicas)| Deed::CloneVolume(volume, of, replicas)),
        1 => (0..3_u8, any::<bool>()).prop_map(|(volume, is)| Deed::Schedule(volume, is)),
        8 => node().prop_map(Deed::Cut),
        3 => node().prop_map(Deed::Ghost),
        4 => prop_oneof![Just(500_u64), Just(1100), Just(31_000), Just(700_000)].prop_map(Deed::Wait),
    ]
}

fn snapshot_change(deed: &Deed) -> Change {
    let volume = |index: &u8| name(&format!("v{index}"));
    let snapshot = |index: &u8| name(&format!("s{index}"));
    let clone = |index, source, replicas: &u8| Change::CreateVolume {
        name: volume(index),
        size_bytes: 0,
        spec: VolumeSpec { replicas: *replicas, ..VolumeSpec::default() },
        source: Some(source),
    };
    match deed {
        Deed::Snapshot(index, of) => {
            Change::CreateSnapshot { name: snapshot(index), volume: volume(of), labels: Labels::new() }
        }
        Deed::DeleteSnapshot(index) => Change::DeleteSnapshot { snapshot: snapshot(index) },
        Deed::CloneSnapshot(index, of, replicas) => clone(index, Source::Snapshot(snapshot(of)), replicas),
        Deed::CloneVolume(index, of, replicas) => clone(index, Source::Volume(volume(of)), replicas),
        Deed::Schedule(of, true) => {
            let cron = "*/10 * * * *".parse().unwrap();
            Change::SetSchedule { volume: volume(of), schedule: name("often"), cron, keep: 2 }
        }
        Deed::Schedule(of, false) => Change::RemoveSchedule { volume: volume(of), schedule: name("often") },
        other => panic!("{other:?} is about something else"),
    }
}

/// A history, with what is remembered to check it.
struct History {
    world: World,
    members: Members,
    /// Every configuration there ever was.
    decided: BTreeMap<(VolumeId, Epoch), Configuration>,
    /// Disks that were taken out of nodes.
    shelved: Vec<SimNode>,
    /// Where each snapshot was said to be cut.
    cut: BTreeMap<SnapshotId, WriteSeq>,
}

impl History {
    fn new() -> Self {
        let world = World::new(NODES.into(), 100 * GIB);
        let (decided, cut) = (BTreeMap::new(), BTreeMap::new());
        Self { world, members: Members::default(), decided, shelved: Vec::new(), cut }
    }

    fn apply(&mut self, wait_ms: u64, change: &Change) {
        let before = self.world.state.clone();
        let _refused_or_not = self.world.apply_after(wait_ms, None, change.clone());
        self.check_step(&before, change);
    }

    fn perform(&mut self, deed: &Deed) {
        let node = |index: &u8| name(&format!("n{index}"));
        let volume = |index: &u8| name(&format!("v{index}"));
        let change = match deed {
            Deed::Create(index, replicas) => {
                let spread = if index % 2 == 0 { ZoneSpread::Preferred } else { ZoneSpread::None };
                let spec = VolumeSpec { replicas: *replicas, zone_spread: spread, ..VolumeSpec::default() };
                Change::CreateVolume { name: volume(index), size_bytes: GIB, spec, source: None }
            }
            Deed::Delete(index) => Change::DeleteVolume { volume: volume(index), force: true },
            Deed::Replicas(index, replicas) => {
                let modification = Modification { replicas: Some(*replicas), ..Modification::default() };
                Change::ModifyVolume { volume: volume(index), modification }
            }
            Deed::Attach(index, client) => Change::Attach {
                volume: volume(index),
                client: name(&format!("c{client}")),
                mode: AccessMode::ReadWrite,
                token: cluster::TokenHash([*client; 32]),
                claim: cluster::Claim::Take,
            },
            Deed::Detach(index) => Change::Detach { volume: volume(index), client: None },
            Deed::Stop(index) => return self.stop(&node(index)),
            Deed::Start(index, cold) => return self.start(&node(index), *cold),
            Deed::Glitch(index) => return self.glitch(&node(index)),
            Deed::Wipe(index) => return self.wipe(&node(index)),
            Deed::Exchange(index) => return self.exchange(&node(index)),
            Deed::Round(index) => return self.round(&node(index)),
            Deed::Write(index) => return self.members.write(&mut self.world, &node(index)),
            Deed::Propose(index) => return self.members.propose(&mut self.world, &node(index)),
            Deed::Seek(index) => return self.members.seek(&mut self.world, &node(index)),
            Deed::Decide(which, twice) => return self.decide(*which, *twice),
            Deed::Drain(index, drains) => Change::Administer {
                node: node(index),
                admin: if *drains { Admin::Draining } else { Admin::Schedulable },
            },
            Deed::HandOver(index, which) => {
                let found = self.world.state.volume(&volume(index));
                let Some(pool) = found.and_then(|(_, volume)| volume.replicas.keys().nth(usize::from(*which))) else {
                    return;
                };
                Change::HandOver { volume: volume(index), pool: *pool }
            }
            Deed::Wait(ms) => return self.apply(*ms, &Change::Tick),
            Deed::Cut(index) => return self.members.cut(&mut self.world, &node(index)),
            Deed::Ghost(index) => return self.members.cut_a_ghost(&mut self.world, &node(index)),
            Deed::Snapshot(..)
            | Deed::DeleteSnapshot(_)
            | Deed::CloneSnapshot(..)
            | Deed::CloneVolume(..)
            | Deed::Schedule(..) => snapshot_change(deed),
        };
        self.apply(1, &change);
    }

    fn stop(&mut self, node: &cluster::Name) {
        self.world.nodes.get_mut(node).unwrap().up = false;
        self.apply(1, &Change::Lose { node: node.clone() });
    }

    fn start(&mut self, node: &cluster::Name, cold: bool) {
        self.world.nodes.get_mut(node).unwrap().restart(cold);
        self.connect(node);
    }

    /// Its stream broke and is there again; the node went on meanwhile, unless it was down.
    fn glitch(&mut self, node: &cluster::Name) {
        if self.world.nodes[node].up {
            self.apply(1, &Change::Lose { node: node.clone() });
            self.connect(node);
        }
    }

    fn connect(&mut self, node: &cluster::Name) {
        let before = self.world.state.clone();
        self.world.connect(node);
        self.check_step(&before, &Change::Tick);
    }

    fn wipe(&mut self, node: &cluster::Name) {
        self.world.nodes.get_mut(node).unwrap().pools.values_mut().for_each(BTreeMap::clear);
        self.start(node, true);
    }

    /// The node comes back with another pool, whose id is higher or lower.
    fn exchange(&mut self, node: &cluster::Name) {
        let number = self.shelved.len() as u128;
        let new = PoolId(if number.is_multiple_of(2) { 1000 + number } else { 1000 - number });
        self.stop(node);
        let found = self.world.nodes.get_mut(node).unwrap();
        let mut shelved = found.clone();
        shelved.pools = found.exchange(new);
        self.shelved.push(shelved);
        self.start(node, true);
    }

    /// What was taken out of nodes is put into others.
    fn unshelve(&mut self) {
        for (number, shelved) in std::mem::take(&mut self.shelved).into_iter().enumerate() {
            let node = name(&format!("s{number}"));
            self.world.nodes.insert(node.clone(), shelved);
            self.start(&node, false);
        }
    }

    fn round(&mut self, node: &cluster::Name) {
        let before = self.world.state.clone();
        self.world.tell(node);
        if self.world.nodes[node].up {
            self.world.nodes.get_mut(node).unwrap().work();
        }
        self.world.report(node);
        self.check_step(&before, &Change::Tick);
    }

    fn decide(&mut self, which: usize, twice: bool) {
        if self.members.pending.is_empty() {
            return;
        }
        let which = which % self.members.pending.len();
        let change = if twice { self.members.pending[which].clone() } else { self.members.pending.swap_remove(which) };
        self.apply(1, &change);
    }

    /// What a step may lead to.
    fn check_step(&mut self, before: &State, change: &Change) {
        for (id, volume) in self.world.state.volumes(None) {
            let Some(replication) = &volume.replication else { continue };
            let now = &replication.configuration;
            if let Some(known) = self.decided.get(&(id, now.epoch)) {
                assert_eq!(known, now, "there is one configuration of an epoch");
            }
            self.decided.insert((id, now.epoch), now.clone());
            let Some(was) = before.contents().volumes.get(&id) else { continue };
            let Some(last) = was.replication.as_ref().map(|replication| &replication.configuration) else { continue };
            assert!(now.epoch >= last.epoch, "epochs only grow");
            if now.epoch == last.epoch {
                continue;
            }
            if now.recovery {
                self.check_recovery(id, last, now);
            } else if let Change::Configure { volume: about, proposal } = change
                && *about == id
            {
                let (proposer, incarnation) = proposal.proposer;
                assert!(last.has(proposer, incarnation), "only members propose");
                assert_eq!(proposal.expected, last.epoch);
                assert_eq!(now.members, proposal.members);
            } else {
                assert_eq!((&now.members, now.primary), (&last.members, last.primary), "nobody asked for another");
            }
        }
        for volume in self.world.state.contents().volumes.values() {
            check_volume(&self.world.state, volume);
        }
        self.check_snapshots();
    }

    /// A snapshot's place is where all members had it, and never another.
    fn check_snapshots(&mut self) {
        for (id, snapshot) in &self.world.state.contents().snapshots {
            let Some(at) = snapshot.at() else { continue };
            let really = self.members.really_cut(&self.world, *id).map(|cut| cut.at);
            assert_eq!(really, Some(at), "snapshot {id} is where its primary cut it");
            assert_eq!(*self.cut.entry(*id).or_insert(at), at, "snapshot {id} stays where it is");
        }
    }

    /// Every member of a clone began as what the clone was made of.
    fn check_clones(&self) {
        for (id, volume) in &self.world.state.contents().volumes {
            let Some(source) = &volume.source else { continue };
            let Some(really) = self.members.really_cut(&self.world, source.snapshot) else { continue };
            if let Some(replication) = &volume.replication {
                let inherited = really.at.epoch;
                assert!(replication.configuration.epoch > inherited, "what is written is newer than what was there");
            }
            for pool in volume.in_sync() {
                let held = self.world.nodes.values().find_map(|node| node.pools.get(&pool)?.get(id));
                let base = held.filter(|held| Some(held.standing) == volume.member(pool)).map(|held| held.base);
                assert!(
                    base.is_none_or(|base| base == really.data),
                    "member {pool} of volume {id} began as its source"
                );
            }
        }
    }

    /// When all is over no pool has a snapshot that nobody wants, and every replica has those that are wanted.
    fn check_that_nothing_is_left(&self) {
        let state = &self.world.state;
        assert!(state.contents().graves.is_empty(), "every deleted snapshot is gone: {:?}", state.contents().graves);
        for (pool, volumes) in self.world.nodes.values().flat_map(|node| &node.pools) {
            for (volume, held) in volumes {
                for (id, snapshot) in &held.snapshots {
                    let wanted = state.contents().snapshots.get(id);
                    let is_ghost = wanted.is_some_and(|wanted| wanted.at() != Some(snapshot.at));
                    assert!(wanted.is_some(), "snapshot {id} of volume {volume} is left in pool {pool}");
                    let is_member = state.contents().volumes[volume].member(*pool).is_some();
                    assert!(!is_ghost || !is_member, "a member has another snapshot {id}");
                }
            }
        }
        for (id, volume) in &state.contents().volumes {
            let over = volume.retired.is_none() || state.snapshots_of(*id).next().is_some();
            assert!(over, "a deleted volume without snapshots is gone");
        }
    }

    fn check_recovery(&self, id: VolumeId, last: &Configuration, now: &Configuration) {
        assert!(last.members.contains_key(&now.primary), "a volume goes on only from a member");
        assert_ne!(last.members.get(&now.primary), now.members.get(&now.primary), "it was not there as it was");
        assert_eq!(now.members.len(), 1);
        let lacking = self.members.lacking(&self.world, id, now.members.iter());
        assert!(lacking.is_empty(), "what was acknowledged is where the volume goes on from");
    }

    /// All that was acknowledged is at every member that is as it was.
    fn check_data(&self) {
        for (id, volume) in self.world.state.volumes(None) {
            if let Some(replication) = &volume.replication {
                let lacking = self.members.lacking(&self.world, id, replication.configuration.members.iter());
                assert!(lacking.is_empty(), "members {lacking:?} of {volume:?} lack what was acknowledged");
            }
        }
    }

    fn heal(&mut self) {
        for index in 0..NODES {
            let node = name(&format!("n{index}"));
            if !self.world.nodes[&node].up {
                self.start(&node, false);
            }
            self.apply(1, &Change::Administer { node, admin: Admin::Schedulable });
        }
        self.unshelve();
        let nodes: Vec<_> = self.world.nodes.keys().cloned().collect();
        // In the end time stands still: a schedule that comes due then has nobody who hears of what it deletes.
        for step_ms in [11_000; 40].into_iter().chain([1; 5]) {
            for node in &nodes {
                self.round(node);
                self.members.seek(&mut self.world, node);
                self.members.propose(&mut self.world, node);
                self.members.write(&mut self.world, node);
                self.members.cut(&mut self.world, node);
                while !self.members.pending.is_empty() {
                    self.decide(0, false);
                }
            }
            self.apply(step_ms, &Change::Tick);
            self.check_data();
            self.check_clones();
        }
        for (_, volume) in self.world.state.volumes(None) {
            let health = volume.health();
            let is_over = matches!(health, Health::Ready | Health::NeedsAttach | Health::Failed | Health::Lost);
            let is_over = is_over || self.cannot_begin(volume);
            assert!(is_over, "{health:?}: {:?}\n{volume:#?}", self.world.state.explain_volume(&volume.name));
        }
        let failed = |id| {
            self.world
                .state
                .contents()
                .volumes
                .get(&id)
                .is_some_and(|volume| matches!(volume.health(), Health::Failed | Health::Lost))
        };
        for (id, operation) in self.world.state.operations() {
            let is_over =
                operation.ended.is_some() || failed(operation.kind.volume()) || self.waits_for_what_is_gone(operation);
            assert!(is_over, "{operation:?} waits for {:?}", self.world.state.waits_for(id));
        }
        assert!(self.world.state.tombstones().next().is_none(), "everything that was given up is deleted");
        self.check_that_nothing_is_left();
    }

    /// What it is to begin as is gone with the pools that had it.
    fn cannot_begin(&self, volume: &Volume) -> bool {
        let Some(source) = volume.source.as_ref().filter(|_| volume.replication.is_none()) else { return false };
        let contents = self.world.state.contents();
        let of = contents.snapshots.get(&source.snapshot).and_then(|snapshot| contents.volumes.get(&snapshot.source));
        let has = |pool| of.is_some_and(|of| source.at.is_some_and(|at| of.has_snapshot(pool, source.snapshot, at)));
        !volume.replicas.keys().any(|pool| has(*pool))
    }

    fn waits_for_what_is_gone(&self, operation: &cluster::Operation) -> bool {
        let contents = self.world.state.contents();
        let clones = |id: SnapshotId| {
            let of = move |volume: &&Volume| volume.source.as_ref().is_some_and(|source| source.snapshot == id);
            contents.volumes.values().filter(of)
        };
        match operation.kind {
            OperationKind::Create(id) => self.cannot_begin(&contents.volumes[&id]),
            OperationKind::DeleteSnapshot(_, id) => clones(id).any(|clone| self.cannot_begin(clone)),
            _ => false,
        }
    }
}

fn check_volume(state: &State, volume: &Volume) {
    let is_there = |pool: &&PoolId| volume.replicas[*pool].standing().is_some();
    let there: Vec<_> = volume.replicas.keys().filter(is_there).collect();
    let nodes: std::collections::BTreeSet<_> = there.iter().map(|pool| &state.pool(**pool).unwrap().node).collect();
    assert_eq!(nodes.len(), there.len(), "never two replicas on one node");
    if let Some(replication) = &volume.replication {
        let configuration = &replication.configuration;
        assert!(configuration.members.contains_key(&configuration.primary));
        assert!(configuration.members.keys().all(|member| volume.replicas.contains_key(member)));
    }
}

proptest! {
    #![proptest_config(crate::cases(512))]

    #[test]
    fn whatever_happens_there_is_one_configuration_and_it_has_what_was_acknowledged(
        deeds in collection::vec(deed(), 1..250),
    ) {
        let mut history = History::new();
        for deed in &deeds {
            history.perform(deed);
            history.check_data();
            history.check_clones();
        }
        history.heal();
        let log = &history.world.log;
        let (first, rest) = log.split_at(log.len() / 2);
        let mut again = State::default();
        for command in first {
            let _refused_or_not = again.apply(command.clone());
        }
        let mut loaded = State::load(again.contents().clone()).unwrap();
        assert_eq!(loaded.deadline(), again.deadline());
        for command in rest {
            let _refused_or_not = loaded.apply(command.clone());
        }
        assert!(loaded.contents() == history.world.state.contents(), "a snapshot and the rest of the log make the same");
        assert_eq!(loaded.deadline(), history.world.state.deadline());
    }
}
