//! Takes requests from the connections that have some, in turns, as long as there is room.

use block::Instant;
use nbd::Step;

use crate::admission::{self, Load, Room};
use crate::connection::Stage;
use crate::door::Entrance;
use crate::event::{ConnId, Effect, Why};
use crate::intake::{Intake, Taken};
use crate::limits;
use crate::node::Node;
use crate::offer::View;
use crate::volume::Volume;

/// Whether a connection has more to be looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Served {
    /// It is queued again when something of it ends or arrives.
    Waits,
    More,
    /// It goes on when the store has room.
    Choked,
}

impl Node {
    /// Takes requests, one connection after the other, until none are left, the turn is long enough, or no room is.
    pub(crate) fn serve(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        while self.turn_requests < limits::TURN_REQUESTS_MAX && !self.is_full() {
            let Some(id) = self.ready.pop_front() else { return };
            let Some(connection) = self.connections.get_mut(id) else { continue };
            connection.queued = false;
            // It may have been looked at, and starved, since it was queued.
            if connection.receive_outstanding {
                continue;
            }
            match self.serve_some(now, id, effects) {
                Served::Waits => {}
                Served::More => self.queue(id),
                Served::Choked => self.choke(id),
            }
        }
    }

    /// Has the connection looked at, soon.
    pub(crate) fn queue(&mut self, id: ConnId) {
        if let Some(connection) = self.connections.get_mut(id)
            && !connection.queued
            && !connection.receive_outstanding
        {
            connection.queued = true;
            self.ready.push_back(id);
        }
    }

    fn choke(&mut self, id: ConnId) {
        if let Some(connection) = self.connections.get_mut(id) {
            connection.queued = true;
            self.choked.push(id);
        }
    }

    /// The store may have room again: everyone who waits for it is looked at.
    pub(crate) fn wake_choked(&mut self) {
        if self.pipeline.store.has_room() {
            self.ready.extend(self.choked.drain(..));
        }
    }

    fn serve_some(&mut self, now: Instant, id: ConnId, effects: &mut Vec<Effect>) -> Served {
        for _ in 0..limits::QUANTUM {
            let Some(connection) = self.connections.get_mut(id) else { return Served::Waits };
            connection.choked &= !self.pipeline.store.has_room();
            match &connection.stage {
                Stage::Negotiating { .. } | Stage::Open { .. } => {}
                Stage::Receiving { .. } => return self.receive_payload(now, id, effects),
                Stage::Succeeding { .. } | Stage::Leaving { .. } | Stage::Draining { .. } | Stage::Closing { .. } => {
                    return Served::Waits;
                }
            }
            match admission::room(&self.load(id)) {
                Room::Free => {}
                Room::OwnFull => return Served::Waits,
                Room::NodeFull => return Served::More,
                Room::StoreFull => return Served::Choked,
            }
            if self.step(now, id, effects) == Served::Waits {
                return Served::Waits;
            }
        }
        // Memory that is held for a payload is received into at once: it must not wait for others to let go of theirs.
        match self.connections.get(id).map(|connection| &connection.stage) {
            Some(Stage::Receiving { .. }) => self.receive_payload(now, id, effects),
            Some(_) | None => Served::More,
        }
    }

    fn load(&self, id: ConnId) -> Load {
        let shared = Load {
            backlog_total_bytes: self.backlog_bytes,
            in_flight_bytes: self.pipeline.in_flight_bytes(),
            ..Load::default()
        };
        self.connections.get(id).map_or(shared, |connection| Load {
            requests: connection.requests,
            bytes: connection.request_bytes,
            backlog_bytes: connection.backlog_bytes(),
            choked: connection.choked,
            ..shared
        })
    }

    /// One step of the connection's session.
    fn step(&mut self, now: Instant, id: ConnId, effects: &mut Vec<Effect>) -> Served {
        let Some(connection) = self.connections.get_mut(id) else { return Served::Waits };
        if connection.entrance == Entrance::Silent {
            return self.introduced(now, id, effects);
        }
        let view = View {
            config: &self.config,
            exports: &self.exports,
            wishes: &self.wishes,
            volumes: &self.pipeline.volumes,
            entrance: connection.entrance,
        };
        match connection.session.advance(connection.inbox.unread(), &view, &mut connection.pending) {
            Step::Starved { need_bytes } => {
                self.receive(now, id, need_bytes, effects);
                return Served::Waits;
            }
            Step::Advanced { consumed } => connection.inbox.consume(consumed),
            Step::Opened { consumed, export } => {
                connection.inbox.consume(consumed);
                self.opened(now, id, export, effects);
            }
            Step::Request { consumed, ticket, request, payload, missing_bytes } => {
                let Stage::Open { pass } = connection.stage else {
                    unreachable!("requests are looked for only while nothing else is being received")
                };
                let mut intake = Intake {
                    conn: id,
                    pass,
                    stopping: self.phase.is_stopping(),
                    arrived: connection.arrived,
                    session: &mut connection.session,
                    pending: &mut connection.pending,
                    pipeline: &mut self.pipeline,
                    effects,
                };
                let postponed = intake.pipeline.postponed_count();
                let taken = intake.take(ticket, request, payload, missing_bytes);
                connection.choked |= self.pipeline.postponed_count() > postponed;
                connection.inbox.consume(consumed);
                self.turn_requests += 1;
                self.taken(now, id, taken);
            }
            Step::Elsewhere { name } => {
                let address = view.route(name).expect("only what has a route is elsewhere").to_owned();
                connection.stage = Stage::Leaving { address, since: now };
            }
            Step::Closed { reason } => self.drain(now, id, Why::Session(reason)),
        }
        self.touch(id);
        Served::More
    }

