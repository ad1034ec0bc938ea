//! Why a command changed nothing: what was found, what was expected, what to do.

use block::{PoolId, VolumeId};

use crate::attachment::{AccessMode, Attachment, READERS_MAX};
use crate::decide::NotAccepted;
use crate::name::Name;
use crate::node::LABELS_MAX;
use crate::placement::NoPlace;
use crate::state::{ClusterId, NODES_MAX, VOLUMES_MAX};
use crate::volume::{DESCRIPTION_BYTES_MAX, REPLICAS_MAX};

/// A refusal.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// No such volume.
    #[error("there is no volume \"{0}\"")]
    NoSuchVolume(Name),
    /// No such node.
    #[error("there is no node \"{0}\"")]
    NoSuchNode(Name),
    /// A volume of that name exists and is another.
    #[error("there is a volume \"{name}\" already, with other parameters: {difference}")]
    Exists {
        /// Which.
        name: Name,
        /// What differs.
        difference: &'static str,
    },
    /// A size that no volume can have.
    #[error("{0} bytes are no size of a volume: it is a multiple of 4096 from 1 MiB to 64 TiB")]
    Size(u64),
    /// A volume does not shrink.
    #[error("volume \"{volume}\" has {is_bytes} bytes, and a volume does not shrink to {asked_bytes}")]
    Shrinks {
        /// Which.
        volume: Name,
        /// Its size.
        is_bytes: u64,
        /// What was asked for.
        asked_bytes: u64,
    },
    /// More or fewer copies than can be.
    #[error("{0} replicas cannot be: ask for 1 to {REPLICAS_MAX}")]
    ReplicaCount(u8),
    /// A volume that needs more members for writes than it has replicas, or none.
    #[error(
        "writes with {found} replicas in sync cannot be asked of a volume with {replicas}: ask for 1 to {replicas}"
    )]
    MembersMin {
        /// What was asked for.
        found: u8,
        /// Its copies.
        replicas: u8,
    },
    /// Copies of a volume that is not there yet.
    #[error("volume \"{0}\" is being made: its number of replicas can be changed when it is there")]
    NotMade(Name),
    /// A configuration that a member asked for.
    #[error("volume {volume}: the configuration is not accepted: {reason}")]
    NotAccepted {
        /// Which.
        volume: VolumeId,
        /// Why.
        reason: NotAccepted,
    },
    /// A volume that is deleted, named by its number.
    #[error("there is no volume {0} any more")]
    Deleted(VolumeId),
    /// No replica of the volume that could be primary.
    #[error("volume \"{volume}\" has no replica in pool {pool} that {expected}")]
    NoSuchReplica {
        /// Which.
        volume: Name,
        /// Where it was looked for.
        pool: PoolId,
        /// What it would have to be.
        expected: &'static str,
    },
    /// Nothing is to be forced.
    #[error(
        "volume \"{volume}\" has a member in pool {member} that is as it was: it goes on from there by itself, without loss"
    )]
    NotLost {
        /// Which.
        volume: Name,
        /// The member.
        member: PoolId,
    },
    /// Nowhere to put it.
    #[error("{0}")]
    NoPlace(NoPlace),
    /// Somebody else uses the volume.
    #[error("volume \"{volume}\" is attached to \"{holder}\" {}: detach it there, or by force", access(*mode))]
    Attached {
        /// Which.
        volume: Name,
        /// By whom.
        holder: Name,
        /// How.
        mode: AccessMode,
    },
    /// Too many readers.
    #[error("volume \"{0}\" has {READERS_MAX} readers, the most there can be")]
    Readers(Name),
    /// A node that still holds something.
    #[error("node \"{node}\" holds {replicas} replicas: plinth node drain {node} moves them")]
    NodeInUse {
        /// Which.
        node: Name,
        /// How many.
        replicas: usize,
    },
    /// A pool was reported by two nodes.
    #[error("pool {pool} is reported by node \"{second}\", but node \"{first}\" is up and has it")]
    PoolTaken {
        /// Which.
        pool: PoolId,
        /// Who has it.
        first: Name,
        /// Who says so as well.
        second: Name,
    },
    /// A change of a pool that was not reported whole.
    #[error("pool {0} changed, and what is in it was not told before: begin the stream anew")]
    PoolNotOpen(PoolId),
    /// A cluster is founded once.
    #[error("this is cluster {0} already")]
    Founded(ClusterId),
    /// Too long a description.
    #[error("the description has {0} bytes: at most {DESCRIPTION_BYTES_MAX} are kept")]
    Description(usize),
    /// Too many labels.
    #[error("{0} labels or tags are too many: at most {LABELS_MAX} are kept")]
    Labels(usize),
    /// Too many volumes.
    #[error("the cluster has {VOLUMES_MAX} volumes, the most there can be")]
    Volumes,
    /// Too many nodes.
    #[error("the cluster has {NODES_MAX} nodes, the most there can be")]
    Nodes,
    /// Settings that make no sense.
    #[error("{what} is {found}: it must be {expected}")]
    Setting {
        /// Which.
        what: &'static str,
        /// What was asked for.
        found: u64,
        /// What is possible.
        expected: &'static str,
    },
}

impl Refusal {
    pub(crate) fn attached(volume: &Name, holder: &Attachment) -> Self {
        Self::Attached { volume: volume.clone(), holder: holder.client.clone(), mode: holder.mode }
    }
}

fn access(mode: AccessMode) -> &'static str {
    match mode {
        AccessMode::ReadWrite => "for writing",
        AccessMode::ReadOnly => "for reading",
    }
}
