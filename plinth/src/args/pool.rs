//! `plinth pool`.

use std::path::PathBuf;

use clap::Subcommand;

use super::connection::ConnectionArgs;
use crate::output::Format;

/// What to do with pools.
#[derive(Debug, Subcommand)]
pub enum PoolCommand {
    /// Show the pools of a cluster
    #[command(after_help = "Example:\n  plinth pool list -o wide")]
    List(ConnectionArgs),
    /// Forget a pool that is gone for good, and what is kept about it
    #[command(after_help = "\
Example:
  plinth pool remove 6e1f0f0c-7a4e-4c56-9d0e-3f5d6a1b2c3d
Refused while its node has it, and while a volume counts on a replica in it. If it holds the only copy of something, the answer
says of what; --force gives that up for good, volumes and snapshots included. A pool that was removed is not taken in again:
if it comes back, nothing in it is used, and nothing of it is deleted.")]
    Remove(RemovePoolArgs),
    /// Show what a pool that nobody serves holds: geometry, checkpoint, segments, volumes and their space
    #[command(after_help = "Example:\n  plinth pool inspect /dev/nvme1n1")]
    Inspect(OfflineArgs),
    /// Verify every block of a pool that nobody serves; exits with 1 when damage is found
    #[command(after_help = "Example:\n  plinth pool check data/pool -o json")]
    Check(OfflineArgs),
}

/// Options of `plinth pool remove`.
#[derive(Debug, clap::Args)]
pub struct RemovePoolArgs {
    /// The cluster.
    #[command(flatten)]
    pub connection: ConnectionArgs,
    /// Its id, as `plinth pool list` shows it
    pub id: String,
    /// Give up what only it holds: that is lost for good
    #[arg(long)]
    pub force: bool,
}

/// A pool on this machine.
#[derive(Debug, clap::Args)]
pub struct OfflineArgs {
    /// The pool's file or block device
    pub path: PathBuf,
    /// How to show it
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    pub output: Format,
}
