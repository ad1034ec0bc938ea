//! Two filesystems with one identity: a clone beside its source.
//!
//! ext4 does not mind. xfs refuses the second, unless it is told not to compare (`nouuid`, which [`super::mount`] always
//! says). btrfs takes devices of one identity for parts of one filesystem; from Linux 6.7 on it gives the second mount an
//! identity of its own, before that it must not see the second.

use std::fs;
use std::path::{Path, PathBuf};

use super::filesystem::Filesystem;

/// Where btrfs tells of itself.
const SYSTEM: &str = "/sys/fs/btrfs";

/// The second of two.
#[derive(Debug, thiserror::Error)]
#[error(
    "{} is a copy of the btrfs {uuid} that is mounted here from {other}, and this kernel (before 6.7) would mix them up: \
     use it on another node, or give it an identity of its own there (btrfstune -m)",
    device.display()
)]
pub struct TwinFault {
    /// The device that is not mounted.
    pub device: PathBuf,
    /// Whose identity it has.
    pub uuid: String,
    /// Which device is mounted.
    pub other: String,
}

/// Refuses what the kernel would take for something else.
///
/// # Errors
/// See [`TwinFault`].
pub fn refuse_twin(device: &Path, filesystem: Filesystem, uuid: &str) -> Result<(), TwinFault> {
    match filesystem {
        Filesystem::Ext4 | Filesystem::Xfs => Ok(()),
        Filesystem::Btrfs => refuse(Path::new(SYSTEM), device, uuid),
    }
}

fn refuse(system: &Path, device: &Path, uuid: &str) -> Result<(), TwinFault> {
    if uuid.is_empty() || system.join("features/temp_fsid").exists() {
        return Ok(());
    }
    let Ok(entries) = fs::read_dir(system.join(uuid).join("devices")) else { return Ok(()) };
    let other = entries.flatten().map(|entry| entry.file_name()).find(|name| device.file_name() != Some(name));
    match other {
        None => Ok(()),
        Some(other) => Err(TwinFault {
            device: device.to_owned(),
            uuid: uuid.to_owned(),
            other: other.to_string_lossy().into_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::refuse;

    #[test]
    fn an_old_kernel_is_not_shown_two_of_one_identity() {
        let system = tempfile::tempdir().unwrap();
        let devices = system.path().join("5-5/devices");
        fs::create_dir_all(&devices).unwrap();
        fs::write(devices.join("loop1"), "").unwrap();
        let refuse = |device: &str, uuid: &str| refuse(system.path(), Path::new(device), uuid);
        assert!(refuse("/dev/loop1", "5-5").is_ok(), "it is the one that is mounted");
        assert!(refuse("/dev/loop2", "6-6").is_ok());
        assert!(refuse("/dev/loop2", "5-5").unwrap_err().to_string().contains("from loop1"));
        fs::create_dir_all(system.path().join("features/temp_fsid")).unwrap();
        assert!(refuse("/dev/loop2", "5-5").is_ok(), "a new kernel tells them apart");
    }
}
