//! The state, as a snapshot holds it.

use std::collections::{BTreeMap, VecDeque};

use block::{PoolId, SnapshotId, VolumeId};
use cluster::{
    Answer, Attachment, Attachments, Contents, Generation, GroupId, Host, Link, Name, Node, OperationId, Phase, Pool,
    RemovedPool, RequestId, Revision, State, Time, Tombstone, Volume,
};
use prost::Message;
use proto::record as wire;
use proto::record::node::Link as WireLink;

use super::decode;
use super::group::{encode_group, parse_group};
use super::invalid::{Fault, Invalid, bytes_of, cluster, name, pool, required, token};
use super::operation::{encode_answer, encode_operation, parse_answered, parse_operation};
use super::point::{
    encode_clone_source, encode_grave, encode_retired, encode_snapshot, parse_clone_source, parse_grave, parse_retired,
    parse_snapshot,
};
use super::recovered;
use super::replica::{
    encode_observed, encode_replica, encode_replication, parse_observed, parse_only, parse_replica, parse_replication,
};
use super::schedule::{encode_schedule, parse_schedule};
use super::volume::{
    encode_addresses, encode_admin, encode_mode, encode_settings, encode_spec, parse_addresses, parse_admin,
    parse_mode, parse_settings, parse_spec,
};

/// What is known. Version 1, in which a volume has one replica, version 2, without snapshots, version 3, without hosts, places
/// and removed pools, and version 4, of which nothing was recovered, are read as well.
const VERSION: u32 = 5;
/// What is written as long as nothing was recovered: the program before this one can read it.
const VERSION_UNRECOVERED: u32 = 4;

pub(crate) fn read_state(bytes: &[u8]) -> Result<State, Invalid> {
    let found: wire::State = decode(bytes, "state")?;
    match found.version {
        0 => return Err(Invalid::new("state.version", Fault::Missing)),
        1..=VERSION => {}
        found => return Err(Invalid::new("state.version", Fault::Newer { found, known: VERSION })),
    }
    State::load(parse(found)?).map_err(|contradiction| Invalid::value("state", contradiction))
}

pub(crate) fn write_state(state: &State) -> Vec<u8> {
    encode(state.contents()).encode_to_vec()
}

fn parse(found: wire::State) -> Result<Contents, Invalid> {
    let answers: Vec<(RequestId, Answer)> = all(&found.requests, parse_answered)?;
    Ok(Contents {
        cluster: cluster(&found.cluster, "state.cluster")?,
        nodes: map(found.nodes, "state.nodes", parse_node)?,
        pools: map(found.pools, "state.pools", parse_pool)?,
        removed_pools: map(found.removed_pools, "state.removed_pools", |pool| parse_removed(&pool))?,
        hosts: map(found.hosts, "state.hosts", parse_host)?,
        volumes: map(found.volumes, "state.volumes", parse_volume)?,
        tombstones: map(found.tombstones, "state.tombstones", |tombstone| parse_tombstone(&tombstone))?,
        operations: map(found.operations, "state.operations", parse_operation)?,
        ticked: Time(found.ticked),
        snapshots: map(found.snapshots, "state.snapshots", parse_snapshot)?,
        graves: map(found.graves, "state.graves", |grave| parse_grave(&grave))?,
        groups: map(found.groups, "state.groups", parse_group)?,
        foreign_snapshots: found.foreign_snapshots.into_iter().map(SnapshotId).collect(),
        ended: found.ended.into_iter().map(OperationId).collect(),
        request_order: answers.iter().map(|(request, _)| *request).collect::<VecDeque<_>>(),
        requests: answers.into_iter().collect(),
        settings: parse_settings(required(found.settings, "state.settings")?),
        now: Time(found.now),
        revision: Revision(found.revision),
        last_volume: found.last_volume,
        last_operation: found.last_operation,
        last_snapshot: found.last_snapshot,
        last_group: found.last_group,
        recovered: found.recovered.map(recovered::parse).transpose()?,
    })
}

