//! What takes time. An operation is in the state before anything is done about it, so that whoever leads goes on with
//! it; whether it has ended follows from what is known, and so does what it waits for.

use std::fmt;

use block::{PoolId, SnapshotId, VolumeId};

use crate::attachment::Generation;
use crate::command::Time;
use crate::group::{Group, GroupId, GroupPhase};
use crate::name::Name;
use crate::node::{Link, Pool};
use crate::replica::Observed;
use crate::state::State;
use crate::volume::{Phase, Volume};

/// Number of an operation; never used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct OperationId(pub u64);

/// What is being done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OperationKind {
    /// A volume is made.
    Create(VolumeId),
    /// A volume grows to at least this size.
    Resize(VolumeId, u64),
    /// A deleted volume's space is freed.
    Delete(VolumeId),
    /// Attachments up to this one are made known, and clients of those that ended are shut out.
    Attach(VolumeId, Generation),
    /// A snapshot of the volume is cut.
    Snapshot(VolumeId, SnapshotId),
    /// A deleted snapshot's space is freed.
    DeleteSnapshot(VolumeId, SnapshotId),
    /// A volume was deleted and has snapshots: clients of its attachments up to this one are shut out.
    Retire(VolumeId, Generation),
    /// Snapshots of several volumes are cut at one instant. The first of them is named.
    Group(VolumeId, GroupId),
    /// A deleted group's space is freed.
    DeleteGroup(VolumeId, GroupId),
}

impl OperationKind {
    /// The volume it is about.
    #[must_use]
    pub fn volume(self) -> VolumeId {
        match self {
            Self::Create(volume)
            | Self::Resize(volume, _)
            | Self::Delete(volume)
            | Self::Attach(volume, _)
            | Self::Snapshot(volume, _)
            | Self::DeleteSnapshot(volume, _)
            | Self::Retire(volume, _)
            | Self::Group(volume, _)
            | Self::DeleteGroup(volume, _) => volume,
        }
    }
}

/// An operation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Operation {
    /// What.
    pub kind: OperationKind,
    /// Since when.
    pub since: Time,
    /// When it ended, if it has. It is kept for a while, for those who ask.
    pub ended: Option<Time>,
    /// Why it ended without what was asked for, in words; `None` if it did not.
    pub failed: Option<String>,
}

/// What an operation waits for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Waiting {
    /// A node that is not heard.
    Node {
        /// Which.
        node: Name,
        /// Since when.
        since: Time,
    },
    /// A node that is heard, and has not said that it is done.
    Work {
        /// Which.
        node: Name,
        /// What it is to do.
        work: &'static str,
    },
    /// A pool that its node has not opened.
    Pool {
        /// Which.
        pool: PoolId,
        /// Whose it was.
        node: Name,
    },
    /// A volume whose data is gone: nothing can be done about it but to delete it.
    Data {
        /// Which.
        volume: Name,
    },
    /// Too few of a volume's replicas are in sync.
    InSync {
        /// How many are.
        in_sync: usize,
        /// How many are needed.
        needed: usize,
        /// The others, in words.
        others: String,
    },
    /// A volume that is not served.
    Service {
        /// Why, and what comes next.
        sentence: String,
    },
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node { node, since: _ } => {
                write!(f, "node {node} is not heard; it goes on when the node is back")
            }
            Self::Work { node, work } => write!(f, "node {node} is to {work}"),
            Self::Pool { pool, node } => write!(f, "node {node} has not opened pool {pool}"),
            Self::Data { volume } => {
                write!(f, "the pool that held volume {volume} is there without it; delete the volume")
            }
            Self::InSync { in_sync, needed, others } => {
                write!(f, "{in_sync} of {needed} replicas that are needed are in sync; {others}")
            }
            Self::Service { sentence } => f.write_str(sentence),
        }
    }
}

impl State {
    /// Whether an operation's end is in what is known now. Whatever was to be done to a volume that is deleted is done.
    pub(crate) fn is_done(&self, kind: OperationKind) -> bool {
        let is = |volume: VolumeId, done: &dyn Fn(&Volume) -> bool| self.contents.volumes.get(&volume).is_none_or(done);
        match kind {
            OperationKind::Delete(volume) => self.tombstones_of(volume).next().is_none(),
            OperationKind::Create(volume) => is(volume, &is_made),
            OperationKind::Resize(volume, wanted) => is(volume, &|volume| volume.has_size(wanted)),
            OperationKind::Attach(volume, wanted) | OperationKind::Retire(volume, wanted) => {
                is(volume, &|volume| volume.has_confirmed(wanted))
            }
            OperationKind::Snapshot(_, id) => {
                self.contents.snapshots.get(&id).is_none_or(|snapshot| self.is_snapshot_ready(snapshot))
            }
            OperationKind::DeleteSnapshot(_, id) => {
                !self.contents.snapshots.contains_key(&id) && self.graves_of(id).next().is_none()
            }
            OperationKind::Group(_, id) => self.contents.groups.get(&id).is_none_or(Group::is_ready),
            OperationKind::DeleteGroup(_, id) => !self.contents.groups.contains_key(&id),
        }
    }

