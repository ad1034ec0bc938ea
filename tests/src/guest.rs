//! A small machine of QEMU with Debian's cloud kernel, whose whole world is an initial RAM disk: busybox, our program, and
//! what the test adds. It reaches this host's loopback addresses, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::node::program;
use crate::tool::{output, run, tool};

/// Debian's package that depends on the kernel of today.
const KERNEL_PACKAGE: &str = "linux-image-cloud-amd64";
/// Modules the guest needs; what they need themselves is found.
const MODULES: [&str; 4] = ["virtio_pci", "virtio_net", "nbd", "xfs"];
/// Programs that are copied with their libraries. Those in /usr are of the same names as busybox's own, which come first
/// unless PATH says otherwise.
const PROGRAMS: [&str; 8] = [
    "/sbin/mkfs.ext4",
    "/sbin/e2fsck",
    "/sbin/resize2fs",
    "/sbin/mkfs.xfs",
    "/sbin/xfs_growfs",
    "/usr/sbin/blkid",
    "/usr/bin/mount",
    "/usr/bin/umount",
];

/// Runs first in the guest. Without a loopback device of its own all of 127.0.0.0/8 is the host's.
const INIT: &str = "\
#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /run /tmp /sbin /usr/bin /usr/sbin /mnt
/bin/busybox --install -s /bin
export PATH=/bin:/sbin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev; mount -t tmpfs run /run
hostname guest
while read -r module; do insmod /modules/$module || echo \"GUEST no module $module\"; done < /modules/order
ip link set eth0 up
ip addr add 10.0.2.15/24 dev eth0
echo 1 > /proc/sys/net/ipv4/conf/all/route_localnet
ip route add default via 10.0.2.2
echo 3 > /proc/sys/kernel/printk
echo; echo GUEST up
. /test
echo GUEST end
sync
poweroff -f
";

/// One test downloads, the others find it done.
static FINDING: Mutex<()> = Mutex::new(());

/// What is needed to start guests.
#[derive(Debug)]
pub struct GuestKernel {
    image: PathBuf,
    modules: Vec<PathBuf>,
}

impl GuestKernel {
    /// Finds it in the cache folder, or has Debian's packages downloaded into it.
    ///
    /// # Errors
    /// In words, what is missing.
    pub fn find() -> Result<Self, String> {
        let _turn = FINDING.lock().unwrap_or_else(PoisonError::into_inner);
        for program in ["qemu-system-x86_64", "busybox", "cpio", "depmod", "modprobe", "apt-get", "dpkg-deb"] {
            if !output(Command::new("sh").args(["-c", &format!("command -v {program}")])).status.success() {
                return Err(format!("there is no {program}"));
            }
        }
        if let Some(program) = PROGRAMS.iter().find(|program| !Path::new(program).exists()) {
            return Err(format!("there is no {program}"));
        }
        let package = of_today()?;
        let folder = cache().join(&package);
        if !folder.join("done").exists() {
            download(&package, &folder)?;
        }
        let version = package.trim_start_matches("linux-image-").to_owned();
        let image = folder.join(format!("boot/vmlinuz-{version}"));
        Ok(Self { image, modules: modules(&folder, &version)? })
    }
}

fn cache() -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache");
    std::env::var_os("XDG_CACHE_HOME").map_or_else(home, PathBuf::from).join("plinth/guest")
}

/// The kernel's own package.
fn of_today() -> Result<String, String> {
    let said = output(tool("apt-cache").args(["depends", KERNEL_PACKAGE]));
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let found = said.lines().find_map(|line| line.trim().strip_prefix("Depends: "));
    found.map(str::to_owned).ok_or_else(|| format!("apt knows no {KERNEL_PACKAGE}; run apt-get update"))
}

fn download(package: &str, folder: &Path) -> Result<(), String> {
    let fresh = folder.with_extension("new");
    let _ = fs::remove_dir_all(&fresh);
    fs::create_dir_all(&fresh).map_err(|error| format!("{}: {error}", fresh.display()))?;
    let script = format!("apt-get download {package} && dpkg-deb -x {package}_*.deb . && rm {package}_*.deb");
    let done = output(tool("sh").args(["-c", &script]).current_dir(&fresh));
    if !done.status.success() {
        return Err(format!("{package} cannot be downloaded: {}", String::from_utf8_lossy(&done.stderr).trim()));
    }
    run(tool("depmod").arg("-b").arg(&fresh).arg(package.trim_start_matches("linux-image-")));
    fs::write(fresh.join("done"), "").map_err(|error| error.to_string())?;
    let _ = fs::remove_dir_all(folder);
    fs::rename(&fresh, folder).map_err(|error| error.to_string())
}

/// Files of the modules, each behind those it needs.
fn modules(folder: &Path, version: &str) -> Result<Vec<PathBuf>, String> {
    let mut found = Vec::new();
    for module in MODULES {
        let said = output(tool("modprobe").arg("-d").arg(folder).args(["-S", version, "--show-depends", module]));
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        let files = said.lines().filter_map(|line| line.strip_prefix("insmod ")).map(|line| PathBuf::from(line.trim()));
        let before = found.len();
        for file in files {
            if !found.contains(&file) {
                found.push(file);
            }
        }
        if found.len() == before {
            return Err(format!("the kernel {version} has no module {module}"));
        }
    }
    Ok(found)
}

