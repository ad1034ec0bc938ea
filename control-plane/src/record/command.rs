//! Commands.

use block::VolumeId;
use cluster::{
    Change, ClusterId, Command, Generation, Modification, Name, NodeReport, PoolReport, ReplicaReport, Replicas,
    Revision, Time,
};
use proto::record as wire;
use proto::record::command::Change as Wire;
use proto::record::pool_report::Replicas as WireReplicas;

use super::invalid::{Invalid, bytes_of, name, number, pool, request, required, token};
use super::point::{encode_copies, encode_source, parse_copies, parse_source};
use super::replica::{encode_proposal, encode_standing, parse_proposal, parse_standing};
use super::volume::{
    copies, encode_addresses, encode_admin, encode_claim, encode_mode, encode_settings, encode_spec, encode_spread,
    parse_addresses, parse_admin, parse_claim, parse_mode, parse_settings, parse_spec, parse_spread,
};
use super::{group, point, schedule};

pub(super) fn parse(found: wire::Command) -> Result<Command, Invalid> {
    Ok(Command {
        at: Time(found.at),
        request: request(&found.request, "command.request")?,
        change: parse_change(required(found.change, "command.change")?)?,
    })
}

pub(super) fn encode(command: &Command) -> wire::Command {
    let Command { at, request, change } = command;
    wire::Command {
        at: at.0,
        request: request.map(|request| bytes_of(request.0)).unwrap_or_default(),
        change: Some(encode_change(change)),
    }
}

fn parse_change(found: Wire) -> Result<Change, Invalid> {
    Ok(match found {
        Wire::Found(wire::Found { cluster }) => {
            Change::Found { cluster: ClusterId(number(&cluster, "found.cluster")?) }
        }
        Wire::Register(wire::Register { node, addresses, labels }) => Change::Register {
            node: name(&node, "register.node")?,
            addresses: parse_addresses(addresses, "register.addresses")?,
            labels,
        },
        Wire::Lose(wire::Lose { node }) => Change::Lose { node: name(&node, "lose.node")? },
        Wire::Report(wire::Report { node, heard, pools }) => {
            let pools = pools.into_iter().map(parse_pool).collect::<Result<_, _>>()?;
            Change::Report { node: name(&node, "report.node")?, report: NodeReport { heard: Revision(heard), pools } }
        }
        Wire::Administer(wire::Administer { node, admin }) => {
            Change::Administer { node: name(&node, "administer.node")?, admin: parse_admin(admin, "administer.admin")? }
        }
        Wire::RemoveNode(wire::RemoveNode { node }) => Change::RemoveNode { node: name(&node, "remove_node.node")? },
        Wire::RemovePool(wire::RemovePool { pool: place, force }) => {
            Change::RemovePool { pool: pool(&place, "remove_pool.pool")?, force }
        }
        Wire::CreateVolume(wire::CreateVolume { name: volume, size_bytes, spec, source }) => Change::CreateVolume {
            name: name(&volume, "create_volume.name")?,
            size_bytes,
            spec: parse_spec(spec, "create_volume.spec")?,
            source: source.map(|source| parse_source(&source)).transpose()?,
        },
        Wire::ResizeVolume(wire::ResizeVolume { volume, size_bytes }) => {
            Change::ResizeVolume { volume: name(&volume, "resize_volume.volume")?, size_bytes }
        }
        Wire::ModifyVolume(found) => {
            let volume = name(&found.volume, "modify_volume.volume")?;
            Change::ModifyVolume { volume, modification: parse_modification(found)? }
        }
        Wire::DeleteVolume(wire::DeleteVolume { volume, force }) => {
            Change::DeleteVolume { volume: name(&volume, "delete_volume.volume")?, force }
        }
        Wire::Attach(found) => parse_attach(&found)?,
        Wire::Detach(wire::Detach { volume, client }) => Change::Detach {
            volume: name(&volume, "detach.volume")?,
            client: client.map(|client| name(&client, "detach.client")).transpose()?,
        },
        Wire::Set(settings) => Change::Set(parse_settings(settings)),
        Wire::Configure(found) => {
            Change::Configure { volume: VolumeId(found.volume), proposal: parse_proposal(&found)? }
        }
        Wire::ForcePromote(found) => parse_force_promote(&found)?,
        Wire::HandOver(wire::HandOver { volume, pool: place }) => {
            Change::HandOver { volume: name(&volume, "hand_over.volume")?, pool: pool(&place, "hand_over.pool")? }
        }
        Wire::CreateSnapshot(found) => point::parse_create(found)?,
        Wire::DeleteSnapshot(wire::DeleteSnapshot { snapshot }) => {
            Change::DeleteSnapshot { snapshot: name(&snapshot, "delete_snapshot.snapshot")? }
        }
        Wire::CreateGroup(found) => group::parse_create(found)?,
        Wire::DeleteGroup(wire::DeleteGroup { group }) => {
            Change::DeleteGroup { group: name(&group, "delete_group.group")? }
        }
        Wire::SetSchedule(found) => schedule::parse_set(&found)?,
        Wire::RemoveSchedule(found) => schedule::parse_remove(&found)?,
        Wire::RegisterHost(wire::RegisterHost { host, labels }) => {
            Change::RegisterHost { host: name(&host, "register_host.host")?, labels }
        }
        Wire::RemoveHost(wire::RemoveHost { host }) => Change::RemoveHost { host: name(&host, "remove_host.host")? },
        Wire::Tick(wire::Tick {}) => Change::Tick,
        Wire::Recover(wire::Recover {}) => Change::Recover,
        Wire::Resume(found) => parse_resume(&found)?,
    })
}

