//! Hosts made of network namespaces: one each, all on one bridge in a namespace of its own.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::{self, Command};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::tool::{self, tool};

/// Namespaces of several tests at once must not have one name.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// The namespaces; they are removed with this value.
#[derive(Debug)]
pub struct Namespaces {
    prefix: String,
    hosts: Vec<u8>,
}

impl Default for Namespaces {
    fn default() -> Self {
        Self::new()
    }
}

impl Namespaces {
    /// Only the hub, in which clients are: 10.77.0.1.
    ///
    /// # Panics
    /// When namespaces cannot be made: see [`why_not`].
    #[must_use]
    pub fn new() -> Self {
        let prefix = format!("pl{}x{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let namespaces = Self { prefix, hosts: Vec::new() };
        let hub = namespaces.hub();
        ip(&["netns", "add", &hub]);
        ip(&["-n", &hub, "link", "set", "lo", "up"]);
        ip(&["-n", &hub, "link", "add", "bridge", "type", "bridge"]);
        ip(&["-n", &hub, "addr", "add", "10.77.0.1/24", "dev", "bridge"]);
        ip(&["-n", &hub, "link", "set", "bridge", "up"]);
        namespaces
    }

    fn hub(&self) -> String {
        format!("{}hub", self.prefix)
    }

    fn name(&self, host: u8) -> String {
        format!("{}h{host}", self.prefix)
    }

    /// Adds a host; answers its address.
    pub fn add(&mut self, host: u8) -> IpAddr {
        let (hub, name, port) = (self.hub(), self.name(host), format!("port{host}"));
        let address = Ipv4Addr::new(10, 77, 0, host + 1);
        ip(&["netns", "add", &name]);
        self.hosts.push(host);
        ip(&["-n", &name, "link", "set", "lo", "up"]);
        ip(&["-n", &hub, "link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", &name]);
        ip(&["-n", &hub, "link", "set", &port, "master", "bridge", "up"]);
        ip(&["-n", &name, "addr", "add", &format!("{address}/24"), "dev", "eth0"]);
        ip(&["-n", &name, "link", "set", "eth0", "up"]);
        IpAddr::V4(address)
    }

    /// What stands before a command that is to run on a host.
    #[must_use]
    pub fn enter(&self, host: u8) -> Vec<String> {
        vec!["netns".to_owned(), "exec".to_owned(), self.name(host)]
    }

    /// From now on nothing that comes from `from` reaches the host.
    pub fn drop_from(&self, host: u8, from: IpAddr) {
        self.iptables(host, &["-A", "INPUT", "-s", &from.to_string(), "-j", "DROP"]);
    }

    /// From now on so many percent of all packets do not reach the host.
    pub fn drop_some(&self, host: u8, percent: u8) {
        let probability = format!("0.{percent:02}");
        let random = ["-m", "statistic", "--mode", "random", "--probability", &probability];
        self.iptables(host, &[&["-A", "INPUT"], &random[..], &["-j", "DROP"]].concat());
    }

    /// Everything reaches every host again.
    pub fn heal(&self) {
        self.hosts.iter().for_each(|host| self.iptables(*host, &["-F", "INPUT"]));
    }

    fn iptables(&self, host: u8, arguments: &[&str]) {
        ip(&[&["netns", "exec", &self.name(host), "iptables", "-w"], arguments].concat());
    }

    /// Makes the hub the network of the calling thread and of all threads and programs that it starts from now on.
    ///
    /// # Panics
    /// When that is not allowed.
    pub fn enter_as_client(&self) {
        let hub = File::open(Path::new("/var/run/netns").join(self.hub())).expect("it was made");
        let moved = move_into_link_name_space(hub.as_fd(), Some(LinkNameSpaceType::Network));
        moved.expect("whoever makes namespaces may enter them");
    }

    /// A whole command line that a client's command is added to.
    #[must_use]
    pub fn enter_hub(&self) -> Vec<String> {
        ["ip", "netns", "exec", &self.hub()].map(str::to_owned).to_vec()
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        let names = self.hosts.iter().map(|host| self.name(*host)).chain(std::iter::once(self.hub()));
        for name in names {
            // What is not there any more need not be removed.
            let _ = Command::new("ip").args(["netns", "del", &name]).output();
        }
    }
}

/// Why namespaces cannot be made here, if they cannot.
#[must_use]
pub fn why_not() -> Option<String> {
    let name = format!("pl{}x{}try", process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let output = Command::new("ip").args(["netns", "add", &name]).output();
    let _ = Command::new("ip").args(["netns", "del", &name]).output();
    match output {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Some(format!("ip: {error}")),
    }
}

/// Why links between namespaces cannot be cut here, if they cannot.
#[must_use]
pub fn why_no_faults() -> Option<String> {
    why_not().or_else(|| match Command::new("iptables").args(["-w", "-L", "INPUT", "-n"]).output() {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(format!("iptables: {}", String::from_utf8_lossy(&output.stderr).trim())),
        Err(error) => Some(format!("iptables: {error}")),
    })
}

fn ip(arguments: &[&str]) {
    tool::run(tool("ip").args(arguments));
}
