//! kill -9 in the middle of writes, again and again: whatever was acknowledged is there afterwards, flushed or not,
//! and no block ever holds what was not written to it.
//!
//! A writer keeps several requests in flight, never two on one block. For every block it knows the last value that was
//! acknowledged and the one that may be in flight; after a crash the block must hold one of the two, and what it holds
//! is the truth from then on.

use std::io;

use tests::nbd::{Client, FUA, Kind, Reply, Request};
use tests::node::{Home, Options, VOLUME};
use tests::random::{Random, seed};
use tests::stamp::{BLOCK, Content, decode, encode};
use tests::tool::run;

const BLOCKS: u64 = 4096;
const IN_FLIGHT: usize = 16;
const RUN_MAX: u64 = 8;
const READ_BLOCKS: u64 = 64;

/// What one block may hold.
#[derive(Clone, Copy, Debug)]
struct Belief {
    acknowledged: Content,
    in_flight: Option<Content>,
}

struct InFlight {
    cookie: u64,
    blocks: std::ops::Range<u64>,
}

struct Writer {
    random: Random,
    beliefs: Vec<Belief>,
    in_flight: Vec<InFlight>,
    next_seq: u64,
    acknowledged: u64,
}

impl Writer {
    fn new(seed: u64) -> Self {
        let blank = Belief { acknowledged: Content::Zero, in_flight: None };
        let beliefs = vec![blank; usize::try_from(BLOCKS).expect("few")];
        Self { random: Random::seeded(seed), beliefs, in_flight: Vec::new(), next_seq: 1, acknowledged: 0 }
    }

    /// Keeps the connection busy until `enough` requests were acknowledged in all, then leaves requests in flight.
    fn write_until(&mut self, client: &mut Client, enough: u64) -> io::Result<()> {
        loop {
            while self.in_flight.len() < IN_FLIGHT {
                self.send(client)?;
            }
            if self.acknowledged >= enough {
                return Ok(());
            }
            let reply = client.receive()?;
            self.acknowledge(reply);
        }
    }

    /// Takes the acknowledgements that were on their way when the server died.
    fn drain(&mut self, client: &mut Client) {
        while let Ok(reply) = client.receive() {
            self.acknowledge(reply);
        }
        self.in_flight.clear();
    }

    fn send(&mut self, client: &mut Client) -> io::Result<()> {
        let cookie = self.next_seq;
        self.next_seq += 1;
        let flags = if self.random.one_in(20) { FUA } else { 0 };
        if self.random.one_in(40) {
            self.in_flight.push(InFlight { cookie, blocks: 0..0 });
            return client.send(Request { kind: Kind::Flush, flags: 0, cookie, offset: 0, len_bytes: 0 }, &[]);
        }
        let blocks = self.idle_blocks();
        let kind = [Kind::Write, Kind::Write, Kind::Write, Kind::Write, Kind::Trim, Kind::Zeroes];
        let kind = kind[usize::try_from(self.random.below(kind.len() as u64)).expect("few")];
        let content = if kind == Kind::Write { Content::Stamped(cookie) } else { Content::Zero };
        let mut payload = Vec::new();
        for block in blocks.clone() {
            self.belief(block).in_flight = Some(content);
            if kind == Kind::Write {
                encode(block, cookie, &mut payload);
            }
        }
        let len_bytes = u32::try_from((blocks.end - blocks.start) * BLOCK as u64).expect("few blocks");
        let request = Request { kind, flags, cookie, offset: blocks.start * BLOCK as u64, len_bytes };
        self.in_flight.push(InFlight { cookie, blocks });
        client.send(request, &payload)
    }

    /// A few blocks with nothing in flight on them.
    fn idle_blocks(&mut self) -> std::ops::Range<u64> {
        loop {
            let count = 1 + self.random.below(RUN_MAX);
            let first = self.random.below(BLOCKS - count);
            if (first..first + count).all(|block| self.belief(block).in_flight.is_none()) {
                return first..first + count;
            }
        }
    }

    fn acknowledge(&mut self, reply: Reply) {
        assert_eq!(reply.error, 0, "request {} failed", reply.cookie);
        let at = self.in_flight.iter().position(|one| one.cookie == reply.cookie).expect("a reply to a request");
        for block in self.in_flight.swap_remove(at).blocks {
            let belief = self.belief(block);
            belief.acknowledged = belief.in_flight.take().expect("it was in flight");
        }
        self.acknowledged += 1;
    }

    fn belief(&mut self, block: u64) -> &mut Belief {
        &mut self.beliefs[usize::try_from(block).expect("few")]
    }

    /// Reads everything and believes what it finds, when that is possible.
    fn check(&mut self, client: &mut Client, when: &str) {
        for first in (0..BLOCKS).step_by(usize::try_from(READ_BLOCKS).expect("few")) {
            let len_bytes = u32::try_from(READ_BLOCKS * BLOCK as u64).expect("a small read");
            let data = client.read(first * BLOCK as u64, len_bytes).expect("a read");
            for (block, bytes) in (first..).zip(data.chunks(BLOCK)) {
                let found = decode(block, bytes).unwrap_or_else(|damage| panic!("{when}: {damage}"));
                let belief = self.belief(block);
                assert!(
                    found == belief.acknowledged || Some(found) == belief.in_flight,
                    "{when}: block {block} holds {found:?}, allowed is {belief:?}"
                );
                *belief = Belief { acknowledged: found, in_flight: None };
            }
        }
    }
}

fn rounds() -> u64 {
    std::env::var("KILL_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(50)
}

#[test]
fn kill_9_loses_nothing_acknowledged() {
    let seed = seed();
    let home =
        Home::new(Options { volumes: vec![format!("{VOLUME}:{}", BLOCKS * BLOCK as u64)], pool: "512MiB".into() });
    let mut writer = Writer::new(seed);
    let mut lives = Random::seeded(seed ^ 1);
    for round in 0..rounds() {
        let when = format!("PLINTH_SEED={seed}, after kill {round}");
        let mut node = home.start();
        let mut client = node.client();
        writer.check(&mut client, &when);
        let enough = writer.acknowledged + lives.below(3000);
        writer.write_until(&mut client, enough).expect("the node serves");
        node.running.kill();
        writer.drain(&mut client);
        if round % 10 == 0 {
            run(&mut home.check());
        }
    }
    let node = home.start();
    writer.check(&mut node.client(), &format!("PLINTH_SEED={seed}, at the end"));
    println!("{} requests acknowledged in {} lives", writer.acknowledged, rounds());
}
