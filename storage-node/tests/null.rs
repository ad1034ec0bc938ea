//! The real reactor and real sessions on real sockets, with nothing behind them.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use storage_node::{Address, Addresses, NULL_EXPORT, StorageNode};
use tokio::runtime::Runtime;

const SIZE_BYTES: u64 = 1 << 30;
const PATIENCE: Duration = Duration::from_secs(20);
const READ: u16 = 0;
const WRITE: u16 = 1;

struct Server {
    runtime: Runtime,
    node: StorageNode,
}

impl Server {
    fn start(addresses: &[Address]) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("built");
        let addresses = Addresses { nbd: addresses.to_vec(), http: None };
        let node = runtime.block_on(StorageNode::start_null(SIZE_BYTES, &addresses)).expect("started");
        runtime.block_on(node.control().listen()).expect("it runs");
        Self { runtime, node }
    }

    fn on_a_port() -> Self {
        Self::start(&[Address::Tcp(([127, 0, 0, 1], 0).into())])
    }

    fn port(&self) -> SocketAddr {
        match &self.node.addresses().nbd[0] {
            Address::Tcp(address) => *address,
            Address::Unix(path) => panic!("{} is no port", path.display()),
        }
    }

    fn client(&self) -> Client<TcpStream> {
        let stream = TcpStream::connect(self.port()).expect("connected");
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        stream.set_write_timeout(Some(PATIENCE)).expect("set");
        Client::open(stream)
    }

    fn stop(mut self) {
        self.runtime.block_on(async {
            self.node.control().stop().await;
            tokio::time::timeout(PATIENCE, self.node.ended()).await.expect("in time").expect("in order");
        });
    }
}

/// An NBD client as far as these tests need one: EXPORT_NAME, simple replies.
struct Client<S>(S);

impl<S: Read + Write> Client<S> {
    fn open(mut stream: S) -> Self {
        let mut greeting = [0; 18];
        stream.read_exact(&mut greeting).expect("a greeting");
        assert_eq!(&greeting[..16], b"NBDMAGICIHAVEOPT");
        let mut hello = 3_u32.to_be_bytes().to_vec();
        hello.extend_from_slice(b"IHAVEOPT");
        hello.extend_from_slice(&1_u32.to_be_bytes());
        hello.extend_from_slice(&u32::try_from(NULL_EXPORT.len()).expect("short").to_be_bytes());
        hello.extend_from_slice(NULL_EXPORT.as_bytes());
        stream.write_all(&hello).expect("sent");
        let mut export = [0; 10];
        stream.read_exact(&mut export).expect("an export");
        assert_eq!(export[..8], SIZE_BYTES.to_be_bytes());
        Self(stream)
    }

    fn send(&mut self, command: u16, cookie: u64, len_bytes: u32, payload: &[u8]) {
        self.0.write_all(&request(command, cookie, len_bytes, payload)).expect("sent");
    }

    fn expect_reply(&mut self, cookie: u64, payload_bytes: usize) {
        let mut reply = vec![0; 16 + payload_bytes];
        self.0.read_exact(&mut reply).expect("a reply");
        assert_eq!(reply[..4], 0x6744_6698_u32.to_be_bytes());
        assert_eq!(reply[4..8], [0; 4], "no error");
        assert_eq!(reply[8..16], cookie.to_be_bytes());
        assert!(reply[16..].iter().all(|byte| *byte == 0));
    }
}

