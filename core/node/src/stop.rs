//! The end of a node in good order: first the clients, then the store.

use block::Instant;

use crate::connection::Stage;
use crate::event::{ConnId, Effect, Why};
use crate::limits;
use crate::node::Node;

/// How far the end is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    Running,
    /// Admitted requests and replies are finished until then.
    Finishing {
        until: Instant,
    },
    /// Others become primary of replicated volumes, until then.
    Leaving {
        until: Instant,
    },
    /// They are, and are told that this node goes by it, until then.
    Left {
        until: Instant,
    },
    /// The store finishes.
    Storing,
    Stopped,
}

impl Phase {
    pub fn is_stopping(self) -> bool {
        self != Self::Running
    }

    pub fn deadline(self) -> Option<Instant> {
        match self {
            Self::Finishing { until } | Self::Leaving { until } | Self::Left { until } => Some(until),
            Self::Running | Self::Storing | Self::Stopped => None,
        }
    }
}

impl Node {
    /// Begins the end. Requests that were not admitted are not answered: their clients connect again and ask the
    /// next process, while an error would reach their file systems.
    pub(crate) fn stop(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if self.phase.is_stopping() {
            return;
        }
        self.phase = Phase::Finishing { until: now + limits::PATIENCE };
        self.refuse_waiting(effects);
        self.pipeline.break_holds();
        let all: Vec<ConnId> = self.connections.iter().map(|connection| connection.id).collect();
        for id in all {
            match self.connections.get(id).map(|connection| &connection.stage) {
                Some(Stage::Negotiating { .. } | Stage::Leaving { .. }) => self.close(now, id, Why::Stopping, effects),
                Some(Stage::Open { .. } | Stage::Succeeding { .. }) => self.drain(now, id, Why::Stopping),
                // An admitted write may still come to its end; then the connection drains.
                Some(Stage::Receiving { .. } | Stage::Draining { .. } | Stage::Closing { .. }) | None => {}
            }
        }
    }

    /// Goes on with the end.
    pub(crate) fn stop_further(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        match self.phase {
            Phase::Running | Phase::Stopped => {}
            Phase::Finishing { until } => {
                let quiet = self.connections.len() == 0 && self.pipeline.requests() == 0 && self.commands.is_empty();
                if now >= until {
                    self.drop_all(now, effects);
                }
                if quiet || now >= until {
                    self.let_others_serve(now, effects);
                }
            }
            Phase::Leaving { until } => {
                if now >= until {
                    self.store_all(now, effects);
                } else if self.pipeline.successors().is_empty() {
                    self.phase = Phase::Left { until: until.min(now + limits::HAND_OVER_GRACE) };
                }
            }
            Phase::Left { until } => {
                if now >= until {
                    self.store_all(now, effects);
                }
            }
            Phase::Storing => {
                if self.pipeline.store.is_stopped()
                    && self.connections.len() == 0
                    && self.pipeline.copies.peers.connections.is_empty()
                {
                    self.phase = Phase::Stopped;
                    effects.push(Effect::Stopped);
                }
            }
        }
    }

    /// Lets others serve what this node does: whoever is primary next need not wait until its promises expire.
    fn let_others_serve(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if self.pipeline.successors().is_empty() {
            return self.store_all(now, effects);
        }
        self.phase = Phase::Leaving { until: now + limits::HAND_OVER_PATIENCE };
        self.pipeline.leave_primacy();
    }

    fn store_all(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        self.phase = Phase::Storing;
        self.leave_peers();
        self.pipeline.store.stop();
        self.end_store_turn(now, effects);
        self.stop_further(now, effects);
    }

    fn drop_all(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let all: Vec<ConnId> = self.connections.iter().map(|connection| connection.id).collect();
        for id in all {
            self.close(now, id, Why::Abrupt, effects);
        }
    }
}
