//! A storage node of the cluster under test, with a pool of its own in a temporary directory.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use block::PoolId;
use storage_node::{
    Address, Addresses, ClusterConfig, ClusterFigures, Config, Control, Figures, NodeConfig, PoolConfig, PoolSize,
    StartError, StorageNode,
};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use crate::PATIENCE;
use crate::leader::Leader;

const POOL_BYTES: u64 = 256 << 20;

/// Stops when it is dropped.
pub struct Member {
    node: StorageNode,
    runtime: Runtime,
    /// None once it was stopped.
    directory: Option<TempDir>,
}

impl Member {
    /// A node of that name with an empty pool, linked to a leader.
    pub fn new(name: &str, leader: &Leader) -> Self {
        Self::with(name, &[leader.address()])
    }

    pub fn with(name: &str, control: &[String]) -> Self {
        Self::start(tempfile::tempdir().unwrap(), cluster(name, control)).expect("started")
    }

    pub fn start(directory: TempDir, cluster: ClusterConfig) -> Result<Self, StartError> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let size = PoolSize::Found { new_bytes_max: POOL_BYTES };
        let local = || SocketAddr::from(([127, 0, 0, 1], 0));
        let unix = directory.path().join("nbd.sock");
        let config = Config {
            pool: PoolConfig { path: directory.path().join("pool"), size, wait_max: PATIENCE },
            node: NodeConfig::default(),
            addresses: Addresses { nbd: vec![Address::Tcp(local()), Address::Unix(unix)], http: Some(local()) },
            cluster: Some(cluster),
        };
        let node = runtime.block_on(StorageNode::start(config))?;
        Ok(Self { node, runtime, directory: Some(directory) })
    }

    /// Where its clients come to.
    pub fn nbd(&self) -> SocketAddr {
        match self.node.addresses().nbd[0] {
            Address::Tcp(address) => address,
            Address::Unix(_) => panic!("the first address is a port"),
        }
    }

    pub fn unix(&self) -> PathBuf {
        self.directory.as_ref().unwrap().path().join("nbd.sock")
    }

    pub fn peers(&self) -> String {
        self.node.peers().unwrap().to_string()
    }

    pub fn control(&self) -> Control {
        self.node.control().clone()
    }

    /// Lets guests in, without the word of a leader.
    pub fn listen(&self) {
        self.runtime.block_on(self.node.control().listen()).unwrap();
    }

    /// Its pool.
    pub fn pool(&self) -> PoolId {
        self.runtime.block_on(self.node.control().observe()).unwrap().unwrap().pool
    }

    pub fn figures(&self) -> Box<Figures> {
        self.runtime.block_on(self.node.control().figures()).unwrap()
    }

    pub fn cluster(&self) -> ClusterFigures {
        self.node.cluster().unwrap()
    }

    /// What its HTTP server says.
    pub fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.node.addresses().http.unwrap()).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: n\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Stops it in good order; its directory stays.
    pub fn stop(mut self) -> TempDir {
        self.halt().unwrap()
    }

    fn halt(&mut self) -> Option<TempDir> {
        let directory = self.directory.take()?;
        self.runtime.block_on(async {
            self.node.control().stop().await;
            tokio::time::timeout(PATIENCE, self.node.ended()).await.expect("in time").expect("in order");
        });
        Some(directory)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.halt();
        }
    }
}

pub fn cluster(name: &str, control: &[String]) -> ClusterConfig {
    ClusterConfig {
        name: name.to_owned(),
        control: control.to_vec(),
        peers: ([127, 0, 0, 1], 0).into(),
        advertise: None,
        labels: BTreeMap::from([("zone".to_owned(), "a".to_owned())]),
        tags: vec!["nvme".to_owned()],
    }
}

/// Waits until something holds.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
