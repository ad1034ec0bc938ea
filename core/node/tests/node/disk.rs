//! A disk in memory that fails where it is told to.

use std::cell::RefCell;
use std::collections::BTreeSet;

use block::{PAGE_BYTES, Page, Pages, PoolOffset};
use store::{DiskError, Media};

pub struct Disk {
    pages: RefCell<Pages>,
    /// Pages that cannot be read.
    pub bad: BTreeSet<usize>,
    pub writes_fail: bool,
    pub syncs_fail: bool,
}

pub const FAILED: DiskError = DiskError::Failed { errno: 5 };

impl Disk {
    pub fn new(len_bytes: usize) -> Self {
        let pages = RefCell::new(Pages::zeroed(len_bytes / PAGE_BYTES));
        Self { pages, bad: BTreeSet::new(), writes_fail: false, syncs_fail: false }
    }

    pub fn len_bytes(&self) -> u64 {
        (self.pages.borrow().count() * PAGE_BYTES) as u64
    }

    pub fn write(&mut self, at: PoolOffset, bytes: &[u8]) -> Result<(), DiskError> {
        if self.writes_fail {
            return Err(FAILED);
        }
        let at = usize::try_from(at.0).unwrap();
        self.pages.borrow_mut().bytes_mut()[at..at + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    pub fn fill(&self, at: PoolOffset, into: &mut [u8]) -> Result<(), DiskError> {
        let at = usize::try_from(at.0).unwrap();
        if self.bad.range(at / PAGE_BYTES..(at + into.len()) / PAGE_BYTES).next().is_some() {
            return Err(FAILED);
        }
        into.copy_from_slice(&self.pages.borrow().bytes()[at..at + into.len()]);
        Ok(())
    }

    /// Turns a bit of the page that lies there.
    pub fn flip(&mut self, at: PoolOffset) {
        let page = usize::try_from(at.0).unwrap() / PAGE_BYTES;
        self.pages.borrow_mut().page_mut(page)[1234] ^= 4;
    }

    /// Turns a bit in every page that holds exactly `content`; answers in how many.
    pub fn rot(&mut self, content: &[u8; PAGE_BYTES]) -> usize {
        let mut pages = self.pages.borrow_mut();
        let rotten: Vec<usize> = (0..pages.count()).filter(|&page| pages.page(page) == content).collect();
        rotten.iter().for_each(|&page| pages.page_mut(page)[1234] ^= 4);
        rotten.len()
    }
}

impl Media for Disk {
    fn read(&self, at: PoolOffset, into: &mut [Page]) -> Result<(), DiskError> {
        let first = usize::try_from(at.0).unwrap();
        for (index, page) in into.iter_mut().enumerate() {
            self.fill(PoolOffset((first + index * PAGE_BYTES) as u64), &mut page.0)?;
        }
        Ok(())
    }

    fn write_zeroes(&self, at: PoolOffset, len_bytes: u64) -> Result<(), DiskError> {
        let (at, len_bytes) = (usize::try_from(at.0).unwrap(), usize::try_from(len_bytes).unwrap());
        self.pages.borrow_mut().bytes_mut()[at..at + len_bytes].fill(0);
        Ok(())
    }
}
