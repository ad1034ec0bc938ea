//! What operators may ask of a node, and how it answers.

use block::{BlockIndex, PoolId, SnapshotId, VolumeId, WriteSeq};
use replication::{COMPARED_GROUPS_MAX, Found, GroupRange};
use store::map::Differences;
use store::{DifferenceBase, PoolSpace, SnapshotState, Source, VersionSpace};

use crate::volume::Counters;

/// One command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// Make a volume of zeroes and export it.
    CreateVolume {
        /// 1 to 128 characters of `[a-z0-9._-]`, the first a letter or digit.
        name: String,
        /// A multiple of 4096 from 1 MiB to 64 TiB.
        size_bytes: u64,
    },
    /// Make a volume that starts as `source` is now, and export it.
    CloneVolume {
        /// Where it starts from.
        source: Source,
        /// As in [`Command::CreateVolume`].
        name: String,
        /// At least the source's size.
        size_bytes: u64,
    },
    /// Delete a volume and its data. Refused while a client is connected.
    DeleteVolume {
        /// Which.
        name: String,
        /// Disconnect its clients instead of refusing.
        force: bool,
    },
    /// Make a volume larger. Connected clients see it when they connect again.
    ResizeVolume {
        /// Which.
        name: String,
        /// At least its size now.
        size_bytes: u64,
    },
    /// Keep the volume as it is now.
    CreateSnapshot {
        /// Which volume.
        volume: String,
    },
    /// Delete a snapshot.
    DeleteSnapshot {
        /// Which.
        snapshot: SnapshotId,
    },
    /// Every volume.
    ListVolumes,
    /// Every snapshot.
    ListSnapshots,
    /// The pool's space.
    PoolSpace,
    /// Space of one volume or snapshot.
    SpaceOf {
        /// Which.
        source: Source,
    },
    /// Counters of the node and its volumes.
    Stats,
    /// In what a snapshot differs from another one, or from nothing: a piece of the answer.
    Differ {
        /// Which, and where it was cut.
        snapshot: (SnapshotId, WriteSeq),
        /// What it is compared with.
        base: DifferenceBase,
        /// Where the piece begins.
        from: BlockIndex,
    },
    /// Compare the replicas of a volume that this node serves, as of the same change, while it is used.
    Compare {
        /// Which volume.
        volume: VolumeId,
        /// Some of its groups.
        groups: GroupRange,
        /// Have every replica read them from its disk and verify them, too.
        reads: bool,
    },
}

impl Command {
    /// Whether it changes what the pool holds.
    pub(crate) fn changes(&self) -> bool {
        match self {
            Self::CreateVolume { .. }
            | Self::CloneVolume { .. }
            | Self::DeleteVolume { .. }
            | Self::ResizeVolume { .. }
            | Self::CreateSnapshot { .. }
            | Self::DeleteSnapshot { .. } => true,
            Self::ListVolumes | Self::ListSnapshots | Self::PoolSpace | Self::SpaceOf { .. } | Self::Stats => false,
            Self::Compare { .. } | Self::Differ { .. } => false,
        }
    }
}

/// How a command succeeded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// The volume exists and is exported.
    Created(VolumeId),
    /// It is done and durable.
    Done,
    /// [`Command::ListVolumes`], by id.
    Volumes(Vec<VolumeSummary>),
    /// The snapshot exists.
    Snapshot(SnapshotId),
    /// [`Command::ListSnapshots`], by id.
    Snapshots(Vec<SnapshotState>),
    /// [`Command::PoolSpace`].
    PoolSpace(PoolSpace),
    /// [`Command::SpaceOf`].
    SpaceOf(VersionSpace),
    /// [`Command::Stats`].
    Stats(NodeStats),
    /// [`Command::Differ`].
    Differences {
        /// In order, and where to go on; `None` behind the end.
        pieces: Differences,
        /// The snapshot's size.
        size_bytes: u64,
    },
    /// [`Command::Compare`], by pool: the members.
    Compared(Vec<ComparedReplica>),
}

/// What one replica said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ComparedReplica {
    /// Where it is.
    pub pool: PoolId,
    /// What it holds there.
    pub found: Result<Found, Absence>,
    /// Of the replica that was asked: blocks of the volume that nobody has, the first ones, not only of these groups.
    pub lost: Vec<LostBlock>,
}

