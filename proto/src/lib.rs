//! What goes over the wire between programs, and what voters keep on disk. Only the .proto files are written by hand;
//! who uses a message turns it into a checked type at its own edge.
#![allow(
    missing_docs,
    clippy::pedantic,
    clippy::wildcard_imports,
    reason = "made of the .proto files, which have the words"
)]

/// The API: what people and their tools ask of a cluster.
pub mod v1 {
    tonic::include_proto!("plinth.v1");
}

/// The stream between a storage node and the leader.
pub mod link {
    tonic::include_proto!("plinth.link");
}

/// Messages between voters.
pub mod raft {
    tonic::include_proto!("plinth.raft");
}

/// What a voter keeps: the entries of its log, and the state as of a snapshot.
pub mod record {
    tonic::include_proto!("plinth.record");
}

/// What Kubernetes asks of a storage plugin.
pub mod csi {
    pub use prost_types::Timestamp;

    tonic::include_proto!("csi.v1");
}
