//! A client at work on a thread of its own, while faults are made.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::checked::{CheckedClient, Latency, Pace};

const STEP: Duration = Duration::from_millis(2);

/// The client and its thread, which lives in the network namespace of whoever starts it.
pub struct Load {
    thread: Option<JoinHandle<Result<CheckedClient, String>>>,
    end: Arc<AtomicBool>,
    pace: Arc<Mutex<Pace>>,
}

impl Load {
    /// Lets it work until [`Load::stop`].
    #[must_use]
    pub fn start(mut client: CheckedClient) -> Self {
        let (pace, end) = (client.pace(), Arc::new(AtomicBool::new(false)));
        let ends = Arc::clone(&end);
        let work = move || {
            while !ends.load(Ordering::Acquire) {
                client.work()?;
            }
            Ok(client)
        };
        let load = Self { thread: Some(thread::spawn(work)), end, pace };
        load.mark();
        load
    }

    fn pace<T>(&self, look: impl FnOnce(&mut Pace) -> T) -> T {
        look(&mut self.pace.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Begins to look for the longest time without an answer.
    pub fn mark(&self) {
        self.pace(Pace::mark);
    }

    /// The longest time without an answer since then.
    #[must_use]
    pub fn longest(&self) -> Duration {
        self.pace(|pace| pace.longest())
    }

    /// Latencies since this was asked last.
    #[must_use]
    pub fn take_latency(&self) -> Option<Latency> {
        self.pace(Pace::take_latency)
    }

    /// Lets it work for so long.
    ///
    /// # Panics
    /// When a promise was broken.
    pub fn go_on(&mut self, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until {
            self.look();
            thread::sleep(STEP);
        }
    }

    /// Waits until so many more requests were answered.
    ///
    /// # Panics
    /// When that takes longer than `limit`, or a promise was broken.
    pub fn await_answers(&mut self, count: u64, limit: Duration) {
        assert!(self.hears_answers(count, limit), "the volume did not serve {count} requests within {limit:?}");
    }

    /// Whether so many more requests are answered within `limit`.
    ///
    /// # Panics
    /// When a promise was broken.
    pub fn hears_answers(&mut self, count: u64, limit: Duration) -> bool {
        let begin = Instant::now();
        let enough = self.pace(|pace| pace.answers()) + count;
        while self.pace(|pace| pace.answers()) < enough {
            if begin.elapsed() >= limit {
                return false;
            }
            self.look();
            thread::sleep(STEP);
        }
        true
    }

    /// Whether nothing was answered for so long.
    #[must_use]
    pub fn stands_still(&self, time: Duration) -> bool {
        let before = self.pace(|pace| pace.answers());
        thread::sleep(time);
        self.pace(|pace| pace.answers()) == before
    }

    fn look(&mut self) {
        if self.thread.as_ref().is_some_and(JoinHandle::is_finished) {
            drop(self.end_thread());
            unreachable!("it ends before its time only with a broken promise");
        }
    }

    /// Stops it where it is, with requests in flight.
    ///
    /// # Panics
    /// When a promise was broken.
    #[must_use]
    pub fn stop(mut self) -> CheckedClient {
        self.end_thread()
    }

    fn end_thread(&mut self) -> CheckedClient {
        self.end.store(true, Ordering::Release);
        match self.thread.take().expect("it is ended once").join() {
            Ok(Ok(client)) => client,
            Ok(Err(broken)) => panic!("a promise was broken: {broken}"),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // A test that fails already says why.
            drop(thread.join());
        }
    }
}
