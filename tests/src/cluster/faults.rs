//! What goes wrong: processes that die or stand still, links that lose what is sent, disks that are replaced.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use rustix::process::Signal;

use super::{Cluster, HTTP_PORT, Host, Net};
use crate::namespaces::Namespaces;

/// How long a node may take to end in good order.
const STOP_PATIENCE: Duration = Duration::from_secs(30);

impl Cluster {
    /// Makes the network of clients that of the calling thread, and of all that it starts from now on.
    pub fn enter_as_client(&self) {
        self.namespaces().enter_as_client();
    }

    fn namespaces(&self) -> &Namespaces {
        match &self.net {
            Net::Namespaces(namespaces) => namespaces,
            Net::Loopback => panic!("on loopback there are no links to cut: Cluster::in_namespaces"),
        }
    }

    /// The names of all nodes.
    #[must_use]
    pub fn node_names(&self) -> Vec<String> {
        self.nodes.keys().cloned().collect()
    }

    /// The names of all voters, as [`Cluster::log`] and [`Cluster::cut`] know them.
    #[must_use]
    pub fn voter_names(&self) -> Vec<String> {
        self.voters.keys().map(|id| format!("voter{id}")).collect()
    }

    /// The names of all processes.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.node_names().into_iter().chain(self.voter_names()).collect()
    }

    /// A node stands still until [`Cluster::resume_node`].
    pub fn pause_node(&mut self, name: &str) {
        self.node_process(name).signal(Signal::STOP);
    }

    /// It goes on.
    pub fn resume_node(&mut self, name: &str) {
        self.node_process(name).signal(Signal::CONT);
    }

    /// Kills all nodes at one moment.
    pub fn kill_nodes(&mut self) {
        let running = |node: &Host| node.running.is_some();
        self.nodes.values().filter(|node| running(node)).for_each(|node| {
            node.running.as_ref().expect("just looked").signal(Signal::KILL);
        });
        self.nodes.values_mut().for_each(|node| node.running = None);
    }

    /// Ends a node in good order.
    ///
    /// # Panics
    /// When it does not end so.
    pub fn stop_node(&mut self, name: &str) {
        let process = self.node_process(name);
        process.signal(Signal::TERM);
        let code = process.ends_within(STOP_PATIENCE);
        self.nodes.get_mut(name).expect("a node").running = None;
        assert_eq!(code, Some(0), "{name} did not end in good order:\n{}", self.log(name));
    }

    /// Takes the disk out of a node that does not run: it is started with an empty one. What was on the old one is kept,
    /// and comes back when this is done again.
    ///
    /// # Panics
    /// When it runs.
    pub fn exchange_pool(&self, name: &str) {
        assert!(!self.is_started(name), "{name} runs");
        let (pool, shelf) = (self.pool_path(name), self.path(&format!("{name}.shelved")));
        let is_back = shelf.exists();
        let aside = self.path(&format!("{name}.aside"));
        fs::rename(&pool, &aside).expect("it had a pool");
        if is_back {
            fs::rename(&shelf, &pool).expect("it is there");
        }
        fs::rename(&aside, &shelf).expect("it was just put there");
    }

    /// Starts the nodes that do not run.
    pub fn start_nodes(&mut self) {
        for name in self.node_names() {
            if self.nodes[&name].running.is_none() {
                self.start_node(&name);
            }
        }
    }

    /// Whether a node was started and not killed.
    #[must_use]
    pub fn is_started(&self, name: &str) -> bool {
        self.nodes.get(name).is_some_and(|node| node.running.is_some())
    }

    /// From now on nothing that `from` sends reaches `to`.
    pub fn cut(&self, from: &str, to: &str) {
        let (_, sender) = self.host(from);
        self.namespaces().drop_from(self.host(to).0, sender);
    }

    /// From now on nothing that the others send reaches `name`.
    pub fn cut_towards(&self, name: &str) {
        self.names().iter().filter(|other| *other != name).for_each(|other| self.cut(other, name));
    }

    /// From now on nothing that it sends reaches the others.
    pub fn cut_from(&self, name: &str) {
        self.names().iter().filter(|other| *other != name).for_each(|other| self.cut(name, other));
    }

    /// From now on so many percent of the packets to every host are lost.
    pub fn lose_some(&self, percent: u8) {
        self.names().iter().for_each(|name| self.namespaces().drop_some(self.host(name).0, percent));
    }

    /// All links work again.
    pub fn heal(&self) {
        self.namespaces().heal();
    }

    /// Number and address of the host of a process.
    fn host(&self, name: &str) -> (u8, IpAddr) {
        let voter = name.strip_prefix("voter").and_then(|id| id.parse::<u64>().ok());
        let host = voter.map_or_else(|| self.nodes.get(name), |id| self.voters.get(&id));
        let address = host.unwrap_or_else(|| panic!("there is no {name}")).address.ip();
        let number = match address {
            IpAddr::V4(address) => address.octets()[3] - 1,
            IpAddr::V6(_) => panic!("hosts have IPv4 addresses"),
        };
        (number, address)
    }

    /// The highest number of a configuration that any node goes by; none when nobody says. For clients.
    #[must_use]
    pub fn epoch(&self) -> Option<u64> {
        let addresses = self.nodes.values().map(|node| SocketAddr::new(node.address.ip(), HTTP_PORT));
        addresses.filter_map(epoch_at).max()
    }
}

fn epoch_at(address: SocketAddr) -> Option<u64> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_millis(300)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let samples = answer.lines().filter(|line| line.contains("replica_epoch{"));
    samples.filter_map(|line| line.rsplit(' ').next()?.parse().ok()).max()
}
