//! What is full stops reading; nothing is lost, everything goes on.

use node::limits;

use crate::rig::{MIB, Rig};
use crate::wire::{READ, Request};

#[test]
fn a_client_that_does_not_listen_is_not_read_from_and_hurts_nobody() {
    let mut rig = Rig::new(256 * MIB, 64 * MIB);
    let deaf = rig.connect();
    let good = rig.connect();
    rig.peers[deaf].listens = false;
    let cookies: Vec<u64> = (0..300).map(|_| rig.ask(deaf, &Request::new(READ, 0, 1 << 20))).collect();
    rig.run();
    let backlog = rig.node.stats().backlog_bytes;
    assert!(backlog > limits::BACKLOG_BYTES_MAX as u64, "{backlog}");
    assert!(backlog <= limits::BACKLOG_BYTES_MAX as u64 + limits::CONNECTION_BYTES_MAX, "{backlog}");
    assert!(rig.peers[deaf].outgoing.is_empty() || rig.node.stats().requests == 0);
    rig.write(good, 0, &[7; 4096]);
    assert_eq!(rig.read(good, 0, 4096), [7; 4096]);
    rig.peers[deaf].listens = true;
    rig.run();
    for cookie in cookies {
        assert_eq!(rig.reply(deaf, cookie).expect("answered in the end").data.len(), 1 << 20);
    }
    rig.assert_idle();
}

#[test]
fn while_the_disk_stands_still_no_bound_is_passed_and_then_everything_ends() {
    let mut rig = Rig::new(1024 * MIB, 256 * MIB);
    let peers: Vec<usize> = (0..12).map(|_| rig.connect()).collect();
    rig.disk_runs = false;
    let mut asked = Vec::new();
    for &peer in &peers {
        for index in 0..48_u64 {
            let offset = (peer as u64 * 48 + index) % 250 * MIB;
            let request = match index % 6 {
                0 => Request::write(offset, &vec![u8::try_from(peer).unwrap(); 1 << 20]),
                1 => Request::write(offset + 5, &[8; 100_000]),
                2 => Request::new(READ, offset, 1 << 20),
                3 => Request::write(offset + 700_000, &[9; 77]),
                4 => Request::write(offset + 4096 * 10, &[9; 4096]),
                _ => Request::new(READ, offset + 4096, 3_000_000),
            };
            asked.push((peer, rig.ask(peer, &request)));
        }
    }
    rig.run();
    assert!(rig.node.stats().requests > 0);
    assert!(rig.peers.iter().any(|peer| !peer.outgoing.is_empty()), "the sockets fill up");
    rig.disk_runs = true;
    rig.run();
    for (peer, cookie) in asked {
        assert_eq!(rig.reply(peer, cookie).expect("answered").error, 0);
    }
    rig.assert_idle();
}

#[test]
fn readers_go_on_while_writers_wait_for_the_store() {
    let mut rig = Rig::new(256 * MIB, 64 * MIB);
    let (writer, reader) = (rig.connect(), rig.connect());
    rig.write(reader, 0, &[3; 4096]);
    rig.handle(node::Event::TurnEnded);
    rig.disk_runs = false;
    let writes: Vec<u64> = (0..60).map(|at| rig.ask(writer, &Request::write(at << 20, &vec![1; 1 << 20]))).collect();
    rig.run();
    assert!(!rig.node.store().has_room(), "the store is full");
    let read = rig.ask(reader, &Request::new(READ, 32 * MIB, 4096));
    rig.run();
    assert!(rig.reply(reader, read).is_some(), "a hole is read without the disk");
    rig.disk_runs = true;
    rig.run();
    for cookie in writes {
        assert_eq!(rig.reply(writer, cookie).expect("answered").error, 0);
    }
    rig.assert_idle();
}

#[test]
fn a_connection_has_a_bounded_number_of_requests_in_flight() {
    let mut rig = Rig::new(128 * MIB, 16 * MIB);
    let peer = rig.connect();
    rig.write(peer, 0, &vec![1; 4 << 20]);
    rig.disk_runs = false;
    let cookies: Vec<u64> = (0..1000).map(|at| rig.ask(peer, &Request::new(READ, at * 4096, 4096))).collect();
    rig.run();
    assert_eq!(rig.node.stats().requests, u64::from(limits::REQUESTS_MAX));
    rig.disk_runs = true;
    rig.run();
    for cookie in cookies {
        assert_eq!(rig.reply(peer, cookie).expect("answered").data, [1; 4096]);
    }
    rig.assert_idle();
}

#[test]
fn connections_take_turns() {
    let mut rig = Rig::empty(128 * MIB);
    let mut peers = Vec::new();
    for volume in 0..12 {
        rig.create(&format!("v{volume}"), 16 * MIB);
        let peer = rig.connect_to(&format!("v{volume}"), false);
        rig.write(peer, 0, &vec![1; 1 << 20]);
        peers.push(peer);
    }
    rig.run();
    rig.disk_runs = false;
    let mut cookies = Vec::new();
    for &peer in &peers {
        cookies.extend((0..40).map(|_| (peer, rig.ask(peer, &Request::new(READ, 0, 1 << 20)))));
        rig.deliver(peer);
    }
    rig.handle(node::Event::TurnEnded);
    let taken: Vec<u32> = rig.node.volumes().map(|volume| volume.counters.in_flight).collect();
    assert!(taken.iter().all(|&count| count >= 16), "room for some 220 is shared: {taken:?}");
    rig.disk_runs = true;
    rig.run();
    assert!(cookies.into_iter().all(|(peer, cookie)| rig.reply(peer, cookie).is_some()));
    rig.assert_idle();
}
