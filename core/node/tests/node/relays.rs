//! A client that wants a volume of another node reaches it through this one.

use std::time::Duration;

use nbd::Swallowed;
use node::{Door, Intent, Network, NodeConfig, PreambleFault, Relay, ReplicaIntent, Why, limits};

use crate::rig::{MIB, Rig, intended};
use crate::wanted::Holder::Writer;
use crate::wanted::{held, replica, route, token, whole};
use crate::wire::{EXPORT_NAME, GO, INFO, LIST_META_CONTEXT, READ, Request, SET_META_CONTEXT, hello, naming, option};

const PREAMBLE_BYTES: usize = 16;

/// A node that has no volume and knows where `v` is.
fn near() -> Rig {
    let networks = vec![Network::parse("10.0.0.0/8").unwrap()];
    let mut rig = Rig::empty_with(64 * MIB, NodeConfig { open_networks: networks, ..intended() });
    rig.intend(Intent { routes: vec![route("v", "far:1")], ..whole(1, vec![]) });
    rig
}

/// The node that has `v`.
fn far(replica: ReplicaIntent) -> Rig {
    let mut rig = Rig::intended(64 * MIB);
    rig.intend(whole(1, vec![replica]));
    rig
}

fn from(address: &str) -> Door {
    Door::Client { peer: Some(address.parse().unwrap()) }
}

/// What a client that says `bytes` is handed over with.
fn hand_over(rig: &mut Rig, door: Door, bytes: &[u8]) -> (usize, Relay) {
    let client = rig.connect_by(door);
    rig.peers[client].outgoing.extend(bytes);
    rig.run();
    let mut relay = rig.peers[client].relay.clone().expect("it is handed over");
    // What the node had not received goes the same way.
    relay.upstream.extend(std::mem::take(&mut rig.peers[client].outgoing));
    (client, relay)
}

/// What the client is sent when the peer's answers come in pieces of `piece_bytes`.
fn passed_on(far: &mut Rig, peer: usize, relay: &mut Relay, piece_bytes: usize) -> Vec<u8> {
    let mut passed = std::mem::take(&mut relay.downstream);
    for piece in far.heard_by(peer).chunks(piece_bytes) {
        match relay.handshake.swallow(piece).expect("the peer is a node") {
            Swallowed::All => {}
            Swallowed::Done { len_bytes } => passed.extend(&piece[len_bytes..]),
        }
    }
    passed
}

#[test]
fn a_client_reaches_a_volume_of_another_node_whatever_option_names_it_first() {
    let export = format!("v@{}", token(1, 1));
    for structured in [false, true] {
        for first in [GO, INFO, EXPORT_NAME, LIST_META_CONTEXT, SET_META_CONTEXT] {
            for cut in [1, 10_000] {
                let mut bytes = 3_u32.to_be_bytes().to_vec();
                bytes.extend(if structured { option(8, &[]) } else { vec![] });
                bytes.extend(naming(first, &export));
                bytes.extend(if matches!(first, GO | EXPORT_NAME) { vec![] } else { naming(GO, &export) });
                let (mut near, mut far) = (near(), far(held(1, &[Writer { client: 1, generation: 1 }])));
                near.transfer_max = cut;
                let (client, mut relay) = hand_over(&mut near, from("192.0.2.1"), &bytes);
                assert_eq!(relay.address, "far:1");
                assert_eq!(near.node.stats().connections, 0, "the node has forgotten it");
                let peer = far.connect_by(Door::Peer);
                far.peers[peer].outgoing.extend(&relay.upstream);
                far.record(peer);
                far.run();
                let passed = passed_on(&mut far, peer, &mut relay, cut);
                if first == EXPORT_NAME {
                    assert_eq!(passed[passed.len() - 10..][..8], (4 * MIB).to_be_bytes(), "the only answer there is");
                } else {
                    near.peers[client].listener.hear(&passed);
                    assert!(near.peers[client].listener.export.is_some(), "{first} {structured} {cut}");
                }
                assert_eq!(far.node.volumes().next().unwrap().clients, 1);
            }
        }
    }
}

