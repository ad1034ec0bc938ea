//! Messages of the nodes' streams and what they mean. Each error names the field.

use std::collections::BTreeMap;

use block::{Epoch, Incarnation, PoolId, VolumeId};
use cluster::{
    AccessMode, Addresses, Change, ClusterId, Configuration, CutRefusal, Generation, Labels, Name, NodeIntent,
    NodeReport, PoolReport, Progress, Proposal, REPLICAS_MAX, ReplicaIntent, ReplicaReport, Replicas,
    ReplicationIntent, Revision, Role, Standing,
};
use proto::link;
use tonic::Status;

use super::point;

/// Version of the protocol.
const VERSION: u32 = 1;
/// Longest address, label or tag.
const TEXT_BYTES_MAX: usize = 256;
/// Pools, addresses or tags of one node.
const FEW_MAX: usize = 64;
/// Snapshots of one replica: those that are wanted, and some that are not deleted yet.
const SNAPSHOTS_MAX: usize = 1 << 16;

/// Who begins a stream.
#[derive(Debug)]
pub(super) struct Hello {
    pub node: Name,
    addresses: Addresses,
    labels: Labels,
    /// The cluster it has belonged to since it started.
    pub cluster: Option<ClusterId>,
    /// Whether it can be asked to compare replicas.
    pub compares: bool,
    /// Whether it can be asked in what snapshots differ.
    pub differs: bool,
}

impl Hello {
    pub fn into_change(self) -> Change {
        Change::Register { node: self.node, addresses: self.addresses, labels: self.labels }
    }
}

pub(super) fn hello(hello: link::Hello) -> Result<Hello, Status> {
    let link::Hello { version, node, peer_address, nbd_addresses, labels, cluster, compares, differs } = hello;
    if version != VERSION {
        let sentence = format!("the node speaks version {version} of this protocol, and this voter version {VERSION}");
        return Err(Status::failed_precondition(sentence));
    }
    let node = node.parse().map_err(|error| invalid("node", &error))?;
    few("nbd_addresses", nbd_addresses.len())?;
    few("labels", labels.len())?;
    let texts = nbd_addresses.iter().chain(std::iter::once(&peer_address)).chain(labels.keys()).chain(labels.values());
    for text in texts {
        short("addresses and labels", text)?;
    }
    let cluster = match cluster.as_slice() {
        [] => None,
        bytes => Some(ClusterId(id("cluster", bytes)?)),
    };
    let addresses = Addresses { peers: peer_address, nbd: nbd_addresses };
    Ok(Hello { node, addresses, labels, cluster, compares, differs })
}

pub(super) fn report(report: link::Report) -> Result<NodeReport, Status> {
    few("pools", report.pools.len())?;
    let pools = report.pools.into_iter().map(pool).collect::<Result<_, _>>()?;
    Ok(NodeReport { heard: Revision(report.heard), pools })
}

fn pool(pool: link::PoolReport) -> Result<PoolReport, Status> {
    let link::PoolReport { id: bytes, capacity_bytes, used_bytes, tags, failed, whole, replicas, gone } = pool;
    few("tags", tags.len())?;
    for tag in &tags {
        short("tags", tag)?;
    }
    let present = replicas.iter().map(replica_report).collect::<Result<Vec<_>, _>>()?;
    let replicas = match whole {
        true => Replicas::All(present),
        false => Replicas::Changed { present, gone: gone.into_iter().map(VolumeId).collect() },
    };
    Ok(PoolReport { id: PoolId(id("pools.id", &bytes)?), capacity_bytes, used_bytes, tags, failed, replicas })
}

fn replica_report(found: &link::ReplicaReport) -> Result<ReplicaReport, Status> {
    let link::ReplicaReport { volume, size_bytes, generation, ref snapshots, hold, .. } = *found;
    if snapshots.len() > SNAPSHOTS_MAX {
        let count = snapshots.len();
        return Err(invalid("replicas.snapshots", &format!("{count} of them; at most {SNAPSHOTS_MAX} can be")));
    }
    let snapshots = snapshots.iter().map(point::copy).collect::<Result<_, _>>()?;
    let role = role(found.role)?;
    // Who takes no part says what it took part in.
    let seen = if role == Role::Out { found.epoch_seen } else { 0 };
    let standing = Standing {
        incarnation: Incarnation(found.incarnation),
        warm_from: Incarnation(found.warm_from),
        epoch: Epoch(found.epoch.max(seen)),
        role,
        unable: found.unable,
        resync: found.resync.map(|link::Progress { left, groups }| Progress { left, groups }),
        lost_blocks: found.lost_blocks,
        hold: hold.and_then(|hold| point::hold(hold).transpose()).transpose()?,
        // A reason of a later version is one that is not known here.
        cut_refused: link::CutRefusal::try_from(found.cut_refused).ok().and_then(cut_refused),
        branch_points: found.branch_points,
    };
    Ok(ReplicaReport { volume: VolumeId(volume), size_bytes, generation: Generation(generation), standing, snapshots })
}

