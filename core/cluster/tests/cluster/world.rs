//! A cluster of nodes that do what they are told, each at its own pace, and tell what they hold.

use std::collections::{BTreeMap, BTreeSet};

use block::{PoolId, VolumeId};
use cluster::{
    AccessMode, Addresses, Answer, Change, Command, Generation, Labels, Name, NodeIntent, NodeReport, OperationId,
    PoolReport, Refusal, ReplicaIntent, ReplicaReport, Replicas, RequestId, Revision, State, Time, TokenHash,
    VolumeSpec,
};

pub const GIB: u64 = 1 << 30;

pub fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// Sizes and generations of the replicas in pools.
type Held = BTreeMap<PoolId, BTreeMap<VolumeId, (u64, Generation)>>;

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
}

/// All that a node was told, put together.
#[derive(Clone, Debug, Default)]
pub struct Told {
    pub heard: Revision,
    pub replicas: BTreeMap<VolumeId, ReplicaIntent>,
    pub deletions: BTreeSet<(PoolId, VolumeId)>,
    pub routes: BTreeMap<Name, String>,
}

impl Told {
    fn hear(&mut self, intent: NodeIntent) {
        if intent.whole {
            *self = Self::default();
        }
        self.heard = intent.revision;
        for (pool, volume) in intent.deletions {
            self.deletions.insert((pool, volume));
            self.replicas.remove(&volume);
        }
        for name in &intent.lost_routes {
            self.routes.remove(name);
        }
        for replica in intent.replicas {
            self.routes.remove(&replica.name);
            self.replicas.insert(replica.volume, replica);
        }
        self.routes.extend(intent.routes.into_iter().map(|route| (route.name, route.address)));
    }
}

impl SimNode {
    /// Does what it was told.
    pub fn work(&mut self) {
        for replica in self.told.replicas.values() {
            let Some(pool) = self.pools.get_mut(&replica.pool) else { continue };
            let held = match pool.get_mut(&replica.volume) {
                Some(held) => held,
                None if replica.may_create => pool.entry(replica.volume).or_insert((0, Generation(0))),
                None => continue,
            };
            held.0 = held.0.max(replica.size_bytes);
            held.1 = held.1.max(replica.attachments.generation);
        }
        for (pool, volume) in &self.told.deletions {
            if let Some(pool) = self.pools.get_mut(pool) {
                pool.remove(volume);
            }
        }
    }

    /// Everything it holds, or what changed since it reported on this stream.
    pub fn report(&mut self) -> NodeReport {
        let before = self.reported.replace(self.pools.clone());
        let one = |(volume, (size_bytes, generation)): (&VolumeId, &(u64, Generation))| ReplicaReport {
            volume: *volume,
            size_bytes: *size_bytes,
            generation: *generation,
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
        self.now += 1;
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
            node.told.hear(intent);
        }
        let whole = self.state.intent(name);
        let replicas: BTreeMap<_, _> = whole.replicas.into_iter().map(|replica| (replica.volume, replica)).collect();
        let routes: BTreeMap<_, _> = whole.routes.into_iter().map(|route| (route.name, route.address)).collect();
        assert!(node.told.replicas == replicas && node.told.routes == routes, "what changed adds up to all there is");
        assert!(whole.deletions.iter().all(|deletion| node.told.deletions.contains(deletion)));
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
        self.apply(None, Change::CreateVolume { name: name(volume), size_bytes, spec })
    }

    pub fn attach(&mut self, volume: &str, client: &str, mode: AccessMode) -> Result<Answer, Refusal> {
        let token = TokenHash([7; 32]);
        self.apply(None, Change::Attach { volume: name(volume), client: name(client), mode, token })
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
        | Answer::Attached { operation, .. } => *operation,
        Answer::Done | Answer::Volume { operation: None, .. } => panic!("{answer:?} starts nothing"),
    }
}
