//! How commands change the state. Everything is checked before anything is changed: a refused command leaves no trace.

use std::collections::BTreeSet;

use block::{PoolId, VolumeId};

use crate::attachment::{AccessMode, AttachError, Attachments, TokenHash};
use crate::command::{Answer, Change, Command, RequestId, Revision, Time};
use crate::name::Name;
use crate::node::{Addresses, Admin, Labels, Link, Node, Pool};
use crate::operation::{Operation, OperationId, OperationKind};
use crate::refusal::Refusal;
use crate::report::{NodeReport, PoolReport, ReplicaReport};
use crate::state::{NODES_MAX, REQUESTS_KEPT, Settings, State, VOLUMES_MAX};
use crate::volume::{Modification, Observed, Phase, Replica, Tombstone, Volume, VolumeSpec, is_size};

impl State {
    /// Applies a command. A request that was answered before gets the same answer again and changes nothing.
    ///
    /// # Errors
    /// Why nothing was changed. The next attempt is looked at anew.
    pub fn apply(&mut self, command: Command) -> Result<Answer, Refusal> {
        let Command { at, request, change } = command;
        if let Some(answer) = request.and_then(|request| self.requests.get(&request)) {
            return Ok(answer.clone());
        }
        // Leaders' clocks differ; what is shown as a time never goes back.
        let now = self.now.max(at);
        let answer = self.change(now, change)?;
        self.now = now;
        self.revision.0 += 1;
        self.settle_operations(now);
        if let Some(request) = request {
            self.remember(request, answer.clone());
        }
        Ok(answer)
    }

    fn change(&mut self, now: Time, change: Change) -> Result<Answer, Refusal> {
        match change {
            Change::Register { node, addresses, labels } => self.register(now, node, addresses, labels),
            Change::Lose { node } => self.lose(now, &node),
            Change::Report { node, report } => self.report(&node, report),
            Change::Administer { node, admin } => self.administer(node, admin),
            Change::RemoveNode { node } => self.remove_node(&node),
            Change::CreateVolume { name, size_bytes, spec } => self.create_volume(now, name, size_bytes, spec),
            Change::ResizeVolume { volume, size_bytes } => self.resize_volume(now, volume, size_bytes),
            Change::ModifyVolume { volume, modification } => self.modify_volume(volume, modification),
            Change::DeleteVolume { volume } => self.delete_volume(now, &volume),
            Change::Attach { volume, client, mode, token } => self.attach(now, volume, &client, mode, token),
            Change::Detach { volume, client } => self.detach(now, volume, client.as_ref()),
            Change::Set(settings) => self.set(settings),
        }
    }

    fn remember(&mut self, request: RequestId, answer: Answer) {
        self.requests.insert(request, answer);
        self.request_order.push_back(request);
        if self.request_order.len() > REQUESTS_KEPT {
            let oldest = self.request_order.pop_front().expect("there are many");
            self.requests.remove(&oldest);
        }
    }

    fn start(&mut self, now: Time, kind: OperationKind) -> OperationId {
        self.last_operation += 1;
        let id = OperationId(self.last_operation);
        self.operations.insert(id, Operation { kind, since: now, ended: None });
        id
    }

    fn set(&mut self, settings: Settings) -> Result<Answer, Refusal> {
        let Settings { overcommit_percent, full_percent } = settings;
        if !(1..=100_000).contains(&overcommit_percent) {
            let expected = "1 to 100000 percent";
            return Err(Refusal::Setting { what: "the overcommit limit", found: overcommit_percent, expected });
        }
        if !(1..=100).contains(&full_percent) {
            let expected = "1 to 100 percent";
            return Err(Refusal::Setting { what: "the limit for new volumes", found: full_percent, expected });
        }
        self.settings = settings;
        Ok(Answer::Done)
    }
}

/// Nodes.
impl State {
    fn register(&mut self, now: Time, name: Name, addresses: Addresses, labels: Labels) -> Result<Answer, Refusal> {
        if !self.nodes.contains_key(&name) && self.nodes.len() >= NODES_MAX {
            return Err(Refusal::Nodes);
        }
        // What it said before it was lost may not be true any more: its first report says what is.
        self.forget(&name);
        let admin = self.nodes.get(&name).map_or(Admin::Schedulable, |node| node.admin);
        self.nodes.insert(name, Node { addresses, labels, admin, link: Link::Up { since: now } });
        Ok(Answer::Done)
    }

    fn lose(&mut self, now: Time, name: &Name) -> Result<Answer, Refusal> {
        let node = self.nodes.get_mut(name).ok_or_else(|| Refusal::NoSuchNode(name.clone()))?;
        if node.is_up() {
            node.link = Link::Lost { since: now };
        }
        self.forget(name);
        Ok(Answer::Done)
    }

    /// Nothing is known of what the node holds.
    fn forget(&mut self, node: &Name) {
        let pools: Vec<PoolId> = self.pools_of(node).collect();
        for pool in pools {
            self.open.remove(&pool);
            self.observe(pool, None, Revision(0));
        }
    }

