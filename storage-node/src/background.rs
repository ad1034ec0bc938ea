//! The niced thread for work that may take its time.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::thread::{self, JoinHandle};
use std::{io, panic};

use store::{Event, Job, JobId, Media};

use crate::wake::Wake;

/// Jobs that may wait: one per operator's command, and a few of reclaim, scrub and zeroing.
const JOBS_MAX: usize = 256;
/// Background work gives way to everything else on the machine.
const NICENESS: i32 = 10;

/// The data thread's end.
#[derive(Debug)]
pub(crate) struct Background {
    jobs: Option<SyncSender<(JobId, Job)>>,
    ended: Receiver<Event>,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    /// Starts the thread. It runs jobs on `media`, one after the other, and calls `wake` after each.
    pub fn start(media: Arc<dyn Media + Send + Sync>, wake: Arc<Wake>) -> io::Result<Self> {
        let (jobs, queue) = sync_channel(JOBS_MAX);
        let (results, ended) = channel();
        let thread = thread::Builder::new()
            .name("background".to_owned())
            .spawn(move || work(&queue, &results, media.as_ref(), &wake))?;
        Ok(Self { jobs: Some(jobs), ended, thread: Some(thread) })
    }

    /// Hands a job over.
    pub fn run(&self, id: JobId, job: Job) {
        let jobs = self.jobs.as_ref().expect("taken only in drop");
        match jobs.try_send((id, job)) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => panic!("the store keeps fewer than {JOBS_MAX} jobs in flight"),
            Err(TrySendError::Disconnected(_)) => panic!("the background thread has ended"),
        }
    }

    /// The next job that ended.
    pub fn next_ended(&self) -> Option<Event> {
        self.ended.try_recv().ok()
    }
}

impl Drop for Background {
    /// Lets the running job end.
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(Err(panic)) = self.thread.take().map(JoinHandle::join)
            && !thread::panicking()
        {
            panic::resume_unwind(panic);
        }
    }
}

fn work(queue: &Receiver<(JobId, Job)>, results: &Sender<Event>, media: &dyn Media, wake: &Wake) {
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::warn!(%error, "background work runs at normal priority");
    }
    for (job, task) in queue {
        let output = task.run(media);
        if results.send(Event::JobEnded { job, output }).is_err() {
            return;
        }
        wake.call();
    }
}