fn cut_refused(found: link::CutRefusal) -> Option<CutRefusal> {
    match found {
        link::CutRefusal::None => None,
        link::CutRefusal::ManySnapshots => Some(CutRefusal::ManySnapshots),
        link::CutRefusal::PoolFull => Some(CutRefusal::PoolFull),
        link::CutRefusal::PoolCrowded => Some(CutRefusal::PoolCrowded),
        link::CutRefusal::PoolFailed => Some(CutRefusal::PoolFailed),
        link::CutRefusal::OldNode => Some(CutRefusal::OldNode),
    }
}

fn role(found: i32) -> Result<Role, Status> {
    let role = link::Role::try_from(found).map_err(|_| invalid("replicas.role", &format!("{found} is none")))?;
    Ok(match role {
        link::Role::Out => Role::Out,
        link::Role::Learner => Role::Learner,
        link::Role::Joining => Role::Joining,
        link::Role::Backup => Role::Backup,
        link::Role::Candidate => Role::Candidate,
        link::Role::Recovering => Role::Recovering,
        link::Role::Reconciling => Role::Reconciling,
        link::Role::Primary => Role::Primary,
    })
}

/// What a member wants of its volume.
pub(super) fn proposal(found: link::Proposal) -> Result<(VolumeId, Proposal), Status> {
    let link::Proposal { volume, expected, proposer, primary, members } = found;
    let count = members.len();
    if count > usize::from(REPLICAS_MAX) + 1 {
        return Err(invalid("proposal.members", &format!("{count} of them; a volume has not so many replicas")));
    }
    let proposer = proposer.ok_or_else(|| invalid("proposal.proposer", &"it is missing"))?;
    let members =
        members.into_iter().map(|one| member("proposal.members", &one)).collect::<Result<BTreeMap<_, _>, _>>()?;
    if members.len() < count {
        return Err(invalid("proposal.members", &"a pool is named twice"));
    }
    let proposal = Proposal {
        expected: Epoch(expected),
        proposer: member("proposal.proposer", &proposer)?,
        primary: PoolId(id("proposal.primary", &primary)?),
        members,
    };
    Ok((VolumeId(volume), proposal))
}

fn member(field: &str, found: &link::Member) -> Result<(PoolId, Incarnation), Status> {
    Ok((PoolId(id(field, &found.pool)?), Incarnation(found.incarnation)))
}

/// What became of a proposal.
pub(super) fn decision(volume: VolumeId, proposal: &Proposal, in_force: bool) -> link::ToNode {
    let (expected, proposer) = (proposal.expected.0, bytes_of(proposal.proposer.0));
    let decision = link::Decision { volume: volume.0, expected, proposer, in_force };
    link::ToNode { message: Some(link::to_node::Message::Decision(decision)) }
}

fn id(field: &str, bytes: &[u8]) -> Result<u128, Status> {
    let found = bytes.len();
    bytes.try_into().map(u128::from_be_bytes).map_err(|_| invalid(field, &format!("{found} bytes; 16 are needed")))
}

fn few(field: &str, count: usize) -> Result<(), Status> {
    if count > FEW_MAX {
        return Err(invalid(field, &format!("{count} of them; at most {FEW_MAX} can be")));
    }
    Ok(())
}

fn short(field: &str, text: &str) -> Result<(), Status> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(invalid(field, &format!("one has {} bytes; at most {TEXT_BYTES_MAX} can be", text.len())));
    }
    Ok(())
}

pub(super) fn invalid(field: &str, sentence: &dyn std::fmt::Display) -> Status {
    Status::invalid_argument(format!("{field}: {sentence}"))
}

pub(super) fn welcome(cluster: ClusterId) -> link::ToNode {
    let welcome = link::Welcome { cluster: cluster.0.to_be_bytes().to_vec(), pongs: true };
    link::ToNode { message: Some(link::to_node::Message::Welcome(welcome)) }
}

pub(super) fn pong(number: u64) -> link::ToNode {
    link::ToNode { message: Some(link::to_node::Message::Pong(link::Pong { number })) }
}

/// With the pools that were removed and are there again.
pub(super) fn intent(intent: NodeIntent, removed: &[PoolId]) -> link::ToNode {
    let NodeIntent { revision, whole, replicas, deletions, routes, lost_routes, snapshot_deletions } = intent;
    let deletions = deletions.into_iter();
    let routes = routes.into_iter();
    let intent = link::Intent {
        revision: revision.0,
        whole,
        replicas: replicas.into_iter().map(replica).collect(),
        deletions: deletions.map(|(pool, volume)| link::Deletion { pool: bytes_of(pool), volume: volume.0 }).collect(),
        routes: routes.map(|route| link::Route { name: route.name.to_string(), address: route.address }).collect(),
        lost_routes: lost_routes.into_iter().map(|name| name.to_string()).collect(),
        snapshot_deletions: snapshot_deletions.into_iter().map(point::deletion).collect(),
        removed_pools: removed.iter().map(|pool| bytes_of(*pool)).collect(),
    };
    link::ToNode { message: Some(link::to_node::Message::Intent(intent)) }
}