fn parse_force_promote(found: &wire::ForcePromote) -> Result<Change, Invalid> {
    let volume = name(&found.volume, "force_promote.volume")?;
    Ok(Change::ForcePromote { volume, pool: pool(&found.pool, "force_promote.pool")? })
}

fn parse_resume(found: &wire::Resume) -> Result<Change, Invalid> {
    let without = found.without.iter().map(|node| name(node, "resume.without")).collect::<Result<_, _>>()?;
    Ok(Change::Resume { without })
}

fn parse_attach(found: &wire::Attach) -> Result<Change, Invalid> {
    Ok(Change::Attach {
        volume: name(&found.volume, "attach.volume")?,
        client: name(&found.client, "attach.client")?,
        mode: parse_mode(found.mode, "attach.mode")?,
        token: token(&found.token_hash, "attach.token_hash")?,
        claim: parse_claim(found.claim, "attach.claim")?,
    })
}

fn encode_change(change: &Change) -> Wire {
    match change {
        Change::Found { cluster } => Wire::Found(wire::Found { cluster: bytes_of(cluster.0) }),
        Change::Register { node, addresses, labels } => Wire::Register(wire::Register {
            node: node.to_string(),
            addresses: Some(encode_addresses(addresses)),
            labels: labels.clone(),
        }),
        Change::Lose { node } => Wire::Lose(wire::Lose { node: node.to_string() }),
        Change::Report { node, report } => Wire::Report(wire::Report {
            node: node.to_string(),
            heard: report.heard.0,
            pools: report.pools.iter().map(encode_pool).collect(),
        }),
        Change::Administer { node, admin } => {
            Wire::Administer(wire::Administer { node: node.to_string(), admin: encode_admin(*admin) })
        }
        Change::RemoveNode { node } => Wire::RemoveNode(wire::RemoveNode { node: node.to_string() }),
        Change::RemovePool { pool, force } => {
            Wire::RemovePool(wire::RemovePool { pool: bytes_of(pool.0), force: *force })
        }
        Change::CreateVolume { name, size_bytes, spec, source } => Wire::CreateVolume(wire::CreateVolume {
            name: name.to_string(),
            size_bytes: *size_bytes,
            spec: Some(encode_spec(spec)),
            source: source.as_ref().map(encode_source),
        }),
        Change::ResizeVolume { volume, size_bytes } => {
            Wire::ResizeVolume(wire::ResizeVolume { volume: volume.to_string(), size_bytes: *size_bytes })
        }
        Change::ModifyVolume { volume, modification } => Wire::ModifyVolume(encode_modification(volume, modification)),
        Change::DeleteVolume { volume, force } => {
            Wire::DeleteVolume(wire::DeleteVolume { volume: volume.to_string(), force: *force })
        }
        Change::Attach { volume, client, mode, token, claim } => Wire::Attach(wire::Attach {
            volume: volume.to_string(),
            client: client.to_string(),
            mode: encode_mode(*mode),
            token_hash: token.0.to_vec(),
            claim: encode_claim(*claim),
        }),
        Change::Detach { volume, client } => {
            Wire::Detach(wire::Detach { volume: volume.to_string(), client: client.as_ref().map(ToString::to_string) })
        }
        Change::Set(settings) => Wire::Set(encode_settings(*settings)),
        Change::Configure { volume, proposal } => Wire::Configure(encode_proposal(volume.0, proposal)),
        Change::ForcePromote { volume, pool } => {
            Wire::ForcePromote(wire::ForcePromote { volume: volume.to_string(), pool: bytes_of(pool.0) })
        }
        Change::HandOver { volume, pool } => {
            Wire::HandOver(wire::HandOver { volume: volume.to_string(), pool: bytes_of(pool.0) })
        }
        Change::CreateSnapshot { name, volume, labels } => point::encode_create(name, volume, labels),
        Change::DeleteSnapshot { snapshot } => {
            Wire::DeleteSnapshot(wire::DeleteSnapshot { snapshot: snapshot.to_string() })
        }
        Change::CreateGroup { name, volumes, labels } => group::encode_create(name, volumes, labels),
        Change::DeleteGroup { group } => Wire::DeleteGroup(wire::DeleteGroup { group: group.to_string() }),
        Change::SetSchedule { volume, schedule: name, cron, keep } => schedule::encode_set(volume, name, cron, *keep),
        Change::RemoveSchedule { volume, schedule: name } => schedule::encode_remove(volume, name),
        Change::RegisterHost { host, labels } => {
            Wire::RegisterHost(wire::RegisterHost { host: host.to_string(), labels: labels.clone() })
        }
        Change::RemoveHost { host } => Wire::RemoveHost(wire::RemoveHost { host: host.to_string() }),
        Change::Recover => Wire::Recover(wire::Recover {}),
        Change::Resume { without } => {
            Wire::Resume(wire::Resume { without: without.iter().map(ToString::to_string).collect() })
        }
        Change::Tick => Wire::Tick(wire::Tick {}),
    }
}

