//! The connection with the kernel's FUSE: calls are read from it, one at a time, and answers written.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};
use tokio::io::unix::AsyncFd;

use super::wire::{CALL_BYTES_MAX, reply};

/// The connection. When it goes every call fails.
#[derive(Debug)]
pub struct Channel {
    device: AsyncFd<OwnedFd>,
    input: Vec<u8>,
}

impl Channel {
    /// Mounts a file system on a folder, for root only. Whoever uses it waits until its calls are answered.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn mount(folder: &Path) -> io::Result<Self> {
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let device = rustix::fs::open("/dev/fuse", flags, Mode::empty())?;
        let options = format!("fd={},rootmode=40000,user_id=0,group_id=0,default_permissions", device.as_raw_fd());
        let options = CString::new(options).expect("digits and letters");
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC | MountFlags::NOATIME;
        mount("plinth", folder, "fuse.plinth", flags, options.as_c_str())?;
        Ok(Self { device: watched(device)?, input: vec![0; CALL_BYTES_MAX] })
    }

    /// Waits until there may be a call.
    ///
    /// # Errors
    /// There is nothing to wait for.
    pub async fn ready(&self) -> io::Result<()> {
        self.device.readable().await.map(|mut guard| guard.retain_ready())
    }

    /// The next call's bytes; `None` when there is none now.
    ///
    /// # Errors
    /// It was unmounted.
    pub fn read(&mut self) -> io::Result<Option<&[u8]>> {
        loop {
            let Self { device, input } = self;
            let read =
                device.try_io(tokio::io::Interest::READABLE, |device| Ok(rustix::io::read(device, &mut *input)?));
            match read {
                Ok(count) => return Ok(Some(&self.input[..count])),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                // The call was taken back before it was read.
                Err(error) if is_passing(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Answers a call.
    ///
    /// # Errors
    /// It was unmounted.
    pub fn reply(&self, unique: u64, result: Result<&[u8], Errno>) -> io::Result<()> {
        match reply(unique, result, |parts| rustix::io::writev(self.device.get_ref(), parts)) {
            // Whoever asked has gone.
            Ok(_) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

#[expect(deprecated, reason = "unsound for what may change its descriptor; this one is owned and stays the same")]
fn watched(device: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::new(device)
}

fn is_passing(error: &io::Error) -> bool {
    [Errno::NOENT, Errno::INTR].iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}