    /// An operation ends without what was asked for.
    pub(crate) fn fail(&mut self, at: Time, kind: OperationKind, sentence: &str) {
        let is_meant = |id: &OperationId| self.contents.operations[id].kind == kind;
        let failed: Vec<OperationId> = self.index.running_of(kind.volume()).filter(is_meant).collect();
        for id in failed {
            let operation = self.contents.operations.get_mut(&id).expect("just found");
            operation.failed = Some(sentence.to_owned());
            self.end(at, id);
        }
    }

    fn end(&mut self, at: Time, id: OperationId) {
        let operation = self.contents.operations.get_mut(&id).expect("it goes on");
        operation.ended = Some(at);
        let volume = operation.kind.volume();
        self.contents.ended.push_back(id);
        self.index.ended(id, volume);
    }

    /// What an operation waits for; `None` when it has ended.
    #[must_use]
    pub fn waits_for(&self, operation: OperationId) -> Option<Waiting> {
        let kind = self.contents.operations.get(&operation).filter(|operation| operation.ended.is_none())?.kind;
        match kind {
            OperationKind::Create(id) => self.waits_for_clone(id).or_else(|| self.waits_for_volume(kind, "make it")),
            OperationKind::Resize(..) => self.waits_for_volume(kind, "make it larger"),
            OperationKind::Delete(id) => self.waits_for_space(id, "free its space"),
            OperationKind::Attach(..) => {
                self.waits_for_volume(kind, "let the client in and shut out those who were detached")
            }
            OperationKind::Retire(..) => self.waits_for_volume(kind, "shut out its clients"),
            OperationKind::Snapshot(..) => self.waits_for_volume(kind, "cut the snapshot"),
            OperationKind::DeleteSnapshot(_, id) => self.waits_for_graves(id),
            OperationKind::Group(_, id) => self.waits_for_group(self.contents.groups.get(&id)?),
            OperationKind::DeleteGroup(_, id) => match &self.contents.groups.get(&id)?.phase {
                GroupPhase::Deleting { left } => left.iter().find_map(|id| self.waits_for_graves(*id)),
                GroupPhase::Holding { .. }
                | GroupPhase::Cutting { .. }
                | GroupPhase::Releasing { .. }
                | GroupPhase::Pausing { .. }
                | GroupPhase::Ready => None,
            },
        }
    }

    /// What an operation on a volume that is there waits for.
    pub(crate) fn waits_for_volume(&self, kind: OperationKind, work: &'static str) -> Option<Waiting> {
        let volume = self.contents.volumes.get(&kind.volume())?;
        if volume.is_replicated() {
            return self.waits_for_replicas(kind, volume, work);
        }
        if volume.phase == Phase::Ready && volume.at_home().observed == Observed::Nothing {
            return Some(Waiting::Data { volume: volume.name.clone() });
        }
        self.waits_for_pool(volume.home(), work)
    }

    /// Of several nodes, one that is heard says most about what goes on.
    fn waits_for_space(&self, id: VolumeId, work: &'static str) -> Option<Waiting> {
        let all = || self.tombstones_of(id).filter_map(|(pool, _)| self.waits_for_pool(pool, work));
        all().find(|waiting| matches!(waiting, Waiting::Work { .. })).or_else(|| all().next())
    }

    /// Why a snapshot of a volume is not cut: what its primary says is in the way, or who is waited for.
    pub(crate) fn waits_for_cut(&self, volume: VolumeId, snapshot: SnapshotId) -> Option<String> {
        let refused = || {
            let volume = self.contents.volumes.get(&volume)?;
            let pool = volume.serving()?;
            let refused = volume.replicas.get(&pool)?.standing()?.cut_refused?;
            let node = &self.contents.pools.get(&pool)?.node;
            Some(format!("node {node} cannot cut it: {}", refused.words()))
        };
        let waits = || self.waits_for_volume(OperationKind::Snapshot(volume, snapshot), "cut it");
        refused().or_else(|| waits().map(|waiting| waiting.to_string()))
    }

    /// What keeps the node of a pool from doing its work.
    pub(crate) fn waits_for_pool(&self, pool: PoolId, work: &'static str) -> Option<Waiting> {
        let Pool { node, open, .. } = self.contents.pools.get(&pool)?.clone();
        match self.contents.nodes.get(&node)?.link {
            Link::Lost { since } => Some(Waiting::Node { node, since }),
            Link::Up { .. } if !open => Some(Waiting::Pool { pool, node }),
            Link::Up { .. } => Some(Waiting::Work { node, work }),
        }
    }

    /// Notes which operations have ended.
    pub(crate) fn settle_operations(&mut self, at: Time) {
        for id in self.index.take_touched() {
            if self.is_done(self.contents.operations[&id].kind) {
                self.end(at, id);
            }
        }
        while self.contents.ended.len() > OPERATIONS_KEPT {
            let oldest = self.contents.ended.pop_front().expect("there are many");
            self.contents.operations.remove(&oldest);
        }
    }
}

/// Whether a volume is there: the only replica was seen, or of several enough are in sync and the primary serves.
fn is_made(volume: &Volume) -> bool {
    match volume.condition() {
        None => volume.at_home().seen,
        Some(_) => volume.phase == Phase::Ready,
    }
}

/// Operations that have ended and can still be asked about.
const OPERATIONS_KEPT: usize = 1000;