fn parse_modification(found: wire::ModifyVolume) -> Result<Modification, Invalid> {
    let wire::ModifyVolume { volume: _, description, labels, open, replicas, members_min, zone_spread } = found;
    Ok(Modification {
        description,
        labels: labels.map(|labels| labels.labels),
        open,
        replicas: replicas.map(|count| copies(count, "modify_volume.replicas")).transpose()?,
        members_min: members_min.map(|count| copies(count, "modify_volume.members_min")).transpose()?,
        zone_spread: zone_spread.map(|spread| parse_spread(spread, "modify_volume.zone_spread")).transpose()?,
    })
}

fn encode_modification(volume: &Name, modification: &Modification) -> wire::ModifyVolume {
    let Modification { description, labels, open, replicas, members_min, zone_spread } = modification.clone();
    wire::ModifyVolume {
        volume: volume.to_string(),
        description,
        labels: labels.map(|labels| wire::Labels { labels }),
        open,
        replicas: replicas.map(u32::from),
        members_min: members_min.map(u32::from),
        zone_spread: zone_spread.map(encode_spread),
    }
}

fn parse_pool(found: wire::PoolReport) -> Result<PoolReport, Invalid> {
    let wire::PoolReport { id, capacity_bytes, used_bytes, tags, failed, replicas } = found;
    let replicas = match required(replicas, "pool_report.replicas")? {
        WireReplicas::All(wire::AllReplicas { present }) => {
            Replicas::All(present.into_iter().map(parse_replica).collect::<Result<_, _>>()?)
        }
        WireReplicas::Changed(wire::ChangedReplicas { present, gone }) => Replicas::Changed {
            present: present.into_iter().map(parse_replica).collect::<Result<_, _>>()?,
            gone: gone.into_iter().map(VolumeId).collect(),
        },
    };
    Ok(PoolReport { id: pool(&id, "pool_report.id")?, capacity_bytes, used_bytes, tags, failed, replicas })
}

fn encode_pool(report: &PoolReport) -> wire::PoolReport {
    let PoolReport { id, capacity_bytes, used_bytes, tags, failed, replicas } = report;
    let replicas = match replicas {
        Replicas::All(present) => {
            WireReplicas::All(wire::AllReplicas { present: present.iter().map(encode_replica).collect() })
        }
        Replicas::Changed { present, gone } => WireReplicas::Changed(wire::ChangedReplicas {
            present: present.iter().map(encode_replica).collect(),
            gone: gone.iter().map(|volume| volume.0).collect(),
        }),
    };
    wire::PoolReport {
        id: bytes_of(id.0),
        capacity_bytes: *capacity_bytes,
        used_bytes: *used_bytes,
        tags: tags.clone(),
        failed: *failed,
        replicas: Some(replicas),
    }
}

fn parse_replica(found: wire::ReplicaReport) -> Result<ReplicaReport, Invalid> {
    let wire::ReplicaReport { volume, size_bytes, generation, standing, snapshots } = found;
    Ok(ReplicaReport {
        volume: VolumeId(volume),
        size_bytes,
        generation: Generation(generation),
        standing: parse_standing(standing)?,
        snapshots: parse_copies(&snapshots)?,
    })
}

fn encode_replica(report: &ReplicaReport) -> wire::ReplicaReport {
    let ReplicaReport { volume, size_bytes, generation, standing, snapshots } = report;
    wire::ReplicaReport {
        volume: volume.0,
        size_bytes: *size_bytes,
        generation: generation.0,
        standing: encode_standing(*standing),
        snapshots: encode_copies(snapshots),
    }
}
