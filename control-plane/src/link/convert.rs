//! Messages of the nodes' streams and what they mean. Each error names the field.

use block::{PoolId, VolumeId};
use cluster::{
    AccessMode, Addresses, Change, ClusterId, Generation, Labels, Name, NodeIntent, NodeReport, PoolReport,
    ReplicaIntent, ReplicaReport, Replicas, Revision,
};
use proto::link;
use tonic::Status;

/// Version of the protocol.
const VERSION: u32 = 1;
/// Longest address, label or tag.
const TEXT_BYTES_MAX: usize = 256;
/// Pools, addresses or tags of one node.
const FEW_MAX: usize = 64;

/// Who begins a stream.
#[derive(Debug)]
pub(super) struct Hello {
    pub node: Name,
    addresses: Addresses,
    labels: Labels,
    /// The cluster it has belonged to since it started.
    pub cluster: Option<ClusterId>,
}

impl Hello {
    pub fn into_change(self) -> Change {
        Change::Register { node: self.node, addresses: self.addresses, labels: self.labels }
    }
}

pub(super) fn hello(hello: link::Hello) -> Result<Hello, Status> {
    let link::Hello { version, node, peer_address, nbd_addresses, labels, cluster } = hello;
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
    Ok(Hello { node, addresses: Addresses { peers: peer_address, nbd: nbd_addresses }, labels, cluster })
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
    let present = replicas.into_iter().map(|replica| ReplicaReport {
        volume: VolumeId(replica.volume),
        size_bytes: replica.size_bytes,
        generation: Generation(replica.generation),
    });
    let replicas = match whole {
        true => Replicas::All(present.collect()),
        false => Replicas::Changed { present: present.collect(), gone: gone.into_iter().map(VolumeId).collect() },
    };
    Ok(PoolReport { id: PoolId(id("pools.id", &bytes)?), capacity_bytes, used_bytes, tags, failed, replicas })
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

fn invalid(field: &str, sentence: &dyn std::fmt::Display) -> Status {
    Status::invalid_argument(format!("{field}: {sentence}"))
}

pub(super) fn welcome(cluster: ClusterId) -> link::ToNode {
    let welcome = link::Welcome { cluster: cluster.0.to_be_bytes().to_vec() };
    link::ToNode { message: Some(link::to_node::Message::Welcome(welcome)) }
}

pub(super) fn intent(intent: NodeIntent) -> link::ToNode {
    let NodeIntent { revision, whole, replicas, deletions, routes, lost_routes } = intent;
    let deletions = deletions.into_iter();
    let routes = routes.into_iter();
    let intent = link::Intent {
        revision: revision.0,
        whole,
        replicas: replicas.into_iter().map(replica).collect(),
        deletions: deletions.map(|(pool, volume)| link::Deletion { pool: bytes_of(pool), volume: volume.0 }).collect(),
        routes: routes.map(|route| link::Route { name: route.name.to_string(), address: route.address }).collect(),
        lost_routes: lost_routes.into_iter().map(|name| name.to_string()).collect(),
    };
    link::ToNode { message: Some(link::to_node::Message::Intent(intent)) }
}

fn replica(replica: ReplicaIntent) -> link::ReplicaIntent {
    let ReplicaIntent { pool, volume, name, size_bytes, may_create, attachments, open } = replica;
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
    }
}

fn bytes_of(pool: PoolId) -> Vec<u8> {
    pool.0.to_be_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::{hello, report};
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
}
