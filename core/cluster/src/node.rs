//! Storage nodes and their pools, as the cluster knows them.

use std::collections::{BTreeMap, BTreeSet};

use block::VolumeId;

use crate::command::Time;
use crate::name::Name;

/// Labels of one thing.
pub const LABELS_MAX: usize = 64;

/// `zone=a`, `rack=7`: what an operator says about a node, or asks for.
pub type Labels = BTreeMap<String, String>;

/// Where a node is reached.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Addresses {
    /// By other nodes.
    pub peers: String,
    /// By NBD clients; several when it listens on several.
    pub nbd: Vec<String>,
}

/// What an operator allows on a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Admin {
    /// Everything.
    #[default]
    Schedulable,
    /// What is there stays; nothing new comes.
    Cordoned,
    /// What is there is to be moved away; nothing new comes.
    Draining,
}

/// Whether the control plane hears from a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Link {
    /// Its stream is open.
    Up {
        /// Since then.
        since: Time,
    },
    /// Its stream broke; it may still be serving.
    Lost {
        /// Since then.
        since: Time,
    },
}

/// A storage node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Node {
    /// Where it is.
    pub addresses: Addresses,
    /// Said by its configuration.
    pub labels: Labels,
    /// Said by an operator.
    pub admin: Admin,
    /// Whether it is heard.
    pub link: Link,
}

impl Node {
    /// The failure domain it belongs to; without the label it is its own.
    #[must_use]
    pub fn zone(&self) -> Option<&str> {
        self.labels.get("zone").map(String::as_str)
    }

    /// Whether it has all these labels.
    #[must_use]
    pub fn is_in(&self, place: &Labels) -> bool {
        place.iter().all(|(key, value)| self.labels.get(key) == Some(value))
    }

    /// Whether it is heard.
    #[must_use]
    pub fn is_up(&self) -> bool {
        matches!(self.link, Link::Up { .. })
    }
}

impl Pool {
    /// How full it is, in percent.
    #[must_use]
    pub fn used_percent(&self) -> u64 {
        let percent = u128::from(self.used_bytes) * 100 / u128::from(self.capacity_bytes.max(1));
        u64::try_from(percent).unwrap_or(u64::MAX)
    }
}

/// A pool that an operator removed. It is not taken in again, whoever brings it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RemovedPool {
    /// Whose it was.
    pub node: Name,
    /// Since when it is removed.
    pub since: Time,
    /// Who came with it since, and when first.
    pub back: Option<(Name, Time)>,
}

/// A pool of a node, as it was last reported.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pool {
    /// Whose.
    pub node: Name,
    /// What data may take.
    pub capacity_bytes: u64,
    /// What it takes.
    pub used_bytes: u64,
    /// Said by the node's configuration: `ssd`, `nvme`.
    pub tags: Vec<String>,
    /// It takes no writes any more: its device failed.
    pub failed: bool,
    /// Its node has opened it and is heard.
    pub open: bool,
    /// Volumes found in it that the cluster knows nothing of. They are never deleted by themselves.
    pub orphans: BTreeSet<VolumeId>,
}
