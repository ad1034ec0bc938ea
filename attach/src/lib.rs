//! A volume as a block device of this host, kept alive through failovers.
//!
//! Promise: every step can be repeated and given up at any moment, and what is there is found again by whoever comes
//! after a process that died. A device never shows another volume than the one that was meant. Its requests wait while
//! nobody serves the volume; what was not answered is asked again, on a connection that ended the one before it.
//!
//! Not here: what the cluster is asked for (who may attach, and for how long), filesystems, mounting.
//!
//! ```text
//!   Host::claim ──> Claim ── note (before and after the cluster is asked), raise ──> Keeper ── run
//!   Host::lower ──> the device is gone ── (the cluster is told) ── Host::forget
//! ```
//! Files: `host` what a user of the crate does; `keeper` a device that is there; `record` what a host remembers;
//! `growth` its size; `kernel` and `fuse` the two methods; `line` who serves the volume, and what was asked of it; `remote` a volume without a
//! device, for copies; `blockdev` and `tool` the host.

mod blockdev;
mod error;
mod fuse;
mod growth;
mod host;
mod keeper;
mod kernel;
mod line;
mod record;
mod remote;
mod tool;

pub use blockdev::{Use, size_bytes, usage};
pub use error::AttachError;
pub use fuse::StackFault;
pub use host::{Attachment, Claim, Ending, Host, best_method, nbd_index, require};
pub use keeper::{Keeper, KeeperFault};
pub use kernel::KeepFault;
pub use line::{Directory, DirectoryKeeper, Identity};
pub use record::{Method, Record};
pub use remote::{Remote, RemoteFault, Reply};
pub use tool::ToolFault;
