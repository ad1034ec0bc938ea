//! Connecting to other nodes, off the data thread: looking a name up blocks, and so may anything behind it.
//!
//! ```text
//!   data thread ── Order ──> queue ──> look the name up, connect ──> Dialled + eventfd ──> data thread
//! ```
//! Promises: every order is answered once, within [`CONNECT_MAX`] and a moment; a socket has one owner at every time, and
//! is closed by whoever holds it when there is no next one. A stop answers what is left as failed. Not here: when to try
//! again, which `node` decides, and what is said over the connection.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use block::PoolId;
use rustix::io::ioctl_fionbio;
use tokio::net::TcpStream;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::listen::prompt;
use crate::lookup::{Lookup, LookupError};
use crate::wake::Wake;

mod complaints;
#[cfg(test)]
mod tests;

use complaints::Complaints;

/// Connections being made at once; one more is answered as failed.
pub(crate) const DIALS_MAX: usize = 64;
/// How long one may take, with looking its name up.
pub(crate) const CONNECT_MAX: Duration = Duration::from_secs(1);

/// The data thread's end.
#[derive(Debug)]
pub(crate) struct Dials {
    /// None once it was stopped.
    orders: Option<Sender<Order>>,
    answers: Receiver<Dialled>,
    /// Kept to be given to every order.
    answer: Sender<Dialled>,
    wake: Arc<Wake>,
    /// Orders that have not been answered.
    outstanding: usize,
    figures: DialFigures,
}

/// Connections to other nodes, at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DialFigures {
    /// That were made.
    pub made: u64,
    /// That were not.
    pub failed: u64,
}

/// What became of an order.
#[derive(Debug)]
pub(crate) struct Dialled {
    /// Which node it was about.
    pub peer: PoolId,
    /// The connection, ready for the ring; none if there is none.
    pub socket: Option<OwnedFd>,
}

/// The thread's end.
#[derive(Debug)]
pub(crate) struct Dialler {
    orders: Receiver<Order>,
    lookup: Lookup,
}

/// A connection to make. Whatever becomes of it, it is answered: at the latest when it is dropped.
#[derive(Debug)]
struct Order {
    peer: PoolId,
    address: String,
    /// None once it was answered.
    answer: Option<Sender<Dialled>>,
    wake: Arc<Wake>,
}

/// Why a connection was not made.
#[derive(Debug, thiserror::Error)]
enum DialError {
    /// The address leads nowhere.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// Nobody answers there.
    #[error("nobody takes connections there: {0}; look whether the node is up and its address is right")]
    Refused(#[source] io::Error),
    /// Nothing happened for too long.
    #[error("no connection came about within {} ms; look whether the node is up and its network is well", CONNECT_MAX.as_millis())]
    Late,
    /// The socket cannot be used.
    #[error("its socket cannot be set up: {0}; look at the limits of this process")]
    Socket(#[source] io::Error),
}

impl Dials {
    /// Both ends. Who has been answered wakes the data thread.
    pub fn new(wake: Arc<Wake>, lookup: Lookup) -> (Self, Dialler) {
        let (orders, ordered) = channel(DIALS_MAX);
        // Each order is answered once, so there is always room.
        let (answer, answers) = channel(DIALS_MAX);
        let figures = DialFigures::default();
        let dials = Self { orders: Some(orders), answers, answer, wake, outstanding: 0, figures };
        (dials, Dialler { orders: ordered, lookup })
    }

    /// Has a connection made; not if there are too many being made, or after a stop.
    pub fn order(&mut self, peer: PoolId, address: String) -> bool {
        let is_taken = self.try_order(peer, address).is_some();
        self.outstanding += usize::from(is_taken);
        self.figures.failed += u64::from(!is_taken);
        is_taken
    }

    fn try_order(&self, peer: PoolId, address: String) -> Option<()> {
        let orders = self.orders.as_ref().filter(|_| self.outstanding < DIALS_MAX)?;
        let place = orders.try_reserve().ok()?;
        let (answer, wake) = (Some(self.answer.clone()), Arc::clone(&self.wake));
        place.send(Order { peer, address, answer, wake });
        Some(())
    }

    /// The next one that was answered.
    pub fn next(&mut self) -> Option<Dialled> {
        let Dialled { peer, socket } = self.answers.try_recv().ok()?;
        self.outstanding -= 1;
        // A connection that came too late for a stop is nobody's.
        let socket = socket.filter(|_| self.orders.is_some());
        match socket {
            Some(_) => self.figures.made += 1,
            None => self.figures.failed += 1,
        }
        Some(Dialled { peer, socket })
    }

    /// As of now.
    pub fn figures(&self) -> DialFigures {
        self.figures
    }

    /// Ends all of them, and takes no more.
    pub fn stop(&mut self) {
        self.orders = None;
    }
}

impl Dialler {
    /// Until the queue is closed; what is being done then ends with the set it is in.
    pub async fn run(mut self) {
        let mut dials = JoinSet::new();
        let complaints = Arc::new(Complaints::default());
        loop {
            tokio::select! {
                order = self.orders.recv() => match order {
                    Some(order) => drop(dials.spawn(carry_out(order, self.lookup.clone(), Arc::clone(&complaints)))),
                    None => return,
                },
                Some(_) = dials.join_next() => {}
            }
        }
    }
}

impl Order {
    fn answer(mut self, socket: Option<OwnedFd>) {
        self.tell(socket);
    }

    fn tell(&mut self, socket: Option<OwnedFd>) {
        if let Some(answer) = self.answer.take() {
            // A data thread that has ended takes no socket: it is closed here.
            drop(answer.try_send(Dialled { peer: self.peer, socket }));
            self.wake.call();
        }
    }
}

impl Drop for Order {
    fn drop(&mut self) {
        self.tell(None);
    }
}

async fn carry_out(order: Order, lookup: Lookup, complaints: Arc<Complaints>) {
    let dialled = timeout(CONNECT_MAX, dial(&order.address, &lookup)).await;
    match dialled.unwrap_or(Err(DialError::Late)) {
        Ok(socket) => {
            complaints.settled(&order.address);
            order.answer(Some(socket));
        }
        Err(error) => {
            complaints.complain(&order.address, &error);
            order.answer(None);
        }
    }
}

/// Connects to the first of an address's hosts that answers.
async fn dial(address: &str, lookup: &Lookup) -> Result<OwnedFd, DialError> {
    let mut last = None;
    for host in lookup.find(address).await? {
        match connect(host).await {
            Ok(socket) => return Ok(socket),
            Err(error) => last = Some(error),
        }
    }
    Err(last.expect("a name that was found has a host"))
}

async fn connect(host: SocketAddr) -> Result<OwnedFd, DialError> {
    let stream = TcpStream::connect(host).await.map_err(DialError::Refused)?;
    let socket: OwnedFd = stream.into_std().map_err(DialError::Socket)?.into();
    prompt(&socket).map_err(|errno| DialError::Socket(errno.into()))?;
    // The ring waits for sockets that block, and is told at once that others would.
    ioctl_fionbio(&socket, false).map_err(|errno| DialError::Socket(errno.into()))?;
    Ok(socket)
}
