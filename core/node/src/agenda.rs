//! Which volumes are to be looked at because something may have to be done about them, which are being worked on, and
//! which are to be tried again.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};

use block::{Instant, VolumeId};

use crate::limits::{LOOKS_MAX, RETRIES_MAX, RETRY_AFTER, STEPS_MAX};

/// What is to be done is looked up when a volume's turn comes, so that it is never an old wish that is carried out.
#[derive(Debug, Default)]
pub(crate) struct Agenda {
    due: BTreeSet<VolumeId>,
    later: BTreeSet<VolumeId>,
    /// When some of `later` become due; set whenever there are any.
    retry_at: Option<Instant>,
    /// The last that became due again: the next ones follow it.
    retried: Option<VolumeId>,
    /// Steps that the store works on, and the intent each was begun under.
    running: BTreeMap<VolumeId, u64>,
    looks_left: u32,
}

impl Agenda {
    /// These are looked at as soon as there is room.
    pub fn look_at(&mut self, volumes: impl IntoIterator<Item = VolumeId>) {
        self.due.extend(volumes);
    }

    /// Nothing can be done about the volume now.
    pub fn postpone(&mut self, now: Instant, volume: VolumeId) {
        self.later.insert(volume);
        self.retry_at.get_or_insert(now + RETRY_AFTER);
    }

    /// A turn: some of what was postponed becomes due when it is time.
    pub fn begin_turn(&mut self, now: Instant) {
        self.looks_left = LOOKS_MAX;
        if self.retry_at.is_none_or(|at| at > now) {
            return;
        }
        let from = self.retried.map_or(Unbounded, Excluded);
        let behind = self.later.range((from, Unbounded));
        let chosen: Vec<VolumeId> = behind.chain(&self.later).take(RETRIES_MAX).copied().collect();
        for volume in &chosen {
            self.later.remove(volume);
        }
        self.retried = chosen.last().copied();
        self.due.extend(chosen);
        self.retry_at = Some(now + RETRY_AFTER).filter(|_| !self.later.is_empty());
    }

    /// The next one to look at; none that is being worked on.
    pub fn next(&mut self) -> Option<VolumeId> {
        while self.looks_left > 0 && self.running.len() < STEPS_MAX {
            self.looks_left -= 1;
            let volume = self.due.pop_first()?;
            self.later.remove(&volume);
            // What is being worked on is looked at when that has ended.
            if !self.running.contains_key(&volume) {
                return Some(volume);
            }
        }
        None
    }

    pub fn begin(&mut self, volume: VolumeId, revision: u64) {
        self.running.insert(volume, revision);
    }

    /// A step ended, well or not.
    pub fn ended(&mut self, volume: VolumeId) {
        self.running.remove(&volume);
    }

    /// The oldest intent that something is under way of.
    pub fn oldest(&self) -> Option<u64> {
        self.running.values().min().copied()
    }

    /// Whether there is something to look at, if the store has room.
    pub fn has_due(&self) -> bool {
        !self.due.is_empty() && self.running.len() < STEPS_MAX
    }

    pub fn deadline(&self) -> Option<Instant> {
        self.retry_at.filter(|_| !self.later.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use block::{Instant, VolumeId};

    use super::Agenda;
    use crate::limits::{RETRIES_MAX, RETRY_AFTER, STEPS_MAX};

    #[test]
    fn whatever_keeps_failing_takes_turns_at_a_bounded_rate() {
        let count = RETRIES_MAX * 2 + 3;
        let mut agenda = Agenda::default();
        let mut now = Instant(5);
        agenda.look_at((0..count as u64).map(VolumeId));
        let mut tried = vec![0; count];
        for round in 0..10 {
            agenda.begin_turn(now);
            let mut batch = 0;
            while let Some(volume) = agenda.next() {
                tried[usize::try_from(volume.0).unwrap()] += 1;
                batch += 1;
                agenda.postpone(now, volume);
            }
            assert!(round == 0 || batch == RETRIES_MAX, "round {round}: {batch}");
            agenda.begin_turn(now);
            assert_eq!(agenda.next(), None, "not before it is time");
            now = agenda.deadline().expect("there is something to try again");
        }
        assert!(tried.iter().all(|&times| (4..=6).contains(&times)), "{tried:?}");
    }

    #[test]
    fn what_runs_keeps_its_intent_back_and_others_waiting() {
        let mut agenda = Agenda::default();
        let all = STEPS_MAX as u64 + 2;
        agenda.look_at((0..all).map(VolumeId));
        agenda.begin_turn(Instant(0));
        while let Some(volume) = agenda.next() {
            agenda.begin(volume, 10 + volume.0);
        }
        assert!(!agenda.has_due());
        assert_eq!(agenda.oldest(), Some(10));
        agenda.ended(VolumeId(0));
        assert_eq!(agenda.oldest(), Some(11));
        assert!(agenda.has_due());
        assert!(RETRY_AFTER.as_millis() > 100, "a loop it is not");
    }
}
