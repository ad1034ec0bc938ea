//! A cluster of nodes that do what they are told, each at its own pace, and tell what they hold.

use std::collections::{BTreeMap, BTreeSet};

use block::{Epoch, Incarnation, PoolId, SnapshotId, VolumeId, WriteSeq};
use cluster::{
    AccessMode, Addresses, Answer, Change, Claim, Command, Generation, GroupId, Hold, HoldState, Labels, Name,
    NodeIntent, NodeReport, OperationId, PoolReport, Refusal, ReplicaIntent, ReplicaReport, Replicas, RequestId,
    Revision, Role, SnapshotCopy, Standing, State, Time, TokenHash, VolumeSpec,
};

pub const GIB: u64 = 1 << 30;

pub fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// The replicas in pools.
type Held = BTreeMap<PoolId, BTreeMap<VolumeId, SimReplica>>;

/// A replica as it is, whatever the control plane believes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SimReplica {
    pub size_bytes: u64,
    pub generation: Generation,
    pub standing: Standing,
    /// The last write it has.
    pub data: u64,
    /// What it began as; 0 for zeroes.
    pub base: u64,
    pub snapshots: BTreeMap<SnapshotId, SimSnapshot>,
}

/// What a node holds, whatever the control plane believes.
#[derive(Clone, Debug, Default)]
pub struct SimNode {
    pub pools: Held,
    pub capacity_bytes: u64,
    pub labels: Labels,
    pub tags: Vec<String>,
    pub up: bool,
    pub told: Told,
    /// What it reported on this stream, if anything.
    pub reported: Option<Held>,
    /// The last incarnation that any replica in its pools had.
    pub life: u64,
    /// What was cut by volumes of one replica.
    pub cuts: Vec<(SnapshotId, SimSnapshot)>,
}

/// All that a node was told, put together.
#[derive(Clone, Debug, Default)]
pub struct Told {
    pub heard: Revision,
    pub replicas: BTreeMap<VolumeId, ReplicaIntent>,
    pub deletions: BTreeSet<(PoolId, VolumeId)>,
    pub snapshot_deletions: BTreeSet<(PoolId, SnapshotId)>,
    pub routes: BTreeMap<Name, String>,
}

impl Told {
    /// Takes what is for pools that the node has.
    fn hear(&mut self, intent: NodeIntent, ours: &Held) {
        if intent.whole {
            *self = Self::default();
        }
        self.heard = intent.revision;
        self.snapshot_deletions.extend(intent.snapshot_deletions);
        for (pool, volume) in intent.deletions.into_iter().filter(|(pool, _)| ours.contains_key(pool)) {
            self.deletions.insert((pool, volume));
            self.replicas.remove(&volume);
        }
        for name in &intent.lost_routes {
            self.routes.remove(name);
        }
        for replica in intent.replicas.into_iter().filter(|replica| ours.contains_key(&replica.pool)) {
            self.routes.remove(&replica.name);
            self.deletions.remove(&(replica.pool, replica.volume));
            self.replicas.insert(replica.volume, replica);
        }
        self.routes.extend(intent.routes.into_iter().map(|route| (route.name, route.address)));
    }
}

impl SimNode {
    /// Does what it was told.
    pub fn work(&mut self) {
        for intent in self.told.replicas.values() {
            let Some(pool) = self.pools.get_mut(&intent.pool) else { continue };
            if !pool.contains_key(&intent.volume) {
                let Some(made) = made(pool, intent) else { continue };
                pool.insert(intent.volume, made);
            }
            let held = pool.get_mut(&intent.volume).expect("just made");
            held.size_bytes = held.size_bytes.max(intent.size_bytes);
            held.generation = held.generation.max(intent.attachments.generation);
            if intent.replication.is_some() {
                follow(held, intent, &mut self.life);
            } else {
                cut_alone(held, intent, &mut self.cuts);
            }
            hold(held, intent);
        }
        for (pool, snapshot) in &self.told.snapshot_deletions {
            for held in self.pools.get_mut(pool).into_iter().flat_map(BTreeMap::values_mut) {
                held.snapshots.remove(snapshot);
            }
        }
        // The snapshots of a volume go before it, those that the state does not know of too: one may be cut late.
        for (pool, volume) in &self.told.deletions {
            if let Some(pool) = self.pools.get_mut(pool) {
                pool.remove(volume);
            }
        }
    }

