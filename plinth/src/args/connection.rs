//! How commands reach a cluster, and how they show what it says.

use std::sync::Arc;
use std::time::Duration;

use client::Approach;

use super::value;
use crate::output::Format;
use crate::progress::Progress;

/// Options of every command that asks a cluster.
#[derive(Clone, Debug, clap::Args)]
pub struct ConnectionArgs {
    /// Addresses of the cluster's voters; tried in turn, any of them answers
    #[arg(
        long,
        value_name = "ADDR,..",
        env = "PLINTH_CONTROL",
        default_value = "127.0.0.1:10700",
        value_delimiter = ',',
        value_parser = value::endpoint,
        global = true
    )]
    pub control: Vec<String>,
    /// How long to try, and to wait for what was asked for
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = value::timeout, global = true)]
    pub timeout: Duration,
    /// How to show it
    #[arg(short, long, value_enum, default_value_t = Format::Table, global = true)]
    pub output: Format,
}

impl From<&ConnectionArgs> for Approach {
    fn from(args: &ConnectionArgs) -> Self {
        Self { addresses: args.control.clone(), timeout: args.timeout, onlooker: Arc::new(Progress::new()) }
    }
}

/// Options of every command that starts what takes time.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct WaitArgs {
    /// Do not wait until it is done; `plinth operation wait` does
    #[arg(long)]
    pub no_wait: bool,
}
