//! The data thread: waits for facts, tells them to the machine, carries its orders out.
//!
//! A turn: one system call hands over what the last turn queued and waits; every completion becomes an event; then the
//! machine hears that the turn ended; then its orders are queued. Nothing here blocks but that call, and nothing here
//! decides: sockets.rs and disk.rs know what a completion means, the machine what follows.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use block::{Instant, PoolId};
use node::{Answer, ConnId, ControlError, ControlId, Effect, Event, Relay};
use tokio::sync::Notify;

use crate::background::Background;
use crate::clock;
use crate::control::{COMMANDS_MAX, Call, Caller, Calls};
use crate::dial::Dialled;
use crate::disk::Disk;
use crate::figures::{Figures, Meters, ReplicaLinks, Turns};
use crate::machine::Machine;
use crate::outbound::Outbound;
use crate::report;
use crate::ring::{Completion, FileIndex, Op, Ring, Wait};
use crate::slots::{Key, Slots};
use crate::sockets::Sockets;

/// Bytes read from the device after which a turn is ended before its time.
const PART_BYTES: u32 = 128 << 10;

/// Why a data thread ended early.
#[derive(Debug, thiserror::Error)]
pub enum ReactorError {
    /// The kernel refused to go on.
    #[error("io_uring_enter failed: {0}")]
    Ring(#[source] io::Error),
    /// A bug; the message is in the log.
    #[error("the data thread panicked")]
    Panicked,
}

/// All that a data thread has.
pub(crate) struct Reactor<M: Machine> {
    pub ring: Ring<M>,
    pub sockets: Sockets,
    pub disk: Disk,
    pub background: Option<Background>,
    /// Who goes to other nodes; none if there are none.
    pub outbound: Option<Outbound>,
    pub calls: Calls,
    /// Called when there is something new to observe.
    pub news: Arc<Notify>,
    pub wake: WakeFile,
    pub meters: Meters,
    pub run: Run,
}

/// Where the ring finds the eventfd of the other threads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WakeFile(pub FileIndex);

/// What a reactor carries from turn to turn.
#[derive(Debug)]
pub(crate) struct Run {
    now: Instant,
    turns: u64,
    effects: Vec<Effect>,
    /// Facts that arose while orders were carried out; told in the next turn.
    late: Vec<Event>,
    completions: Vec<Completion>,
    callers: Slots<Caller>,
    stopped: bool,
}

impl Default for Run {
    fn default() -> Self {
        Self {
            now: clock::now(),
            turns: 0,
            effects: Vec::new(),
            late: Vec::new(),
            completions: Vec::new(),
            callers: Slots::new(COMMANDS_MAX),
            stopped: false,
        }
    }
}

impl<M: Machine> Reactor<M> {
    /// Runs until the machine has stopped.
    pub fn run(mut self) -> Result<(), ReactorError> {
        self.ring.await_wake(self.wake.0);
        self.take_calls();
        while !self.run.stopped {
            self.turn_ended();
            self.ring.submit(self.wait()).map_err(ReactorError::Ring)?;
            self.take_facts()?;
        }
        self.sockets.stop_listening(&mut self.ring);
        Ok(())
    }

    /// Second half of a turn: orders.
    fn turn_ended(&mut self) {
        self.run.turns += 1;
        self.tell(Event::TurnEnded);
        let mut effects = std::mem::take(&mut self.run.effects);
        for effect in effects.drain(..) {
            self.carry_out(effect);
        }
        self.run.effects = effects;
        self.run.late.extend(self.disk.refused().map(Event::Disk));
        self.sockets.listen(&mut self.ring, self.run.now);
    }

    fn wait(&self) -> Wait {
        if !self.run.late.is_empty() || self.run.stopped {
            return Wait::No;
        }
        let deadlines = [self.ring.machine().deadline(), self.sockets.deadline(self.run.now)];
        match deadlines.into_iter().flatten().min() {
            None => Wait::Forever,
            Some(deadline) => match deadline.since(self.run.now) {
                Duration::ZERO => Wait::No,
                limit => Wait::AtMost(limit),
            },
        }
    }

    /// First half of a turn: facts. When much was read it is sent before the rest is looked at, so that neither the
    /// client nor the device is idle meanwhile.
    fn take_facts(&mut self) -> Result<(), ReactorError> {
        self.run.now = clock::now();
        for event in std::mem::take(&mut self.run.late) {
            self.tell(event);
        }
        let mut completions = std::mem::take(&mut self.run.completions);
        self.ring.reap(&mut completions);
        let mut read_bytes = 0;
        for completion in completions.drain(..) {
            if let (Op::Read { .. }, Ok(len_bytes)) = (completion.op, completion.result) {
                read_bytes += len_bytes;
            }
            if let Some(event) = self.interpret(completion) {
                self.tell(event);
            }
            if read_bytes >= PART_BYTES {
                self.turn_ended();
                self.ring.submit(Wait::No).map_err(ReactorError::Ring)?;
                read_bytes = 0;
            }
        }
        self.run.completions = completions;
        Ok(())
    }

