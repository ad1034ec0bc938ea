//! A pool's bytes for whoever may block: recovery, background jobs, offline checks.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::thread;

use block::{PAGE_BYTES, Page, Pages, PoolOffset};
use rustix::io::Errno;
use store::{DiskError, Media};
use zerocopy::IntoBytes;

/// Reads at once. Enough to keep a device busy; blocking threads because this is not the data path.
const READERS_MAX: usize = 16;
/// Below this, threads cost more than they bring.
const READS_PER_READER_MIN: usize = 4;
/// Zeroes written by one call.
const ZEROES_PAGES: usize = 256;

/// Blocking, aligned I/O on a pool.
#[derive(Debug)]
pub struct FileMedia {
    file: File,
}

impl FileMedia {
    /// Of this file, opened for direct I/O or not.
    #[must_use]
    pub fn new(file: File) -> Self {
        Self { file }
    }

    /// Makes everything on the device durable, then writes pages and makes each durable before the next.
    ///
    /// # Errors
    /// What the device said.
    pub fn write_each_stable(&self, writes: &[(PoolOffset, Pages)]) -> io::Result<()> {
        self.file.sync_data()?;
        for (at, pages) in writes {
            self.file.write_all_at(pages.bytes(), at.0)?;
            self.file.sync_data()?;
        }
        Ok(())
    }
}

impl Media for FileMedia {
    fn read(&self, at: PoolOffset, into: &mut [Page]) -> Result<(), DiskError> {
        let asked_bytes = size_of_val(into);
        let bytes = into.as_mut_bytes();
        let mut done_bytes = 0;
        while done_bytes < asked_bytes {
            match self.file.read_at(&mut bytes[done_bytes..], at.0 + done_bytes as u64) {
                Ok(0) => return Err(DiskError::Short { done_bytes, asked_bytes }),
                Ok(read_bytes) => done_bytes += read_bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failure(&error)),
            }
        }
        Ok(())
    }

    fn read_many(&self, reads: &mut [(PoolOffset, &mut [Page])]) -> Vec<Result<(), DiskError>> {
        let readers = (reads.len() / READS_PER_READER_MIN).clamp(1, READERS_MAX);
        let share = reads.len().div_ceil(readers).max(1);
        let read_share = |share: &mut [(PoolOffset, &mut [Page])]| -> Vec<_> {
            share.iter_mut().map(|(at, into)| self.read(*at, into)).collect()
        };
        if readers == 1 {
            return read_share(reads);
        }
        thread::scope(|scope| {
            let shares: Vec<_> = reads.chunks_mut(share).map(|share| scope.spawn(|| read_share(share))).collect();
            shares.into_iter().flat_map(|share| share.join().expect("reading does not panic")).collect()
        })
    }

    fn write_zeroes(&self, at: PoolOffset, len_bytes: u64) -> Result<(), DiskError> {
        let zeroes = Pages::zeroed(ZEROES_PAGES);
        let mut done_bytes = 0;
        while done_bytes < len_bytes {
            let step = usize::try_from(len_bytes - done_bytes).unwrap_or(usize::MAX).min(ZEROES_PAGES * PAGE_BYTES);
            self.file.write_all_at(&zeroes.bytes()[..step], at.0 + done_bytes).map_err(|error| failure(&error))?;
            done_bytes += step as u64;
        }
        Ok(())
    }
}

fn failure(error: &io::Error) -> DiskError {
    DiskError::Failed { errno: error.raw_os_error().unwrap_or(Errno::IO.raw_os_error()) }
}

#[cfg(test)]
mod tests {
    use block::{PAGE_BYTES, Page, Pages, PoolOffset};
    use store::{DiskError, Media};

    use super::FileMedia;

    fn numbered(pages: u8) -> FileMedia {
        let media = FileMedia::new(tempfile::tempfile().expect("a temporary file"));
        let mut content = Pages::zeroed(pages.into());
        (0..pages).for_each(|page| content[page.into()].fill(page));
        media.write_each_stable(&[(PoolOffset(0), content)]).expect("written");
        media
    }

    #[test]
    fn many_reads_at_once_fill_each_its_own_buffer_and_fail_alone() {
        let media = numbered(100);
        let mut buffers = vec![[Page::ZERO]; 101];
        let offsets = (0..).map(|page| PoolOffset(page * PAGE_BYTES as u64));
        let mut reads: Vec<_> = offsets.zip(buffers.iter_mut().map(|buffer| &mut buffer[..])).collect();
        let mut results = media.read_many(&mut reads);
        let past_the_end = DiskError::Short { done_bytes: 0, asked_bytes: PAGE_BYTES };
        assert_eq!(results.pop(), Some(Err(past_the_end)));
        assert!(results.iter().all(Result::is_ok));
        for (buffer, number) in buffers.iter().zip(0_u8..100) {
            assert_eq!(buffer[0].0, [number; PAGE_BYTES]);
        }
    }

    #[test]
    fn zeroes_cover_exactly_what_was_asked() {
        let media = numbered(10);
        media.write_zeroes(PoolOffset(PAGE_BYTES as u64), 8 * PAGE_BYTES as u64).expect("written");
        let mut pages = [Page::ZERO; 10];
        media.read(PoolOffset(0), &mut pages).expect("read");
        let firsts: Vec<u8> = pages.iter().map(|page| page.0[0]).collect();
        assert_eq!(firsts, [0, 0, 0, 0, 0, 0, 0, 0, 0, 9]);
    }
}
