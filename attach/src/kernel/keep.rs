//! Keeps a kernel nbd device connected to its volume's primary.
//!
//! ```text
//!   Idle ── the link is dead, or requests get no answer ──> a new connection through any node ──> handed to the kernel
//! ```
//! Promise: requests wait while nobody serves the volume, and go on when somebody does; the device sees no error. There is
//! one connection at a time. This process is not in the way of data: when it dies the device goes on, and whoever comes
//! after it takes the device over with a connection of its own.
//!
//! The kernel asks again what was not answered, and only when the server has let the new connection in, which ends the old
//! one first: what still lies in the old one is never applied.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::io;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;

use nbd::Purpose;
use rustix::event::{PollFd, PollFlags, poll};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::device::Device;
use super::netlink::{self, Connect, Deaths, Reconfigure};
use crate::line::{Dialer, Line};

/// Requests wait so long for a connection before they fail: longer than an outage that heals takes. A forced detach ends
/// the wait.
const DEAD_CONNECTION_S: u64 = 24 * 60 * 60;
/// Logical sectors: what every tool can work with, and the same as with the other method.
const BLOCK_BYTES: u64 = 512;
/// See [`Device::look_after_ms`].
const LOOK_AFTER_MS: u32 = 2000;
/// How often the device is looked at besides.
const TICK: Duration = Duration::from_secs(1);
/// How long requests may be under way without any being answered before the primary is looked for again: at first, and
/// at most.
const SILENCE_MIN: Duration = Duration::from_secs(10);
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// The kernel needs a moment to see that the old connection is dead: the new one is offered again after these times.
const OFFERS: [Duration; 4] =
    [Duration::ZERO, Duration::from_millis(20), Duration::from_millis(100), Duration::from_millis(500)];

/// So many numbers of devices are tried.
const NUMBERS_MAX: u32 = 4096;

/// Which number a new device gets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Number {
    /// This one.
    Exactly(u32),
    /// Any that is free, other than these: of devices that have ended, and that somebody may still know by their number.
    AnyBut(BTreeSet<u32>),
}

/// A device and its connection.
#[derive(Debug)]
pub struct Kept {
    device: Device,
    backend: String,
    size_bytes: u64,
    dialer: Dialer,
    /// Our own hold of the connection that the kernel has, to end it when it is silent.
    socket: TcpStream,
}

/// Why a device is kept no longer.
#[derive(Debug, thiserror::Error)]
pub enum KeepFault {
    /// Somebody ended the device.
    #[error("the device was disconnected")]
    Gone,
    /// The kernel does not tell.
    #[error("the kernel's nbd driver failed: {0}")]
    Kernel(#[from] io::Error),
}

impl Kept {
    /// Makes a device of a connection.
    ///
    /// # Errors
    /// The kernel refuses.
    pub async fn make(dialer: Dialer, line: Line, backend: String, number: Number) -> io::Result<Self> {
        let wish = Connect {
            size_bytes: line.export.size_bytes,
            block_bytes: BLOCK_BYTES,
            server_flags: line.export.flags,
            dead_connection_s: DEAD_CONNECTION_S,
            backend: backend.clone(),
        };
        let size_bytes = wish.size_bytes;
        let socket = line.into_blocking()?;
        let held = socket.try_clone()?;
        let device = blocking(move || connect(&wish, &number, &socket)).await?;
        if let Err(error) = device.look_after_ms(LOOK_AFTER_MS) {
            tracing::warn!("requests take up to 30 s to go on after a failover: {error}");
        }
        Ok(Self { device, backend, size_bytes, dialer, socket: held })
    }

    /// Takes a device over that another process made.
    ///
    /// # Errors
    /// The kernel refuses.
    pub async fn take_over(device: Device, dialer: Dialer, line: Line, backend: String) -> io::Result<Self> {
        let size_bytes = 0;
        // Whose place it takes is known when the kernel has it.
        let socket = line.stream.into_std()?;
        socket.set_nonblocking(false)?;
        let line_size_bytes = line.export.size_bytes;
        let mut kept = Self { device, backend, size_bytes, dialer, socket: socket.try_clone()? };
        kept.offer(socket, line_size_bytes).await?;
        Ok(kept)
    }

    /// The device.
    pub fn device(&self) -> Device {
        self.device
    }

