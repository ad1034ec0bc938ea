//! A server that runs as long as it is measured.

use std::ffi::OsStr;
use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const START_LIMIT: Duration = Duration::from_secs(60);

/// What fio is pointed at.
#[derive(Debug)]
pub enum Target {
    /// A file, opened directly.
    File(PathBuf),
    /// An export of a server.
    Export {
        /// Its process.
        server: Server,
        /// Its address.
        uri: String,
        /// Where it tells its own figures, if it does: of every node in it.
        metrics_ports: Vec<u16>,
    },
}

/// A process that ends with this value.
#[derive(Debug)]
pub struct Server {
    child: Child,
}

impl Server {
    /// Starts `program` and waits until it takes connections on `port`.
    ///
    /// # Panics
    /// When it does not within a minute.
    pub fn start<A: AsRef<OsStr>>(
        program: &Path,
        arguments: impl IntoIterator<Item = A>,
        port: u16,
        log: &Path,
    ) -> Self {
        let log = File::create(log).expect("a log");
        let mut command = on(Side::Server, "setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(program).args(arguments);
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a second handle")).stderr(log);
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let server = Self { child };
        let deadline = Instant::now() + START_LIMIT;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "{command:?} does not serve");
            thread::sleep(Duration::from_millis(10));
        }
        server
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only when it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Who runs where.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// fio, also when it works on a file.
    Client,
    /// Everybody it talks to.
    Server,
}

/// `program` on its side's half of the cores. Client and server are on different machines in life; left to itself, a
/// kernel tends to put both ends of a loopback connection on one core as soon as one of them waits for a device.
pub fn on(side: Side, program: &str) -> Command {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    if cores < 2 {
        return Command::new(program);
    }
    let cores = match side {
        Side::Client => format!("0-{}", cores / 2 - 1),
        Side::Server => format!("{}-{}", cores / 2, cores - 1),
    };
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", &cores, program]);
    command
}

/// A port that was free a moment ago, for servers that cannot choose one themselves.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("it is bound").port()
}

/// The first of `count` ports in a row that were free a moment ago.
pub fn free_ports(count: u16) -> u16 {
    loop {
        let first = free_port();
        let rest = || (1..count).map(|next| first.checked_add(next));
        if rest().all(|port| port.is_some_and(|port| TcpListener::bind(("127.0.0.1", port)).is_ok())) {
            return first;
        }
    }
}
