//! The pool's device, seen from the data thread: transfers that stop half way are taken up again, and after a failed
//! write or sync no further one is submitted.

use std::collections::VecDeque;

use block::PoolOffset;
use rustix::io::Errno;
use store::{DiskError, Event, IoId};

use crate::machine::Machine;
use crate::ring::{FileIndex, Progress, Ring};

/// Reads and writes in flight at the device; more wait here, in order. Deeper than any device's queue.
pub(crate) const TRANSFERS_MAX: usize = 2048;
/// How often one operation is taken up again without having moved, before it counts as failed.
const STALLS_MAX: u8 = 16;

/// Operations and bytes since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DiskFigures {
    /// Writes that ended well.
    pub writes: u64,
    /// Bytes of them.
    pub written_bytes: u64,
    /// Reads that ended well.
    pub reads: u64,
    /// Bytes of them.
    pub read_bytes: u64,
    /// fdatasyncs that ended well.
    pub syncs: u64,
    /// Writes, reads and syncs that failed.
    pub failures: u64,
}

/// The device.
#[derive(Debug)]
pub(crate) struct Disk {
    file: FileIndex,
    /// A write or a sync failed: what the device holds is not known any more.
    failed: bool,
    /// Reads and writes in flight.
    in_flight: usize,
    /// Those beyond [`TRANSFERS_MAX`], oldest first.
    waiting: VecDeque<Transfer>,
    /// Ends of what was not even started.
    refused: Vec<Event>,
    figures: DiskFigures,
}

/// A read or a write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Transfer {
    Read { io: IoId, at: PoolOffset },
    Write { io: IoId, at: PoolOffset },
}

impl Disk {
    /// The device at `file` in the ring's table.
    pub fn new(file: FileIndex) -> Self {
        let (waiting, refused) = (VecDeque::new(), Vec::new());
        Self { file, failed: false, in_flight: 0, waiting, refused, figures: DiskFigures::default() }
    }

    /// Its counters.
    pub fn figures(&self) -> DiskFigures {
        self.figures
    }

    /// Ends of operations that were not started, because the device failed before.
    pub fn refused(&mut self) -> impl Iterator<Item = Event> {
        self.refused.drain(..)
    }

    /// Orders a write.
    pub fn write<M: Machine>(&mut self, ring: &mut Ring<M>, io: IoId, at: PoolOffset) {
        self.start_or_wait(ring, Transfer::Write { io, at });
    }

    /// Orders a read.
    pub fn read<M: Machine>(&mut self, ring: &mut Ring<M>, io: IoId, at: PoolOffset) {
        self.start_or_wait(ring, Transfer::Read { io, at });
    }

    /// Orders a sync. The store has one or two in flight.
    pub fn sync<M: Machine>(&mut self, ring: &mut Ring<M>, io: IoId) {
        if self.failed {
            self.refused.push(Event::Synced { io, result: Err(REFUSED) });
        } else {
            ring.sync(self.file, io);
        }
    }

    /// A write, or a part of it, ended.
    pub fn written<M: Machine>(
        &mut self,
        ring: &mut Ring<M>,
        (io, at, progress): (IoId, PoolOffset, Progress),
        result: Result<u32, Errno>,
    ) -> Option<Event> {
        let asked_bytes = ring.machine().write_source(io).0.len();
        let result = match step(progress, asked_bytes, result) {
            Step::Again(_) if self.failed => Err(REFUSED),
            Step::Again(progress) => {
                ring.write(self.file, io, at, progress);
                return None;
            }
            Step::Ended(result) => result,
        };
        self.failed |= result.is_err();
        if result.is_ok() {
            self.figures.writes += 1;
            self.figures.written_bytes += asked_bytes as u64;
        }
        self.transfer_ended(ring, result.is_ok());
        Some(Event::Written { io, result })
    }

    /// A read, or a part of it, ended.
    pub fn read_ended<M: Machine>(
        &mut self,
        ring: &mut Ring<M>,
        (io, at, progress): (IoId, PoolOffset, Progress),
        result: Result<u32, Errno>,
    ) -> Option<Event> {
        let asked_bytes = ring.machine_mut().read_target(io).0.len();
        let result = match step(progress, asked_bytes, result) {
            Step::Again(progress) => {
                ring.read(self.file, io, at, progress);
                return None;
            }
            Step::Ended(result) => result,
        };
        if result.is_ok() {
            self.figures.reads += 1;
            self.figures.read_bytes += asked_bytes as u64;
        }
        self.transfer_ended(ring, result.is_ok());
        Some(Event::ReadEnded { io, result })
    }

