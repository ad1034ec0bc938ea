//! `plinth attach` in a folder of its own; what it leaves when a test fails is removed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use crate::cluster::Shell;
use crate::tool::{output, run, tool};
use crate::wait;

/// What attaches volumes on this host.
#[derive(Debug)]
pub struct AttachHost {
    shell: Shell,
    folder: TempDir,
}

impl AttachHost {
    /// A host of that cluster, without anything attached.
    ///
    /// # Panics
    /// When there is no place for temporary files.
    #[must_use]
    pub fn of(shell: Shell) -> Self {
        let folder = tempfile::Builder::new().prefix("plinth-").tempdir().expect("a temporary folder");
        Self { shell, folder }
    }

    fn arguments<'a>(&'a self, arguments: &[&'a str]) -> Vec<&'a str> {
        let folder = self.folder.path().to_str().expect("temporary paths are UTF-8");
        [arguments, &["--folder", folder]].concat()
    }

    /// Gives a command that must succeed; answers what it printed.
    pub fn run(&self, arguments: &[&str]) -> String {
        let output = self.plinth(arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {said}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Gives a command and takes its end as it is.
    #[must_use]
    pub fn plinth(&self, arguments: &[&str]) -> Output {
        self.shell.plinth(&self.arguments(arguments))
    }

    /// Attaches; answers the device.
    #[must_use]
    pub fn attach(&self, volume: &str) -> PathBuf {
        PathBuf::from(self.run(&["attach", volume, "--method", "fuse", "--client", "tester"]))
    }

    /// The process that keeps a volume's device.
    #[must_use]
    pub fn keeper(&self, volume: &str) -> Option<u64> {
        let all: Value = serde_json::from_str(&self.run(&["attachments", "-o", "json"])).expect("JSON");
        let found = all.as_array().expect("a list").iter().find(|one| one["volume"] == volume)?;
        found["keeper"].as_u64()
    }

    /// All that is left of it on this host.
    #[must_use]
    pub fn remains(&self) -> Vec<String> {
        let folder = self.folder.path();
        let needle = folder.to_str().expect("UTF-8");
        let files = fs::read_dir(folder).expect("the folder").flatten().map(|entry| entry.path().display().to_string());
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("the kernel tells");
        let loops = run(tool("losetup").args(["-a"]));
        let lines = mounts.lines().chain(loops.lines()).filter(|line| line.contains(needle)).map(str::to_owned);
        files.chain(lines.collect::<Vec<_>>()).chain(processes_of(folder)).collect()
    }
}

/// Command lines that name the folder.
fn processes_of(folder: &Path) -> Vec<String> {
    let needle = folder.as_os_str().as_encoded_bytes();
    let entries = fs::read_dir("/proc").expect("the kernel tells").flatten();
    let lines = entries.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    let ours = lines.filter(|line| line.windows(needle.len()).any(|part| part == needle));
    ours.map(|line| String::from_utf8_lossy(&line).replace('\0', " ")).collect()
}

impl Drop for AttachHost {
    fn drop(&mut self) {
        let entries: Vec<_> = fs::read_dir(self.folder.path()).into_iter().flatten().flatten().collect();
        for entry in entries {
            if let Some(name) = entry.file_name().to_str() {
                // The cluster may be gone; what is on this host ends all the same.
                let _ = self.plinth(&["detach", name, "--force", "--timeout", "2"]);
            }
        }
    }
}

/// A mounted filesystem, unmounted when this goes.
#[derive(Debug)]
pub struct Mounted {
    folder: TempDir,
}

impl Mounted {
    /// Mounts what is on the device.
    ///
    /// # Panics
    /// When there is nothing to mount.
    #[must_use]
    pub fn new(device: &Path) -> Self {
        let mounted = Self { folder: tempfile::Builder::new().prefix("plinth-").tempdir().expect("a folder") };
        run(tool("mount").arg(device).arg(mounted.folder.path()));
        mounted
    }

    /// Where.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// How the kernel has it mounted.
    ///
    /// # Panics
    /// When it is not.
    #[must_use]
    pub fn options(&self) -> String {
        run(tool("findmnt").args(["-no", "OPTIONS"]).arg(self.path()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let unmount = |lazily: &[&str]| output(Command::new("umount").args(lazily).arg(self.folder.path())).status;
        if wait::within(std::time::Duration::from_secs(10), || unmount(&[]).success().then_some(())).is_none() {
            let _ = unmount(&["-l"]);
        }
    }
}
