//! The client: what it asks for, and what it makes of the answers.

use std::collections::BTreeMap;
use std::io;
use std::net::TcpStream;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::checked::left::Left;
use crate::checked::{Beliefs, Pace, Put, Since};
use crate::cluster::parts;
use crate::nbd::{self, Client, FUA, Kind, Reply, Request};
use crate::random::Random;
use crate::stamp::{self, BLOCK};

/// Before it tries the next address.
const PAUSE: Duration = Duration::from_millis(10);
/// Nobody waits longer for an address to answer.
const CONNECT_PATIENCE: Duration = Duration::from_millis(500);
/// ENOSPC, as NBD has it.
const NO_SPACE: u32 = 28;
/// Blocks of one request.
const RUN_MAX: u64 = 4;

/// How a client behaves.
#[derive(Clone, Copy, Debug)]
pub struct Habits {
    /// The blocks that it uses: the first of the volume.
    pub blocks: u64,
    /// Requests in flight.
    pub depth: usize,
    /// How long a connection may be silent before it goes elsewhere.
    pub patience: Duration,
    /// Time between two requests; a machine that does nothing else tells little about faults.
    pub rest: Duration,
    /// Connections that were silent for too long stay open, see [`Left`].
    pub keeps_left: bool,
    /// Writes of data may be refused because a pool is full. Then it connects anew: nobody says how much of it was made.
    pub may_be_full: bool,
}

impl Default for Habits {
    fn default() -> Self {
        Self {
            blocks: 512,
            depth: 16,
            patience: Duration::from_secs(1),
            rest: Duration::from_micros(200),
            keeps_left: false,
            may_be_full: false,
        }
    }
}

/// A request in flight.
#[derive(Debug)]
pub(super) struct Asked {
    pub what: What,
    pub at: Instant,
}

/// What it is, and what was known when it began.
#[derive(Debug)]
pub(super) enum What {
    /// Of these blocks; durable when it ends or not.
    Write { blocks: Range<u64>, fua: bool, put: Put },
    /// Of these blocks.
    Read { first: u64, since: Vec<Since> },
    /// Of all blocks.
    Flush { since: Vec<Since> },
}

/// The client.
pub struct CheckedClient {
    habits: Habits,
    uris: Vec<String>,
    next_uri: usize,
    connection: Option<Client<TcpStream>>,
    in_flight: BTreeMap<u64, Asked>,
    pub(super) beliefs: Beliefs,
    pub(super) left: Vec<Left>,
    random: Random,
    pub(super) next_number: u64,
    pace: Arc<Mutex<Pace>>,
    connections: u64,
    refused: u64,
}

impl CheckedClient {
    /// One of a volume that was never written, at these addresses.
    ///
    /// # Panics
    /// When it is to use more blocks than there is memory for.
    #[must_use]
    pub fn new(uris: Vec<String>, habits: Habits, seed: u64) -> Self {
        let beliefs = Beliefs::new(usize::try_from(habits.blocks).expect("few blocks"));
        Self {
            habits,
            uris,
            next_uri: 0,
            connection: None,
            in_flight: BTreeMap::new(),
            beliefs,
            left: Vec::new(),
            random: Random::seeded(seed),
            next_number: 1,
            pace: Arc::default(),
            connections: 0,
            refused: 0,
        }
    }

    /// How evenly its answers come.
    #[must_use]
    pub fn pace(&self) -> Arc<Mutex<Pace>> {
        Arc::clone(&self.pace)
    }

