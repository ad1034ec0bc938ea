//! A machine for the reactor's tests: it orders device operations from a script, step by step, and keeps what came of
//! them. It serves nobody.
#![allow(unsafe_code)]

use std::sync::{Arc, Mutex};

use block::{Instant, Pages, PoolOffset};
use node::{ConnId, Effect, Event};
use store::{DiskError, IoId};

use crate::buffers::Buffers;
use crate::machine::{Holding, Machine, Observed};

/// One device operation on the drill's buffer of that number.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Order {
    Write { buffer: u32, at: u64 },
    Read { buffer: u32, at: u64 },
    Sync,
    Panic,
}

/// How an order ended, with the first byte of its buffer.
pub(crate) type Ended = (Result<(), DiskError>, u8);

/// Buffers there are.
const BUFFERS: usize = 5000;

pub(crate) struct Drill {
    /// What is left to do, last step first.
    script: Vec<Vec<Order>>,
    /// Orders of the current step that have not ended.
    in_flight: usize,
    buffers: Vec<Pages>,
    ended: Arc<Mutex<Vec<Ended>>>,
}

impl Drill {
    /// Runs `script`, the orders of each step at once, on buffers of `pages` pages; buffer n is full of n.
    pub fn new(mut script: Vec<Vec<Order>>, pages: usize) -> (Self, Arc<Mutex<Vec<Ended>>>) {
        let buffers = (0..=u8::MAX).cycle().take(BUFFERS).map(|number| {
            let mut buffer = Pages::zeroed(pages);
            buffer.bytes_mut().fill(number);
            buffer
        });
        let ended = Arc::new(Mutex::new(Vec::new()));
        script.reverse();
        (Self { script, in_flight: 0, buffers: buffers.collect(), ended: Arc::clone(&ended) }, ended)
    }

    fn next_step(&mut self, effects: &mut Vec<Effect>) {
        let Some(step) = self.script.pop() else { return effects.push(Effect::Stopped) };
        self.in_flight = step.len();
        effects.extend(step.into_iter().map(|order| match order {
            Order::Write { buffer, at } => Effect::Write { io: IoId(buffer), at: PoolOffset(at) },
            Order::Read { buffer, at } => Effect::Read { io: IoId(buffer), at: PoolOffset(at) },
            Order::Sync => Effect::Sync { io: IoId(0) },
            Order::Panic => panic!("as the script says"),
        }));
    }
}

impl Machine for Drill {
    fn handle(&mut self, _now: Instant, event: Event, effects: &mut Vec<Effect>) {
        let (io, result) = match event {
            Event::TurnEnded if self.in_flight == 0 => return self.next_step(effects),
            Event::TurnEnded => return,
            Event::Disk(
                store::Event::Written { io, result }
                | store::Event::ReadEnded { io, result }
                | store::Event::Synced { io, result },
            ) => (io, result),
            other => panic!("nobody told it to expect {other:?}"),
        };
        let first = self.buffers[io.0 as usize].bytes()[0];
        self.ended.lock().expect("no panic").push((result, first));
        self.in_flight -= 1;
    }

    fn deadline(&self) -> Option<Instant> {
        None
    }

    fn observe(&self) -> Observed {
        Observed::default()
    }

    fn holding(&self) -> Option<Holding> {
        None
    }
}

// SAFETY: the buffers live as long as the machine and are not touched between an order and its end.
unsafe impl Buffers for Drill {
    fn receive_target(&mut self, _conn: ConnId) -> &mut [u8] {
        unreachable!("it has no connections")
    }

    fn send_source(&self, _conn: ConnId) -> impl Iterator<Item = &[u8]> {
        std::iter::once_with(|| unreachable!("it has no connections"))
    }

    fn write_source(&self, io: IoId) -> (&[u8], Option<u16>) {
        let buffer = &self.buffers[io.0 as usize];
        (buffer.bytes(), buffer.fixed())
    }

    fn read_target(&mut self, io: IoId) -> (&mut [u8], Option<u16>) {
        let buffer = &mut self.buffers[io.0 as usize];
        let fixed = buffer.fixed();
        (buffer.bytes_mut(), fixed)
    }

    fn preallocated(&mut self) -> Vec<&mut Pages> {
        // Not all, so that both kinds of operations are used.
        self.buffers.iter_mut().take(2).collect()
    }
}

mod tests {
    use std::fs::{File, OpenOptions};
    use std::sync::Arc;

    use rustix::io::Errno;
    use store::DiskError;

    use super::{Drill, Ended, Order};
    use crate::data::{DataThread, Device};
    use crate::disk::TRANSFERS_MAX;
    use crate::media::FileMedia;
    use crate::reactor::ReactorError;

