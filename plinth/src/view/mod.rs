//! What the API says as this program shows it: types with names that stay, for JSON and YAML, and their tables. The
//! API's own types end here.

mod cluster;
mod node;
mod operation;
mod pool;
mod schedule;
mod snapshot;
mod verify;
mod volume;

pub use cluster::{Settings, Status, Voter};
pub use node::Node;
pub use operation::Operation;
pub use pool::Pool;
pub use schedule::Schedule;
pub use snapshot::{Group, Snapshot};
pub use verify::Verification;
pub use volume::{Mode, Phase, Volume};

use std::collections::BTreeMap;

/// `a=1,b=2`.
fn labels(labels: &BTreeMap<String, String>) -> String {
    let pairs: Vec<_> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    or_dash(&pairs)
}

/// Joined by commas; a dash when there is nothing.
fn or_dash(words: &[String]) -> String {
    if words.is_empty() { "-".to_owned() } else { words.join(",") }
}
