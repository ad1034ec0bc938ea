//! Loop devices on sparse files, gone with their test.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use tests::tool::{output, run, tool};
use tests::wait;

/// What this machine lacks to run these tests.
pub fn lacking() -> Option<&'static str> {
    let tests = [
        (rustix::process::geteuid().is_root(), "only root may mount"),
        (Path::new("/dev/loop-control").exists(), "there are no loop devices"),
    ];
    tests.into_iter().find(|(there, _)| !there).map(|(_, what)| what)
}

/// Whether this process has CAP_SYS_RESOURCE, which containers may lack also as root.
pub fn may_resize_ext4() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").expect("the kernel tells");
    let set = status.lines().find_map(|line| line.strip_prefix("CapEff:")).expect("the kernel tells");
    u64::from_str_radix(set.trim(), 16).expect("hexadecimal digits") & (1 << 24) != 0
}

/// A device, and a folder with places to mount it.
#[derive(Debug)]
pub struct Loop {
    folder: TempDir,
    device: PathBuf,
}

impl Loop {
    /// Of so many MiB, all zeros.
    pub fn new(mib: u64) -> Self {
        let folder = tempfile::Builder::new().prefix("plinth-").tempdir().expect("a temporary folder");
        File::create(folder.path().join("disk"))
            .expect("the host does it")
            .set_len(mib << 20)
            .expect("the host does it");
        Self::on(folder, &[])
    }

    /// A copy of what another one holds.
    pub fn copy_of(other: &Self) -> Self {
        let folder = tempfile::Builder::new().prefix("plinth-").tempdir().expect("a temporary folder");
        run(tool("sync").arg(other.device()));
        run(tool("cp").arg("--sparse=always").arg(other.folder.path().join("disk")).arg(folder.path()));
        Self::on(folder, &[])
    }

    /// The same bytes, as a device that may not be written.
    pub fn read_only(self) -> Self {
        let folder = tempfile::Builder::new().prefix("plinth-").tempdir().expect("a temporary folder");
        run(tool("cp").arg("--sparse=always").arg(self.folder.path().join("disk")).arg(folder.path()));
        Self::on(folder, &["--read-only"])
    }

    fn on(folder: TempDir, options: &[&str]) -> Self {
        let file = folder.path().join("disk");
        let device = run(tool("losetup").args(["--find", "--show"]).args(options).arg(file));
        Self { folder, device: PathBuf::from(device.trim()) }
    }

    pub fn device(&self) -> &Path {
        &self.device
    }

    /// A folder to mount at.
    pub fn place(&self, name: &str) -> PathBuf {
        let place = self.folder.path().join(name);
        std::fs::create_dir_all(&place).expect("a folder");
        place
    }

    /// Makes the device larger.
    pub fn grow(&self, mib: u64) {
        File::options()
            .write(true)
            .open(self.folder.path().join("disk"))
            .expect("the host does it")
            .set_len(mib << 20)
            .expect("the host does it");
        run(tool("losetup").arg("--set-capacity").arg(&self.device));
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let points = table.lines().rev().filter_map(|line| line.split(' ').nth(4)).map(Path::new);
        for point in points.filter(|point| point.starts_with(self.folder.path())) {
            let unmounted = || output(Command::new("umount").arg(point)).status.success().then_some(());
            if wait::within(Duration::from_secs(5), unmounted).is_none() {
                let _ = output(Command::new("umount").arg("-l").arg(point));
            }
        }
        let _ = output(Command::new("losetup").arg("-d").arg(&self.device));
    }
}

/// Runs a future to its end.
pub fn block<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}