    /// Its process ended and another began. With a loss of power it is not known what it had last.
    pub fn restart(&mut self, cold: bool) {
        for replica in self.pools.values_mut().flat_map(BTreeMap::values_mut) {
            replica.standing.hold = None;
            if replica.standing.incarnation.0 > 0 {
                be_born(&mut replica.standing, &mut self.life);
                if cold {
                    replica.standing.warm_from = replica.standing.incarnation;
                }
            }
        }
        self.told = Told::default();
    }

    /// It has a new, empty pool instead of what it had, which is answered.
    pub fn exchange(&mut self, new: PoolId) -> Held {
        std::mem::replace(&mut self.pools, BTreeMap::from([(new, BTreeMap::new())]))
    }

    /// Everything it holds, or what changed since it reported on this stream.
    pub fn report(&mut self) -> NodeReport {
        let before = self.reported.replace(self.pools.clone());
        let one = |(volume, held): (&VolumeId, &SimReplica)| ReplicaReport {
            volume: *volume,
            size_bytes: held.size_bytes,
            generation: held.generation,
            standing: held.standing,
            snapshots: held.snapshots.iter().map(|(id, snapshot)| (*id, snapshot.copy(held.size_bytes))).collect(),
        };
        let pools = self.pools.iter().map(|(id, replicas)| PoolReport {
            id: *id,
            capacity_bytes: self.capacity_bytes,
            used_bytes: 0,
            tags: self.tags.clone(),
            failed: false,
            replicas: match before.as_ref().and_then(|before| before.get(id)) {
                None => Replicas::All(replicas.iter().map(one).collect()),
                Some(before) => Replicas::Changed {
                    present: replicas.iter().filter(|(id, held)| before.get(id) != Some(held)).map(one).collect(),
                    gone: before.keys().filter(|id| !replicas.contains_key(id)).copied().collect(),
                },
            },
        });
        NodeReport { heard: self.told.heard, pools: pools.collect() }
    }
}

/// A snapshot as it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SimSnapshot {
    pub at: WriteSeq,
    /// The last write in it.
    pub data: u64,
}

impl SimSnapshot {
    fn copy(self, size_bytes: u64) -> SnapshotCopy {
        SnapshotCopy { at: self.at, size_bytes, exclusive_bytes: self.data, shared_bytes: 7 }
    }
}

/// A new replica: made of what is there, or empty.
fn made(pool: &BTreeMap<VolumeId, SimReplica>, intent: &ReplicaIntent) -> Option<SimReplica> {
    let empty = SimReplica::default();
    let Some(origin) = intent.origin else { return intent.may_create.then_some(empty) };
    let found = pool.values().filter_map(|held| held.snapshots.get(&origin.snapshot));
    let found = found.copied().find(|snapshot| snapshot.at == origin.at).filter(|_| intent.may_create)?;
    Some(SimReplica { data: found.data, base: found.data, ..empty })
}

/// The only replica of a volume gives snapshots their place itself.
fn cut_alone(held: &mut SimReplica, intent: &ReplicaIntent, cuts: &mut Vec<(SnapshotId, SimSnapshot)>) {
    for wanted in intent.snapshots.iter().filter(|wanted| wanted.at.is_none()) {
        let may_cut = wanted.group.is_none_or(|group| is_held(held, group));
        if may_cut && !held.snapshots.contains_key(&wanted.id) {
            held.data += 1;
            let cut = SimSnapshot { at: WriteSeq { epoch: Epoch(0), n: held.data }, data: held.data };
            held.snapshots.insert(wanted.id, cut);
            cuts.push((wanted.id, cut));
        }
    }
}

pub fn is_held(held: &SimReplica, group: GroupId) -> bool {
    held.standing.hold == Some(Hold { group, state: HoldState::Held })
}

