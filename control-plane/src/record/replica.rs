//! Replicas, what they say of themselves, and configurations.

use std::collections::BTreeMap;

use block::{Epoch, Incarnation, PoolId};
use cluster::{
    Configuration, CutRefusal, Fate, Generation, Observed, Progress, Proposal, Reason, Replica, Replication, Role,
    Standing, Time,
};
use proto::record as wire;
use proto::record::configure::Member;
use proto::record::observed::Observed as WireObserved;
use proto::record::replica::Fate as WireFate;

use super::group::{encode_hold, parse_hold};
use super::invalid::{Fault, Invalid, bytes_of, name, pool, required};
use super::point::{encode_copies, parse_copies};

/// Empty bytes stand for none.
fn pool_if_any(bytes: &[u8], field: &'static str) -> Result<Option<PoolId>, Invalid> {
    if bytes.is_empty() { Ok(None) } else { pool(bytes, field).map(Some) }
}

pub(super) fn parse_standing(found: Option<wire::Standing>) -> Result<Standing, Invalid> {
    let found = found.unwrap_or_default();
    let wire::Standing { incarnation, warm_from, epoch, role, resync, unable, lost_blocks, hold, .. } = found;
    let wire::Standing { cut_refused, branch_points, .. } = found;
    Ok(Standing {
        incarnation: Incarnation(incarnation),
        warm_from: Incarnation(warm_from),
        epoch: Epoch(epoch),
        role: parse_role(role)?,
        unable,
        resync: resync.map(|wire::Progress { left, groups }| Progress { left, groups }),
        lost_blocks,
        hold: hold.map(parse_hold).transpose()?,
        cut_refused: parse_cut_refused(cut_refused)?,
        branch_points,
    })
}

pub(super) fn encode_standing(standing: Standing) -> Option<wire::Standing> {
    let Standing { incarnation, warm_from, epoch, role, unable, resync, lost_blocks, hold, .. } = standing;
    let Standing { cut_refused, branch_points, .. } = standing;
    let encoded = wire::Standing {
        incarnation: incarnation.0,
        warm_from: warm_from.0,
        epoch: epoch.0,
        role: encode_role(role).into(),
        unable,
        resync: resync.map(|Progress { left, groups }| wire::Progress { left, groups }),
        lost_blocks,
        hold: hold.map(encode_hold),
        cut_refused: encode_cut_refused(cut_refused).into(),
        branch_points,
    };
    (standing != Standing::default()).then_some(encoded)
}

fn parse_cut_refused(found: i32) -> Result<Option<CutRefusal>, Invalid> {
    let refused = wire::CutRefusal::try_from(found).map_err(|_| Invalid::value("standing.cut_refused", found))?;
    Ok(match refused {
        wire::CutRefusal::None => None,
        wire::CutRefusal::ManySnapshots => Some(CutRefusal::ManySnapshots),
        wire::CutRefusal::PoolFull => Some(CutRefusal::PoolFull),
        wire::CutRefusal::PoolCrowded => Some(CutRefusal::PoolCrowded),
        wire::CutRefusal::PoolFailed => Some(CutRefusal::PoolFailed),
        wire::CutRefusal::OldNode => Some(CutRefusal::OldNode),
    })
}

fn encode_cut_refused(refused: Option<CutRefusal>) -> wire::CutRefusal {
    match refused {
        None => wire::CutRefusal::None,
        Some(CutRefusal::ManySnapshots) => wire::CutRefusal::ManySnapshots,
        Some(CutRefusal::PoolFull) => wire::CutRefusal::PoolFull,
        Some(CutRefusal::PoolCrowded) => wire::CutRefusal::PoolCrowded,
        Some(CutRefusal::PoolFailed) => wire::CutRefusal::PoolFailed,
        Some(CutRefusal::OldNode) => wire::CutRefusal::OldNode,
    }
}

fn parse_role(found: i32) -> Result<Role, Invalid> {
    let role = wire::Role::try_from(found).map_err(|_| Invalid::value("standing.role", found))?;
    Ok(match role {
        wire::Role::Out => Role::Out,
        wire::Role::Learner => Role::Learner,
        wire::Role::Joining => Role::Joining,
        wire::Role::Backup => Role::Backup,
        wire::Role::Candidate => Role::Candidate,
        wire::Role::Recovering => Role::Recovering,
        wire::Role::Reconciling => Role::Reconciling,
        wire::Role::Primary => Role::Primary,
    })
}

