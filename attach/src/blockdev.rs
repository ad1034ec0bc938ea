//! Questions to any block device.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};

use crate::tool::{self, ToolFault};

/// Who uses a device, as far as the kernel tells.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Use {
    /// Nobody.
    Free,
    /// A filesystem on it is mounted here.
    Mounted(String),
    /// Something else holds it: another mount namespace, device mapper, swap.
    Held,
}

impl std::fmt::Display for Use {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Free => f.write_str("not in use"),
            Self::Mounted(place) => write!(f, "mounted at {place}"),
            Self::Held => f.write_str("held by another program, a mount elsewhere, or device mapper"),
        }
    }
}

/// Who uses the device.
///
/// # Errors
/// It cannot be looked at.
pub fn usage(device: &Path) -> io::Result<Use> {
    if let Some(place) = mounted_at(device)? {
        return Ok(Use::Mounted(place));
    }
    match rustix::fs::open(device, OFlags::RDONLY | OFlags::EXCL | OFlags::CLOEXEC, Mode::empty()) {
        Ok(_) => Ok(Use::Free),
        Err(rustix::io::Errno::BUSY) => Ok(Use::Held),
        Err(error) => Err(error.into()),
    }
}

/// Where the device or a partition of it is mounted, by /proc/self/mountinfo.
fn mounted_at(device: &Path) -> io::Result<Option<String>> {
    let Some(name) = device.file_name().and_then(|name| name.to_str()) else { return Ok(None) };
    let mut numbers: Vec<String> = Vec::new();
    for folder in [PathBuf::from("/sys/block").join(name)].into_iter().chain(partitions(name)) {
        numbers.extend(fs::read_to_string(folder.join("dev")).map(|number| number.trim().to_owned()));
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let place = mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(2);
        let number = fields.next()?;
        numbers.iter().any(|one| one == number).then(|| fields.nth(1).unwrap_or_default().to_owned())
    });
    Ok(place)
}

fn partitions(name: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(Path::new("/sys/block").join(name)) else { return Vec::new() };
    entries.flatten().map(|entry| entry.path()).filter(|path| path.join("partition").exists()).collect()
}

/// The device's size.
///
/// # Errors
/// There is no such device.
pub fn size_bytes(device: &Path) -> io::Result<u64> {
    let name = device.file_name().ok_or(io::ErrorKind::NotFound)?;
    let sectors = fs::read_to_string(Path::new("/sys/block").join(name).join("size"))?;
    // Always in units of 512, whatever the device's sectors are.
    sectors.trim().parse::<u64>().map(|sectors| sectors * 512).map_err(io::Error::other)
}

/// Has everything written that waits, and made stable.
///
/// # Errors
/// It failed, or did not end in time.
pub async fn flush(device: &Path, limit: Duration) -> Result<(), ToolFault> {
    // A program of its own, so that a device that does not answer takes that program and not this one.
    tool::run("sync", [device], limit).await.map(drop)
}
