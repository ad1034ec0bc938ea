//! Volumes with three replicas, and nodes that die under them.

use std::collections::BTreeMap;
use std::io;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tests::cluster::{Cluster, parts};
use tests::nbd::{self, Client, Kind, Request};
use tests::random::Random;
use tests::stamp::{self, Content};
use tests::wait;

/// Blocks that are written.
const BLOCKS: u64 = 256;
/// How long a connection may be silent before the client goes elsewhere.
const PATIENCE: Duration = Duration::from_secs(2);
/// Longest time without an acknowledgement when the primary dies.
const GAP_MAX: Duration = Duration::from_secs(5);
const ROUNDS: u64 = 3;

/// A client that comes back, through any node, and makes its last request again.
struct Writer {
    uris: Vec<String>,
    next_uri: usize,
    client: Option<Client<TcpStream>>,
    random: Random,
    seq: u64,
    /// The last acknowledged write of every block.
    acked: BTreeMap<u64, u64>,
    last: Instant,
    /// Between two acknowledgements, since it was looked at last.
    longest: Duration,
}

impl Writer {
    fn new(uris: Vec<String>, seed: u64) -> Self {
        let random = Random::seeded(seed);
        let (last, longest) = (Instant::now(), Duration::ZERO);
        Self { uris, next_uri: 0, client: None, random, seq: 0, acked: BTreeMap::new(), last, longest }
    }

    fn connect(&mut self) -> io::Result<()> {
        let (address, export) = parts(&self.uris[self.next_uri % self.uris.len()]);
        self.next_uri += 1;
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        nbd::bound(&stream, PATIENCE);
        stream.set_nodelay(true)?;
        match Client::try_open(stream, export)? {
            Ok(client) => self.client = Some(client),
            Err(_refused) => return Err(io::ErrorKind::NotFound.into()),
        }
        Ok(())
    }

    fn ask(&mut self, kind: Kind, block: u64, payload: &[u8]) -> io::Result<()> {
        if self.client.is_none() {
            self.connect()?;
        }
        let client = self.client.as_mut().unwrap();
        let len_bytes = u32::try_from(payload.len()).unwrap();
        let offset = block * stamp::BLOCK as u64;
        client.send(Request { kind, flags: 0, cookie: self.seq, offset, len_bytes }, payload)?;
        let reply = client.receive()?;
        assert_eq!((reply.cookie, reply.error), (self.seq, 0), "no error reaches a client");
        Ok(())
    }

    /// Until it is done, wherever.
    fn insist(&mut self, kind: Kind, block: u64, payload: &[u8]) {
        while self.ask(kind, block, payload).is_err() {
            self.client = None;
            assert!(self.last.elapsed() < Duration::from_secs(30), "nobody serves the volume");
            thread::sleep(Duration::from_millis(20));
        }
        let now = Instant::now();
        self.longest = self.longest.max(now - self.last);
        self.last = now;
    }

    fn write(&mut self) {
        let block = self.random.below(BLOCKS);
        self.seq += 1;
        let mut bytes = Vec::new();
        stamp::encode(block, self.seq, &mut bytes);
        self.insist(Kind::Write, block, &bytes);
        self.acked.insert(block, self.seq);
        if self.random.one_in(16) {
            self.insist(Kind::Flush, 0, &[]);
        }
    }

    fn move_to(&mut self, uris: Vec<String>) {
        self.uris = uris;
        self.client = None;
        self.last = Instant::now();
    }

    /// Everything that was acknowledged is there, through every node.
    fn check(&mut self) {
        for uri in self.uris.clone() {
            let (address, export) = parts(&uri);
            let mut client = Client::open(TcpStream::connect(address).unwrap(), export).unwrap();
            for (block, seq) in &self.acked {
                let bytes = client.read(block * stamp::BLOCK as u64, 4096).unwrap();
                assert_eq!(stamp::decode(*block, &bytes), Ok(Content::Stamped(*seq)), "through {uri}");
            }
        }
    }
}

fn replicas_in_sync(cluster: &Cluster) -> usize {
    let volume = cluster.json(&["volume", "show", "db"]);
    let replicas = volume["replicas"].as_array().unwrap();
    replicas.iter().filter(|replica| replica["role"]["in_sync"] == true).count()
}

/// The node that serves the volume; waits until one does.
pub fn primary(cluster: &Cluster) -> String {
    wait::until("a primary", || {
        let volume = cluster.json(&["volume", "show", "db"]);
        let replicas = volume["replicas"].as_array().unwrap();
        let primary = replicas.iter().find(|replica| replica["role"]["name"] == "primary")?;
        Some(primary["node"].as_str().unwrap().to_owned())
    })
}

/// Waits until every replica counts.
pub fn whole(cluster: &Cluster) {
    wait::until("three replicas to be in sync", || (replicas_in_sync(cluster) == 3).then_some(()));
}

/// A cluster with a volume that has a replica on every node.
pub fn replicated() -> Cluster {
    let cluster = Cluster::on_loopback();
    wait::until("all nodes to be heard", || (cluster.status()?["nodes_up"] == 3).then_some(()));
    cluster.run(&["volume", "create", "db", "--size", "64MiB", "--replicas", "3"]);
    whole(&cluster);
    cluster
}

#[test]
fn nothing_acknowledged_is_lost_when_primaries_are_killed() {
    let mut cluster = replicated();
    let mut writer = Writer::new(cluster.shell().attach("db", "host1"), 1);
    (0..200).for_each(|_| writer.write());
    for round in 0..ROUNDS {
        let killed = primary(&cluster);
        let stop = AtomicBool::new(false);
        writer.longest = Duration::ZERO;
        thread::scope(|scope| {
            let writing = scope.spawn(|| {
                writer.last = Instant::now();
                while !stop.load(Ordering::Relaxed) {
                    writer.write();
                }
            });
            thread::sleep(Duration::from_millis(500));
            cluster.kill_node(&killed);
            thread::sleep(Duration::from_secs(6));
            stop.store(true, Ordering::Relaxed);
            writing.join().unwrap();
        });
        println!("round {round}: {killed} was killed, {:.1?} without an acknowledgement", writer.longest);
        assert!(writer.longest < GAP_MAX, "{:?}", writer.longest);
        assert_ne!(primary(&cluster), killed);
        cluster.start_node(&killed);
        whole(&cluster);
        // It listens elsewhere now.
        writer.move_to(cluster.shell().attach("db", "host1"));
        writer.check();
    }
    cluster.run(&["volume", "detach", "db", "--client", "host1"]);
    cluster.run(&["volume", "delete", "db"]);
}

#[test]
fn a_backup_that_dies_is_missed_for_a_moment_only() {
    let mut cluster = replicated();
    let serving = primary(&cluster);
    let backup = ["n1", "n2", "n3"].into_iter().find(|node| *node != serving).unwrap();
    let mut writer = Writer::new(cluster.shell().attach("db", "host1"), 2);
    (0..200).for_each(|_| writer.write());
    writer.longest = Duration::ZERO;
    cluster.kill_node(backup);
    (0..2000).for_each(|_| writer.write());
    println!("{:.1?} without an acknowledgement", writer.longest);
    assert!(writer.longest < GAP_MAX, "{:?}", writer.longest);
    assert_eq!(replicas_in_sync(&cluster), 2);
    cluster.start_node(backup);
    whole(&cluster);
    writer.move_to(cluster.shell().attach("db", "host1"));
    writer.check();
}
