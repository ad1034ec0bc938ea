//! Kubernetes volumes.

pub mod host;
