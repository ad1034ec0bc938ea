//! Opening the addresses clients come to.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fmt, fs, thread};

use rustix::net::sockopt;

/// How long an address may stay in use by what is left of a killed process.
const LINGER_MAX: Duration = Duration::from_secs(2);
const RETRY: Duration = Duration::from_millis(20);
/// A machine that vanished without a word is noticed after 10 + 3 * 5 s.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(10);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(5);
const KEEPALIVE_PROBES: u32 = 3;
/// Longest path of a unix socket.
const UNIX_PATH_BYTES_MAX: usize = 107;

/// Where clients come to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Address {
    /// TCP; port 0 lets the kernel choose.
    Tcp(SocketAddr),
    /// A unix socket.
    Unix(PathBuf),
}

/// Why an address could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// A call failed.
    #[error("cannot listen on {address}: {source}")]
    Io {
        /// Where.
        address: Address,
        /// What the system said.
        source: io::Error,
    },
    /// Another server answers there.
    #[error("cannot listen on {address}: another server listens there; stop it or choose another address")]
    InUse {
        /// Where.
        address: Address,
    },
    /// Something else is in the way.
    #[error("cannot listen on {}: there is a file of that name that is not a socket; remove it or choose another path", path.display())]
    NotASocket {
        /// Where.
        path: PathBuf,
    },
    /// The kernel takes no such path.
    #[error("cannot listen on {}: the path of a unix socket has at most {UNIX_PATH_BYTES_MAX} bytes, this one has {len_bytes}; choose a shorter one", path.display())]
    PathTooLong {
        /// Where.
        path: PathBuf,
        /// How long it is.
        len_bytes: usize,
    },
}

/// Who comes to a listener.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Guest {
    /// Anybody's NBD client.
    Client,
    /// Another node of the cluster, with a client of its own, or its replicas.
    Peer,
}

/// A socket that clients can connect to.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: OwnedFd,
    address: Address,
    guest: Guest,
    /// Device and inode of a unix socket's file.
    identity: Option<(u64, u64)>,
}

impl Listener {
    /// Opens an address. One that is in use may be so by what is left of a killed process: the kernel takes its ring
    /// apart, and with it the listener, after the process is gone.
    pub fn open(address: &Address, guest: Guest) -> Result<Self, ListenError> {
        let start = Instant::now();
        loop {
            let opened = match address {
                Address::Tcp(wanted) => open_tcp(*wanted, guest),
                Address::Unix(path) => open_unix(path, guest),
            };
            match opened {
                Err(ListenError::InUse { .. }) if start.elapsed() < LINGER_MAX => thread::sleep(RETRY),
                opened => return opened,
            }
        }
    }

    /// Where it is; with the port the kernel chose.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Who comes there.
    pub fn guest(&self) -> Guest {
        self.guest
    }

    /// For the ring.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Listener {
    /// Removes the file of a unix socket, unless another server has put its own there.
    fn drop(&mut self) {
        if let Address::Unix(path) = &self.address
            && identity(path) == self.identity
        {
            drop(fs::remove_file(path));
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

fn open_tcp(wanted: SocketAddr, guest: Guest) -> Result<Listener, ListenError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::AddrInUse => ListenError::InUse { address: Address::Tcp(wanted) },
        _ => ListenError::Io { address: Address::Tcp(wanted), source },
    };
    let socket = TcpListener::bind(wanted).map_err(failed)?;
    let address = Address::Tcp(socket.local_addr().map_err(failed)?);
    // Connections inherit it.
    prompt(&socket).map_err(|errno| failed(errno.into()))?;
    Ok(Listener { socket: socket.into(), address, guest, identity: None })
}

/// No delay for what is sent, and an end for connections whose other side has vanished. What got lost twice is sent a third
/// time as soon as the second: a member that is not heard for a few of these times is taken for gone.
pub(crate) fn prompt(socket: impl AsFd) -> rustix::io::Result<()> {
    sockopt::set_tcp_nodelay(&socket, true)?;
    sockopt::set_tcp_thin_linear_timeouts(&socket, true)?;
    sockopt::set_socket_keepalive(&socket, true)?;
    sockopt::set_tcp_keepidle(&socket, KEEPALIVE_AFTER)?;
    sockopt::set_tcp_keepintvl(&socket, KEEPALIVE_EVERY)?;
    sockopt::set_tcp_keepcnt(&socket, KEEPALIVE_PROBES)
}

fn open_unix(path: &Path, guest: Guest) -> Result<Listener, ListenError> {
    let len_bytes = path.as_os_str().len();
    if len_bytes > UNIX_PATH_BYTES_MAX {
        return Err(ListenError::PathTooLong { path: path.to_owned(), len_bytes });
    }
    let address = Address::Unix(path.to_owned());
    clear_the_way(path, &address)?;
    let socket = UnixListener::bind(path).map_err(|source| ListenError::Io { address: address.clone(), source })?;
    Ok(Listener { socket: socket.into(), address, guest, identity: identity(path) })
}

/// Removes the socket of a server that is no more.
fn clear_the_way(path: &Path, address: &Address) -> Result<(), ListenError> {
    match fs::symlink_metadata(path) {
        Err(_) => return Ok(()),
        Ok(found) if !found.file_type().is_socket() => return Err(ListenError::NotASocket { path: path.to_owned() }),
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(|source| ListenError::Io { address: address.clone(), source })
        }
        Ok(_) | Err(_) => Err(ListenError::InUse { address: address.clone() }),
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::{Address, Guest, ListenError, Listener};

    #[test]
    fn an_address_is_opened_once_and_what_a_dead_server_left_is_no_obstacle() {
        let directory = tempfile::tempdir().expect("a directory");
        let address = Address::Unix(directory.path().join("socket"));
        let first = Listener::open(&address, Guest::Client).expect("opened");
        assert!(matches!(Listener::open(&address, Guest::Client), Err(ListenError::InUse { .. })));
        // As after kill -9: the file stays, nobody answers.
        drop(std::fs::rename(directory.path().join("socket"), directory.path().join("kept")));
        drop(first);
        drop(std::fs::rename(directory.path().join("kept"), directory.path().join("socket")));
        let second = Listener::open(&address, Guest::Client).expect("opened over the dead one");
        drop(second);
        assert!(!directory.path().join("socket").exists());

        let tcp = Listener::open(&Address::Tcp(([127, 0, 0, 1], 0).into()), Guest::Client).expect("opened");
        assert!(matches!(Listener::open(tcp.address(), Guest::Client), Err(ListenError::InUse { .. })));
    }

    #[test]
    fn what_is_in_the_way_is_named() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("file");
        std::fs::write(&file, "precious").expect("written");
        assert!(matches!(
            Listener::open(&Address::Unix(file.clone()), Guest::Client),
            Err(ListenError::NotASocket { .. })
        ));
        assert_eq!(std::fs::read(&file).expect("still there"), b"precious");
        let long = PathBuf::from(format!("/tmp/{}", "x".repeat(120)));
        assert!(matches!(
            Listener::open(&Address::Unix(long), Guest::Client),
            Err(ListenError::PathTooLong { len_bytes: 125, .. })
        ));
    }
}
