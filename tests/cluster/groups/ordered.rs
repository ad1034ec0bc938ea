//! A writer whose writes depend on each other, over two volumes, and what it demands of two snapshots that are to show one
//! instant: every write to the second volume was made after the same one to the first had been acknowledged.

use std::io;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tests::cluster::parts;
use tests::nbd::{self, Client, Kind, Request};

/// Blocks that numbers go to, one after the other and then again. So many writes take longer than one that was given up
/// can still be on its way: an old number never comes back into a block.
pub const SLOTS: u64 = 16_384;
const BLOCK: usize = 4096;
/// How long a connection may be silent.
const SILENCE_MAX: Duration = Duration::from_secs(1);
/// How long a volume may not be served.
const UNSERVED_MAX: Duration = Duration::from_secs(60);
/// Numbers before the snapshots that are looked at as well.
const BEFORE: u64 = 64;
/// Blocks of one read.
const READ_MAX: u64 = 256;

/// A volume, through whichever node serves it.
pub struct Door {
    uris: Vec<String>,
    next: usize,
    client: Option<Client<TcpStream>>,
}

impl Door {
    pub fn new(uris: Vec<String>) -> Self {
        Self { uris, next: 0, client: None }
    }

    fn client(&mut self) -> io::Result<&mut Client<TcpStream>> {
        if self.client.is_none() {
            let (address, export) = parts(&self.uris[self.next % self.uris.len()]);
            self.next += 1;
            let stream = TcpStream::connect_timeout(&address, SILENCE_MAX)?;
            nbd::bound(&stream, SILENCE_MAX);
            stream.set_nodelay(true)?;
            let client = Client::try_open(stream, export)?.map_err(|_refused| io::ErrorKind::NotFound)?;
            self.client = Some(client);
        }
        Ok(self.client.as_mut().expect("just connected"))
    }

    fn write(&mut self, number: u64) -> io::Result<()> {
        let payload = number.to_le_bytes().repeat(BLOCK / 8);
        let offset = (number % SLOTS) * BLOCK as u64;
        let client = self.client()?;
        let len_bytes = u32::try_from(BLOCK).expect("small");
        client.send(Request { kind: Kind::Write, flags: 0, cookie: number, offset, len_bytes }, &payload)?;
        let reply = client.receive()?;
        assert_eq!((reply.cookie, reply.error), (number, 0), "no error reaches a client");
        Ok(())
    }

    fn read(&mut self, first: u64, count: u64) -> io::Result<Vec<u8>> {
        let len_bytes = u32::try_from(count * BLOCK as u64).expect("1 MiB");
        let mut data = vec![0; len_bytes as usize];
        let client = self.client()?;
        let offset = first * BLOCK as u64;
        client.send(Request { kind: Kind::Read, flags: 0, cookie: first, offset, len_bytes }, &[])?;
        let reply = client.receive()?;
        assert_eq!((reply.cookie, reply.error), (first, 0), "no error reaches a client");
        client.receive_data(&mut data)?;
        Ok(data)
    }

    /// Until it is done, wherever. False if it was to stop before.
    fn insist(&mut self, number: u64, stop: &AtomicBool) -> bool {
        let since = Instant::now();
        while self.write(number).is_err() {
            self.client = None;
            if stop.load(Ordering::Relaxed) {
                return false;
            }
            assert!(since.elapsed() < UNSERVED_MAX, "{:?} did not serve within {UNSERVED_MAX:?}", self.uris);
            thread::sleep(Duration::from_millis(10));
        }
        true
    }

    /// What each of these blocks says, the first of them being that of `from`.
    ///
    /// # Errors
    /// Nobody serves the volume.
    ///
    /// # Panics
    /// When a block holds two numbers.
    fn numbers(&mut self, from: u64, count: u64) -> Result<Vec<u64>, String> {
        let mut found = Vec::new();
        while (found.len() as u64) < count {
            let first = (from + found.len() as u64) % SLOTS;
            let some = READ_MAX.min(count - found.len() as u64).min(SLOTS - first);
            let bytes = self.insist_on_reading(first, some)?;
            found.extend(bytes.chunks_exact(BLOCK).map(number_of));
        }
        Ok(found)
    }

