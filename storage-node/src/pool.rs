//! Opening a pool: a file or a block device that belongs to nobody else, of the size that was asked for, locked before
//! its first byte is read, and never overwritten when it holds something that is not ours.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use block::PAGE_BYTES;
use bytesize::ByteSize;
use rustix::fs::{AtFlags, FallocateFlags, OFlags, StatxFlags};
use rustix::io::Errno;
use store::{Geometry, SEGMENT_PAGES, SEGMENTS_MIN};

use crate::lock::{self, Held, Mode};

/// What of a file system is left alone by a pool that takes what there is.
const SPARED_BYTES: u64 = 1 << 30;
/// Sizes of new pool files are multiples of this.
const SIZE_UNIT: u64 = 1 << 20;

/// Which pool to open.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PoolConfig {
    /// A file, which is made when it is missing, or a block device.
    pub path: PathBuf,
    /// Its size.
    pub size: PoolSize,
    /// How long to wait for another process, or what is left of one, to let go of it.
    pub wait_max: Duration,
}

/// The size a pool is to have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PoolSize {
    /// This one, whether it is there already or made now.
    Exactly(u64),
    /// The one it has; a new file gets this, or less when its file system has less.
    Found {
        /// Largest size of a new file.
        new_bytes_max: u64,
    },
}

/// Why a pool was not opened. Nothing was written to it.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// A call failed.
    #[error("pool {path}: cannot {doing}: {source}")]
    Io {
        /// Which pool.
        path: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// Its directory does not exist.
    #[error("pool {path}: its directory does not exist; make it first")]
    NoDirectory {
        /// Which pool.
        path: PathBuf,
    },
    /// Neither a file nor a block device.
    #[error("pool {path}: a file or a block device is needed, and this is a {kind}")]
    WrongKind {
        /// Which pool.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
    },
    /// A device that is mounted.
    #[error("pool {path}: the device is mounted at {mount_point}; unmount it, or take another one")]
    Mounted {
        /// Which pool.
        path: PathBuf,
        /// Where it is mounted.
        mount_point: String,
    },
    /// A device that somebody else has claimed.
    #[error(
        "pool {path}: the device is in use, by another process or as part of a RAID, LVM or device-mapper set; release it"
    )]
    DeviceInUse {
        /// Which pool.
        path: PathBuf,
    },
    /// Another process has it.
    #[error("pool {path}: {} holds its lock; stop it, or give it longer", holder.as_deref().unwrap_or("another process"))]
    Locked {
        /// Which pool.
        path: PathBuf,
        /// Who.
        holder: Option<String>,
    },
    /// The size differs.
    #[error(
        "pool {path} has {} and {} were asked for: leave the size out to use it as it is; a pool is not resized by this", Size(*found_bytes), Size(*asked_bytes)
    )]
    SizeDiffers {
        /// Which pool.
        path: PathBuf,
        /// Its size.
        found_bytes: u64,
        /// The size asked for.
        asked_bytes: u64,
    },
    /// Too small to be of use.
    #[error("pool {path}: {} are too small for a pool; give it at least {}", Size(*found_bytes), Size(*needed_bytes))]
    TooSmall {
        /// Which pool.
        path: PathBuf,
        /// What it has, or was to have.
        found_bytes: u64,
        /// The least there is.
        needed_bytes: u64,
    },
    /// The file system is too full.
    #[error(
        "pool {path}: {} were asked for, and its file system has {} left; ask for less, or make room", Size(*asked_bytes), Size(*available_bytes)
    )]
    NoSpace {
        /// Which pool.
        path: PathBuf,
        /// The size asked for.
        asked_bytes: u64,
        /// What is left.
        available_bytes: u64,
    },
    /// Direct I/O in units we do not write.
    #[error(
        "pool {path}: direct I/O there needs an alignment of {needs_bytes} bytes, Plinth aligns to 4096: use a device with blocks of 512 or 4096 bytes"
    )]
    Alignment {
        /// Which pool.
        path: PathBuf,
        /// What it needs.
        needs_bytes: u32,
    },
}

/// A size in words: exact, and readable when it is large.
struct Size(u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0)?;
        if self.0 >= SIZE_UNIT {
            write!(f, " ({})", ByteSize::b(self.0).display().iec())?;
        }
        Ok(())
    }
}

