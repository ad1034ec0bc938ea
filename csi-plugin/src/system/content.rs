//! What is on a device, before anybody formats or mounts it.
//!
//! Blank is only what blkid finds no signature on, of whatever kind, and what reads as zeros at both ends: a volume that
//! was never written does. Whatever is not clearly blank, our own beginning, or clearly one filesystem is left alone.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::filesystem::Filesystem;
use super::mark::{MARK_BYTES, is_mark, mark_at, on_device};
use super::program::{self, ProgramFault};

/// How long a look may take: it reads a few hundred KiB.
const LOOK_MAX: Duration = Duration::from_secs(60);
/// What must be zero at both ends.
const HEAD_BYTES: usize = 1 << 20;
const TAIL_BYTES: usize = 512 << 10;
/// Where xfs says that mkfs.xfs is under way, and its signature.
const XFS_UNFINISHED_AT: usize = 126;
const XFS_SIGNATURE: &[u8] = b"XFSB";

/// What is on a device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Content {
    /// Nothing, ever.
    Blank,
    /// What a formatter began and did not finish: it was never mounted, and holds nothing.
    Unfinished,
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
        0 => whole(&found.printed, edges.unfinished_xfs).map_err(foreign),
        // This also stands for "could not read", about which it may say something. We could.
        2 if found.printed.is_empty() && found.said.is_empty() => match (edges.marked, edges.zero) {
            (true, _) => Ok(Content::Unfinished),
            (false, true) => Ok(Content::Blank),
            (false, false) => Err(foreign("data without a signature".to_owned())),
        },
        8 => Err(foreign("signatures of several kinds".to_owned())),
        _ => Err(found.refused("blkid").into()),
    }
}

/// What blkid has found, as KEY=value lines.
fn whole(printed: &str, unfinished_xfs: bool) -> Result<Content, String> {
    let value = |key: &str| printed.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    let (kind, usage) = (value("TYPE"), value("USAGE"));
    let filesystem = kind.filter(|kind| !kind.is_empty()).and_then(Filesystem::named);
    match (filesystem, usage, value("PTTYPE")) {
        (Some(Filesystem::Xfs), Some("filesystem"), None) if unfinished_xfs => Ok(Content::Unfinished),
        (Some(filesystem), Some("filesystem"), None) => {
            Ok(Content::Whole(filesystem, value("UUID").unwrap_or_default().to_owned()))
        }
        (_, _, Some(table)) => Err(format!("a partition table ({table})")),
        (_, _, None) => Err(kind.map_or_else(|| "an unknown signature".to_owned(), |kind| format!("\"{kind}\""))),
    }
}

/// What there is to see at both ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Edges {
    /// Nothing but zeros.
    zero: bool,
    /// Our mark.
    marked: bool,
    /// An xfs whose maker has not ended.
    unfinished_xfs: bool,
}

async fn edges(device: &Path) -> Result<Edges, ContentFault> {
    let path = device.to_owned();
    let read = on_device(move || read_edges(&path)).await;
    read.map_err(|source| ContentFault::Unreadable { device: device.to_owned(), source })
}

fn read_edges(device: &Path) -> io::Result<Edges> {
    let file = File::open(device)?;
    let size_bytes = rustix::fs::seek(&file, rustix::fs::SeekFrom::End(0))?;
    let (mut head, mut tail, mut mark) = (vec![0; HEAD_BYTES], vec![0; TAIL_BYTES], vec![0; MARK_BYTES]);
    // Nobody makes a volume that is smaller; should one come, it cannot be read so, and is left alone.
    file.read_exact_at(&mut head, 0)?;
    file.read_exact_at(&mut tail, size_bytes.saturating_sub(TAIL_BYTES as u64))?;
    file.read_exact_at(&mut mark, mark_at(size_bytes))?;
    Ok(Edges {
        zero: head.iter().chain(&tail).all(|byte| *byte == 0),
        marked: is_mark(&mark),
        unfinished_xfs: is_unfinished_xfs(&head),
    })
}

fn is_unfinished_xfs(head: &[u8]) -> bool {
    head.starts_with(XFS_SIGNATURE) && head.get(XFS_UNFINISHED_AT) == Some(&1)
}

#[cfg(test)]
mod tests {
    use super::{Content, Filesystem, is_unfinished_xfs, whole};

    #[test]
    fn only_what_is_clearly_a_filesystem_is_one() {
        let export = |lines: &[&str]| whole(&lines.join("\n"), false);
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
        assert_eq!(whole(lines, false), Ok(Content::Whole(Filesystem::Xfs, "7".into())));
        assert_eq!(whole(lines, true), Ok(Content::Unfinished));
        let mut head = vec![0; 512];
        head[126] = 1;
        assert!(!is_unfinished_xfs(&head) && !is_unfinished_xfs(b"XFSB"));
        head[..4].copy_from_slice(b"XFSB");
        assert!(is_unfinished_xfs(&head));
    }
}
