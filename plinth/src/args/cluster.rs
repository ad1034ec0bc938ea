//! `plinth cluster`, `plinth status` and `plinth explain`.

use std::time::Duration;

use clap::{Subcommand, ValueEnum};

use super::connection::ConnectionArgs;
use super::value;

/// `plinth cluster`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  plinth cluster voters
  plinth cluster add-voter 2 10.0.0.2:10700       a voter that was started with `plinth control --join`
  plinth cluster settings
  plinth cluster set --replace-after 30min        how long a replica may be silent before another takes its place")]
pub struct ClusterArgs {
    /// The cluster.
    #[command(flatten)]
    pub connection: ConnectionArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: ClusterCommand,
}

/// What to do with the cluster.
#[derive(Debug, Subcommand)]
pub enum ClusterCommand {
    /// Show the voters
    Voters,
    /// Make a voter that was started with --join part of the cluster; one change at a time
    AddVoter {
        /// Its number, as given to `plinth control --id`
        id: u64,
        /// Where voters and clients reach it
        #[arg(value_name = "ADDR", value_parser = value::endpoint)]
        address: String,
    },
    /// Remove a voter, also one that is dead
    RemoveVoter {
        /// Its number
        id: u64,
    },
    /// Go on after `plinth control recover`, when all nodes that there are have been heard
    #[command(
        after_help = "Example:\n  plinth cluster resume --without n2,n3\nA node that is given up here is never listened to again: what only it holds is lost. A volume that may have had something newer\nthere is not touched until you say with `plinth volume promote` which replica to go on from."
    )]
    Resume {
        /// Nodes that are not heard and are gone for good
        #[arg(long, value_name = "NODE,..", value_delimiter = ',')]
        without: Vec<String>,
    },
    /// Show the settings
    Settings,
    /// Change settings
    #[command(group = clap::ArgGroup::new("setting").required(true).multiple(true))]
    Set {
        /// What may be promised to volumes, in percent of a pool's capacity
        #[arg(long, value_name = "PERCENT", group = "setting")]
        overcommit_percent: Option<u64>,
        /// How full a pool may be, in percent, to get another volume
        #[arg(long, value_name = "PERCENT", group = "setting")]
        full_percent: Option<u64>,
        /// How long a replica may be silent before another takes its place: 90s, 10min, 2h, 1d
        #[arg(long, value_name = "TIME", value_parser = value::span, group = "setting")]
        replace_after: Option<Duration>,
    },
    /// Print a line at every change, until interrupted
    Watch,
}

/// `plinth status`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "It succeeds also when something is wrong; `plinth status -o json | jq .problems` is for programs."
)]
pub struct StatusArgs {
    /// The cluster.
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// `plinth explain`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  plinth explain volume db
  plinth explain operation 17
  plinth explain cluster")]
pub struct ExplainArgs {
    /// The cluster.
    #[command(flatten)]
    pub connection: ConnectionArgs,
    /// What kind of thing
    pub kind: Kind,
    /// Its name, id or number
    #[arg(required_if_eq_any = [("kind", "volume"), ("kind", "snapshot"), ("kind", "group"), ("kind", "node"), ("kind", "pool"), ("kind", "operation")])]
    pub name: Option<String>,
}

/// What can be explained.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Kind {
    /// A volume, by name
    Volume,
    /// A snapshot, by name
    Snapshot,
    /// A group snapshot, by name
    Group,
    /// A storage node, by name
    Node,
    /// A pool, by id
    Pool,
    /// An operation, by number
    Operation,
    /// The whole cluster
    Cluster,
}

impl Kind {
    /// The API's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Volume => "volume",
            Self::Snapshot => "snapshot",
            Self::Group => "group",
            Self::Node => "node",
            Self::Pool => "pool",
            Self::Operation => "operation",
            Self::Cluster => "cluster",
        }
    }
}
