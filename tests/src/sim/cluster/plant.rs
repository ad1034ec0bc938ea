//! Bugs planted between nodes and voters: what the checkers must find.

use std::collections::BTreeMap;

use block::VolumeId;
use cluster::{NodeIntent, Origin, ReplicaIntent};
use node::{HoldObservation, HoldState, Observation};

/// A bug.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Plant {
    /// None.
    Nothing,
    /// Nothing is held for a group, each of its snapshots is cut at once, and nodes say that they held.
    HoldsNothing,
    /// A clone is made of the newest snapshot of its source, whichever was meant.
    OtherOrigin,
    /// Nodes do not hear of snapshots that they are to delete.
    KeepsDeleted,
}

/// What is wrong on one stream.
pub(super) struct Planted {
    plant: Plant,
    pretended: BTreeMap<VolumeId, HoldObservation>,
}

impl Planted {
    pub fn new(plant: Plant) -> Self {
        Self { plant, pretended: BTreeMap::new() }
    }

    /// What a node hears.
    pub fn garble(&mut self, mut intent: NodeIntent, said: Option<&Observation>) -> NodeIntent {
        match self.plant {
            Plant::Nothing => {}
            Plant::HoldsNothing => intent.replicas.iter_mut().for_each(|replica| self.release(replica)),
            Plant::OtherOrigin => intent.replicas.iter_mut().for_each(|replica| replica.origin = other(replica, said)),
            Plant::KeepsDeleted => intent.snapshot_deletions.clear(),
        }
        intent
    }

    fn release(&mut self, replica: &mut ReplicaIntent) {
        let cuts = replica.snapshots.iter().any(|wanted| wanted.group.is_some());
        replica.snapshots.iter_mut().for_each(|wanted| wanted.group = None);
        let state = if cuts { HoldState::Cut } else { HoldState::Held };
        match replica.hold.take() {
            Some(group) => {
                self.pretended.insert(replica.volume, HoldObservation { group: group.0, state });
            }
            None => {
                self.pretended.entry(replica.volume).and_modify(|hold| hold.state = HoldState::Released);
            }
        }
    }

    /// What a node says.
    pub fn lie(&self, mut observation: Observation) -> Observation {
        match self.plant {
            Plant::HoldsNothing => {
                for replica in &mut observation.replicas {
                    replica.hold = self.pretended.get(&replica.volume).copied();
                }
            }
            Plant::Nothing | Plant::OtherOrigin | Plant::KeepsDeleted => {}
        }
        observation
    }
}

/// The newest snapshot of the volume whose snapshot was meant.
fn other(replica: &ReplicaIntent, said: Option<&Observation>) -> Option<Origin> {
    let meant = replica.origin?;
    let is_source = |found: &&node::ReplicaObservation| found.snapshots.iter().any(|one| one.id == meant.snapshot);
    let source = said.and_then(|said| said.replicas.iter().find(is_source));
    let newest = source.and_then(|source| source.snapshots.iter().max_by_key(|one| one.at));
    Some(newest.map_or(meant, |newest| Origin { snapshot: newest.id, at: newest.at }))
}
