//! A whole cluster in one thread and one seed: the very node machines and the very cluster state that run in production,
//! on simulated disks, with streams, sockets and a replicated log that lose, delay and repeat what they may.
//!
//! Phases: faults of every kind while clients write and operators attach, detach, take snapshots of volumes and of groups of
//! them, and clone; then everything heals, and every operation must end; then everything is read and compared, each snapshot
//! in a clone of its own; then everything is deleted, and nothing may be left.
//! Each checker is a file: `contents`, `kept`, `fences`, `anew`, `ended`.

mod anew;
mod client;
mod clients;
mod contents;
mod ended;
mod faults;
mod fences;
mod finish;
mod kept;
mod looks;
mod machine;
mod network;
mod operator;
mod outcome;
mod plant;
mod stream;
mod voters;
mod words;
mod world;

pub use outcome::ClusterOutcome;
pub use plant::Plant;
pub use world::run_cluster_with;
