//! Bugs planted between nodes and voters: what the checkers must find.

use cluster::{NodeIntent, Origin, ReplicaIntent};
use node::{Observation, ReplicaObservation};

/// A bug.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Plant {
    /// None.
    Nothing,
    /// A clone is made of the newest snapshot of its source, whichever was meant.
    OtherOrigin,
    /// A clone is made of zeroes.
    EmptyClones,
    /// Nodes do not hear of snapshots that they are to delete.
    KeepsDeleted,
}

impl Plant {
    /// What a node hears that said this of itself.
    pub(super) fn garble(self, mut intent: NodeIntent, said: Option<&Observation>) -> NodeIntent {
        match self {
            Self::Nothing => {}
            Self::OtherOrigin => intent.replicas.iter_mut().for_each(|replica| replica.origin = other(replica, said)),
            Self::EmptyClones => intent.replicas.iter_mut().for_each(|replica| replica.origin = None),
            Self::KeepsDeleted => intent.snapshot_deletions.clear(),
        }
        intent
    }
}

/// The newest snapshot of the volume whose snapshot was meant.
fn other(replica: &ReplicaIntent, said: Option<&Observation>) -> Option<Origin> {
    let meant = replica.origin?;
    let is_source = |found: &&ReplicaObservation| found.snapshots.iter().any(|one| one.id == meant.snapshot);
    let source = said.and_then(|said| said.replicas.iter().find(is_source));
    let newest = source.and_then(|source| source.snapshots.iter().max_by_key(|one| one.at));
    Some(newest.map_or(meant, |newest| Origin { snapshot: newest.id, at: newest.at }))
}
