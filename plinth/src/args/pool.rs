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
    /// Show what a pool that nobody serves holds: geometry, checkpoint, segments, volumes and their space
    #[command(after_help = "Example:\n  plinth pool inspect /dev/nvme1n1")]
    Inspect(OfflineArgs),
    /// Verify every block of a pool that nobody serves; exits with 1 when damage is found
    #[command(after_help = "Example:\n  plinth pool check data/pool -o json")]
    Check(OfflineArgs),
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