    const PAGES: usize = 3;
    const BYTES: u64 = 3 * 4096;

    /// One after the other.
    fn run(script: &[Order], file: File) -> (Vec<Ended>, Result<(), ReactorError>) {
        run_steps(script.iter().map(|order| vec![*order]).collect(), file)
    }

    fn run_steps(script: Vec<Vec<Order>>, file: File) -> (Vec<Ended>, Result<(), ReactorError>) {
        let (drill, ended) = Drill::new(script, PAGES);
        let media = Arc::new(FileMedia::new(file.try_clone().expect("cloned")));
        let mut data = DataThread::start(drill, Vec::new(), Some(Device { file, media }), None).expect("started");
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("built");
        let result = runtime.block_on(data.ended());
        let ended = std::mem::take(&mut *ended.lock().expect("no panic"));
        (ended, result)
    }

    fn failed(errno: Errno) -> Result<(), DiskError> {
        Err(DiskError::Failed { errno: errno.raw_os_error() })
    }

    #[test]
    fn what_is_written_is_read_back_through_registered_and_other_buffers() {
        let script = [
            Order::Write { buffer: 1, at: 0 },
            Order::Write { buffer: 3, at: BYTES },
            Order::Sync,
            Order::Read { buffer: 2, at: 0 },
            Order::Read { buffer: 0, at: BYTES },
        ];
        let (ended, result) = run(&script, tempfile::tempfile().expect("a file"));
        assert!(result.is_ok(), "{result:?}");
        assert_eq!(ended, [(Ok(()), 1), (Ok(()), 3), (Ok(()), 0), (Ok(()), 1), (Ok(()), 3)]);
    }

    #[test]
    fn more_reads_than_the_device_is_given_at_once_wait_their_turn() {
        const READS: u32 = 4900;
        assert!(READS as usize > 2 * TRANSFERS_MAX);
        let write = vec![Order::Write { buffer: 7, at: 0 }];
        let reads = (1..=READS).map(|buffer| Order::Read { buffer, at: 0 }).collect();
        let (ended, result) = run_steps(vec![write, reads], tempfile::tempfile().expect("a file"));
        assert!(result.is_ok(), "{result:?}");
        assert_eq!(ended, vec![(Ok(()), 7); READS as usize + 1]);
    }

    #[test]
    fn what_was_ordered_together_with_a_write_that_fails_ends_too() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("pool");
        std::fs::write(&path, vec![7; 64 << 10]).expect("written");
        let writes = (1..=4900).map(|buffer| Order::Write { buffer, at: 0 }).collect();
        let read_only = OpenOptions::new().read(true).open(&path).expect("opened");
        let (ended, _) = run_steps(vec![writes], read_only);
        assert_eq!(ended.len(), 4900);
        let refused = ended.iter().filter(|(result, _)| *result == failed(Errno::CANCELED)).count();
        assert!(ended.iter().all(|(result, _)| result.is_err()) && refused >= 4900 - TRANSFERS_MAX, "{refused}");
    }

    #[test]
    fn after_a_failed_write_nothing_more_is_written_or_synced_but_reads_go_on() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("pool");
        std::fs::write(&path, vec![7; 64 << 10]).expect("written");
        let script = [
            Order::Write { buffer: 1, at: 0 },
            Order::Write { buffer: 2, at: 0 },
            Order::Sync,
            Order::Read { buffer: 3, at: 0 },
        ];
        let read_only = OpenOptions::new().read(true).open(&path).expect("opened");
        let (ended, result) = run(&script, read_only);
        assert!(result.is_ok(), "{result:?}");
        let canceled = || failed(Errno::CANCELED);
        assert_eq!(ended, [(failed(Errno::BADF), 1), (canceled(), 2), (canceled(), 0), (Ok(()), 7)]);
    }

    #[test]
    fn a_read_past_the_end_is_short_after_its_first_part_was_taken_up_again() {
        let file = tempfile::tempfile().expect("a file");
        file.set_len(BYTES + 4096).expect("set");
        let (ended, _) = run(&[Order::Read { buffer: 1, at: BYTES }], file);
        let short = DiskError::Short { done_bytes: 4096, asked_bytes: PAGES * 4096 };
        assert_eq!(ended, [(Err(short), 0)]);
    }

    #[test]
    fn a_machine_that_panics_ends_its_thread_and_nothing_else() {
        let script = [Order::Write { buffer: 1, at: 0 }, Order::Panic];
        let (ended, result) = run(&script, tempfile::tempfile().expect("a file"));
        assert_eq!(ended.len(), 1);
        assert!(matches!(result, Err(ReactorError::Panicked)), "{result:?}");
    }
}
