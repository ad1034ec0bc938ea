//! What changes a cluster, and what comes back.

use std::collections::BTreeSet;

use block::{PoolId, SnapshotId, VolumeId};

use crate::attachment::{AccessMode, Claim, Generation, TokenHash};
use crate::configuration::Proposal;
use crate::group::GroupId;
use crate::name::Name;
use crate::node::{Addresses, Admin, Labels};
use crate::operation::OperationId;
use crate::report::NodeReport;
use crate::schedule::Cron;
use crate::snapshot::Source;
use crate::state::{ClusterId, Settings};
use crate::volume::{Modification, VolumeSpec};

/// Milliseconds since 1970, as the leader that proposed a command saw it. Only shown and compared with itself: nothing
/// that must be safe depends on it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Time(pub u64);

/// How many commands had been applied: says which of two views of the state is newer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Revision(pub u64);

/// Drawn by a client for each request; a retry carries the same one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct RequestId(pub u128);

/// One entry of the replicated log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Command {
    /// When it was proposed.
    pub at: Time,
    /// Who asked; `None` for what the control plane does by itself.
    pub request: Option<RequestId>,
    /// What is to change.
    pub change: Change,
}

/// A change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// The first of all: from now on there is a cluster.
    Found {
        /// Drawn at random.
        cluster: ClusterId,
    },
    /// A node opened its stream.
    Register {
        /// Its name.
        node: Name,
        /// Where it is.
        addresses: Addresses,
        /// Its labels.
        labels: Labels,
    },
    /// A node's stream broke.
    Lose {
        /// Which.
        node: Name,
    },
    /// What a node holds, or what changed of it.
    Report {
        /// Which.
        node: Name,
        /// What it said.
        report: NodeReport,
    },
    /// An operator's word on a node.
    Administer {
        /// Which.
        node: Name,
        /// From now on.
        admin: Admin,
    },
    /// A node is gone for good. Refused while it holds a replica.
    RemoveNode {
        /// Which.
        node: Name,
    },
    /// Most voters are gone for good, and this state is that of one that is left. From now on nodes are only listened to.
    Recover,
    /// What nodes told since is compared with the state, which goes on.
    Resume {
        /// Nodes that were not heard, and are gone for good.
        without: BTreeSet<Name>,
    },
    /// A pool is gone for good. Refused while it is heard, while a volume counts on it, and, unless by force, while it
    /// holds the only copy of something.
    RemovePool {
        /// Which.
        pool: PoolId,
        /// Give up what only it holds.
        force: bool,
    },
    /// A new volume.
    CreateVolume {
        /// Its name.
        name: Name,
        /// A multiple of 4096 from 1 MiB to 64 TiB.
        size_bytes: u64,
        /// How it is to be kept.
        spec: VolumeSpec,
        /// What it begins as; `None` for zeroes.
        source: Option<Source>,
    },
    /// A larger size.
    ResizeVolume {
        /// Which.
        volume: Name,
        /// At least its size now.
        size_bytes: u64,
    },
    /// Other parameters.
    ModifyVolume {
        /// Which.
        volume: Name,
        /// Those that change.
        modification: Modification,
    },
    /// A volume is not wanted any more. Its name is free at once.
    DeleteVolume {
        /// Which.
        volume: Name,
        /// Also when it is attached.
        force: bool,
    },
    /// A client is to use a volume.
    Attach {
        /// Which.
        volume: Name,
        /// Who.
        client: Name,
        /// How.
        mode: AccessMode,
        /// What proves it.
        token: TokenHash,
        /// What the client takes to be so already.
        claim: Claim,
    },
    /// A client is not to use a volume any more.
    Detach {
        /// Which.
        volume: Name,
        /// Who; `None` for everybody.
        client: Option<Name>,
    },
    /// A host that uses volumes is there.
    RegisterHost {
        /// What it is called: the client that volumes are attached to.
        host: Name,
        /// Where it is.
        labels: Labels,
    },
    /// A host will not come again.
    RemoveHost {
        /// Which.
        host: Name,
    },
    /// The cluster's settings.
    Set(Settings),
    /// A member of a volume's configuration wants another one. Answered when it is in force.
    Configure {
        /// Which.
        volume: VolumeId,
        /// What it wants.
        proposal: Proposal,
    },
    /// A volume is to go on from this replica although it may lack acknowledged writes. Nothing else helps when every
    /// member is gone for good.
    ForcePromote {
        /// Which.
        volume: Name,
        /// Where the replica is.
        pool: PoolId,
    },
    /// Another member is to be primary.
    HandOver {
        /// Which volume.
        volume: Name,
        /// The member.
        pool: PoolId,
    },
    /// A volume as it is now is to be kept.
    CreateSnapshot {
        /// The snapshot's name, one of all snapshots of the cluster.
        name: Name,
        /// Of which volume.
        volume: Name,
        /// For people and their tools.
        labels: Labels,
    },
    /// A snapshot is not wanted any more. Its name is free at once.
    DeleteSnapshot {
        /// Which.
        snapshot: Name,
    },
    /// Several volumes as they are at one instant are to be kept.
    CreateGroup {
        /// The group's name; its snapshots are called `GROUP-VOLUME`.
        name: Name,
        /// Which volumes.
        volumes: Vec<Name>,
        /// For people and their tools; the snapshots get them as well.
        labels: Labels,
    },
    /// A group and its snapshots are not wanted any more.
    DeleteGroup {
        /// Which.
        group: Name,
    },
    /// A volume is to have snapshots by itself; in the place of the schedule of that name, if there is one.
    SetSchedule {
        /// Which volume.
        volume: Name,
        /// The schedule's name.
        schedule: Name,
        /// When.
        cron: Cron,
        /// How many of its snapshots are kept.
        keep: u32,
    },
    /// A schedule is not wanted any more. What it made stays.
    RemoveSchedule {
        /// Which volume.
        volume: Name,
        /// The schedule's name.
        schedule: Name,
    },
    /// Time has passed: see [`crate::State::deadline`].
    Tick,
}

/// What a command led to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// There is nothing to wait for.
    Done,
    /// This goes on; it is done when the operation has ended.
    Started(OperationId),
    /// The volume is there, or being made.
    Volume {
        /// Its id.
        id: VolumeId,
        /// What makes it, if it is not done.
        operation: Option<OperationId>,
    },
    /// The client may connect when the operation has ended.
    Attached {
        /// Number of the attachment.
        generation: Generation,
        /// What makes it known to those who serve the volume.
        operation: OperationId,
    },
    /// The snapshot is there, or being made.
    Snapshot {
        /// Its id.
        id: SnapshotId,
        /// What makes it, if it is not ready.
        operation: Option<OperationId>,
    },
    /// The group is there, or being made.
    Group {
        /// Its id.
        id: GroupId,
        /// What makes it, if it is not ready.
        operation: Option<OperationId>,
    },
}
