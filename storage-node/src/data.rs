//! Starting a data thread around a machine, and waiting for its end.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

use store::Media;
use tokio::sync::oneshot;

use crate::background::Background;
use crate::control::{Calls, Control};
use crate::disk::{Disk, TRANSFERS_MAX};
use crate::figures::Meters;
use crate::limits;
use crate::listen::Listener;
use crate::machine::Machine;
use crate::outbound::Outbound;
use crate::reactor::{Reactor, ReactorError, Run, WakeFile};
use crate::relay::RelayCounters;
use crate::ring::{FileIndex, Ring, RingLimits};
use crate::setup::RingError;
use crate::sockets::Sockets;
use crate::wake::Wake;

/// Places in the table of files.
const POOL_FILE: FileIndex = FileIndex(0);
const WAKE_FILE: FileIndex = FileIndex(1);
const FIRST_LISTENER_FILE: u32 = 2;
/// Operations of one turn that are handed over together.
const SUBMISSIONS: u32 = 512;
/// Operations in flight, each of which ends with one completion.
const OPERATIONS_MAX: u32 = 1 << 14;
const _: () = assert!(
    3 * (limits::CONNECTIONS_MAX + limits::REPLICAS_MAX) as usize + TRANSFERS_MAX + 1024 <= OPERATIONS_MAX as usize,
    "a receive, a send and a cancellation per connection, the device's transfers, and a few listeners, wakes and syncs"
);

/// Why a data thread did not start.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// There is no io_uring.
    #[error(transparent)]
    Ring(#[from] RingError),
    /// A call failed.
    #[error("cannot {doing}: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// It is over already; the log says why.
    #[error("the data thread ended while it started")]
    Ended,
}

/// The device a machine works on.
pub(crate) struct Device {
    /// For the ring.
    pub file: File,
    /// For background jobs.
    pub media: Arc<dyn Media + Send + Sync>,
}

/// A running data thread.
#[derive(Debug)]
pub(crate) struct DataThread {
    thread: Option<JoinHandle<()>>,
    ended: oneshot::Receiver<Result<(), ReactorError>>,
    control: Control,
    /// Kept so that the files of unix sockets are removed at the end.
    _listeners: Arc<[Listener]>,
}

impl DataThread {
    /// Starts it: from now on clients are served. With counters for relays, clients of other nodes' volumes too.
    pub fn start<M>(
        machine: M,
        listeners: Vec<Listener>,
        device: Option<Device>,
        relays: Option<Arc<RelayCounters>>,
    ) -> Result<Self, DataError>
    where
        M: Machine + Send + 'static,
    {
        limits::raise_file_limit();
        let wake = Arc::new(Wake::new().map_err(failed("make an eventfd"))?);
        let (control, calls) = Control::new(Arc::clone(&wake));
        let listeners: Arc<[Listener]> = listeners.into();
        let start = |counters| Outbound::start(limits::relays_max(), counters, Arc::clone(&wake));
        let outbound = relays.map(start).transpose().map_err(failed("start a thread for other nodes"))?;
        let parts = Parts { machine, listeners: Arc::clone(&listeners), device, outbound, wake, calls };
        let (ready, started) = mpsc::channel();
        let (end, ended) = oneshot::channel();
        let run = move || {
            // Whatever a panic leaves behind is dropped here: the ring first, which awaits the kernel.
            let result = catch_unwind(AssertUnwindSafe(|| match parts.assemble() {
                Ok(reactor) => {
                    drop(ready.send(Ok(())));
                    reactor.run()
                }
                Err(error) => {
                    drop(ready.send(Err(error)));
                    Ok(())
                }
            }));
            drop(end.send(result.unwrap_or(Err(ReactorError::Panicked))));
        };
        let thread = thread::Builder::new().name("data".to_owned()).spawn(run).map_err(failed("start a thread"))?;
        started.recv().map_err(|_| DataError::Ended)??;
        Ok(Self { thread: Some(thread), ended, control, _listeners: listeners })
    }

    /// The way to call it.
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// Waits until it has ended.
    pub async fn ended(&mut self) -> Result<(), ReactorError> {
        (&mut self.ended).await.unwrap_or(Err(ReactorError::Panicked))
    }
}

impl Drop for DataThread {
    /// Waits, so that the pool's lock is free afterwards. Without a stop before, it would wait for ever: such a thread
    /// is left to the end of the process.
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take_if(|thread| thread.is_finished()) {
            drop(thread.join());
        }
    }
}

/// What a data thread is made of, on its way into it.
struct Parts<M> {
    machine: M,
    listeners: Arc<[Listener]>,
    device: Option<Device>,
    outbound: Option<Outbound>,
    wake: Arc<Wake>,
    calls: Calls,
}

impl<M: Machine> Parts<M> {
    fn assemble(self) -> Result<Reactor<M>, DataError> {
        let listeners = u32::try_from(self.listeners.len()).expect("listeners are few");
        let rooms = limits::rooms(self.outbound.is_some());
        let limits = RingLimits {
            files: FIRST_LISTENER_FILE + listeners + rooms.all(),
            submissions: SUBMISSIONS,
            operations: OPERATIONS_MAX,
            listeners: self.listeners.len(),
        };
        let ring = Ring::new(self.machine, limits)?;
        ring.set_file(WAKE_FILE, self.wake.fd()).map_err(failed("register the eventfd"))?;
        for (index, listener) in (0..).zip(self.listeners.iter()) {
            let file = FileIndex(FIRST_LISTENER_FILE + index);
            ring.set_file(file, listener.fd()).map_err(failed("register a listener"))?;
        }
        if let Some(device) = &self.device {
            ring.set_file(POOL_FILE, device.file.as_fd()).map_err(failed("register the pool"))?;
        }
        let start = |device: Device| Background::start(device.media, self.wake);
        let background = self.device.map(start).transpose().map_err(failed("start a thread"))?;
        let guests = self.listeners.iter().map(Listener::guest);
        let files = (FIRST_LISTENER_FILE..).map(FileIndex).zip(guests);
        let first_connection = FileIndex(FIRST_LISTENER_FILE + listeners);
        Ok(Reactor {
            ring,
            sockets: Sockets::new(files, first_connection, rooms),
            disk: Disk::new(POOL_FILE),
            background,
            outbound: self.outbound,
            news: Arc::clone(&self.calls.news),
            calls: self.calls,
            wake: WakeFile(WAKE_FILE),
            meters: Meters::default(),
            run: Run::default(),
        })
    }
}

fn failed(doing: &'static str) -> impl FnOnce(io::Error) -> DataError {
    move |source| DataError::Io { doing, source }
}
