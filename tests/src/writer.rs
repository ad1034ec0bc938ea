//! A client of a replicated volume that writes, comes back through any node, and knows what must be there.

use std::collections::BTreeMap;
use std::io;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use crate::cluster::{Cluster, parts};
use crate::nbd::{self, Client, Kind, Request};
use crate::random::Random;
use crate::stamp::{self, Content};
use crate::wait;

/// Blocks that are written.
const BLOCKS: u64 = 256;
/// How long a connection may be silent before the client goes elsewhere.
const PATIENCE: Duration = Duration::from_secs(2);

/// A client that comes back, through any node, and makes its last request again.
pub struct Writer {
    uris: Vec<String>,
    next_uri: usize,
    client: Option<Client<TcpStream>>,
    random: Random,
    seq: u64,
    /// The last acknowledged write of every block.
    acked: BTreeMap<u64, u64>,
    /// When one was acknowledged last.
    pub last: Instant,
    /// Between two acknowledgements, since it was looked at last.
    pub longest: Duration,
}

impl Writer {
    /// One that has written nothing.
    #[must_use]
    pub fn new(uris: Vec<String>, seed: u64) -> Self {
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
        let client = self.client.as_mut().expect("connected");
        let len_bytes = u32::try_from(payload.len()).expect("a small payload");
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

    /// Writes a block, and sometimes flushes.
    ///
    /// # Panics
    /// When nobody serves the volume.
    pub fn write(&mut self) {
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

    /// The volume is reached elsewhere now.
    pub fn move_to(&mut self, uris: Vec<String>) {
        self.uris = uris;
        self.client = None;
        self.last = Instant::now();
    }

    /// Everything that was acknowledged is there, through every node.
    ///
    /// # Panics
    /// When it is not.
    pub fn check(&mut self) {
        for uri in self.uris.clone() {
            let (address, export) = parts(&uri);
            let mut client = Client::open(TcpStream::connect(address).expect("a client is let in and served"), export)
                .expect("a client is let in and served");
            for (block, seq) in &self.acked {
                let bytes = client.read(block * stamp::BLOCK as u64, 4096).expect("a client is let in and served");
                assert_eq!(stamp::decode(*block, &bytes), Ok(Content::Stamped(*seq)), "through {uri}");
            }
        }
    }
}

/// Replicas of the volume `db` that are in sync.
///
/// # Panics
/// When it is no replicated volume.
#[must_use]
pub fn replicas_in_sync(cluster: &Cluster) -> usize {
    let volume = cluster.json(&["volume", "show", "db"]);
    let replicas = volume["replicas"].as_array().expect("replicas have roles and nodes");
    replicas.iter().filter(|replica| replica["role"]["in_sync"] == true).count()
}

/// The node of the primary of the volume `db`; waits until there is one.
///
/// # Panics
/// When there is none in time.
#[must_use]
pub fn primary(cluster: &Cluster) -> String {
    wait::until("a primary", || {
        let volume = cluster.json(&["volume", "show", "db"]);
        let replicas = volume["replicas"].as_array()?;
        let primary = replicas.iter().find(|replica| replica["role"]["name"] == "primary")?;
        primary["node"].as_str().map(str::to_owned)
    })
}

/// Waits until the volume `db` has three replicas in sync.
pub fn whole(cluster: &Cluster) {
    wait::until("three replicas to be in sync", || (replicas_in_sync(cluster) == 3).then_some(()));
}
