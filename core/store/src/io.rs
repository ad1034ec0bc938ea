//! Device operations in flight: what each is for, until its end is reported.

use block::{Lsn, Pages};

use crate::effect::IoId;
use crate::map::Location;
use crate::read::ReadId;

/// Why a device operation runs.
#[derive(Debug)]
pub(crate) enum Purpose {
    /// Writes a batch of the log.
    Batch { lsn: Lsn },
    /// Writes a closed segment's summary. Until it ended the segment is not used again.
    Summary { pages: Pages, segment: u32 },
    /// Writes a superblock.
    Superblock { pages: Pages },
    /// Reads blocks for a read.
    Read { read: ReadId, first_page: u32, pages: u32, at: Location },
    /// Reads what will be asked for.
    Ahead { span: u32 },
    /// Makes batches up to `covers` durable.
    Sync { covers: Lsn },
}

#[derive(Debug, Default)]
pub(crate) struct IoTable {
    slots: Vec<Option<Purpose>>,
    vacant: Vec<u32>,
}

impl IoTable {
    pub fn start(&mut self, purpose: Purpose) -> IoId {
        if let Some(slot) = self.vacant.pop() {
            self.slots[slot as usize] = Some(purpose);
            return IoId(slot);
        }
        self.slots.push(Some(purpose));
        IoId(u32::try_from(self.slots.len() - 1).expect("operations in flight are bounded"))
    }

    pub fn get(&self, io: IoId) -> &Purpose {
        self.slots[io.0 as usize].as_ref().expect("the operation is in flight")
    }

    /// Takes the operation out: it ended.
    pub fn end(&mut self, io: IoId) -> Purpose {
        let purpose = self.slots[io.0 as usize].take().expect("an operation ends once");
        self.vacant.push(io.0);
        purpose
    }

    /// Operations in flight.
    pub fn count(&self) -> usize {
        self.slots.len() - self.vacant.len()
    }
}
