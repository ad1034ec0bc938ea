//! Listeners and connections of a data thread.
//!
//! A connection's life: accepted -> open -> closing (the machine ordered it; operations in flight are cancelled and
//! awaited) -> closed (the kernel is done with its memory and the socket is gone). A listener accepts one client at a
//! time, none before it is told to, and none while the table of connections is full or the system is out of files: clients then wait in the
//! kernel's queue.

use std::net::SocketAddr;
use std::time::Duration;

use block::Instant;
use node::{ConnId, Event};
use rustix::io::Errno;

use crate::machine::Machine;
use crate::ring::{FileIndex, Ring};
use crate::slots::{Key, Slots};

/// How long a listener rests after the system had no file, or no memory, for a client.
const REST: Duration = Duration::from_millis(200);

/// All sockets.
#[derive(Debug)]
pub(crate) struct Sockets {
    connections: Slots<Connection>,
    listeners: Vec<Listener>,
}

#[derive(Debug)]
struct Connection {
    file: FileIndex,
    /// Receives and sends in flight.
    in_flight: u8,
    phase: Phase,
    /// The last receive left nothing in the socket.
    drained: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Open,
    Closing,
}

#[derive(Debug)]
struct Listener {
    file: FileIndex,
    state: Listening,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Listening {
    /// Not yet asked to.
    Closed,
    /// An accept is in flight.
    Accepting,
    /// Waits for room, or until then.
    Resting { until: Instant },
    /// For good.
    Ended,
}

impl Sockets {
    /// Listeners at `listeners` in the ring's table, and room for `connections_max` connections.
    pub fn new(listeners: impl Iterator<Item = FileIndex>, connections_max: u32) -> Self {
        let listeners = listeners.map(|file| Listener { file, state: Listening::Closed }).collect();
        Self { connections: Slots::new(connections_max), listeners }
    }

    /// From now on clients are let in.
    pub fn start_listening(&mut self) {
        for listener in self.listeners.iter_mut().filter(|listener| listener.state == Listening::Closed) {
            listener.state = Listening::Resting { until: Instant(0) };
        }
    }

    /// Lets listeners that rest accept again, if there is room and it is time.
    pub fn listen<M: Machine>(&mut self, ring: &mut Ring<M>, now: Instant) {
        for index in 0..self.listeners.len() {
            let due = matches!(self.listeners[index].state, Listening::Resting { until } if until <= now);
            if due && self.has_room() {
                self.listeners[index].state = Listening::Accepting;
                ring.accept(self.listeners[index].file, index);
            }
        }
    }

    /// When [`Sockets::listen`] has something to do that no event announces.
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        let rest = |listener: &Listener| match listener.state {
            Listening::Resting { until } if until > now => Some(until),
            Listening::Closed | Listening::Resting { .. } | Listening::Accepting | Listening::Ended => None,
        };
        self.listeners.iter().filter_map(rest).min()
    }

    /// Stops listening.
    pub fn stop_listening<M: Machine>(&mut self, ring: &mut Ring<M>) {
        for listener in &mut self.listeners {
            if listener.state == Listening::Accepting {
                ring.cancel(listener.file);
            }
            listener.state = Listening::Ended;
        }
    }

    /// A client came, or none did.
    pub fn accepted<M: Machine>(
        &mut self,
        ring: &Ring<M>,
        now: Instant,
        listener: usize,
        result: Result<u32, Errno>,
    ) -> Option<(ConnId, Option<SocketAddr>)> {
        let ended = self.listeners[listener].state == Listening::Ended;
        let until = match result {
            Ok(_) | Err(Errno::INTR | Errno::AGAIN | Errno::CONNABORTED | Errno::CANCELED) => now,
            Err(errno) => {
                tracing::warn!(error = %errno, rest = ?REST, "a client could not be accepted");
                now + REST
            }
        };
        if !ended {
            self.listeners[listener].state = Listening::Resting { until };
        }
        let file = FileIndex(result.ok()?);
        if ended {
            close(ring, file);
            return None;
        }
        let connection = Connection { file, in_flight: 0, phase: Phase::Open, drained: true };
        Some((conn_id(self.connections.insert(connection)), ring.peer(listener)))
    }

