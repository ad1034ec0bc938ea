//! Holds: for a snapshot of several volumes at once nothing is acknowledged anywhere between two moments.
//!
//! ```text
//!   Held ── the group's snapshot has its place ──> Cut ── not wanted any more ──> Released
//!     └────────────────── too long, or not primary any more ──────┴─────────────> Broken
//! ```
//! What a client asked for goes on, and only its end is held back, reads included: who has heard of nothing asks for nothing
//! because of it. A hold ends by itself soon, whatever becomes of whoever wanted it, and is not begun again for its group.

use std::time::Duration;

use block::{Instant, VolumeId};

use crate::intent::{HoldObservation, HoldState};
use crate::node::Node;
use crate::pipeline::{Ended, Pipeline};
use crate::volume::Volume;

/// How long a hold lasts at most.
pub(crate) const HOLD_MAX: Duration = Duration::from_millis(200);

/// A hold of one volume.
#[derive(Debug)]
pub(crate) struct Hold {
    group: u64,
    state: HoldState,
    until: Instant,
    /// Requests that have ended, and of which nobody hears.
    withheld: Vec<Ended>,
}

impl Hold {
    /// What became of it.
    pub fn observation(&self) -> HoldObservation {
        HoldObservation { group: self.group, state: self.state }
    }

    fn lasts(&self) -> bool {
        match self.state {
            HoldState::Held | HoldState::Cut => true,
            HoldState::Released | HoldState::Broken => false,
        }
    }
}

impl Pipeline {
    /// Whether a snapshot of this group may be cut now.
    pub fn may_cut(&self, volume: &Volume, group: u64) -> bool {
        group == 0 || volume.hold.as_ref().is_some_and(|hold| hold.group == group && hold.lasts())
    }

    /// A snapshot of the volume has its place: one of this group, or of none.
    pub fn note_cut(&mut self, id: VolumeId, group: u64) {
        let hold = self.volumes.get_mut(&id).and_then(|volume| volume.hold.as_mut());
        if let Some(hold) = hold.filter(|hold| hold.state == HoldState::Held && hold.group == group) {
            hold.state = HoldState::Cut;
            self.copies.news.insert(id);
        }
    }

    /// Keeps the end of a request back, if nobody is to hear of it now.
    pub fn withhold(&mut self, ended: Ended) -> Option<Ended> {
        if self.holding.is_empty() {
            return Some(ended);
        }
        let volume = self.volumes.get_mut(&ended.asked.volume);
        match volume.and_then(|volume| volume.hold.as_mut()).filter(|hold| hold.lasts()) {
            Some(hold) => {
                hold.withheld.push(ended);
                None
            }
            None => Some(ended),
        }
    }

    /// Begins, ends and releases holds: `wanted` is the group that a volume is to hold for.
    pub fn keep_holds(&mut self, wanted: impl Fn(VolumeId) -> u64) {
        let now = self.copies.now;
        let held: Vec<VolumeId> = self.holding.iter().copied().collect();
        for id in held {
            let group = wanted(id);
            let Some(volume) = self.volumes.get_mut(&id) else {
                self.holding.remove(&id);
                continue;
            };
            let serves = volume.is_served_here();
            let last = volume.hold.as_mut();
            match last.filter(|hold| hold.lasts()) {
                Some(hold) if !serves || now >= hold.until => self.end_hold(id, HoldState::Broken),
                Some(hold) if hold.group != group => self.end_hold(id, HoldState::Released),
                Some(_) => continue,
                None => {}
            }
            self.begin_hold(id, group);
        }
    }

    fn begin_hold(&mut self, id: VolumeId, group: u64) {
        let until = self.copies.now + HOLD_MAX;
        let Some(volume) = self.volumes.get_mut(&id) else { return };
        if group == 0 {
            self.holding.remove(&id);
            return;
        }
        let is_new = volume.hold.as_ref().is_none_or(|hold| hold.group != group);
        if is_new && volume.is_served_here() {
            volume.hold = Some(Hold { group, state: HoldState::Held, until, withheld: Vec::new() });
            self.copies.news.insert(id);
            self.copies.stirred.insert(id);
        }
    }

    fn end_hold(&mut self, id: VolumeId, state: HoldState) {
        let hold = self.volumes.get_mut(&id).and_then(|volume| volume.hold.as_mut());
        let Some(hold) = hold else { return };
        hold.state = state;
        let withheld = std::mem::take(&mut hold.withheld);
        withheld.into_iter().for_each(|ended| self.end(ended));
        self.copies.news.insert(id);
    }

    /// Nobody waits for a hold any more: the node stops.
    pub fn break_holds(&mut self) {
        let held: Vec<VolumeId> = std::mem::take(&mut self.holding).into_iter().collect();
        for id in held {
            let lasts = |volume: &Volume| volume.hold.as_ref().is_some_and(Hold::lasts);
            if self.volumes.get(&id).is_some_and(lasts) {
                self.end_hold(id, HoldState::Broken);
            }
        }
    }

    /// When the next hold ends.
    pub fn hold_deadline(&self) -> Option<Instant> {
        let volumes = self.holding.iter().filter_map(|id| self.volumes.get(id)?.hold.as_ref());
        volumes.filter(|hold| hold.lasts()).map(|hold| hold.until).min()
    }
}

impl Node {
    /// Holds what the control plane wants held, and nothing else.
    pub(crate) fn keep_holds(&mut self) {
        let wishes = &self.wishes;
        self.pipeline.keep_holds(|id| wishes.replica(id).map_or(0, |replica| replica.snapshots.hold));
    }
}
