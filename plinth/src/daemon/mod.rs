//! The daemons: a voter, a storage node, the plugin of Kubernetes. Options come from the command line and a config file.

mod config;
pub mod control;
pub mod csi;
mod recover;
pub mod storage;

use std::fmt::Display;

use crate::exit::Usage;

/// An option without which there is no daemon.
fn needed<T>(option: Option<T>, name: &str, example: &str) -> Result<T, Usage> {
    option.ok_or_else(|| missing(name, example))
}

fn missing(name: &str, example: &str) -> Usage {
    let field = name.replace('-', "_");
    Usage(format!("--{name} is missing: give it, such as --{name} {example}, or the field {field} of --config FILE"))
}

/// An error, and the option that helps.
pub fn with_option(error: &impl Display, option: &str) -> anyhow::Error {
    anyhow::anyhow!("{error} ({option})")
}
