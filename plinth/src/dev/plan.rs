//! What is to be started, and where it keeps its data.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use storage_node::{Address, Addresses, ClusterConfig, Config, Network, NodeConfig};

use crate::args::{DevArgs, PoolArg, VolumeArg};
use crate::daemon::storage::{POOL_BYTES, pool_config};
use crate::exit::Usage;

/// Number of the voter.
const VOTER: u64 = 1;

/// A cluster.
#[derive(Clone, PartialEq, Debug)]
pub struct Plan {
    /// The directory of all.
    pub data: PathBuf,
    control: SocketAddr,
    /// The storage nodes; at least one.
    pub nodes: Vec<Member>,
    wait: Duration,
    open_networks: Vec<Network>,
    default_export: String,
}

/// A storage node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    name: String,
    /// Its pool.
    pub pool: PoolArg,
    nbd: SocketAddr,
    unix: Option<PathBuf>,
    http: SocketAddr,
}

impl Plan {
    /// What the command line asks for.
    ///
    /// # Errors
    /// It makes no sense.
    pub fn new(args: &DevArgs) -> Result<Self, Usage> {
        if let Some(name) = named_twice(&args.volumes) {
            return Err(Usage(format!("--volume names \"{name}\" twice; name each volume once")));
        }
        if args.replicas > u32::from(args.nodes) {
            let (replicas, nodes) = (args.replicas, args.nodes);
            return Err(Usage(format!(
                "--replicas {replicas} needs as many nodes, and there is --nodes {nodes}; add --nodes {replicas}"
            )));
        }
        Ok(Self {
            data: args.data.clone(),
            control: args.control,
            nodes: (0..args.nodes).map(|index| Member::new(args, index)).collect::<Result<_, _>>()?,
            wait: args.wait,
            open_networks: args.open_network.clone(),
            default_export: default_export(&args.volumes).to_owned(),
        })
    }

    /// Makes the directories that are missing.
    ///
    /// # Errors
    /// The system refused.
    pub fn make_directories(&self) -> Result<()> {
        make(&self.data)?;
        let pools = self.nodes.iter().filter_map(|node| node.pool.path.parent());
        pools.filter(|folder| folder.starts_with(&self.data)).try_for_each(make)
    }

    /// The nodes' names.
    pub fn names(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.name.clone()).collect()
    }

    /// Size of a new pool when none is given: together they have what one alone would have.
    fn pool_bytes(&self) -> u64 {
        POOL_BYTES / self.nodes.len() as u64
    }

    /// The voter.
    pub fn voter(&self) -> control_plane::Config {
        control_plane::Config {
            id: VOTER,
            data: self.data.join("control"),
            listen: self.control,
            advertise: loopback(self.control.ip()),
            http: None,
            start: control_plane::Start::Bootstrap,
            others: Vec::new(),
        }
    }

    /// A storage node of the cluster whose voter is there.
    pub fn storage(&self, node: &Member, control: SocketAddr) -> Config {
        let unix = node.unix.clone().map(Address::Unix);
        Config {
            pool: pool_config(node.pool.clone(), self.pool_bytes(), self.wait),
            node: NodeConfig {
                default_export: Some(self.default_export.clone()),
                open_networks: self.open_networks.clone(),
                ..NodeConfig::default()
            },
            addresses: Addresses {
                nbd: [Address::Tcp(node.nbd)].into_iter().chain(unix).collect(),
                http: Some(node.http),
            },
            cluster: Some(ClusterConfig {
                name: node.name.clone(),
                control: vec![control.to_string()],
                peers: (Ipv4Addr::LOCALHOST, 0).into(),
                advertise: loopback(node.nbd.ip()),
                labels: [("zone".to_owned(), node.name.clone())].into(),
                tags: Vec::new(),
            }),
        }
    }
}

impl Member {
    fn new(args: &DevArgs, index: u16) -> Result<Self, Usage> {
        let name = format!("node{}", index + 1);
        let size_bytes = args.pool.as_ref().and_then(|pool| pool.size_bytes);
        let path = if index == 0 { first_pool(args) } else { args.data.join(&name).join("pool") };
        let pool = PoolArg { path, size_bytes };
        let unix = (index == 0).then(|| args.unix.clone().unwrap_or_else(|| args.data.join("nbd.sock")));
        let nbd = following(args.nbd, index, "nbd")?;
        Ok(Self { name, pool, nbd, unix, http: following(args.http, index, "http")? })
    }
}

