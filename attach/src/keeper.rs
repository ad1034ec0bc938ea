//! A device, and what keeps it going for as long as it is run.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use tokio::task::JoinHandle;

use crate::fuse::{Endpoint, Nbdfuse};
use crate::kernel::{KeepFault, Kept};

/// A device that is there. When this value goes, what becomes of the device depends on the method: the kernel's NBD
/// client goes on with the connection it has, the other fails.
#[derive(Debug)]
pub struct Keeper {
    device: PathBuf,
    kind: Kind,
    /// Who else wants to keep the device sees that somebody does.
    _lock: File,
}

#[derive(Debug)]
enum Kind {
    Nbd(Box<Kept>),
    Fuse { serving: Serving, nbdfuse: Option<Nbdfuse> },
}

/// The endpoint's task, which ends with this value.
#[derive(Debug)]
struct Serving(JoinHandle<io::Result<()>>);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Why a device is kept no longer.
#[derive(Debug, thiserror::Error)]
pub enum KeeperFault {
    /// The kernel's device.
    #[error(transparent)]
    Nbd(#[from] KeepFault),
    /// The endpoint's socket.
    #[error("the endpoint failed: {0}")]
    Endpoint(#[from] io::Error),
    /// Somebody ended it, in order or not.
    #[error("nbdfuse ended ({0}), and with it the device")]
    Nbdfuse(String),
}

impl Keeper {
    pub(crate) fn nbd(kept: Kept, lock: File) -> Self {
        Self { device: kept.device().path(), kind: Kind::Nbd(Box::new(kept)), _lock: lock }
    }

    /// Begins to serve; the device comes later.
    pub(crate) fn fuse(mut endpoint: Endpoint, lock: File) -> Self {
        let serving = Serving(tokio::spawn(async move { endpoint.serve().await }));
        Self { device: PathBuf::new(), kind: Kind::Fuse { serving, nbdfuse: None }, _lock: lock }
    }

    pub(crate) fn show(&mut self, device: PathBuf, process: Nbdfuse) {
        self.device = device;
        match &mut self.kind {
            Kind::Fuse { nbdfuse, .. } => *nbdfuse = Some(process),
            Kind::Nbd(_) => {}
        }
    }

    /// Its path.
    #[must_use]
    pub fn device(&self) -> &Path {
        &self.device
    }

    /// Keeps it until it is gone; drop this to stop keeping it.
    pub async fn run(&mut self) -> KeeperFault {
        match &mut self.kind {
            Kind::Nbd(kept) => match kept.keep().await {
                Err(fault) => fault.into(),
                Ok(never) => match never {},
            },
            Kind::Fuse { serving, nbdfuse } => {
                let ended = async {
                    match nbdfuse {
                        Some(nbdfuse) => nbdfuse.ended().await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    served = &mut serving.0 => match served {
                        Ok(Err(error)) => error.into(),
                        Ok(Ok(())) => io::Error::other("it ended").into(),
                        Err(error) => io::Error::other(error).into(),
                    },
                    how = ended => KeeperFault::Nbdfuse(how),
                }
            }
        }
    }
}
