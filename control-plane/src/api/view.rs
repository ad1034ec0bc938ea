//! The state as the API shows it.

use block::{PoolId, SnapshotId, VolumeId};
use cluster::{
    AccessMode, Admin, Group, GroupId, Health, Host, Keep, Link, Maker, Name, Node, Observed, Operation, OperationId,
    OperationKind, Pool, Replica, Schedule, Severity, Snapshot, Source, State, Volume, ZoneSpread,
};
use proto::v1;

use crate::raft::VoterStatus;

pub(super) fn volume(state: &State, id: VolumeId, volume: &Volume) -> v1::Volume {
    let phase = match volume.health() {
        Health::Creating => v1::volume::Phase::Creating,
        Health::Ready => v1::volume::Phase::Ready,
        Health::Changing => v1::volume::Phase::Changing,
        Health::Unavailable => v1::volume::Phase::Unavailable,
        Health::Lost => v1::volume::Phase::Lost,
        Health::Degraded => v1::volume::Phase::Degraded,
        Health::Blocked => v1::volume::Phase::Blocked,
        Health::Recovering => v1::volume::Phase::Recovering,
        Health::Failed => v1::volume::Phase::Failed,
        Health::NeedsAttach => v1::volume::Phase::NeedsAttach,
    };
    let held = volume.attachments.held().iter();
    v1::Volume {
        id: id.0,
        name: volume.name.to_string(),
        size_bytes: volume.size_bytes,
        spec: Some(spec(volume)),
        phase: phase.into(),
        replicas: volume.replicas.iter().map(|(pool, one)| replica(state, volume, *pool, one)).collect(),
        attachments: held
            .map(|held| v1::Attachment {
                client: held.client.to_string(),
                mode: mode(held.mode).into(),
                generation: held.generation.0,
            })
            .collect(),
        generation: volume.attachments.generation.0,
        created_ms: volume.created.0,
        source: volume.source.as_ref().map(|source| source_of(&source.from)),
        schedules: volume.schedules.iter().map(schedule).collect(),
        snapshots: u32::try_from(state.snapshots_of(id).count()).unwrap_or(u32::MAX),
        snapshots_exclusive_bytes: state
            .snapshots_of(id)
            .map(|(id, snapshot)| state.snapshot_view(id, snapshot).exclusive_bytes)
            .sum(),
        deleted_name: volume.retired.as_ref().map(|retired| retired.name.to_string()).unwrap_or_default(),
        deleted_ms: volume.retired.as_ref().map(|retired| retired.since.0).unwrap_or_default(),
    }
}

fn source_of(source: &Source) -> v1::Source {
    let from = match source {
        Source::Snapshot(name) => v1::source::From::Snapshot(name.to_string()),
        Source::Volume(name) => v1::source::From::Volume(name.to_string()),
    };
    v1::Source { from: Some(from) }
}

fn schedule((name, schedule): (&Name, &Schedule)) -> v1::Schedule {
    let last = schedule.last.as_ref();
    v1::Schedule {
        name: name.to_string(),
        cron: schedule.cron.to_string(),
        keep: schedule.keep,
        next_ms: schedule.next.0,
        last_ms: last.map(|run| run.at.0),
        last_failed: last.and_then(|run| run.made.clone().err()).unwrap_or_default(),
    }
}

pub(super) fn snapshot(state: &State, id: SnapshotId, snapshot: &Snapshot) -> v1::Snapshot {
    let view = state.snapshot_view(id, snapshot);
    let volume = state.contents().volumes.get(&snapshot.source);
    let copies = snapshot.at().into_iter().flat_map(|at| {
        let pools = volume.into_iter().flat_map(|volume| volume.replicas.keys());
        pools.filter(move |pool| volume.is_some_and(|volume| volume.has_snapshot(**pool, id, at)))
    });
    let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let group = snapshot.group.and_then(|group| state.group_of(group));
    v1::Snapshot {
        id: id.0,
        name: snapshot.name.to_string(),
        volume: snapshot.source_name.to_string(),
        volume_id: snapshot.source.0,
        volume_deleted: volume.is_none_or(|volume| volume.retired.is_some()),
        size_bytes: snapshot.size_bytes,
        created_ms: snapshot.created.0,
        ready: view.ready,
        copies: count(view.copies),
        replicas: count(view.replicas),
        exclusive_bytes: view.exclusive_bytes,
        shared_bytes: view.shared_bytes,
        group: group.map(|group| group.name.to_string()).unwrap_or_default(),
        labels: snapshot.labels.clone(),
        schedule: match &snapshot.maker {
            Maker::Schedule(schedule) => schedule.to_string(),
            Maker::Person | Maker::Clone => String::new(),
        },
        hidden: snapshot.keep == Keep::ForClones,
        nodes: copies.filter_map(|pool| state.pool(*pool)).map(|pool| pool.node.to_string()).collect(),
        at: snapshot.at().map(|at| v1::Cut { epoch: at.epoch.0, n: at.n }),
    }
}

