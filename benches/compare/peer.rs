//! Who is compared.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::fio;
use crate::scene::{Scene, program};
use crate::server::{Server, Target, free_port};

/// One way to reach a disk.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Peer {
    /// `plinth dev`.
    Plinth,
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
    pub const ALL: [Self; 6] = [Self::Plinth, Self::Null, Self::Raw, Self::QemuDirect, Self::QemuDefault, Self::Nbdkit];

    /// Name in tables.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Plinth => "plinth",
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
            Self::Plinth | Self::Null | Self::Raw => return true,
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
        let (port, metrics_port) = (free_port(), free_port());
        let (nbd, http) = (format!("127.0.0.1:{port}"), format!("127.0.0.1:{metrics_port}"));
        let text = |path: &Path| path.to_str().expect("UTF-8").to_owned();
        let image = || text(&self.image(scene));
        match self {
            Self::Raw => Target::File(self.image(scene)),
            Self::Plinth => {
                let volume = format!("bench:{}", scene.volume_bytes);
                let pool = format!("{}:{}", text(&scene.path("pool")), scene.pool_bytes());
                let data = text(scene.folder());
                let arguments = [
                    "dev",
                    "--data",
                    &data,
                    "--pool",
                    &pool,
                    "--volume",
                    &volume,
                    "--nbd",
                    &nbd,
                    "--http",
                    &http,
                    "--control",
                    "127.0.0.1:0",
                ];
                let server = Server::start(&program(), arguments, port, &log);
                export(server, port, "bench", Some(metrics_port))
            }
            Self::Null => {
                let size = scene.volume_bytes.to_string();
                let arguments = ["null", "--size", &size, "--nbd", &nbd, "--http", &http];
                export(Server::start(&program(), arguments, port, &log), port, "null", Some(metrics_port))
            }
            Self::QemuDirect => {
                let flags = ["--cache=none", "--aio=native"];
                export(qemu(&flags, port, &image(), &log), port, "", None)
            }
            Self::QemuDefault => export(qemu(&[], port, &image(), &log), port, "", None),
            Self::Nbdkit => {
                let port_text = port.to_string();
                let image = image();
                let arguments = ["-f", "-i", "127.0.0.1", "-p", &port_text, "file", &image];
                export(Server::start(Path::new("nbdkit"), arguments, port, &log), port, "", None)
            }
        }
    }

    /// Writes everything, so that no write meets unwritten space and every read meets data. Plinth's log goes once
    /// through its whole pool.
    pub fn fill(self, target: &Target, scene: &Scene) {
        let passes = match self {
            Self::Null => return,
            Self::Plinth => scene.pool_bytes() / scene.volume_bytes,
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

fn export(server: Server, port: u16, name: &str, metrics_port: Option<u16>) -> Target {
    Target::Export { server, uri: format!("nbd://127.0.0.1:{port}/{name}"), metrics_port }
}
