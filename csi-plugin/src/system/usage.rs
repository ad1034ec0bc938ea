//! How full a filesystem is.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// How long the kernel may take to answer; it looks nothing up on the device.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Space and inodes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Usage {
    /// All there is.
    pub total_bytes: u64,
    /// What programs may still write.
    pub available_bytes: u64,
    /// What is in use.
    pub used_bytes: u64,
    /// Inodes; all zero where they are made when they are needed.
    pub total_inodes: u64,
    /// Those that are free.
    pub free_inodes: u64,
}

/// Why it is not known.
#[derive(Debug, thiserror::Error)]
pub enum UsageFault {
    /// The kernel said no.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It said nothing.
    #[error("the filesystem did not answer within {} s", ANSWER_MAX.as_secs())]
    Silent,
}

/// How full the filesystem is that a mount shows.
///
/// # Errors
/// See [`UsageFault`].
pub async fn usage(place: &Path) -> Result<Usage, UsageFault> {
    let place = place.to_owned();
    match timeout(ANSWER_MAX, spawn_blocking(move || ask(&place))).await {
        Ok(Ok(answer)) => Ok(answer?),
        Ok(Err(panicked)) => Err(io::Error::other(panicked).into()),
        Err(_) => Err(UsageFault::Silent),
    }
}

fn ask(place: &Path) -> io::Result<Usage> {
    let answer = rustix::fs::statvfs(place)?;
    let bytes = |blocks: u64| blocks.saturating_mul(answer.f_frsize);
    Ok(Usage {
        total_bytes: bytes(answer.f_blocks),
        available_bytes: bytes(answer.f_bavail),
        used_bytes: bytes(answer.f_blocks.saturating_sub(answer.f_bfree)),
        total_inodes: answer.f_files,
        free_inodes: answer.f_ffree,
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::usage;

    #[test]
    fn what_is_used_and_what_is_free_is_not_more_than_there_is() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let usage_of = |place: &str| runtime.block_on(usage(Path::new(place)));
        let root = usage_of("/").unwrap();
        assert!(root.total_bytes > 0 && root.used_bytes + root.available_bytes <= root.total_bytes);
        assert!(root.free_inodes <= root.total_inodes);
        assert!(usage_of("/no/such/place").is_err());
    }
}