/// An open pool, locked until it is dropped.
#[derive(Debug)]
pub struct Pool {
    /// For direct I/O in units of 4096 bytes.
    pub(crate) file: File,
    /// Where it is.
    pub path: PathBuf,
    /// Its size.
    pub size_bytes: u64,
    /// Whether it reads as zeroes because it was just made.
    pub is_new: bool,
    /// Whether it is a block device.
    pub is_device: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Missing,
    File,
    Device,
}

impl Pool {
    /// Opens or makes a pool to serve it.
    ///
    /// # Errors
    /// In words, see [`PoolError`].
    pub fn open(config: &PoolConfig) -> Result<Self, PoolError> {
        let path = config.path.as_path();
        let kind = kind_of(path)?;
        if let PoolSize::Exactly(bytes) = config.size {
            check_size(path, bytes)?;
        }
        let file = lock::patiently(path, config.wait_max, Mode::Exclusive, || open_file(path, kind, true))?;
        let mut pool = Self::of(file, path, kind)?;
        if pool.size_bytes == 0 && !pool.is_device {
            pool.allocate(new_size(path, config.size)?)?;
        }
        match config.size {
            PoolSize::Exactly(bytes) if pool.size_bytes != bytes && pool.size_bytes != round_down(bytes) => {
                let found_bytes = pool.size_bytes;
                Err(PoolError::SizeDiffers { path: path.to_owned(), found_bytes, asked_bytes: bytes })
            }
            PoolSize::Exactly(_) | PoolSize::Found { .. } => {
                check_size(path, pool.size_bytes)?;
                Ok(pool)
            }
        }
    }

    /// Opens a pool that nobody serves, to look at it.
    ///
    /// # Errors
    /// In words, see [`PoolError`].
    pub fn open_to_read(path: &Path) -> Result<Self, PoolError> {
        let kind = match kind_of(path)? {
            Kind::Missing => return Err(failed(path, "open it")(Errno::NOENT.into())),
            found => found,
        };
        let file = lock::patiently(path, Duration::ZERO, Mode::Shared, || open_file(path, kind, false))?;
        Self::of(file, path, kind)
    }

    fn of(mut file: File, path: &Path, kind: Kind) -> Result<Self, PoolError> {
        // A block device has no length in its metadata.
        let size_bytes = file.seek(SeekFrom::End(0)).map_err(failed(path, "ask for its size"))?;
        check_alignment(&file, path, kind)?;
        let is_device = kind == Kind::Device;
        Ok(Self { file, path: path.to_owned(), size_bytes, is_new: false, is_device })
    }

    /// The same open file, lock and all, under another descriptor.
    pub(crate) fn duplicate(&self) -> Result<File, PoolError> {
        self.file.try_clone().map_err(failed(&self.path, "open it once more"))
    }

    /// Gives an empty file its blocks, and only then its size, so that a file with a size is a whole one.
    fn allocate(&mut self, bytes: u64) -> Result<(), PoolError> {
        let path = self.path.as_path();
        match rustix::fs::fallocate(&self.file, FallocateFlags::KEEP_SIZE, 0, bytes.max(SIZE_UNIT)) {
            Ok(()) => {}
            Err(Errno::NOSPC | Errno::FBIG | Errno::DQUOT) => {
                let no_space =
                    PoolError::NoSpace { path: path.to_owned(), asked_bytes: bytes, available_bytes: available(path)? };
                // Empty as it is, it would only be in the way.
                drop(fs::remove_file(path));
                return Err(no_space);
            }
            Err(Errno::OPNOTSUPP) => {
                tracing::warn!(pool = %path.display(), "its file system cannot reserve space: writes fail when it is full");
            }
            Err(errno) => return Err(failed(path, "reserve its space")(errno.into())),
        }
        self.file.set_len(bytes).map_err(failed(path, "set its size"))?;
        self.file.sync_all().map_err(failed(path, "sync it"))?;
        let directory = File::open(parent(path)).and_then(|directory| directory.sync_all());
        directory.map_err(failed(path, "sync its directory"))?;
        (self.size_bytes, self.is_new) = (bytes, true);
        Ok(())
    }
}

