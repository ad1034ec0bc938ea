//! A storage node: the very machine that production runs, on a disk that loses what it may, with sockets that deliver
//! when they like. It is killed, loses power, and comes back.

use std::collections::BTreeMap;

use block::{BLOCK_BYTES, Instant, Page, PoolId, VolumeId};
use node::{ConnId, Door, Effect, Event, Intent, Node, NodeConfig, Offer, Proposal, Relay, Report};
use store::{BootId, FormatOptions, IoId, Job, JobId, SEGMENTS_MIN, Store, VolumeState, format, open};

use super::fences::Version;
use super::network::{LinkId, Network};
use crate::random::Random;
use crate::sim::{Crash, Lie, SimDisk};

const SEGMENT_PAGES: u32 = 64;
const SEGMENTS: u64 = SEGMENTS_MIN as u64 + 40;

enum Flight {
    Write(IoId),
    Read(IoId, block::PoolOffset),
    Sync(IoId),
    Job(JobId, Job),
}

#[derive(Debug)]
struct Socket {
    link: LinkId,
    receives: bool,
    sends: bool,
    closes: bool,
}

/// A node while its process lives.
struct Life {
    node: Node,
    flights: Vec<Flight>,
    sockets: BTreeMap<ConnId, Socket>,
    next_conn: u32,
    /// It has something new to say of itself.
    news: bool,
}

/// A storage node, alive or not.
pub(super) struct Machine {
    pub pool: PoolId,
    disk: SimDisk,
    boot: u128,
    life: Option<Life>,
    /// Every volume that is there now.
    held: BTreeMap<VolumeId, Version>,
}

/// What a machine asks of the world.
#[derive(Debug, Default)]
pub(super) struct Wants {
    /// Clients to be passed on.
    pub relays: Vec<(LinkId, Relay)>,
    /// Volumes that were not there before.
    pub made: Vec<VolumeId>,
    /// Configurations that its replicas want.
    pub proposals: Vec<(VolumeId, Proposal)>,
}

impl Machine {
    /// A machine with an empty pool, running.
    pub fn new(pool: PoolId, now: Instant) -> Result<Self, String> {
        let disk = blank(pool)?;
        let mut machine = Self { pool, disk, boot: 1, life: None, held: BTreeMap::new() };
        machine.start(now)?;
        Ok(machine)
    }

    pub fn is_up(&self) -> bool {
        self.life.is_some()
    }

    pub fn node(&self) -> Option<&Node> {
        self.life.as_ref().map(|life| &life.node)
    }

    /// Whether the disk has nothing to do.
    pub fn is_idle(&self) -> bool {
        self.life.as_ref().is_none_or(|life| life.flights.is_empty())
    }

    /// Volumes in its pool and the last change of each, also while it is down.
    pub fn held(&self) -> &BTreeMap<VolumeId, Version> {
        &self.held
    }

    /// The process begins.
    pub fn start(&mut self, now: Instant) -> Result<(), String> {
        if self.life.is_some() {
            return Ok(());
        }
        let opened =
            open(&self.disk, self.disk.bytes(), BootId(self.boot)).map_err(|error| format!("open: {error}"))?;
        self.disk.sync_all();
        for (at, pages) in opened.writes {
            self.disk.write_stable(at, pages.bytes());
        }
        let config = NodeConfig { offer: Offer::Intended, ..NodeConfig::default() };
        let node = Node::new(opened.store, config);
        self.held = held_by(node.store());
        self.life = Some(Life { node, flights: Vec::new(), sockets: BTreeMap::new(), next_conn: 0, news: false });
        let mut wants = Wants::default();
        self.handle(now, Event::TurnEnded, &mut wants)
    }

    /// The process is killed, or its machine loses power.
    pub fn crash(&mut self, crash: Crash, network: &mut Network, random: &mut Random) {
        let Some(life) = self.life.take() else { return };
        for socket in life.sockets.values() {
            network.link(socket.link).server_closed = true;
        }
        self.disk.crash(crash, random);
        if crash == Crash::Power {
            self.boot += 1;
        }
    }

    /// Somebody puts an empty disk in the place of the old one.
    pub fn wipe(&mut self) -> Result<(), String> {
        assert!(self.life.is_none(), "a disk is changed while the machine is off");
        self.disk = blank(self.pool)?;
        self.held.clear();
        Ok(())
    }