fn encode(contents: &Contents) -> wire::State {
    let answered = |request: &RequestId| wire::AnsweredRequest {
        request: bytes_of(request.0),
        answer: contents.requests.get(request).map(encode_answer),
    };
    wire::State {
        version: if contents.recovered.is_some() { VERSION } else { VERSION_UNRECOVERED },
        cluster: contents.cluster.map(|cluster| bytes_of(cluster.0)).unwrap_or_default(),
        nodes: contents.nodes.iter().map(encode_node).collect(),
        pools: contents.pools.iter().map(encode_pool).collect(),
        volumes: contents.volumes.iter().map(encode_volume).collect(),
        tombstones: contents.tombstones.iter().map(encode_tombstone).collect(),
        operations: contents.operations.iter().map(encode_operation).collect(),
        ended: contents.ended.iter().map(|id| id.0).collect(),
        requests: contents.request_order.iter().map(answered).collect(),
        settings: Some(encode_settings(contents.settings)),
        now: contents.now.0,
        revision: contents.revision.0,
        last_volume: contents.last_volume,
        last_operation: contents.last_operation,
        ticked: contents.ticked.0,
        snapshots: contents.snapshots.iter().map(encode_snapshot).collect(),
        graves: contents.graves.iter().map(encode_grave).collect(),
        groups: contents.groups.iter().map(encode_group).collect(),
        foreign_snapshots: contents.foreign_snapshots.iter().map(|id| id.0).collect(),
        last_snapshot: contents.last_snapshot,
        last_group: contents.last_group,
        removed_pools: contents.removed_pools.iter().map(encode_removed).collect(),
        hosts: contents.hosts.iter().map(encode_host).collect(),
        recovered: contents.recovered.as_ref().map(recovered::encode),
    }
}

fn all<W, T>(found: &[W], parse: impl Fn(&W) -> Result<T, Invalid>) -> Result<Vec<T>, Invalid> {
    found.iter().map(parse).collect()
}

fn map<W, K: Ord, V>(
    found: Vec<W>,
    field: &'static str,
    parse: impl Fn(W) -> Result<(K, V), Invalid>,
) -> Result<BTreeMap<K, V>, Invalid> {
    let count = found.len();
    let map: BTreeMap<K, V> = found.into_iter().map(parse).collect::<Result<_, _>>()?;
    if map.len() == count { Ok(map) } else { Err(Invalid::new(field, Fault::Twice("an id".to_owned()))) }
}

fn parse_node(found: wire::Node) -> Result<(Name, Node), Invalid> {
    let link = match required(found.link, "node.link")? {
        WireLink::UpSince(since) => Link::Up { since: Time(since) },
        WireLink::LostSince(since) => Link::Lost { since: Time(since) },
    };
    let addresses = parse_addresses(found.addresses, "node.addresses")?;
    let admin = parse_admin(found.admin, "node.admin")?;
    Ok((name(&found.name, "node.name")?, Node { addresses, labels: found.labels, admin, link }))
}

fn encode_node((name, node): (&Name, &Node)) -> wire::Node {
    let Node { addresses, labels, admin, link } = node;
    let link = match link {
        Link::Up { since } => WireLink::UpSince(since.0),
        Link::Lost { since } => WireLink::LostSince(since.0),
    };
    wire::Node {
        name: name.to_string(),
        addresses: Some(encode_addresses(addresses)),
        labels: labels.clone(),
        admin: encode_admin(*admin),
        link: Some(link),
    }
}

fn parse_host(found: wire::Host) -> Result<(Name, Host), Invalid> {
    let wire::Host { name: host, labels, seen } = found;
    Ok((name(&host, "host.name")?, Host { labels, seen: Time(seen) }))
}

fn encode_host((name, host): (&Name, &Host)) -> wire::Host {
    let Host { labels, seen } = host;
    wire::Host { name: name.to_string(), labels: labels.clone(), seen: seen.0 }
}

fn parse_pool(found: wire::Pool) -> Result<(PoolId, Pool), Invalid> {
    let wire::Pool { id, node, capacity_bytes, used_bytes, tags, failed, open, orphans } = found;
    let (id, node) = (pool(&id, "pool.id")?, name(&node, "pool.node")?);
    let orphans = orphans.into_iter().map(VolumeId).collect();
    Ok((id, Pool { node, capacity_bytes, used_bytes, tags, failed, open, orphans }))
}

fn encode_pool((id, pool): (&PoolId, &Pool)) -> wire::Pool {
    let Pool { node, capacity_bytes, used_bytes, tags, failed, open, orphans } = pool;
    wire::Pool {
        id: bytes_of(id.0),
        node: node.to_string(),
        capacity_bytes: *capacity_bytes,
        used_bytes: *used_bytes,
        tags: tags.clone(),
        failed: *failed,
        open: *open,
        orphans: orphans.iter().map(|volume| volume.0).collect(),
    }
}

fn parse_removed(found: &wire::RemovedPool) -> Result<(PoolId, RemovedPool), Invalid> {
    let wire::RemovedPool { id, node, since, back_node, back_since } = found;
    let back = match back_node.is_empty() {
        true => None,
        false => Some((name(back_node, "removed_pool.back_node")?, Time(*back_since))),
    };
    let removed = RemovedPool { node: name(node, "removed_pool.node")?, since: Time(*since), back };
    Ok((pool(id, "removed_pool.id")?, removed))
}

