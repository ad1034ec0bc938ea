//! A whole cluster in one thread and one seed: the very node machines and the very cluster state that run in production,
//! on simulated disks, with streams, sockets and a replicated log that lose, delay and repeat what they may.
//!
//! Phases: faults of every kind while clients write and operators attach and detach; then everything heals, and every
//! operation must end; then everything is read and compared; then everything is deleted, and nothing may be left.
//! Each checker is a file: `contents`, `fences`, `anew`, `ended`.

mod anew;
mod client;
mod clients;
mod contents;
mod ended;
mod faults;
mod fences;
mod finish;
mod machine;
mod network;
mod operator;
mod outcome;
mod stream;
mod voters;
mod world;

pub use outcome::ClusterOutcome;
pub use world::run_cluster;