    /// A client, or a relay, connects.
    pub fn accept(&mut self, now: Instant, link: LinkId, door: Door) -> Result<(), String> {
        let Some(life) = &mut self.life else { return Ok(()) };
        life.next_conn += 1;
        let conn = ConnId { slot: life.next_conn, generation: 1 };
        life.sockets.insert(conn, Socket { link, receives: false, sends: false, closes: false });
        let mut wants = Wants::default();
        self.handle(now, Event::Accepted { conn, door }, &mut wants)
    }

    pub fn intend(&mut self, now: Instant, intent: Intent, wants: &mut Wants) -> Result<(), String> {
        self.handle(now, Event::Intended(Box::new(intent)), wants)
    }

    /// Whether there is something new to observe since the last call.
    pub fn take_news(&mut self) -> bool {
        self.life.as_mut().is_some_and(|life| std::mem::take(&mut life.news))
    }

    /// Some things happen, one in `disk` of them at the disk, and the turn ends.
    pub fn turn(
        &mut self,
        now: Instant,
        network: &mut Network,
        random: &mut Random,
        disk: u64,
        wants: &mut Wants,
    ) -> Result<(), String> {
        for _ in 0..random.below(6) {
            if random.one_in(disk) {
                self.end_one(now, random, wants)?;
            } else {
                self.transfer(now, network, random, wants)?;
            }
        }
        self.handle(now, Event::TurnEnded, wants)?;
        self.look_at_volumes(wants);
        Ok(())
    }

    fn look_at_volumes(&mut self, wants: &mut Wants) {
        let Some(life) = &self.life else { return };
        let now = held_by(life.node.store());
        wants.made.extend(now.keys().filter(|id| !self.held.contains_key(id)));
        self.held = now;
    }

    fn handle(&mut self, now: Instant, event: Event, wants: &mut Wants) -> Result<(), String> {
        let Some(life) = &mut self.life else { return Ok(()) };
        let mut effects = Vec::new();
        life.node.handle(now, event, &mut effects);
        effects.into_iter().try_for_each(|effect| life.carry_out(effect, &self.disk, wants))
    }

    /// Something of the disk ends, in any order.
    fn end_one(&mut self, now: Instant, random: &mut Random, wants: &mut Wants) -> Result<(), String> {
        let Some(life) = &mut self.life else { return Ok(()) };
        if life.flights.is_empty() {
            return Ok(());
        }
        let index = random.index(life.flights.len());
        let event = life.end(index, &self.disk);
        self.handle(now, Event::Disk(event), wants)
    }

    /// Bytes of a connection go one way or the other.
    fn transfer(
        &mut self,
        now: Instant,
        network: &mut Network,
        random: &mut Random,
        wants: &mut Wants,
    ) -> Result<(), String> {
        let Some(life) = &mut self.life else { return Ok(()) };
        let able: Vec<ConnId> = life.sockets.keys().copied().collect();
        if able.is_empty() {
            return Ok(());
        }
        let conn = random.pick(&able);
        match life.transfer(conn, network, random) {
            Some(event) => self.handle(now, event, wants),
            None => Ok(()),
        }
    }
}

impl Life {
    fn end(&mut self, index: usize, disk: &SimDisk) -> store::Event {
        match self.flights.swap_remove(index) {
            Flight::Write(io) => {
                disk.end(io);
                store::Event::Written { io, result: Ok(()) }
            }
            Flight::Read(io, at) => {
                let target = self.node.read_target(io).0;
                let mut pages = vec![Page::ZERO; target.len() / BLOCK_BYTES];
                let result = store::Media::read(disk, at, &mut pages);
                target.chunks_exact_mut(BLOCK_BYTES).zip(&pages).for_each(|(to, from)| to.copy_from_slice(&from.0));
                store::Event::ReadEnded { io, result }
            }
            Flight::Sync(io) => {
                disk.end_sync();
                store::Event::Synced { io, result: Ok(()) }
            }
            Flight::Job(job, work) => store::Event::JobEnded { job, output: work.run(disk) },
        }
    }

