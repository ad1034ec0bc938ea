//! A connected stream socket on the relay thread.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::ioctl_fionbio;
use rustix::net::sockopt;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, Shutdown, recv, send, shutdown};
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use tokio::io::Interest;
use tokio::net::{TcpStream, UnixStream};

use crate::listen::prompt;

/// What a pipe holds, if the system lets it: several segments of a fast connection.
const PIPE_BYTES: usize = 256 << 10;

/// Hangs up when it is dropped.
#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A pipe that bytes pass through inside the kernel.
#[derive(Debug)]
pub(super) struct Pipe {
    front: OwnedFd,
    back: OwnedFd,
}

impl Socket {
    /// Takes a connected socket over.
    pub fn new(socket: OwnedFd) -> io::Result<Self> {
        ioctl_fionbio(&socket, true)?;
        if sockopt::socket_domain(&socket)? == AddressFamily::UNIX {
            return Ok(Self::Unix(UnixStream::from_std(socket.into())?));
        }
        prompt(&socket)?;
        Ok(Self::Tcp(TcpStream::from_std(socket.into())?))
    }

    /// Connects to the first of these that answers.
    pub async fn connect(hosts: &[SocketAddr]) -> io::Result<Self> {
        let stream = TcpStream::connect(hosts).await?;
        Self::new(stream.into_std()?.into())
    }

    /// Sends all of it.
    pub async fn send(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let sent = self.when(Interest::WRITABLE, |fd| Ok(send(fd, bytes, SendFlags::NOSIGNAL)?)).await?;
            bytes = &bytes[sent..];
        }
        Ok(())
    }

    /// Receives what there is; 0 at the end of the stream.
    pub async fn receive(&self, into: &mut [u8]) -> io::Result<usize> {
        self.when(Interest::READABLE, |fd| Ok(recv(fd, &mut *into, RecvFlags::empty())?.1)).await
    }

    /// Moves what there is into a pipe that is empty; 0 at the end of the stream.
    pub async fn fill(&self, pipe: &Pipe) -> io::Result<usize> {
        let moved = |fd: BorrowedFd<'_>| Ok(splice(fd, None, &pipe.back, None, PIPE_BYTES, SpliceFlags::NONBLOCK)?);
        self.when(Interest::READABLE, moved).await
    }

    /// Moves some of the `held_bytes` that lie in a pipe out of it. A side that has gone is an error and no SIGPIPE, which
    /// Rust programs ignore.
    pub async fn drain(&self, pipe: &Pipe, held_bytes: usize) -> io::Result<usize> {
        let moved = |fd: BorrowedFd<'_>| Ok(splice(&pipe.front, None, fd, None, held_bytes, SpliceFlags::NONBLOCK)?);
        self.when(Interest::WRITABLE, moved).await
    }

    /// Says that nothing more comes. One that is broken already hears of it by other means.
    pub fn finish(&self) {
        let _ = shutdown(self.fd(), Shutdown::Write);
    }

    /// Tries `call` whenever the socket is ready for it, until it does not answer that it would block.
    async fn when<R>(&self, ready: Interest, mut call: impl FnMut(BorrowedFd<'_>) -> io::Result<R>) -> io::Result<R> {
        match self {
            Self::Tcp(stream) => stream.async_io(ready, || call(stream.as_fd())).await,
            Self::Unix(stream) => stream.async_io(ready, || call(stream.as_fd())).await,
        }
    }

    fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}

impl Drop for Socket {
    /// The ring that a client's socket comes from may still hold it for a while, so closing would not be enough.
    fn drop(&mut self) {
        let _ = shutdown(self.fd(), Shutdown::Both);
    }
}

impl Pipe {
    /// A new one.
    pub fn new() -> io::Result<Self> {
        let (front, back) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // A smaller one carries as well.
        let _ = fcntl_setpipe_size(&back, PIPE_BYTES);
        Ok(Self { front, back })
    }
}
