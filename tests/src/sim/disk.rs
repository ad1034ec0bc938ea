//! A disk with a volatile cache. What was written but not synced may be lost at a power cut, page by page, in any
//! order, or be torn; writes in flight when the process is killed may land whole, in part or not at all.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use block::{PAGE_BYTES, Page, PoolOffset};
use store::{DiskError, IoId, Media};

use crate::random::Random;

type Content = Option<Rc<[u8; PAGE_BYTES]>>;

/// How the machine stops.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Crash {
    /// The process is killed: the device keeps its cache, writes in flight land or not.
    Kill,
    /// Power is lost: unsynced pages are any of their versions since the last sync.
    Power,
}

/// A way in which the disk does not keep its promises: planted, to see that it is noticed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lie {
    /// None.
    Honest,
    /// Syncs do nothing.
    SyncsNothing,
    /// A write is reported as ended before it is in the cache.
    EndsEarly,
}

#[derive(Debug)]
struct Flight {
    io: IoId,
    page: u32,
    pages: Vec<Rc<[u8; PAGE_BYTES]>>,
}

/// The disk.
#[derive(Debug)]
pub struct SimDisk {
    inner: RefCell<Inner>,
    bytes: u64,
}

#[derive(Debug)]
struct Inner {
    /// What a read sees.
    cache: BTreeMap<u32, Rc<[u8; PAGE_BYTES]>>,
    /// Pages written since the last sync: what is on stable media, then every version since.
    unsynced: BTreeMap<u32, Vec<Content>>,
    /// How many versions the running sync covers.
    syncing: Option<BTreeMap<u32, usize>>,
    flights: Vec<Flight>,
    lie: Lie,
}

impl SimDisk {
    /// An empty disk of this size.
    #[must_use]
    pub fn new(bytes: u64, lie: Lie) -> Self {
        let inner =
            Inner { cache: BTreeMap::new(), unsynced: BTreeMap::new(), syncing: None, flights: Vec::new(), lie };
        Self { inner: RefCell::new(inner), bytes }
    }

    /// Its size.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// A write leaves for the device.
    pub fn submit(&self, io: IoId, at: PoolOffset, bytes: &[u8]) {
        let page = u32::try_from(at.0 / PAGE_BYTES as u64).expect("small disks");
        assert!(at.0.is_multiple_of(PAGE_BYTES as u64) && at.0 + bytes.len() as u64 <= self.bytes, "inside the disk");
        let pages = bytes.chunks_exact(PAGE_BYTES).map(|page| Rc::new(page.try_into().expect("a page"))).collect();
        self.inner.borrow_mut().flights.push(Flight { io, page, pages });
    }

    /// A write ends: it is in the cache.
    pub fn end(&self, io: IoId) {
        let mut inner = self.inner.borrow_mut();
        let index = inner.flights.iter().position(|flight| flight.io == io).expect("it was submitted");
        if inner.lie == Lie::EndsEarly {
            return;
        }
        let flight = inner.flights.swap_remove(index);
        for (page, content) in (flight.page..).zip(flight.pages) {
            inner.land(page, content);
        }
    }

    /// A sync begins: it covers what is in the cache now.
    pub fn begin_sync(&self) {
        let mut inner = self.inner.borrow_mut();
        assert!(inner.syncing.is_none(), "one sync at a time");
        inner.syncing = Some(inner.unsynced.iter().map(|(page, versions)| (*page, versions.len() - 1)).collect());
    }

    /// The sync ends.
    pub fn end_sync(&self) {
        let mut inner = self.inner.borrow_mut();
        let covered = inner.syncing.take().expect("a sync runs");
        if inner.lie == Lie::SyncsNothing {
            return;
        }
        for (page, count) in covered {
            let versions = inner.unsynced.get_mut(&page).expect("only syncs remove pages");
            versions.drain(..count);
            if versions.len() == 1 {
                inner.unsynced.remove(&page);
            }
        }
    }