    fn insist_on_reading(&mut self, first: u64, count: u64) -> Result<Vec<u8>, String> {
        let since = Instant::now();
        loop {
            match self.read(first, count) {
                Ok(bytes) => return Ok(bytes),
                Err(error) if since.elapsed() > UNSERVED_MAX => {
                    return Err(format!("{:?} is not served: {error}", self.uris));
                }
                Err(_) => {}
            }
            self.client = None;
            thread::sleep(Duration::from_millis(10));
        }
    }
}

fn number_of(block: &[u8]) -> u64 {
    let number = u64::from_le_bytes(block[..8].try_into().expect("8 bytes"));
    assert!(block.chunks_exact(8).all(|word| word == &block[..8]), "half of one write and half of another");
    number
}

/// How far the writer is.
#[derive(Debug, Default)]
pub struct Progress {
    acknowledged: AtomicU64,
}

impl Progress {
    /// The newest number that was acknowledged by both volumes.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::SeqCst)
    }
}

/// Writes every number to one volume and then to the other, until it is stopped.
pub fn write(cause: &mut Door, effect: &mut Door, progress: &Progress, stop: &AtomicBool) {
    for number in 1.. {
        if stop.load(Ordering::Relaxed) || !cause.insist(number, stop) || !effect.insist(number, stop) {
            return;
        }
        progress.acknowledged.store(number, Ordering::SeqCst);
    }
}

/// Numbers around the time at which snapshots were taken.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// Acknowledged before.
    pub before: u64,
    /// Acknowledged afterwards.
    pub after: u64,
}

/// What two snapshots show.
#[derive(Clone, Copy, Debug)]
pub struct Shown {
    /// The newest number of each.
    pub cause: u64,
    pub effect: u64,
}

/// What the snapshots of both volumes hold is one instant of the writer's.
///
/// # Errors
/// What is not.
pub fn check(cause: &mut Door, effect: &mut Door, window: Window) -> Result<Shown, String> {
    // One pair may have been acknowledged and not counted yet, and the next cause been written.
    let end = window.after + 3;
    let from = window.before.saturating_sub(BEFORE).max(end.saturating_sub(SLOTS - 1)).max(1);
    let newest = |door: &mut Door| prefix(from, &door.numbers(from, end - from)?);
    let shown = Shown { cause: newest(cause)?, effect: newest(effect)? };
    match shown {
        _ if shown.effect > shown.cause => Err(format!("{shown:?}: an effect without its cause")),
        _ if shown.cause > shown.effect + 1 => Err(format!("{shown:?}: a cause whose effect was acknowledged before")),
        _ if shown.effect < window.before => {
            Err(format!("{shown:?}: number {} was acknowledged before", window.before))
        }
        _ => Ok(shown),
    }
}

/// The newest number of consecutive blocks of which the first is that of `from`; all before it are there, and none after.
fn prefix(from: u64, found: &[u64]) -> Result<u64, String> {
    let there = (from..).zip(found).take_while(|(number, found)| number == *found).count();
    let newest = from + there as u64 - 1;
    let later = (from..).zip(found).skip(there).find(|(number, found)| **found != number.saturating_sub(SLOTS));
    match later {
        Some((number, found)) => Err(format!("{newest} is there, and the block of {number} holds {found}")),
        None => Ok(newest),
    }
}

#[test]
fn a_prefix_has_no_hole_and_no_number_of_another_round() {
    let old = |number: u64| number - SLOTS;
    let from = 3 * SLOTS + 5;
    assert_eq!(prefix(from, &[from, from + 1, old(from + 2)]), Ok(from + 1));
    assert_eq!(prefix(from, &[old(from)]), Ok(from - 1));
    assert!(prefix(from, &[from, old(from + 1), from + 2]).is_err(), "a hole");
    assert!(prefix(from, &[from, old(old(from + 1))]).is_err(), "a write that was lost a round ago");
    assert_eq!(prefix(1, &[1, 2, 0]), Ok(2));
}
