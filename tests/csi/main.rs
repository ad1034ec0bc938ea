//! The controller half of the CSI plugin, as a process, against a cluster of three nodes in one process.
//!
//! What Kubernetes' own test program checks (`sanity`), and what the interface demands beyond that.

#![allow(clippy::unwrap_used, reason = "a test says what went wrong by failing")]
#![allow(clippy::print_stdout, reason = "figures are for people")]

mod groups;
mod plugin;
mod publish;
mod sanity;
mod scene;
mod snapshots;
mod volumes;
