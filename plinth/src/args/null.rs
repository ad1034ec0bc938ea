//! Options of `plinth null`.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::value;
use crate::output::size;

/// Options of `plinth null`.
#[derive(Debug, clap::Args)]
pub struct NullArgs {
    /// Size of the export
    #[arg(long, value_name = "SIZE", default_value = "64GiB", value_parser = size::parse)]
    pub size: u64,
    /// Address for NBD clients
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:10809", value_parser = value::address)]
    pub nbd: SocketAddr,
    /// Unix socket for NBD clients
    #[arg(long, value_name = "PATH")]
    pub unix: Option<PathBuf>,
    /// Address for metrics and health
    #[arg(long, value_name = "ADDR", value_parser = value::address)]
    pub http: Option<SocketAddr>,
}
