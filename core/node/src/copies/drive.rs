//! Events to a volume's replica, and what it wants done about them.

use block::{Error, VolumeId};
use replication::{Effect, Event, Payload};
use store::Token;

use crate::copies::Replicated;
use crate::copies::content::Held;
use crate::copies::copy::STABLE_AFTER;
use crate::copies::work::Work;
use crate::mark::Mark;
use crate::pipeline::Pipeline;

impl Pipeline {
    pub(crate) fn copy_mut(&mut self, id: VolumeId) -> Option<&mut Replicated> {
        self.volumes.get_mut(&id)?.copy.as_deref_mut()
    }

    /// Something happened to a replica, and everything that follows from it.
    pub(crate) fn drive(&mut self, id: VolumeId, event: Event<Payload>) {
        let Some(copy) = self.copy_mut(id) else { return };
        copy.events.push_back(event);
        self.copies.stirred.insert(id);
        self.pump();
    }

    /// Works on every volume that something happened to, until nothing follows any more.
    pub(crate) fn pump(&mut self) {
        if self.copies.is_over() || std::mem::replace(&mut self.copies.pumping, true) {
            return;
        }
        while let Some(id) = self.copies.stirred.pop_first() {
            while self.handle_next(id) {}
            self.teach(id);
            self.hand_work(id);
            self.submit_waiting(id);
            self.cut_wanted(id);
            self.retire_on(id);
            self.answer_parked(id);
            self.end_requests();
            self.note_deadline(id);
        }
        self.copies.pumping = false;
    }

    /// Volumes whose time has come, and those for which there may be room again.
    pub(crate) fn tick_copies(&mut self) {
        let now = self.copies.now;
        if self.copies.is_over() {
            return;
        }
        self.mend();
        self.end_late_comparisons();
        if !self.copies.starved.is_empty() && self.store.has_room() {
            let mut starved = std::mem::take(&mut self.copies.starved);
            self.copies.stirred.append(&mut starved);
        }
        self.teach_on();
        while let Some((at, id)) = self.copies.due.first().copied()
            && at <= now
        {
            self.copies.due.pop_first();
            let Some(copy) = self.copy_mut(id) else { continue };
            (copy.due, copy.looked_at) = (None, now);
            copy.events.push_back(Event::Tick);
            self.copies.stirred.insert(id);
            self.retry_full(id);
            self.open_links(id);
        }
        self.pump();
    }

    /// Whether something had happened.
    pub(super) fn handle_next(&mut self, id: VolumeId) -> bool {
        let now = self.copies.now;
        let Some(copy) = self.volumes.get_mut(&id).and_then(|volume| volume.copy.as_deref_mut()) else { return false };
        let is_tight = self.store.is_tight();
        let event = if std::mem::replace(&mut copy.is_tight, is_tight) == is_tight {
            copy.next_event()
        } else {
            Some(Event::Tight(is_tight))
        };
        let Some(event) = event else { return false };
        let mut effects = std::mem::take(&mut self.copies.effects);
        copy.replica.handle(now, event, &Held { store: &self.store, volume: id }, &mut effects);
        self.carry_out(id, &mut effects);
        self.copies.effects = effects;
        true
    }

    /// Does what a replica wants, in this order.
    pub(super) fn carry_out(&mut self, id: VolumeId, effects: &mut Vec<Effect<Payload>>) {
        for effect in effects.drain(..) {
            match effect {
                Effect::Send { to, message } => self.post(id, to, message),
                Effect::Disconnect { peer } => self.reset_link(id, peer),
                Effect::Apply { entry } => self.push_work(id, Work::Entry { entry, own: true }),
                Effect::Relayed { entry } => self.push_work(id, Work::Entry { entry, own: false }),
                Effect::StoreGroup { group, born, content } => {
                    self.push_work(id, Work::Group { group, born, content });
                }
                Effect::ReadGroup { id: read, peer, group, from } => {
                    self.push_work(id, Work::Read { id: read, peer, group, from });
                }
                Effect::Cut { snapshot } => self.push_work(id, Work::Cut { snapshot }),
                Effect::DropSnapshot { id: snapshot } => self.push_work(id, Work::Drop { snapshot }),
                Effect::Settle => self.push_work(id, Work::Settle),
                Effect::Restamp { seq } => self.push_work(id, Work::Restamp { seq }),
                Effect::KeepEpoch { epoch } => self.push_work(id, Work::Epoch { epoch }),
                Effect::KeepStable { seq } => {
                    let at = self.copies.now + STABLE_AFTER;
                    if let Some(copy) = self.copy_mut(id) {
                        let at = copy.stable.map_or(at, |(_, at)| at);
                        copy.stable = Some((seq, at));
                    }
                }
                Effect::Propose(proposal) => self.copies.proposals.push((id, proposal)),
                Effect::Forget => self.forget_work(id),
                Effect::Reincarnated { incarnation } => {
                    self.forget_work(id);
                    if let Some(copy) = self.copy_mut(id) {
                        copy.incarnation = incarnation;
                    }
                }
                Effect::Completed { op } => self.copies.ended.push_back((Mark::of(Token(op.0)), None)),
                Effect::Deposed { ops } => {
                    self.copies.deposed.push(id);
                    let ended = ops.iter().map(|op| (Mark::of(Token(op.0)), Some(Error::ShuttingDown)));
                    self.copies.ended.extend(ended);
                }
            }
        }
    }

    /// What the store was not given is nothing that anybody counts on.
    fn forget_work(&mut self, id: VolumeId) {
        if let Some(copy) = self.copy_mut(id) {
            copy.work.retain(Work::is_promise);
        }
    }

    fn push_work(&mut self, id: VolumeId, work: Work) {
        if let Some(copy) = self.copy_mut(id) {
            copy.work.push_back(work);
        }
    }

    /// Ends requests whose changes have ended. What follows in the same volume waits in its list.
    fn end_requests(&mut self) {
        while let Some((mark, error)) = self.copies.ended.pop_front() {
            match mark {
                Mark::Part(key) => self.part_ended(key, error),
                Mark::Op(key) => self.step_ended(key, error),
                Mark::Head(_) | Mark::Tail(_) | Mark::Command(_) | Mark::Work(_) => {
                    unreachable!("only parts and flushes are submitted")
                }
            }
            self.settle();
        }
    }

    /// Notes when the volume is to be looked at again, and whether there is something new to say of it.
    fn note_deadline(&mut self, id: VolumeId) {
        let Some(copy) = self.volumes.get_mut(&id).and_then(|volume| volume.copy.as_deref_mut()) else { return };
        let due = copy.deadline();
        if due != copy.due {
            if let Some(before) = std::mem::replace(&mut copy.due, due) {
                self.copies.due.remove(&(before, id));
            }
            self.copies.due.extend(due.map(|at| (at, id)));
        }
        let told = copy.now_told();
        if told != copy.told {
            copy.told = told;
            self.copies.news.insert(id);
        }
    }
}