    /// A sync ended. It is never repeated: the kernel has forgotten which pages it could not write.
    pub fn synced(&mut self, io: IoId, result: Result<u32, Errno>) -> Event {
        let result = result.map(drop).map_err(failure);
        self.failed |= result.is_err();
        self.figures.failures += u64::from(result.is_err());
        self.figures.syncs += u64::from(result.is_ok());
        Event::Synced { io, result }
    }

    fn start_or_wait<M: Machine>(&mut self, ring: &mut Ring<M>, transfer: Transfer) {
        if self.in_flight < TRANSFERS_MAX {
            self.start(ring, transfer);
        } else {
            self.waiting.push_back(transfer);
        }
    }

    fn start<M: Machine>(&mut self, ring: &mut Ring<M>, transfer: Transfer) {
        match transfer {
            Transfer::Write { io, .. } if self.failed => {
                self.refused.push(Event::Written { io, result: Err(REFUSED) });
                return;
            }
            Transfer::Write { io, at } => ring.write(self.file, io, at, Progress::default()),
            Transfer::Read { io, at } => ring.read(self.file, io, at, Progress::default()),
        }
        self.in_flight += 1;
    }

    fn transfer_ended<M: Machine>(&mut self, ring: &mut Ring<M>, success: bool) {
        self.figures.failures += u64::from(!success);
        self.in_flight -= 1;
        while self.in_flight < TRANSFERS_MAX
            && let Some(transfer) = self.waiting.pop_front()
        {
            self.start(ring, transfer);
        }
    }
}

/// The answer to what comes after a failure.
const REFUSED: DiskError = DiskError::Failed { errno: Errno::CANCELED.raw_os_error() };

enum Step {
    Again(Progress),
    Ended(Result<(), DiskError>),
}

fn step(progress: Progress, asked_bytes: usize, result: Result<u32, Errno>) -> Step {
    let stalled = Progress { stalls: progress.stalls + 1, ..progress };
    match result {
        Ok(moved) if progress.done_bytes + moved as usize == asked_bytes => Step::Ended(Ok(())),
        Ok(0) if stalled.stalls > STALLS_MAX => {
            Step::Ended(Err(DiskError::Short { done_bytes: progress.done_bytes, asked_bytes }))
        }
        Ok(0) => Step::Again(stalled),
        Ok(moved) => Step::Again(Progress { done_bytes: progress.done_bytes + moved as usize, stalls: 0 }),
        Err(Errno::INTR | Errno::AGAIN) if stalled.stalls <= STALLS_MAX => Step::Again(stalled),
        Err(errno) => Step::Ended(Err(failure(errno))),
    }
}

fn failure(errno: Errno) -> DiskError {
    DiskError::Failed { errno: errno.raw_os_error() }
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;
    use store::DiskError;

    use super::{STALLS_MAX, Step, step};
    use crate::ring::Progress;

    #[test]
    fn a_transfer_goes_on_where_it_stopped_and_gives_up_when_it_does_not_move() {
        let at = |done_bytes, stalls| Progress { done_bytes, stalls };
        let short = DiskError::Short { done_bytes: 4096, asked_bytes: 8192 };
        let failed = |errno: Errno| DiskError::Failed { errno: errno.raw_os_error() };
        let rows = [
            (at(0, 0), Ok(8192), Err(Ok(()))),
            (at(4096, 0), Ok(4096), Err(Ok(()))),
            (at(0, 3), Ok(512), Ok(at(512, 0))),
            (at(4096, 0), Ok(0), Ok(at(4096, 1))),
            (at(4096, STALLS_MAX), Ok(0), Err(Err(short))),
            (at(512, 0), Err(Errno::INTR), Ok(at(512, 1))),
            (at(512, 0), Err(Errno::AGAIN), Ok(at(512, 1))),
            (at(512, STALLS_MAX), Err(Errno::AGAIN), Err(Err(failed(Errno::AGAIN)))),
            (at(0, 0), Err(Errno::IO), Err(Err(failed(Errno::IO)))),
            (at(0, 0), Err(Errno::NOSPC), Err(Err(failed(Errno::NOSPC)))),
        ];
        for (progress, result, expected) in rows {
            let got = match step(progress, 8192, result) {
                Step::Again(progress) => Ok(progress),
                Step::Ended(result) => Err(result),
            };
            assert_eq!(got, expected, "{progress:?} {result:?}");
        }
    }
}
