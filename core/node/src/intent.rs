//! What the control plane wants of a node, and what the node says of itself. Plain values: `wishes` keeps the one and
//! `reconcile` acts on it, `observe` makes the other.

use std::collections::BTreeMap;

use block::{Epoch, Incarnation, PoolId, SnapshotId, VolumeId, WriteSeq};
use replication::{Configuration, Wanted};

use crate::token::TokenHash;

/// What a node should hold, whom it should let in, and where other volumes are.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Intent {
    /// Whose control plane says it: nodes of other clusters are not talked to.
    pub cluster: u128,
    /// A later one wins; an earlier one than the node goes by is ignored.
    pub revision: u64,
    /// It takes the place of all that was said before, and does not only add to it.
    pub whole: bool,
    /// Replicas it should have, each as it should be: it takes the place of what was said of that volume before.
    pub replicas: Vec<ReplicaIntent>,
    /// Replicas it should delete: only these, and only because somebody asked for it.
    pub deletions: Vec<VolumeId>,
    /// Snapshots it should delete: likewise.
    pub snapshot_deletions: Vec<SnapshotId>,
    /// Where volumes of other nodes are.
    pub routes: Vec<Route>,
    /// Volumes that are nowhere else any more, by name.
    pub lost_routes: Vec<String>,
}

/// One replica.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReplicaIntent {
    /// Of which volume.
    pub volume: VolumeId,
    /// Its name, under which it is exported.
    pub name: String,
    /// The size it should have at least.
    pub size_bytes: u64,
    /// It may be made, of zeroes, if it is not there.
    pub may_create: bool,
    /// Number of the last change to its attachments.
    pub generation: u64,
    /// Who may use it.
    pub attachments: Vec<Attachment>,
    /// Whether clients without a token may use it, from where they may, as long as nobody has it attached.
    pub open: bool,
    /// The other replicas, if there are any or were.
    pub copies: Option<CopiesIntent>,
    /// What is wanted of snapshots.
    pub snapshots: SnapshotsIntent,
}

/// What the control plane wants of a volume's snapshots, and because of them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SnapshotsIntent {
    /// Those that should be there.
    pub wanted: Vec<SnapshotIntent>,
    /// What the volume starts as, if it may be made: not of zeroes then, and not where this is not.
    pub origin: Option<Origin>,
    /// The group whose snapshot needs that no write is acknowledged for now; 0: none.
    pub hold: u64,
    /// Nobody uses the volume any more, and its blocks need not be kept.
    pub retired: bool,
}

/// A snapshot that should be there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SnapshotIntent {
    /// Which.
    pub id: SnapshotId,
    /// Where it was cut; the primary is to cut it when this is not known.
    pub at: Option<WriteSeq>,
    /// It is cut only while the volume holds for this group; 0: at any time.
    pub group: u64,
}

/// A snapshot that a volume starts as.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Origin {
    /// Which.
    pub snapshot: SnapshotId,
    /// Where it was cut: another one of this number is another one.
    pub at: WriteSeq,
}

/// How a volume is replicated. A volume that ever was is not served without.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CopiesIntent {
    /// The newest configuration that was decided; with epoch 0 when none was.
    pub configuration: Configuration,
    /// Every replica, by its pool, and where its node takes connections of other nodes' replicas: members and those
    /// that are to become some. This node's own is passed over.
    pub peers: BTreeMap<PoolId, String>,
    /// Another member that should be primary, for as long as this is wanted: the primary here lets it as soon as nothing
    /// is in flight.
    pub hand_over: Option<PoolId>,
    /// Which of the replicas are wanted: the primary gives up the others when it can.
    pub wanted: Wanted,
}

/// Permission of one client to use a volume.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attachment {
    /// Who.
    pub client: String,
    /// Whether it may only read.
    pub read_only: bool,
    /// The change of the volume's attachments that made it; from 1 on.
    pub generation: u64,
    /// What proves it.
    pub token: TokenHash,
}

/// Where a volume of another node is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Route {
    /// Its name.
    pub name: String,
    /// Where that node takes clients from other nodes; not looked at here.
    pub address: String,
}

