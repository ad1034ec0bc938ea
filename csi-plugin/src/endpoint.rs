//! The unix socket on which the plugin is reached.

use std::fmt;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use tokio_stream::wrappers::UnixListenerStream;

/// `unix:///csi/csi.sock`, or a path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoint(PathBuf);

/// Why the plugin cannot be reached there.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// The text is none.
    #[error("\"{0}\" is no endpoint: write unix:///csi/csi.sock, or the absolute path of a socket")]
    NotUnix(String),
    /// Another plugin serves there.
    #[error("cannot listen on {0}: another program listens there; stop it or choose another endpoint")]
    InUse(Endpoint),
    /// Something else is in the way.
    #[error(
        "cannot listen on {0}: there is a file of that name that is not a socket; remove it or choose another endpoint"
    )]
    NotASocket(Endpoint),
    /// A call failed.
    #[error("cannot listen on {endpoint}: {source}; its folder must be there and writable")]
    Io {
        /// Where.
        endpoint: Endpoint,
        /// What the system said.
        source: io::Error,
    },
}

/// The open socket.
#[derive(Debug)]
pub(crate) struct Listener {
    incoming: UnixListenerStream,
    file: SocketFile,
}

/// Removes the socket's file at the end, unless another plugin has put its own there.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    identity: Option<(u64, u64)>,
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let path = text.strip_prefix("unix://").or_else(|| text.strip_prefix("unix:")).unwrap_or(text);
        if !path.starts_with('/') {
            return Err(EndpointError::NotUnix(text.to_owned()));
        }
        Ok(Self(PathBuf::from(path)))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unix://{}", self.0.display())
    }
}

impl Listener {
    /// Opens it. The file that a plugin left when it died is removed; one that somebody listens on is not.
    pub fn open(endpoint: &Endpoint) -> Result<Self, EndpointError> {
        let failed = |source| EndpointError::Io { endpoint: endpoint.clone(), source };
        clear(endpoint)?;
        let listener = UnixListener::bind(&endpoint.0).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let listener = tokio::net::UnixListener::from_std(listener).map_err(failed)?;
        let file = SocketFile { path: endpoint.0.clone(), identity: identity(&endpoint.0) };
        Ok(Self { incoming: UnixListenerStream::new(listener), file })
    }

    /// Who comes, and the file, which is to be kept as long.
    pub fn split(self) -> (UnixListenerStream, SocketFile) {
        (self.incoming, self.file)
    }
}

fn clear(endpoint: &Endpoint) -> Result<(), EndpointError> {
    let failed = |source| EndpointError::Io { endpoint: endpoint.clone(), source };
    let found = match std::fs::symlink_metadata(&endpoint.0) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    if !found.file_type().is_socket() {
        return Err(EndpointError::NotASocket(endpoint.clone()));
    }
    match UnixStream::connect(&endpoint.0) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(&endpoint.0).map_err(failed)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed(error)),
        Ok(_) => Err(EndpointError::InUse(endpoint.clone())),
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    std::fs::symlink_metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.identity.is_some() && identity(&self.path) == self.identity {
            // What cannot be removed is removed by the next one that starts.
            let _removed = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Endpoint, EndpointError, Listener};

    fn endpoint(path: &std::path::Path) -> Endpoint {
        path.display().to_string().parse().unwrap()
    }

    #[test]
    fn an_endpoint_is_a_unix_socket() {
        for text in ["unix:///csi/csi.sock", "unix:/csi/csi.sock", "/csi/csi.sock"] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), "unix:///csi/csi.sock");
        }
        for text in ["", "tcp://127.0.0.1:1", "csi.sock", "unix://csi.sock"] {
            assert!(matches!(text.parse::<Endpoint>(), Err(EndpointError::NotUnix(_))), "{text}");
        }
    }

    #[tokio::test]
    async fn a_socket_that_was_left_is_replaced_and_one_that_lives_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("csi.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let listener = Listener::open(&endpoint(&path)).unwrap();
        assert!(matches!(Listener::open(&endpoint(&path)), Err(EndpointError::InUse(_))));
        drop(listener);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_file_that_is_no_socket_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("precious");
        std::fs::write(&path, "data").unwrap();
        assert!(matches!(Listener::open(&endpoint(&path)), Err(EndpointError::NotASocket(_))));
        assert_eq!(std::fs::read(&path).unwrap(), b"data");
        let nowhere = folder.path().join("no/such/folder.sock");
        assert!(matches!(Listener::open(&endpoint(&nowhere)), Err(EndpointError::Io { .. })));
    }
}