/// What a volume holds of snapshots that were deleted, because others began as them too.
pub(super) fn branch_points(id: VolumeId, volume: &Volume) -> v1::Snapshot {
    v1::Snapshot {
        name: format!("{} deleted", volume.branch_points()),
        volume: volume.name.to_string(),
        volume_id: id.0,
        volume_deleted: volume.retired.is_some(),
        size_bytes: volume.size_bytes,
        created_ms: volume.created.0,
        hidden: true,
        ..v1::Snapshot::default()
    }
}

pub(super) fn group(state: &State, id: GroupId, group: &Group) -> v1::Group {
    let snapshots = group.members.values().filter_map(|member| {
        let found = state.contents().snapshots.get(&member.snapshot)?;
        Some(snapshot(state, member.snapshot, found))
    });
    v1::Group {
        id: id.0,
        name: group.name.to_string(),
        created_ms: group.created.0,
        ready: group.is_ready(),
        snapshots: snapshots.collect(),
        labels: group.labels.clone(),
        volumes: group.members.values().map(|member| member.volume.to_string()).collect(),
    }
}

fn spec(volume: &Volume) -> v1::VolumeSpec {
    let spec = volume.spec.clone();
    v1::VolumeSpec {
        replicas: spec.replicas.into(),
        pool_tags: spec.pool_tags,
        node_selector: spec.node_selector,
        description: spec.description,
        labels: spec.labels,
        open: spec.open,
        in_sync_min: spec.members_min.map(u32::from).unwrap_or_default(),
        zone_spread: spread(spec.zone_spread).into(),
        places: spec.places.into_iter().map(|labels| v1::Place { labels }).collect(),
    }
}

fn spread(spread: ZoneSpread) -> v1::ZoneSpread {
    match spread {
        ZoneSpread::Preferred => v1::ZoneSpread::Preferred,
        ZoneSpread::Required => v1::ZoneSpread::Required,
        ZoneSpread::None => v1::ZoneSpread::None,
    }
}

fn replica(state: &State, volume: &Volume, pool: PoolId, replica: &Replica) -> v1::Replica {
    let (seen, size_bytes, generation) = match replica.observed {
        Observed::Unknown => (v1::replica::State::Unknown, 0, 0),
        Observed::Nothing => (v1::replica::State::Nothing, 0, 0),
        Observed::Present { size_bytes, generation, .. } => (v1::replica::State::Present, size_bytes, generation.0),
    };
    let node = state.pool(pool).map(|pool| pool.node.to_string());
    let standing = replica.standing().filter(|_| volume.is_replicated());
    let filled = standing.and_then(|standing| standing.resync);
    v1::Replica {
        node: node.unwrap_or_default(),
        pool: pool_id(pool),
        state: seen.into(),
        size_bytes,
        generation,
        role: standing.map(|standing| standing.role.words().to_owned()).unwrap_or_default(),
        in_sync: volume.member(pool).is_some(),
        filled_percent: filled.map(|progress| u32::try_from(progress.done_percent()).unwrap_or(100)),
        filled_in_ms: replica.remaining_ms(state.now()),
        primary: volume.is_replicated() && volume.home() == pool,
        lost_blocks: replica.standing().map_or(0, |standing| standing.lost_blocks),
        branch_points: replica.standing().map_or(0, |standing| standing.branch_points),
    }
}

fn mode(mode: AccessMode) -> v1::AccessMode {
    match mode {
        AccessMode::ReadWrite => v1::AccessMode::ReadWrite,
        AccessMode::ReadOnly => v1::AccessMode::ReadOnly,
        AccessMode::Shared => v1::AccessMode::Shared,
    }
}

fn pool_id(id: PoolId) -> String {
    format!("{:032x}", id.0)
}

