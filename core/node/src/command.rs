//! What operators may ask of a node, and how it answers.

use block::{SnapshotId, VolumeId};
use store::{PoolSpace, SnapshotState, Source, VersionSpace};

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