    fn pools_of(&self, node: &Name) -> impl Iterator<Item = PoolId> {
        self.pools.iter().filter(move |(_, pool)| pool.node == *node).map(|(id, _)| *id)
    }

    fn report(&mut self, name: &Name, report: NodeReport) -> Result<Answer, Refusal> {
        if !self.nodes.contains_key(name) {
            return Err(Refusal::NoSuchNode(name.clone()));
        }
        for pool in &report.pools {
            self.check_owner(name, pool.id)?;
        }
        let reported: BTreeSet<PoolId> = report.pools.iter().map(|pool| pool.id).collect();
        let missing: Vec<PoolId> = self.pools_of(name).filter(|pool| !reported.contains(pool)).collect();
        for pool in missing {
            self.open.remove(&pool);
            self.observe(pool, None, report.heard);
        }
        for pool in report.pools {
            self.take_pool(name, pool, report.heard);
        }
        Ok(Answer::Done)
    }

    /// A pool may come with another node when its own is not heard: a disk was moved.
    fn check_owner(&self, name: &Name, pool: PoolId) -> Result<(), Refusal> {
        match self.pools.get(&pool) {
            Some(known) if known.node != *name && self.is_open(pool) => {
                Err(Refusal::PoolTaken { pool, first: known.node.clone(), second: name.clone() })
            }
            Some(_) | None => Ok(()),
        }
    }

    fn take_pool(&mut self, node: &Name, report: PoolReport, heard: Revision) {
        let PoolReport { id, capacity_bytes, used_bytes, tags, failed, replicas } = report;
        let known = |volume: &VolumeId| self.volumes.contains_key(volume) || self.tombstones.contains_key(volume);
        let orphans = replicas.iter().map(|replica| replica.volume).filter(|volume| !known(volume)).collect();
        let pool = Pool { node: node.clone(), capacity_bytes, used_bytes, tags, failed, orphans };
        self.pools.insert(id, pool);
        self.open.insert(id);
        self.observe(id, Some(&replicas), heard);
    }

    /// Notes what is known of every replica in a pool: `None` when nothing is. The node goes by intents up to `heard`:
    /// before it has heard of a deletion, it may still make what it was told to make before.
    fn observe(&mut self, pool: PoolId, replicas: Option<&[ReplicaReport]>, heard: Revision) {
        let find = |id: VolumeId| replicas.map(|all| all.iter().find(|replica| replica.volume == id));
        for (id, volume) in self.volumes.iter_mut().filter(|(_, volume)| volume.replica.pool == pool) {
            volume.replica.observed = match find(*id) {
                None => Observed::Unknown,
                Some(None) => Observed::Nothing,
                Some(Some(found)) => {
                    volume.phase = Phase::Ready;
                    Observed::Present { size_bytes: found.size_bytes, generation: found.generation }
                }
            };
        }
        let gone = |(id, tombstone): (&VolumeId, &Tombstone)| {
            let certain = tombstone.pool == pool && tombstone.revision <= heard;
            (certain && find(*id) == Some(None)).then_some(*id)
        };
        let freed: Vec<VolumeId> = self.tombstones.iter().filter_map(gone).collect();
        for id in freed {
            self.tombstones.remove(&id);
        }
        self.count_promised(pool);
    }

    /// The sizes of a pool's replicas, those of deleted volumes not counted: their space is on its way.
    fn count_promised(&mut self, pool: PoolId) {
        let here = self.volumes.values().filter(|volume| volume.replica.pool == pool);
        let sum = here.map(|volume| volume.size_bytes).fold(0, u64::saturating_add);
        self.promised.insert(pool, sum);
    }

    fn administer(&mut self, name: Name, admin: Admin) -> Result<Answer, Refusal> {
        self.nodes.get_mut(&name).ok_or(Refusal::NoSuchNode(name))?.admin = admin;
        Ok(Answer::Done)
    }

    fn remove_node(&mut self, name: &Name) -> Result<Answer, Refusal> {
        if !self.nodes.contains_key(name) {
            return Err(Refusal::NoSuchNode(name.clone()));
        }
        let pools: BTreeSet<PoolId> = self.pools_of(name).collect();
        let replicas = self.volumes.values().filter(|volume| pools.contains(&volume.replica.pool)).count();
        if replicas > 0 {
            return Err(Refusal::NodeInUse { node: name.clone(), replicas });
        }
        // Whoever removes a node says that it does not come back: its tombstones have nobody to free them.
        self.tombstones.retain(|_, tombstone| !pools.contains(&tombstone.pool));
        self.pools.retain(|id, _| !pools.contains(id));
        self.promised.retain(|id, _| !pools.contains(id));
        self.open.retain(|id| !pools.contains(id));
        self.nodes.remove(name);
        Ok(Answer::Done)
    }
}

