//! Why a volume is not attached, or not detached.

use std::io;
use std::path::PathBuf;

use crate::blockdev::Use;
use crate::fuse::StackFault;
use crate::tool::ToolFault;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The system refused something.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Another process keeps it.
    #[error("volume {name} is kept by {} of this host; `plinth detach {name}` ends it", process(*keeper))]
    Kept {
        /// The volume.
        name: String,
        /// The process.
        keeper: Option<u32>,
    },
    /// There is nothing here.
    #[error("volume {name} is not attached to this host; `plinth attach {name}` does that")]
    Absent {
        /// The volume.
        name: String,
    },
    /// A detach has begun, and not ended.
    #[error("volume {name} is being detached from this host; `plinth detach {name}` goes on with that")]
    Ending {
        /// The volume.
        name: String,
    },
    /// The host cannot do it.
    #[error("this host cannot attach volumes so: it lacks {lacking}")]
    NoMethod {
        /// What it lacks.
        lacking: String,
    },
    /// Somebody uses the device.
    #[error("{} is {usage}; unmount or close it first, or lose what it has not written with --force", device.display())]
    InUse {
        /// The device.
        device: PathBuf,
        /// Who.
        usage: Use,
    },
    /// What waits could not be written.
    #[error("what waits to be written could not be: {0}; detach with --force loses it")]
    Unflushed(#[from] ToolFault),
    /// Parts of the device.
    #[error(transparent)]
    Stack(#[from] StackFault),
    /// The device is not the volume.
    #[error("{} has {found} bytes, and the volume {expected}; nothing was attached", device.display())]
    WrongSize {
        /// The device.
        device: PathBuf,
        /// Its size.
        found: u64,
        /// The volume's.
        expected: u64,
    },
}

fn process(keeper: Option<u32>) -> String {
    keeper.map_or_else(|| "another process".to_owned(), |id| format!("process {id}"))
}
