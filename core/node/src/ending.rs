//! How connections come and go.

use block::{Instant, VolumeId};

use crate::connection::{Connection, Stage};
use crate::door::{Door, Entrance};
use crate::event::{ConnId, Effect, Report, Why};
use crate::limits;
use crate::node::Node;

impl Node {
    /// A client connected: greets it, unless there are too many.
    pub(crate) fn accepted(&mut self, now: Instant, id: ConnId, door: Door, effects: &mut Vec<Effect>) {
        let refused = if self.phase.is_stopping() {
            Some(Why::Stopping)
        } else if self.connections.len() >= limits::CONNECTIONS_MAX {
            Some(Why::TooMany)
        } else {
            None
        };
        if let Some(why) = refused {
            self.rejected += 1;
            effects.push(Effect::Close { conn: id });
            return self.reports.push(now, Report::Ended { conn: id, volume: None, why }, effects);
        }
        self.accepted += 1;
        let entrance = Entrance::by(door, &self.config.open_networks);
        self.connections.insert(Connection::new(id, entrance, now));
        self.time(now, id);
        self.touch(id);
        self.queue(id);
    }

    /// Reads no more from the connection; it ends when everything admitted is answered and sent.
    pub(crate) fn drain(&mut self, now: Instant, id: ConnId, why: Why) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        let pass = connection.pass();
        if matches!(connection.stage, Stage::Draining { .. } | Stage::Closing { .. }) {
            return;
        }
        let draining = Stage::Draining { pass, why, since: now, held: None };
        let before = std::mem::replace(&mut connection.stage, draining);
        if let Stage::Receiving { assembly, .. } = before {
            self.pipeline.give_up(&assembly);
            if let Stage::Draining { held, .. } = &mut connection.stage {
                *held = Some(assembly);
            }
        }
        self.time(now, id);
        self.touch(id);
    }

    /// Ends the connection now. Its admitted requests run on, for nobody.
    pub(crate) fn close(&mut self, now: Instant, id: ConnId, why: Why, effects: &mut Vec<Effect>) {
        let Some(connection) = self.connections.get_mut(id) else { return self.peer_broken(id) };
        let volume = connection.volume();
        let before = std::mem::replace(&mut connection.stage, Stage::Closing { held: None });
        let (held, why) = match before {
            Stage::Negotiating { .. } | Stage::Open { .. } | Stage::Succeeding { .. } | Stage::Leaving { .. } => {
                (None, why)
            }
            Stage::Receiving { assembly, .. } => {
                self.pipeline.give_up(&assembly);
                (Some(assembly), why)
            }
            Stage::Draining { held, why: first, .. } => (held, if why == Why::Broken { first } else { why }),
            Stage::Closing { held } => {
                connection.stage = Stage::Closing { held };
                return;
            }
        };
        connection.stage = Stage::Closing { held };
        self.leave(volume);
        effects.push(Effect::Close { conn: id });
        self.reports.push(now, Report::Ended { conn: id, volume, why }, effects);
    }

    fn leave(&mut self, volume: Option<VolumeId>) {
        if let Some(volume) = volume.and_then(|id| self.pipeline.volumes.get_mut(&id)) {
            volume.clients -= 1;
        }
    }

    /// The kernel is done with the connection's memory.
    pub(crate) fn closed(&mut self, id: ConnId) {
        let Some(mut connection) = self.connections.remove(id) else { return self.peer_closed(id) };
        self.backlog_bytes -= connection.noted_backlog_bytes;
        for buffer in connection.sending.clear().chain(connection.pending.clear()) {
            self.pipeline.store.recycle(buffer);
        }
        match connection.stage {
            Stage::Closing { held: Some(assembly) } => self.pipeline.forget(assembly),
            Stage::Closing { held: None } => {}
            Stage::Negotiating { .. }
            | Stage::Open { .. }
            | Stage::Succeeding { .. }
            | Stage::Receiving { .. }
            | Stage::Draining { .. }
            | Stage::Leaving { .. } => {
                unreachable!("Closed answers Close")
            }
        }
    }

    /// Has a timer look at the connection, if none does.
    pub(crate) fn time(&mut self, now: Instant, id: ConnId) {
        if let Some(connection) = self.connections.get_mut(id)
            && !connection.timed
        {
            connection.timed = true;
            // All timers run equally long, so the queue is in order.
            self.timers.push_back((now + limits::PATIENCE, id));
        }
    }

    /// Ends connections whose client was too slow.
    pub(crate) fn expire(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        while let Some(&(due, id)) = self.timers.front()
            && due <= now
        {
            self.timers.pop_front();
            let Some(connection) = self.connections.get_mut(id) else { continue };
            connection.timed = false;
            let why = match connection.stage {
                Stage::Negotiating { .. } | Stage::Leaving { .. } => Why::TooSlow,
                Stage::Receiving { .. } => Why::Stalled,
                Stage::Draining { .. } => Why::Abrupt,
                Stage::Open { .. } | Stage::Succeeding { .. } | Stage::Closing { .. } => continue,
            };
            match connection.due() {
                Some(due) if due <= now => self.close(now, id, why, effects),
                Some(_) | None => self.time(now, id),
            }
        }
    }
}