/// Volumes.
impl State {
    fn create_volume(&mut self, now: Time, name: Name, size_bytes: u64, spec: VolumeSpec) -> Result<Answer, Refusal> {
        if !is_size(size_bytes) {
            return Err(Refusal::Size(size_bytes));
        }
        if spec.replicas != 1 {
            return Err(Refusal::Replicas(spec.replicas));
        }
        if let Some((id, there)) = self.volume(&name) {
            return self.same_volume(id, there, size_bytes, &spec);
        }
        if self.volumes.len() >= VOLUMES_MAX {
            return Err(Refusal::Volumes);
        }
        let pool = self.place(size_bytes, &spec).map_err(Refusal::NoPlace)?;
        self.last_volume += 1;
        let id = VolumeId(self.last_volume);
        self.names.insert(name.clone(), id);
        let volume = Volume {
            name,
            size_bytes,
            spec,
            phase: Phase::Creating,
            // Its node was just seen with this pool, and no volume of this id was ever anywhere.
            replica: Replica { pool, observed: Observed::Nothing },
            attachments: Attachments::default(),
            created: now,
        };
        self.volumes.insert(id, volume);
        *self.promised.entry(pool).or_default() += size_bytes;
        let operation = self.start(now, OperationKind::Create(id));
        Ok(Answer::Volume { id, operation: Some(operation) })
    }

    /// Who asks for a volume that is there gets it, if it is the one that is meant: a retry joins.
    fn same_volume(&self, id: VolumeId, there: &Volume, size_bytes: u64, spec: &VolumeSpec) -> Result<Answer, Refusal> {
        let differs = |difference| Err(Refusal::Exists { name: there.name.clone(), difference });
        if there.size_bytes != size_bytes {
            return differs("its size");
        }
        if there.spec != *spec {
            return differs("its parameters");
        }
        let creates = |operation: &Operation| operation.kind == OperationKind::Create(id) && operation.ended.is_none();
        let operation = self.operations().find(|(_, operation)| creates(operation)).map(|(operation, _)| operation);
        Ok(Answer::Volume { id, operation })
    }

    fn find(&mut self, name: Name) -> Result<(VolumeId, &mut Volume), Refusal> {
        match self.names.get(&name) {
            Some(&id) => Ok((id, self.volumes.get_mut(&id).expect("a name stands for a volume"))),
            None => Err(Refusal::NoSuchVolume(name)),
        }
    }

    fn resize_volume(&mut self, now: Time, name: Name, size_bytes: u64) -> Result<Answer, Refusal> {
        if !is_size(size_bytes) {
            return Err(Refusal::Size(size_bytes));
        }
        let (id, volume) = self.find(name)?;
        let is_bytes = volume.size_bytes;
        if size_bytes < is_bytes {
            return Err(Refusal::Shrinks { volume: volume.name.clone(), is_bytes, asked_bytes: size_bytes });
        }
        volume.size_bytes = size_bytes;
        let pool = volume.replica.pool;
        self.count_promised(pool);
        Ok(Answer::Started(self.start(now, OperationKind::Resize(id, size_bytes))))
    }

    fn modify_volume(&mut self, name: Name, modification: Modification) -> Result<Answer, Refusal> {
        let spec = &mut self.find(name)?.1.spec;
        let Modification { description, labels } = modification;
        spec.description = description.unwrap_or_else(|| std::mem::take(&mut spec.description));
        spec.labels = labels.unwrap_or_else(|| std::mem::take(&mut spec.labels));
        Ok(Answer::Done)
    }

    /// The name is free at once; the data goes when its node is heard. An attached volume is refused: whoever deletes
    /// it detaches it first, and thereby says that nobody uses it.
    fn delete_volume(&mut self, now: Time, name: &Name) -> Result<Answer, Refusal> {
        let (id, volume) = self.find(name.clone())?;
        if let Some(holder) = volume.attachments.held().first() {
            let (holder, mode) = (holder.client.clone(), holder.mode);
            return Err(Refusal::Attached { volume: name.clone(), holder, mode });
        }
        let volume = self.volumes.remove(&id).expect("just found");
        self.names.remove(name);
        let pool = volume.replica.pool;
        let revision = Revision(self.revision.0 + 1);
        self.tombstones.insert(id, Tombstone { name: volume.name, pool, since: now, revision });
        self.count_promised(pool);
        Ok(Answer::Started(self.start(now, OperationKind::Delete(id))))
    }

    fn attach(
        &mut self,
        now: Time,
        name: Name,
        client: &Name,
        mode: AccessMode,
        token: TokenHash,
    ) -> Result<Answer, Refusal> {
        let (id, volume) = self.find(name)?;
        let generation = volume.attachments.attach(client, mode, token).map_err(|error| match error {
            AttachError::Held(holder) => {
                Refusal::Attached { volume: volume.name.clone(), holder: holder.client, mode: holder.mode }
            }
            AttachError::TooMany => Refusal::Readers(volume.name.clone()),
        })?;
        let operation = self.start(now, OperationKind::Attach(id, generation));
        Ok(Answer::Attached { generation, operation })
    }

    /// Always possible, whatever has become of the client. Has ended when the node that serves the volume has dropped
    /// it: then nothing of it will ever be applied.
    fn detach(&mut self, now: Time, name: Name, client: Option<&Name>) -> Result<Answer, Refusal> {
        let (id, volume) = self.find(name)?;
        let generation = volume.attachments.detach(client).unwrap_or(volume.attachments.generation);
        Ok(Answer::Started(self.start(now, OperationKind::Attach(id, generation))))
    }
}
