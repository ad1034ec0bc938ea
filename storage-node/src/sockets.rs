//! Listeners and connections of a data thread.
//!
//! A connection's life: accepted -> open -> closing (the machine ordered it; operations in flight are cancelled and
//! awaited) -> closed (the kernel is done with its memory and the socket is gone). An open one of which nothing is in
//! flight may leave: its socket goes on elsewhere. One that was made here to another node is like an accepted one from
//! then on. A listener accepts one guest at a time, none before it is told to, and none while there is no room for its kind
//! or the system is out of files: guests then wait in the kernel's queue. Clients and other nodes' replicas have room of
//! their own each, so that no number of clients keeps replicas apart.
//!
//! A socket is a descriptor, closed exactly once by who owns it, and a place in the ring's table of files, which is what
//! operations name: the place of a connection is that of its slot.

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use block::Instant;
use node::{ConnId, Door, Event};
use rustix::io::Errno;
use rustix::net::{Shutdown, shutdown};

use crate::listen::Guest;
use crate::machine::Machine;
use crate::ring::{FileIndex, Ring};
use crate::slots::{Key, Slots};

/// How long a listener rests after the system had no file, or no memory, for a client.
const REST: Duration = Duration::from_millis(200);

/// All sockets.
#[derive(Debug)]
pub(crate) struct Sockets {
    connections: Slots<Connection>,
    /// Those with other nodes' replicas, among them.
    replicas: usize,
    /// What went over those.
    traffic: Traffic,
    rooms: Rooms,
    /// Place of the connection in slot 0.
    first_file: FileIndex,
    listeners: Vec<Listener>,
}

/// How many connections there may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rooms {
    /// With clients, relayed ones included.
    pub clients: u32,
    /// With other nodes' replicas.
    pub replicas: u32,
}

/// Bytes that went over connections with other nodes' replicas.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Traffic {
    /// From them.
    pub received_bytes: u64,
    /// To them.
    pub sent_bytes: u64,
}

/// Whose room a connection takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Client,
    Replica,
}

#[derive(Debug)]
struct Connection {
    socket: OwnedFd,
    kind: Kind,
    /// A receive is in flight. Never two: they would write to the same memory.
    receiving: bool,
    /// A send is in flight. Never two: they would overtake each other.
    sending: bool,
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
    guest: Guest,
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

/// A client that was let in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub conn: ConnId,
    pub door: Door,
    /// Where it comes from; none on a unix socket.
    pub peer: Option<SocketAddr>,
}

