//! Where the cluster's nodes take clients. Nodes come and go while a volume is attached, so whoever knows the cluster
//! tells new addresses when they are asked for; I/O itself never waits for that.

use std::sync::Arc;

use tokio::sync::{Notify, watch};

/// The addresses as they are known now: HOST:PORT.
#[derive(Clone, Debug)]
pub struct Directory {
    known: watch::Receiver<Vec<String>>,
    wanted: Arc<Notify>,
}

/// The end for whoever knows the cluster.
#[derive(Debug)]
pub struct DirectoryKeeper {
    known: watch::Sender<Vec<String>>,
    wanted: Arc<Notify>,
}

impl Directory {
    /// With the addresses to begin with.
    #[must_use]
    pub fn new(addresses: Vec<String>) -> (Self, DirectoryKeeper) {
        let (sender, known) = watch::channel(addresses);
        let wanted = Arc::new(Notify::new());
        (Self { known, wanted: Arc::clone(&wanted) }, DirectoryKeeper { known: sender, wanted })
    }

    /// The addresses.
    #[must_use]
    pub fn addresses(&self) -> Vec<String> {
        self.known.borrow().clone()
    }

    /// Says that none of them serves the volume.
    pub fn ask(&self) {
        self.wanted.notify_one();
    }
}

impl DirectoryKeeper {
    /// Waits until new addresses are asked for.
    pub async fn asked(&self) {
        self.wanted.notified().await;
    }

    /// Tells them.
    pub fn tell(&self, addresses: Vec<String>) {
        self.known.send_if_modified(|known| {
            let changes = *known != addresses && !addresses.is_empty();
            if changes {
                *known = addresses;
            }
            changes
        });
    }
}
