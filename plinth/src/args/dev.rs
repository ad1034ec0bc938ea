//! Options of `plinth dev`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use storage_node::Network;

use super::value::{self, PoolArg, VolumeArg};

/// Options of `plinth dev`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  plinth dev                                   a 1GiB volume `demo` in ./data
  plinth dev --volume vol1:20GiB --volume vol2:5GiB
  plinth dev --pool /dev/nvme1n1 --volume db:100GiB
  plinth dev --nodes 3                         one voter and three storage nodes
  plinth dev --nodes 3 --replicas 3            and a volume with a replica on each
Volumes and their data survive a restart. Sizes: 512MiB, 10GiB, 2TiB, or 512M, 10G, 2T; GB and TB are decimal. A volume is made of whole blocks of 4KiB.
Every command talks to it: `plinth status`, `plinth volume create`.")]
pub struct DevArgs {
    /// How many storage nodes
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u16).range(1..=16))]
    pub nodes: u16,
    /// Directory for pools, the voter's log and the unix socket; made when it is missing
    #[arg(long, value_name = "DIR", default_value = "data")]
    pub data: PathBuf,
    /// A volume that is to exist: made when it is missing, grown when it is smaller [default: demo:1GiB in an empty cluster]
    #[arg(long = "volume", value_name = "NAME:SIZE")]
    pub volumes: Vec<VolumeArg>,
    /// How many replicas the volumes that it makes have, each on another node
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(1..=5))]
    pub replicas: u32,
    /// The pool of the first node: a file, made when it is missing, or a block device; SIZE is that of all nodes' pools [default: files below DIR, 10GiB together or what the disk has]
    #[arg(long, value_name = "PATH[:SIZE]")]
    pub pool: Option<PoolArg>,
    /// Address for NBD clients; further nodes take the ports that follow
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:10809", value_parser = value::address)]
    pub nbd: SocketAddr,
    /// Unix socket for NBD clients, of the first node [default: DIR/nbd.sock]
    #[arg(long, value_name = "PATH")]
    pub unix: Option<PathBuf>,
    /// Address for metrics and health; further nodes take the ports that follow
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9220", value_parser = value::address)]
    pub http: SocketAddr,
    /// Address of the API, for the other commands
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:10700", value_parser = value::address)]
    pub control: SocketAddr,
    /// Network from which clients may use open volumes without a token, as those of --volume are; may be given several times
    #[arg(long, value_name = "CIDR", default_values = ["127.0.0.0/8", "::1/128"], value_parser = value::network)]
    pub open_network: Vec<Network>,
    /// How long to wait for a pool that another process has not let go of yet
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = value::seconds)]
    pub wait: Duration,
}
