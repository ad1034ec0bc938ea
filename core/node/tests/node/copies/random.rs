//! A client that checks what it reads, while nodes die, connections break and the network is divided.
//!
//! A seed is a run: SEEDS and FIRST choose them. The client writes sectors of 512 bytes, each time with another number, so
//! that changes meet in blocks; of every sector it knows what it may hold. What was not acknowledged may be there or not;
//! once it was read by a client that came later, it is settled. The volume grows meanwhile, and snapshots are cut.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use block::WriteSeq;

use crate::copies::trio::{NODES, Trio};
use crate::rig::MIB;
use crate::wire::{FLUSH, READ, Request, TRIM, WRITE_ZEROES};

const SECTOR_BYTES: usize = 512;
/// Sectors that the volume has at first, and at most.
const SECTORS: usize = 2048;
const SECTORS_MAX: usize = 4096;
/// It grows by any multiple of this.
const GROWTH_SECTORS: usize = 3 * BLOCK_SECTORS;
/// Snapshots that are wanted, at most.
const SNAPSHOTS_MAX: u64 = 6;
const BLOCK_SECTORS: usize = 8;
/// Rounds with faults.
const ROUNDS: usize = 60;

/// What is known of the sectors, by the numbers that were written to them.
struct Client {
    may_hold: Vec<BTreeSet<u64>>,
    next: u64,
    seed: u64,
    connection: Option<(usize, usize)>,
    under_way: Vec<Deed>,
    answered: u64,
    /// How large the volume was seen to be.
    sectors: usize,
    growths: u64,
}

/// A request that was not answered.
struct Deed {
    cookie: u64,
    sectors: std::ops::Range<usize>,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Change(u64),
    Read,
    Flush,
}

fn content(sectors: &std::ops::Range<usize>, number: u64) -> Vec<u8> {
    sectors
        .clone()
        .flat_map(|sector| [number, sector as u64].repeat(SECTOR_BYTES / 16))
        .flat_map(u64::to_le_bytes)
        .collect()
}

impl Client {
    fn new(seed: u64) -> Self {
        Self {
            may_hold: vec![BTreeSet::from([0]); SECTORS_MAX],
            next: 1,
            seed: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            connection: None,
            under_way: Vec::new(),
            answered: 0,
            sectors: SECTORS,
            growths: 0,
        }
    }

    fn random(&mut self, below: usize) -> usize {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        usize::try_from(self.seed >> 33).unwrap() % below
    }

    /// Sectors that no request under way names.
    fn free_sectors(&mut self) -> Option<std::ops::Range<usize>> {
        let len = match self.random(10) {
            0..5 => 1 + self.random(12),
            5..8 => BLOCK_SECTORS * (1 + self.random(4)),
            _ => 200 + self.random(400),
        };
        let start = self.random(self.sectors - len);
        let start = if self.random(2) == 0 { start } else { start / BLOCK_SECTORS * BLOCK_SECTORS };
        let range = start..start + len;
        let is_free = |deed: &Deed| deed.sectors.end <= range.start || range.end <= deed.sectors.start;
        self.under_way.iter().all(is_free).then_some(range)
    }

    fn ask(&mut self, trio: &mut Trio, connection: (usize, usize)) {
        let Some(sectors) = self.free_sectors() else { return };
        let (offset, len_bytes) = ((sectors.start * SECTOR_BYTES) as u64, sectors.len() * SECTOR_BYTES);
        let plain = |command| Request::new(command, offset, u32::try_from(len_bytes).unwrap());
        let (request, kind, sectors) = match self.random(20) {
            0..9 => {
                self.next += 1;
                (Request::write(offset, &content(&sectors, self.next)), Kind::Change(self.next), sectors)
            }
            9 => (plain(WRITE_ZEROES), Kind::Change(0), sectors),
            10 => {
                let whole = sectors.start.next_multiple_of(BLOCK_SECTORS)..sectors.end / BLOCK_SECTORS * BLOCK_SECTORS;
                let inside = whole.start..whole.end.max(whole.start);
                (plain(TRIM), Kind::Change(0), inside)
            }
            11..13 => (Request::new(FLUSH, 0, 0), Kind::Flush, 0..0),
            _ => (plain(READ), Kind::Read, sectors),
        };
        let request =
            if self.random(8) == 0 && kind != Kind::Read && kind != Kind::Flush { request.fua() } else { request };
        if let Kind::Change(number) = kind {
            self.may_hold[sectors.clone()].iter_mut().for_each(|sector| {
                sector.insert(number);
            });
        }
        let asked = trio.ask(connection, &request);
        self.under_way.push(Deed { cookie: asked.cookie, sectors, kind });
    }

