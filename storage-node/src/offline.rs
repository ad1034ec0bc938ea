//! A pool that nobody serves, to look at. Nothing is written; a pool in use is refused.

use std::path::Path;

use store::{BootId, CheckReport, Inspection, OpenError};

use crate::media::FileMedia;
use crate::pool::{Pool, PoolError};
use crate::recovery::{RecoveryError, boot_id, recognise};

/// Why a pool cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub enum OfflineError {
    /// The file or device.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// What is in it.
    #[error(transparent)]
    Content(#[from] RecoveryError),
}

/// An open pool, locked against those who would serve it until it is dropped.
#[derive(Debug)]
pub struct OfflinePool {
    pool: Pool,
    media: FileMedia,
    boot: BootId,
}

impl OfflinePool {
    /// Opens the pool at `path`.
    ///
    /// # Errors
    /// In words, see [`OfflineError`].
    pub fn open(path: &Path) -> Result<Self, OfflineError> {
        let pool = Pool::open_to_read(path)?;
        let media = FileMedia::new(pool.duplicate()?);
        let boot = boot_id().map_err(|source| RecoveryError::Io {
            path: path.display().to_string(),
            doing: "read the boot id from /proc",
            source,
        })?;
        recognise(&pool, &media)?;
        Ok(Self { pool, media, boot })
    }

    /// What it holds.
    ///
    /// # Errors
    /// In words, see [`OfflineError`].
    pub fn inspect(&self) -> Result<Inspection, OfflineError> {
        store::inspect(&self.media, self.pool.size_bytes, self.boot).map_err(|source| self.failed(source))
    }

    /// Whether every block is what was written. `progress` hears how many of how many blocks are verified.
    ///
    /// # Errors
    /// In words, see [`OfflineError`].
    pub fn check(&self, progress: &mut dyn FnMut(u64, u64)) -> Result<CheckReport, OfflineError> {
        store::check(&self.media, self.pool.size_bytes, self.boot, progress).map_err(|source| self.failed(source))
    }

    fn failed(&self, source: OpenError) -> OfflineError {
        OfflineError::Content(RecoveryError::Open { path: self.pool.path.display().to_string(), source })
    }
}