fn encode_role(role: Role) -> wire::Role {
    match role {
        Role::Out => wire::Role::Out,
        Role::Learner => wire::Role::Learner,
        Role::Joining => wire::Role::Joining,
        Role::Backup => wire::Role::Backup,
        Role::Candidate => wire::Role::Candidate,
        Role::Recovering => wire::Role::Recovering,
        Role::Reconciling => wire::Role::Reconciling,
        Role::Primary => wire::Role::Primary,
    }
}

pub(super) fn parse_observed(found: Option<wire::Observed>, field: &'static str) -> Result<Observed, Invalid> {
    Ok(match required(found, field)?.observed {
        None => Observed::Unknown,
        Some(WireObserved::Absent(wire::Absent {})) => Observed::Nothing,
        Some(WireObserved::Present(wire::Present { size_bytes, generation, standing })) => {
            Observed::Present { size_bytes, generation: Generation(generation), standing: parse_standing(standing)? }
        }
    })
}

pub(super) fn encode_observed(observed: Observed) -> wire::Observed {
    let observed = match observed {
        Observed::Unknown => None,
        Observed::Nothing => Some(WireObserved::Absent(wire::Absent {})),
        Observed::Present { size_bytes, generation, standing } => Some(WireObserved::Present(wire::Present {
            size_bytes,
            generation: generation.0,
            standing: encode_standing(standing),
        })),
    };
    wire::Observed { observed }
}

pub(super) fn parse_replica(found: &wire::Replica) -> Result<(PoolId, Replica), Invalid> {
    let fate = match required(found.fate.as_ref(), "replica.fate")? {
        WireFate::Stays(wire::Stays {}) => Fate::Stays,
        WireFate::Moves(reason) => Fate::Moves(parse_reason(*reason)?),
        WireFate::Goes(wire::Goes {}) => Fate::Goes,
    };
    let observed = parse_observed(found.observed, "replica.observed")?;
    let snapshots = parse_copies(&found.snapshots)?;
    let replica = Replica { observed, snapshots, since: Time(found.since), seen: found.seen, fate };
    Ok((pool(&found.pool, "replica.pool")?, replica))
}

/// The only one of a volume, as version 1 had it. `seen`: the volume was.
pub(super) fn parse_only(found: Option<wire::Replica>, seen: bool) -> Result<(PoolId, Replica), Invalid> {
    let wire::Replica { pool: place, observed, .. } = required(found, "volume.replica")?;
    let observed = parse_observed(observed, "replica.observed")?;
    let snapshots = BTreeMap::new();
    Ok((pool(&place, "replica.pool")?, Replica { observed, snapshots, since: Time(0), seen, fate: Fate::Stays }))
}

pub(super) fn encode_replica((pool, replica): (&PoolId, &Replica)) -> wire::Replica {
    let Replica { observed, snapshots, since, seen, fate } = replica;
    let fate = match fate {
        Fate::Stays => WireFate::Stays(wire::Stays {}),
        Fate::Moves(reason) => WireFate::Moves(encode_reason(*reason).into()),
        Fate::Goes => WireFate::Goes(wire::Goes {}),
    };
    wire::Replica {
        pool: bytes_of(pool.0),
        observed: Some(encode_observed(*observed)),
        since: since.0,
        seen: *seen,
        fate: Some(fate),
        snapshots: encode_copies(snapshots),
    }
}

fn parse_reason(found: i32) -> Result<Reason, Invalid> {
    match wire::Reason::try_from(found) {
        Ok(wire::Reason::Gone) => Ok(Reason::Gone),
        Ok(wire::Reason::Failed) => Ok(Reason::Failed),
        Ok(wire::Reason::Silent) => Ok(Reason::Silent),
        Ok(wire::Reason::Crowded) => Ok(Reason::Crowded),
        Ok(wire::Reason::Draining) => Ok(Reason::Draining),
        Ok(wire::Reason::Full) => Ok(Reason::Full),
        Ok(wire::Reason::Unspecified) | Err(_) => Err(Invalid::value("replica.moves", found)),
    }
}