/// None when it ended so long ago that it is not known any more.
pub(super) fn operation(state: &State, id: OperationId) -> Option<v1::Operation> {
    let Operation { kind, since, ended, failed } = state.operation(id)?;
    let shown = match kind {
        OperationKind::Create(_) => v1::operation::Kind::Create,
        OperationKind::Resize(..) => v1::operation::Kind::Resize,
        OperationKind::Delete(_) => v1::operation::Kind::Delete,
        OperationKind::Attach(..) => v1::operation::Kind::Attach,
        OperationKind::Snapshot(..) => v1::operation::Kind::Snapshot,
        OperationKind::DeleteSnapshot(..) => v1::operation::Kind::DeleteSnapshot,
        OperationKind::Retire(..) => v1::operation::Kind::Retire,
        OperationKind::Group(..) => v1::operation::Kind::Group,
        OperationKind::DeleteGroup(..) => v1::operation::Kind::DeleteGroup,
    };
    Some(v1::Operation {
        id: id.0,
        kind: shown.into(),
        volume: state.name_of(kind.volume()).map(ToString::to_string).unwrap_or_default(),
        since_ms: since.0,
        ended_ms: ended.map(|ended| ended.0),
        waits_for: state.waits_for(id).map(|waiting| waiting.to_string()).unwrap_or_default(),
        failed: failed.clone().unwrap_or_default(),
        snapshot: about(state, *kind),
    })
}

/// The name of the snapshot or group that an operation is about.
fn about(state: &State, kind: OperationKind) -> String {
    let name = match kind {
        OperationKind::Snapshot(_, id) | OperationKind::DeleteSnapshot(_, id) => {
            let there = state.contents().snapshots.get(&id).map(|snapshot| &snapshot.name);
            there.or_else(|| state.graves_of(id).next().map(|(_, grave)| &grave.name))
        }
        OperationKind::Group(_, id) | OperationKind::DeleteGroup(_, id) => state.group_of(id).map(|group| &group.name),
        OperationKind::Create(_)
        | OperationKind::Resize(..)
        | OperationKind::Delete(_)
        | OperationKind::Attach(..)
        | OperationKind::Retire(..) => None,
    };
    name.map(ToString::to_string).unwrap_or_default()
}

pub(super) fn node(state: &State, name: &Name, node: &Node) -> v1::Node {
    let (up, since) = match node.link {
        Link::Up { since } => (true, since),
        Link::Lost { since } => (false, since),
    };
    let pools: Vec<v1::Pool> = state.pools_of(name).map(|(id, one)| pool(state, id, one)).collect();
    v1::Node {
        name: name.to_string(),
        peer_address: node.addresses.peers.clone(),
        nbd_addresses: node.addresses.nbd.clone(),
        labels: node.labels.clone(),
        cordoned: node.admin != Admin::Schedulable,
        draining: node.admin == Admin::Draining,
        up,
        since_ms: since.0,
        replicas: pools.iter().map(|pool| pool.replicas).sum(),
        pools,
    }
}

pub(super) fn host(name: &Name, host: &Host) -> v1::Host {
    v1::Host { name: name.to_string(), labels: host.labels.clone(), seen_ms: host.seen.0 }
}

pub(super) fn pool(state: &State, id: PoolId, pool: &Pool) -> v1::Pool {
    v1::Pool {
        id: pool_id(id),
        node: pool.node.to_string(),
        capacity_bytes: pool.capacity_bytes,
        used_bytes: pool.used_bytes,
        promised_bytes: state.promised_bytes(id),
        tags: pool.tags.clone(),
        open: pool.open,
        failed: pool.failed,
        replicas: state.volumes_in(id) as u64,
        orphans: pool.orphans.iter().map(|volume| volume.0).collect(),
    }
}

pub(super) fn voter(voter: VoterStatus) -> v1::Voter {
    let VoterStatus { id, address, votes, heard, lag } = voter;
    let heard_ms = heard.map(|heard| u64::try_from(heard.as_millis()).unwrap_or(u64::MAX));
    v1::Voter { id, address, votes, heard_ms, lag }
}

pub(super) fn problem(problem: cluster::Problem) -> v1::Problem {
    let severity = match problem.severity {
        Severity::Critical => v1::problem::Severity::Critical,
        Severity::Warning => v1::problem::Severity::Warning,
        Severity::Notice => v1::problem::Severity::Notice,
    };
    v1::Problem { severity: severity.into(), subject: problem.subject, sentence: problem.sentence }
}

pub(super) fn settings(settings: cluster::Settings) -> v1::Settings {
    let cluster::Settings { overcommit_percent, full_percent, replace_after_ms } = settings;
    v1::Settings { overcommit_percent, full_percent, replace_after_ms }
}
