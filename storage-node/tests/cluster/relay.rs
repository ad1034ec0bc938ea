//! Clients of one node that use a volume of another.

use std::io::{ErrorKind, Write};
use std::net::TcpListener;

use crate::client::{Client, Refusal, Replies};
use crate::intents::{VOLUME_BYTES, attached, change, export, pool_of, route, whole};
use crate::leader::{Leader, Stream};
use crate::member::{Member, eventually};

/// Two nodes: volume `v1` is on the first, and the second knows where.
struct Pair {
    holder: Member,
    other: Member,
    _leader: Leader,
    /// The other's.
    stream: Stream,
}

impl Pair {
    fn new() -> Self {
        let leader = Leader::new();
        let holder = Member::new("holder", &leader);
        let held = leader.stream();
        let pool = pool_of(&held.report());
        held.intend(whole(1, vec![attached(&pool, 1, 1)]));
        held.until_holding(1, 1);
        let other = Member::new("other", &leader);
        let stream = leader.stream();
        stream.report();
        stream.intend(whole(2, Vec::new()));
        let pair = Self { holder, other, _leader: leader, stream };
        pair.route(3, &pair.holder.peers());
        pair
    }

    /// Tells the other node where `v1` is.
    fn route(&self, revision: u64, address: &str) {
        let mut intent = change(revision, Vec::new());
        intent.routes.push(route(1, address));
        self.stream.intend(intent);
        self.stream.until_holding(revision, 0);
    }

    /// A client of `v1` that came to the other node.
    fn client(&self, replies: Replies) -> Client {
        Client::open(self.other.nbd(), &export(1), replies).expect("connected through")
    }
}

fn pattern(len_bytes: usize, seed: usize) -> Vec<u8> {
    (0..len_bytes).map(|index| u8::try_from((index / 7 + index * seed) % 251).unwrap()).collect()
}

#[test]
fn a_client_uses_a_volume_of_another_node_as_if_it_were_here() {
    let pair = Pair::new();
    for (replies, seed) in [(Replies::Simple, 3), (Replies::Structured, 5)] {
        let mut client = pair.client(replies);
        assert_eq!(client.size_bytes, VOLUME_BYTES);
        let bytes = pattern(5 << 20, seed);
        client.write(12_288, &bytes).unwrap();
        client.write(1, b"small").unwrap();
        assert!(client.read(12_288, bytes.len()).unwrap() == bytes, "{replies:?}");
        assert_eq!(client.read(1, 5).unwrap(), b"small");
        drop(client);
        let mut direct = Client::open(pair.holder.nbd(), &export(1), Replies::Simple).expect("let in");
        assert!(direct.read(12_288, bytes.len()).unwrap() == bytes, "{replies:?}, read where it is");
    }
    eventually("no relay is left", || pair.other.cluster().relays.open == 0);
    assert!(pair.other.cluster().relays.bytes > 20 << 20);
    assert_eq!(pair.other.cluster().relays.failures, 0);
    assert_eq!(pair.other.figures().connections, 0);
}

#[test]
fn a_client_on_a_unix_socket_is_relayed_as_well() {
    let pair = Pair::new();
    let mut client = Client::open_unix(&pair.other.unix(), &export(1), Replies::Structured).expect("connected through");
    let bytes = pattern(1 << 20, 9);
    client.write(0, &bytes).unwrap();
    assert!(client.read(0, bytes.len()).unwrap() == bytes);
}

