//! What another node says, from the first byte on.

use block::{Instant, PoolId};
use replication::wire::{self, Answer, Answered, Channel, Envelope, Greeted, Hello, Parsed, Refusal};

use crate::event::ConnId;
use crate::limits::PEER_PAUSE_MIN;
use crate::peers::connection::Receiving;
use crate::peers::{Dial, Order, PeerFault, Peers, Said, Stage};

/// What came of a look at what was received.
#[derive(Debug)]
pub(crate) enum Step {
    /// More must arrive.
    Wait,
    /// The connection is open.
    Up { peer: PoolId },
    /// It says something.
    Heard { peer: PoolId, envelope: Envelope, said: Said },
    /// It has ended; with whom, if it was open.
    Ended { lost: Option<PoolId> },
}

impl Peers {
    /// Bytes came.
    pub fn received(&mut self, now: Instant, conn: ConnId, len_bytes: usize) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        connection.receive_outstanding = false;
        connection.heard = now;
        match &mut connection.receiving {
            Some(receiving) => receiving.filled_bytes += len_bytes,
            None => connection.inbox.received(len_bytes),
        }
    }

    /// Has more received.
    pub fn receive(&mut self, conn: ConnId) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        let is_over = matches!(connection.stage, Stage::Leaving | Stage::Closing);
        if connection.receive_outstanding || is_over {
            return;
        }
        if connection.receiving.is_none() {
            connection.inbox.make_room(connection.need_bytes, true);
        }
        connection.receive_outstanding = true;
        self.orders.push(Order::Receive { conn });
    }

    /// Looks at what was received next.
    pub fn step(&mut self, now: Instant, conn: ConnId) -> Step {
        let Some(connection) = self.connections.get(&conn) else { return Step::Ended { lost: None } };
        let result = match connection.stage {
            Stage::Asking { peer } => self.look_for_answer(conn, peer),
            Stage::Answering => self.look_for_hello(conn, now),
            Stage::Open { peer } => self.look_for_frame(conn, peer),
            Stage::Leaving | Stage::Closing => Ok(Step::Wait),
        };
        result.unwrap_or_else(|fault| Step::Ended { lost: self.end(conn, fault, now) })
    }

    /// What this node says first, of the session that the connection belongs to if it does not begin one.
    pub fn hello(&self, peer: PoolId, session: Option<u64>, channel: Channel) -> Hello {
        let (from, to) = (self.me.to_string(), peer.to_string());
        let cluster = self.cluster.expect("peers come with an intent, and it names the cluster");
        Hello::new(cluster, from, to, session.unwrap_or(self.session), channel)
    }

    fn look_for_answer(&mut self, conn: ConnId, peer: PoolId) -> Result<Step, PeerFault> {
        let Some(connection) = self.connections.get_mut(&conn) else { return Ok(Step::Wait) };
        match Answer::parse(connection.inbox.unread()) {
            Answered::Incomplete { need_bytes } => {
                connection.need_bytes = need_bytes;
                Ok(Step::Wait)
            }
            Answered::Answer { consumed, answer: Answer::Welcome { features, .. } } => {
                connection.inbox.consume(consumed);
                connection.features = features;
                let is_for_beats = connection.channel == Channel::Control;
                if let Some(target) = self.targets.get_mut(&peer) {
                    let dial = if is_for_beats { &mut target.beats } else { &mut target.dial };
                    *dial = Dial::Connected { pause: PEER_PAUSE_MIN };
                }
                if is_for_beats { self.open_beats(conn, peer) } else { Ok(self.open(conn, peer)) }
            }
            Answered::Answer { answer: Answer::Refused { sentence }, .. } => Err(PeerFault::RefusedBy(sentence)),
            Answered::Refused(refusal) => Err(PeerFault::Damaged(refusal.to_string())),
        }
    }

    fn look_for_hello(&mut self, conn: ConnId, now: Instant) -> Result<Step, PeerFault> {
        let Some(connection) = self.connections.get_mut(&conn) else { return Ok(Step::Wait) };
        let refusal = match Hello::parse(connection.inbox.unread()) {
            Greeted::Incomplete { need_bytes } => {
                connection.need_bytes = need_bytes;
                return Ok(Step::Wait);
            }
            Greeted::Refused(refusal) => refusal,
            Greeted::Hello { consumed, hello } => {
                connection.inbox.consume(consumed);
                match self.admit(&hello) {
                    Ok(peer) => return self.welcome(conn, peer, &hello, now),
                    Err(refusal) => refusal,
                }
            }
        };
        self.faults.push((None, PeerFault::Refused(refusal.to_string())));
        if let Some(connection) = self.connections.get_mut(&conn) {
            connection.stage = Stage::Leaving;
            connection.outbox.push_bytes(Answer::refused(&refusal).encode());
            self.touched.insert(conn);
        }
        Ok(Step::Wait)
    }

    /// Who says hello, if this node talks to it.
    fn admit(&self, hello: &Hello) -> Result<PoolId, Refusal> {
        let cluster = self.cluster.ok_or(Refusal::Malformed { what: "this node has not heard of its cluster yet" })?;
        if let Some(refusal) = hello.refuse(cluster, &self.me.to_string()) {
            return Err(refusal);
        }
        let peer = pool_of(&hello.from).ok_or(Refusal::Malformed { what: "its name is no pool's" })?;
        if peer >= self.me {
            return Err(Refusal::Malformed { what: "the node whose pool has the lower id makes the connection" });
        }
        let current = self.current.get(&peer).and_then(|conn| self.connections.get(conn));
        let newest = current.map_or(0, |current| current.session);
        let is_of_session = match hello.channel {
            Channel::Live => current.is_none() || newest < hello.session,
            Channel::Control => current.is_some() && newest == hello.session,
            Channel::Copy => return Err(Refusal::Malformed { what: "copies have no connection of their own" }),
        };
        if is_of_session { Ok(peer) } else { Err(Refusal::Superseded { found: hello.session, newest }) }
    }

    fn welcome(&mut self, conn: ConnId, peer: PoolId, hello: &Hello, now: Instant) -> Result<Step, PeerFault> {
        let before = match hello.channel {
            Channel::Control => self.beats.remove(&peer),
            Channel::Live | Channel::Copy => self.current.remove(&peer),
        };
        if let Some(older) = before {
            self.end(older, PeerFault::Superseded, now);
        }
        let answer = Answer::welcome(hello, self.session);
        if let Some(connection) = self.connections.get_mut(&conn) {
            (connection.session, connection.channel) = (hello.session, hello.channel);
            connection.features = answer.features();
            connection.outbox.push_bytes(answer.encode());
            self.touched.insert(conn);
        }
        if hello.channel == Channel::Control { self.open_beats(conn, peer) } else { Ok(self.open(conn, peer)) }
    }

    /// Heartbeats go over it from now on.
    fn open_beats(&mut self, conn: ConnId, peer: PoolId) -> Result<Step, PeerFault> {
        if let Some(connection) = self.connections.get_mut(&conn) {
            connection.stage = Stage::Open { peer };
            connection.need_bytes = 0;
        }
        self.beats.insert(peer, conn);
        self.look_for_frame(conn, peer)
    }

    fn open(&mut self, conn: ConnId, peer: PoolId) -> Step {
        if let Some(connection) = self.connections.get_mut(&conn) {
            connection.stage = Stage::Open { peer };
            connection.need_bytes = 0;
        }
        self.current.insert(peer, conn);
        Step::Up { peer }
    }

    fn look_for_frame(&mut self, conn: ConnId, peer: PoolId) -> Result<Step, PeerFault> {
        let Some(connection) = self.connections.get_mut(&conn) else { return Ok(Step::Wait) };
        if connection.receiving.is_none() {
            let (consumed, heard) = match wire::parse(connection.inbox.unread()).map_err(damaged)? {
                Parsed::Incomplete { need_bytes } => {
                    connection.need_bytes = need_bytes;
                    return Ok(Step::Wait);
                }
                Parsed::Message { consumed, envelope, message } => (consumed, Some((envelope, Said::Message(message)))),
                Parsed::Signal { consumed, envelope, signal } => (consumed, Some((envelope, Said::Signal(signal)))),
                Parsed::Aside { consumed, envelope, aside } => (consumed, Some((envelope, Said::Aside(aside)))),
                Parsed::Payload { consumed, pending } => {
                    connection.receiving = Some(Receiving::new(pending));
                    (consumed, None)
                }
            };
            connection.inbox.consume(consumed);
            connection.need_bytes = 0;
            if let Some((envelope, said)) = heard {
                return Ok(Step::Heard { peer, envelope, said });
            }
            if let Some(receiving) = &mut connection.receiving {
                let unread = connection.inbox.unread();
                let here = unread.len().min(receiving.free().len());
                receiving.free()[..here].copy_from_slice(&unread[..here]);
                receiving.filled_bytes += here;
                connection.inbox.consume(here);
            }
        }
        let Some(receiving) = connection.receiving.take_if(|receiving| receiving.is_complete()) else {
            return Ok(Step::Wait);
        };
        let (envelope, message) = receiving.pending.complete(receiving.memory).map_err(damaged)?;
        Ok(Step::Heard { peer, envelope, said: Said::Message(message) })
    }

    /// Ends a connection; answers with whom, if messages went over it.
    pub fn end(&mut self, conn: ConnId, fault: PeerFault, now: Instant) -> Option<PoolId> {
        let connection = self.connections.get_mut(&conn)?;
        let before = std::mem::replace(&mut connection.stage, Stage::Closing);
        let peer = match before {
            Stage::Closing => return None,
            Stage::Asking { peer } | Stage::Open { peer } => Some(peer),
            Stage::Answering | Stage::Leaving => None,
        };
        self.orders.push(Order::Close { conn });
        if before != Stage::Leaving {
            self.faults.push((peer, fault));
        }
        let (peer, is_for_beats) = (peer?, connection.channel == Channel::Control);
        if let Some(target) = self.targets.get_mut(&peer) {
            let dial = if is_for_beats { &mut target.beats } else { &mut target.dial };
            *dial = dial.again(now);
        }
        let open = if is_for_beats { &mut self.beats } else { &mut self.current };
        open.get(&peer).filter(|open| **open == conn)?;
        open.remove(&peer);
        if is_for_beats {
            return None;
        }
        // Heartbeats of the next session are no business of those who sent them in this one.
        if let Some(beats) = self.beats.get(&peer).copied() {
            self.end(beats, PeerFault::Broken, now);
        }
        Some(peer)
    }
}

fn damaged(fault: wire::Fault) -> PeerFault {
    PeerFault::Damaged(fault.to_string())
}

/// The pool that a node is called by.
fn pool_of(name: &str) -> Option<PoolId> {
    let digits: String = name.chars().filter(|character| *character != '-').collect();
    let pool = PoolId(u128::from_str_radix(&digits, 16).ok()?);
    (pool.to_string() == name).then_some(pool)
}

#[cfg(test)]
mod tests {
    use block::PoolId;

    use super::pool_of;

    #[test]
    fn a_pools_name_gives_the_pool() {
        let pool = PoolId(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
        assert_eq!(pool_of(&pool.to_string()), Some(pool));
        for name in ["", "n1", "0123456789abcdef0123456789abcdef", "+1"] {
            assert_eq!(pool_of(name), None, "{name}");
        }
    }
}
