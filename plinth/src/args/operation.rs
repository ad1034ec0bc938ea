//! `plinth operation`.

use clap::Subcommand;

use super::connection::ConnectionArgs;

/// `plinth operation`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  plinth operation list
  plinth operation wait 17 --timeout 600")]
pub struct OperationArgs {
    /// The cluster.
    #[command(flatten)]
    pub connection: ConnectionArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: OperationCommand,
}

/// What to do with operations.
#[derive(Debug, Subcommand)]
pub enum OperationCommand {
    /// Show what goes on
    #[command(visible_alias = "ls")]
    List {
        /// Also the last thousand that ended
        #[arg(long)]
        all: bool,
    },
    /// Show one operation
    Show {
        /// Its number
        id: u64,
    },
    /// Wait until an operation has ended
    Wait {
        /// Its number
        id: u64,
    },
}