/// What a node holds and goes by.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Observation {
    /// The intent it goes by: nothing that was begun under an older one is under way, and nothing of one will be begun.
    pub heard: u64,
    /// Every replica that is durably there, by id, whether an intent names it or not.
    pub replicas: Vec<ReplicaObservation>,
}

/// One replica as it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReplicaObservation {
    /// Of which volume.
    pub volume: VolumeId,
    /// Its size.
    pub size_bytes: u64,
    /// The attachments it goes by: every other client was dropped, and all that was admitted of it has ended. 0 before
    /// the first intent that names the volume. Of a replicated volume only the serving primary says so, and when all
    /// that was admitted before is committed; the others say 0.
    pub generation: u64,
    /// The highest configuration it ever went by: it is kept on stable media, also when it goes by none.
    pub epoch_seen: Epoch,
    /// Blocks that no replica has.
    pub lost_blocks: u64,
    /// The replica, once an intent said that there are others.
    pub copy: Option<CopyObservation>,
    /// Its snapshots, by their numbers. A primary tells of those that every member has on stable media, others of what they
    /// have there themselves.
    pub snapshots: Vec<SnapshotObservation>,
    /// What became of the last hold that it was asked for.
    pub hold: Option<HoldObservation>,
    /// Why a snapshot that it should cut is not cut, if the reason is here.
    pub cut_refused: Option<CutRefusal>,
    /// Deleted snapshots that the pool keeps because this volume and others began as them.
    pub branch_points: u32,
}

/// Why a node cannot cut a snapshot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CutRefusal {
    /// The volume has as many as it can have, those that are being deleted included.
    ManySnapshots,
    /// The pool is full up to its reserve.
    PoolFull,
    /// The pool holds as many volumes and snapshots as it can.
    PoolCrowded,
    /// The pool takes no more writes.
    PoolFailed,
    /// A node of an earlier version has a replica, and cannot be told of snapshots.
    OldNode,
}

/// A snapshot as it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SnapshotObservation {
    /// Which.
    pub id: SnapshotId,
    /// Where it was cut.
    pub at: WriteSeq,
    /// Its size.
    pub size_bytes: u64,
    /// Bytes that only it holds, as of some time ago.
    pub exclusive_bytes: u64,
    /// Bytes that others hold as well, likewise.
    pub shared_bytes: u64,
}

/// What became of a hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HoldObservation {
    /// For which group.
    pub group: u64,
    /// What.
    pub state: HoldState,
}

/// How far a hold is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HoldState {
    /// Nothing is acknowledged.
    Held,
    /// The same, and the group's snapshot has its place.
    Cut,
    /// It lasted until it was not wanted any more.
    Released,
    /// It did not.
    Broken,
}

/// A replica of a replicated volume.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CopyObservation {
    /// Which it is: for registering it.
    pub incarnation: Incarnation,
    /// No loss of power took anything since it was this one. Lower ones of the same pool may have lost what was not
    /// flushed.
    pub warm_from: Incarnation,
    /// What it is: see [`replication::Status`].
    pub role: &'static str,
    /// What it goes by; 0 if it goes by none.
    pub epoch: Epoch,
    /// It is primary and lets clients in.
    pub is_serving: bool,
    /// Its store takes changes. Otherwise it is out until it does; after it was full, until it is in sync again.
    pub is_able: bool,
    /// As primary: groups of 64 blocks that others are still to be given.
    pub groups_to_teach: u64,
    /// While it is taught: how far that is.
    pub copying: Option<Copying>,
}

/// How far a replica is with what it copies from the primary, in groups of 64 blocks. Not exact: it is told a hundred times
/// at most.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Copying {
    /// Still to be copied.
    pub left: u64,
    /// All there were when it began.
    pub groups: u64,
}

impl Copying {
    pub(crate) fn new(left: u64, groups: u64) -> Self {
        let step = (groups / 100).max(1);
        Self { left: left.div_ceil(step).saturating_mul(step).min(groups), groups }
    }
}
