//! Without the kernel's NBD client: an endpoint of ours, nbdfuse, which shows it as a file, and a loop device on that.

mod endpoint;
mod local;
mod stack;

pub use endpoint::Endpoint;
pub use stack::{Nbdfuse, Stack, StackFault, lacking};