/// What a new file gets.
fn new_size(path: &Path, size: PoolSize) -> Result<u64, PoolError> {
    match size {
        PoolSize::Exactly(bytes) => Ok(round_down(bytes)),
        PoolSize::Found { new_bytes_max } => {
            let spare = available(path)?.saturating_sub(SPARED_BYTES).max(bytes_min());
            Ok(round_down(new_bytes_max.min(spare)))
        }
    }
}

fn check_size(path: &Path, found_bytes: u64) -> Result<(), PoolError> {
    let needed_bytes = bytes_min();
    if found_bytes < needed_bytes {
        return Err(PoolError::TooSmall { path: path.to_owned(), found_bytes, needed_bytes });
    }
    Ok(())
}

/// The smallest pool.
fn bytes_min() -> u64 {
    Geometry { segment_pages: SEGMENT_PAGES, segments: SEGMENTS_MIN }.pool_bytes()
}

fn kind_of(path: &Path) -> Result<Kind, PoolError> {
    let wrong = |kind| Err(PoolError::WrongKind { path: path.to_owned(), kind });
    match fs::metadata(path) {
        Ok(found) if found.is_file() => Ok(Kind::File),
        Ok(found) if found.file_type().is_block_device() => Ok(Kind::Device),
        Ok(found) if found.is_dir() => wrong("directory"),
        Ok(found) if found.file_type().is_char_device() => wrong("character device"),
        Ok(_) => wrong("socket or pipe"),
        Err(error) if error.kind() == io::ErrorKind::NotFound && parent(path).is_dir() => Ok(Kind::Missing),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(PoolError::NoDirectory { path: path.to_owned() }),
        Err(error) => Err(failed(path, "look at it")(error)),
    }
}

/// Opens for direct I/O where the file system can.
fn open_file(path: &Path, kind: Kind, write: bool) -> Result<File, Held<PoolError>> {
    // On a block device without O_CREAT, O_EXCL refuses what is mounted or otherwise claimed, and claims it.
    let exclusive = if kind == Kind::Device && write { OFlags::EXCL } else { OFlags::empty() };
    let open = |flags: OFlags| {
        OpenOptions::new()
            .read(true)
            .write(write)
            .create(kind == Kind::Missing)
            .truncate(false)
            .mode(0o600)
            .custom_flags((exclusive | flags).bits().cast_signed())
            .open(path)
    };
    let opened = match open(OFlags::DIRECT) {
        Err(error) if Errno::from_io_error(&error) == Some(Errno::INVAL) => {
            tracing::warn!(pool = %path.display(), "its file system has no direct I/O: the page cache is used, which hides what the device does");
            open(OFlags::empty())
        }
        opened => opened,
    };
    opened.map_err(|error| match Errno::from_io_error(&error) {
        Some(Errno::BUSY) => match mount_point(path) {
            Some(mount_point) => Held::Failed(PoolError::Mounted { path: path.to_owned(), mount_point }),
            None => Held::Busy(PoolError::DeviceInUse { path: path.to_owned() }),
        },
        _ => Held::Failed(failed(path, "open it")(error)),
    })
}

/// Where a block device is mounted.
fn mount_point(path: &Path) -> Option<String> {
    let device = fs::metadata(path).ok()?.rdev();
    let device = format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device));
    // Mount id, parent, device, root, mount point, ...
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    fields
        .filter(|fields| fields.get(2) == Some(&device.as_str()))
        .find_map(|fields| fields.get(4).map(|at| (*at).to_owned()))
}

fn check_alignment(file: &File, path: &Path, kind: Kind) -> Result<(), PoolError> {
    let needs_bytes = match kind {
        Kind::Device => {
            rustix::fs::ioctl_blksszget(file).map_err(|error| failed(path, "ask for its block size")(error.into()))?
        }
        Kind::File | Kind::Missing => direct_alignment(file),
    };
    if needs_bytes as usize > PAGE_BYTES {
        return Err(PoolError::Alignment { path: path.to_owned(), needs_bytes });
    }
    Ok(())
}

