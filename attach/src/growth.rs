//! A device that becomes as large as its volume, while it is used.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::sleep;

use crate::blockdev;
use crate::error::AttachError;
use crate::fuse::Stack;
use crate::kernel::{self, Device};
use crate::line::Dialer;
use crate::record::{Method, Place, Record};

/// How often the volume is looked at, through the node that served it last. The cluster itself is not asked.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// How to make one device larger.
#[derive(Debug)]
pub struct Growth {
    device: PathBuf,
    method: Method,
    backend: String,
    stack: Stack,
}

/// The same, with a way to see when it is time.
#[derive(Debug)]
pub struct Watching {
    growth: Growth,
    dialer: Dialer,
}

impl Growth {
    /// Of an attachment's device.
    pub fn new(place: &Place, record: &Record, device: &Path) -> Self {
        let stack = Stack::new(place.path());
        Self { device: device.to_owned(), method: record.method, backend: record.backend(), stack }
    }

    /// With whom to ask.
    pub fn watching(self, dialer: Dialer) -> Watching {
        Watching { growth: self, dialer }
    }

    /// Has the device show this size; one that shows as much stays as it is. Whether it grew.
    ///
    /// # Errors
    /// The system refuses.
    pub async fn show(&self, size_bytes: u64) -> Result<bool, AttachError> {
        if size_bytes <= blockdev::size_bytes(&self.device)? {
            return Ok(false);
        }
        match (self.method, Device::named(&self.device)) {
            (Method::Nbd, Some(device)) => kernel::resize(device, &self.backend, size_bytes).await?,
            (Method::Nbd, None) => {}
            (Method::Fuse, _) => self.stack.grow(size_bytes).await?,
        }
        Ok(true)
    }
}

impl Watching {
    /// Looks, and makes the device larger whenever the volume has grown.
    pub async fn follow(&mut self) -> Infallible {
        loop {
            sleep(LOOK_EVERY).await;
            let Some(size_bytes) = self.dialer.look().await else { continue };
            self.dialer.grown(size_bytes);
            let device = self.growth.device.display();
            match self.growth.show(size_bytes).await {
                Ok(true) => tracing::info!("{device} has {size_bytes} bytes now, as its volume"),
                Ok(false) => {}
                Err(error) => tracing::warn!("{device} does not show the volume's {size_bytes} bytes yet: {error}"),
            }
        }
    }
}
