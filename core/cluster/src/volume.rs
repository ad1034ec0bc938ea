//! Volumes as the cluster wants them, and what is known of their replicas.

use block::{BLOCK_BYTES, PoolId, VOLUME_BYTES_MAX};

use crate::attachment::{Attachments, Generation};
use crate::command::{Revision, Time};
use crate::name::Name;
use crate::node::Labels;

/// Smallest volume: 1 MiB.
pub const VOLUME_BYTES_MIN: u64 = 1 << 20;

/// Longest description.
pub const DESCRIPTION_BYTES_MAX: usize = 1024;

/// How a volume is to be kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VolumeSpec {
    /// Copies. More than one is refused until replication is there.
    pub replicas: u8,
    /// Tags that a pool must have.
    pub pool_tags: Vec<String>,
    /// Labels that a node must have; `zone` is one of them.
    pub node_selector: Labels,
    /// For people.
    pub description: String,
    /// For people and their tools.
    pub labels: Labels,
    /// While nobody has it attached, clients from the nodes' open networks may use it by its bare name.
    pub open: bool,
}

impl Default for VolumeSpec {
    fn default() -> Self {
        Self {
            replicas: 1,
            pool_tags: Vec::new(),
            node_selector: Labels::new(),
            description: String::new(),
            labels: Labels::new(),
            open: false,
        }
    }
}

/// Parameters that may change while a volume is used. `None` leaves one as it is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Modification {
    /// See [`VolumeSpec`].
    pub description: Option<String>,
    /// All labels, not only those that change.
    pub labels: Option<Labels>,
    /// See [`VolumeSpec`].
    pub open: Option<bool>,
}

/// What is known of a replica.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Observed {
    /// Its node has not been heard since this mattered.
    Unknown,
    /// Its node was heard, and it is not there.
    Nothing,
    /// It is there.
    Present {
        /// Its size.
        size_bytes: u64,
        /// The attachments its node goes by.
        generation: Generation,
    },
}

/// One pool's copy of a volume.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Replica {
    /// Where it is.
    pub pool: PoolId,
    /// What is known of it.
    pub observed: Observed,
}

/// How far a volume is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// It was never seen: its node may make it.
    Creating,
    /// It was seen. From now on it is never made anew: an empty volume in the place of a lost one would be a lie.
    Ready,
}

/// How a volume is, seen from outside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Health {
    /// It was never seen: it is being made.
    Creating,
    /// All that is wanted of it is done.
    Ready,
    /// It is there, and something of it is being changed.
    Changing,
    /// It was there, and its node is not heard or has not opened its pool.
    Unavailable,
    /// Its pool is there without it.
    Lost,
}

/// A volume.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Volume {
    /// Its name.
    pub name: Name,
    /// The size it should have.
    pub size_bytes: u64,
    /// How it is kept.
    pub spec: VolumeSpec,
    /// How far it is.
    pub phase: Phase,
    /// Its copy.
    pub replica: Replica,
    /// Who may use it.
    pub attachments: Attachments,
    /// When it was asked for.
    pub created: Time,
}

impl Volume {
    /// How it is.
    #[must_use]
    pub fn health(&self) -> Health {
        match (self.phase, self.replica.observed) {
            (Phase::Creating, _) => Health::Creating,
            (Phase::Ready, Observed::Unknown) => Health::Unavailable,
            (Phase::Ready, Observed::Nothing) => Health::Lost,
            (Phase::Ready, Observed::Present { .. }) if self.is_settled() => Health::Ready,
            (Phase::Ready, Observed::Present { .. }) => Health::Changing,
        }
    }

    /// Whether its node has done all that is wanted of it.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let wanted = Observed::Present { size_bytes: self.size_bytes, generation: self.attachments.generation };
        self.replica.observed == wanted
    }
}

/// What is left of a deleted volume until its node has freed the space.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tombstone {
    /// The name it had.
    pub name: Name,
    /// Where its replica is.
    pub pool: PoolId,
    /// What is known of it.
    pub observed: Observed,
    /// Since when.
    pub since: Time,
    /// Intents from here on tell of the deletion.
    pub revision: Revision,
}

/// Whether a volume can have this size.
pub(crate) fn is_size(size_bytes: u64) -> bool {
    (VOLUME_BYTES_MIN..=VOLUME_BYTES_MAX).contains(&size_bytes) && size_bytes.is_multiple_of(BLOCK_BYTES as u64)
}
