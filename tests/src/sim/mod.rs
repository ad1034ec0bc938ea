//! The simulator: the very store that runs in production on a simulated disk, one thread, one seed.
//!
//! A seed draws the shape of the pool, the mix of requests and the rates of faults; then the store lives, dies and is
//! recovered several times, and after each recovery everything it holds is compared with an oracle.

mod cluster;
mod disk;
mod oracle;
mod pool;
mod store_world;

pub use cluster::{ClusterOutcome, Plant, run_cluster_with};
pub use disk::{Crash, Lie, SimDisk};
pub use oracle::{Change, Key, Oracle};
pub use pool::{Held, Pool, offset};
pub use store_world::{Outcome, Plan, run};
