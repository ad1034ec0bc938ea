//! Starts the voter and then the nodes.

use std::net::SocketAddr;

use anyhow::Result;
use control_plane::{ControlPlane, StartError};
use storage_node::StorageNode;

use super::READY_MAX;
use super::plan::Plan;
use crate::commands;
use crate::daemon::{self, with_option};
use crate::serve::Running;
use client::Client;

/// A cluster in this process.
pub struct Started {
    /// The voter and the nodes.
    pub running: Running,
    /// Where the API is.
    pub control: SocketAddr,
}

/// Starts all, or nothing.
///
/// # Errors
/// What failed, and which option helps.
pub async fn start(plan: &Plan) -> Result<Started> {
    let voter = ControlPlane::start(plan.voter()).await.map_err(|error| explain(&error))?;
    let control = local(voter.address());
    let mut running = Running { nodes: Vec::new(), voter: Some(voter) };
    // It leads when it answers: nodes find it ready.
    if let Err(error) = commands::status_of(&mut Client::quiet(&[control.to_string()], READY_MAX)).await {
        let _ = running.stop().await;
        return Err(error.into());
    }
    for node in &plan.nodes {
        match StorageNode::start(plan.storage(node, control)).await {
            Ok(node) => running.nodes.push(node),
            Err(error) => {
                // What failed is told; a second failure while stopping adds nothing.
                let _ = running.stop().await;
                return Err(daemon::storage::explain(&error));
            }
        }
    }
    Ok(Started { running, control })
}

/// Where this machine reaches what listens there.
fn local(listen: SocketAddr) -> SocketAddr {
    let loopback = match listen {
        SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
        SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
    };
    if listen.ip().is_unspecified() { SocketAddr::new(loopback, listen.port()) } else { listen }
}

/// Says which option helps.
fn explain(error: &StartError) -> anyhow::Error {
    let option = match error {
        StartError::Listen { .. } | StartError::NoAddress(_) | StartError::Http { .. } => "--control ADDR",
        StartError::Founding(_) | StartError::Consensus(_) => "--data DIR",
    };
    with_option(error, option)
}

#[cfg(test)]
mod tests {
    use super::local;

    #[test]
    fn every_address_of_the_machine_is_reached_at_one() {
        let rows = [("0.0.0.0:7", "127.0.0.1:7"), ("[::]:7", "[::1]:7"), ("10.0.0.1:7", "10.0.0.1:7")];
        for (listen, reached) in rows {
            assert_eq!(local(listen.parse().unwrap()), reached.parse().unwrap());
        }
    }
}
