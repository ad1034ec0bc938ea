//! The log: to standard error, so that what a command prints can be piped.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

/// The environment variable that overrides `-v`: a filter such as `debug` or `storage_node=trace`.
const VARIABLE: &str = "PLINTH_LOG";

/// Starts logging.
pub fn start(verbose: u8) {
    // What goes wrong in libraries is told by those who use them.
    let level = match verbose {
        0 => "warn,openraft=off",
        1 => "info,openraft=warn,h2=warn",
        2 => "debug,openraft=info,h2=warn",
        3.. => "trace",
    };
    let filter = EnvFilter::try_from_env(VARIABLE).unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .init();
}