    /// Does to the connection what follows from a request.
    fn taken(&mut self, now: Instant, id: ConnId, taken: Taken) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        match taken {
            Taken::Over => {}
            Taken::Left => self.drain(now, id, Why::Stopping),
            Taken::Running { bytes } => {
                connection.requests += 1;
                connection.request_bytes += bytes;
            }
            Taken::Receiving { assembly, bytes } => {
                connection.requests += 1;
                connection.request_bytes += bytes;
                let Some(pass) = connection.pass() else {
                    unreachable!("requests are taken from whoever opened a volume")
                };
                connection.stage = Stage::Receiving { pass, assembly, progress: now };
            }
        }
    }

    /// Has more bytes received into the inbox, if the connection goes on at all.
    pub(crate) fn receive(&mut self, now: Instant, id: ConnId, need_bytes: usize, effects: &mut Vec<Effect>) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        let (open, served) = match connection.stage {
            Stage::Open { pass } => (true, self.pipeline.volumes.get(&pass.volume).is_some_and(Volume::is_serving)),
            Stage::Negotiating { .. } => (false, true),
            Stage::Succeeding { .. }
            | Stage::Receiving { .. }
            | Stage::Leaving { .. }
            | Stage::Draining { .. }
            | Stage::Closing { .. } => return,
        };
        if !served {
            return self.drain(now, id, Why::VolumeDeleted);
        }
        if self.phase.is_stopping() {
            return self.drain(now, id, Why::Stopping);
        }
        connection.inbox.make_room(need_bytes, open);
        connection.receive_outstanding = true;
        effects.push(Effect::Receive { conn: id });
    }

    /// Has more of a write's payload received.
    fn receive_payload(&mut self, now: Instant, id: ConnId, effects: &mut Vec<Effect>) -> Served {
        let full = self.is_full();
        let Some(connection) = self.connections.get_mut(id) else { return Served::Waits };
        let Stage::Receiving { assembly, progress, .. } = &mut connection.stage else { return Served::Waits };
        if self.pipeline.has_failed(assembly) {
            self.skip_payload(id);
            return Served::More;
        }
        if assembly.wants_memory() {
            if full {
                return Served::More;
            }
            if !self.pipeline.store.has_room() {
                return Served::Choked;
            }
            self.pipeline.extend(assembly);
        }
        *progress = now;
        connection.receive_outstanding = true;
        effects.push(Effect::Receive { conn: id });
        self.time(now, id);
        Served::Waits
    }

    /// A write failed before all of it came: what still comes is dropped, and the requests behind it are taken.
    fn skip_payload(&mut self, id: ConnId) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        let open = match &connection.stage {
            Stage::Receiving { pass, .. } => Stage::Open { pass: *pass },
            Stage::Negotiating { .. }
            | Stage::Open { .. }
            | Stage::Succeeding { .. }
            | Stage::Leaving { .. }
            | Stage::Draining { .. }
            | Stage::Closing { .. } => return,
        };
        if let Stage::Receiving { assembly, .. } = std::mem::replace(&mut connection.stage, open) {
            connection.session.skip_payload(assembly.missing_bytes() as usize);
            self.pipeline.give_up(&assembly);
            self.pipeline.forget(assembly);
        }
    }

    /// Bytes came.
    pub(crate) fn received(&mut self, now: Instant, id: ConnId, len_bytes: usize, effects: &mut Vec<Effect>) {
        let Some(connection) = self.connections.get_mut(id) else { return self.peer_received(id, len_bytes) };
        connection.receive_outstanding = false;
        match &mut connection.stage {
            Stage::Negotiating { .. } | Stage::Open { .. } => {
                connection.inbox.received(len_bytes);
                connection.arrived = now;
            }
            Stage::Receiving { pass, assembly, progress } => {
                *progress = now;
                let pass = *pass;
                if self.pipeline.arrived(assembly, len_bytes) {
                    connection.stage = Stage::Open { pass };
                }
            }
            Stage::Succeeding { .. } | Stage::Leaving { .. } | Stage::Draining { .. } | Stage::Closing { .. } => return,
        }
        // The rest of a part is waited for by the kernel already while other events are handled.
        if let Stage::Receiving { assembly, .. } = &connection.stage
            && !assembly.wants_memory()
        {
            connection.receive_outstanding = true;
            effects.push(Effect::Receive { conn: id });
        }
        self.queue(id);
    }
}
