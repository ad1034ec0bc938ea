//! Finds who serves a volume: asks one node after the other until one lets the client in.
//!
//! Promise: a connection that is handed out is to the volume that was meant, of at least the size that was known, and it
//! breaks by itself when its other end is gone for good. Opening it for writing ends the attachment's connection before
//! it: the node that serves the volume reads nothing of that one any more, and has ended what it admitted of it.

use std::io;
use std::net::TcpStream as StdTcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nbd::{ClientHandshake, HandshakeFault, HandshakeStep, Purpose, RemoteExport};
use rustix::net::sockopt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::directory::Directory;

/// How long one node may take, at first and at most: one that is gone must not keep us from the next, and one that is
/// busy must get its chance.
const PATIENCE_MIN: Duration = Duration::from_secs(1);
const PATIENCE_MAX: Duration = Duration::from_secs(8);
/// Between two rounds of all nodes.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// Bytes that were sent and are not taken for so long end the connection.
const UNTAKEN_MAX: Duration = Duration::from_secs(8);
/// A connection without traffic is asked whether it lives after this time, so often, and so many times.
const IDLE: Duration = Duration::from_secs(4);
const PROBE: Duration = Duration::from_secs(2);
const PROBES: u32 = 2;

/// What a host knows of a volume before it uses it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    /// The volume's number in its cluster.
    pub volume: u64,
    /// Its size; it never shrinks.
    pub size_bytes: u64,
}

/// An open connection.
#[derive(Debug)]
pub struct Line {
    /// Behind the handshake.
    pub stream: TcpStream,
    /// What it leads to.
    pub export: RemoteExport,
    /// Which node took it.
    pub address: String,
}

/// Why a node did not let the client in.
#[derive(Debug, thiserror::Error)]
pub enum DialFault {
    /// No connection, or it broke.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The node is there and says nothing.
    #[error("no answer within {} ms", .0.as_millis())]
    Silent(Duration),
    /// It does not speak the protocol, or does not serve the volume.
    #[error("{0}")]
    Handshake(#[from] HandshakeFault),
    /// Another volume has the name and takes the token: it must not be written to.
    #[error("the export is {found:?}, and volume {expected} was expected; detach it and attach it again")]
    OtherVolume {
        /// What the server says.
        found: String,
        /// The number of the volume.
        expected: u64,
    },
    /// A volume never shrinks.
    #[error("the export has {found} bytes, and the volume had {expected} before; detach it and attach it again")]
    Smaller {
        /// What the server says.
        found: u64,
        /// What it was.
        expected: u64,
    },
}

/// Finds connections to one volume.
#[derive(Clone, Debug)]
pub struct Dialer {
    export: String,
    volume: u64,
    /// The largest size that any of this one's copies saw.
    size_bytes: Arc<AtomicU64>,
    directory: Directory,
    /// Which address is tried next.
    next: usize,
}

impl Dialer {
    /// For `NAME@TOKEN`.
    pub fn new(export: String, identity: Identity, directory: Directory) -> Self {
        let size_bytes = Arc::new(AtomicU64::new(identity.size_bytes));
        Self { export, volume: identity.volume, size_bytes, directory, next: 0 }
    }

    /// Asks until somebody lets the client in. Never ends otherwise: drop it to give up.
    pub async fn find(&mut self, purpose: Purpose) -> Line {
        let (mut patience, mut pause, mut told) = (PATIENCE_MIN, PAUSE_MIN, false);
        loop {
            let addresses = self.directory.addresses();
            for _ in 0..addresses.len() {
                let address = &addresses[self.next % addresses.len()];
                self.next = self.next.wrapping_add(1);
                match self.attempt(address, purpose, patience).await {
                    Ok(line) => return line,
                    Err(fault @ (DialFault::OtherVolume { .. } | DialFault::Smaller { .. })) => {
                        tracing::error!(address, "{fault}");
                    }
                    Err(fault) => tracing::debug!(address, "not here: {fault}"),
                }
            }
            if !std::mem::replace(&mut told, pause == PAUSE_MAX) && pause == PAUSE_MAX {
                tracing::warn!("nobody serves the volume to this host now; asking on");
            }
            self.directory.ask();
            sleep(pause).await;
            (patience, pause) = (PATIENCE_MAX.min(patience * 2), PAUSE_MAX.min(pause * 2));
        }
    }