    fn transfer(&mut self, conn: ConnId, network: &mut Network, random: &mut Random) -> Option<Event> {
        let socket = self.sockets.get_mut(&conn).expect("just chosen");
        let link = network.link(socket.link);
        let arrives = socket.receives && !link.held && !link.to_server.is_empty();
        // What the kernel had received may still be told of after the order to close.
        if socket.closes && !(arrives && random.one_in(2)) {
            link.server_closed = true;
            self.sockets.remove(&conn);
            return Some(Event::Closed { conn });
        }
        if arrives {
            socket.receives = false;
            return Some(self.receive(conn, network, random));
        }
        if link.client_closed && !link.held && link.to_server.is_empty() && (socket.receives || socket.sends) {
            (socket.receives, socket.sends) = (false, false);
            return Some(Event::Broken { conn });
        }
        if socket.sends && !link.held {
            socket.sends = false;
            return Some(self.send(conn, network, random));
        }
        None
    }

    fn receive(&mut self, conn: ConnId, network: &mut Network, random: &mut Random) -> Event {
        let link = network.link(self.sockets[&conn].link);
        let target = self.node.receive_target(conn);
        let most = target.len().min(link.to_server.len());
        let len_bytes = if random.one_in(3) { 1 + random.index(most) } else { most };
        for (to, from) in target.iter_mut().zip(link.to_server.drain(..len_bytes)) {
            *to = from;
        }
        Event::Received { conn, len_bytes }
    }

    fn send(&mut self, conn: ConnId, network: &mut Network, random: &mut Random) -> Event {
        let link = network.link(self.sockets[&conn].link);
        let bytes: Vec<u8> = self.node.send_source(conn).into_iter().flatten().flatten().copied().collect();
        let len_bytes = if random.one_in(3) { 1 + random.index(bytes.len()) } else { bytes.len() };
        link.to_client.extend(&bytes[..len_bytes]);
        Event::Sent { conn, len_bytes }
    }

    fn carry_out(&mut self, effect: Effect, disk: &SimDisk, wants: &mut Wants) -> Result<(), String> {
        match effect {
            Effect::Receive { conn } => self.socket(conn)?.receives = true,
            Effect::Send { conn, .. } => self.socket(conn)?.sends = true,
            Effect::Close { conn } => self.socket(conn)?.closes = true,
            Effect::Write { io, at } => {
                disk.submit(io, at, self.node.write_source(io).0);
                self.flights.push(Flight::Write(io));
            }
            Effect::Read { io, at } => self.flights.push(Flight::Read(io, at)),
            Effect::Sync { io } => {
                disk.begin_sync();
                self.flights.push(Flight::Sync(io));
            }
            Effect::Run { id, job } => self.flights.push(Flight::Job(id, job)),
            Effect::ObservationChanged => self.news = true,
            Effect::HandOver { conn, relay } => {
                let socket = self.sockets.remove(&conn).ok_or("an unknown connection is handed over")?;
                if socket.receives || socket.sends || socket.closes {
                    return Err("something is outstanding on a connection that is handed over".to_owned());
                }
                wants.relays.push((socket.link, *relay));
            }
            Effect::Report(Report::Store(
                report @ (store::Report::Poisoned { .. } | store::Report::BadBlock { .. }),
            )) => {
                return Err(format!("an honest disk led to {report:?}"));
            }
            Effect::Report(_) | Effect::Measured { .. } => {}
            Effect::Propose { volume, proposal } => wants.proposals.push((volume, proposal)),
            Effect::Connect { .. } => return Err("no volume has several replicas".to_owned()),
            Effect::Answered { .. } | Effect::Stopped => return Err("nobody asked for it".to_owned()),
        }
        Ok(())
    }

    fn socket(&mut self, conn: ConnId) -> Result<&mut Socket, String> {
        self.sockets.get_mut(&conn).ok_or_else(|| format!("{conn:?} is not known"))
    }
}

fn blank(pool: PoolId) -> Result<SimDisk, String> {
    let bytes = (512 + SEGMENTS * u64::from(SEGMENT_PAGES)) * BLOCK_BYTES as u64;
    let disk = SimDisk::new(bytes, Lie::Honest);
    let options =
        FormatOptions { segment_pages: SEGMENT_PAGES, zeroed: true, ..FormatOptions::new(pool, bytes, BootId(1)) };
    for (at, pages) in format(&options).map_err(|error| error.to_string())? {
        disk.write_stable(at, pages.bytes());
    }
    Ok(disk)
}

fn held_by(store: &Store) -> BTreeMap<VolumeId, Version> {
    let version = |volume: &VolumeState| Version {
        last: volume.last_seq,
        size_bytes: volume.size_bytes,
        cut: store.snapshots_of(volume.id).map(|snapshot| snapshot.seq).max(),
    };
    store.volumes().map(|volume| (volume.id, version(volume))).collect()
}
