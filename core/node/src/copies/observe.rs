//! What a node says of its replicas, and what their owners have to act on.

use block::VolumeId;

use crate::copies::Replicated;
use crate::event::{Effect, Why};
use crate::intent::{CopyObservation, Copying};
use crate::node::Node;

impl Replicated {
    /// The replica at a glance; nothing was lost by a loss of power since `warm_from`.
    pub(crate) fn observation(&self, warm_from: block::Incarnation) -> CopyObservation {
        let status = self.replica.status();
        CopyObservation {
            incarnation: status.incarnation,
            warm_from,
            role: status.role,
            epoch: status.epoch,
            is_serving: self.is_serving(),
            is_able: self.is_able(),
            groups_to_teach: self.replica.groups_to_teach(),
            copying: status.copying.map(|(left, groups)| Copying::new(left, groups)),
        }
    }
}

impl Node {
    /// Ends the connections of clients whose volume is served elsewhere from now on. What they asked for here and was not
    /// answered may or may not be done; they ask again where the primary is.
    pub(crate) fn drop_deposed(&mut self, effects: &mut Vec<Effect>) {
        let now = self.now;
        for id in std::mem::take(&mut self.pipeline.copies.deposed) {
            let clients = self.connections.iter().filter(|one| one.volume() == Some(id));
            let clients: Vec<_> = clients.map(|one| one.id).collect();
            clients.into_iter().for_each(|one| self.close(now, one, Why::Deposed, effects));
        }
    }

    /// Tells what is new of replicas, and asks the control plane for what they want.
    pub(crate) fn tell_copies(&mut self, effects: &mut Vec<Effect>) {
        let copies = &mut self.pipeline.copies;
        effects.extend(copies.comparisons.ended.drain(..).map(|(id, answer)| Effect::Answered { id, answer }));
        effects.extend(copies.proposals.drain(..).map(|(volume, proposal)| Effect::Propose { volume, proposal }));
        let news: Vec<VolumeId> = std::mem::take(&mut copies.news).into_iter().collect();
        self.observation_changed |= !news.is_empty();
        // A snapshot may be there that is not wanted, or may be cut now.
        self.agenda.look_at(news.iter().copied());
        // Only who serves says that others are shut out.
        self.unconfirmed.extend(news);
    }
}
