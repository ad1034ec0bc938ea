//! Intents in few words.

use block::{SnapshotId, VolumeId, WriteSeq};
use node::{Attachment, Intent, ReplicaIntent, Route, SnapshotIntent, SnapshotsIntent, TokenHash};

use crate::rig::MIB;

/// The token of a client's attachment of this generation, as clients write it.
pub fn token(client: u64, generation: u64) -> String {
    format!("{client:016x}{generation:016x}")
}

/// Who holds a volume, and how.
#[derive(Clone, Copy)]
pub enum Holder {
    Writer { client: u64, generation: u64 },
    Reader { client: u64, generation: u64 },
}

impl Holder {
    fn attachment(self) -> Attachment {
        let (client, generation, read_only) = match self {
            Self::Writer { client, generation } => (client, generation, false),
            Self::Reader { client, generation } => (client, generation, true),
        };
        let token = TokenHash::of_text(&token(client, generation)).unwrap();
        Attachment { client: format!("c{client}"), read_only, generation, token }
    }
}

/// Volume 1 with the name `v`, 4 MiB, which may be made; held by nobody.
pub fn replica() -> ReplicaIntent {
    ReplicaIntent {
        volume: VolumeId(1),
        name: "v".to_owned(),
        size_bytes: 4 * MIB,
        may_create: true,
        generation: 0,
        attachments: Vec::new(),
        open: false,
        copies: None,
        snapshots: SnapshotsIntent::default(),
    }
}

/// These snapshots should be there, each with its place if it is known.
pub fn cut(snapshots: &[(u64, Option<WriteSeq>)]) -> SnapshotsIntent {
    let wanted = |(id, at): &(u64, Option<WriteSeq>)| SnapshotIntent { id: SnapshotId(*id), at: *at, group: 0 };
    SnapshotsIntent { wanted: snapshots.iter().map(wanted).collect(), ..SnapshotsIntent::default() }
}

/// Another volume.
pub fn replica_of(volume: u64, name: &str) -> ReplicaIntent {
    ReplicaIntent { volume: VolumeId(volume), name: name.to_owned(), ..replica() }
}

/// Volume `v` in a generation, with those who hold it.
pub fn held(generation: u64, holders: &[Holder]) -> ReplicaIntent {
    let attachments = holders.iter().map(|holder| holder.attachment()).collect();
    ReplicaIntent { generation, attachments, ..replica() }
}

/// An intent that says it all.
pub fn whole(revision: u64, replicas: Vec<ReplicaIntent>) -> Intent {
    Intent { revision, whole: true, replicas, ..Intent::default() }
}

/// An intent that changes what it names.
pub fn change(revision: u64, replicas: Vec<ReplicaIntent>) -> Intent {
    Intent { revision, replicas, ..Intent::default() }
}

/// An intent that deletes a volume.
pub fn deletion(revision: u64, volume: u64) -> Intent {
    Intent { revision, deletions: vec![VolumeId(volume)], ..Intent::default() }
}

/// Volume `name` is on another node.
pub fn route(name: &str, address: &str) -> Route {
    Route { name: name.to_owned(), address: address.to_owned() }
}