/// A block that nobody has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LostBlock {
    /// The snapshot that holds it; `None`: the volume.
    pub snapshot: Option<SnapshotId>,
    /// Which.
    pub block: BlockIndex,
}

/// Why a replica was not compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Absence {
    /// There is no connection.
    #[error("it is not connected with the primary")]
    Disconnected,
    /// Its node cannot.
    #[error("its node is of a version that cannot compare; update it")]
    Old,
    /// It took too long.
    #[error("it did not answer in time")]
    Silent,
    /// It was at another place of the order, or had too much to do: ask again.
    #[error("it was about to join or leave, or busy; try again")]
    Moved,
}

/// What became of blocks that were not what was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RotCounters {
    /// Found.
    pub found: u64,
    /// Written again from another replica.
    pub repaired: u64,
    /// That no replica had.
    pub lost: u64,
}

/// One volume, as listed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VolumeSummary {
    /// Its id.
    pub id: VolumeId,
    /// Its name, which is its export's name.
    pub name: String,
    /// Its size.
    pub size_bytes: u64,
    /// Whether its export refuses changes.
    pub read_only: bool,
    /// Clients connected.
    pub clients: u32,
    /// What was done to it since the node started.
    pub counters: Counters,
}

/// A node at a glance.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct NodeStats {
    /// Connections now.
    pub connections: u64,
    /// Connections since the start.
    pub accepted: u64,
    /// Connections closed because there were too many.
    pub rejected: u64,
    /// Requests in flight.
    pub requests: u64,
    /// Bytes held for them.
    pub in_flight_bytes: u64,
    /// Bytes of replies not sent yet.
    pub backlog_bytes: u64,
    /// Blocks that were not what was written.
    pub rot: RotCounters,
}

/// Why a command was refused or failed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ControlError {
    /// The name is not one.
    #[error(
        "\"{name}\" is not a volume name: 1 to 128 characters of a-z, 0-9, '.', '_' and '-', the first a letter or digit"
    )]
    BadName {
        /// What was given.
        name: String,
    },
    /// The size cannot be.
    #[error("a volume cannot have {size_bytes} bytes: a multiple of 4096 from 1 MiB to 64 TiB can be")]
    BadSize {
        /// What was given.
        size_bytes: u64,
    },
    /// A volume only grows.
    #[error("volume \"{name}\" has {is_bytes} bytes already, and a volume cannot shrink to {asked_bytes}")]
    Shrinks {
        /// Which volume.
        name: String,
        /// Its size.
        is_bytes: u64,
        /// The size asked for.
        asked_bytes: u64,
    },
    /// The name is taken.
    #[error("there is a volume \"{name}\" already")]
    Exists {
        /// The name.
        name: String,
    },
    /// There is no such volume.
    #[error("there is no volume \"{name}\"")]
    NoSuchVolume {
        /// The name.
        name: String,
    },
    /// Clients are connected.
    #[error("volume \"{name}\" is in use by {clients} connected clients; disconnect them or use force")]
    InUse {
        /// Which volume.
        name: String,
        /// How many.
        clients: u32,
    },
    /// The volume is being deleted.
    #[error("volume \"{name}\" is being deleted")]
    BeingDeleted {
        /// Which volume.
        name: String,
    },
    /// Too many commands at once.
    #[error("{0} commands are being carried out; try again when some have ended")]
    TooManyCommands(usize),
    /// The node lives by what the control plane wants.
    #[error("this node belongs to a cluster, and what it holds is decided there; ask the control plane")]
    NotHere,
    /// The volume is not served here.
    #[error("this node does not serve the volume now; ask the one that does")]
    NotServed,
    /// Too many groups at once, or none.
    #[error("{found} groups cannot be compared at once, but 1 to {COMPARED_GROUPS_MAX}")]
    BadGroups {
        /// How many were meant.
        found: u32,
    },
    /// The node is stopping.
    #[error("the node is stopping")]
    Stopping,
    /// The store refused.
    #[error("the store refused: {0}")]
    Refused(#[from] store::Refusal),
    /// The store took the command and failed.
    #[error("the store failed: {0}")]
    Failed(block::Error),
}