fn replica(replica: ReplicaIntent) -> link::ReplicaIntent {
    let ReplicaIntent { pool, volume, name, size_bytes, may_create, attachments, open, replication, .. } = replica;
    let held = attachments.held.into_iter().map(|held| link::Attachment {
        client: held.client.to_string(),
        read_only: held.mode == AccessMode::ReadOnly,
        generation: held.generation.0,
        token_hash: held.token.0.to_vec(),
    });
    link::ReplicaIntent {
        pool: bytes_of(pool),
        volume: volume.0,
        name: name.to_string(),
        size_bytes,
        may_create,
        generation: attachments.generation.0,
        attachments: held.collect(),
        open,
        replication: replication.map(of_replication),
        snapshots: replica.snapshots.into_iter().map(point::intent).collect(),
        origin: replica.origin.map(point::origin),
        hold: replica.hold.map(|group| group.0).unwrap_or_default(),
        retired: replica.retired,
    }
}

fn of_replication(replication: ReplicationIntent) -> link::Replication {
    let ReplicationIntent { lineage, configuration, peers, hand_over_to, wanted, copies } = replication;
    let peers = peers.into_iter().map(|peer| link::Peer {
        pool: bytes_of(peer.pool),
        node: peer.node.to_string(),
        address: peer.address,
        wanted: peer.wanted,
    });
    link::Replication {
        lineage,
        configuration: configuration.map(|configuration| of_configuration(&configuration)),
        peers: peers.collect(),
        hand_over_to: hand_over_to.map(bytes_of).unwrap_or_default(),
        unwanted: !wanted,
        copies: u32::try_from(copies).expect("a volume has a few replicas"),
    }
}

fn of_configuration(configuration: &Configuration) -> link::Configuration {
    let Configuration { epoch, primary, members, members_min, cache_generation, recovery } = configuration;
    let member = |(pool, incarnation): (&PoolId, &Incarnation)| link::Member {
        pool: bytes_of(*pool),
        incarnation: incarnation.0,
    };
    link::Configuration {
        epoch: epoch.0,
        primary: bytes_of(*primary),
        members: members.iter().map(member).collect(),
        members_min: u32::try_from(*members_min).expect("a volume has a few replicas"),
        cache_generation: *cache_generation,
        recovery: *recovery,
    }
}

pub(super) fn bytes_of(pool: PoolId) -> Vec<u8> {
    pool.0.to_be_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::{hello, proposal, report};
    use proto::link;

    fn good() -> link::Hello {
        link::Hello { version: 1, node: "n1".to_owned(), peer_address: "127.0.0.1:1".to_owned(), ..Default::default() }
    }

    #[test]
    fn a_hello_that_cannot_be_is_refused_with_the_field() {
        assert!(hello(good()).is_ok());
        let long = "x".repeat(300);
        let rows = [
            (link::Hello { version: 2, ..good() }, "version 2"),
            (link::Hello { node: "N 1".to_owned(), ..good() }, "node: "),
            (link::Hello { cluster: vec![1; 15], ..good() }, "cluster: 15 bytes"),
            (link::Hello { peer_address: long.clone(), ..good() }, "addresses"),
            (link::Hello { nbd_addresses: vec![String::new(); 65], ..good() }, "nbd_addresses: 65"),
            (link::Hello { labels: [("k".to_owned(), long)].into(), ..good() }, "labels"),
        ];
        for (message, expected) in rows {
            let words = hello(message).expect_err(expected).message().to_owned();
            assert!(words.contains(expected), "{expected} is missing in: {words}");
        }
    }

    #[test]
    fn a_report_that_cannot_be_is_refused_with_the_field() {
        let pool = |id: Vec<u8>| link::PoolReport { id, ..Default::default() };
        let of = |pools| report(link::Report { heard: 1, pools });
        assert!(of(vec![pool(vec![0; 16])]).is_ok());
        assert!(of(vec![pool(vec![0; 3])]).expect_err("short").message().contains("pools.id: 3 bytes"));
        assert!(of(vec![pool(vec![0; 16]); 65]).expect_err("many").message().contains("pools: 65"));
    }

    #[test]
    fn a_proposal_that_cannot_be_is_refused_with_the_field() {
        let member = |pool: u8| link::Member { pool: vec![pool; 16], incarnation: 1 };
        let good = link::Proposal {
            volume: 1,
            expected: 7,
            proposer: Some(member(1)),
            primary: vec![1; 16],
            members: vec![member(1), member(2)],
        };
        assert_eq!(proposal(good.clone()).expect("it can be").1.members.len(), 2);
        let rows = [
            (link::Proposal { proposer: None, ..good.clone() }, "proposal.proposer: it is missing"),
            (link::Proposal { primary: vec![1; 3], ..good.clone() }, "proposal.primary: 3 bytes"),
            (link::Proposal { members: vec![member(1); 2], ..good.clone() }, "named twice"),
            (link::Proposal { members: (0..9).map(member).collect(), ..good }, "proposal.members: 9"),
        ];
        for (message, expected) in rows {
            let words = proposal(message).expect_err(expected).message().to_owned();
            assert!(words.contains(expected), "{expected} is missing in: {words}");
        }
    }
}
