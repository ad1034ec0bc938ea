//! A writer that connects again, and bytes of its older connection that arrive later.
//!
//! A proxy stands between the writer and a node and holds bytes back, as a dead socket's queue or a slow path would. The
//! control experiment shows that what it holds would be applied if nobody had come in between.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use tests::cluster::{A_WHILE, Cluster, parts};
use tests::nbd::{Client, Kind, Request};
use tests::wait;

const BLOCK: usize = 4096;
/// Header and payload of the write that is held back.
const W1_BYTES: usize = 28 + BLOCK;

/// How many bytes the client may say; the rest waits here.
#[derive(Debug)]
struct Gate {
    allowed: Mutex<u64>,
    opened: Condvar,
    arrived: AtomicU64,
    passed: AtomicU64,
}

impl Gate {
    fn allow(&self, bytes: u64) {
        *self.allowed.lock().unwrap() = bytes;
        self.opened.notify_all();
    }

    fn pass(&self, mut from: TcpStream, mut to: TcpStream) {
        let mut buffer = [0; 16 << 10];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            self.arrived.fetch_add(count as u64, Ordering::AcqRel);
            let mut rest = &buffer[..count];
            while !rest.is_empty() {
                let room = self.room();
                let part = rest.len().min(usize::try_from(room).unwrap_or(usize::MAX));
                // The other side may have ended; what matters is what it does with what it gets.
                if to.write_all(&rest[..part]).is_err() {
                    return;
                }
                self.passed.fetch_add(part as u64, Ordering::AcqRel);
                rest = &rest[part..];
            }
        }
    }

    /// Waits until at least one byte may pass.
    fn room(&self) -> u64 {
        let passed = self.passed.load(Ordering::Acquire);
        let mut allowed = self.allowed.lock().unwrap();
        while *allowed <= passed {
            allowed = self.opened.wait(allowed).unwrap();
        }
        *allowed - passed
    }
}

/// A way to a node on which the client's bytes can be held.
struct Proxy {
    address: SocketAddr,
    gate: Arc<Gate>,
}

impl Proxy {
    fn to(node: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let gate = Arc::new(Gate {
            allowed: Mutex::new(u64::MAX),
            opened: Condvar::new(),
            arrived: AtomicU64::new(0),
            passed: AtomicU64::new(0),
        });
        let inner = Arc::clone(&gate);
        thread::spawn(move || {
            let (client, _) = listener.accept().unwrap();
            let server = TcpStream::connect(node).unwrap();
            let (mut back, mut answers) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            thread::spawn(move || {
                let _ended = std::io::copy(&mut answers, &mut back);
                let _gone = back.shutdown(Shutdown::Both);
            });
            inner.pass(client, server);
        });
        Self { address, gate }
    }

    /// Lets so many more bytes pass and holds what follows.
    fn hold_after(&self, bytes: u64) {
        self.gate.allow(self.gate.passed.load(Ordering::Acquire) + bytes);
    }

    fn wait_for(&self, arrived: u64, passed: u64) {
        wait::until("the bytes to be at the proxy", || {
            let is_there = self.gate.arrived.load(Ordering::Acquire) >= arrived;
            (is_there && self.gate.passed.load(Ordering::Acquire) >= passed).then_some(())
        });
    }

    fn release(&self) {
        self.gate.allow(u64::MAX);
    }
}

fn connect(address: SocketAddr, export: &str) -> Client<TcpStream> {
    Client::open(TcpStream::connect(address).unwrap(), export).unwrap()
}

fn filled(byte: u8) -> [u8; BLOCK] {
    [byte; BLOCK]
}

/// A client whose write of 1 is under way, `sent` bytes of it at the node and the rest at the proxy.
fn with_a_held_write(uri: &str, sent: usize) -> (Client<TcpStream>, Proxy) {
    let (address, export) = parts(uri);
    let proxy = Proxy::to(address);
    let mut old = connect(proxy.address, export);
    old.write(0, &filled(0), 0).unwrap();
    let before = proxy.gate.passed.load(Ordering::Acquire);
    proxy.hold_after(sent as u64);
    let request = Request { kind: Kind::Write, flags: 0, cookie: 77, offset: 0, len_bytes: 4096 };
    old.send(request, &filled(1)).unwrap();
    proxy.wait_for(before + W1_BYTES as u64, before + sent as u64);
    (old, proxy)
}

/// Parts of the held write that reach the node at once: nothing, half a header, half the payload, all but a byte.
const SENT: [usize; 4] = [0, 14, 28 + BLOCK / 2, W1_BYTES - 1];

fn late_bytes_are_never_applied(replicas: &str) {
    let cluster = Cluster::on_loopback();
    let shell = cluster.shell();
    shell.run(&["volume", "create", "db", "--size", "16MiB", "--replicas", replicas]);
    let uris = shell.attach("db", "host1");
    for (round, old_uri) in uris.iter().enumerate() {
        for (case, sent) in SENT.into_iter().enumerate() {
            let (mut old, proxy) = with_a_held_write(old_uri, sent);
            let (address, export) = parts(&uris[(round + case) % uris.len()]);
            let mut new = connect(address, export);
            new.write(0, &filled(2), 0).unwrap();
            proxy.release();
            // Whether the node takes the bytes or has closed the connection: they end there, and the old client sees it.
            assert!(old.receive().is_err(), "the older connection is answered nothing");
            thread::sleep(A_WHILE);
            assert_eq!(new.read(0, 4096).unwrap(), filled(2), "from {old_uri}, {sent} bytes before the takeover");
        }
    }
}

#[test]
fn bytes_of_a_connection_that_was_taken_over_are_never_applied() {
    late_bytes_are_never_applied("1");
}

#[test]
fn bytes_of_a_connection_that_was_taken_over_are_never_applied_to_replicas() {
    late_bytes_are_never_applied("3");
}

#[test]
fn held_bytes_are_applied_when_nobody_took_over() {
    let cluster = Cluster::on_loopback();
    let shell = cluster.shell();
    shell.run(&["volume", "create", "db", "--size", "16MiB"]);
    let uris = shell.attach("db", "host1");
    for (uri, sent) in uris.iter().zip(SENT) {
        let (mut old, proxy) = with_a_held_write(uri, sent);
        proxy.release();
        assert_eq!(old.receive().unwrap().error, 0);
        assert_eq!(old.read(0, 4096).unwrap(), filled(1), "the proxy passes on what it held");
    }
}
