//! Relays between a client and a peer that the test plays itself.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use block::Outbox;
use nbd::{Exports, Session, Step};
use node::{ConnId, Relay};

use super::{RelayCounters, RelayFigures};
use crate::outbound::Outbound;
use crate::wake::Wake;

const PATIENCE: Duration = Duration::from_secs(20);
/// What a node greets with, and the flags a client answers with.
const GREETING: &[u8] = b"NBDMAGICIHAVEOPT\0\x03";
const CLIENT_FLAGS: &[u8] = &[0, 0, 0, 3];

struct Scene {
    outbound: Outbound,
    counters: Arc<RelayCounters>,
    listener: TcpListener,
}

impl Scene {
    fn new(relays_max: u32) -> Self {
        let counters = Arc::new(RelayCounters::default());
        let wake = Arc::new(Wake::new().expect("made"));
        let outbound = Outbound::start(relays_max, Arc::clone(&counters), wake).expect("started");
        Self { outbound, counters, listener: TcpListener::bind("127.0.0.1:0").expect("bound") }
    }

    /// Hands a client over; answers the test's end of it.
    fn hand_over(&self, upstream: &[u8], downstream: &[u8]) -> UnixStream {
        let (near, far) = UnixStream::pair().expect("a pair");
        far.set_read_timeout(Some(PATIENCE)).expect("set");
        let relay = Relay {
            address: self.listener.local_addr().expect("bound").to_string(),
            upstream: upstream.to_vec(),
            downstream: downstream.to_vec(),
            handshake: negotiated().relay().expect("it negotiates"),
        };
        self.outbound.relays.take(ConnId { slot: 0, generation: 0 }, near.into(), Box::new(relay));
        far
    }

    /// The peer's end, after it has greeted.
    fn peer(&self) -> TcpStream {
        let (mut peer, _) = self.listener.accept().expect("it comes");
        peer.set_read_timeout(Some(PATIENCE)).expect("set");
        peer.write_all(GREETING).expect("sent");
        peer
    }

    fn wait_for(&self, holds: impl Fn(RelayFigures) -> bool) {
        let start = Instant::now();
        while !holds(self.counters.figures()) {
            assert!(start.elapsed() < PATIENCE, "{:?}", self.counters.figures());
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// A session whose client has said which flags it takes.
fn negotiated() -> Session {
    let mut session = Session::new(&mut Outbox::default());
    let step = session.advance(CLIENT_FLAGS, &Exports::new(true), &mut Outbox::default());
    assert!(matches!(step, Step::Advanced { consumed: 4 }));
    session
}

fn expect(mut stream: impl Read, expected: &[u8]) {
    let mut found = vec![0; expected.len()];
    stream.read_exact(&mut found).expect("received");
    assert_eq!(found.escape_ascii().to_string(), expected.escape_ascii().to_string());
}

fn expect_end(mut stream: impl Read) {
    assert_eq!(stream.read(&mut [0]).unwrap_or(0), 0, "the connection stays");
}

#[test]
fn each_side_gets_what_it_is_owed_in_its_order() {
    let scene = Scene::new(1);
    let mut client = scene.hand_over(b"said before", b"owed");
    let mut peer = scene.peer();
    expect(&peer, b"said before");
    peer.write_all(b" and answered").expect("sent");
    expect(&client, b"owed and answered");
    client.write_all(b"more").expect("sent");
    expect(&peer, b"more");
}

#[test]
fn the_end_of_one_direction_is_passed_on_and_the_other_goes_on() {
    let scene = Scene::new(1);
    let client = scene.hand_over(b"", b"");
    let mut peer = scene.peer();
    client.shutdown(Shutdown::Write).expect("shut down");
    expect_end(&peer);
    peer.write_all(b"late answer").expect("sent");
    expect(&client, b"late answer");
    assert_eq!(scene.counters.figures().open, 1);
    drop(peer);
    expect_end(&client);
    scene.wait_for(|figures| figures == RelayFigures { open: 0, bytes: 11, failures: 0 });
}

#[test]
fn more_than_any_buffer_holds_passes_both_ways_at_once() {
    const BYTES: usize = 32 << 20;
    let scene = Scene::new(1);
    let client = scene.hand_over(b"", b"");
    let peer = scene.peer();
    let pattern = |seed: usize| -> Vec<u8> {
        (0..BYTES).map(|index| u8::try_from((index / 3 + index * seed) % 251).expect("small")).collect()
    };
    let (up, down) = (pattern(3), pattern(5));
    thread::scope(|scope| {
        scope.spawn(|| (&client).write_all(&up).expect("sent"));
        scope.spawn(|| (&peer).write_all(&down).expect("sent"));
        scope.spawn(|| {
            let mut found = vec![0; BYTES];
            (&peer).read_exact(&mut found).expect("received");
            assert!(found == up);
        });
        let mut found = vec![0; BYTES];
        (&client).read_exact(&mut found).expect("received");
        assert!(found == down);
    });
    assert_eq!(scene.counters.figures().bytes, 2 * BYTES as u64);
}

#[test]
fn a_side_that_fails_ends_the_other() {
    let scene = Scene::new(1);
    for client_first in [true, false] {
        let client = scene.hand_over(b"", b"");
        let peer = scene.peer();
        // With something unread, a close is a reset.
        (&client).write_all(b"never read").expect("sent");
        (&peer).write_all(b"never read").expect("sent");
        scene.wait_for(|figures| figures.bytes == if client_first { 20 } else { 40 });
        if client_first {
            drop(client);
            expect(&peer, b"never read");
            expect_end(&peer);
        } else {
            drop(peer);
            expect(&client, b"never read");
            expect_end(&client);
        }
        scene.wait_for(|figures| figures.open == 0);
    }
}

#[test]
fn there_are_as_many_as_there_may_be_and_no_more() {
    let scene = Scene::new(2);
    let clients = [scene.hand_over(b"", b""), scene.hand_over(b"", b"")];
    let peers = [scene.peer(), scene.peer()];
    expect_end(scene.hand_over(b"", b""));
    assert_eq!(scene.counters.figures().failures, 1);
    drop((clients, peers));
    scene.wait_for(|figures| figures.open == 0);
    let client = scene.hand_over(b"", b"again");
    let _peer = scene.peer();
    expect(&client, b"again");
}

#[test]
fn a_stop_ends_them_all_and_takes_no_more() {
    let mut scene = Scene::new(2);
    // One is open, the other waits for its peer's greeting.
    let clients = [scene.hand_over(b"", b"x"), scene.hand_over(b"", b"")];
    let open = scene.peer();
    let (waiting, _) = scene.listener.accept().expect("it comes");
    scene.outbound.stop();
    let mut rest = Vec::new();
    (&clients[0]).read_to_end(&mut rest).expect("ended");
    expect_end(&clients[1]);
    expect_end(&waiting);
    expect_end(&open);
    expect_end(scene.hand_over(b"", b""));
}

#[test]
fn a_peer_that_is_no_node_is_not_believed() {
    let scene = Scene::new(1);
    let client = scene.hand_over(b"", b"owed");
    let (mut peer, _) = scene.listener.accept().expect("it comes");
    peer.write_all(b"SSH-2.0-OpenSSH_9.6 and more").expect("sent");
    expect_end(&client);
    scene.wait_for(|figures| figures == RelayFigures { open: 0, bytes: 0, failures: 1 });
}