#[test]
fn many_clients_are_relayed_at_once() {
    const CLIENTS: u64 = 40;
    let leader = Leader::new();
    let holder = Member::new("holder", &leader);
    let held = leader.stream();
    let pool = pool_of(&held.report());
    held.intend(whole(1, (1..=CLIENTS).map(|number| attached(&pool, number, 1)).collect()));
    held.until_holding(1, usize::try_from(CLIENTS).unwrap());
    let other = Member::new("other", &leader);
    let mut intent = whole(2, Vec::new());
    intent.routes.extend((1..=CLIENTS).map(|number| route(number, &holder.peers())));
    leader.stream().intend(intent);
    let mut clients: Vec<_> = (1..=CLIENTS)
        .map(|number| Client::open(other.nbd(), &export(number), Replies::Structured).expect("connected through"))
        .collect();
    for (index, client) in clients.iter_mut().enumerate() {
        client.write(0, &pattern(100_000, index)).unwrap();
    }
    for (index, client) in clients.iter_mut().enumerate() {
        assert!(client.read(0, 100_000).unwrap() == pattern(100_000, index), "client {index}");
    }
    assert_eq!(other.cluster().relays.open, CLIENTS);
    drop(clients);
    eventually("no relay is left", || other.cluster().relays.open == 0);
}

#[test]
fn a_client_is_disconnected_when_the_node_with_the_volume_stops() {
    let Pair { holder, other, _leader, stream: _ } = Pair::new();
    let client = Client::open(other.nbd(), &export(1), Replies::Simple).expect("connected through");
    holder.stop();
    client.expect_end();
    eventually("no relay is left", || other.cluster().relays.open == 0);
}

#[test]
fn the_node_with_the_volume_hears_when_a_client_has_gone() {
    let pair = Pair::new();
    let client = pair.client(Replies::Simple);
    assert_eq!(pair.holder.figures().connections, 1);
    drop(client);
    eventually("the connection is gone", || pair.holder.figures().connections == 0);
    eventually("no relay is left", || pair.other.cluster().relays.open == 0);
}

#[test]
fn a_stop_of_the_node_between_ends_its_relays() {
    let Pair { holder, other, _leader, stream: _ } = Pair::new();
    let client = Client::open(other.nbd(), &export(1), Replies::Simple).expect("connected through");
    other.stop();
    client.expect_end();
    eventually("the connection is gone", || holder.figures().connections == 0);
}

#[test]
fn a_client_of_an_ended_attachment_is_fenced_through_a_relay_too() {
    let leader = Leader::new();
    let holder = Member::new("holder", &leader);
    let held = leader.stream();
    let pool = pool_of(&held.report());
    held.intend(whole(1, vec![attached(&pool, 1, 1)]));
    held.until_holding(1, 1);
    let other = Member::new("other", &leader);
    let mut intent = whole(2, Vec::new());
    intent.routes.push(route(1, &holder.peers()));
    leader.stream().intend(intent);
    let client = Client::open(other.nbd(), &export(1), Replies::Simple).expect("connected through");
    held.intend(change(2, vec![attached(&pool, 1, 2)]));
    client.expect_end();
}

#[test]
fn a_client_of_a_node_that_cannot_be_reached_is_disconnected_and_counted() {
    let pair = Pair::new();
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    // One that hangs up, and one that says something else than a node would.
    let (mute, babbling) = (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let addresses = [gone, mute.local_addr().unwrap().to_string(), babbling.local_addr().unwrap().to_string()];
    let peers = std::thread::spawn(move || {
        drop(mute.accept().unwrap());
        let (mut babbler, _) = babbling.accept().unwrap();
        babbler.write_all(&[0x55; 100]).unwrap();
    });
    for (address, count) in addresses.iter().zip(1..) {
        pair.route(3 + count, address);
        let refused = Client::open(pair.other.nbd(), &export(1), Replies::Structured);
        assert!(
            matches!(refused, Err(Refusal::Broken(ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset))),
            "{address}"
        );
        eventually("it was counted", || pair.other.cluster().relays.failures == count);
    }
    peers.join().unwrap();
    eventually("no relay is left", || pair.other.cluster().relays.open == 0);
    assert_eq!(pair.other.figures().connections, 0);
}

#[test]
fn nobody_is_sent_in_circles() {
    let pair = Pair::new();
    // It is not here, and the other is said to have it: itself.
    pair.route(4, &pair.other.peers());
    let refused = Client::open(pair.other.nbd(), &export(1), Replies::Simple);
    assert!(matches!(refused, Err(Refusal::Told)));
}