/// Where an address that means every address of the machine is found on it.
fn loopback(listen: IpAddr) -> Option<String> {
    let local = match listen {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => IpAddr::V4(Ipv4Addr::LOCALHOST).to_string(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => format!("[{}]", Ipv6Addr::LOCALHOST),
        IpAddr::V4(_) | IpAddr::V6(_) => return None,
    };
    Some(local)
}

/// The first pool is where it is, if it is: a directory goes on with what it has, however many nodes there are now.
fn first_pool(args: &DevArgs) -> PathBuf {
    let (alone, among) = (args.data.join("pool"), args.data.join("node1").join("pool"));
    match &args.pool {
        Some(pool) => pool.path.clone(),
        None if alone.exists() => alone,
        None if among.exists() || args.nodes > 1 => among,
        None => alone,
    }
}

/// The address of a further node; the kernel chooses for all or for none.
fn following(first: SocketAddr, index: u16, option: &str) -> Result<SocketAddr, Usage> {
    let port = match first.port() {
        0 => Some(0),
        port => port.checked_add(index),
    };
    let too_high = || Usage(format!("--{option} {first} leaves no ports for so many nodes: choose a lower one"));
    Ok(SocketAddr::new(first.ip(), port.ok_or_else(too_high)?))
}

fn make(directory: &Path) -> Result<()> {
    fs::create_dir_all(directory)
        .with_context(|| format!("cannot make the directory {}; choose another one with --data", directory.display()))
}

fn default_export(volumes: &[VolumeArg]) -> &str {
    volumes.first().map_or(super::volumes::DEFAULT.0, |volume| volume.name.as_str())
}

fn named_twice(volumes: &[VolumeArg]) -> Option<&str> {
    let mut seen = BTreeSet::new();
    volumes.iter().map(|volume| volume.name.as_str()).find(|name| !seen.insert(*name))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::Parser;
    use storage_node::PoolSize;

    use super::Plan;
    use crate::args::{Args, Command, DevArgs};

    fn args(data: &Path, line: &str) -> DevArgs {
        let line = format!("plinth dev --data {} {line}", data.display());
        let Command::Dev(args) = Args::try_parse_from(line.split_whitespace()).expect("it is understood").command
        else {
            panic!("{line}");
        };
        args
    }

    fn pools(data: &Path, line: &str) -> Vec<String> {
        let plan = Plan::new(&args(data, line)).unwrap();
        let relative = |path: &Path| path.strip_prefix(data).unwrap_or(path).display().to_string();
        plan.nodes.iter().map(|node| relative(&node.pool.path)).collect()
    }

    #[test]
    fn a_directory_goes_on_with_the_pools_it_has() {
        let data = tempfile::tempdir().unwrap();
        assert_eq!(pools(data.path(), ""), ["pool"]);
        assert_eq!(pools(data.path(), "--nodes 2"), ["node1/pool", "node2/pool"]);
        assert_eq!(pools(data.path(), "--nodes 2 --pool /dev/x"), ["/dev/x", "node2/pool"]);
        std::fs::create_dir(data.path().join("node1")).unwrap();
        std::fs::write(data.path().join("node1/pool"), "").unwrap();
        assert_eq!(pools(data.path(), ""), ["node1/pool"]);
        std::fs::write(data.path().join("pool"), "").unwrap();
        assert_eq!(pools(data.path(), "--nodes 2"), ["pool", "node2/pool"]);
    }

    #[test]
    fn further_nodes_take_the_ports_that_follow() {
        let ports = |line: &str| {
            let plan = Plan::new(&args("d".as_ref(), line)).map_err(|error| error.to_string())?;
            Ok::<_, String>(plan.nodes.iter().map(|node| (node.nbd.port(), node.http.port())).collect::<Vec<_>>())
        };
        assert_eq!(ports("--nodes 3").unwrap(), [(10809, 9220), (10810, 9221), (10811, 9222)]);
        assert_eq!(ports("--nodes 2 --nbd 127.0.0.1:0").unwrap(), [(0, 9220), (0, 9221)]);
        assert!(
            ports("--nodes 2 --nbd 127.0.0.1:65535").unwrap_err().contains("--nbd 127.0.0.1:65535 leaves no ports")
        );
    }

    #[test]
    fn pools_have_the_size_that_is_given_or_share_one() {
        let sizes = |line: &str| {
            let plan = Plan::new(&args("d".as_ref(), line)).unwrap();
            let control = ([127, 0, 0, 1], 1).into();
            plan.nodes.iter().map(|node| plan.storage(node, control).pool.size).collect::<Vec<_>>()
        };
        assert_eq!(sizes("--nodes 2 --pool p:1GiB"), [PoolSize::Exactly(1 << 30); 2]);
        assert_eq!(sizes("--nodes 2"), [PoolSize::Found { new_bytes_max: 5 << 30 }; 2]);
        assert_eq!(sizes(""), [PoolSize::Found { new_bytes_max: 10 << 30 }]);
    }

    #[test]
    fn only_the_first_node_has_a_unix_socket() {
        let plan = Plan::new(&args("d".as_ref(), "--nodes 2")).unwrap();
        let control = ([127, 0, 0, 1], 1).into();
        let sockets: Vec<_> = plan.nodes.iter().map(|node| plan.storage(node, control).addresses.nbd.len()).collect();
        assert_eq!(sockets, [2, 1]);
    }

    #[test]
    fn a_name_given_twice_is_misuse() {
        let error = Plan::new(&args("d".as_ref(), "--volume a:1MiB --volume b:1MiB --volume a:2MiB")).unwrap_err();
        assert!(error.to_string().contains("names \"a\" twice"), "{error}");
    }
}
