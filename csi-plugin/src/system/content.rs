//! What is on a device, before anybody formats or mounts it.
//!
//! Blank is only what blkid finds no signature on, of whatever kind, and what reads as zeros at both ends: a volume that
//! was never written does. Whatever is not clearly blank or clearly one filesystem is left alone.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::filesystem::Filesystem;
use super::program::{self, ProgramFault};

/// How long a look may take: it reads a few hundred KiB.
const LOOK_MAX: Duration = Duration::from_secs(60);
/// What must be zero at both ends. Interrupted runs of our mkfs programs leave it so, or leave a mark: their first block
/// is written last. Ours have blocks of 4 KiB.
const HEAD_BYTES: usize = 4 << 10;
const TAIL_BYTES: usize = 64 << 10;
/// Where xfs says that mkfs.xfs is under way, and its signature.
const XFS_UNFINISHED_AT: usize = 126;
const XFS_SIGNATURE: &[u8] = b"XFSB";

/// What is on a device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Content {
    /// Nothing, ever.
    Blank,
    /// A filesystem that its maker did not finish: it was never mounted, and holds nothing.
    Unfinished(Filesystem),
    /// A filesystem, and how blkid has its UUID.
    Whole(Filesystem, String),
}

/// Why it is not known what is on a device, or is nothing that we use.
#[derive(Debug, thiserror::Error)]
pub enum ContentFault {
    /// blkid.
    #[error(transparent)]
    Program(#[from] ProgramFault),
    /// It cannot be read.
    #[error("cannot read {}: {source}", device.display())]
    Unreadable {
        /// The device.
        device: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is in nobody's way to be lost.
    #[error(
        "{} holds {found}, which is neither a filesystem that volumes get nor nothing: it is not formatted. Wipe it \
         (wipefs -a, and zeros at both ends) if nobody needs it",
        device.display()
    )]
    Foreign {
        /// The device.
        device: PathBuf,
        /// What.
        found: String,
    },
}

/// Looks at a device that nobody has mounted.
///
/// # Errors
/// See [`ContentFault`]; nothing was changed.
pub async fn look(device: &Path) -> Result<Content, ContentFault> {
    let foreign = |found: String| ContentFault::Foreign { device: device.to_owned(), found };
    let edges = edges(device).await?;
    // Low-level probing reads the device; a cache would tell what was there once.
    let arguments = ["-p", "-o", "export"].map(Path::new);
    let found = program::run("blkid", arguments.into_iter().chain([device]), LOOK_MAX).await?;
    match found.code {
        0 => whole(&found.printed, &edges).map_err(foreign),
        // This also stands for "could not read", about which it may say something. We could.
        2 if found.printed.is_empty() && found.said.is_empty() => match edges.iter().all(|byte| *byte == 0) {
            true => Ok(Content::Blank),
            false => Err(foreign("data without a signature".to_owned())),
        },
        8 => Err(foreign("signatures of several kinds".to_owned())),
        _ => Err(found.refused("blkid").into()),
    }
}

/// What blkid has found, as KEY=value lines.
fn whole(printed: &str, edges: &[u8]) -> Result<Content, String> {
    let value = |key: &str| printed.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    let (kind, usage) = (value("TYPE"), value("USAGE"));
    let filesystem = kind.filter(|kind| !kind.is_empty()).and_then(Filesystem::named);
    match (filesystem, usage, value("PTTYPE")) {
        (Some(Filesystem::Xfs), Some("filesystem"), None) if is_unfinished(edges) => {
            Ok(Content::Unfinished(Filesystem::Xfs))
        }
        (Some(filesystem), Some("filesystem"), None) => {
            Ok(Content::Whole(filesystem, value("UUID").unwrap_or_default().to_owned()))
        }
        (_, _, Some(table)) => Err(format!("a partition table ({table})")),
        (_, _, None) => Err(kind.map_or_else(|| "an unknown signature".to_owned(), |kind| format!("\"{kind}\""))),
    }
}

fn is_unfinished(edges: &[u8]) -> bool {
    edges.starts_with(XFS_SIGNATURE) && edges.get(XFS_UNFINISHED_AT) == Some(&1)
}

/// Both ends, the first one first.
async fn edges(device: &Path) -> Result<Vec<u8>, ContentFault> {
    let path = device.to_owned();
    let read = timeout(LOOK_MAX, spawn_blocking(move || read_edges(&path))).await;
    let read = match read {
        Ok(Ok(read)) => read,
        Ok(Err(panicked)) => Err(io::Error::other(panicked)),
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    };
    read.map_err(|source| ContentFault::Unreadable { device: device.to_owned(), source })
}

fn read_edges(device: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(device)?;
    let size_bytes = rustix::fs::seek(&file, rustix::fs::SeekFrom::End(0))?;
    let mut edges = vec![0; HEAD_BYTES + TAIL_BYTES];
    let (head, tail) = edges.split_at_mut(HEAD_BYTES);
    // Nobody makes a volume that small; should one come, it cannot be read so, and is left alone.
    file.read_exact_at(head, 0)?;
    file.read_exact_at(tail, size_bytes.saturating_sub(TAIL_BYTES as u64))?;
    Ok(edges)
}

#[cfg(test)]
mod tests {
    use super::{Content, Filesystem, whole};

    #[test]
    fn only_what_is_clearly_a_filesystem_is_one() {
        let export = |lines: &[&str]| whole(&lines.join("\n"), &[]);
        let ext4 = export(&["DEVNAME=/dev/loop0", "UUID=1-2", "TYPE=ext4", "USAGE=filesystem"]);
        assert_eq!(ext4, Ok(Content::Whole(Filesystem::Ext4, "1-2".to_owned())));
        assert_eq!(export(&["TYPE=ext4", "USAGE=filesystem", "PTTYPE=dos"]), Err("a partition table (dos)".into()));
        assert_eq!(export(&["PTUUID=1", "PTTYPE=gpt"]), Err("a partition table (gpt)".into()));
        for other in ["LVM2_member", "crypto_LUKS", "linux_raid_member", "swap", "vfat", "ext3"] {
            let line = format!("TYPE={other}");
            assert_eq!(export(&[&line, "USAGE=filesystem"]), Err(format!("{other:?}")));
        }
        assert_eq!(export(&["TYPE=ext4", "USAGE=other"]), Err("\"ext4\"".into()));
        assert_eq!(export(&["TYPE=", "USAGE=filesystem"]), Err("\"\"".into()), "an empty name is no default here");
        assert_eq!(export(&["UUID=5"]), Err("an unknown signature".into()));
    }

    #[test]
    fn an_xfs_whose_maker_was_killed_is_unfinished() {
        let lines = "TYPE=xfs\nUSAGE=filesystem\nUUID=7";
        let mut edges = vec![0; 512];
        edges[..4].copy_from_slice(b"XFSB");
        assert_eq!(whole(lines, &edges), Ok(Content::Whole(Filesystem::Xfs, "7".into())));
        edges[126] = 1;
        assert_eq!(whole(lines, &edges), Ok(Content::Unfinished(Filesystem::Xfs)));
    }
}
