//! What nodes and voters say to each other, from the types of the one to those of the other.

use std::collections::BTreeMap;

use block::{Epoch, PoolId, SnapshotId, VolumeId};
use cluster::{
    Change, Generation, GroupId, Hold, HoldState, NodeIntent, NodeReport, PoolReport, ReplicaReport, Replicas,
    Revision, Role, SnapshotCopy, Standing,
};
use node::{
    Attachment, Configuration, CopiesIntent, HoldObservation, Intent, Observation, Origin, Proposal, ReplicaIntent,
    ReplicaObservation, Route, SnapshotIntent, SnapshotObservation, SnapshotsIntent, TokenHash, Wanted,
};

/// All that a node holds, or what changed since it said something.
pub(super) fn report(pool: PoolId, before: Option<&Observation>, now: &Observation) -> NodeReport {
    let one = |replica: &ReplicaObservation| ReplicaReport {
        volume: replica.volume,
        size_bytes: replica.size_bytes,
        generation: Generation(replica.generation),
        standing: standing(replica),
        snapshots: replica.snapshots.iter().map(snapshot).collect(),
    };
    let by_id = |observation: &Observation| -> BTreeMap<VolumeId, ReplicaObservation> {
        observation.replicas.iter().map(|replica| (replica.volume, replica.clone())).collect()
    };
    let replicas = match before.map(by_id) {
        None => Replicas::All(now.replicas.iter().map(one).collect()),
        Some(before) => Replicas::Changed {
            present: now.replicas.iter().filter(|now| before.get(&now.volume) != Some(*now)).map(one).collect(),
            gone: before.into_keys().filter(|id| now.replicas.iter().all(|now| now.volume != *id)).collect(),
        },
    };
    let report = PoolReport { id: pool, capacity_bytes: 1 << 30, used_bytes: 0, tags: vec![], failed: false, replicas };
    NodeReport { heard: Revision(now.heard), pools: vec![report] }
}

/// Clones are kept by the replication protocol, and everything else is not.
fn standing(replica: &ReplicaObservation) -> Standing {
    let hold = replica.hold.map(hold);
    let Some(copy) = &replica.copy else { return Standing { hold, ..Standing::default() } };
    Standing {
        incarnation: copy.incarnation,
        warm_from: copy.warm_from,
        epoch: copy.epoch,
        role: role(copy.role),
        unable: !copy.is_able,
        hold,
        ..Standing::default()
    }
}

fn role(word: &str) -> Role {
    match word {
        "candidate" => Role::Candidate,
        "recovering" => Role::Recovering,
        "reconciling" => Role::Reconciling,
        "primary" => Role::Primary,
        // With nobody else it is nothing of what a replica is beside others.
        _ => Role::Out,
    }
}

pub(super) fn proposal(volume: VolumeId, wanted: &Proposal) -> Change {
    let Proposal { expected, proposer, configuration } = wanted;
    let proposal = cluster::Proposal {
        expected: *expected,
        proposer: *proposer,
        primary: configuration.primary,
        members: configuration.members.clone(),
    };
    Change::Configure { volume, proposal }
}

fn copies(me: PoolId, found: cluster::ReplicationIntent) -> CopiesIntent {
    let cluster::ReplicationIntent { lineage, configuration, hand_over_to, wanted, copies, .. } = found;
    let history = Epoch(u32::try_from(lineage).expect("few lineages"));
    let none = || Configuration {
        epoch: Epoch(0),
        primary: me,
        members: BTreeMap::new(),
        members_min: 1,
        cache_generation: 0,
        history,
        recovery: false,
    };
    let decided = |decided: cluster::Configuration| Configuration {
        epoch: decided.epoch,
        primary: decided.primary,
        members: decided.members,
        members_min: decided.members_min,
        cache_generation: decided.cache_generation,
        history,
        recovery: decided.recovery,
    };
    CopiesIntent {
        configuration: configuration.map_or_else(none, decided),
        // The simulated clusters keep single replicas; `replication_sim` and the tests of `node` have several.
        peers: BTreeMap::new(),
        hand_over: hand_over_to,
        wanted: Wanted { unwanted: (!wanted).then_some(me).into_iter().collect(), copies },
    }
}

fn hold(found: HoldObservation) -> Hold {
    let state = match found.state {
        node::HoldState::Held => HoldState::Held,
        node::HoldState::Cut => HoldState::Cut,
        node::HoldState::Released => HoldState::Released,
        node::HoldState::Broken => HoldState::Broken,
    };
    Hold { group: GroupId(found.group), state }
}

fn snapshot(found: &SnapshotObservation) -> (SnapshotId, SnapshotCopy) {
    let SnapshotObservation { id, at, size_bytes, exclusive_bytes, shared_bytes } = *found;
    (id, SnapshotCopy { at, size_bytes, exclusive_bytes, shared_bytes })
}

pub(super) fn intent(me: PoolId, intent: NodeIntent) -> Intent {
    let NodeIntent { revision, whole, replicas, deletions, routes, lost_routes, snapshot_deletions } = intent;
    Intent {
        snapshot_deletions: snapshot_deletions.into_iter().map(|(_, snapshot)| snapshot).collect(),
        cluster: 1,
        revision: revision.0,
        whole,
        replicas: replicas.into_iter().map(|one| replica(me, one)).collect(),
        deletions: deletions.into_iter().map(|(_, volume)| volume).collect(),
        routes: routes
            .into_iter()
            .map(|route| Route { name: route.name.to_string(), address: route.address })
            .collect(),
        lost_routes: lost_routes.iter().map(ToString::to_string).collect(),
    }
}

fn replica(me: PoolId, replica: cluster::ReplicaIntent) -> ReplicaIntent {
    let cluster::ReplicaIntent { volume, name, size_bytes, may_create, attachments, open, .. } = replica;
    let wanted = |snapshot: cluster::SnapshotIntent| SnapshotIntent {
        id: snapshot.id,
        at: snapshot.at,
        group: snapshot.group.map_or(0, |group| group.0),
    };
    let snapshots = SnapshotsIntent {
        wanted: replica.snapshots.into_iter().map(wanted).collect(),
        origin: replica.origin.map(|origin| Origin { snapshot: origin.snapshot, at: origin.at }),
        hold: replica.hold.map_or(0, |group| group.0),
        retired: replica.retired,
    };
    let attachment = |held: &cluster::Attachment| Attachment {
        client: held.client.to_string(),
        read_only: held.mode == cluster::AccessMode::ReadOnly,
        generation: held.generation.0,
        token: TokenHash(held.token.0),
    };
    ReplicaIntent {
        snapshots,
        volume,
        name: name.to_string(),
        size_bytes,
        may_create,
        generation: attachments.generation.0,
        attachments: attachments.held().iter().map(attachment).collect(),
        open,
        copies: replica.replication.map(|replication| copies(me, replication)),
    }
}
