//! A note on a device that it is being formatted: what a formatter that died has left holds nothing.
//!
//! It lies where none of the mkfs programs writes: 3 MiB before the end. They clear up to 2 MiB there when they begin
//! (mkfs.btrfs), and what they make lies further ahead. It is written before one of them starts and removed after it has ended; nothing
//! is mounted before that.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{OFlags, SeekFrom, seek};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// How long a device may take to answer a few requests.
const ANSWER_MAX: Duration = Duration::from_secs(60);
/// How long a device may be somebody else's before that is told.
const BUSY_MAX: Duration = Duration::from_millis(400);
const BEFORE_END: u64 = 3 << 20;
pub const MARK_BYTES: usize = 4096;
const WORDS: &[u8] = b"plinth: this volume was empty, and is being formatted. It holds nothing.\n";

/// The whole block.
fn mark() -> [u8; MARK_BYTES] {
    let mut block = [0; MARK_BYTES];
    block[..WORDS.len()].copy_from_slice(WORDS);
    block
}

/// Where it lies on a device of so many bytes.
pub fn mark_at(size_bytes: u64) -> u64 {
    // On a small device in the middle: only mkfs.ext4 makes anything of one.
    size_bytes.saturating_sub(BEFORE_END).max(size_bytes / 2) / MARK_BYTES as u64 * MARK_BYTES as u64
}

/// Whether a block is one.
pub fn is_mark(block: &[u8]) -> bool {
    block == mark()
}

/// Writes it, if nobody else has the device.
///
/// # Errors
/// Somebody has, or it does not take it.
pub async fn set_mark(device: &Path) -> io::Result<()> {
    with_alone(device, |file, at| file.write_all_at(&mark(), at)).await
}

/// Removes it, if it is there.
///
/// # Errors
/// As [`set_mark`].
pub async fn remove_mark(device: &Path) -> io::Result<()> {
    let remove = |file: &File, at| {
        let mut block = [0; MARK_BYTES];
        file.read_exact_at(&mut block, at)?;
        if is_mark(&block) { file.write_all_at(&[0; MARK_BYTES], at) } else { Ok(()) }
    };
    with_alone(device, remove).await
}

/// Works on the block, and makes it stable.
async fn with_alone(device: &Path, work: impl FnOnce(&File, u64) -> io::Result<()> + Send + 'static) -> io::Result<()> {
    let device = device.to_owned();
    on_device(move || {
        let alone = i32::try_from(OFlags::EXCL.bits()).map_err(io::Error::other)?;
        let file = opened_alone(&device, alone)?;
        let size_bytes = seek(&file, SeekFrom::End(0))?;
        work(&file, mark_at(size_bytes))?;
        file.sync_all()
    })
    .await
}

/// Somebody who looks for a free loop device has each for an instant, see [`super::program::insist`].
fn opened_alone(device: &Path, alone: i32) -> io::Result<File> {
    let open = || File::options().read(true).write(true).custom_flags(alone).open(device);
    let until = Instant::now() + BUSY_MAX;
    loop {
        match open() {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy && Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(10));
            }
            opened => return opened,
        }
    }
}

/// Does what a device that does not answer could keep for ever, on a thread that is not waited for then.
///
/// # Errors
/// Those of the work, and that it took too long.
pub async fn on_device<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    match timeout(ANSWER_MAX, spawn_blocking(work)).await {
        Ok(Ok(done)) => done,
        Ok(Err(panicked)) => Err(io::Error::other(panicked)),
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::{is_mark, mark, mark_at};

    #[test]
    fn it_lies_on_a_block_before_the_end() {
        assert_eq!(mark_at(64 << 20), 61 << 20);
        assert_eq!(mark_at((64 << 20) + 512), 61 << 20);
        assert_eq!(mark_at(1 << 20), 512 << 10);
        assert_eq!(mark_at(1000), 0);
        assert!(is_mark(&mark()) && !is_mark(&[0; 4096]));
    }
}
