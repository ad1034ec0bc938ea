//! Effects of the data plane: one thread with one io_uring serves sockets and the pool's device; one niced thread does
//! what may take its time; the caller's tokio thread asks for metrics and gives commands.
//!
//! What is decided is decided in `node`, a pure machine; here its orders are carried out.

mod background;
mod buffers;
mod clock;
mod control;
mod data;
mod disk;
#[cfg(test)]
mod drill;
mod figures;
mod http;
mod listen;
mod lock;
mod machine;
mod media;
mod metrics;
mod null;
mod offline;
mod pool;
mod reactor;
mod recovery;
mod report;
mod ring;
mod setup;
mod slots;
mod sockets;
mod start;
mod wake;

/// What an offline look at a pool finds.
pub use store::{BadBlock, CheckReport, Inspection, SuperblockCopy, VersionFacts, VersionName};

/// Commands and answers of a node, which [`Control::command`] passes on.
pub use node::{Answer, Command, NodeConfig, NodeStats, VolumeSummary};

pub use buffers::Buffers;
pub use control::{CallError, Control};
pub use data::DataError;
pub use disk::DiskFigures;
pub use figures::{Figures, Latencies, Meter, Meters, OPERATIONS, Turns};
pub use http::HttpError;
pub use listen::{Address, ListenError};
pub use machine::{Machine, Observed, ObservedPool};
pub use media::FileMedia;
pub use null::{NULL_EXPORT, Null};
pub use offline::{OfflineError, OfflinePool};
pub use pool::{Pool, PoolConfig, PoolError, PoolSize};
pub use reactor::ReactorError;
pub use recovery::RecoveryError;
pub use setup::RingError;
pub use start::{Addresses, Config, StartError, StorageNode};
