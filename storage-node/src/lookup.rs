//! Looking names of hosts up: the system's own way blocks a thread, for as long as the name service likes.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use tokio::sync::Semaphore;

/// Hosts of one name that are tried.
const HOSTS_MAX: usize = 8;

/// Looks names up, a few at a time. Who gives up waiting leaves no work behind but what has begun.
#[derive(Clone, Debug)]
pub(crate) struct Lookup(Arc<Semaphore>);

/// Why an address leads nowhere.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LookupError {
    /// The name service says so, or the address is none.
    #[error("its address cannot be looked up: {0}; correct the address, or the name service")]
    Failed(#[from] io::Error),
    /// There is no host of the name.
    #[error("its name has no address; correct it, or the name service")]
    Nothing,
    /// The runtime is going.
    #[error("the node is stopping")]
    Stopping,
}

impl Lookup {
    /// So many at a time.
    pub fn new(places: usize) -> Self {
        Self(Arc::new(Semaphore::new(places)))
    }

    /// The hosts that HOST:PORT leads to, at least one.
    pub async fn find(&self, address: &str) -> Result<Vec<SocketAddr>, LookupError> {
        if let Ok(host) = address.parse() {
            return Ok(vec![host]);
        }
        let place = Arc::clone(&self.0).acquire_owned().await.map_err(|_| LookupError::Stopping)?;
        let address = address.to_owned();
        let looked_up = tokio::task::spawn_blocking(move || {
            let hosts = address.to_socket_addrs().map(|hosts| hosts.take(HOSTS_MAX).collect::<Vec<_>>());
            drop(place);
            hosts
        });
        let hosts = looked_up.await.map_err(|_| LookupError::Stopping)??;
        if hosts.is_empty() { Err(LookupError::Nothing) } else { Ok(hosts) }
    }
}
