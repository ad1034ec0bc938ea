//! Pages that were written and not synced.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use block::{PAGE_BYTES, Page, Pages, PoolOffset};
use store::{DiskError, Media};
use zerocopy::IntoBytes;

use crate::media::FileMedia;

/// Pages written to the file by one call.
const RUN_MAX: usize = 256;
/// How many of a hundred pages go through to the file at once, by the seed.
const THROUGH_PERCENT: [u64; 4] = [0, 10, 50, 90];

/// The cache of one pool, shared by the data thread and the background thread.
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    file: Arc<File>,
    unsynced: Arc<Mutex<Unsynced>>,
}

#[derive(Debug)]
struct Unsynced {
    /// By their offset in pages.
    pages: BTreeMap<u64, Unstable>,
    /// State of a xorshift generator.
    random: u64,
    through_percent: u64,
}

/// A page that power may take.
#[derive(Debug)]
struct Unstable {
    content: Arc<Pages>,
    /// Whether the write has ended: a sync covers no others.
    ended: bool,
}

impl Cache {
    /// In front of `file`, which is open for direct I/O.
    pub fn new(file: File, seed: u64) -> Self {
        let random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let through_percent = THROUGH_PERCENT[usize::try_from(seed % 4).expect("below four")];
        let unsynced = Unsynced { pages: BTreeMap::new(), random, through_percent };
        Self { file: Arc::new(file), unsynced: Arc::new(Mutex::new(unsynced)) }
    }

    fn lock(&self) -> MutexGuard<'_, Unsynced> {
        self.unsynced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps what is written.
    ///
    /// # Errors
    /// The file does not take what goes through.
    pub fn write(&self, at: PoolOffset, bytes: &[u8]) -> io::Result<()> {
        let mut unsynced = self.lock();
        for (index, bytes) in (first_page(at)..).zip(bytes.chunks(PAGE_BYTES)) {
            let mut content = Pages::zeroed(1);
            content.bytes_mut().copy_from_slice(bytes);
            // A sync before this write ends must make what was there before stable.
            if let Some(older) = unsynced.pages.remove(&index).filter(|older| older.ended) {
                self.store(index, older.content.bytes())?;
            }
            if unsynced.draws_through() {
                self.store(index, content.bytes())?;
            }
            unsynced.pages.insert(index, Unstable { content: Arc::new(content), ended: false });
        }
        Ok(())
    }

    /// A write has ended: the next sync covers it.
    pub fn written(&self, at: PoolOffset, len_bytes: usize) {
        let end = first_page(at) + (len_bytes / PAGE_BYTES) as u64;
        for (_, page) in self.lock().pages.range_mut(first_page(at)..end) {
            page.ended = true;
        }
    }

    /// Gives the file all that a sync covers.
    ///
    /// # Errors
    /// What the file said.
    pub fn give_all(&self) -> io::Result<()> {
        let mut unsynced = self.lock();
        let all = std::mem::take(&mut unsynced.pages).into_iter();
        let (covered, kept): (BTreeMap<_, _>, _) = all.partition(|(_, page)| page.ended);
        unsynced.pages = kept;
        let mut covered = covered.into_iter().peekable();
        while let Some((first, page)) = covered.next() {
            let mut run = vec![page];
            while run.len() < RUN_MAX
                && let Some((_, page)) = covered.next_if(|(index, _)| *index == first + run.len() as u64)
            {
                run.push(page);
            }
            let mut together = Pages::zeroed(run.len());
            for (page, target) in run.iter().zip(together.bytes_mut().chunks_mut(PAGE_BYTES)) {
                target.copy_from_slice(page.content.bytes());
            }
            self.store(first, together.bytes())?;
        }
        Ok(())
    }

    /// What is newer than the file where something is about to be read. It may be in the file when the read ends, and it
    /// may be that the read did not see it there.
    pub fn newer(&self, at: PoolOffset, len_bytes: usize) -> Newer {
        let first = first_page(at);
        let end = first + len_bytes.div_ceil(PAGE_BYTES) as u64;
        let unsynced = self.lock();
        let pages = unsynced.pages.range(first..end).map(|(index, page)| (index - first, Arc::clone(&page.content)));
        Newer(pages.collect())
    }

    fn forget(&self, at: PoolOffset, len_bytes: u64) {
        let end = first_page(at) + len_bytes / PAGE_BYTES as u64;
        self.lock().pages.retain(|index, _| *index < first_page(at) || *index >= end);
    }

    fn store(&self, index: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, index * PAGE_BYTES as u64)
    }
}

/// Pages of a range that is read, by their place in it.
#[derive(Debug)]
pub(crate) struct Newer(Vec<(u64, Arc<Pages>)>);

