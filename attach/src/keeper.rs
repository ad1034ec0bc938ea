//! A device, and what keeps it going for as long as it is run.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use tokio::task::JoinHandle;

use crate::fuse::Endpoint;
use crate::growth::Watching;
use crate::kernel::{KeepFault, Kept};

/// A device that is there. When this value goes, what becomes of the device depends on the method: the kernel's NBD
/// client goes on with the connection it has, the other fails.
#[derive(Debug)]
pub struct Keeper {
    device: PathBuf,
    kind: Kind,
    watching: Watching,
    /// Who else wants to keep the device sees that somebody does.
    _lock: File,
}

#[derive(Debug)]
enum Kind {
    Nbd(Box<Kept>),
    Fuse(Serving),
}

/// The endpoint's task, which ends with this value.
#[derive(Debug)]
pub struct Serving(JoinHandle<io::Result<()>>);

impl Serving {
    /// Begins to serve.
    pub fn begin(mut endpoint: Endpoint) -> Self {
        Self(tokio::spawn(async move { endpoint.serve().await }))
    }
}

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
    /// Somebody ended it, in order or not.
    #[error("its file was unmounted ({0})")]
    Unmounted(io::Error),
}

impl Keeper {
    pub(crate) fn nbd(kept: Kept, watching: Watching, lock: File) -> Self {
        Self { device: kept.device().path(), kind: Kind::Nbd(Box::new(kept)), watching, _lock: lock }
    }

    pub(crate) fn fuse(device: PathBuf, serving: Serving, watching: Watching, lock: File) -> Self {
        Self { device, kind: Kind::Fuse(serving), watching, _lock: lock }
    }

    /// Its path.
    #[must_use]
    pub fn device(&self) -> &Path {
        &self.device
    }

    /// Keeps it until it is gone; drop this to stop keeping it.
    pub async fn run(&mut self) -> KeeperFault {
        tokio::select! {
            fault = keep(&mut self.kind) => fault,
            never = self.watching.follow() => match never {},
        }
    }
}

async fn keep(kind: &mut Kind) -> KeeperFault {
    match kind {
        Kind::Nbd(kept) => match kept.keep().await {
            Err(fault) => fault.into(),
            Ok(never) => match never {},
        },
        Kind::Fuse(serving) => KeeperFault::Unmounted(match (&mut serving.0).await {
            Ok(Ok(())) => io::Error::other("it ended"),
            Ok(Err(error)) => error,
            Err(error) => io::Error::other(error),
        }),
    }
}
