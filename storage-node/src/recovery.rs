//! From an open pool to a store that may serve: what is there is looked at, a blank pool is formatted, the log is
//! replayed, and the superblocks of the new run are made durable.

use std::fs;
use std::io;
use std::sync::Arc;

use block::PoolId;
use rustix::fs::{FallocateFlags, fallocate};
use store::{BootId, DiskError, FormatError, FormatOptions, OpenError, Opened, Probe, RecoveryReport, Store};

use crate::media::FileMedia;
use crate::pool::Pool;

/// Why a pool cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// Not ours.
    #[error(
        "pool {path}: it holds something that is not a Plinth pool ({first}); nothing was changed. If \
         nobody needs it, remove it or wipe its start: dd if=/dev/zero of={path} bs=1M count=2 conv=notrunc"
    )]
    Foreign {
        /// Which pool.
        path: String,
        /// How it begins, readable.
        first: String,
    },
    /// Made by a newer program.
    #[error(
        "pool {path}: it has format version {version}, newer than this program; use the newer one. Nothing was changed"
    )]
    Newer {
        /// Which pool.
        path: String,
        /// Its version.
        version: u16,
    },
    /// Nothing there.
    #[error("pool {path}: it is blank; `plinth dev --pool {path}` makes a pool of it")]
    Blank {
        /// Which pool.
        path: String,
    },
    /// Ours, but both superblocks are damaged.
    #[error("pool {path}: both of its superblocks are damaged ({damage}); nothing was changed")]
    Damaged {
        /// Which pool.
        path: String,
        /// What is wrong with them.
        damage: String,
    },
    /// Too small to make a pool of.
    #[error("pool {path}: {source}; give it a larger size, or another place")]
    Format {
        /// Which pool.
        path: String,
        /// What is wrong.
        source: FormatError,
    },
    /// Recovery failed.
    #[error("pool {path} cannot be opened: {source}. Nothing was changed")]
    Open {
        /// Which pool.
        path: String,
        /// Why.
        source: OpenError,
    },
    /// The device failed.
    #[error("pool {path} cannot be read: {source}")]
    Device {
        /// Which pool.
        path: String,
        /// What it said.
        source: DiskError,
    },
    /// A call failed.
    #[error("pool {path}: cannot {doing}: {source}")]
    Io {
        /// Which pool.
        path: String,
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// Makes `pool` ready for service on this boot of the machine: `boot` if it is given, or what the kernel calls it.
pub(crate) fn recover(
    pool: &Pool,
    media: &Arc<FileMedia>,
    boot: Option<BootId>,
) -> Result<(Store, RecoveryReport), RecoveryError> {
    let failing = Failing(pool);
    let boot = boot.map_or_else(boot_id, Ok).map_err(failing.io("read the boot id from /proc"))?;
    match recognise(pool, media) {
        Err(RecoveryError::Blank { .. }) => format(pool, media, boot)?,
        recognised => recognised?,
    }
    let opened = store::open(media.as_ref(), pool.size_bytes, boot);
    let Opened { store, writes, report } =
        opened.map_err(|source| RecoveryError::Open { path: failing.path(), source })?;
    media.write_each_stable(&writes).map_err(failing.io("write its superblocks"))?;
    Ok((store, report))
}

/// Whether it is a pool that this program can open.
pub(crate) fn recognise(pool: &Pool, media: &FileMedia) -> Result<(), RecoveryError> {
    let path = Failing(pool).path();
    match store::probe(media) {
        Ok(Probe::Pool(_)) => Ok(()),
        Ok(Probe::Blank) => Err(RecoveryError::Blank { path }),
        Ok(Probe::Foreign { first }) => {
            let first = match first {
                [0, ..] => "its start is not empty".to_owned(),
                first => format!("it begins with \"{}\"", first.escape_ascii()),
            };
            Err(RecoveryError::Foreign { path, first })
        }
        Ok(Probe::NewerPool { version }) => Err(RecoveryError::Newer { path, version }),
        Ok(Probe::Damaged(damage)) => Err(RecoveryError::Damaged { path, damage: damage.to_string() }),
        Err(source) => Err(RecoveryError::Device { path, source }),
    }
}

fn format(pool: &Pool, media: &FileMedia, boot: BootId) -> Result<(), RecoveryError> {
    let failing = Failing(pool);
    if !pool.is_device {
        // A blank file may be sparse; a pool has its space for itself.
        match fallocate(&pool.file, FallocateFlags::empty(), 0, pool.size_bytes.max(1)) {
            Ok(()) | Err(rustix::io::Errno::OPNOTSUPP) => {}
            Err(errno) => return Err(failing.io("reserve its space")(errno.into())),
        }
    }
    let id = random_pool_id().map_err(failing.io("draw an id from /proc"))?;
    let options = FormatOptions { zeroed: pool.is_device, ..FormatOptions::new(id, pool.size_bytes, boot) };
    let writes = store::format(&options).map_err(|source| RecoveryError::Format { path: failing.path(), source })?;
    media.write_each_stable(&writes).map_err(failing.io("write its superblocks"))?;
    tracing::info!(pool = %pool.path.display(), %id, bytes = pool.size_bytes, "formatted a new pool");
    Ok(())
}

struct Failing<'a>(&'a Pool);

