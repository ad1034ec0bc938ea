//! Refusals as gRPC knows them: a code, a sentence, and a word for programs in the metadata.

use cluster::Refusal;
use tonic::{Code, Status};

use crate::raft::{MembershipError, ProposeError, Voter};

/// Where the word is.
const WORD: &str = "plinth-error";
/// Where a voter that does not lead names the one that does.
const LEADER: &str = "plinth-leader";

/// Why a proposal led to nothing.
pub(crate) fn of_proposal(error: ProposeError) -> Status {
    match error {
        ProposeError::Refused(refusal) => of_refusal(&refusal),
        ProposeError::NotLeader { leader } => not_leader(leader.as_ref().map(|(_, voter)| voter)),
        ProposeError::Unavailable(reason) => status(Code::Unavailable, "unavailable", reason),
    }
}

/// The request has to go to another voter.
pub(crate) fn not_leader(leader: Option<&Voter>) -> Status {
    let Some(leader) = leader else {
        let sentence = "the voters have no leader at the moment: most of them must be up and reach each other";
        return status(Code::Unavailable, "no-leader", sentence);
    };
    let mut status = status(Code::Unavailable, "not-leader", format!("voter {} leads", leader.address));
    if let Ok(address) = leader.address.parse() {
        status.metadata_mut().insert(LEADER, address);
    }
    status
}

/// A change of the voters that was not made.
pub(crate) fn of_membership(error: &MembershipError) -> Status {
    let code = match error {
        MembershipError::NotLeader { leader } => return not_leader(leader.as_ref().map(|(_, voter)| voter)),
        MembershipError::NoSuchVoter(_) => Code::NotFound,
        MembershipError::Id => Code::InvalidArgument,
        MembershipError::Busy => Code::Aborted,
        MembershipError::Unavailable(_) | MembershipError::Silent { .. } | MembershipError::Behind { .. } => {
            Code::Unavailable
        }
        MembershipError::Exists { .. } => Code::AlreadyExists,
        MembershipError::Last(_)
        | MembershipError::TooMany
        | MembershipError::OtherCluster { .. }
        | MembershipError::Known { .. }
        | MembershipError::NoMajority { .. } => Code::FailedPrecondition,
    };
    status(code, "voters", error.to_string())
}

/// A field that cannot be.
pub(crate) fn invalid(field: &str, sentence: impl std::fmt::Display) -> Status {
    status(Code::InvalidArgument, "invalid-argument", format!("{field}: {sentence}"))
}

/// There is no such thing.
pub(crate) fn not_found(word: &'static str, sentence: impl Into<String>) -> Status {
    status(Code::NotFound, word, sentence)
}

/// It cannot be done as things are.
pub(crate) fn refused(word: &'static str, sentence: impl Into<String>) -> Status {
    status(Code::FailedPrecondition, word, sentence)
}

/// It was begun, and ended without what was asked for.
pub(crate) fn failed(sentence: impl Into<String>) -> Status {
    status(Code::Aborted, "failed", sentence)
}

/// With a word for programs.
fn status(code: Code, word: &'static str, sentence: impl Into<String>) -> Status {
    let mut status = Status::new(code, sentence);
    status.metadata_mut().insert(WORD, tonic::metadata::MetadataValue::from_static(word));
    status
}