    fn hear(&mut self, trio: &mut Trio, connection: (usize, usize)) {
        let mut left = Vec::new();
        for deed in std::mem::take(&mut self.under_way) {
            let Some(reply) = trio.nodes[connection.0].reply(connection.1, deed.cookie) else {
                left.push(deed);
                continue;
            };
            assert_eq!(reply.error, 0, "nothing here may fail");
            self.answered += 1;
            match deed.kind {
                Kind::Flush => {}
                Kind::Change(number) => {
                    self.may_hold[deed.sectors].iter_mut().for_each(|sector| *sector = BTreeSet::from([number]));
                }
                Kind::Read => self.check(&deed.sectors, &reply.data),
            }
        }
        self.under_way = left;
    }

    fn check(&mut self, sectors: &std::ops::Range<usize>, data: &[u8]) {
        for (sector, bytes) in sectors.clone().zip(data.chunks_exact(SECTOR_BYTES)) {
            let number = u64::from_le_bytes(bytes[..8].try_into().unwrap());
            let expected = if number == 0 { vec![0; SECTOR_BYTES] } else { content(&(sector..sector + 1), number) };
            assert!(bytes == expected, "sector {sector} is torn, or another one's");
            let may_hold = &mut self.may_hold[sector];
            assert!(may_hold.contains(&number), "sector {sector} holds {number} and may hold {may_hold:?}");
            *may_hold = BTreeSet::from([number]);
        }
    }

    /// Whoever serves the volume, it is never smaller than it was.
    fn see(&mut self, size_bytes: u64) {
        let sectors = usize::try_from(size_bytes).unwrap() / SECTOR_BYTES;
        assert!(sectors >= self.sectors, "it has {sectors} sectors and had {}", self.sectors);
        self.growths += u64::from(sectors > self.sectors);
        self.sectors = sectors;
    }

    /// Looks how large the volume has become, as a host does that has it attached.
    fn look(&mut self, trio: &mut Trio) {
        let Some(node) = trio.primary() else { return };
        let peer = trio.nodes[node].connect_to("v", true);
        if let Some((size_bytes, _)) = trio.nodes[node].peers[peer].listener.export {
            self.see(size_bytes);
        }
        trio.nodes[node].reset(peer);
    }

    /// One round: what the client does and hears within one step of time.
    fn act(&mut self, trio: &mut Trio) {
        let Some(connection) = self.connection else {
            self.connection = trio.primary().and_then(|node| {
                let peer = trio.nodes[node].connect_to("v", self.random(2) == 0);
                let (size_bytes, _) = trio.nodes[node].peers[peer].listener.export?;
                self.see(size_bytes);
                Some((node, peer))
            });
            return;
        };
        self.hear(trio, connection);
        if trio.is_gone(connection) {
            // What became of these is not known.
            (self.connection, self.under_way) = (None, Vec::new());
            return;
        }
        if self.random(8) == 0 {
            self.look(trio);
        }
        for _ in 0..self.random(4) {
            if self.under_way.len() < 16 {
                self.ask(trio, connection);
            }
        }
    }

    fn pass(&mut self, trio: &mut Trio, time: Duration) {
        let end = trio.now + time;
        while trio.now < end {
            self.act(trio);
            trio.step();
        }
    }
}

/// What the control plane wants of the volume.
struct Wishes {
    sectors: usize,
    /// Snapshots, with the places that a primary told first.
    snapshots: BTreeMap<u64, Option<WriteSeq>>,
}

impl Wishes {
    fn new() -> Self {
        Self { sectors: SECTORS, snapshots: BTreeMap::new() }
    }

    /// Notes what was told, and wants more. Nodes that are cut off hear of it when the next configuration makes them.
    fn change(&mut self, client: &mut Client, trio: &mut Trio) {
        let told = trio.primary().map(|node| trio.snapshots(node)).unwrap_or_default();
        for (id, at) in told {
            self.snapshots.entry(id).and_modify(|place| *place = Some(place.unwrap_or(at)));
        }
        match client.random(6) {
            0 | 1 if self.sectors < SECTORS_MAX => {
                let more = GROWTH_SECTORS * (1 + client.random(12));
                self.sectors = SECTORS_MAX.min(self.sectors + more);
            }
            2 if (self.snapshots.len() as u64) < SNAPSHOTS_MAX => {
                self.snapshots.insert(self.snapshots.len() as u64 + 1, None);
            }
            _ => return,
        }
        self.tell(trio);
    }

    fn tell(&self, trio: &mut Trio) {
        let snapshots: Vec<_> = self.snapshots.iter().map(|(id, at)| (*id, *at)).collect();
        trio.want_sized((self.sectors * SECTOR_BYTES) as u64, &snapshots);
    }
}

