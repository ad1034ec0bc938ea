//! A mounted filesystem becomes as large as its device.

use std::path::Path;
use std::time::Duration;

use super::filesystem::Filesystem;
use super::program::{self, ProgramFault};

/// How long it may take: what is added is written to.
const GROW_MAX: Duration = Duration::from_secs(600);

/// Grows the filesystem of a device, mounted for writing at a place. One that is as large already is fine.
///
/// # Errors
/// The filesystem's program refuses.
pub async fn grow(device: &Path, place: &Path, filesystem: Filesystem) -> Result<(), ProgramFault> {
    let grown = match filesystem {
        Filesystem::Ext4 => program::succeed("resize2fs", [device], GROW_MAX).await,
        Filesystem::Xfs => program::succeed("xfs_growfs", [Path::new("-d"), place], GROW_MAX).await,
        Filesystem::Btrfs => {
            let arguments = ["filesystem", "resize", "max"].map(Path::new);
            program::succeed("btrfs", arguments.into_iter().chain([place]), GROW_MAX).await
        }
    };
    grown.map(drop)
}
