//! The node's half of the CSI plugin: its host side on loop devices, and the whole of it, as a process, on a cluster.
//! As root; volumes become devices by the attacher `fuse`.

mod claim;
mod controller;
mod fences;
mod formats;
mod kills;
mod life;
mod loops;
mod many;
mod measure;
mod mounts;
mod paths;
mod plugin;
mod secrets;
