//! What the node says of itself to the control plane.

use block::Epoch;

use crate::event::Effect;
use crate::hold::Hold;
use crate::intent::{Observation, ReplicaObservation};
use crate::node::{Node, Offer};
use crate::volume::Volume;

impl Node {
    /// What the node holds and goes by.
    #[must_use]
    pub fn observation(&self) -> Observation {
        let replica = |volume: &Volume| ReplicaObservation {
            volume: volume.id,
            size_bytes: volume.size_bytes,
            generation: volume.confirmed,
            epoch_seen: self.pipeline.store.volume(volume.id).map_or(Epoch(0), |kept| kept.epoch),
            lost_blocks: self.pipeline.lost_blocks(volume.id),
            copy: volume.copy.as_ref().map(|copy| copy.observation(self.pipeline.copies.warm_from)),
            snapshots: self.snapshots_told(volume),
            hold: volume.hold.as_ref().map(Hold::observation),
            cut_refused: volume.cut_refused,
            branch_points: self.pipeline.store.branch_points(volume.id),
        };
        Observation { heard: self.heard(), replicas: self.pipeline.volumes.values().map(replica).collect() }
    }

    /// The intent the node goes by: what was begun under an older one keeps it back until it has ended.
    fn heard(&self) -> u64 {
        let revision = self.wishes.revision();
        self.agenda.oldest().map_or(revision, |oldest| oldest.min(revision))
    }

    /// Says so when there is something new to say.
    pub(crate) fn tell_observation(&mut self, effects: &mut Vec<Effect>) {
        let heard = self.heard();
        let changed = std::mem::take(&mut self.observation_changed) || heard != self.told_heard;
        if changed && self.config.offer == Offer::Intended {
            self.told_heard = heard;
            effects.push(Effect::ObservationChanged);
        }
    }
}
