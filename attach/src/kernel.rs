//! The kernel's own NBD client: no process of ours between a request and the volume's primary.

mod device;
mod keep;
mod netlink;

use std::io;
use std::path::Path;
use std::time::Duration;

pub use device::Device;
pub use keep::{KeepFault, Kept, Number, blocking};

use crate::tool;

/// How long the kernel may take to load a module.
const LOAD_MAX: Duration = Duration::from_secs(10);
/// How long it may take to end a device.
const DISCONNECT_MAX: Duration = Duration::from_secs(20);

/// Whether this host has the driver; loads it if it can.
pub async fn is_there() -> bool {
    if !Path::new("/sys/module/nbd").exists() {
        // Where there are no modules this says so, and nothing is lost.
        let loaded = tool::run("modprobe", ["nbd"], LOAD_MAX).await;
        tracing::debug!("modprobe nbd: {loaded:?}");
    }
    blocking(|| Ok(netlink::is_there())).await.unwrap_or(false)
}

/// Makes a device as large as its volume has become.
///
/// # Errors
/// The kernel refuses.
pub async fn resize(device: Device, backend: &str, size_bytes: u64) -> io::Result<()> {
    let wish = netlink::Reconfigure { index: device.0, backend: backend.to_owned(), size_bytes: Some(size_bytes) };
    blocking(move || netlink::reconfigure(&wish, None)).await
}

/// Ends a device, if it is still the one that was made with this identifier.
///
/// # Errors
/// The kernel refuses, or does not come to an end.
pub async fn disconnect(backend: &str) -> io::Result<()> {
    let backend = backend.to_owned();
    let ended = blocking(move || match Device::of_backend(&backend)? {
        Some(device) => netlink::disconnect(device.0),
        None => Ok(()),
    });
    tokio::time::timeout(DISCONNECT_MAX, ended).await.unwrap_or(Err(io::ErrorKind::TimedOut.into()))
}
