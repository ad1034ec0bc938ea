//! What the commands do that ask a cluster, or look at a pool.

mod attach;
mod clone;
mod cluster;
mod completions;
mod delete;
mod detach;
mod diff;
mod explain;
mod export;
mod group;
mod import;
mod loan;
mod node;
pub mod offline;
mod operation;
mod pool;
mod replicas;
mod schedule;
mod snapshot;
mod status;
mod verify;
mod volume;

use std::process::ExitCode;

use anyhow::Result;

use crate::args::{
    ClusterArgs, ConnectionArgs, ExplainArgs, NodeArgs, OperationArgs, RemovePoolArgs, SnapshotArgs, StatusArgs,
    VolumeArgs,
};
use crate::serve;

pub use attach::{Wish, alone_or_reading, attach as attach_volume};
pub use cluster::set_settings;
pub use completions::print as completions;
pub use detach::detach as detach_volume;
pub use node::all as nodes_of;
pub use pool::all as pools_of;
pub use status::ask as status_of;
pub use volume::open_spec;

/// `plinth volume`.
pub fn volume(args: &VolumeArgs) -> Result<ExitCode> {
    serve::runtime()?.block_on(volume::run(args))
}

/// `plinth snapshot`.
pub fn snapshot(args: &SnapshotArgs) -> Result<ExitCode> {
    serve::runtime()?.block_on(snapshot::run(args))
}

/// `plinth node`.
pub fn node(args: &NodeArgs) -> Result<ExitCode> {
    serve::runtime()?.block_on(node::run(args))
}

/// `plinth pool remove`.
pub fn remove_pool(args: &RemovePoolArgs) -> Result<ExitCode> {
    serve::runtime()?.block_on(pool::remove(args))
}

/// `plinth pool list`.
pub fn pools(args: &ConnectionArgs) -> Result<ExitCode> {
    serve::runtime()?.block_on(pool::list(args))
}

/// `plinth operation`.
pub fn operation(args: &OperationArgs) -> Result<ExitCode> {
    serve::runtime()?.block_on(operation::run(args))
}

/// `plinth cluster`.
pub fn cluster(args: &ClusterArgs) -> Result<ExitCode> {
    serve::runtime()?.block_on(cluster::run(args))
}

/// `plinth status`.
pub fn status(args: &StatusArgs) -> Result<ExitCode> {
    serve::runtime()?.block_on(status::run(args))
}

/// `plinth explain`.
pub fn explain(args: &ExplainArgs) -> Result<ExitCode> {
    serve::runtime()?.block_on(explain::run(args))
}