impl Newer {
    /// Puts them over what was read from the file.
    pub fn put_over(&self, read: &mut [u8]) {
        for (index, page) in &self.0 {
            let from = usize::try_from(*index).expect("within a buffer") * PAGE_BYTES;
            let len_bytes = (read.len() - from).min(PAGE_BYTES);
            read[from..from + len_bytes].copy_from_slice(&page.bytes()[..len_bytes]);
        }
    }
}

impl Unsynced {
    fn draws_through(&mut self) -> bool {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32 < (self.through_percent << 32) / 100
    }
}

fn first_page(at: PoolOffset) -> u64 {
    at.0 / PAGE_BYTES as u64
}

/// The pool as background jobs see it.
#[derive(Debug)]
pub(crate) struct CachedMedia {
    pub media: Arc<FileMedia>,
    pub cache: Cache,
}

impl Media for CachedMedia {
    fn read(&self, at: PoolOffset, into: &mut [Page]) -> Result<(), DiskError> {
        let newer = self.cache.newer(at, size_of_val(into));
        self.media.read(at, into)?;
        newer.put_over(into.as_mut_bytes());
        Ok(())
    }

    fn write_zeroes(&self, at: PoolOffset, len_bytes: u64) -> Result<(), DiskError> {
        self.cache.forget(at, len_bytes);
        self.media.write_zeroes(at, len_bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::FileExt;

    use block::{PAGE_BYTES, PoolOffset};

    use super::Cache;

    const PAGE: u64 = PAGE_BYTES as u64;

    /// First bytes of four pages of the file.
    fn found(file: &File) -> Vec<u8> {
        let first = |page| {
            let mut byte = [0];
            file.read_exact_at(&mut byte, page * PAGE).unwrap();
            byte[0]
        };
        (0..4).map(first).collect()
    }

    fn cache(seed: u64) -> (File, Cache) {
        let file = tempfile::tempfile().unwrap();
        file.set_len(4 * PAGE).unwrap();
        (file.try_clone().unwrap(), Cache::new(file, seed))
    }

    #[test]
    fn only_what_ended_before_a_sync_is_in_the_file_afterwards() {
        let (file, cache) = cache(0);
        cache.write(PoolOffset(0), &[1; 2 * PAGE_BYTES]).unwrap();
        cache.written(PoolOffset(0), 2 * PAGE_BYTES);
        cache.write(PoolOffset(2 * PAGE), &[2; PAGE_BYTES]).unwrap();
        assert_eq!(found(&file), [0, 0, 0, 0]);
        cache.give_all().unwrap();
        assert_eq!(found(&file), [1, 1, 0, 0]);
        cache.written(PoolOffset(2 * PAGE), PAGE_BYTES);
        cache.give_all().unwrap();
        assert_eq!(found(&file), [1, 1, 2, 0]);
    }

    #[test]
    fn reads_see_what_power_may_take() {
        let (_file, cache) = cache(0);
        cache.write(PoolOffset(PAGE), &[1; PAGE_BYTES]).unwrap();
        cache.written(PoolOffset(PAGE), PAGE_BYTES);
        let mut read = [0; 3 * PAGE_BYTES];
        let newer = cache.newer(PoolOffset(0), read.len());
        // While the device reads, they are given to it.
        cache.give_all().unwrap();
        newer.put_over(&mut read);
        assert_eq!([read[0], read[PAGE_BYTES], read[2 * PAGE_BYTES - 1], read[2 * PAGE_BYTES]], [0, 1, 1, 0]);
    }

    #[test]
    fn what_was_there_before_a_write_in_flight_is_stable_after_a_sync() {
        let (file, cache) = cache(0);
        cache.write(PoolOffset(0), &[1; PAGE_BYTES]).unwrap();
        cache.written(PoolOffset(0), PAGE_BYTES);
        cache.write(PoolOffset(0), &[2; PAGE_BYTES]).unwrap();
        cache.give_all().unwrap();
        assert_eq!(found(&file), [1, 0, 0, 0]);
    }

    #[test]
    fn a_seed_chooses_what_goes_through() {
        let count = |seed| {
            let (file, cache) = cache(seed);
            (0..4).for_each(|page| cache.write(PoolOffset(page * PAGE), &[1; PAGE_BYTES]).unwrap());
            found(&file)
        };
        assert_eq!(count(7), count(7));
        let through: usize = (0..100).map(|seed| count(4 * seed + 2).iter().filter(|byte| **byte == 1).count()).sum();
        assert!((150..250).contains(&through), "half of 400, and {through}");
    }
}
