//! Programs of the host, each with a time limit.

use std::ffi::OsStr;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

/// Why a program did not do what it was for.
#[derive(Debug, thiserror::Error)]
pub enum ToolFault {
    /// It is not there, or may not be run.
    #[error("cannot run {tool}: {source}; install the package it is in")]
    Missing {
        /// The program.
        tool: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// It said no.
    #[error("{tool} failed: {said}")]
    Failed {
        /// The program.
        tool: String,
        /// What it said.
        said: String,
    },
    /// It did not come to an end. It is not waited for: who waits for a device that does not answer cannot be killed.
    #[error("{tool} did not end within {} s", limit.as_secs())]
    Stuck {
        /// The program.
        tool: String,
        /// How long it was given.
        limit: Duration,
    },
}

/// Runs a program to its end; answers what it printed.
///
/// # Errors
/// See [`ToolFault`].
pub async fn run<A: AsRef<OsStr>>(
    tool: &str,
    arguments: impl IntoIterator<Item = A>,
    limit: Duration,
) -> Result<String, ToolFault> {
    let mut command = Command::new(tool);
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    let output = match timeout(limit, command.output()).await {
        Ok(output) => output.map_err(|source| ToolFault::Missing { tool: tool.to_owned(), source })?,
        Err(_) => return Err(ToolFault::Stuck { tool: tool.to_owned(), limit }),
    };
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        let said = if said.is_empty() { output.status.to_string() } else { said };
        return Err(ToolFault::Failed { tool: tool.to_owned(), said });
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Whether a program of this name is found.
pub fn is_there(tool: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(tool).is_file())
}