fn encode_reason(reason: Reason) -> wire::Reason {
    match reason {
        Reason::Gone => wire::Reason::Gone,
        Reason::Failed => wire::Reason::Failed,
        Reason::Silent => wire::Reason::Silent,
        Reason::Crowded => wire::Reason::Crowded,
        Reason::Draining => wire::Reason::Draining,
        Reason::Full => wire::Reason::Full,
    }
}

pub(super) fn parse_replication(found: wire::Replication) -> Result<Replication, Invalid> {
    let wire::Replication { configuration, lineage, lost_since, hand_over_to, cut_off } = found;
    Ok(Replication {
        configuration: parse_configuration(required(configuration, "replication.configuration")?)?,
        lineage,
        lost_since: lost_since.map(Time),
        hand_over_to: pool_if_any(&hand_over_to, "replication.hand_over_to")?,
        cut_off: cut_off.iter().map(|client| name(client, "replication.cut_off")).collect::<Result<_, _>>()?,
    })
}

pub(super) fn encode_replication(replication: &Replication) -> wire::Replication {
    let Replication { configuration, lineage, lost_since, hand_over_to, cut_off } = replication;
    wire::Replication {
        configuration: Some(encode_configuration(configuration)),
        lineage: *lineage,
        lost_since: lost_since.map(|since| since.0),
        hand_over_to: hand_over_to.map(|pool| bytes_of(pool.0)).unwrap_or_default(),
        cut_off: cut_off.iter().map(ToString::to_string).collect(),
    }
}

fn parse_configuration(found: wire::Configuration) -> Result<Configuration, Invalid> {
    let wire::Configuration { epoch, primary, members, members_min, cache_generation, recovery } = found;
    let members_min =
        usize::try_from(members_min).map_err(|error| Invalid::value("configuration.members_min", error))?;
    Ok(Configuration {
        epoch: Epoch(epoch),
        primary: pool(&primary, "configuration.primary")?,
        members: parse_members(&members, "configuration.members")?,
        members_min,
        cache_generation,
        recovery,
    })
}

fn encode_configuration(configuration: &Configuration) -> wire::Configuration {
    let Configuration { epoch, primary, members, members_min, cache_generation, recovery } = configuration;
    wire::Configuration {
        epoch: epoch.0,
        primary: bytes_of(primary.0),
        members: encode_members(members),
        members_min: u32::try_from(*members_min).expect("a volume has a few replicas"),
        cache_generation: *cache_generation,
        recovery: *recovery,
    }
}

pub(super) fn parse_member(found: &Member, field: &'static str) -> Result<(PoolId, Incarnation), Invalid> {
    Ok((pool(&found.pool, field)?, Incarnation(found.incarnation)))
}

fn parse_members(found: &[Member], field: &'static str) -> Result<BTreeMap<PoolId, Incarnation>, Invalid> {
    let members: BTreeMap<_, _> = found.iter().map(|member| parse_member(member, field)).collect::<Result<_, _>>()?;
    if members.len() == found.len() { Ok(members) } else { Err(Invalid::new(field, Fault::Twice("a pool".to_owned()))) }
}

pub(super) fn encode_member((pool, incarnation): (&PoolId, &Incarnation)) -> Member {
    Member { pool: bytes_of(pool.0), incarnation: incarnation.0 }
}

fn encode_members(members: &BTreeMap<PoolId, Incarnation>) -> Vec<Member> {
    members.iter().map(encode_member).collect()
}

/// The volume is read by the command.
pub(super) fn parse_proposal(found: &wire::Configure) -> Result<Proposal, Invalid> {
    let wire::Configure { volume: _, expected, proposer, primary, members } = found;
    let proposer = required(proposer.as_ref(), "configure.proposer")?;
    Ok(Proposal {
        expected: Epoch(*expected),
        proposer: parse_member(proposer, "configure.proposer")?,
        primary: pool(primary, "configure.primary")?,
        members: parse_members(members, "configure.members")?,
    })
}

pub(super) fn encode_proposal(volume: u64, proposal: &Proposal) -> wire::Configure {
    let Proposal { expected, proposer: (pool, incarnation), primary, members } = proposal;
    wire::Configure {
        volume,
        expected: expected.0,
        proposer: Some(encode_member((pool, incarnation))),
        primary: bytes_of(primary.0),
        members: encode_members(members),
    }
}
