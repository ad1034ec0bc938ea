//! Who is compared.

use std::fmt::Display;
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::fio;
use crate::scene::{Scene, program};
use crate::server::{Server, Target, free_port, free_ports};

/// One way to reach a disk.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Peer {
    /// `plinth dev`.
    Plinth,
    /// `plinth dev` with three nodes, and a volume with a replica on each.
    Plinth3,
    /// Plinth's server without a store.
    Null,
    /// A preallocated file, `O_DIRECT`, `io_uring`: the wall.
    Raw,
    /// qemu-nbd without the page cache.
    QemuDirect,
    /// qemu-nbd as it comes.
    QemuDefault,
    /// nbdkit's file plugin, through the page cache.
    Nbdkit,
}

impl Peer {
    /// Everyone.
    pub const ALL: [Self; 7] =
        [Self::Plinth, Self::Plinth3, Self::Null, Self::Raw, Self::QemuDirect, Self::QemuDefault, Self::Nbdkit];

    /// Name in tables.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Plinth => "plinth",
            Self::Plinth3 => "plinth-3",
            Self::Null => "null",
            Self::Raw => "raw",
            Self::QemuDirect => "qemu-direct",
            Self::QemuDefault => "qemu-default",
            Self::Nbdkit => "nbdkit",
        }
    }

    /// The one of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|peer| peer.name() == name)
    }

    /// Whether it can take part.
    pub fn is_installed(&self) -> bool {
        let program = match self {
            Self::Plinth | Self::Plinth3 | Self::Null | Self::Raw => return true,
            Self::QemuDirect | Self::QemuDefault => "qemu-nbd",
            Self::Nbdkit => "nbdkit",
        };
        let found = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        let installed = found.is_ok_and(|status| status.success());
        if !installed {
            crate::say(format_args!("SKIPPED {}: {program} is not installed", self.name()));
        }
        installed
    }

    /// Starts it.
    pub fn start(self, scene: &Scene) -> Target {
        let log = scene.path(&format!("{}.log", self.name()));
        let port = free_port();
        let nbd = format!("127.0.0.1:{port}");
        let image = || self.image(scene).to_str().expect("UTF-8").to_owned();
        match self {
            Self::Raw => Target::File(self.image(scene)),
            Self::Plinth => cluster(scene, 1, &log),
            Self::Plinth3 => cluster(scene, 3, &log),
            Self::Null => {
                let (metrics_port, size) = (free_port(), scene.volume_bytes.to_string());
                let http = format!("127.0.0.1:{metrics_port}");
                let arguments = ["null", "--size", &size, "--nbd", &nbd, "--http", &http];
                export(Server::start(&program(), arguments, port, &log), port, "null", vec![metrics_port])
            }
            Self::QemuDirect => {
                let flags = ["--cache=none", "--aio=native"];
                export(qemu(&flags, port, &image(), &log), port, "", Vec::new())
            }
            Self::QemuDefault => export(qemu(&[], port, &image(), &log), port, "", Vec::new()),
            Self::Nbdkit => {
                let port_text = port.to_string();
                let image = image();
                let arguments = ["-f", "-i", "127.0.0.1", "-p", &port_text, "file", &image];
                export(Server::start(Path::new("nbdkit"), arguments, port, &log), port, "", Vec::new())
            }
        }
    }

    /// Writes everything, so that no write meets unwritten space and every read meets data. Plinth's log goes once
    /// through its whole pool.
    pub fn fill(self, target: &Target, scene: &Scene) {
        let passes = match self {
            Self::Null => return,
            Self::Plinth | Self::Plinth3 => scene.pool_bytes() / scene.volume_bytes,
            Self::Raw | Self::QemuDirect | Self::QemuDefault | Self::Nbdkit => 1,
        };
        for _ in 0..passes {
            fio::fill(target, scene);
        }
    }

    /// Its own file, preallocated.
    fn image(self, scene: &Scene) -> std::path::PathBuf {
        let path = scene.path(&format!("{}.img", self.name()));
        let file = File::create(&path).expect("an image");
        let flags = rustix::fs::FallocateFlags::empty();
        rustix::fs::fallocate(&file, flags, 0, scene.volume_bytes).expect("room for an image");
        path
    }
}

fn qemu(flags: &[&str], port: u16, image: &str, log: &Path) -> Server {
    let port_text = port.to_string();
    let common = ["-f", "raw", "--persistent", "--shared=8", "--bind=127.0.0.1", "--port", &port_text, image];
    Server::start(Path::new("qemu-nbd"), flags.iter().chain(&common), port, log)
}

fn export(server: Server, port: u16, name: &str, metrics_ports: Vec<u16>) -> Target {
    Target::Export { server, uri: format!("nbd://127.0.0.1:{port}/{name}"), metrics_ports }
}

/// Nodes in one process, and a volume with a replica on each; the client goes to the node that serves it.
fn cluster(scene: &Scene, nodes: u16, log: &Path) -> Target {
    let (nbd, http, control) = (free_ports(nodes), free_ports(nodes), free_port());
    let control = format!("127.0.0.1:{control}");
    let data = scene.path(&format!("cluster-of-{nodes}"));
    let mut server = Arguments::of("dev");
    server.add("--nodes", nodes).add("--replicas", nodes).add("--control", &control);
    server.add("--data", data.display()).add("--pool", format!("{}/pool:{}", data.display(), scene.pool_bytes()));
    server.add("--volume", format!("bench:{}", scene.volume_bytes));
    server.add("--nbd", format!("127.0.0.1:{nbd}")).add("--http", format!("127.0.0.1:{http}"));
    std::fs::create_dir_all(&data).expect("a folder");
    let server = Server::start(&program(), server.0, nbd, log);
    let port = nbd + serving(&control, nodes);
    export(server, port, "bench", (http..http + nodes).collect())
}

/// Of the nodes, which one serves the volume, once every replica is there.
fn serving(control: &str, nodes: u16) -> u16 {
    let mut show = Command::new(program());
    show.args(["volume", "show", "bench", "-o", "json", "--control", control]);
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let output = show.output().expect("the program is there");
        let volume: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let replicas = volume["replicas"].as_array().map(Vec::as_slice).unwrap_or_default();
        let is_whole = replicas.len() == usize::from(nodes)
            && replicas.iter().all(|replica| nodes == 1 || replica["role"]["in_sync"] == true);
        let serves = |replica: &&serde_json::Value| nodes == 1 || replica["role"]["name"] == "primary";
        let name = replicas.iter().find(serves).and_then(|replica| replica["node"].as_str());
        if let Some(number) = name.filter(|_| is_whole).and_then(|name| name.strip_prefix("node")) {
            return number.parse::<u16>().expect("nodes are numbered from 1") - 1;
        }
        assert!(Instant::now() < deadline, "the volume does not become whole: {volume:#}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A command line.
struct Arguments(Vec<String>);

impl Arguments {
    fn of(command: &str) -> Self {
        Self(vec![command.to_owned()])
    }

    fn add(&mut self, name: &str, value: impl Display) -> &mut Self {
        self.0.extend([name.to_owned(), value.to_string()]);
        self
    }
}