    async fn attempt(&self, address: &str, purpose: Purpose, patience: Duration) -> Result<Line, DialFault> {
        let opened = timeout(patience, open(address, &self.export, purpose));
        let (stream, export) = opened.await.map_err(|_| DialFault::Silent(patience))??;
        let identity = Identity { volume: self.volume, size_bytes: self.size_bytes.load(Ordering::Relaxed) };
        identity.check(&export)?;
        Ok(Line { stream, export, address: address.to_owned() })
    }

    /// The volume's size now, if a node tells at once; the one that served last is asked first.
    pub async fn look(&mut self) -> Option<u64> {
        let addresses = self.directory.addresses();
        for step in 0..addresses.len() {
            let index = self.next.wrapping_add(addresses.len() - 1 + step) % addresses.len();
            match self.attempt(&addresses[index], Purpose::Look, PATIENCE_MIN).await {
                Ok(line) => {
                    self.next = index + 1;
                    return Some(line.export.size_bytes);
                }
                Err(fault) => tracing::debug!(address = addresses[index], "no look at the volume: {fault}"),
            }
        }
        None
    }

    /// What was seen is known from now on, to copies of this one as well.
    pub fn grown(&self, size_bytes: u64) {
        self.size_bytes.fetch_max(size_bytes, Ordering::Relaxed);
    }
}

impl Identity {
    /// Whether it is the volume that was meant.
    ///
    /// # Errors
    /// It is not.
    pub fn check(&self, export: &RemoteExport) -> Result<(), DialFault> {
        // A node of an older version says nothing; then the token alone tells.
        if !export.description.is_empty() && export.description != format!("volume {}", self.volume) {
            return Err(DialFault::OtherVolume { found: export.description.clone(), expected: self.volume });
        }
        if export.size_bytes < self.size_bytes {
            return Err(DialFault::Smaller { found: export.size_bytes, expected: self.size_bytes });
        }
        Ok(())
    }
}

/// Connects and negotiates.
async fn open(address: &str, export: &str, purpose: Purpose) -> Result<(TcpStream, RemoteExport), DialFault> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut handshake = ClientHandshake::new(export, purpose);
    let (mut input, mut output) = (Vec::new(), Vec::new());
    loop {
        match handshake.advance(&input, &mut output)? {
            HandshakeStep::Starved { need_bytes } => {
                stream.write_all(&output).await?;
                output.clear();
                // Not a byte more than the handshake: what follows belongs to whoever gets the connection.
                let before = input.len();
                input.resize(need_bytes, 0);
                stream.read_exact(&mut input[before..]).await?;
            }
            HandshakeStep::Advanced { consumed } => drop(input.drain(..consumed)),
            HandshakeStep::Done { export, .. } => {
                watch_over(&stream)?;
                return Ok((stream, export));
            }
        }
    }
}

/// Has the kernel find out that the other end is gone.
fn watch_over(stream: &TcpStream) -> io::Result<()> {
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, IDLE)?;
    sockopt::set_tcp_keepintvl(stream, PROBE)?;
    sockopt::set_tcp_keepcnt(stream, PROBES)?;
    let untaken_ms = u32::try_from(UNTAKEN_MAX.as_millis()).unwrap_or(u32::MAX);
    sockopt::set_tcp_user_timeout(stream, untaken_ms)?;
    Ok(())
}

impl Line {
    /// The connection for the kernel, which wants it blocking.
    ///
    /// # Errors
    /// The system refuses.
    pub fn into_blocking(self) -> io::Result<StdTcpStream> {
        let stream = self.stream.into_std()?;
        stream.set_nonblocking(false)?;
        Ok(stream)
    }
}