    /// Keeps it until it is gone.
    ///
    /// # Errors
    /// See [`KeepFault`].
    pub async fn keep(&mut self) -> Result<Infallible, KeepFault> {
        let mut deaths = Deaths::listen()?;
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut silence = Silence::new();
        loop {
            let dead = tokio::select! {
                died = deaths.next() => match died {
                    Ok(index) => index == self.device.0,
                    // Some were missed; the next tick sees what they told.
                    Err(error) => {
                        tracing::debug!("the kernel's events: {error}");
                        sleep(TICK).await;
                        false
                    }
                },
                _ = tick.tick() => {
                    if !self.device.is_of(&self.backend) {
                        return Err(KeepFault::Gone);
                    }
                    self.is_dead() || silence.is_too_long(self.device)
                }
            };
            if dead {
                self.reconnect().await?;
                silence.forget();
            }
        }
    }

    /// Whether the other end has gone, by what the connection itself says.
    fn is_dead(&self) -> bool {
        let mut fds = [PollFd::new(&self.socket, PollFlags::RDHUP)];
        let gone = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR;
        poll(&mut fds, Some(&rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok()
            && fds[0].revents().intersects(gone)
    }

    async fn reconnect(&mut self) -> Result<(), KeepFault> {
        let begin = Instant::now();
        tracing::info!(device = self.device.0, "the connection is dead, or silent; looking for the primary");
        let line = tokio::select! {
            line = self.dialer.find(Purpose::Open) => line,
            () = gone(self.device, &self.backend) => return Err(KeepFault::Gone),
        };
        let (address, size_bytes) = (line.address.clone(), line.export.size_bytes);
        let socket = line.into_blocking()?;
        // Where it lives still: the server has ended it already, or is not there.
        let _ = self.socket.shutdown(Shutdown::Both);
        self.offer(socket, size_bytes).await?;
        tracing::info!(device = self.device.0, address, "connected after {} ms", begin.elapsed().as_millis());
        Ok(())
    }

    /// Gives the kernel a connection in place of the dead one, and the size if that grew.
    async fn offer(&mut self, socket: TcpStream, size_bytes: u64) -> io::Result<()> {
        self.socket = socket.try_clone()?;
        let grown = (size_bytes > self.size_bytes).then_some(size_bytes);
        for pause in OFFERS {
            sleep(pause).await;
            let wish = Reconfigure { index: self.device.0, backend: self.backend.clone(), size_bytes: grown };
            let socket = socket.try_clone()?;
            blocking(move || netlink::reconfigure(&wish, Some(socket.as_fd()))).await?;
        }
        self.size_bytes = self.size_bytes.max(size_bytes);
        self.dialer.grown(size_bytes);
        Ok(())
    }
}

/// Makes a device of a connection. The kernel is not asked to choose its number: it knows of nobody who does not have a
/// device open at this moment.
fn connect(wish: &Connect, number: &Number, socket: &TcpStream) -> io::Result<Device> {
    let reserved = match number {
        Number::Exactly(index) => return netlink::connect(wish, *index, socket.as_fd()).map(|()| Device(*index)),
        Number::AnyBut(reserved) => reserved,
    };
    for device in (0..NUMBERS_MAX).map(Device).filter(|device| !reserved.contains(&device.0)) {
        if device.is_connected() {
            continue;
        }
        match netlink::connect(wish, device.0, socket.as_fd()) {
            // Somebody has it open, or was faster.
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {}
            made => return made.map(|()| device),
        }
    }
    Err(io::Error::other(format!("all devices from /dev/nbd0 to /dev/nbd{} are in use", NUMBERS_MAX - 1)))
}

/// Waits until the device is no longer ours.
async fn gone(device: Device, backend: &str) {
    while device.is_of(backend) {
        sleep(TICK).await;
    }
}

/// Runs what blocks on a thread of its own.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

/// How long requests have been under way without one being answered.
#[derive(Debug)]
struct Silence {
    ended: String,
    since: Instant,
    patience: Duration,
}

impl Silence {
    fn new() -> Self {
        Self { ended: String::new(), since: Instant::now(), patience: SILENCE_MIN }
    }

    fn is_too_long(&mut self, device: Device) -> bool {
        let Some((ended, under_way)) = device.traffic() else { return false };
        if under_way == 0 || ended != self.ended {
            *self = Self { ended, ..Self::new() };
        }
        self.since.elapsed() > self.patience
    }

    /// Something was done about it; the next time it takes longer.
    fn forget(&mut self) {
        self.since = Instant::now();
        self.patience = SILENCE_MAX.min(self.patience * 2);
    }
}