fn request(command: u16, cookie: u64, len_bytes: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = 0x2560_9513_u32.to_be_bytes().to_vec();
    bytes.extend_from_slice(&0_u16.to_be_bytes());
    bytes.extend_from_slice(&command.to_be_bytes());
    bytes.extend_from_slice(&cookie.to_be_bytes());
    bytes.extend_from_slice(&0_u64.to_be_bytes());
    bytes.extend_from_slice(&len_bytes.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

#[test]
fn requests_are_answered_in_whatever_pieces_they_come() {
    let server = Server::on_a_port();
    let mut client = server.client();
    let mut stream = Vec::new();
    for cookie in 0..20 {
        stream.extend(request(WRITE, cookie, 5000, &[7; 5000]));
        stream.extend(request(READ, 100 + cookie, 3000, &[]));
    }
    for (index, piece) in stream.chunks(977).enumerate() {
        client.0.write_all(piece).expect("sent");
        if index % 16 == 0 {
            std::thread::yield_now();
        }
    }
    for cookie in 0..20 {
        client.expect_reply(cookie, 0);
        client.expect_reply(100 + cookie, 3000);
    }
    server.stop();
}

#[test]
fn payloads_larger_than_any_buffer_pass_in_both_directions() {
    let server = Server::on_a_port();
    let mut client = server.client();
    let large = vec![1; 32 << 20];
    client.send(WRITE, 1, 32 << 20, &large);
    client.expect_reply(1, 0);
    client.send(READ, 2, 32 << 20, &[]);
    client.expect_reply(2, 32 << 20);
    server.stop();
}

#[test]
fn a_client_that_takes_no_replies_is_not_read_from_and_delays_nobody() {
    let server = Server::on_a_port();
    let mut greedy = server.client();
    greedy.0.set_write_timeout(Some(Duration::from_millis(300))).expect("set");
    // Terabytes of replies, if the server went along.
    let requests = request(READ, 1, 1 << 20, &[]).repeat(2000);
    let taken = (0..2000).take_while(|_| greedy.0.write_all(&requests).is_ok());
    assert!(taken.count() < 2000, "the server stopped reading");
    let mut other = server.client();
    other.send(READ, 1, 4096, &[]);
    other.expect_reply(1, 4096);
    server.stop();
}

#[test]
fn clients_come_and_go_at_any_point() {
    let server = Server::on_a_port();
    for round in 0..200 {
        let mut client = server.client();
        match round % 4 {
            // In the middle of a payload.
            0 => client.send(WRITE, 1, 100_000, &[0; 100]),
            // With replies on their way.
            1 => client.send(READ, 1, 1 << 20, &[]),
            // Half closed.
            2 => client.0.shutdown(Shutdown::Write).expect("shut down"),
            _ => {}
        }
    }
    // Before they said anything.
    for _ in 0..50 {
        drop(TcpStream::connect(server.port()).expect("connected"));
    }
    let mut client = server.client();
    client.send(WRITE, 9, 4096, &[0; 4096]);
    client.expect_reply(9, 0);
    server.stop();
}

#[test]
fn hundreds_of_connections_are_served_at_once() {
    let server = Server::on_a_port();
    let mut clients: Vec<_> = (0..300).map(|_| server.client()).collect();
    for (cookie, client) in (0..).zip(&mut clients) {
        client.send(READ, cookie, 4096, &[]);
    }
    for (cookie, client) in (0..).zip(&mut clients) {
        client.expect_reply(cookie, 4096);
    }
    server.stop();
}

#[test]
fn a_stop_ends_connections_and_frees_the_addresses_at_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("socket");
    let server = Server::start(&[Address::Tcp(([127, 0, 0, 1], 0).into()), Address::Unix(socket.clone())]);
    let port = server.port();
    let mut over_tcp = server.client();
    let mut over_unix = Client::open(UnixStream::connect(&socket).expect("connected"));
    over_unix.send(READ, 1, 4096, &[]);
    over_unix.expect_reply(1, 4096);
    server.stop();
    let end = over_tcp.0.read(&mut [0; 1]);
    assert!(
        matches!(&end, Ok(0)) || matches!(&end, Err(error) if error.kind() == ErrorKind::ConnectionReset),
        "{end:?}"
    );
    assert!(!socket.exists(), "the socket's file is gone");
    Server::start(&[Address::Tcp(port), Address::Unix(socket)]).stop();
}

#[test]
fn figures_are_told_while_it_serves() {
    let server = Server::on_a_port();
    let mut client = server.client();
    for cookie in 0..100 {
        client.send(READ, cookie, 4096, &[]);
        client.expect_reply(cookie, 4096);
    }
    let figures = server.runtime.block_on(server.node.control().figures()).expect("told");
    assert_eq!(figures.connections, 1);
    assert!(figures.turns.enters >= 100, "{:?}", figures.turns);
    server.stop();
}