#[test]
fn nothing_that_the_client_sent_or_is_owed_is_lost() {
    let export = format!("v@{}", token(1, 1));
    let mut bytes = hello(&export, true);
    for at in 0..50 {
        bytes.extend(Request::write(at * 4096, &[7; 4096]).bytes(at + 1));
    }
    let (mut near, mut far) = (near(), far(held(1, &[Writer { client: 1, generation: 1 }])));
    // The client takes nothing before all is said.
    let client = near.connect_by(from("192.0.2.1"));
    near.peers[client].listens = false;
    near.peers[client].outgoing.extend(&bytes);
    near.run();
    assert!(near.peers[client].relay.is_none(), "a send is outstanding");
    near.peers[client].listens = true;
    near.transfer_max = 3;
    near.run();
    let mut relay = near.peers[client].relay.clone().expect("it is handed over");
    assert!(!relay.downstream.is_empty());
    relay.upstream.extend(std::mem::take(&mut near.peers[client].outgoing));
    let peer = far.connect_by(Door::Peer);
    far.peers[peer].outgoing.extend(&relay.upstream);
    for cookie in 1..=50 {
        let asked = (crate::wire::WRITE, 0, 4096);
        near.peers[client].listener.asked.insert(cookie, asked);
        far.peers[peer].listener.asked.insert(cookie, asked);
    }
    far.record(peer);
    far.run();
    let passed = passed_on(&mut far, peer, &mut relay, 11);
    let listener = &mut near.peers[client].listener;
    listener.hear(&passed);
    assert_eq!(listener.replies.len(), 50);
    assert!(listener.replies.values().all(|reply| reply.error == 0));
}

#[test]
fn a_client_is_trusted_there_as_it_is_here() {
    for (address, trusted) in [("10.1.1.1", true), ("192.0.2.1", false)] {
        let (mut near, mut far) = (near(), far(ReplicaIntent { open: true, ..replica() }));
        let (_, relay) = hand_over(&mut near, from(address), &hello("v", false));
        let peer = far.connect_by(Door::Peer);
        far.peers[peer].outgoing.extend(&relay.upstream);
        far.run();
        assert_eq!(far.peers[peer].listener.export.is_some(), trusted, "{address}");
    }
}

#[test]
fn a_relayed_client_is_not_relayed_on() {
    let mut near = near();
    let (_, relay) = hand_over(&mut near, Door::Client { peer: None }, &hello("v", false));
    assert!(format!("{relay:?}").starts_with("Relay { to far:1, 43 bytes up, "), "and nothing of the bytes");
    let peer = near.connect_by(Door::Peer);
    near.peers[peer].outgoing.extend(&relay.upstream);
    near.run();
    assert!(near.peers[peer].relay.is_none() && near.peers[peer].listener.refused.is_some());
}

#[test]
fn what_is_here_or_nowhere_is_not_relayed() {
    let mut rig = near();
    rig.intend(Intent {
        routes: vec![route("v", "far:1"), route("w", "far:2")],
        ..whole(2, vec![ReplicaIntent { open: true, ..replica() }])
    });
    let here = rig.connect_to("v", false);
    assert!(rig.peers[here].listener.export.is_some());
    let attached = rig.connect_to(&format!("v@{}", token(1, 1)), false);
    assert!(rig.peers[attached].listener.refused.is_some());
    let (_, relay) = hand_over(&mut rig, Door::Client { peer: None }, &hello("w", false));
    assert_eq!(relay.address, "far:2");
    rig.intend(Intent { revision: 3, lost_routes: vec!["w".to_owned()], ..Intent::default() });
    let nowhere = rig.connect_to("w", false);
    assert!(rig.peers[nowhere].listener.refused.is_some());
    rig.intend(Intent { revision: 4, routes: vec![route("w", "far:3")], ..Intent::default() });
    let (_, relay) = hand_over(&mut rig, Door::Client { peer: None }, &hello("w", false));
    assert_eq!(relay.address, "far:3");
    rig.intend(whole(5, vec![]));
    let nowhere = rig.connect_to("w", false);
    assert!(rig.peers[nowhere].listener.refused.is_some());
}

