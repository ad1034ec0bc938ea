//! nbdfuse and a loop device on top of the endpoint's socket.
//!
//! What is there is read from the kernel and not remembered: whatever was left when a process died is found by the
//! folder it lies in.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::time::{Instant, sleep};

use super::endpoint::EXPORT;
use crate::tool::{self, ToolFault};

/// How long a program may take that asks the kernel for something.
const TOOL_MAX: Duration = Duration::from_secs(10);
/// How long nbdfuse may take to show the file, and to end.
const MOUNT_MAX: Duration = Duration::from_secs(10);
const STEP: Duration = Duration::from_millis(10);

/// The parts of one attachment, in its folder.
#[derive(Clone, Debug)]
pub struct Stack {
    folder: PathBuf,
}

/// The program between the socket and the file.
#[derive(Debug)]
pub struct Nbdfuse(tokio::process::Child);

/// Why there is no device, or why it cannot be taken down.
#[derive(Debug, thiserror::Error)]
pub enum StackFault {
    /// A program of the host did not help.
    #[error(transparent)]
    Tool(#[from] ToolFault),
    /// A part cannot be made.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// nbdfuse ended or hangs.
    #[error("nbdfuse did not show the volume: {0}")]
    NoFile(String),
    /// Somebody keeps a part open.
    #[error("{0} is still there; see who uses it, or detach with --force")]
    Left(String),
}

impl Stack {
    /// In an attachment's folder.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// Where the endpoint listens.
    pub fn socket(&self) -> PathBuf {
        self.folder.join("nbd.sock")
    }

    fn mount(&self) -> PathBuf {
        self.folder.join("fuse")
    }

    fn file(&self) -> PathBuf {
        self.mount().join("disk")
    }

    /// Puts both on top of the endpoint, which must be serving; answers the device.
    ///
    /// # Errors
    /// See [`StackFault`]. What was made is to be taken down.
    pub async fn raise(&self, read_only: bool) -> Result<(PathBuf, Nbdfuse), StackFault> {
        let nbdfuse = self.start_nbdfuse(read_only)?;
        let nbdfuse = self.wait_for_file(nbdfuse).await?;
        let mut arguments = vec!["--find", "--show", "--direct-io=on"];
        arguments.extend(read_only.then_some("--read-only"));
        let file = self.file();
        let arguments = arguments.into_iter().map(Path::new).chain([file.as_path()]);
        let device = tool::run("losetup", arguments, TOOL_MAX).await?;
        Ok((PathBuf::from(device), nbdfuse))
    }

    fn start_nbdfuse(&self, read_only: bool) -> Result<Nbdfuse, StackFault> {
        fs::create_dir_all(self.mount()).map_err(|source| StackFault::Io { what: "making a mount point", source })?;
        let uri = format!("nbd+unix:///{EXPORT}?socket={}", escaped(&self.socket()));
        let mut command = Command::new("nbdfuse");
        command.args(read_only.then_some("-r")).arg(self.file()).arg(uri);
        // What a terminal sends to this process is not for it: it must outlive the last write.
        command.stdin(Stdio::null()).stdout(Stdio::null()).process_group(0);
        let child = tokio::process::Command::from(command).spawn();
        child.map(Nbdfuse).map_err(|source| StackFault::Io { what: "starting nbdfuse (package libnbd-bin)", source })
    }

    async fn wait_for_file(&self, mut nbdfuse: Nbdfuse) -> Result<Nbdfuse, StackFault> {
        let deadline = Instant::now() + MOUNT_MAX;
        while !self.is_mounted() || !self.file().exists() {
            if let Ok(Some(status)) = nbdfuse.0.try_wait() {
                return Err(StackFault::NoFile(format!("it ended with {status}")));
            }
            if Instant::now() > deadline {
                return Err(StackFault::NoFile(format!("nothing within {} s", MOUNT_MAX.as_secs())));
            }
            sleep(STEP).await;
        }
        Ok(nbdfuse)
    }

    /// Loop devices on our file.
    pub fn devices(&self) -> Vec<PathBuf> {
        let file = self.file();
        let Ok(entries) = fs::read_dir("/sys/block") else { return Vec::new() };
        let ours = |entry: &fs::DirEntry| {
            let backing = fs::read_to_string(entry.path().join("loop/backing_file")).unwrap_or_default();
            // The kernel says so when the file is gone.
            let backing = backing.trim_end().trim_end_matches(" (deleted)");
            Path::new(backing) == file
        };
        entries.flatten().filter(ours).map(|entry| Path::new("/dev").join(entry.file_name())).collect()
    }