    /// Starts a receive, unless the connection is being closed.
    pub fn receive<M: Machine>(&mut self, ring: &mut Ring<M>, conn: ConnId) {
        if let Some(connection) = self.open(conn) {
            connection.in_flight += 1;
            ring.receive(connection.file, conn, connection.drained);
        }
    }

    /// Starts a send, unless the connection is being closed.
    pub fn send<M: Machine>(&mut self, ring: &mut Ring<M>, conn: ConnId) {
        if let Some(connection) = self.open(conn) {
            connection.in_flight += 1;
            ring.send(connection.file, conn);
        }
    }

    /// Starts closing: answers `Closed` when nothing was in flight.
    pub fn close<M: Machine>(&mut self, ring: &mut Ring<M>, conn: ConnId) -> Option<Event> {
        let connection = self.open(conn)?;
        connection.phase = Phase::Closing;
        if connection.in_flight > 0 {
            ring.cancel(connection.file);
            return None;
        }
        self.closed(ring, conn)
    }

    /// A receive ended: news for the machine, or none when it was started again or something else is awaited.
    pub fn received<M: Machine>(
        &mut self,
        ring: &mut Ring<M>,
        conn: ConnId,
        result: Result<u32, Errno>,
        more: bool,
    ) -> Option<Event> {
        let connection = self.landed(conn);
        connection.drained = !more;
        match (connection.phase, result) {
            (Phase::Closing, _) => self.closed(ring, conn),
            (Phase::Open, Ok(0)) => Some(Event::Broken { conn }),
            (Phase::Open, Ok(len)) => Some(Event::Received { conn, len_bytes: len as usize }),
            (Phase::Open, Err(Errno::INTR | Errno::AGAIN)) => {
                self.receive(ring, conn);
                None
            }
            (Phase::Open, Err(_)) => Some(Event::Broken { conn }),
        }
    }

    /// A send ended; as above.
    pub fn sent<M: Machine>(&mut self, ring: &mut Ring<M>, conn: ConnId, result: Result<u32, Errno>) -> Option<Event> {
        match (self.landed(conn).phase, result) {
            (Phase::Closing, _) => self.closed(ring, conn),
            (Phase::Open, Ok(len)) => Some(Event::Sent { conn, len_bytes: len as usize }),
            (Phase::Open, Err(Errno::INTR | Errno::AGAIN)) => {
                self.send(ring, conn);
                None
            }
            (Phase::Open, Err(_)) => Some(Event::Broken { conn }),
        }
    }

    /// Connections there are.
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// Room for a client, counting those that an accept in flight may still bring.
    fn has_room(&self) -> bool {
        let accepting = self.listeners.iter().filter(|listener| listener.state == Listening::Accepting).count();
        self.connections.has_room_for(accepting + 1)
    }

    fn open(&mut self, conn: ConnId) -> Option<&mut Connection> {
        self.connections.get_mut(key(conn)).filter(|connection| connection.phase == Phase::Open)
    }

    fn landed(&mut self, conn: ConnId) -> &mut Connection {
        let connection = self.connections.get_mut(key(conn)).expect("a connection outlives its operations");
        connection.in_flight -= 1;
        connection
    }

    /// Ends a closing connection of which nothing is in flight.
    fn closed<M: Machine>(&mut self, ring: &Ring<M>, conn: ConnId) -> Option<Event> {
        match self.connections.get_mut(key(conn)) {
            Some(connection) if connection.in_flight == 0 => close(ring, connection.file),
            Some(_) | None => return None,
        }
        self.connections.remove(key(conn));
        Some(Event::Closed { conn })
    }
}

fn close<M: Machine>(ring: &Ring<M>, file: FileIndex) {
    ring.clear_file(file).expect("a place in the table that is in use can be cleared");
}

fn key(conn: ConnId) -> Key {
    Key { slot: conn.slot, generation: conn.generation }
}

fn conn_id(key: Key) -> ConnId {
    ConnId { slot: key.slot, generation: key.generation }
}