impl Sockets {
    /// Listeners, in places of the ring's table, and rooms for connections, in the places from `first_file` on.
    pub fn new(listeners: impl Iterator<Item = (FileIndex, Guest)>, first_file: FileIndex, rooms: Rooms) -> Self {
        let listeners = listeners.map(|(file, guest)| Listener { file, guest, state: Listening::Closed }).collect();
        Self {
            connections: Slots::new(rooms.all()),
            replicas: 0,
            traffic: Traffic::default(),
            rooms,
            first_file,
            listeners,
        }
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
            if due && self.has_room(Kind::Client) {
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
        index: usize,
        result: Result<OwnedFd, Errno>,
    ) -> Option<Arrival> {
        let Listener { guest, state, .. } = self.listeners[index];
        if state == Listening::Ended {
            return None;
        }
        let admitted = match result {
            Ok(socket) => self.admit(ring, socket, Kind::Client),
            Err(errno) => Err(errno),
        };
        let until = match admitted {
            Ok(_) | Err(Errno::INTR | Errno::AGAIN | Errno::CONNABORTED | Errno::CANCELED) => now,
            Err(errno) => {
                tracing::warn!(error = %errno, rest = ?REST, "a client could not be accepted");
                now + REST
            }
        };
        self.listeners[index].state = Listening::Resting { until };
        let peer = ring.peer(index);
        let door = match guest {
            Guest::Client => Door::Client { peer: peer.map(|peer| peer.ip()) },
            Guest::Peer => Door::Peer,
        };
        Some(Arrival { conn: admitted.ok()?, door, peer })
    }

    /// A connection to another node was made. Where there is no room for it it is closed.
    pub fn connected<M: Machine>(&mut self, ring: &Ring<M>, socket: OwnedFd) -> Option<ConnId> {
        let admitted =
            if self.has_room(Kind::Replica) { self.admit(ring, socket, Kind::Replica) } else { Err(Errno::MFILE) };
        admitted.inspect_err(|errno| tracing::warn!(error = %errno, "no room for a connection to another node")).ok()
    }

    /// Gives a connection a slot, and its socket the place that goes with it.
    fn admit<M: Machine>(&mut self, ring: &Ring<M>, socket: OwnedFd, kind: Kind) -> Result<ConnId, Errno> {
        let phase = Phase::Open;
        let connection = Connection { socket, kind, receiving: false, sending: false, phase, drained: true };
        let key = self.connections.insert(connection);
        let conn = conn_id(key);
        let connection = self.connections.get_mut(key).expect("just inserted");
        let placed = ring.set_file(place(self.first_file, conn), connection.socket.as_fd());
        if let Err(error) = placed {
            self.connections.remove(key);
            return Err(Errno::from_io_error(&error).unwrap_or(Errno::IO));
        }
        self.replicas += usize::from(kind == Kind::Replica);
        Ok(conn)
    }

    /// Starts a receive, unless the connection is being closed.
    pub fn receive<M: Machine>(&mut self, ring: &mut Ring<M>, conn: ConnId) {
        let file = place(self.first_file, conn);
        if let Some(connection) = self.open(conn) {
            assert!(!connection.receiving, "one receive at a time is ordered");
            connection.receiving = true;
            ring.receive(file, conn, connection.drained);
        }
    }

    /// Starts a send, unless the connection is being closed.
    pub fn send<M: Machine>(&mut self, ring: &mut Ring<M>, conn: ConnId, awaited: bool) {
        let file = place(self.first_file, conn);
        if let Some(connection) = self.open(conn) {
            assert!(!connection.sending, "one send at a time is ordered");
            connection.sending = true;
            ring.send(file, conn, awaited);
        }
    }

    /// Starts closing: answers `Closed` when nothing was in flight.
    pub fn close<M: Machine>(&mut self, ring: &mut Ring<M>, conn: ConnId) -> Option<Event> {
        let file = place(self.first_file, conn);
        let connection = self.open(conn)?;
        connection.phase = Phase::Closing;
        if connection.is_busy() {
            ring.cancel(file);
            return None;
        }
        self.closed(ring, conn)
    }

    /// Lets an open connection go, of which the machine has said that nothing is in flight.
    pub fn hand_over<M: Machine>(&mut self, ring: &Ring<M>, conn: ConnId) -> Option<OwnedFd> {
        assert!(!self.open(conn)?.is_busy(), "nothing is outstanding on a connection that is handed over");
        self.remove(ring, conn)
    }

    /// A receive ended: news for the machine, or none when it was started again or something else is awaited.
    pub fn received<M: Machine>(
        &mut self,
        ring: &mut Ring<M>,
        conn: ConnId,
        result: Result<u32, Errno>,
        more: bool,
    ) -> Option<Event> {
        let connection = self.connection(conn);
        (connection.receiving, connection.drained) = (false, !more);
        if let (Kind::Replica, Ok(len)) = (connection.kind, result) {
            self.traffic.received_bytes += u64::from(len);
        }
        let connection = self.connection(conn);
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

    /// A send ended; as above, but it is the machine that starts it again.
    pub fn sent<M: Machine>(&mut self, ring: &Ring<M>, conn: ConnId, result: Result<u32, Errno>) -> Option<Event> {
        let connection = self.connection(conn);
        connection.sending = false;
        if let (Kind::Replica, Ok(len)) = (connection.kind, result) {
            self.traffic.sent_bytes += u64::from(len);
        }
        let connection = self.connection(conn);
        match (connection.phase, result) {
            (Phase::Closing, _) => self.closed(ring, conn),
            (Phase::Open, Ok(len)) => Some(Event::Sent { conn, len_bytes: len as usize }),
            // What is sent next time may be more than what was lent for this one.
            (Phase::Open, Err(Errno::INTR | Errno::AGAIN)) => Some(Event::Sent { conn, len_bytes: 0 }),
            (Phase::Open, Err(_)) => Some(Event::Broken { conn }),
        }
    }

    /// Connections there are with clients.
    pub fn clients(&self) -> usize {
        self.connections.len() - self.replicas
    }

    /// Connections there are with other nodes' replicas.
    pub fn replicas(&self) -> usize {
        self.replicas
    }

    /// What went over the latter.
    pub fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// Room for one more of a kind, counting those that an accept in flight may still bring.
    fn has_room(&self, kind: Kind) -> bool {
        let comes = |listener: &&Listener| listener.state == Listening::Accepting && kind == Kind::Client;
        let accepting = self.listeners.iter().filter(comes).count();
        let (there, room) = match kind {
            Kind::Client => (self.clients(), self.rooms.clients),
            Kind::Replica => (self.replicas, self.rooms.replicas),
        };
        there + accepting < room as usize
    }

    fn open(&mut self, conn: ConnId) -> Option<&mut Connection> {
        self.connections.get_mut(key(conn)).filter(|connection| connection.phase == Phase::Open)
    }

    fn connection(&mut self, conn: ConnId) -> &mut Connection {
        self.connections.get_mut(key(conn)).expect("a connection outlives its operations")
    }

    /// Ends a closing connection of which nothing is in flight.
    fn closed<M: Machine>(&mut self, ring: &Ring<M>, conn: ConnId) -> Option<Event> {
        if self.connections.get_mut(key(conn))?.is_busy() {
            return None;
        }
        let socket = self.remove(ring, conn)?;
        // The kernel may keep a file of its table for as long as older operations on other files are in flight: the
        // client is told now.
        let _ = shutdown(&socket, Shutdown::Both);
        Some(Event::Closed { conn })
    }

    /// Forgets a connection; its socket is what is left of it.
    fn remove<M: Machine>(&mut self, ring: &Ring<M>, conn: ConnId) -> Option<OwnedFd> {
        let connection = self.connections.remove(key(conn))?;
        self.replicas -= usize::from(connection.kind == Kind::Replica);
        let cleared = ring.clear_file(place(self.first_file, conn));
        cleared.expect("a place in the table that is in use can be cleared");
        Some(connection.socket)
    }
}

impl Rooms {
    /// Together.
    pub fn all(self) -> u32 {
        self.clients + self.replicas
    }
}

impl Connection {
    fn is_busy(&self) -> bool {
        self.receiving || self.sending
    }
}

fn place(first: FileIndex, conn: ConnId) -> FileIndex {
    FileIndex(first.0 + conn.slot)
}

fn key(conn: ConnId) -> Key {
    Key { slot: conn.slot, generation: conn.generation }
}

fn conn_id(key: Key) -> ConnId {
    ConnId { slot: key.slot, generation: key.generation }
}
