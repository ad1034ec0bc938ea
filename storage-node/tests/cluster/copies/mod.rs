//! Volumes with replicas on several nodes, each with its own threads, ring and pool, joined by real sockets. The control
//! plane is the test's own, in this process.

mod decider;
mod directed;
mod group;
mod plane;
mod quiet;
