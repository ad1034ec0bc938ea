//! A node that does at once what it is told, and holds nothing but numbers.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use proto::link::node_link_client::NodeLinkClient;
use proto::link::{FromNode, Hello, PoolReport, ReplicaReport, Report, ToNode, from_node, to_node};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Endpoint;
use tonic::{Status, Streaming};

/// A running one; its stream ends with it.
pub struct Node {
    task: JoinHandle<()>,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What it holds: sizes and generations.
pub type Held = BTreeMap<u64, (u64, u64)>;

impl Node {
    /// Registers at the leader with a pool of 1 PiB.
    pub async fn start(name: &str, pool: u8, leader: SocketAddr) -> Self {
        let (to_leader, mut intents) = connect(hello(name), leader).await.unwrap();
        let id = vec![pool; 16];
        let name = name.to_owned();
        let task = tokio::spawn(async move {
            let mut held = Held::new();
            to_leader.send(report(&id, 0, true, &held, Vec::new())).await.unwrap();
            while let Ok(Some(ToNode { message: Some(message) })) = intents.message().await {
                let to_node::Message::Intent(intent) = message else { continue };
                let (changed, gone) = obey(&mut held, &intent, &name);
                if to_leader.send(report(&id, intent.revision, false, &changed, gone)).await.is_err() {
                    return;
                }
            }
        });
        Self { task }
    }
}

pub fn hello(name: &str) -> Hello {
    Hello {
        version: 1,
        node: name.to_owned(),
        peer_address: format!("{name}:10701"),
        nbd_addresses: vec![format!("{name}:10809")],
        labels: [("zone".to_owned(), name.to_owned())].into(),
        cluster: Vec::new(),
        compares: true,
        differs: true,
    }
}

/// Opens a stream with a Hello.
pub async fn connect(hello: Hello, leader: SocketAddr) -> Result<(mpsc::Sender<FromNode>, Streaming<ToNode>), Status> {
    let channel = Endpoint::from_shared(format!("http://{leader}")).unwrap().connect().await.unwrap();
    let (sender, receiver) = mpsc::channel(16);
    sender.send(FromNode { message: Some(from_node::Message::Hello(hello)) }).await.unwrap();
    let mut client = NodeLinkClient::new(channel).max_decoding_message_size(64 << 20);
    let intents = client.connect(ReceiverStream::new(receiver)).await?.into_inner();
    Ok((sender, intents))
}

fn obey(held: &mut Held, intent: &proto::link::Intent, name: &str) -> (Held, Vec<u64>) {
    let mut changed = Held::new();
    for replica in &intent.replicas {
        assert!(replica.may_create || held.contains_key(&replica.volume), "{name} is told what it can do");
        let now = (replica.size_bytes, replica.generation);
        if held.insert(replica.volume, now) != Some(now) {
            changed.insert(replica.volume, now);
        }
    }
    let gone: Vec<u64> = intent.deletions.iter().map(|deletion| deletion.volume).collect();
    held.retain(|volume, _| !gone.contains(volume));
    (changed, gone)
}

pub fn report(pool: &[u8], heard: u64, whole: bool, replicas: &Held, gone: Vec<u64>) -> FromNode {
    let replicas = replicas.iter().map(|(volume, (size_bytes, generation))| ReplicaReport {
        volume: *volume,
        size_bytes: *size_bytes,
        generation: *generation,
        ..ReplicaReport::default()
    });
    let pool = PoolReport {
        id: pool.to_vec(),
        capacity_bytes: 1 << 50,
        whole,
        replicas: replicas.collect(),
        gone,
        ..PoolReport::default()
    };
    FromNode { message: Some(from_node::Message::Report(Report { heard, pools: vec![pool] })) }
}