/// Something fails, or is mended.
fn fail(client: &mut Client, trio: &mut Trio) {
    let node = client.random(NODES);
    let other = (node + 1 + client.random(NODES - 1)) % NODES;
    match client.random(14) {
        0 | 1 if !trio.down.contains(&node) => trio.kill(node),
        2..5 => {
            if let Some(node) = trio.down.first().copied() {
                trio.start(node);
            }
        }
        5 | 6 => trio.cut(node, other),
        7 => {
            trio.blocked.insert((node, other));
        }
        8 => trio.isolate(node),
        9 => {
            trio.cut_off.insert(node);
        }
        10 => trio.delay = Duration::from_millis(client.random(60) as u64),
        11 if client.random(4) == 0 => {
            (0..NODES)
                .filter(|node| !trio.down.contains(node))
                .collect::<Vec<_>>()
                .into_iter()
                .for_each(|node| trio.kill(node));
        }
        _ => trio.heal(),
    }
}

fn run(seed: u64) -> (u64, u64, u64) {
    let members_min = if seed.is_multiple_of(2) { 1 } else { 2 };
    let mut trio = Trio::sized(members_min, [128 * MIB; NODES], (SECTORS * SECTOR_BYTES) as u64);
    let mut wishes = Wishes::new();
    trio.nodes.iter_mut().enumerate().for_each(|(node, rig)| rig.seed(seed * 3 + node as u64));
    let mut client = Client::new(seed);
    for _ in 0..ROUNDS {
        fail(&mut client, &mut trio);
        wishes.change(&mut client, &mut trio);
        let time = [20, 100, 400, 1300][client.random(4)];
        client.pass(&mut trio, Duration::from_millis(time));
    }
    trio.heal();
    trio.delay = Duration::ZERO;
    while let Some(node) = trio.down.first().copied() {
        trio.start(node);
    }
    wishes.tell(&mut trio);
    client.pass(&mut trio, Duration::from_secs(4));
    trio.until_whole();
    let ids: Vec<u64> = wishes.snapshots.keys().copied().collect();
    trio.until("every snapshot is everywhere", |trio| (0..NODES).all(|node| trio.snapshots(node).len() == ids.len()));
    finish(&mut client, &mut trio);
    let changes = trio.decider.changes;
    let told: Vec<_> = (0..NODES).map(|node| trio.nodes[node].observed(1).map(|replica| replica.snapshots)).collect();
    let sizes = told.iter().flatten().map(|all| all.iter().map(|found| (found.id, found.at, found.size_bytes)));
    let sizes: BTreeSet<Vec<_>> = sizes.map(Iterator::collect).collect();
    assert_eq!(sizes.len(), 1, "snapshots have one place and one size everywhere");
    let (contents, snapshots) = trio.contents_with(&ids);
    assert!(contents.iter().all(|content| content.len() == wishes.sectors * SECTOR_BYTES), "all have the wanted size");
    assert!(contents.iter().all(|content| *content == contents[0]), "the replicas are equal");
    assert!(snapshots.iter().all(|all| *all == snapshots[0]), "so are their snapshots");
    (client.answered, changes, client.growths)
}

/// All is well again: everything is answered, and right.
fn finish(client: &mut Client, trio: &mut Trio) {
    trio.until("everything is answered", |trio| {
        if let Some(connection) = client.connection.filter(|connection| !trio.is_gone(*connection)) {
            client.hear(trio, connection);
            return client.under_way.is_empty();
        }
        (client.connection, client.under_way) = (None, Vec::new());
        true
    });
    let last = trio.connect();
    let data = trio.read(last, 0, u32::try_from(client.sectors * SECTOR_BYTES).unwrap());
    client.check(&(0..client.sectors), &data);
    trio.flush(last);
}

#[expect(clippy::disallowed_methods, reason = "whoever runs a test may say how long")]
fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Seeds that found something once: a volume grew while a group at its end was read for a learner.
const REGRESSIONS: [u64; 1] = [92];

#[test]
fn whatever_fails_a_client_reads_what_it_wrote() {
    let (first, count) = (number("FIRST", 1), number("SEEDS", 12));
    let mut totals = (0, 0, 0);
    for seed in REGRESSIONS.into_iter().chain(first..first + count) {
        let result = std::panic::catch_unwind(|| run(seed));
        match result {
            Ok((answered, changes, growths)) => {
                totals = (totals.0 + answered, totals.1 + changes, totals.2 + growths);
            }
            Err(reason) => {
                println!("again: FIRST={seed} SEEDS=1 cargo test --release -p node --test node whatever_fails");
                std::panic::resume_unwind(reason);
            }
        }
    }
    println!("{} requests answered, {} configurations, seen to grow {} times", totals.0, totals.1, totals.2);
    assert!(totals.0 > count * 100 && totals.1 > count * 5 && totals.2 > count, "{totals:?}");
}
