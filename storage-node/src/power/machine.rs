//! A machine whose device loses power.

use block::{Instant, PoolOffset};
use node::{Effect, Event};
use store::{DiskError, IoId};

use crate::machine::{Holding, Machine, Observed};
use crate::power::{Cache, Newer};

/// A machine, and the cache between it and its device.
pub(crate) struct Volatile<M> {
    /// The machine itself.
    pub machine: M,
    cache: Cache,
    /// Writes whose end it has not heard of, in order.
    written: Vec<(IoId, PoolOffset, Result<(), DiskError>)>,
    /// Reads at the device, and what it does not know.
    reads: Vec<(IoId, Newer)>,
}

impl<M: Machine> Volatile<M> {
    /// Puts a cache between them.
    pub fn new(machine: M, cache: Cache) -> Self {
        Self { machine, cache, written: Vec::new(), reads: Vec::new() }
    }

    /// Tells it that writes have ended.
    fn tell_written(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        for (io, at, result) in std::mem::take(&mut self.written) {
            let len_bytes = self.machine.write_source(io).0.len();
            self.cache.written(at, len_bytes);
            self.tell(now, Event::Disk(store::Event::Written { io, result }), effects);
        }
    }

    fn tell(&mut self, now: Instant, event: Event, effects: &mut Vec<Effect>) {
        let before = effects.len();
        self.machine.handle(now, event, effects);
        let ordered = effects.split_off(before);
        effects.extend(ordered.into_iter().filter_map(|effect| self.carry_out(effect)));
    }

    /// What the reactor is still to do.
    fn carry_out(&mut self, effect: Effect) -> Option<Effect> {
        match effect {
            Effect::Write { io, at } => {
                let kept = self.cache.write(at, self.machine.write_source(io).0);
                self.written.push((io, at, kept.map_err(|error| failure(&error))));
                return None;
            }
            Effect::Read { io, at } => {
                let len_bytes = self.machine.read_target(io).0.len();
                self.reads.push((io, self.cache.newer(at, len_bytes)));
            }
            // What cannot be given to the file fails with the sync that follows, as the file does not hold it.
            Effect::Sync { .. } => self.cache.give_all().expect("the file of a drill takes what is written to it"),
            Effect::Receive { .. }
            | Effect::Send { .. }
            | Effect::Close { .. }
            | Effect::Connect { .. }
            | Effect::Propose { .. }
            | Effect::Run { .. }
            | Effect::Answered { .. }
            | Effect::Measured { .. }
            | Effect::ObservationChanged
            | Effect::HandOver { .. }
            | Effect::Report(_)
            | Effect::Stopped => {}
        }
        Some(effect)
    }

    fn overlay(&mut self, io: IoId) {
        if let Some(index) = self.reads.iter().position(|(read, _)| *read == io) {
            let (_, newer) = self.reads.swap_remove(index);
            newer.put_over(self.machine.read_target(io).0);
        }
    }
}

fn failure(error: &std::io::Error) -> DiskError {
    DiskError::Failed { errno: error.raw_os_error().unwrap_or_default() }
}

impl<M: Machine> Machine for Volatile<M> {
    fn handle(&mut self, now: Instant, event: Event, effects: &mut Vec<Effect>) {
        if let Event::TurnEnded = event {
            self.tell_written(now, effects);
        }
        if let Event::Disk(store::Event::ReadEnded { io, .. }) = event {
            self.overlay(io);
        }
        self.tell(now, event, effects);
    }

    fn deadline(&self) -> Option<Instant> {
        if self.written.is_empty() { self.machine.deadline() } else { Some(Instant::default()) }
    }

    fn observe(&self) -> Observed {
        self.machine.observe()
    }

    fn holding(&self) -> Option<Holding> {
        self.machine.holding()
    }
}
