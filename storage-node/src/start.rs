//! A storage node from its configuration to its end: pool, recovery, listeners, data thread, HTTP.

use std::net::SocketAddr;
use std::sync::Arc;

use node::{Node, NodeConfig};

use crate::control::Control;
use crate::data::{DataError, DataThread, Device};
use crate::http::{Http, HttpError, HttpListener};
use crate::listen::{Address, ListenError, Listener};
use crate::machine::Machine;
use crate::media::FileMedia;
use crate::null::Null;
use crate::pool::{Pool, PoolConfig, PoolError};
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
    /// Served while it is here.
    _http: Option<Http>,
    addresses: Addresses,
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
}

/// Addresses that are open and not served yet. They come first, so that what is wrong with them is told before a pool is
/// made or recovered; clients that come meanwhile wait.
struct Doors {
    nbd: Vec<Listener>,
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
        let doors = Doors::open(&config.addresses).await?;
        let pool = Pool::open(&config.pool)?;
        let media = Arc::new(FileMedia::new(pool.duplicate()?));
        let (store, report) = recovery::recover(&pool, &media)?;
        report::recovered(&report);
        Self::serve(Node::new(store, config.node), doors, Some(Device { file: pool.file, media }))
    }

    /// Serves one export that has no store behind it: the ceiling that the store is measured against.
    ///
    /// # Errors
    /// In words, see [`StartError`].
    pub async fn start_null(size_bytes: u64, addresses: &Addresses) -> Result<Self, StartError> {
        Self::serve(Null::new(size_bytes), Doors::open(addresses).await?, None)
    }

    /// Where it listens, with the ports the kernel chose.
    #[must_use]
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
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
        self.data.ended().await
    }

    fn serve<M: Machine + Send + 'static>(
        machine: M,
        doors: Doors,
        device: Option<Device>,
    ) -> Result<Self, StartError> {
        let addresses = doors.addresses();
        let data = DataThread::start(machine, doors.nbd, device)?;
        let http = doors.http.map(|listener| listener.serve(data.control().clone()));
        Ok(Self { data, _http: http, addresses })
    }
}

impl Doors {
    async fn open(addresses: &Addresses) -> Result<Self, StartError> {
        let nbd = addresses.nbd.iter().map(Listener::open).collect::<Result<_, _>>()?;
        let http = match addresses.http {
            Some(address) => Some(HttpListener::open(address).await?),
            None => None,
        };
        Ok(Self { nbd, http })
    }

    fn addresses(&self) -> Addresses {
        let nbd = self.nbd.iter().map(|listener| listener.address().clone()).collect();
        Addresses { nbd, http: self.http.as_ref().map(HttpListener::address) }
    }
}
