//! Volumes of several replicas, kept by nodes that stop, start, lose power and lose pools.

mod histories;
mod members;
mod promises;
mod recovered;
