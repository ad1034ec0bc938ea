//! What the control plane says of a volume's replicas, carried to the replica here.

use block::{Epoch, Incarnation, PoolId, VolumeId};
use replication::{Event, Replica, Start, Times};

use crate::copies::Replicated;
use crate::intent::CopiesIntent;
use crate::pipeline::Pipeline;

impl Pipeline {
    /// The volume is replicated, in this way.
    pub(crate) fn follow(&mut self, id: VolumeId, wanted: &CopiesIntent) {
        if self.copy_mut(id).is_none() && !self.begin_copy(id) {
            return;
        }
        if self.copy_mut(id).is_some_and(|copy| copy.obstacle.is_none()) {
            self.drive(id, Event::Able);
        }
        let me = self.copies.me;
        let others = wanted.peers.iter().filter(|(peer, _)| **peer != me);
        self.copies.peers.want(id, others.clone().map(|(peer, address)| (*peer, address.as_str())), self.copies.now);
        self.share(id, others.map(|(peer, _)| *peer));
        self.drive(id, Event::Wanted(wanted.wanted.clone()));
        if wanted.configuration.epoch > Epoch(0) {
            self.drive(id, Event::Configured(wanted.configuration.clone()));
            self.drive(id, Event::HandOver { to: wanted.hand_over });
        } else {
            self.pump();
        }
    }

    /// Makes the replica from what the store keeps of it; whether there is one to make.
    fn begin_copy(&mut self, id: VolumeId) -> bool {
        let (Some(state), Some(volume)) = (self.store.volume(id), self.volumes.get_mut(&id)) else { return false };
        let replica = Replica::new(Start {
            me: self.copies.me,
            incarnation: self.copies.first,
            epoch_seen: state.epoch,
            stable: state.stable,
            last: state.last_seq.n,
            times: Times::default(),
        });
        let mut copy = Replicated::new(replica);
        copy.looked_at = self.copies.now;
        volume.copy = Some(Box::new(copy));
        // Whoever used it while it was alone comes again when somebody serves it.
        self.copies.deposed.push(id);
        if self.store.poisoned().is_some() {
            self.device_failed();
        }
        self.copies.stirred.insert(id);
        true
    }

    /// The volume is about to be deleted: its replica leaves, and everything that waits for it ends.
    pub(crate) fn retire(&mut self, id: VolumeId) {
        if let Some(copy) = self.copy_mut(id) {
            // Should it be made anew, it is not taken for what it was.
            let next = Incarnation(copy.replica.incarnation().0 + 2);
            self.copies.first = self.copies.first.max(next);
            self.drive(id, Event::Unable);
            self.share(id, std::iter::empty());
            self.copies.peers.want(id, std::iter::empty(), self.copies.now);
            self.pump();
        }
    }

    /// Lets others be primary of what this node serves, where there are any.
    pub(crate) fn leave_primacy(&mut self) {
        for (id, to) in self.successors() {
            self.drive(id, Event::HandOver { to: Some(to) });
        }
    }

    /// Volumes that are served here, and who could instead.
    pub(crate) fn successors(&self) -> Vec<(VolumeId, PoolId)> {
        let me = self.copies.me;
        let served = self.volumes.values().filter_map(|volume| Some((volume.id, volume.copy.as_deref()?)));
        let serving = served.filter(|(_, copy)| copy.is_serving());
        let with_other = serving.filter_map(|(id, copy)| {
            let configuration = copy.replica.configuration()?;
            let other = configuration.members.keys().copied().find(|member| *member != me)?;
            Some((id, other))
        });
        with_other.collect()
    }
}