/// Why a command changed nothing.
pub(crate) fn of_refusal(refusal: &Refusal) -> Status {
    let (code, word) = match refusal {
        Refusal::NoSuchVolume(_) => (Code::NotFound, "no-such-volume"),
        Refusal::NoSuchSnapshot(_) => (Code::NotFound, "no-such-snapshot"),
        Refusal::NoSuchGroup(_) => (Code::NotFound, "no-such-group"),
        Refusal::NoSuchSchedule { .. } => (Code::NotFound, "no-such-schedule"),
        Refusal::SnapshotExists { .. } => (Code::AlreadyExists, "snapshot-exists"),
        Refusal::GroupExists(_) => (Code::AlreadyExists, "group-exists"),
        Refusal::SnapshotNotReady(_) => (Code::FailedPrecondition, "snapshot-not-ready"),
        Refusal::InGroup { .. } => (Code::FailedPrecondition, "snapshot-in-group"),
        Refusal::GroupBusy { .. } => (Code::Aborted, "group-busy"),
        Refusal::GroupVolumes(_) => (Code::InvalidArgument, "bad-group"),
        Refusal::GroupName { .. } => (Code::InvalidArgument, "name-too-long"),
        Refusal::Groups => (Code::ResourceExhausted, "too-many-groups"),
        Refusal::SmallerThanSource { .. } => (Code::OutOfRange, "smaller-than-source"),
        Refusal::Snapshots | Refusal::SnapshotsOfVolume(_) => (Code::ResourceExhausted, "too-many-snapshots"),
        Refusal::Schedules(_) => (Code::ResourceExhausted, "too-many-schedules"),
        Refusal::Keep(_) => (Code::InvalidArgument, "bad-keep"),
        Refusal::ScheduleName { .. } => (Code::InvalidArgument, "name-too-long"),
        Refusal::NoSuchNode(_) => (Code::NotFound, "no-such-node"),
        Refusal::Exists { .. } => (Code::AlreadyExists, "volume-exists"),
        Refusal::Size(_) => (Code::InvalidArgument, "bad-size"),
        Refusal::Shrinks { .. } => (Code::InvalidArgument, "volume-shrinks"),
        Refusal::ReplicaCount(_) => (Code::InvalidArgument, "bad-replicas"),
        Refusal::MembersMin { .. } => (Code::InvalidArgument, "bad-in-sync-min"),
        Refusal::Deleted(_) => (Code::NotFound, "no-such-volume"),
        Refusal::NoSuchReplica { .. } => (Code::NotFound, "no-such-replica"),
        Refusal::NotMade(_) => (Code::FailedPrecondition, "volume-not-made"),
        Refusal::NotAccepted { .. } => (Code::Aborted, "not-accepted"),
        Refusal::NotLost { .. } => (Code::FailedPrecondition, "volume-not-lost"),
        Refusal::Description(_) => (Code::InvalidArgument, "description-too-long"),
        Refusal::Labels(_) => (Code::InvalidArgument, "too-many-labels"),
        Refusal::Setting { .. } => (Code::InvalidArgument, "bad-setting"),
        Refusal::NoPlace(_) => (Code::ResourceExhausted, "no-place"),
        Refusal::Readers(_) => (Code::ResourceExhausted, "too-many-readers"),
        Refusal::Volumes => (Code::ResourceExhausted, "too-many-volumes"),
        Refusal::Nodes => (Code::ResourceExhausted, "too-many-nodes"),
        Refusal::Attached { .. } => (Code::FailedPrecondition, "volume-attached"),
        Refusal::NotAttached { .. } => (Code::FailedPrecondition, "not-attached"),
        Refusal::AttachedOtherwise { .. } => (Code::AlreadyExists, "attached-otherwise"),
        Refusal::NoSuchHost(_) => (Code::NotFound, "no-such-host"),
        Refusal::NodeInUse { .. } => (Code::FailedPrecondition, "node-in-use"),
        Refusal::Older { .. } => (Code::FailedPrecondition, "older-replica"),
        Refusal::Stray { .. } => (Code::FailedPrecondition, "stray-copy"),
        Refusal::Listening => (Code::FailedPrecondition, "recovered"),
        Refusal::Unheard(_) => (Code::FailedPrecondition, "nodes-unheard"),
        Refusal::NotUnheard(_) => (Code::InvalidArgument, "node-heard"),
        Refusal::NodeHeard(_) => (Code::FailedPrecondition, "node-heard"),
        Refusal::NoSuchPool(_) => (Code::NotFound, "no-such-pool"),
        Refusal::PoolHeard { .. } => (Code::FailedPrecondition, "pool-in-use"),
        Refusal::PoolCounts { .. } => (Code::FailedPrecondition, "pool-counts"),
        Refusal::PoolHoldsOnly { .. } => (Code::FailedPrecondition, "pool-holds-only-copy"),
        Refusal::PoolTaken { .. } => (Code::FailedPrecondition, "pool-taken"),
        Refusal::PoolNotOpen(_) => (Code::FailedPrecondition, "pool-not-open"),
        Refusal::Founded(_) => (Code::FailedPrecondition, "other-cluster"),
    };
    status(code, word, refusal.to_string())
}
