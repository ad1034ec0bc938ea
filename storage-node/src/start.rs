//! A storage node from its configuration to its end: pool, recovery, listeners, data thread, link, HTTP.

use std::net::SocketAddr;
use std::sync::Arc;

use node::{Node, NodeConfig, Offer};
use store::BootId;

use crate::cluster::{ClusterConfig, ClusterCounters, ClusterError, ClusterFigures, Introduction};
use crate::control::Control;
use crate::data::{DataError, DataThread, Device};
use crate::http::{Http, HttpError, HttpListener};
use crate::link::{Link, Subject};
use crate::listen::{Address, Guest, ListenError, Listener};
use crate::machine::Machine;
use crate::media::FileMedia;
use crate::null::Null;
use crate::pool::{Pool, PoolConfig, PoolError};
use crate::power::{Cache, CachedMedia, PowerDrill, Volatile};
use crate::reactor::ReactorError;
use crate::recovery::{self, RecoveryError};
use crate::report;

/// Where a node listens.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Addresses {
    /// For NBD clients.
    pub nbd: Vec<Address>,
    /// For metrics and health; none when there is to be no HTTP.
    pub http: Option<SocketAddr>,
}

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The pool.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// What is in it.
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    /// An address of a frontend.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The node's place in its cluster.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The address for metrics.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The data thread.
    #[error(transparent)]
    Data(#[from] DataError),
}

/// A running node.
#[derive(Debug)]
pub struct StorageNode {
    data: DataThread,
    /// How that ended, while it waits to be told.
    outcome: Option<Result<(), ReactorError>>,
    link: Option<Link>,
    counters: Option<ClusterCounters>,
    /// Served while it is here.
    _http: Option<Http>,
    addresses: Addresses,
    peers: Option<SocketAddr>,
}

/// What a node needs to start.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// Where its data is.
    pub pool: PoolConfig,
    /// How it serves its volumes.
    pub node: NodeConfig,
    /// Where it listens.
    pub addresses: Addresses,
    /// The cluster it belongs to. Then it offers what that cluster's control plane says, whatever [`Config::node`] says
    /// of that, and clients are let in when it has said so for the first time. Without one it is on its own.
    pub cluster: Option<ClusterConfig>,
}

/// A machine and what it needs around it.
struct Parts<M> {
    machine: M,
    device: Option<Device>,
    /// For machines that have peers.
    counters: Option<ClusterCounters>,
}

/// Addresses that are open and not served yet. They come first, so that what is wrong with them is told before a pool is
/// made or recovered; clients that come meanwhile wait.
struct Doors {
    nbd: Vec<Listener>,
    peers: Option<Listener>,
    http: Option<HttpListener>,
}

impl StorageNode {
    /// Opens the pool, formats it if it is blank, and recovers it. Blocks the calling thread while it recovers. Clients
    /// are let in by [`Control::listen`]: until then they wait, so that none is told that a volume is missing which is
    /// about to be made.
    ///
    /// # Errors
    /// In words, see [`StartError`].
    pub async fn start(config: Config) -> Result<Self, StartError> {
        Self::start_drill(config, PowerDrill::default()).await
    }

    /// The same for a node that is to lose power, as a drill.
    ///
    /// # Errors
    /// In words, see [`StartError`].
    pub async fn start_drill(config: Config, drill: PowerDrill) -> Result<Self, StartError> {
        let Config { pool, node, addresses, cluster } = config;
        let doors = Doors::open(&addresses, cluster.as_ref().map(|cluster| cluster.peers)).await?;
        let membership = cluster.map(|cluster| doors.introduce(cluster)).transpose()?;
        let pool = Pool::open(&pool)?;
        let media = Arc::new(FileMedia::new(pool.duplicate()?));
        let (store, report) = recovery::recover(&pool, &media, drill.boot_id.map(BootId))?;
        report::recovered(&report);
        let pool_id = store.pool();
        let offer = if membership.is_some() { Offer::Intended } else { node.offer };
        let machine = Node::new(store, NodeConfig { offer, cold: report.cold, ..node });
        let counters = membership.is_some().then(ClusterCounters::default);
        let mut node = match drill.volatile_cache {
            None => {
                let device = Some(Device { file: pool.file, media });
                Self::serve(Parts { machine, device, counters: counters.clone() }, doors)?
            }
            Some(seed) => {
                let cache = Cache::new(pool.duplicate()?, seed);
                let media = Arc::new(CachedMedia { media, cache: cache.clone() });
                let (machine, device) = (Volatile::new(machine, cache), Some(Device { file: pool.file, media }));
                Self::serve(Parts { machine, device, counters: counters.clone() }, doors)?
            }
        };
        if let Some(((introduction, addresses), counters)) = membership.zip(counters) {
            let subject = Subject { control: node.control().clone(), introduction, pool: pool_id };
            node.link = Some(Link::start(subject, addresses, counters.link));
        }
        Ok(node)
    }