    fn interpret(&mut self, completion: Completion) -> Option<Event> {
        let Completion { op, result, accepted, more_received } = completion;
        let Self { ring, sockets, disk, .. } = self;
        match op {
            Op::Accept { listener } => {
                let socket = result.map(|_| accepted.expect("an accept that succeeded brought a socket"));
                let arrival = sockets.accepted(ring, self.run.now, listener, socket)?;
                report::accepted(&arrival);
                Some(Event::Accepted { conn: arrival.conn, door: arrival.door })
            }
            Op::Receive { conn } => sockets.received(ring, conn, result, more_received),
            Op::Send { conn } => sockets.sent(ring, conn, result),
            Op::Write { io, at, progress } => disk.written(ring, (io, at, progress), result).map(Event::Disk),
            Op::Read { io, at, progress } => disk.read_ended(ring, (io, at, progress), result).map(Event::Disk),
            Op::Sync { io } => Some(Event::Disk(disk.synced(io, result))),
            Op::Cancel => None,
            Op::Wake => {
                self.ring.await_wake(self.wake.0);
                self.take_calls();
                None
            }
        }
    }

    /// What other threads have to say.
    fn take_calls(&mut self) {
        while let Some(event) = self.background.as_ref().and_then(Background::next_ended) {
            self.tell(Event::Disk(event));
        }
        self.take_connections();
        while let Some(call) = self.calls.next() {
            match call {
                Call::Command { command, caller } => {
                    let id = ControlId(self.run.callers.insert(caller).to_bits());
                    self.tell(Event::Control { id, command });
                }
                Call::Measure { figures } => drop(figures.send(Box::new(self.figures()))),
                Call::Intend(intent) => self.tell(Event::Intended(intent)),
                Call::Observe { holding } => drop(holding.send(self.ring.machine().holding())),
                Call::Listen => self.sockets.start_listening(),
                Call::Stop => self.stop(),
            }
        }
    }

    fn stop(&mut self) {
        self.sockets.stop_listening(&mut self.ring);
        if let Some(outbound) = &mut self.outbound {
            outbound.stop();
        }
        self.tell(Event::Stop);
    }

    fn carry_out(&mut self, effect: Effect) {
        let Self { ring, sockets, disk, .. } = self;
        match effect {
            Effect::Receive { conn } => sockets.receive(ring, conn),
            Effect::Send { conn, awaited } => sockets.send(ring, conn, awaited),
            Effect::Close { conn } => self.run.late.extend(sockets.close(ring, conn)),
            Effect::Connect { peer, address } => self.connect(peer, address),
            Effect::Propose { volume, proposal } => self.calls.propose(volume, proposal),
            Effect::Write { io, at } => disk.write(ring, io, at),
            Effect::Read { io, at } => disk.read(ring, io, at),
            Effect::Sync { io } => disk.sync(ring, io),
            Effect::Run { id, job } => {
                self.background.as_ref().expect("a machine with a pool has a background").run(id, job);
            }
            Effect::Answered { id, answer } => self.answered(id, answer),
            Effect::Measured { volume, operation, bytes, took, failed } => {
                self.meters.record(volume, operation, bytes, took, failed);
            }
            Effect::ObservationChanged => self.news.notify_one(),
            Effect::HandOver { conn, relay } => self.hand_over(conn, relay),
            Effect::Report(news) => report::log(&news),
            Effect::Stopped => self.run.stopped = true,
        }
    }

    /// Has a connection to another node made; what cannot be is told in the next turn.
    fn connect(&mut self, peer: PoolId, address: String) {
        let ordered = self.outbound.as_mut().is_some_and(|outbound| outbound.dials.order(peer, address));
        if !ordered {
            self.run.late.push(Event::PeerFailed { peer });
        }
    }

    /// Connections to other nodes that were made, or were not.
    fn take_connections(&mut self) {
        while let Some(Dialled { peer, socket }) = self.outbound.as_mut().and_then(|outbound| outbound.dials.next()) {
            let conn = socket.and_then(|socket| self.sockets.connected(&self.ring, socket));
            self.tell(match conn {
                Some(conn) => Event::PeerConnected { peer, conn },
                None => Event::PeerFailed { peer },
            });
        }
    }

    /// A connection goes on elsewhere. Where it cannot it is closed.
    fn hand_over(&mut self, conn: ConnId, relay: Box<Relay>) {
        if let Some(socket) = self.sockets.hand_over(&self.ring, conn)
            && let Some(outbound) = &self.outbound
        {
            outbound.relays.take(conn, socket, relay);
        }
    }

    fn answered(&mut self, id: ControlId, answer: Result<Answer, ControlError>) {
        let caller = self.run.callers.remove(Key::from_bits(id.0)).expect("a command is answered once");
        caller.answer(answer);
    }

    fn tell(&mut self, event: Event) {
        self.ring.machine_mut().handle(self.run.now, event, &mut self.run.effects);
    }

    fn figures(&mut self) -> Figures {
        let machine = self.ring.machine().observe();
        self.meters.retain(|volume| machine.volumes.iter().any(|observed| observed.id == volume));
        Figures {
            machine,
            meters: self.meters.clone(),
            disk: self.disk.figures(),
            connections: self.sockets.clients(),
            replicas: ReplicaLinks {
                open: self.sockets.replicas(),
                traffic: self.sockets.traffic(),
                dials: self.outbound.as_ref().map(|outbound| outbound.dials.figures()).unwrap_or_default(),
            },
            turns: Turns {
                turns: self.run.turns,
                enters: self.ring.enters(),
                cpu_seconds: clock::thread_cpu_seconds(),
            },
        }
    }
}
