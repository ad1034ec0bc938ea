//! Effects of the data plane: one thread with one io_uring serves sockets and the pool's device; one niced thread does
//! what may take its time; in a cluster, one goes to other nodes: it carries clients through and connects. The caller's tokio thread asks for
//! metrics, gives commands, and keeps the link to the control plane.
//!
//! What is decided is decided in `node`, a pure machine; here its orders are carried out.

mod background;
mod buffers;
mod clock;
mod cluster;
mod control;
mod data;
mod dial;
mod disk;
#[cfg(test)]
mod drill;
mod figures;
mod http;
mod limits;
mod link;
mod listen;
mod lock;
mod lookup;
mod machine;
mod media;
mod metrics;
mod null;
mod offline;
mod outbound;
mod pool;
mod power;
mod reactor;
mod recovery;
mod relay;
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
pub use node::{Answer, Command, Network, NetworkError, NodeConfig, NodeStats, Offer, VolumeSummary};

pub use node::{Configuration, Proposal};
/// What a control plane says to a node that it has in its own process, by [`Control::intend`], and hears of it.
pub use node::{CopiesIntent, CopyObservation, Intent, Observation, ReplicaIntent, ReplicaObservation};

pub use buffers::Buffers;
pub use cluster::{ClusterConfig, ClusterError, ClusterFigures};
pub use control::{CallError, Control};
pub use data::DataError;
pub use dial::DialFigures;
pub use disk::DiskFigures;
pub use figures::{Figures, Latencies, Meter, Meters, OPERATIONS, ReplicaLinks, Turns};
pub use http::HttpError;
pub use link::LinkFigures;
pub use listen::{Address, ListenError};
pub use machine::{Holding, Machine, Observed, ObservedPool};
pub use media::FileMedia;
pub use null::{NULL_EXPORT, Null};
pub use offline::{OfflineError, OfflinePool};
pub use pool::{Pool, PoolConfig, PoolError, PoolSize};
pub use power::PowerDrill;
pub use reactor::ReactorError;
pub use recovery::RecoveryError;
pub use relay::RelayFigures;
pub use setup::RingError;
pub use sockets::Traffic;
pub use start::{Addresses, Config, StartError, StorageNode};
