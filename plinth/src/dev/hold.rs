//! One process per data directory: a lock that the kernel releases when its holder ends, however it ends.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

const RETRY: Duration = Duration::from_millis(20);
/// A number of a process fits.
const HOLDER_BYTES_MAX: u64 = 16;

/// The lock of a data directory, held while this is here.
#[derive(Debug)]
pub struct Hold(#[expect(dead_code, reason = "it is held by being open")] File);

impl Hold {
    /// Takes the lock, waiting for a holder that is about to end.
    ///
    /// # Errors
    /// Somebody holds it all the time, in words.
    pub fn take(data: &Path, wait: Duration) -> Result<Self> {
        let path = data.join("lock");
        let opened = File::options().create(true).truncate(false).read(true).write(true).open(&path);
        let mut file = opened.with_context(|| format!("cannot open {} (--data DIR)", path.display()))?;
        let begin = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(error)) => {
                    return Err(error).with_context(|| format!("cannot lock {} (--data DIR)", path.display()));
                }
                Err(TryLockError::WouldBlock) if begin.elapsed() < wait => thread::sleep(RETRY),
                Err(TryLockError::WouldBlock) => bail!(
                    "cannot use {}: {} holds its lock; stop it, wait for it with --wait SECONDS, or choose another \
                     directory with --data",
                    data.display(),
                    holder(file),
                ),
            }
        }
        sign(&mut file).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self(file))
    }
}

/// Leaves the number of this process for those who find the lock taken.
fn sign(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

fn holder(file: File) -> String {
    let mut text = String::new();
    match file.take(HOLDER_BYTES_MAX).read_to_string(&mut text) {
        Ok(1..) => format!("process {} (plinth)", text.trim()),
        Ok(0) | Err(_) => "another process".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Hold;

    #[test]
    fn a_directory_is_held_once_and_the_holder_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let first = Hold::take(directory.path(), Duration::ZERO).unwrap();
        let error = Hold::take(directory.path(), Duration::ZERO).unwrap_err().to_string();
        assert!(error.contains(&format!("process {} (plinth) holds its lock", std::process::id())), "{error}");
        drop(first);
        Hold::take(directory.path(), Duration::ZERO).unwrap();
    }

    #[test]
    fn a_holder_that_ends_is_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let first = Hold::take(directory.path(), Duration::ZERO).unwrap();
        std::thread::scope(|scope| {
            let second = scope.spawn(|| Hold::take(directory.path(), Duration::from_secs(30)).is_ok());
            drop(first);
            assert!(second.join().unwrap());
        });
    }
}
