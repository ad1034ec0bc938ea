//! The mounted file system and a loop device on top of its file.
//!
//! What is there is read from the kernel and not remembered: whatever was left when a process died is found by the
//! folder it lies in. The process that serves the file never touches it itself: other programs do, which can be left alone
//! when the volume does not answer.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::mount::{UnmountFlags, unmount};
use tokio::time::{Instant, sleep};

use super::channel::Channel;
use super::file::NAME;
use crate::tool::{self, ToolFault};

/// How long a program may take that asks the kernel for something.
const TOOL_MAX: Duration = Duration::from_secs(10);
/// How long a part may take to go.
const GONE_MAX: Duration = Duration::from_secs(10);
const STEP: Duration = Duration::from_millis(10);

/// The parts of one attachment, in its folder.
#[derive(Clone, Debug)]
pub struct Stack {
    folder: PathBuf,
}

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
    /// Somebody keeps a part open.
    #[error("{0} is still there; see who uses it, or detach with --force")]
    Left(String),
}

impl Stack {
    /// In an attachment's folder. What the kernel tells of mounts and loop devices has no links in it, so neither has this.
    pub fn new(folder: &Path) -> Self {
        Self { folder: fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned()) }
    }

    fn mount(&self) -> PathBuf {
        self.folder.join("fuse")
    }

    fn file(&self) -> PathBuf {
        self.mount().join(NAME)
    }

    /// Mounts the file system, whose calls wait until they are answered.
    ///
    /// # Errors
    /// The system refuses.
    pub fn open(&self) -> Result<Channel, StackFault> {
        fs::create_dir_all(self.mount()).map_err(|source| StackFault::Io { what: "making a mount point", source })?;
        Channel::mount(&self.mount()).map_err(|source| StackFault::Io { what: "mounting a FUSE file system", source })
    }

    /// Puts a loop device on the file, which somebody must be serving; answers the device.
    ///
    /// # Errors
    /// See [`StackFault`]. What was made is to be taken down.
    pub async fn raise(&self, read_only: bool) -> Result<PathBuf, StackFault> {
        let mut arguments = vec!["--find", "--show", "--direct-io=on"];
        arguments.extend(read_only.then_some("--read-only"));
        let file = self.file();
        let arguments = arguments.into_iter().map(Path::new).chain([file.as_path()]);
        Ok(PathBuf::from(tool::run("losetup", arguments, TOOL_MAX).await?))
    }

    /// Makes file and device larger while they are used.
    ///
    /// # Errors
    /// They are as they were.
    pub async fn grow(&self, size_bytes: u64) -> Result<(), StackFault> {
        // Setting the size is what makes the kernel believe it at once, also while the file is written.
        let size = format!("--size={size_bytes}");
        tool::run("truncate", ["--no-create".as_ref(), size.as_ref(), self.file().as_os_str()], TOOL_MAX).await?;
        for device in self.devices() {
            tool::run("losetup", [Path::new("--set-capacity"), &device], TOOL_MAX).await?;
        }
        Ok(())
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
            self.wait_for_unmount().await?;
        }
        self.clear();
        Ok(())
    }

    async fn wait_for_unmount(&self) -> Result<(), StackFault> {
        let deadline = Instant::now() + GONE_MAX;
        loop {
            match tool::run("umount", [self.mount()], TOOL_MAX).await {
                Ok(_) => return Ok(()),
                Err(fault) if Instant::now() > deadline => return Err(fault.into()),
                Err(_) => sleep(STEP * 10).await,
            }
        }
    }

    /// Has everything fail that waits for an answer, or comes and would, whether the process that was to give it has ended
    /// or not. A loop device stays, and the file system below it.
    pub fn abort(&self) {
        // Refused because it is in use: the order to abort comes before that.
        let aborted = unmount(self.mount(), UnmountFlags::FORCE);
        tracing::debug!("{}: {aborted:?}", self.folder.display());
    }

    /// Takes down what is there whatever waits in it: that fails.
    ///
    /// # Errors
    /// Something does not go.
    pub async fn tear_down(&self) -> Result<(), StackFault> {
        self.abort();
        for device in self.devices() {
            let detached = tool::run("losetup", [Path::new("-d"), &device], TOOL_MAX).await;
            tracing::debug!("{}: {detached:?}", device.display());
        }
        while self.is_mounted() {
            tool::run("umount", [Path::new("-l"), &self.mount()], TOOL_MAX).await?;
        }
        // One that is mounted goes when it is unmounted, by itself.
        self.clear();
        Ok(())
    }

    fn clear(&self) {
        // What is not there need not be removed.
        let _ = fs::remove_dir(self.mount());
    }

    async fn wait_until(&self, what: &str, condition: impl Fn() -> bool) -> Result<(), StackFault> {
        let deadline = Instant::now() + GONE_MAX;
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
}

/// What this host lacks for it, if anything.
pub fn lacking() -> Option<&'static str> {
    let needs = [
        (Path::new("/dev/fuse").exists(), "/dev/fuse"),
        (Path::new("/dev/loop-control").exists(), "loop devices"),
        (tool::is_there("losetup"), "losetup (package mount)"),
        (tool::is_there("truncate"), "truncate (package coreutils)"),
    ];
    needs.into_iter().find(|(there, _)| !there).map(|(_, what)| what)
}
