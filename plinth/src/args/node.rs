//! `plinth node`.

use clap::Subcommand;

use super::connection::{ConnectionArgs, WaitArgs};

/// `plinth node`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  plinth node list -o wide
  plinth node cordon n1        nothing new is placed on it
  plinth node drain n1         what is on it goes elsewhere, while it is used")]
pub struct NodeArgs {
    /// The cluster.
    #[command(flatten)]
    pub connection: ConnectionArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: NodeCommand,
}

/// What to do with storage nodes.
#[derive(Debug, Subcommand)]
pub enum NodeCommand {
    /// Show all nodes
    #[command(visible_alias = "ls")]
    List,
    /// Show one node and its pools
    Show {
        /// Its name
        name: String,
    },
    /// Place nothing new on a node
    Cordon {
        /// Its name
        name: String,
    },
    /// Let volumes be placed on a node again
    Uncordon {
        /// Its name
        name: String,
    },
    /// Move everything on a node to other nodes, while it is used, and place nothing new on it
    #[command(
        after_help = "Example:\n  plinth node drain n1 --timeout 3600\nEvery volume keeps as many replicas in sync as it had. Interrupted, it goes on; given again, it waits on."
    )]
    Drain {
        /// Its name
        name: String,
        /// Whether to wait.
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Drain a node no more: what is still on it stays
    Undrain {
        /// Its name
        name: String,
    },
    /// Forget a node that is gone for good; refused while it runs or holds a replica
    #[command(
        after_help = "Example:\n  plinth node drain n1 && ssh n1 systemctl stop plinth-storage && plinth node remove n1\nA node counts as heard for some seconds after it was stopped. Its pools are removed with it: if it is started again it comes\nas a new node, and nothing in an old pool is used or deleted. Erase the pool, or give it another one."
    )]
    Remove {
        /// Its name
        name: String,
    },
}