fn encode_removed((id, pool): (&PoolId, &RemovedPool)) -> wire::RemovedPool {
    let RemovedPool { node, since, back } = pool;
    let (back_node, back_since) = back.as_ref().map_or((String::new(), 0), |(node, since)| (node.to_string(), since.0));
    wire::RemovedPool { id: bytes_of(id.0), node: node.to_string(), since: since.0, back_node, back_since }
}

fn parse_volume(found: wire::Volume) -> Result<(VolumeId, Volume), Invalid> {
    let phase = match wire::Phase::try_from(found.phase) {
        Ok(wire::Phase::Creating) => Phase::Creating,
        Ok(wire::Phase::Ready) => Phase::Ready,
        Ok(wire::Phase::Unspecified) | Err(_) => return Err(Invalid::value("volume.phase", found.phase)),
    };
    let replicas = match found.replicas.is_empty() {
        true => BTreeMap::from([parse_only(found.replica, phase == Phase::Ready)?]),
        false => map(found.replicas, "volume.replicas", |replica| parse_replica(&replica))?,
    };
    let volume = Volume {
        name: name(&found.name, "volume.name")?,
        size_bytes: found.size_bytes,
        spec: parse_spec(found.spec, "volume.spec")?,
        phase,
        replicas,
        replication: found.replication.map(parse_replication).transpose()?,
        attachments: Attachments {
            generation: Generation(found.generation),
            held: all(&found.attachments, parse_attachment)?,
        },
        created: Time(found.created),
        source: found.source.map(parse_clone_source).transpose()?,
        retired: found.retired.map(|retired| parse_retired(&retired)).transpose()?,
        schedules: map(found.schedules, "volume.schedules", parse_schedule)?,
        group: found.group.map(GroupId),
    };
    Ok((VolumeId(found.id), volume))
}

fn encode_volume((id, volume): (&VolumeId, &Volume)) -> wire::Volume {
    let phase = match volume.phase {
        Phase::Creating => wire::Phase::Creating,
        Phase::Ready => wire::Phase::Ready,
    };
    wire::Volume {
        id: id.0,
        name: volume.name.to_string(),
        size_bytes: volume.size_bytes,
        spec: Some(encode_spec(&volume.spec)),
        phase: phase.into(),
        replica: None,
        generation: volume.attachments.generation.0,
        attachments: volume.attachments.held.iter().map(encode_attachment).collect(),
        created: volume.created.0,
        replicas: volume.replicas.iter().map(encode_replica).collect(),
        replication: volume.replication.as_ref().map(encode_replication),
        source: volume.source.as_ref().map(encode_clone_source),
        retired: volume.retired.as_ref().map(encode_retired),
        schedules: volume.schedules.iter().map(encode_schedule).collect(),
        group: volume.group.map(|group| group.0),
    }
}

fn parse_attachment(found: &wire::Attachment) -> Result<Attachment, Invalid> {
    Ok(Attachment {
        client: name(&found.client, "attachment.client")?,
        mode: parse_mode(found.mode, "attachment.mode")?,
        generation: Generation(found.generation),
        token: token(&found.token_hash, "attachment.token_hash")?,
    })
}

fn encode_attachment(attachment: &Attachment) -> wire::Attachment {
    let Attachment { client, mode, generation, token } = attachment;
    wire::Attachment {
        client: client.to_string(),
        mode: encode_mode(*mode),
        generation: generation.0,
        token_hash: token.0.to_vec(),
    }
}

fn parse_tombstone(found: &wire::Tombstone) -> Result<((VolumeId, PoolId), Tombstone), Invalid> {
    let tombstone = Tombstone {
        name: name(&found.name, "tombstone.name")?,
        pool: pool(&found.pool, "tombstone.pool")?,
        observed: parse_observed(found.observed, "tombstone.observed")?,
        since: Time(found.since),
        revision: Revision(found.revision),
    };
    Ok(((VolumeId(found.volume), tombstone.pool), tombstone))
}

fn encode_tombstone(((id, _), tombstone): (&(VolumeId, PoolId), &Tombstone)) -> wire::Tombstone {
    let Tombstone { name, pool, observed, since, revision } = tombstone;
    wire::Tombstone {
        volume: id.0,
        name: name.to_string(),
        pool: bytes_of(pool.0),
        observed: Some(encode_observed(*observed)),
        since: since.0,
        revision: revision.0,
    }
}
