//! The program under test: `plinth dev` in a folder of its own, started, killed and started again.

use std::fs;
use std::io::Read as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::nbd::{Client, Refused};
use crate::tool::{Running, tool};
use crate::wait;

/// Volume every node of the tests has unless told otherwise.
pub const VOLUME: &str = "vol1";
/// Its size.
pub const VOLUME_BYTES: u64 = 256 << 20;

/// How to start a node.
#[derive(Clone, Debug)]
pub struct Options {
    /// Names and sizes of volumes, as the command line takes them.
    pub volumes: Vec<String>,
    /// Size of the pool, as the command line takes it.
    pub pool: String,
}

impl Default for Options {
    fn default() -> Self {
        Self { volumes: vec![format!("{VOLUME}:{VOLUME_BYTES}")], pool: "1GiB".to_owned() }
    }
}

/// What outlives a node: its folder with the pool, and its log.
#[derive(Debug)]
pub struct Home {
    folder: TempDir,
    options: Options,
}

impl Default for Home {
    fn default() -> Self {
        Self::new(Options::default())
    }
}

impl Home {
    /// An empty folder.
    ///
    /// # Panics
    /// When there is no place for temporary files.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let folder = tempfile::Builder::new().prefix("plinth-").tempdir().expect("a temporary folder");
        Self { folder, options }
    }

    /// The same folder, started otherwise from now on.
    #[must_use]
    pub fn with(self, options: Options) -> Self {
        Self { options, ..self }
    }

    /// A path in the folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts a node on this folder and waits until it serves.
    ///
    /// # Panics
    /// When it does not.
    #[must_use]
    pub fn start(&self) -> Node {
        let mut node = self.launch("nbd.sock");
        wait::until("the node to serve", || node.says_it_serves().then_some(()));
        node
    }

    /// `plinth pool check` of the folder's pool.
    #[must_use]
    pub fn check(&self) -> Command {
        let mut command = tool(&text(&program()));
        command.args(["pool", "check"]).arg(self.path("pool"));
        command
    }

    /// Starts a node whose socket has this name, and does not wait.
    #[must_use]
    pub fn launch(&self, socket: &str) -> Node {
        let log = self.path(&format!("{socket}.log"));
        let log_begin = fs::metadata(&log).map_or(0, |log| log.len());
        let socket = self.path(socket);
        let mut arguments = vec!["dev".to_owned(), "--data".to_owned(), text(self.folder.path())];
        arguments.extend(["--pool".to_owned(), format!("{}:{}", text(&self.path("pool")), self.options.pool)]);
        arguments.extend(["--unix".to_owned(), text(&socket)]);
        let anywhere = ["--nbd", "127.0.0.1:0", "--http", "127.0.0.1:0", "--control", "127.0.0.1:0"];
        arguments.extend(anywhere.map(str::to_owned));
        arguments.extend(self.options.volumes.iter().flat_map(|volume| ["--volume".to_owned(), volume.clone()]));
        Node { running: Running::start(&program(), &arguments, &log), socket, log, log_begin }
    }
}

/// A running node. It is killed when this goes.
#[derive(Debug)]
pub struct Node {
    /// Its process.
    pub running: Running,
    socket: PathBuf,
    log: PathBuf,
    log_begin: u64,
}

impl Node {
    /// Whether it has said where it is reached.
    fn says_it_serves(&mut self) -> bool {
        if let Some(code) = self.running.ended() {
            panic!("the node ended with {code}:\n{}", self.log());
        }
        self.log().contains("nbd+unix://")
    }

    /// Whether a client is greeted.
    #[must_use]
    pub fn serves(&self) -> bool {
        let greeting = || -> std::io::Result<[u8; 8]> {
            let mut stream = UnixStream::connect(&self.socket)?;
            stream.set_read_timeout(Some(Duration::from_secs(1)))?;
            let mut magic = [0; 8];
            stream.read_exact(&mut magic)?;
            Ok(magic)
        };
        greeting().is_ok_and(|magic| magic == *b"NBDMAGIC")
    }

    /// All that this run printed.
    ///
    /// # Panics
    /// When the log is gone.
    #[must_use]
    pub fn log(&self) -> String {
        let log = fs::read(&self.log).expect("the log is there");
        let begin = usize::try_from(self.log_begin).expect("a log fits memory");
        String::from_utf8_lossy(&log[begin..]).into_owned()
    }

    /// Path of the unix socket.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Address of a volume over the unix socket.
    #[must_use]
    pub fn uri_of(&self, volume: &str) -> String {
        format!("nbd+unix:///{volume}?socket={}", self.socket.display())
    }

    /// Address of the default volume over the unix socket.
    #[must_use]
    pub fn uri(&self) -> String {
        self.uri_of(VOLUME)
    }

    /// Address of the default volume over TCP.
    #[must_use]
    pub fn tcp_uri(&self) -> String {
        format!("nbd://{}/{VOLUME}", self.address("nbd"))
    }

    /// Host and port it listens on for `scheme`, from what it prints when it starts.
    #[must_use]
    pub fn address(&self, scheme: &str) -> String {
        let head = format!("{scheme}://127.0.0.1:");
        wait::until(&format!("the node to print its {scheme} address"), || {
            let log = self.log();
            let rest = &log[log.find(&head)? + head.len()..];
            let port = &rest[..rest.find(|c: char| !c.is_ascii_digit())?];
            Some(format!("127.0.0.1:{port}"))
        })
    }

    /// A connection to the default volume.
    ///
    /// # Panics
    /// When it is refused.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client_of(VOLUME).expect("the volume is offered")
    }

    /// A connection to a volume.
    ///
    /// # Errors
    /// When the volume is not offered.
    pub fn client_of(&self, volume: &str) -> Result<Client, Refused> {
        let stream = UnixStream::connect(&self.socket).expect("the node listens");
        Client::open(stream, volume)
    }

    /// Asks it to stop; answers its exit code.
    ///
    /// # Panics
    /// When it does not stop within `limit`.
    pub fn stop_within(&mut self, limit: Duration) -> i32 {
        self.running.signal(Signal::TERM);
        let code = self.running.ends_within(limit);
        code.unwrap_or_else(|| panic!("the node did not stop within {limit:?}:\n{}", self.log()))
    }

    /// Resident memory.
    #[must_use]
    pub fn resident_bytes(&self) -> u64 {
        self.status("VmRSS") << 10
    }

    /// Open file descriptors.
    ///
    /// # Panics
    /// When the process is gone.
    #[must_use]
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.running.id())).expect("the node lives").count()
    }

    fn status(&self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.running.id())).expect("the node lives");
        let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("every process has this");
        line.split_whitespace().nth(1).expect("a number").parse().expect("a number")
    }
}

/// `PLINTH_BIN`, or the binary beside the tests in the target folder.
///
/// # Panics
/// When it is not built.
#[must_use]
pub fn program() -> PathBuf {
    if let Some(path) = std::env::var_os("PLINTH_BIN") {
        return PathBuf::from(path);
    }
    let tests = std::env::current_exe().expect("this program has a path");
    let program = tests.ancestors().nth(2).expect("tests lie in a profile's deps").join("plinth");
    assert!(program.exists(), "{} is not built: cargo build --release -p plinth", program.display());
    program
}

fn text(path: &Path) -> String {
    path.to_str().expect("temporary paths are UTF-8").to_owned()
}