/// What a primary says of the hold it is asked for.
fn hold(held: &mut SimReplica, intent: &ReplicaIntent) {
    let serves = intent.replication.is_none() || held.standing.role == Role::Primary;
    let has_cut = |group| {
        let mut wanted = intent.snapshots.iter().filter(|wanted| wanted.group == Some(group));
        wanted.any(|wanted| held.snapshots.contains_key(&wanted.id))
    };
    let state = |group, state| Some(Hold { group, state });
    let now = match (held.standing.hold, intent.hold) {
        (Some(Hold { group, state: HoldState::Held | HoldState::Cut }), _) if !serves => {
            state(group, HoldState::Broken)
        }
        (Some(Hold { group, state: HoldState::Held | HoldState::Cut }), asked) if asked != Some(group) => {
            state(group, HoldState::Released)
        }
        (Some(Hold { group, state: HoldState::Held }), _) if has_cut(group) => state(group, HoldState::Cut),
        (before, Some(asked)) if serves && before.is_none_or(|before| before.group != asked) => {
            state(asked, HoldState::Held)
        }
        (before, _) => before,
    };
    held.standing.hold = now;
}

/// Another life of a replica: what it promised in the one before is forgotten.
fn be_born(standing: &mut Standing, life: &mut u64) {
    *life += 1;
    standing.incarnation = Incarnation(*life);
    if standing.warm_from.0 == 0 {
        standing.warm_from = standing.incarnation;
    }
    (standing.role, standing.epoch, standing.hold) = (Role::Out, Epoch(0), None);
}

/// Goes by the configuration it was told of, as `replication` does.
fn follow(held: &mut SimReplica, intent: &ReplicaIntent, life: &mut u64) {
    let standing = &mut held.standing;
    if standing.incarnation.0 == 0 {
        be_born(standing, life);
    }
    let Some(configuration) = intent.replication.as_ref().and_then(|replication| replication.configuration.as_ref())
    else {
        return;
    };
    if configuration.epoch < standing.epoch {
        return;
    }
    let was_in = standing.role != Role::Out && standing.role != Role::Learner;
    standing.role = match configuration.has(intent.pool, standing.incarnation) {
        // A candidate does not go back to what it was under the same configuration.
        true if standing.role == Role::Candidate && standing.epoch == configuration.epoch => return,
        true if configuration.primary == intent.pool => Role::Primary,
        true => Role::Backup,
        false if was_in => {
            be_born(standing, life);
            Role::Out
        }
        false => Role::Learner,
    };
    standing.epoch = configuration.epoch;
}

/// A state and the nodes it is about.
#[derive(Clone, Debug, Default)]
pub struct World {
    pub state: State,
    pub nodes: BTreeMap<Name, SimNode>,
    pub now: u64,
    pub log: Vec<Command>,
}

impl World {
    /// Nodes `n0`, `n1`, ... in zones `a`, `b`, `a`, ..., each with one pool, all up.
    pub fn new(nodes: u128, capacity_bytes: u64) -> Self {
        let mut world = Self::default();
        for index in 0..nodes {
            let zone = if index % 2 == 0 { "a" } else { "b" };
            let node = SimNode {
                pools: BTreeMap::from([(PoolId(index + 1), BTreeMap::new())]),
                capacity_bytes,
                labels: Labels::from([("zone".to_owned(), zone.to_owned())]),
                ..SimNode::default()
            };
            let name = name(&format!("n{index}"));
            world.nodes.insert(name.clone(), node);
            world.connect(&name);
        }
        world
    }

    pub fn apply(&mut self, request: Option<u128>, change: Change) -> Result<Answer, Refusal> {
        self.apply_after(1, request, change)
    }

    pub fn apply_after(&mut self, ms: u64, request: Option<u128>, change: Change) -> Result<Answer, Refusal> {
        self.now += ms;
        let command = Command { at: Time(self.now), request: request.map(RequestId), change };
        self.log.push(command.clone());
        let before = self.state.clone();
        let result = self.state.apply(command);
        if let Err(refusal) = &result {
            assert!(self.state == before, "a refusal leaves no trace: {refusal}");
        }
        result
    }

