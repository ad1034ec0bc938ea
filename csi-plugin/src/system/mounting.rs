//! Mounts made and undone.
//!
//! By the programs mount and umount, not by calls of our own: they know every option by its name, and when a device does
//! not answer it takes them and not us.

use std::io;
use std::path::Path;
use std::time::Duration;

use super::filesystem::Filesystem;
use super::mounts::MountTable;
use super::program::{self, ProgramFault};

/// How long a mount may take: the journal is replayed.
const MOUNT_MAX: Duration = Duration::from_secs(300);
/// How long an unmount may take: all that waits is written.
const UNMOUNT_MAX: Duration = Duration::from_secs(300);
/// Mounts at one place, at most; more are not of our making.
const LAYERS_MAX: usize = 16;
const FLAGS_MAX: usize = 64;
const FLAG_BYTES_MAX: usize = 256;
/// Options that make another thing than the mount of a device's filesystem.
const FLAGS_REFUSED: [&str; 13] = [
    "bind",
    "rbind",
    "move",
    "remount",
    "loop",
    "offset",
    "sizelimit",
    "shared",
    "rshared",
    "private",
    "rprivate",
    "slave",
    "rslave",
];

/// How a filesystem is to be mounted.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// Which.
    pub filesystem: Filesystem,
    /// For reading only.
    pub read_only: bool,
    /// Options, each as one word.
    pub flags: &'a [String],
}

/// Why something is not mounted, or still is.
#[derive(Debug, thiserror::Error)]
pub enum MountFault {
    /// mount or umount.
    #[error(transparent)]
    Program(#[from] ProgramFault),
    /// The kernel's table.
    #[error("cannot read what is mounted: {0}")]
    Table(#[from] io::Error),
    /// An option that is not for volumes.
    #[error("the mount option {0:?} is not allowed for a volume")]
    Flag(String),
    /// More than any of us mounts.
    #[error("{0} mounts at one place; that is not of our making, unmount them by hand")]
    Layers(usize),
}

/// Refuses options that would do something else than mount the volume; each may be several with commas between.
///
/// # Errors
/// [`MountFault::Flag`].
pub fn check_flags(flags: &[String]) -> Result<(), MountFault> {
    let all = || flags.iter().flat_map(|flag| flag.split(','));
    let refused = |flag: &&str| {
        let name = flag.split('=').next().unwrap_or_default().to_lowercase();
        let odd = flag.is_empty() || flag.len() > FLAG_BYTES_MAX || flag.bytes().any(|byte| byte.is_ascii_control());
        odd || FLAGS_REFUSED.contains(&name.as_str()) || name.starts_with("x-") || name == "helper"
    };
    if flags.len() > FLAGS_MAX {
        return Err(MountFault::Flag(format!("{} of them", flags.len())));
    }
    match all().find(refused) {
        Some(flag) => Err(MountFault::Flag(flag.chars().take(FLAG_BYTES_MAX).collect())),
        None => Ok(()),
    }
}

/// Mounts the filesystem on a device.
///
/// # Errors
/// See [`MountFault`].
pub async fn mount(device: &Path, place: &Path, wish: Wish<'_>) -> Result<(), MountFault> {
    check_flags(wish.flags)?;
    let options = options(wish);
    let kind = wish.filesystem.name();
    let arguments = ["-t", kind, "-o", &options].map(Path::new);
    let arguments: Vec<&Path> = arguments.into_iter().chain([device, place]).collect();
    program::insist("mount", &arguments, MOUNT_MAX).await?;
    Ok(())
}

fn options(wish: Wish<'_>) -> String {
    let first = if wish.read_only { "ro" } else { "rw" };
    let own = match wish.filesystem {
        // A clone has the identity of its source, and both may be here.
        Filesystem::Xfs => Some("nouuid"),
        Filesystem::Ext4 | Filesystem::Btrfs => None,
    };
    // What decides whether it may be written is the wish, whatever the options say.
    let flags = wish.flags.iter().flat_map(|flag| flag.split(',')).filter(|flag| !matches!(*flag, "rw" | "nouuid"));
    own.into_iter().chain(flags).fold(first.to_owned(), |all, flag| all + "," + flag)
}

/// Shows at another place what a path shows: a folder on a folder, a device file on a file.
///
/// # Errors
/// See [`MountFault`].
pub async fn bind(source: &Path, place: &Path, read_only: bool) -> Result<(), MountFault> {
    // Both steps of a read-only one are the program's; nobody is told of the place before it has ended.
    let options = if read_only { "bind,ro" } else { "bind" };
    let arguments = ["-o", options].map(Path::new);
    program::succeed("mount", arguments.into_iter().chain([source, place]), MOUNT_MAX).await?;
    Ok(())
}

/// Takes away what is mounted at a place, all layers of it. A place without any is fine. Nothing is unmounted lazily:
/// a filesystem that is in use stays, and the caller hears that.
///
/// # Errors
/// See [`MountFault`].
pub async fn unmount(place: &Path) -> Result<(), MountFault> {
    for _ in 0..LAYERS_MAX {
        if MountTable::read()?.at(place).is_none() {
            return Ok(());
        }
        program::succeed("umount", [place], UNMOUNT_MAX).await?;
    }
    match MountTable::read()?.at(place) {
        None => Ok(()),
        Some(_) => Err(MountFault::Layers(LAYERS_MAX)),
    }
}

#[cfg(test)]
mod tests {
    use super::{Filesystem, Wish, check_flags, options};

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn options_that_do_something_else_are_refused() {
        assert!(check_flags(&words(&["noatime", "discard,nodev", "errors=remount-ro", "rw", "subvol=a"])).is_ok());
        for bad in ["bind", "noatime,remount", "loop=/dev/loop1", "X-mount.mkdir", "", "a\nb", "noatime,", "Helper=x"] {
            assert!(check_flags(&words(&[bad])).is_err(), "{bad:?}");
        }
        assert!(check_flags(&words(&["x"; 65])).is_err());
    }

    #[test]
    fn whether_it_may_be_written_is_not_an_option() {
        let flags = words(&["noatime,rw", "discard"]);
        let of = |filesystem, read_only| options(Wish { filesystem, read_only, flags: &flags });
        assert_eq!(of(Filesystem::Ext4, true), "ro,noatime,discard");
        assert_eq!(of(Filesystem::Ext4, false), "rw,noatime,discard");
        assert_eq!(of(Filesystem::Xfs, false), "rw,nouuid,noatime,discard");
        assert_eq!(of(Filesystem::Btrfs, true), "ro,noatime,discard");
    }
}
