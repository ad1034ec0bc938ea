//! Taking a pool's lock, with patience: what a killed process left in its ring may still land on the disk, and the
//! lock is held until it has.

use std::fs::{self, File};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::pool::{PoolError, inode_of};

const RETRY: Duration = Duration::from_millis(20);

/// How the pool is shared while we have it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    /// With nobody.
    Exclusive,
    /// With others that only read.
    Shared,
}

/// Why it is not ours.
#[derive(Debug)]
pub(crate) enum Held<E> {
    /// Somebody has it, and may let go.
    Busy(E),
    /// It cannot be had.
    Failed(E),
}

/// Opens with `open` and locks, again and again for `wait_max`.
pub(crate) fn patiently(
    path: &Path,
    wait_max: Duration,
    mode: Mode,
    open: impl Fn() -> Result<File, Held<PoolError>>,
) -> Result<File, PoolError> {
    let start = Instant::now();
    let mut told = false;
    loop {
        let busy = match open().and_then(|file| lock(file, path, mode)) {
            Ok(file) => return Ok(file),
            Err(Held::Failed(error)) => return Err(error),
            Err(Held::Busy(error)) => error,
        };
        if start.elapsed() >= wait_max {
            return Err(busy);
        }
        if !told {
            tracing::warn!("waiting up to {} s: {busy}", wait_max.as_secs());
            told = true;
        }
        thread::sleep(RETRY);
    }
}

fn lock(file: File, path: &Path, mode: Mode) -> Result<File, Held<PoolError>> {
    let operation = match mode {
        Mode::Exclusive => FlockOperation::NonBlockingLockExclusive,
        Mode::Shared => FlockOperation::NonBlockingLockShared,
    };
    match flock(&file, operation) {
        Ok(()) => Ok(file),
        Err(Errno::WOULDBLOCK | Errno::INTR) => {
            Err(Held::Busy(PoolError::Locked { path: path.to_owned(), holder: holder(&file) }))
        }
        Err(errno) => {
            let (path, doing, source) = (path.to_owned(), "lock it", errno.into());
            Err(Held::Failed(PoolError::Io { path, doing, source }))
        }
    }
}

/// Who holds a lock on the file, if /proc tells.
fn holder(file: &File) -> Option<String> {
    let pid = find_holder(&fs::read_to_string("/proc/locks").ok()?, &inode_of(file).ok()?)?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    Some(match name.trim() {
        "" => format!("process {pid}, or writes that it left behind,"),
        name => format!("process {pid} ({name})"),
    })
}

/// The process in a line like `1: FLOCK  ADVISORY  WRITE 1234 fe:00:131 0 EOF`.
fn find_holder(locks: &str, inode: &str) -> Option<u32> {
    locks.lines().find_map(|line| match line.split_whitespace().collect::<Vec<_>>()[..] {
        [_, "FLOCK", _, _, pid, at, ..] if at == inode => pid.parse().ok(),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::find_holder;

    #[test]
    fn the_holder_is_found_in_the_kernels_list() {
        let locks = "1: POSIX  ADVISORY  WRITE 77 fe:00:131 0 EOF\n\
                     2: -> FLOCK  ADVISORY  WRITE 99 fe:00:131 0 EOF\n\
                     3: FLOCK  ADVISORY  WRITE 1234 fe:00:131 0 EOF\n";
        assert_eq!(find_holder(locks, "fe:00:131"), Some(1234));
        assert_eq!(find_holder(locks, "fe:00:13"), None);
        assert_eq!(find_holder("", "fe:00:131"), None);
    }
}
