//! Checker: a volume that was seen once is never made anew, and one that a node has told of does not vanish unless
//! somebody deletes it or takes its disk away.

use std::collections::BTreeMap;

use block::{PoolId, VolumeId};
use cluster::{Phase, State};
use node::Observation;

/// What nodes have told of.
#[derive(Default)]
pub(super) struct Anew {
    told: BTreeMap<PoolId, Vec<VolumeId>>,
}

impl Anew {
    /// A node has made a volume.
    pub fn made(&self, volume: VolumeId, decided: &State) -> Result<(), String> {
        let seen = decided.contents().volumes.get(&volume).is_some_and(|volume| volume.phase == Phase::Ready);
        if seen { Err(format!("volume {volume} was seen before, and is made anew")) } else { Ok(()) }
    }

    /// A node tells what it holds.
    pub fn told(&mut self, pool: PoolId, observation: &Observation, decided: &State) -> Result<(), String> {
        let now: Vec<VolumeId> = observation.replicas.iter().map(|replica| replica.volume).collect();
        let before = self.told.insert(pool, now.clone()).unwrap_or_default();
        let wanted = |volume: &VolumeId| decided.contents().volumes.contains_key(volume);
        match before.iter().find(|volume| !now.contains(volume) && wanted(volume)) {
            Some(volume) => Err(format!("volume {volume} was told of, and is gone, and nobody deleted it")),
            None => Ok(()),
        }
    }

    /// The disk was taken away.
    pub fn wiped(&mut self, pool: PoolId) {
        self.told.remove(&pool);
    }
}
