//! The thread that goes to other nodes: it carries clients through to them and connects to them for their replicas, so
//! that the data thread never waits for another node.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use tokio::runtime::{Builder, Runtime};

use crate::dial::{Dialler, Dials};
use crate::lookup::Lookup;
use crate::relay::{Carrier, RelayCounters, Relays};
use crate::wake::Wake;

/// Threads that may wait for the name service: for relays, and, so that those never keep replicas apart, for the others.
const RELAY_LOOKUPS: usize = 2;
const DIAL_LOOKUPS: usize = 2;

/// The data thread's end.
#[derive(Debug)]
pub(crate) struct Outbound {
    /// Where connections go that are not for this node.
    pub relays: Relays,
    /// Who connects to other nodes.
    pub dials: Dials,
    thread: Option<JoinHandle<()>>,
}

impl Outbound {
    /// Starts the thread, which carries `relays_max` relays at once and wakes the data thread when it has connected.
    pub fn start(relays_max: u32, counters: Arc<RelayCounters>, wake: Arc<Wake>) -> io::Result<Self> {
        let threads = RELAY_LOOKUPS + DIAL_LOOKUPS;
        let runtime = Builder::new_current_thread().enable_io().enable_time().max_blocking_threads(threads).build()?;
        let (relays, carrier) = Relays::new(relays_max, counters, Lookup::new(RELAY_LOOKUPS));
        let (dials, dialler) = Dials::new(wake, Lookup::new(DIAL_LOOKUPS));
        let thread = thread::Builder::new().name("outbound".to_owned()).spawn(|| run(runtime, carrier, dialler))?;
        Ok(Self { relays, dials, thread: Some(thread) })
    }

    /// Ends all that it does, and takes no more.
    pub fn stop(&mut self) {
        self.relays.stop();
        self.dials.stop();
    }
}

impl Drop for Outbound {
    /// Waits for the thread, which waits for nobody.
    fn drop(&mut self) {
        self.stop();
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn run(runtime: Runtime, carrier: Carrier, dialler: Dialler) {
    runtime.block_on(async { tokio::join!(carrier.carry(), dialler.run()) });
    // A look-up in the name service may hang for long, and nobody waits for its result any more.
    runtime.shutdown_background();
}