    /// Serves one export that has no store behind it: the ceiling that the store is measured against.
    ///
    /// # Errors
    /// In words, see [`StartError`].
    pub async fn start_null(size_bytes: u64, addresses: &Addresses) -> Result<Self, StartError> {
        let parts = Parts { machine: Null::new(size_bytes), device: None, counters: None };
        Self::serve(parts, Doors::open(addresses, None).await?)
    }

    /// Where it listens, with the ports the kernel chose.
    #[must_use]
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Where other nodes of its cluster come to, if it is in one.
    #[must_use]
    pub fn peers(&self) -> Option<SocketAddr> {
        self.peers
    }

    /// Its dealings with others, if it is in a cluster.
    #[must_use]
    pub fn cluster(&self) -> Option<ClusterFigures> {
        self.counters.as_ref().map(ClusterCounters::figures)
    }

    /// The way to give it commands.
    #[must_use]
    pub fn control(&self) -> &Control {
        self.data.control()
    }

    /// Waits for its end: after [`Control::stop`], or because it failed.
    ///
    /// # Errors
    /// What made it fail.
    pub async fn ended(&mut self) -> Result<(), ReactorError> {
        if self.outcome.is_none() {
            self.outcome = Some(self.data.ended().await);
        }
        if let Some(link) = &mut self.link {
            // Should the data thread have ended by itself, nobody has told the link.
            self.data.control().stop().await;
            link.ended().await;
        }
        self.outcome.take().unwrap_or(Ok(()))
    }

    fn serve<M: Machine + Send + 'static>(parts: Parts<M>, doors: Doors) -> Result<Self, StartError> {
        let (addresses, peers) = (doors.addresses(), doors.peers_address());
        let Parts { machine, device, counters } = parts;
        let relays = counters.as_ref().map(|counters| Arc::clone(&counters.relays));
        let listeners = doors.nbd.into_iter().chain(doors.peers).collect();
        let data = DataThread::start(machine, listeners, device, relays)?;
        let http = doors.http.map(|listener| listener.serve(data.control().clone(), counters.clone()));
        Ok(Self { data, outcome: None, link: None, counters, _http: http, addresses, peers })
    }
}

impl Doors {
    async fn open(addresses: &Addresses, peers: Option<SocketAddr>) -> Result<Self, StartError> {
        let open = |address| Listener::open(address, Guest::Client);
        let nbd = addresses.nbd.iter().map(open).collect::<Result<_, _>>()?;
        let open = |address, guest| Listener::open(&Address::Tcp(address), guest);
        let peers = peers.map(|address| open(address, Guest::Peer)).transpose()?;
        let http = match addresses.http {
            Some(address) => Some(HttpListener::open(address).await?),
            None => None,
        };
        Ok(Self { nbd, peers, http })
    }

    /// What the node says of itself, and to whom.
    fn introduce(&self, cluster: ClusterConfig) -> Result<(Introduction, Vec<String>), ClusterError> {
        let peers = self.peers_address().expect("opened for this cluster");
        Ok((cluster.introduction(peers, &self.addresses().nbd)?, cluster.control))
    }

    fn peers_address(&self) -> Option<SocketAddr> {
        tcp_address(self.peers.as_ref()?)
    }

    fn addresses(&self) -> Addresses {
        let nbd = self.nbd.iter().map(|listener| listener.address().clone()).collect();
        Addresses { nbd, http: self.http.as_ref().map(HttpListener::address) }
    }
}

fn tcp_address(listener: &Listener) -> Option<SocketAddr> {
    match listener.address() {
        Address::Tcp(address) => Some(*address),
        Address::Unix(_) => None,
    }
}
