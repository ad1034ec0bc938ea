//! A whole cluster of processes: voters and storage nodes, each with an address of its own, on loopback or each in a
//! network namespace, and the command line as its client.

mod faults;
mod volume;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::iter;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::namespaces::Namespaces;
use crate::node::program;
use crate::tool::{self, Running, tool};
use crate::wait;

pub use volume::VolumeView;

/// Size of a node's pool.
pub const POOL: &str = "2GiB";
/// Size of a pool that holds one small volume.
const POOL_SMALL: &str = "512MiB";
/// Where a node in a namespace tells its figures.
const HTTP_PORT: u16 = 9100;
/// Seconds that a command may take.
const COMMAND_SECONDS: &str = "60";

static TURN: Mutex<()> = Mutex::new(());

/// Where the processes are.
#[derive(Debug)]
enum Net {
    /// All on this host, with addresses 127.0.0.x.
    Loopback,
    /// Each in a namespace of its own, all on one bridge.
    Namespaces(Namespaces),
}

/// A process and where it lives.
#[derive(Debug)]
struct Host {
    address: SocketAddr,
    /// Where it tells its metrics, if it is a node.
    http: Option<SocketAddr>,
    running: Option<Running>,
}

/// A cluster. All of it ends with this value, field by field: a process that still runs puts files into a folder that is
/// being removed, which then stays.
#[derive(Debug)]
pub struct Cluster {
    voters: BTreeMap<u64, Host>,
    nodes: BTreeMap<String, Host>,
    net: Net,
    folder: TempDir,
    /// One cluster at a time: what one test measures is not what another one does.
    _turn: MutexGuard<'static, ()>,
    /// Nodes that are started from now on lose power when they are killed. The seed of what of their unsynced writes
    /// survives.
    pub power: Option<u64>,
    /// They say that they did not: a bug that those who look for lost writes must find.
    pub hides_lost_power: bool,
    /// Starts of nodes so far.
    starts: u64,
    /// Size of the pools.
    pool: String,
}

/// How a voter is started.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// It founds the cluster.
    Founder,
    /// It waits to be added.
    Joiner,
}

impl Cluster {
    /// Three voters and three nodes, each node in a zone of its own, on addresses 127.0.0.x.
    #[must_use]
    pub fn on_loopback() -> Self {
        Self::start(Net::Loopback, POOL)
    }

    /// The same, each process in a network namespace of its own.
    #[must_use]
    pub fn in_namespaces() -> Self {
        Self::start(Net::Namespaces(Namespaces::new()), POOL)
    }

    /// The same with small pools.
    #[must_use]
    pub fn small_in_namespaces() -> Self {
        Self::start(Net::Namespaces(Namespaces::new()), POOL_SMALL)
    }

    fn start(net: Net, pool: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("plinth-").tempdir().expect("a temporary folder");
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let (voters, nodes, pool) = (BTreeMap::new(), BTreeMap::new(), pool.to_owned());
        let mut cluster =
            Self { _turn: turn, folder, net, voters, nodes, power: None, hides_lost_power: false, starts: 0, pool };
        cluster.start_voter(1, Role::Founder);
        wait::until("the first voter to lead", || cluster.status());
        for id in [2, 3] {
            cluster.start_voter(id, Role::Joiner);
            cluster.add_voter(id);
        }
        for node in ["n1", "n2", "n3"] {
            cluster.start_node(node);
        }
        let heard = wait::within(wait::PATIENCE, || (cluster.status()?["nodes_up"] == 3).then_some(()));
        let logs = || ["voter1", "voter2", "voter3", "n1", "n2", "n3"].map(|name| cluster.log(name)).join("\n---\n");
        assert!(heard.is_some(), "the nodes are not heard:\n{}", logs());
        // Nodes are heard before their pools are.
        wait::until("all pools", || (cluster.json(&["pool", "list"]).as_array()?.len() == 3).then_some(()));
        cluster
    }

    /// An address for the next process: its host's, and a port that the kernel chose.
    fn new_address(&mut self, host: u8) -> SocketAddr {
        match &mut self.net {
            Net::Loopback => {
                let ip = IpAddr::V4(Ipv4Addr::new(127, 0, 0, host));
                let free = TcpListener::bind((ip, 0)).and_then(|listener| listener.local_addr());
                free.expect("loopback has many addresses")
            }
            Net::Namespaces(namespaces) => SocketAddr::new(namespaces.add(host), 10_700),
        }
    }

    /// A program in its host's place.
    fn launch(&self, host: u8, arguments: &[String], log: &str) -> Running {
        let log = self.folder.path().join(log);
        match &self.net {
            Net::Loopback => Running::start(&program(), arguments, &log),
            Net::Namespaces(namespaces) => {
                let mut all = namespaces.enter(host);
                all.push(text(&program()));
                all.extend_from_slice(arguments);
                Running::start(Path::new("ip"), &all, &log)
            }
        }
    }