    /// Writes and makes stable at once.
    pub fn write_stable(&self, at: PoolOffset, bytes: &[u8]) {
        let mut inner = self.inner.borrow_mut();
        let first = u32::try_from(at.0 / PAGE_BYTES as u64).expect("small disks");
        for (page, content) in (first..).zip(bytes.chunks_exact(PAGE_BYTES)) {
            inner.unsynced.remove(&page);
            inner.cache.insert(page, Rc::new(content.try_into().expect("a page")));
        }
    }

    /// Everything in the cache becomes stable.
    pub fn sync_all(&self) {
        self.inner.borrow_mut().unsynced.clear();
    }

    /// The machine stops.
    pub fn crash(&self, crash: Crash, random: &mut Random) {
        let mut inner = self.inner.borrow_mut();
        inner.syncing = None;
        let share = random.pick(&[0, 128, 230, 256]);
        for flight in std::mem::take(&mut inner.flights) {
            for (page, content) in (flight.page..).zip(flight.pages) {
                if random.below(256) < share {
                    inner.land(page, content);
                }
            }
        }
        if crash == Crash::Power {
            inner.lose_power(random);
        }
    }

    /// Power is lost, and with it everything that was not synced.
    pub fn cut_power(&self) {
        let mut inner = self.inner.borrow_mut();
        for (page, versions) in std::mem::take(&mut inner.unsynced) {
            match &versions[0] {
                Some(content) => inner.cache.insert(page, content.clone()),
                None => inner.cache.remove(&page),
            };
        }
    }

    /// What a page holds.
    #[must_use]
    pub fn page(&self, page: u32) -> [u8; PAGE_BYTES] {
        self.inner.borrow().cache.get(&page).map_or([0; PAGE_BYTES], |content| **content)
    }

    /// Flips a bit of a page, as bit rot would. Whether the page was ever written.
    pub fn rot(&self, page: u32, random: &mut Random) -> bool {
        let mut inner = self.inner.borrow_mut();
        let Some(content) = inner.cache.get(&page) else { return false };
        let mut rotten = **content;
        rotten[random.index(PAGE_BYTES)] ^= 1 << random.below(8);
        inner.cache.insert(page, Rc::new(rotten));
        true
    }

    /// Every page that was ever written.
    #[must_use]
    pub fn written_pages(&self) -> Vec<u32> {
        self.inner.borrow().cache.keys().copied().collect()
    }
}

impl Inner {
    fn land(&mut self, page: u32, content: Rc<[u8; PAGE_BYTES]>) {
        let before = self.cache.insert(page, content.clone());
        self.unsynced.entry(page).or_insert_with(|| vec![before]).push(Some(content));
    }

    fn lose_power(&mut self, random: &mut Random) {
        // All lost, mostly lost, mostly kept, anything.
        let bias = random.below(4);
        for (page, versions) in std::mem::take(&mut self.unsynced) {
            let newest = versions.len() - 1;
            let any = random.index(versions.len());
            let kept = match bias {
                0 => 0,
                1 if !random.one_in(8) => 0,
                2 if !random.one_in(8) => newest,
                _ => any,
            };
            match &versions[kept] {
                Some(content) => self.cache.insert(page, content.clone()),
                None => self.cache.remove(&page),
            };
        }
    }
}

impl Media for SimDisk {
    fn read(&self, at: PoolOffset, into: &mut [Page]) -> Result<(), DiskError> {
        let inner = self.inner.borrow();
        let first = u32::try_from(at.0 / PAGE_BYTES as u64).expect("small disks");
        assert!(at.0 + (into.len() * PAGE_BYTES) as u64 <= self.bytes, "inside the disk");
        for (page, target) in (first..).zip(into) {
            target.0 = inner.cache.get(&page).map_or([0; PAGE_BYTES], |content| **content);
        }
        Ok(())
    }

    fn write_zeroes(&self, at: PoolOffset, len_bytes: u64) -> Result<(), DiskError> {
        let mut inner = self.inner.borrow_mut();
        let first = u32::try_from(at.0 / PAGE_BYTES as u64).expect("small disks");
        let zero = Rc::new([0; PAGE_BYTES]);
        for page in first..first + u32::try_from(len_bytes / PAGE_BYTES as u64).expect("small disks") {
            inner.land(page, zero.clone());
        }
        Ok(())
    }
}
