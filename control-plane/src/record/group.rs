//! Group snapshots.

use block::{SnapshotId, VolumeId};
use cluster::{Change, Group, GroupId, GroupMember, GroupPhase, Hold, HoldState, Labels, Name, Time};
use proto::record as wire;
use proto::record::command::Change as Wire;
use proto::record::group::Phase;

use super::invalid::{Fault, Invalid, name, required};
use super::replica::{encode_member, parse_member};

pub(super) fn parse_create(found: wire::CreateGroup) -> Result<Change, Invalid> {
    let wire::CreateGroup { name: group, volumes, labels } = found;
    let volumes = volumes.iter().map(|volume| name(volume, "create_group.volumes")).collect::<Result<_, _>>()?;
    Ok(Change::CreateGroup { name: name(&group, "create_group.name")?, volumes, labels })
}

pub(super) fn encode_create(name: &Name, volumes: &[Name], labels: &Labels) -> Wire {
    let volumes = volumes.iter().map(ToString::to_string).collect();
    Wire::CreateGroup(wire::CreateGroup { name: name.to_string(), volumes, labels: labels.clone() })
}

pub(super) fn parse_hold(found: wire::Hold) -> Result<Hold, Invalid> {
    let state = match wire::HoldState::try_from(found.state) {
        Ok(wire::HoldState::Held) => HoldState::Held,
        Ok(wire::HoldState::Cut) => HoldState::Cut,
        Ok(wire::HoldState::Released) => HoldState::Released,
        Ok(wire::HoldState::Broken) => HoldState::Broken,
        Ok(wire::HoldState::Unspecified) | Err(_) => return Err(Invalid::value("hold.state", found.state)),
    };
    Ok(Hold { group: GroupId(found.group), state })
}

pub(super) fn encode_hold(hold: Hold) -> wire::Hold {
    let state = match hold.state {
        HoldState::Held => wire::HoldState::Held,
        HoldState::Cut => wire::HoldState::Cut,
        HoldState::Released => wire::HoldState::Released,
        HoldState::Broken => wire::HoldState::Broken,
    };
    wire::Hold { group: hold.group.0, state: state.into() }
}

pub(super) fn parse_group(found: wire::Group) -> Result<(GroupId, Group), Invalid> {
    let members: Vec<(VolumeId, GroupMember)> =
        found.members.iter().map(parse_group_member).collect::<Result<_, _>>()?;
    let count = members.len();
    let group = Group {
        name: name(&found.name, "group.name")?,
        members: members.into_iter().collect(),
        created: Time(found.created),
        until: Time(found.until),
        phase: parse_phase(required(found.phase, "group.phase")?),
        attempts: u8::try_from(found.attempts).map_err(|error| Invalid::value("group.attempts", error))?,
        trouble: found.trouble,
        labels: found.labels,
    };
    if group.members.len() < count {
        return Err(Invalid::new("group.members", Fault::Twice("a volume".to_owned())));
    }
    Ok((GroupId(found.id), group))
}

pub(super) fn encode_group((id, group): (&GroupId, &Group)) -> wire::Group {
    let Group { name, members, created, until, phase, attempts, trouble, labels } = group;
    wire::Group {
        id: id.0,
        name: name.to_string(),
        members: members.iter().map(encode_group_member).collect(),
        created: created.0,
        until: until.0,
        phase: Some(encode_phase(phase)),
        attempts: u32::from(*attempts),
        trouble: trouble.clone(),
        labels: labels.clone(),
    }
}

fn parse_group_member(found: &wire::GroupMember) -> Result<(VolumeId, GroupMember), Invalid> {
    let holder = found.holder.as_ref().map(|holder| parse_member(holder, "group_member.holder")).transpose()?;
    let volume = name(&found.name, "group_member.name")?;
    Ok((VolumeId(found.volume), GroupMember { volume, snapshot: SnapshotId(found.snapshot), holder }))
}

fn encode_group_member((id, member): (&VolumeId, &GroupMember)) -> wire::GroupMember {
    let holder = member.holder.as_ref().map(|(pool, incarnation)| encode_member((pool, incarnation)));
    wire::GroupMember { volume: id.0, name: member.volume.to_string(), snapshot: member.snapshot.0, holder }
}

fn parse_phase(found: Phase) -> GroupPhase {
    let parts = |attempt: wire::Attempt| (GroupId(attempt.hold), Time(attempt.since));
    match found {
        Phase::Holding(attempt) => {
            let (hold, since) = parts(attempt);
            GroupPhase::Holding { hold, since }
        }
        Phase::Cutting(attempt) => {
            let (hold, since) = parts(attempt);
            GroupPhase::Cutting { hold, since }
        }
        Phase::Releasing(attempt) => {
            let (hold, since) = parts(attempt);
            GroupPhase::Releasing { hold, since }
        }
        Phase::Pausing(until) => GroupPhase::Pausing { until: Time(until) },
        Phase::Ready(wire::GroupReady {}) => GroupPhase::Ready,
        Phase::Deleting(wire::GroupDeleting { left }) => {
            GroupPhase::Deleting { left: left.into_iter().map(SnapshotId).collect() }
        }
    }
}

fn encode_phase(phase: &GroupPhase) -> Phase {
    let attempt = |hold: &GroupId, since: &Time| wire::Attempt { hold: hold.0, since: since.0 };
    match phase {
        GroupPhase::Holding { hold, since } => Phase::Holding(attempt(hold, since)),
        GroupPhase::Cutting { hold, since } => Phase::Cutting(attempt(hold, since)),
        GroupPhase::Releasing { hold, since } => Phase::Releasing(attempt(hold, since)),
        GroupPhase::Pausing { until } => Phase::Pausing(until.0),
        GroupPhase::Ready => Phase::Ready(wire::GroupReady {}),
        GroupPhase::Deleting { left } => {
            Phase::Deleting(wire::GroupDeleting { left: left.iter().map(|id| id.0).collect() })
        }
    }
}