    /// Starts a voter, or starts it again where it was.
    pub fn start_voter(&mut self, id: u64, role: Role) {
        let host = u8::try_from(id).expect("few voters");
        let address = match self.voters.get(&id) {
            Some(voter) => voter.address,
            None => self.new_address(host),
        };
        let start = match role {
            Role::Founder => "--bootstrap",
            Role::Joiner => "--join",
        };
        let data = text(&self.voter_data(id));
        let arguments = ["control", "--id", &id.to_string(), "--data", &data, "--listen", &address.to_string(), start];
        let running = self.launch(host, &arguments.map(str::to_owned), &format!("voter{id}.log"));
        self.voters.insert(id, Host { address, http: None, running: Some(running) });
    }

    /// Where a voter keeps what it has to keep.
    #[must_use]
    pub fn voter_data(&self, id: u64) -> PathBuf {
        self.folder.path().join(format!("voter{id}"))
    }

    /// Makes a voter that was started part of the cluster.
    pub fn add_voter(&self, id: u64) {
        let address = self.voters[&id].address.to_string();
        self.run(&["cluster", "add-voter", &id.to_string(), &address]);
    }

    /// Kills a voter outright.
    pub fn kill_voter(&mut self, id: u64) {
        self.voters.get_mut(&id).expect("a voter").running = None;
    }

    /// Kills a voter outright and destroys its disk.
    pub fn wipe_voter(&mut self, id: u64) {
        self.kill_voter(id);
        fs::remove_dir_all(self.voter_data(id)).expect("it had a disk");
        self.voters.remove(&id);
    }

    /// Kills all voters outright.
    pub fn kill_voters(&mut self) {
        self.voters.values_mut().for_each(|voter| voter.running = None);
    }

    /// Whether a voter was started and not killed.
    #[must_use]
    pub fn is_voter_started(&self, id: u64) -> bool {
        self.voters.get(&id).is_some_and(|voter| voter.running.is_some())
    }

    /// Voters that there are, dead or alive.
    #[must_use]
    pub fn voter_ids(&self) -> Vec<u64> {
        self.voters.keys().copied().collect()
    }

    /// Starts a node, or starts it again where it was.
    pub fn start_node(&mut self, name: &str) {
        let host = 10 + name.trim_start_matches('n').parse::<u8>().expect("nodes are n1, n2, ..");
        let address = match self.nodes.get(name) {
            Some(node) => node.address,
            None => self.new_address(host),
        };
        let nbd = SocketAddr::new(address.ip(), if address.port() == 10_700 { 10_809 } else { 0 });
        let pool = format!("{}:{}", text(&self.pool_path(name)), self.pool);
        let http = match &self.net {
            Net::Loopback => self.new_address(host),
            Net::Namespaces(_) => SocketAddr::new(address.ip(), HTTP_PORT),
        };
        let zone = format!("zone={name}");
        let arguments = [
            ("--id", name),
            ("--control", &self.control()),
            ("--pool", &pool),
            ("--label", &zone),
            ("--listen", &address.to_string()),
            ("--nbd", &nbd.to_string()),
            ("--http", &http.to_string()),
            ("--open-network", "127.0.0.0/8"),
        ];
        let arguments = arguments.iter().flat_map(|(option, value)| [(*option).to_owned(), (*value).to_owned()]);
        let arguments: Vec<String> =
            iter::once("storage".to_owned()).chain(arguments).chain(self.power_options()).collect();
        self.starts += 1;
        let running = self.launch(host, &arguments, &format!("{name}.log"));
        self.nodes.insert(name.to_owned(), Host { address, http: Some(http), running: Some(running) });
    }

    /// Every start is another boot, and another choice of what survives its end.
    fn power_options(&self) -> Vec<String> {
        let Some(seed) = self.power else { return Vec::new() };
        let boot = if self.hides_lost_power { 1 } else { self.starts + 1 };
        let seed = if self.hides_lost_power { 0 } else { seed.wrapping_mul(1000).wrapping_add(self.starts) };
        vec![format!("--drill-boot-id={boot}"), format!("--drill-volatile-cache={seed}")]
    }

    /// Where a node's pool is.
    #[must_use]
    pub fn pool_path(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.pool"))
    }

    /// Kills a node outright.
    pub fn kill_node(&mut self, name: &str) {
        self.nodes.get_mut(name).expect("a node").running = None;
    }

    /// The process of a node.
    #[must_use]
    pub fn node_process(&mut self, name: &str) -> &mut Running {
        self.nodes.get_mut(name).and_then(|node| node.running.as_mut()).expect("the node runs")
    }

    /// Where a node tells its metrics.
    #[must_use]
    pub fn http(&self, name: &str) -> SocketAddr {
        self.nodes[name].http.expect("nodes tell them")
    }