/// What direct I/O on a file needs; 0 when the kernel does not say.
fn direct_alignment(file: &File) -> u32 {
    match rustix::fs::statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::DIOALIGN) {
        Ok(found) if found.stx_mask & StatxFlags::DIOALIGN.bits() != 0 => {
            found.stx_dio_offset_align.max(found.stx_dio_mem_align)
        }
        Ok(_) | Err(_) => 0,
    }
}

/// Bytes left for us on the file system of `path`.
fn available(path: &Path) -> Result<u64, PoolError> {
    let found = rustix::fs::statvfs(parent(path)).map_err(|error| failed(path, "ask for free space")(error.into()))?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    }
}

fn round_down(bytes: u64) -> u64 {
    bytes / SIZE_UNIT * SIZE_UNIT
}

fn failed(path: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> PoolError {
    move |source| PoolError::Io { path: path.to_owned(), doing, source }
}

/// Names a file the way the kernel lists locks.
pub(crate) fn inode_of(file: &File) -> io::Result<String> {
    let found = file.metadata()?;
    let device = found.dev();
    Ok(format!("{:02x}:{:02x}:{}", rustix::fs::major(device), rustix::fs::minor(device), found.ino()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::time::Duration;

    use super::{Pool, PoolConfig, PoolError, PoolSize};

    /// Just above the smallest.
    const BYTES: u64 = 256 << 20;

    fn open(path: &Path, size: PoolSize) -> Result<Pool, PoolError> {
        Pool::open(&PoolConfig { path: path.to_owned(), size, wait_max: Duration::from_millis(50) })
    }

    #[test]
    fn a_new_file_gets_its_blocks_and_its_size_and_keeps_them() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("pool");
        let pool = open(&path, PoolSize::Exactly(BYTES + 5)).expect("made");
        assert_eq!((pool.size_bytes, pool.is_new, pool.is_device), (BYTES, true, false));
        assert!(std::os::unix::fs::MetadataExt::blocks(&fs::metadata(&path).expect("there")) * 512 >= BYTES);
        drop(pool);
        for size in [PoolSize::Exactly(BYTES), PoolSize::Exactly(BYTES + 5), PoolSize::Found { new_bytes_max: 1 << 40 }]
        {
            let pool = open(&path, size).expect("opened");
            assert_eq!((pool.size_bytes, pool.is_new), (BYTES, false));
        }
    }

    #[test]
    fn what_cannot_be_a_pool_is_refused_in_words_and_left_alone() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("pool");
        drop(open(&file, PoolSize::Exactly(BYTES)).expect("made"));
        let exactly = PoolSize::Exactly(2 * BYTES);
        let rows = [
            (file.clone(), exactly, "has 268435456 bytes (256.0 MiB) and 536870912 bytes"),
            (directory.path().to_owned(), exactly, "this is a directory"),
            ("/dev/null".into(), exactly, "this is a character device"),
            (directory.path().join("no/such/pool"), exactly, "its directory does not exist"),
            (directory.path().join("tiny"), PoolSize::Exactly(1 << 20), "1048576 bytes (1.0 MiB) are too small"),
            (directory.path().join("huge"), PoolSize::Exactly(1 << 60), "its file system has"),
        ];
        for (path, size, words) in rows {
            let error = open(&path, size).expect_err(words).to_string();
            assert!(error.contains(words), "{error}");
        }
        assert_eq!(fs::metadata(&file).expect("there").len(), BYTES);
        let there = fs::read_dir(directory.path()).expect("read").count();
        assert_eq!(there, 1, "what could not be made is not left behind");
    }

    #[test]
    fn a_pool_is_had_by_one_and_looked_at_by_many() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("pool");
        let size = PoolSize::Exactly(BYTES);
        let served = open(&path, size).expect("made");
        let error = open(&path, size).expect_err("it is served").to_string();
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
        assert!(matches!(Pool::open_to_read(&path), Err(PoolError::Locked { .. })));
        drop(served);
        let (first, second) = (Pool::open_to_read(&path).expect("first"), Pool::open_to_read(&path).expect("second"));
        assert!(matches!(open(&path, size), Err(PoolError::Locked { .. })));
        drop((first, second));
        open(&path, size).expect("free again");
    }
}
