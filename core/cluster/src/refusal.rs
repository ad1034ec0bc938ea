//! Why a command changed nothing: what was found, what was expected, what to do.

use block::{PoolId, VolumeId};

use crate::attachment::{AccessMode, Attachment, TOGETHER_MAX};
use crate::decide::NotAccepted;
use crate::group::{GROUP_VOLUMES_MAX, GROUPS_MAX};
use crate::name::Name;
use crate::node::LABELS_MAX;
use crate::placement::NoPlace;
use crate::schedule::{KEEP_MAX, SCHEDULES_MAX};
use crate::snapshot::{SNAPSHOTS_MAX, SNAPSHOTS_OF_VOLUME_MAX};
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
    /// Something newer than the replica is heard.
    #[error(
        "volume \"{volume}\" is not gone on from that replica: the one in pool {newer} goes by a newer configuration. Choose that one"
    )]
    Older {
        /// Which.
        volume: Name,
        /// Where the newest replica is.
        newer: PoolId,
    },
    /// Something that nobody knows of here may be newer.
    #[error(
        "volume \"{volume}\" may be newer in pool {pool}, which has a copy that these voters know nothing of: stop the node of that pool, keep the disk, and give the pool up with plinth pool remove {pool}; then ask again"
    )]
    Stray {
        /// Which.
        volume: Name,
        /// Where the copy is.
        pool: PoolId,
    },
    /// The state was recovered, and nodes are only listened to.
    #[error(
        "the state was recovered from one voter, and nothing is changed before the nodes were heard: plinth status says which are not; then plinth cluster resume"
    )]
    Listening,
    /// Nodes that may know something newer.
    #[error(
        "not heard since the state was recovered: {0}. Start them, and ask again. If they are gone for good, and only then: plinth cluster resume --without {0}"
    )]
    Unheard(String),
    /// A node that is heard is given up.
    #[error("node \"{0}\" is heard, or there is none: name only nodes that are not heard")]
    NotUnheard(Name),
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
    /// The client has the volume, and not as it asked for.
    #[error("volume \"{volume}\" is attached to \"{client}\" {} already: detach it first", access(*held))]
    AttachedOtherwise {
        /// Which.
        volume: Name,
        /// Who.
        client: Name,
        /// How it has it.
        held: AccessMode,
    },
    /// The client does not have the volume.
    #[error("volume \"{volume}\" is not attached to \"{client}\" {} any more: attach it anew", access(*mode))]
    NotAttached {
        /// Which.
        volume: Name,
        /// Who.
        client: Name,
        /// How it says to have it.
        mode: AccessMode,
    },
    /// No such host.
    #[error("there is no host \"{0}\"")]
    NoSuchHost(Name),
    /// Too many who read or share it.
    #[error("volume \"{0}\" is attached to {TOGETHER_MAX} clients, the most there can be")]
    Readers(Name),
    /// A node that still holds something.
    #[error(
        "node \"{node}\" holds {replicas} replicas: plinth node drain {node} makes them elsewhere. What only it holds: plinth volume delete, or plinth pool remove --force"
    )]
    NodeInUse {
        /// Which.
        node: Name,
        /// How many.
        replicas: usize,
    },
    /// A node that is there.
    #[error(
        "node \"{0}\" is heard: stop its storage node first, then remove it; who was heard counts as heard for some seconds. plinth node cordon {0} places nothing new on it meanwhile"
    )]
    NodeHeard(Name),
    /// No such pool.
    #[error("there is no pool {0}: plinth pool list shows those there are")]
    NoSuchPool(PoolId),
    /// A pool that is in use.
    #[error(
        "pool {pool} is in use on node \"{node}\": drain the node and stop it, or take the disk out of it, then remove the pool"
    )]
    PoolHeard {
        /// Which.
        pool: PoolId,
        /// Whose.
        node: Name,
    },
    /// A pool that a volume goes by.
    #[error(
        "volume \"{volume}\" still counts on its replica in pool {pool}: as soon as its other replicas serve it without that one, the pool can be removed; if they are gone, too, see plinth volume promote. plinth explain volume {volume} says how they are"
    )]
    PoolCounts {
        /// Which.
        pool: PoolId,
        /// The first such volume.
        volume: Name,
    },
    /// A pool with something that nobody else has.
    #[error("pool {pool} holds the only copy of {what}: bring it back, or give that up for good with --force")]
    PoolHoldsOnly {
        /// Which.
        pool: PoolId,
        /// In words.
        what: String,
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
    /// No such snapshot.
    #[error("there is no snapshot \"{0}\"")]
    NoSuchSnapshot(Name),
    /// No such group.
    #[error("there is no group snapshot \"{0}\"")]
    NoSuchGroup(Name),
    /// No such schedule.
    #[error("volume \"{volume}\" has no schedule \"{schedule}\"")]
    NoSuchSchedule {
        /// Whose.
        volume: Name,
        /// Which.
        schedule: Name,
    },
    /// A snapshot of that name exists and is another.
    #[error(
        "there is a snapshot \"{name}\" already, of volume \"{of}\" and not of this volume \"{asked}\": choose another name"
    )]
    SnapshotExists {
        /// Its name.
        name: Name,
        /// The name that its volume had.
        of: Name,
        /// The volume that was asked for.
        asked: Name,
    },
    /// A group of that name exists and is another.
    #[error("there is a group snapshot \"{0}\" already, of other volumes: choose another name")]
    GroupExists(Name),
    /// A snapshot that is being made.
    #[error("snapshot \"{0}\" is not ready: wait until it is")]
    SnapshotNotReady(Name),
    /// A snapshot that does not go alone.
    #[error("snapshot \"{snapshot}\" belongs to group snapshot \"{group}\": delete that")]
    InGroup {
        /// Which.
        snapshot: Name,
        /// Its group.
        group: Name,
    },
    /// A volume that is in another group that is being made.
    #[error("group snapshot \"{group}\" is being taken of volume \"{volume}\": try again in a moment")]
    GroupBusy {
        /// Which volume.
        volume: Name,
        /// Of what.
        group: Name,
    },
    /// No, too many, or repeated volumes.
    #[error("{0} volumes cannot be a group: name 1 to {GROUP_VOLUMES_MAX} different ones")]
    GroupVolumes(usize),
    /// The name of a group's snapshot would be too long.
    #[error(
        "the snapshot of volume \"{volume}\" would be called \"{group}-{volume}\", which is too long: choose a shorter name for the group"
    )]
    GroupName {
        /// The group.
        group: Name,
        /// The volume.
        volume: Name,
    },
    /// Too many groups.
    #[error("the cluster has {GROUPS_MAX} group snapshots, the most there can be: delete some")]
    Groups,
    /// A clone that is too small.
    #[error(
        "volume \"{volume}\" is to begin as something of {source_bytes} bytes, and cannot have {asked_bytes}: ask for at least as much"
    )]
    SmallerThanSource {
        /// Which.
        volume: Name,
        /// The size of what it begins as.
        source_bytes: u64,
        /// What was asked for.
        asked_bytes: u64,
    },
    /// Too many snapshots.
    #[error("the cluster has {SNAPSHOTS_MAX} snapshots, the most there can be: delete some")]
    Snapshots,
    /// Too many snapshots of one volume.
    #[error("volume \"{0}\" has {SNAPSHOTS_OF_VOLUME_MAX} snapshots, the most there can be: delete some")]
    SnapshotsOfVolume(Name),
    /// Too many schedules of one volume.
    #[error("volume \"{0}\" has {SCHEDULES_MAX} schedules, the most there can be: remove one")]
    Schedules(Name),
    /// A schedule that keeps none, or too many.
    #[error("{0} snapshots cannot be kept by a schedule: ask for 1 to {KEEP_MAX}")]
    Keep(u32),
    /// The name of a schedule's snapshots would be too long.
    #[error(
        "snapshots of volume \"{volume}\" by schedule \"{schedule}\" would have names that are too long: choose a shorter name for the schedule"
    )]
    ScheduleName {
        /// The volume.
        volume: Name,
        /// The schedule.
        schedule: Name,
    },
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

/// In a sentence.
pub(crate) fn access(mode: AccessMode) -> &'static str {
    match mode {
        AccessMode::ReadWrite => "for writing",
        AccessMode::ReadOnly => "for reading",
        AccessMode::Shared => "for writing beside others",
    }
}
