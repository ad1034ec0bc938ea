//! ext4 on a volume, mounted through nbdfuse and a loop device: a tree of files survives unmount, fsck and restarts.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tests::node::{Home, Node};
use tests::random::Random;
use tests::skip::skip;
use tests::tool::{Running, output, run, tool};
use tests::wait;

const FILES: u64 = 300;

/// A volume as a block device. Everything is undone in reverse when this goes.
struct Device {
    loop_device: String,
    file: PathBuf,
    folder: PathBuf,
    nbdfuse: Running,
}

impl Device {
    fn attach(home: &Home, node: &Node) -> Self {
        let folder = home.path("fuse");
        fs::create_dir_all(&folder).expect("a mount point");
        let file = folder.join("disk");
        let arguments = [file.to_str().expect("UTF-8").to_owned(), node.uri()];
        let nbdfuse = Running::start(Path::new("nbdfuse"), &arguments, &home.path("nbdfuse.log"));
        let mut device = Self { loop_device: String::new(), file, folder, nbdfuse };
        wait::until("nbdfuse to mount", || device.file.exists().then_some(()));
        let attach = run(tool("losetup").args(["-f", "--show", "--direct-io=on"]).arg(&device.file));
        device.loop_device = attach.trim().to_owned();
        device
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        if !self.loop_device.is_empty() {
            output(tool("losetup").args(["-d", &self.loop_device]));
        }
        wait::within(Duration::from_secs(20), || quiet(tool("fusermount3").arg("-u").arg(&self.folder)).then_some(()));
        self.nbdfuse.ends_within(Duration::from_secs(20));
    }
}

/// A mounted filesystem, unmounted when this goes.
struct Mount(PathBuf);

impl Mount {
    fn new(home: &Home, device: &Device) -> Self {
        let folder = home.path("mnt");
        fs::create_dir_all(&folder).expect("a mount point");
        run(tool("mount").args(["-t", "ext4", "-o", "discard", &device.loop_device]).arg(&folder));
        Self(folder)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        wait::within(Duration::from_secs(20), || quiet(tool("umount").arg(&self.0)).then_some(()));
    }
}

fn quiet(command: &mut Command) -> bool {
    output(command).status.success()
}

/// What this machine lacks to run these tests.
fn lacking() -> Option<&'static str> {
    let is_root = rustix::process::geteuid().is_root();
    let tests = [
        (is_root, "only root may mount"),
        (Path::new("/dev/fuse").exists(), "there is no /dev/fuse"),
        (Path::new("/dev/loop-control").exists(), "there are no loop devices"),
    ];
    tests.into_iter().find(|(there, _)| !there).map(|(_, what)| what)
}

/// Files of many sizes, one in three deleted or rewritten again.
fn grow_tree(root: &Path, seed: u64) {
    let mut random = Random::seeded(seed);
    for number in 0..FILES {
        let folder = root.join(format!("folder{}", random.below(20)));
        fs::create_dir_all(&folder).expect("a folder");
        let magnitude = random.below(19);
        let len = usize::try_from(random.below(1 << magnitude)).expect("small");
        fs::write(folder.join(format!("file{number}")), random.bytes(len)).expect("a file");
    }
    for number in 0..FILES / 3 {
        for folder in 0..20 {
            let file = root.join(format!("folder{folder}/file{number}"));
            if file.exists() && random.one_in(2) {
                fs::remove_file(&file).expect("deleted");
            } else if file.exists() {
                fs::write(&file, random.bytes(10_000)).expect("rewritten");
            }
        }
    }
}

fn checksums(root: &Path) -> String {
    let listing = "find . -type f -print0 | sort -z | xargs -0 sha256sum";
    run(tool("sh").args(["-c", listing]).current_dir(root))
}

#[test]
fn a_file_tree_survives_unmount_fsck_and_restart() {
    if let Some(what) = lacking() {
        return skip("a_file_tree_survives_unmount_fsck_and_restart", what);
    }
    let home = Home::default();
    let mut node = home.start();
    let before = {
        let device = Device::attach(&home, &node);
        run(tool("mkfs.ext4").args(["-q", &device.loop_device]));
        let mount = Mount::new(&home, &device);
        grow_tree(&mount.0, 5);
        checksums(&mount.0)
    };
    assert!(before.lines().count() > 100, "a tree has files: {before}");
    for restart in ["a stop", "a kill"] {
        if restart == "a stop" {
            assert_eq!(node.stop_within(Duration::from_secs(10)), 0);
        } else {
            node.running.kill();
        }
        node = home.start();
        let device = Device::attach(&home, &node);
        run(tool("fsck.ext4").args(["-f", "-n", &device.loop_device]));
        let mount = Mount::new(&home, &device);
        assert!(checksums(&mount.0) == before, "the files differ after {restart}");
    }
}
