//! Without the kernel's NBD client: a file system of one file, the volume, served by this process, and a loop device on it.

mod channel;
mod endpoint;
mod file;
mod stack;
#[cfg(test)]
mod tests;
mod wire;

pub use endpoint::Endpoint;
pub use stack::{Stack, StackFault, lacking};