    /// Takes everything down that is there, in order; nothing waits in it any more.
    ///
    /// # Errors
    /// Something does not go.
    pub async fn lower(&self) -> Result<(), StackFault> {
        for device in self.devices() {
            tool::run("losetup", [Path::new("-d"), &device], TOOL_MAX).await?;
        }
        self.wait_until("a loop device", || self.devices().is_empty()).await?;
        if self.is_mounted() {
            // Whoever just looked at the file may still hold it for a moment.
            let unmounted = self.wait_for_unmount().await;
            unmounted?;
        }
        self.wait_until("nbdfuse", || self.processes().is_empty()).await?;
        self.clear();
        Ok(())
    }

    async fn wait_for_unmount(&self) -> Result<(), StackFault> {
        let deadline = Instant::now() + MOUNT_MAX;
        loop {
            match tool::run("umount", [self.mount()], TOOL_MAX).await {
                Ok(_) => return Ok(()),
                Err(fault) if Instant::now() > deadline => return Err(fault.into()),
                Err(_) => sleep(STEP * 10).await,
            }
        }
    }

    /// Takes down what is there whatever waits in it: that fails.
    ///
    /// # Errors
    /// Something does not go.
    pub async fn tear_down(&self) -> Result<(), StackFault> {
        // Whatever the kernel waits for fails when nbdfuse is gone.
        self.kill(Signal::KILL);
        for device in self.devices() {
            let detached = tool::run("losetup", [Path::new("-d"), &device], TOOL_MAX).await;
            tracing::debug!("{}: {detached:?}", device.display());
        }
        while self.is_mounted() {
            tool::run("umount", [Path::new("-l"), &self.mount()], TOOL_MAX).await?;
        }
        self.wait_until("nbdfuse", || self.processes().is_empty()).await?;
        // One that is mounted goes when it is unmounted, by itself.
        self.clear();
        Ok(())
    }

    fn clear(&self) {
        // What is not there need not be removed.
        let _ = fs::remove_file(self.socket());
        let _ = fs::remove_dir(self.mount());
    }

    async fn wait_until(&self, what: &str, condition: impl Fn() -> bool) -> Result<(), StackFault> {
        let deadline = Instant::now() + MOUNT_MAX;
        while !condition() {
            if Instant::now() > deadline {
                return Err(StackFault::Left(format!("{what} of {}", self.folder.display())));
            }
            sleep(STEP).await;
        }
        Ok(())
    }

    fn is_mounted(&self) -> bool {
        let mount = self.mount();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        mounts.lines().any(|line| line.split(' ').nth(4).is_some_and(|place| Path::new(place) == mount))
    }

    /// Processes of nbdfuse for our file.
    fn processes(&self) -> Vec<Pid> {
        let file = self.file();
        let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
        let ids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        let ours = |id: &i32| {
            let command = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
            let mut words = command.split(|byte| *byte == 0);
            words.next().is_some_and(|program| program.ends_with(b"nbdfuse"))
                && words.any(|word| word == file.as_os_str().as_encoded_bytes())
        };
        ids.filter(ours).filter_map(Pid::from_raw).collect()
    }

    fn kill(&self, signal: Signal) {
        for id in self.processes() {
            // Between the look and the signal the number may have become another's: the descriptor stays with the one
            // it was opened for, and a second look tells whose it is.
            if let Ok(process) = pidfd_open(id, PidfdFlags::empty())
                && self.processes().contains(&id)
            {
                let _ = pidfd_send_signal(&process, signal);
            }
        }
    }
}

impl Nbdfuse {
    /// Waits until it ends, which it does when it is unmounted or killed.
    pub async fn ended(&mut self) -> String {
        match self.0.wait().await {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        }
    }
}

/// What this host lacks for it, if anything.
pub fn lacking() -> Option<&'static str> {
    let needs = [
        (Path::new("/dev/fuse").exists(), "/dev/fuse"),
        (Path::new("/dev/loop-control").exists(), "loop devices"),
        (tool::is_there("nbdfuse"), "nbdfuse (package libnbd-bin)"),
        (tool::is_there("losetup"), "losetup (package mount)"),
    ];
    needs.into_iter().find(|(there, _)| !there).map(|(_, what)| what)
}

/// A path as part of a URI.
fn escaped(path: &Path) -> String {
    let mut text = String::new();
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' | b'~' => text.push(char::from(*byte)),
            _ => text += &format!("%{byte:02X}"),
        }
    }
    text
}
