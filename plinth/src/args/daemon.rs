//! Options of the daemons. Each is also a field of the daemon's config file, with underscores; options win.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use storage_node::Network;

use super::value::{self, Host, Pair, PoolArg};

/// Options of `plinth control`.
#[derive(Clone, Debug, Default, PartialEq, clap::Args, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  plinth control --id 1 --data /var/lib/plinth --listen 10.0.0.1:10700 --bootstrap \\
                 --others 10.0.0.2:10700,10.0.0.3:10700                       the first voter of a new cluster
  plinth control --id 2 --data /var/lib/plinth --listen 10.0.0.2:10700 --join          another one; then
  plinth cluster add-voter 2 10.0.0.2:10700                                            makes it part of the cluster
  plinth control --config /etc/plinth/control.toml
A voter that was part of a cluster before goes on with what is in its data directory."
)]
pub struct ControlArgs {
    /// Number of this voter; never used again, not even after it was removed
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub id: Option<u64>,
    /// Directory for the voter's log and state; made when it is missing
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Address for clients, nodes and other voters
    #[arg(long, value_name = "ADDR", value_parser = value::address)]
    #[serde(deserialize_with = "value::some_address")]
    pub listen: Option<SocketAddr>,
    /// Where others reach this voter, if not at the address it listens on
    #[arg(long, value_name = "HOST[:PORT]")]
    pub advertise: Option<Host>,
    /// Address for metrics and health
    #[arg(long, value_name = "ADDR", value_parser = value::address)]
    #[serde(deserialize_with = "value::some_address")]
    pub http: Option<SocketAddr>,
    /// Found a new cluster with this voter alone, unless one of the others belongs to one: then as --join
    #[arg(long, conflicts_with = "join")]
    pub bootstrap: bool,
    /// The other voters there are to be: a cluster is founded when all of them say that they belong to none
    #[arg(long, value_name = "ADDR,..", value_delimiter = ',', value_parser = value::endpoint)]
    #[serde(deserialize_with = "value::endpoints")]
    pub others: Vec<String>,
    /// Wait to be added to a cluster by `plinth cluster add-voter`, unless it is part of one
    #[arg(long)]
    pub join: bool,
    /// A TOML file with these options as fields, such as listen = "10.0.0.1:10700"
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,
    /// What to do instead of taking part.
    #[command(subcommand)]
    #[serde(skip)]
    pub command: Option<ControlCommand>,
}

/// What to do with a voter that is stopped.
#[derive(Clone, PartialEq, Debug, clap::Subcommand)]
pub enum ControlCommand {
    /// Make the last voter the only one, when so many are gone for good that there will never be a majority again
    #[command(after_help = "\
Examples:
  plinth control recover --data /var/lib/plinth                         what it has; changes nothing
  plinth control recover --data /var/lib/plinth --forget-voters 2,3     it takes over
Stop the voter first. What the others decided and this one never heard of is lost: volumes, snapshots and attachments that were made
last may be unknown afterwards. Data of volumes is not touched. When it is started again it only listens to the storage nodes, until you
type `plinth cluster resume`. Of several voters that are left take the one with the highest term and entry, and give the others up.")]
    Recover {
        /// Directory for the voter's log and state
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
        /// All other voters: your word that they and their disks are gone for good
        #[arg(long, value_name = "N,..", value_delimiter = ',')]
        forget_voters: Vec<u64>,
    },
}

/// Options of `plinth storage`.
#[derive(Clone, Debug, Default, PartialEq, clap::Args, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[command(after_help = "\
Examples:
  plinth storage --id n1 --control 10.0.0.1:10700 --pool /dev/nvme1n1 --listen 10.0.0.1:10701 --nbd 10.0.0.1:10809
  plinth storage --id n2 --control c1:10700,c2:10700,c3:10700 --pool /srv/pool:100GiB --label zone=b --tag ssd \\
                 --listen 0.0.0.0:10701 --nbd 0.0.0.0:10809 --advertise n2.example.net
  plinth storage --config /etc/plinth/storage.toml
Whoever can reach --listen and --nbd is not encrypted against: keep them on a network you trust.")]
pub struct StorageArgs {
    /// Name of this node; another one each time a node is set up anew
    #[arg(long, value_name = "NAME")]
    pub id: Option<String>,
    /// Addresses of the cluster's voters
    #[arg(long, value_name = "ADDR,..", value_delimiter = ',', value_parser = value::endpoint)]
    #[serde(deserialize_with = "value::endpoints")]
    pub control: Vec<String>,
    /// The pool: a block device, or a file, made when it is missing
    #[arg(long, value_name = "PATH[:SIZE]")]
    pub pool: Option<PoolArg>,
    /// Where the node is, for volumes that choose: zone=a, rack=7
    #[arg(long, value_name = "KEY=VALUE")]
    pub label: Vec<Pair>,
    /// What the pool is, for volumes that choose: ssd
    #[arg(long, value_name = "TAG")]
    pub tag: Vec<String>,
    /// Address for the other nodes
    #[arg(long, value_name = "ADDR", value_parser = value::address)]
    #[serde(deserialize_with = "value::some_address")]
    pub listen: Option<SocketAddr>,
    /// Address for NBD clients; may be given several times
    #[arg(long, value_name = "ADDR", value_parser = value::address)]
    #[serde(deserialize_with = "value::addresses")]
    pub nbd: Vec<SocketAddr>,
    /// Unix socket for NBD clients on this machine
    #[arg(long, value_name = "PATH")]
    pub unix: Option<PathBuf>,
    /// Address for metrics and health
    #[arg(long, value_name = "ADDR", value_parser = value::address)]
    #[serde(deserialize_with = "value::some_address")]
    pub http: Option<SocketAddr>,
    /// Network from which clients may use open volumes without a token; may be given several times
    #[arg(long, value_name = "CIDR", value_parser = value::network)]
    #[serde(deserialize_with = "value::networks")]
    pub open_network: Vec<Network>,
    /// Host at which nodes and clients reach this one, if not at the addresses it listens on
    #[arg(long, value_name = "HOST")]
    pub advertise: Option<String>,
    /// How long to wait for a pool that another process has not let go of yet [default: 60]
    #[arg(long, value_name = "SECONDS", value_parser = value::seconds)]
    #[serde(deserialize_with = "value::some_seconds")]
    pub wait: Option<Duration>,
    /// For drills: writes stay in memory until they are synced, so that kill -9 is a loss of power; with the seed of what
    /// reaches the disk nevertheless
    #[arg(long, value_name = "SEED", hide = true)]
    #[serde(skip)]
    pub drill_volatile_cache: Option<u64>,
    /// For drills: what this boot of the machine is called; another one than before makes the start one after a loss of
    /// power
    #[arg(long, value_name = "NUMBER", hide = true)]
    #[serde(skip)]
    pub drill_boot_id: Option<u128>,
    /// A TOML file with these options as fields, such as nbd = ["10.0.0.1:10809"]
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,
}