    /// Connections made so far.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.connections
    }

    /// Writes that were refused because a pool was full.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Where it finds the volume.
    #[must_use]
    pub fn uris(&self) -> &[String] {
        &self.uris
    }

    /// Goes on at other addresses.
    pub fn move_to(&mut self, uris: Vec<String>) {
        self.hang_up();
        self.uris = uris;
    }

    /// Ends the connection, whatever is in flight.
    pub fn hang_up(&mut self) {
        self.connection = None;
        self.in_flight.clear();
        self.beliefs.broken();
    }

    /// Power was lost everywhere while nobody was connected: what was not flushed may be gone.
    pub fn power_lost(&mut self) {
        self.hang_up();
        self.beliefs.power_lost();
    }

    /// Keeps the volume busy for a moment: answers one request, or makes a connection.
    ///
    /// # Errors
    /// A sentence when the volume broke a promise.
    pub fn work(&mut self) -> Result<(), String> {
        self.step(Self::some_request)
    }

    /// One answer; `next` is asked for requests as long as there is room in flight.
    fn step(&mut self, mut next: impl FnMut(&mut Self) -> Option<(Request, What)>) -> Result<(), String> {
        let Some(mut connection) = self.connection.take() else {
            if self.connect().is_err() {
                thread::sleep(PAUSE);
            }
            return Ok(());
        };
        match self.exchange(&mut connection, &mut next) {
            Ok(checked) => {
                self.connection = Some(connection);
                checked
            }
            Err(error) => {
                let is_silent = matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut);
                let in_flight = std::mem::take(&mut self.in_flight);
                if is_silent && self.habits.keeps_left {
                    self.left.push(Left::new(connection, in_flight));
                }
                self.beliefs.broken();
                Ok(())
            }
        }
    }

    /// Asks and hears one answer.
    fn exchange(
        &mut self,
        connection: &mut Client<TcpStream>,
        next: &mut impl FnMut(&mut Self) -> Option<(Request, What)>,
    ) -> io::Result<Result<(), String>> {
        while self.in_flight.len() < self.habits.depth
            && let Some((request, what)) = next(self)
        {
            let payload = self.payload(&request);
            self.in_flight.insert(request.cookie, Asked { what, at: Instant::now() });
            connection.send(request, &payload)?;
            thread::sleep(self.habits.rest);
        }
        if self.in_flight.is_empty() {
            return Ok(Ok(()));
        }
        let reply = connection.receive()?;
        let Some(asked) = self.in_flight.remove(&reply.cookie) else {
            return Ok(Err(format!("an answer came to what was not asked: {reply:?}")));
        };
        let took = asked.at.elapsed();
        let checked = self.answered(connection, reply, asked.what)?;
        self.pace.lock().unwrap_or_else(PoisonError::into_inner).answered(took);
        Ok(checked)
    }

    fn answered(
        &mut self,
        connection: &mut Client<TcpStream>,
        reply: Reply,
        what: What,
    ) -> io::Result<Result<(), String>> {
        if reply.error == NO_SPACE && self.habits.may_be_full && matches!(what, What::Write { put: Put::Stamp, .. }) {
            self.refused += 1;
            return Err(io::ErrorKind::StorageFull.into());
        }
        if reply.error != 0 {
            return Ok(Err(format!("error {} reached the client for {what:?}", reply.error)));
        }
        match what {
            What::Write { blocks, fua, put: _ } => {
                blocks.for_each(|block| self.beliefs.acknowledge(index(block), reply.cookie, fua));
            }
            What::Flush { since } => {
                since.iter().enumerate().for_each(|(block, since)| self.beliefs.flushed(block, *since));
            }
            What::Read { first, since } => {
                let mut data = vec![0; since.len() * BLOCK];
                connection.receive_data(&mut data)?;
                return Ok(self.beliefs.read_all(first, &since, &data));
            }
        }
        Ok(Ok(()))
    }

    fn payload(&self, request: &Request) -> Vec<u8> {
        let mut payload = Vec::new();
        if request.kind == Kind::Write {
            let first = request.offset / BLOCK as u64;
            let blocks = u64::from(request.len_bytes) / BLOCK as u64;
            (first..first + blocks).for_each(|block| stamp::encode(block, request.cookie, &mut payload));
        }
        payload
    }

    fn connect(&mut self) -> io::Result<()> {
        let (address, export) = parts(&self.uris[self.next_uri % self.uris.len()]);
        self.next_uri += 1;
        let stream = TcpStream::connect_timeout(&address, CONNECT_PATIENCE)?;
        nbd::bound(&stream, self.habits.patience);
        stream.set_nodelay(true)?;
        match Client::try_open(stream, export)? {
            Ok(client) => self.connection = Some(client),
            Err(_refused) => return Err(io::ErrorKind::NotFound.into()),
        }
        self.connections += 1;
        Ok(())
    }

    fn some_request(&mut self) -> Option<(Request, What)> {
        let chosen = self.random.below(100);
        Some(match chosen {
            0..3 => self.flush(),
            3..35 => {
                let first = self.random.below(self.habits.blocks - RUN_MAX);
                let count = 1 + self.random.below(RUN_MAX);
                self.read(first..first + count)
            }
            35..40 => self.write(Kind::Trim),
            40..44 => self.write(Kind::Zeroes),
            _ => self.write(Kind::Write),
        })
    }

    pub(super) fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    pub(super) fn read(&mut self, blocks: Range<u64>) -> (Request, What) {
        let since = blocks.clone().map(|block| self.beliefs.since(index(block))).collect();
        let request = request(Kind::Read, self.number(), &blocks);
        (request, What::Read { first: blocks.start, since })
    }

    fn flush(&mut self) -> (Request, What) {
        let since = (0..self.beliefs.len()).map(|block| self.beliefs.since(block)).collect();
        (request(Kind::Flush, self.number(), &(0..0)), What::Flush { since })
    }

    fn write(&mut self, kind: Kind) -> (Request, What) {
        let blocks = self.idle_blocks();
        let number = self.number();
        let fua = self.random.one_in(20);
        let put = if kind == Kind::Write { Put::Stamp } else { Put::Zeroes };
        blocks.clone().for_each(|block| self.beliefs.ask(index(block), number, put));
        let flags = if fua { FUA } else { 0 };
        (Request { flags, ..request(kind, number, &blocks) }, What::Write { blocks, fua, put })
    }

    /// A few blocks on which no write is in flight.
    fn idle_blocks(&mut self) -> Range<u64> {
        loop {
            let count = 1 + self.random.below(RUN_MAX);
            let first = self.random.below(self.habits.blocks - count);
            if (first..first + count).all(|block| !self.beliefs.is_busy(index(block))) {
                return first..first + count;
            }
        }
    }

    /// Waits for what is in flight, flushes, and reads every block.
    ///
    /// # Errors
    /// A sentence when the volume broke a promise, or did not answer all within `limit`.
    pub fn check_all(&mut self, limit: Duration) -> Result<(), String> {
        let deadline = Instant::now() + limit;
        let mut left = Vec::new();
        let mut on_connection = None;
        loop {
            if self.connection.is_some() && on_connection != Some(self.connections) {
                // What was asked for on an earlier connection was not heard.
                on_connection = Some(self.connections);
                left = self.requests_of_a_check();
            }
            if self.connection.is_some() && left.is_empty() && self.in_flight.is_empty() {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(format!("the volume did not answer within {limit:?}"));
            }
            self.step(|client| left.pop().map(|range| client.check(range)))?;
        }
    }

    /// Ranges to be read, the last first; an empty one is a flush.
    fn requests_of_a_check(&self) -> Vec<Range<u64>> {
        let firsts = (0..self.habits.blocks).step_by(64);
        let reads = firsts.map(|first| first..(first + 64).min(self.habits.blocks));
        reads.chain(std::iter::once(0..0)).collect()
    }

    fn check(&mut self, range: Range<u64>) -> (Request, What) {
        if range.is_empty() { self.flush() } else { self.read(range) }
    }
}

impl Beliefs {
    /// A read of several blocks.
    pub(super) fn read_all(&mut self, first: u64, since: &[Since], data: &[u8]) -> Result<(), String> {
        for ((block, since), bytes) in (first..).zip(since).zip(data.chunks(BLOCK)) {
            self.read(index(block), *since, stamp::decode(block, bytes)?)?;
        }
        Ok(())
    }

    /// A read of several blocks, answered at any time since it was asked for.
    pub(super) fn was_read(&mut self, first: u64, since: &[Since], data: &[u8]) -> Result<(), String> {
        for ((block, since), bytes) in (first..).zip(since).zip(data.chunks(BLOCK)) {
            self.was_seen(index(block), *since, stamp::decode(block, bytes)?)?;
        }
        Ok(())
    }
}

pub(super) fn index(block: u64) -> usize {
    usize::try_from(block).expect("few blocks")
}

pub(super) fn request(kind: Kind, cookie: u64, blocks: &Range<u64>) -> Request {
    let len_bytes = u32::try_from((blocks.end - blocks.start) * BLOCK as u64).expect("a small request");
    Request { kind, flags: 0, cookie, offset: blocks.start * BLOCK as u64, len_bytes }
}
