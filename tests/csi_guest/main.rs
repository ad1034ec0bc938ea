//! The node's half of the CSI plugin in a guest of QEMU, where volumes become devices by the kernel's NBD client; the
//! controller's half and a cluster of three voters and three nodes on this host.

#![allow(clippy::print_stdout, reason = "figures are for people")]

mod agents;
mod block;
mod calls;
mod fences;
mod kills;
mod life;
mod machine;
