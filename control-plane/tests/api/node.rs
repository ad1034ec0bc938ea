//! A node that does at once what it is told, and holds nothing but numbers. Of each volume it has the only replica.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use proto::link::node_link_client::NodeLinkClient;
use proto::link::{
    FromNode, Hello, Hold, HoldState, PoolReport, ReplicaIntent, ReplicaReport, Report, Role, Seq, SnapshotReport,
    ToNode, from_node, to_node,
};
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

/// What it holds, by volume.
pub type Held = BTreeMap<u64, Replica>;

/// One replica, the only one of its volume.
#[derive(Clone, PartialEq, Default)]
pub struct Replica {
    size_bytes: u64,
    generation: u64,
    incarnation: u64,
    epoch: u32,
    primary: bool,
    /// The last write it has, and the place of each snapshot.
    data: u64,
    snapshots: BTreeMap<u64, Seq>,
    hold: Option<Hold>,
}

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
    for wanted in &intent.replicas {
        let before = held.get(&wanted.volume).cloned();
        let mut replica = match before.clone() {
            Some(replica) => replica,
            None => match made(held, wanted, name) {
                Some(replica) => replica,
                None => continue,
            },
        };
        follow(&mut replica, wanted);
        if before.as_ref() != Some(&replica) {
            changed.insert(wanted.volume, replica.clone());
            held.insert(wanted.volume, replica);
        }
    }
    for deletion in &intent.snapshot_deletions {
        for (volume, replica) in held.iter_mut() {
            if replica.snapshots.remove(&deletion.snapshot).is_some() {
                changed.insert(*volume, replica.clone());
            }
        }
    }
    let gone: Vec<u64> = intent.deletions.iter().map(|deletion| deletion.volume).collect();
    held.retain(|volume, _| !gone.contains(volume));
    changed.retain(|volume, _| !gone.contains(volume));
    (changed, gone)
}

/// A new replica: made of the snapshot that it begins as, if that is there.
fn made(held: &Held, wanted: &ReplicaIntent, name: &str) -> Option<Replica> {
    let Some(origin) = &wanted.origin else {
        assert!(wanted.may_create || wanted.replication.is_some(), "{name} is told what it can do");
        return wanted.may_create.then(Replica::default);
    };
    let found = held.values().find_map(|replica| replica.snapshots.get(&origin.snapshot));
    assert_eq!(found, origin.at.as_ref(), "{name} has what it is told to clone");
    Some(Replica { data: found?.n, ..Replica::default() })
}

fn follow(replica: &mut Replica, wanted: &ReplicaIntent) {
    (replica.size_bytes, replica.generation) = (wanted.size_bytes, wanted.generation);
    if let Some(replication) = &wanted.replication {
        replica.incarnation = 1;
        replica.epoch = replication.configuration.as_ref().map_or(0, |configuration| configuration.epoch);
        replica.primary = replica.epoch > 0;
    }
    let is_held =
        |replica: &Replica, group| group == 0 || replica.hold == Some(Hold { group, state: HoldState::Held.into() });
    let serves = replica.primary || wanted.replication.is_none();
    for snapshot in wanted.snapshots.iter().filter(|snapshot| snapshot.at.is_none() && serves) {
        if is_held(replica, snapshot.group) && !replica.snapshots.contains_key(&snapshot.id) {
            replica.data += 1;
            replica.snapshots.insert(snapshot.id, Seq { epoch: replica.epoch, n: replica.data });
            replica.hold = replica.hold.map(|hold| Hold { state: HoldState::Cut.into(), ..hold });
        }
    }
    replica.hold = match replica.hold {
        Some(hold) if wanted.hold == hold.group => Some(hold),
        _ if wanted.hold > 0 => Some(Hold { group: wanted.hold, state: HoldState::Held.into() }),
        Some(hold) => Some(Hold { state: HoldState::Released.into(), ..hold }),
        None => None,
    };
}

pub fn report(pool: &[u8], heard: u64, whole: bool, replicas: &Held, gone: Vec<u64>) -> FromNode {
    let snapshot = |(id, at): (&u64, &Seq)| SnapshotReport {
        id: *id,
        at: Some(*at),
        size_bytes: 1 << 30,
        exclusive_bytes: 4096,
        shared_bytes: 8192,
    };
    let replicas = replicas.iter().map(|(volume, replica)| ReplicaReport {
        volume: *volume,
        size_bytes: replica.size_bytes,
        generation: replica.generation,
        incarnation: replica.incarnation,
        warm_from: replica.incarnation,
        epoch: replica.epoch,
        role: if replica.primary { Role::Primary } else { Role::Out }.into(),
        snapshots: replica.snapshots.iter().map(snapshot).collect(),
        hold: replica.hold,
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