impl Failing<'_> {
    fn path(&self) -> String {
        self.0.path.display().to_string()
    }

    fn io(&self, doing: &'static str) -> impl FnOnce(io::Error) -> RecoveryError {
        let path = self.path();
        move |source| RecoveryError::Io { path, doing, source }
    }
}

/// This boot of this machine.
pub(crate) fn boot_id() -> io::Result<BootId> {
    read_uuid("/proc/sys/kernel/random/boot_id").map(BootId)
}

/// A new id; the kernel draws a new UUID at every read.
fn random_pool_id() -> io::Result<PoolId> {
    read_uuid("/proc/sys/kernel/random/uuid").map(PoolId)
}

fn read_uuid(path: &str) -> io::Result<u128> {
    let digits = fs::read_to_string(path)?.trim().replace('-', "");
    u128::from_str_radix(&digits, 16).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;
    use std::time::Duration;

    use super::{RecoveryError, boot_id, random_pool_id, recover};
    use crate::media::FileMedia;
    use crate::pool::{Pool, PoolConfig, PoolSize};

    const POOL_BYTES: u64 = 256 << 20;

    #[test]
    fn a_boot_has_one_id_and_every_pool_its_own() {
        assert_eq!(boot_id().expect("linux"), boot_id().expect("linux"));
        assert_ne!(random_pool_id().expect("linux"), random_pool_id().expect("linux"));
    }

    fn start(path: &std::path::Path, bytes: u64) -> Result<u64, RecoveryError> {
        let size = PoolSize::Found { new_bytes_max: bytes };
        let pool = Pool::open(&PoolConfig { path: path.to_owned(), size, wait_max: Duration::ZERO }).expect("opened");
        let media = Arc::new(FileMedia::new(pool.duplicate().expect("duplicated")));
        recover(&pool, &media, None).map(|(_, report)| report.incarnation)
    }

    #[test]
    fn a_blank_pool_is_formatted_once() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("pool");
        assert_eq!(start(&path, POOL_BYTES).expect("formatted"), 1);
        assert_eq!(start(&path, POOL_BYTES).expect("found"), 2);
    }

    #[test]
    fn what_is_not_ours_is_not_touched() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("pool");
        let mut content = vec![0; 256 << 20];
        content[1024..1031].copy_from_slice(b"not us!");
        fs::write(&path, &content).expect("written");
        let error = start(&path, POOL_BYTES).expect_err("foreign");
        assert!(matches!(error, RecoveryError::Foreign { .. }), "{error}");
        assert!(fs::read(&path).expect("read") == content, "not a byte changed");
    }
}