    /// What data takes in each node's pool, as the node itself counts it now.
    ///
    /// # Panics
    /// When a node does not tell.
    #[must_use]
    pub fn live_bytes(&self) -> Vec<u64> {
        let live = |host: &Host| {
            let mut stream = TcpStream::connect(host.http.expect("nodes tell them")).expect("the node runs");
            stream.set_read_timeout(Some(wait::PATIENCE)).expect("it is a time");
            write!(stream, "GET /metrics HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n").expect("the node runs");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).expect("the node runs");
            let value = answer.lines().find_map(|line| line.strip_prefix("plinth_pool_live_bytes "));
            value.and_then(|value| value.trim().parse().ok()).expect("nodes tell it")
        };
        self.nodes.values().map(live).collect()
    }

    /// Addresses of the voters, as PLINTH_CONTROL has them.
    #[must_use]
    pub fn control(&self) -> String {
        let addresses: Vec<_> = self.voters.values().map(|voter| voter.address.to_string()).collect();
        addresses.join(",")
    }

    /// A way to give commands while the cluster is changed.
    #[must_use]
    pub fn shell(&self) -> Shell {
        let enter = match &self.net {
            Net::Loopback => Vec::new(),
            Net::Namespaces(namespaces) => namespaces.enter_hub(),
        };
        Shell { enter, control: self.control() }
    }

    /// Gives a command that must succeed; answers what it printed.
    pub fn run(&self, arguments: &[&str]) -> String {
        self.shell().run(arguments)
    }

    /// What a command prints for programs.
    pub fn json(&self, arguments: &[&str]) -> Value {
        self.shell().json(arguments)
    }

    /// The status, when somebody answers.
    #[must_use]
    pub fn status(&self) -> Option<Value> {
        let output = self.shell().plinth(&["status", "-o", "json", "--timeout", "2"]);
        output.status.success().then(|| serde_json::from_slice(&output.stdout).expect("JSON"))
    }

    /// Who leads.
    #[must_use]
    pub fn leader(&self) -> u64 {
        wait::until("a leader", || self.status()?["leader"].as_u64().filter(|id| *id > 0))
    }

    /// Waits until nothing goes on and nothing is left of what was deleted.
    pub fn settle(&self) {
        wait::until("all operations to end", || {
            let status = self.status()?;
            let idle = status["operations_running"] == 0 && status["tombstones"] == 0;
            let ready = status["nodes_up"] == self.nodes.len() && status["volumes_ready"] == status["volumes"];
            (idle && ready).then_some(())
        });
    }

    /// All that a process printed.
    #[must_use]
    pub fn log(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(format!("{name}.log"))).unwrap_or_default()
    }

    /// A path in the cluster's folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// The command line of a cluster.
#[derive(Clone, Debug)]
pub struct Shell {
    enter: Vec<String>,
    control: String,
}

impl Shell {
    /// Any tool, in the place of a client.
    #[must_use]
    pub fn tool(&self, name: &str) -> Command {
        let Some((first, rest)) = self.enter.split_first() else { return tool(name) };
        let mut command = tool(first);
        command.args(rest).arg(name);
        command
    }

    /// A command that is not given yet, and may take as long as it likes: it ends with this process, or when it is killed.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).args(&self.enter).arg(program()).args(arguments);
        command.env("PLINTH_CONTROL", &self.control);
        command
    }

    /// Gives a command and takes its end as it is.
    #[must_use]
    pub fn plinth(&self, arguments: &[&str]) -> Output {
        let mut command = self.tool(&text(&program()));
        tool::output(command.args(arguments).env("PLINTH_CONTROL", &self.control))
    }

    /// Gives a command that must succeed; answers what it printed.
    ///
    /// # Panics
    /// When it fails, with all it said.
    pub fn run(&self, arguments: &[&str]) -> String {
        let mut arguments = arguments.to_vec();
        arguments.extend(["--timeout", COMMAND_SECONDS]);
        let mut command = self.tool(&text(&program()));
        tool::run(command.args(&arguments).env("PLINTH_CONTROL", &self.control))
    }

    /// What a command prints for programs.
    ///
    /// # Panics
    /// When it fails, with all it said.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let mut arguments = arguments.to_vec();
        arguments.extend(["-o", "json"]);
        serde_json::from_str(&self.run(&arguments)).expect("JSON")
    }

    /// Attaches a volume; answers the URIs, that of the volume's own node first.
    #[must_use]
    pub fn attach(&self, volume: &str, client: &str) -> Vec<String> {
        let attached = self.json(&["volume", "attach", volume, "--client", client]);
        let uris = attached["uris"].as_array().expect("a list").iter();
        uris.map(|uri| uri.as_str().expect("a URI").to_owned()).collect()
    }

    /// Whether a client that comes to a URI is let in.
    #[must_use]
    pub fn is_let_in(&self, uri: &str) -> bool {
        tool::output(self.tool("nbdinfo").args(["--size", uri])).status.success()
    }
}

/// Address and export of `nbd://ADDRESS/EXPORT`.
///
/// # Panics
/// When it is none.
#[must_use]
pub fn parts(uri: &str) -> (SocketAddr, &str) {
    let (address, export) = uri.strip_prefix("nbd://").and_then(|rest| rest.split_once('/')).expect("an NBD URI");
    (address.parse().expect("an address"), export)
}

/// Shortest time in which nobody is found to answer wrongly.
pub const A_WHILE: Duration = Duration::from_millis(500);

fn text(path: &Path) -> String {
    path.to_str().expect("temporary paths are UTF-8").to_owned()
}