#[test]
fn a_client_that_says_it_all_at_once_and_byte_by_byte_is_handed_over_alike() {
    let bytes = [hello("v", true), Request::new(READ, 0, 4096).bytes(5)].concat();
    let mut seen = Vec::new();
    for transfer_max in [1, 5, 1000] {
        let mut near = near();
        near.transfer_max = transfer_max;
        let (_, relay) = hand_over(&mut near, Door::Client { peer: None }, &bytes);
        seen.push(relay.upstream);
    }
    assert!(seen.iter().all(|upstream| *upstream == seen[0]));
    let replayed = &seen[0][PREAMBLE_BYTES..];
    assert_eq!(replayed, bytes, "the negotiation was nothing but what had to be said again");
}

#[test]
fn who_is_no_node_is_closed_with_a_reason() {
    let good = b"PLNRELAY\0\x01\0\x01\0\0\0\0";
    let fault = |at: usize| match at {
        0..8 => |why: &Why| matches!(why, Why::Preamble(PreambleFault::Magic { .. })),
        8..10 => |why: &Why| matches!(why, Why::Preamble(PreambleFault::Version { .. })),
        _ => |why: &Why| matches!(why, Why::Preamble(PreambleFault::Unknown { .. })),
    };
    for at in 0..PREAMBLE_BYTES {
        let mut rig = far(ReplicaIntent { open: true, ..replica() });
        let peer = rig.connect_by(Door::Peer);
        let mut bytes = *good;
        bytes[at] ^= 0x40;
        rig.peers[peer].outgoing.extend(bytes);
        rig.peers[peer].outgoing.extend(hello("v", false));
        rig.run();
        assert!(rig.peers[peer].closed && rig.peers[peer].listener.export.is_none());
        assert!(fault(at)(&rig.ended[0].1), "byte {at}: {:?}", rig.ended);
    }
}

#[test]
fn who_comes_in_for_nodes_and_says_nothing_is_closed_in_time() {
    let mut rig = far(replica());
    let peer = rig.connect_by(Door::Peer);
    rig.peers[peer].outgoing.extend(b"PLNREL");
    rig.wait(limits::PATIENCE);
    assert!(rig.peers[peer].closed);
    assert!(matches!(rig.ended[..], [(_, Why::TooSlow)]));
}

#[test]
fn a_client_that_takes_nothing_is_not_kept_for_its_relay() {
    let mut rig = near();
    let client = rig.connect_by(from("192.0.2.1"));
    rig.peers[client].listens = false;
    rig.peers[client].outgoing.extend(hello("v", false));
    rig.wait(limits::PATIENCE + Duration::from_secs(1));
    rig.wait(limits::PATIENCE);
    assert!(rig.peers[client].closed && rig.peers[client].relay.is_none());
    assert_eq!(rig.node.stats().connections, 0);
}

#[test]
fn a_client_that_vanishes_or_a_node_that_stops_ends_what_was_to_be_handed_over() {
    for stops in [false, true] {
        let mut rig = near();
        let client = rig.connect_by(from("192.0.2.1"));
        rig.peers[client].listens = false;
        rig.peers[client].outgoing.extend(hello("v", false));
        rig.run();
        if stops {
            rig.handle(node::Event::Stop);
        } else {
            rig.peers[client].gone = true;
        }
        rig.run();
        assert!(rig.peers[client].closed && rig.peers[client].relay.is_none());
        rig.assert_idle();
    }
}