/// What a test wants of a guest beside a script.
#[derive(Clone, Debug, Default)]
pub struct Outfit {
    /// Programs of its own, which are in /bin there.
    pub programs: Vec<PathBuf>,
    /// Ports of the guest that are reached from this host.
    pub ports: Vec<u16>,
}

/// A running guest. It ends with this value.
#[derive(Debug)]
pub struct Guest {
    addresses: BTreeMap<u16, SocketAddr>,
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
    said: Vec<String>,
    _folder: TempDir,
}

impl Guest {
    /// Starts one that runs `script`, a shell's, behind its start.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(kernel: &GuestKernel, script: &str) -> Self {
        Self::start_with(kernel, script, &Outfit::default())
    }

    /// The same with more in it.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start_with(kernel: &GuestKernel, script: &str, outfit: &Outfit) -> Self {
        let folder = tempfile::Builder::new().prefix("plinth-").tempdir().expect("a temporary folder");
        let disk = ram_disk(folder.path(), kernel, script, &outfit.programs);
        let addresses: BTreeMap<u16, SocketAddr> = outfit.ports.iter().map(|port| (*port, free_address())).collect();
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max"]);
        command.args(["-smp", "2", "-m", "768", "-nographic", "-no-reboot", "-kernel"]).arg(&kernel.image);
        command.arg("-initrd").arg(disk).args(["-append", "console=ttyS0 quiet panic=-1 rdinit=/init"]);
        let doors = addresses.iter().map(|(port, address)| format!(",hostfwd=tcp:{address}-:{port}"));
        let net = doors.fold("user,id=n0".to_owned(), |net, door| net + &door);
        command.args(["-netdev", &net, "-device", "virtio-net-pci,netdev=n0,romfile="]);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn();
        let mut child = child.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let input = child.stdin.take().expect("it is piped");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in output.split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).trim_end().to_owned();
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { addresses, child, input, lines, said: Vec::new(), _folder: folder }
    }

    /// Where one of its ports is reached.
    ///
    /// # Panics
    /// When its outfit does not name the port.
    #[must_use]
    pub fn address(&self, port: u16) -> SocketAddr {
        self.addresses[&port]
    }

    /// Waits for a line that begins so; answers the rest of it.
    ///
    /// # Panics
    /// When it does not come in time, with all that was said.
    pub fn wait_for(&mut self, begin: &str, limit: Duration) -> String {
        let deadline = Instant::now() + limit;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    let found = line.strip_prefix(begin).map(|rest| rest.trim().to_owned());
                    self.said.push(line);
                    if let Some(found) = found {
                        return found;
                    }
                }
                Err(ended @ (RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected)) => {
                    panic!("the guest did not say {begin:?} ({ended}):\n{}", self.said.join("\n"))
                }
            }
        }
    }

    /// Types a line on the guest's console.
    ///
    /// # Panics
    /// When the guest has ended.
    pub fn say(&mut self, line: &str) {
        writeln!(self.input, "{line}").expect("the guest runs");
    }

    /// All it has said so far.
    #[must_use]
    pub fn said(&mut self) -> String {
        self.said.extend(self.lines.try_iter());
        self.said.join("\n")
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port of this host that nobody has.
fn free_address() -> SocketAddr {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
    free.expect("loopback has free ports")
}

/// Packs the guest's world.
fn ram_disk(folder: &Path, kernel: &GuestKernel, script: &str, programs: &[PathBuf]) -> PathBuf {
    let root = folder.join("root");
    for part in ["bin", "sbin", "modules"] {
        fs::create_dir_all(root.join(part)).expect("a folder");
    }
    fs::copy("/bin/busybox", root.join("bin/busybox")).expect("busybox");
    let mut files: BTreeSet<PathBuf> = PROGRAMS.iter().map(PathBuf::from).collect();
    for binary in PROGRAMS.iter().map(Path::new) {
        files.extend(libraries(binary));
    }
    let plinth = program();
    let name = |program: &PathBuf| program.file_name().expect("a program has a name").to_owned();
    // Ours is called so whatever its file is.
    for (binary, name) in programs.iter().map(|one| (one, name(one))).chain([(&plinth, "plinth".into())]) {
        run(tool("strip").arg("-o").arg(root.join("bin").join(name)).arg(binary));
        files.extend(libraries(binary));
    }
    for file in files {
        let copy = root.join(file.strip_prefix("/").expect("absolute"));
        fs::create_dir_all(copy.parent().expect("not the root")).expect("a folder");
        fs::copy(&file, copy).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    }
    let mut order = String::new();
    for module in &kernel.modules {
        let name = module.file_name().and_then(|name| name.to_str()).expect("UTF-8");
        fs::copy(module, root.join("modules").join(name)).expect("a module");
        order += &format!("{name}\n");
    }
    fs::write(root.join("modules/order"), order).expect("a file");
    fs::write(root.join("test"), script).expect("a file");
    fs::write(root.join("init"), INIT).expect("a file");
    fs::set_permissions(root.join("init"), fs::Permissions::from_mode(0o755)).expect("its own file");
    let disk = folder.join("initrd");
    let pack = format!("find . | cpio --quiet -o -H newc > {}", disk.display());
    run(tool("sh").args(["-c", &pack]).current_dir(&root));
    fs::remove_dir_all(&root).expect("its own folder");
    disk
}

/// Libraries that a program is linked with, and its loader.
fn libraries(program: &Path) -> Vec<PathBuf> {
    let said = run(tool("ldd").arg(program));
    let paths = said.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
    paths.map(PathBuf::from).collect()
}
