//! What a node's operating system does for a volume: filesystems and mounts.
//!
//! Promise: nothing is formatted that may hold anything; nothing is repaired that is mounted or may not be written; every
//! program ends within its time, and with the call that started it. What is there is read from the kernel, each time.
//!
//! Not here: where a device comes from (crate `attach`), which volume is meant, what Kubernetes wants.

mod content;
mod filesystem;
mod format;
mod grow;
mod mark;
mod mounting;
mod mounts;
mod program;
mod repair;
mod twins;
mod usage;

pub use content::{Content, ContentFault, look};
pub use filesystem::Filesystem;
pub use format::{FormatFault, check_words, format};
pub use grow::grow;
pub use mounting::{MountFault, Wish, bind, check_flags, mount, unmount};
pub use mounts::{Mount, MountTable, Origin, resolved};
pub use program::ProgramFault;
pub use repair::{RepairFault, repair};
pub use twins::{TwinFault, refuse_twin};
pub use usage::{Usage, UsageFault, usage};