    pub fn connect(&mut self, name: &Name) {
        let node = self.nodes.get_mut(name).unwrap();
        node.up = true;
        node.reported = None;
        node.told = Told::default();
        let labels = node.labels.clone();
        let addresses = Addresses { peers: format!("{name}:7000"), nbd: vec![format!("{name}:10809")] };
        self.apply(None, Change::Register { node: name.clone(), addresses, labels }).unwrap();
        self.report(name);
    }

    pub fn disconnect(&mut self, name: &Name) {
        self.nodes.get_mut(name).unwrap().up = false;
        self.apply(None, Change::Lose { node: name.clone() }).unwrap();
    }

    /// The node tells what it holds, if it can.
    pub fn report(&mut self, name: &Name) {
        let node = self.nodes.get_mut(name).unwrap();
        if node.up {
            let report = node.report();
            self.apply(None, Change::Report { node: name.clone(), report }).unwrap();
        }
    }

    /// The node hears what it should be, if it can: all of it first, then what changed.
    pub fn tell(&mut self, name: &Name) {
        let node = self.nodes.get_mut(name).unwrap();
        if !node.up {
            return;
        }
        let intent = match node.told.heard {
            Revision(0) => Some(self.state.intent(name)),
            heard => self.state.intent_since(name, heard),
        };
        if let Some(intent) = intent {
            node.told.hear(intent, &node.pools);
        }
        let whole = self.state.intent(name);
        let volumes = self.state.volumes(None).filter_map(|(id, volume)| Some((id, volume.replication.as_ref()?)));
        let members: BTreeSet<(PoolId, VolumeId)> = volumes
            .flat_map(|(id, replication)| replication.configuration.members.keys().map(move |pool| (*pool, id)))
            .collect();
        assert!(!whole.deletions.iter().any(|deletion| members.contains(deletion)), "no member is deleted");
        let ours = whole.replicas.into_iter().filter(|replica| node.pools.contains_key(&replica.pool));
        let replicas: BTreeMap<_, _> = ours.map(|replica| (replica.volume, replica)).collect();
        let routes: BTreeMap<_, _> = whole.routes.into_iter().map(|route| (route.name, route.address)).collect();
        assert!(node.told.replicas == replicas && node.told.routes == routes, "what changed adds up to all there is");
        let mut deletions = whole.deletions.iter().filter(|(pool, _)| node.pools.contains_key(pool));
        assert!(deletions.all(|deletion| node.told.deletions.contains(deletion)));
    }

    /// Every node that is up hears, works and reports.
    pub fn round(&mut self) {
        for name in self.nodes.keys().cloned().collect::<Vec<_>>() {
            self.tell(&name);
            self.nodes.get_mut(&name).unwrap().work();
            self.report(&name);
        }
    }

    pub fn create(&mut self, volume: &str, size_bytes: u64, spec: VolumeSpec) -> Result<Answer, Refusal> {
        self.apply(None, Change::CreateVolume { name: name(volume), size_bytes, spec, source: None })
    }

    pub fn attach(&mut self, volume: &str, client: &str, mode: AccessMode) -> Result<Answer, Refusal> {
        let token = TokenHash([7; 32]);
        self.apply(None, Change::Attach { volume: name(volume), client: name(client), mode, token, claim: Claim::Take })
    }

    pub fn detach(&mut self, volume: &str, client: Option<&str>) -> Result<Answer, Refusal> {
        self.apply(None, Change::Detach { volume: name(volume), client: client.map(name) })
    }

    pub fn has_ended(&self, operation: OperationId) -> bool {
        self.state.operation(operation).is_some_and(|operation| operation.ended.is_some())
    }
}

/// The operation of an answer.
pub fn operation(answer: &Answer) -> OperationId {
    match answer {
        Answer::Started(operation)
        | Answer::Volume { operation: Some(operation), .. }
        | Answer::Snapshot { operation: Some(operation), .. }
        | Answer::Group { operation: Some(operation), .. }
        | Answer::Attached { operation, .. } => *operation,
        Answer::Done
        | Answer::Volume { operation: None, .. }
        | Answer::Snapshot { operation: None, .. }
        | Answer::Group { operation: None, .. } => panic!("{answer:?} starts nothing"),
    }
}
