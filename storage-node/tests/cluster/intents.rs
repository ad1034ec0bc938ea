//! Intents as a leader makes them.

use proto::link::{Attachment, Deletion, Intent, ReplicaIntent, Report, Route};

/// The token of every attachment here, and its SHA-256.
pub const TOKEN: &str = "000102030405060708090a0b0c0d0e0f";

pub const VOLUME_BYTES: u64 = 16 << 20;

/// All there is.
pub fn whole(revision: u64, replicas: Vec<ReplicaIntent>) -> Intent {
    Intent { revision, whole: true, replicas, ..Intent::default() }
}

/// What changed.
pub fn change(revision: u64, replicas: Vec<ReplicaIntent>) -> Intent {
    Intent { whole: false, ..whole(revision, replicas) }
}

/// A volume `v<number>` that nobody may use.
pub fn replica(pool: &[u8], number: u64) -> ReplicaIntent {
    ReplicaIntent {
        pool: pool.to_vec(),
        volume: number,
        name: format!("v{number}"),
        size_bytes: VOLUME_BYTES,
        may_create: true,
        generation: 0,
        attachments: Vec::new(),
        open: false,
        replication: None,
        ..ReplicaIntent::default()
    }
}

/// The same, which a writer with [`TOKEN`] may use.
pub fn attached(pool: &[u8], number: u64, generation: u64) -> ReplicaIntent {
    let token_hash = node::TokenHash::of_text(TOKEN).unwrap().0.to_vec();
    let attachment = Attachment { client: "client".to_owned(), read_only: false, generation, token_hash };
    ReplicaIntent { generation, attachments: vec![attachment], ..replica(pool, number) }
}

pub fn deletion(pool: &[u8], number: u64) -> Deletion {
    Deletion { pool: pool.to_vec(), volume: number }
}

/// Where volume `v<number>` is.
pub fn route(number: u64, address: &str) -> Route {
    Route { name: format!("v{number}"), address: address.to_owned() }
}

/// How a client names the volume.
pub fn export(number: u64) -> String {
    format!("v{number}@{TOKEN}")
}

/// The pool that a first report is about.
pub fn pool_of(report: &Report) -> Vec<u8> {
    report.pools[0].id.clone()
}
