//! What is mounted where, as the kernel tells in /proc/self/mountinfo.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// One mount.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mount {
    /// What of which filesystem it shows.
    pub origin: Origin,
    /// Where.
    pub point: PathBuf,
    /// Whether nothing can be written through it.
    pub read_only: bool,
    /// The filesystem's type.
    pub filesystem: String,
    /// What was mounted: a device, or a word.
    pub source: PathBuf,
    /// Whether nothing can be written to the filesystem, through whatever mount.
    pub filesystem_read_only: bool,
}

/// A part of a filesystem; mounts that show the same have the same one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Origin {
    /// The filesystem's device, as MAJOR:MINOR.
    pub device: String,
    /// The part.
    pub root: PathBuf,
}

/// All mounts, in the order in which they were made.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct MountTable(Vec<Mount>);

impl MountTable {
    /// As it is now.
    ///
    /// # Errors
    /// /proc is not there.
    pub fn read() -> io::Result<Self> {
        Ok(Self::parse(&fs::read_to_string("/proc/self/mountinfo")?))
    }

    fn parse(text: &str) -> Self {
        Self(text.lines().filter_map(Mount::parse).collect())
    }

    /// What is seen at a place that something is mounted at: the last of them hides the others.
    #[must_use]
    pub fn at(&self, point: &Path) -> Option<&Mount> {
        self.0.iter().rfind(|mount| mount.point == point)
    }

    /// Mounts that lie at or below a path.
    pub fn below<'a>(&'a self, path: &'a Path) -> impl Iterator<Item = &'a Mount> {
        self.0.iter().filter(move |mount| mount.point.starts_with(path))
    }

    /// What a path shows, which must be free of links.
    #[must_use]
    pub fn origin(&self, path: &Path) -> Option<Origin> {
        let longest = |mount: &&Mount| mount.point.as_os_str().len();
        let mount = self.0.iter().filter(|mount| path.starts_with(&mount.point)).max_by_key(longest)?;
        let rest = path.strip_prefix(&mount.point).ok()?;
        // Joining nothing would add a slash.
        let within = if rest.as_os_str().is_empty() { PathBuf::new() } else { rest.to_owned() };
        let root =
            if within.as_os_str().is_empty() { mount.origin.root.clone() } else { mount.origin.root.join(within) };
        Some(Origin { device: mount.origin.device.clone(), root })
    }

    /// All mounts that show this.
    pub fn showing<'a>(&'a self, origin: &'a Origin) -> impl Iterator<Item = &'a Mount> {
        self.0.iter().filter(move |mount| mount.origin == *origin)
    }

    /// All mounts of a device's filesystem.
    pub fn of_device<'a>(&'a self, device: &'a Path) -> impl Iterator<Item = &'a Mount> {
        self.0.iter().filter(move |mount| mount.source == device && mount.filesystem != "devtmpfs")
    }
}

impl Mount {
    /// `36 35 98:0 /root /point rw,noatime master:1 - ext4 /dev/sda rw,errors=continue`
    fn parse(line: &str) -> Option<Self> {
        let (first, second) = line.split_once(" - ")?;
        let mut first = first.split(' ').skip(2);
        let (device, root, point, options) = (first.next()?, first.next()?, first.next()?, first.next()?);
        let mut second = second.split(' ');
        let (filesystem, source, super_options) = (second.next()?, second.next()?, second.next()?);
        Some(Self {
            origin: Origin { device: device.to_owned(), root: unescaped(root) },
            point: unescaped(point),
            read_only: is_read_only(options),
            filesystem: filesystem.to_owned(),
            source: unescaped(source),
            filesystem_read_only: is_read_only(super_options),
        })
    }
}

fn is_read_only(options: &str) -> bool {
    // `emergency_ro` is how a filesystem says that it stopped after an error.
    options.split(',').any(|option| matches!(option, "ro" | "emergency_ro" | "shutdown"))
}

/// The kernel writes blanks and backslashes as \OOO.
fn unescaped(text: &str) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = after.get(..3).filter(|_| *first == b'\\');
        let code = code.and_then(|code| std::str::from_utf8(code).ok());
        match code.and_then(|code| u8::from_str_radix(code, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[3..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    PathBuf::from(std::ffi::OsString::from_vec(bytes))
}

/// The path as the kernel has it: without links, but for the last part, which need not be there and may not answer.
///
/// # Errors
/// The folder it lies in is not there.
pub fn resolved(path: &Path) -> io::Result<PathBuf> {
    match (path.parent(), path.file_name()) {
        (Some(folder), Some(name)) => Ok(fs::canonicalize(folder)?.join(name)),
        _ => fs::canonicalize(path),
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::{MountTable, Origin, unescaped};

    const TABLE: &str = "\
22 1 0:5 / /dev rw,nosuid - devtmpfs udev rw,size=1k
30 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,errors=remount-ro
40 30 7:0 / /staging/one rw shared:2 - ext4 /dev/loop0 ro
41 30 7:0 / /pods/a\\040b/mount ro - ext4 /dev/loop0 ro
42 30 0:5 /loop1 /pods/c/device rw - devtmpfs udev rw
43 30 8:1 /var/x /bound rw - ext4 /dev/sda1 rw
44 30 7:3 / /bound rw - xfs /dev/loop3 rw,attr2
garbage
";

    fn origin(device: &str, root: &str) -> Origin {
        Origin { device: device.to_owned(), root: PathBuf::from(root) }
    }

    #[test]
    fn mounts_of_one_volume_are_found_by_what_they_show() {
        let table = MountTable::parse(TABLE);
        let staged = table.origin(Path::new("/staging/one")).unwrap();
        assert_eq!(staged, origin("7:0", "/"));
        let points: Vec<_> = table.showing(&staged).map(|mount| mount.point.clone()).collect();
        assert_eq!(points, [Path::new("/staging/one"), Path::new("/pods/a b/mount")]);
        let copy = table.at(Path::new("/pods/a b/mount")).unwrap();
        assert!(copy.read_only && copy.filesystem_read_only);
        assert!(!table.at(Path::new("/staging/one")).unwrap().read_only, "only the filesystem is");
    }

    #[test]
    fn a_device_file_is_a_part_of_the_filesystem_of_devices() {
        let table = MountTable::parse(TABLE);
        let device = table.origin(Path::new("/dev/loop1")).unwrap();
        assert_eq!(device, origin("0:5", "/loop1"));
        assert_eq!(table.showing(&device).count(), 1);
        assert_eq!(table.of_device(Path::new("/dev/loop0")).count(), 2);
        assert_eq!(table.of_device(Path::new("/dev/loop1")).count(), 0);
    }

    #[test]
    fn what_was_mounted_last_hides_the_rest() {
        let table = MountTable::parse(TABLE);
        assert_eq!(table.at(Path::new("/bound")).unwrap().filesystem, "xfs");
        assert_eq!(table.origin(Path::new("/bound/x")).unwrap(), origin("7:3", "/x"));
        assert_eq!(table.origin(Path::new("/bounded")).unwrap(), origin("8:1", "/bounded"));
        assert!(table.at(Path::new("/pods")).is_none());
        assert_eq!(table.below(Path::new("/pods")).count(), 2);
    }

    #[test]
    fn escapes_are_bytes() {
        assert_eq!(unescaped("a\\040b\\134c\\0"), Path::new("a b\\c\\0"));
    }

    #[test]
    fn the_table_of_this_host_has_a_root() {
        assert!(MountTable::read().unwrap().at(Path::new("/")).is_some());
    }
}
