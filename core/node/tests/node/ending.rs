//! Clients that go away, that are too slow, that are too many; and the end of the node itself.

use std::time::Duration;

use node::{Command, ControlError, Event, NodeConfig, Why, limits};
use proptest::prelude::proptest;
use proptest::test_runner::Config;

use crate::rig::{MIB, Rig};
use crate::wire::{DISCONNECT, READ, Request, TRIM, hello};

proptest! {
    #![proptest_config(Config { cases: 40, failure_persistence: None, ..Config::default() })]
    #[test]
    fn a_client_may_vanish_at_any_moment(seed: u64, turns in 0..60_usize) {
        let mut rig = Rig::new(128 * MIB, 32 * MIB);
        rig.seed(seed);
        let (victim, good) = (rig.connect(), rig.connect());
        for at in 0..6_u64 {
            rig.ask(victim, &Request::write(at * MIB, &vec![1; 1 << 20]));
            rig.ask(victim, &Request::write(at * MIB + 100, &[2; 50_000]));
            rig.ask(victim, &Request::new(READ, at * MIB, 1 << 19));
            rig.ask(victim, &Request::write(at * MIB + 7, &[3; 7]));
            rig.ask(victim, &Request::new(TRIM, at * MIB, 1 << 19));
        }
        for _ in 0..turns {
            rig.turn();
        }
        rig.peers[victim].outgoing.clear();
        rig.peers[victim].gone = true;
        let mine = rig.ask(good, &Request::write(20 * MIB + 1, &[9; 40_000]));
        rig.run();
        assert_eq!(rig.reply(good, mine).unwrap().error, 0);
        assert!(rig.peers[victim].closed);
        assert_eq!(rig.node.stats().connections, 1);
        assert_eq!(rig.node.volumes().next().unwrap().clients, 1);
        rig.assert_idle();
        assert_eq!(rig.read(good, 20 * MIB + 1, 40_000), vec![9; 40_000]);
    }
}

#[test]
fn a_polite_end_closes_when_everything_is_done() {
    let mut rig = Rig::new(128 * MIB, 4 * MIB);
    let peer = rig.connect();
    rig.ask(peer, &Request::write(0, &[4; 4096]));
    let goodbye = Request::new(DISCONNECT, 0, 0).bytes(99);
    rig.peers[peer].outgoing.extend(goodbye);
    rig.run();
    assert!(rig.peers[peer].closed);
    assert!(matches!(rig.ended[..], [(_, Why::Session(nbd::CloseReason::Disconnected))]));
    let again = rig.connect();
    assert_eq!(rig.read(again, 0, 4096), [4; 4096]);
}

#[test]
fn who_opens_no_export_is_closed_in_time() {
    let mut rig = Rig::new(128 * MIB, 4 * MIB);
    let silent = rig.connect_silent();
    let good = rig.connect();
    rig.wait(limits::PATIENCE - Duration::from_millis(1));
    assert!(!rig.peers[silent].closed);
    rig.wait(Duration::from_millis(1));
    assert!(rig.peers[silent].closed && !rig.peers[good].closed);
    assert!(matches!(rig.ended[..], [(_, Why::TooSlow)]));
    assert!(rig.node.deadline().is_none_or(|deadline| deadline > rig.now), "and then nobody is in a hurry");
}

#[test]
fn a_payload_that_stops_coming_frees_its_memory() {
    let mut rig = Rig::new(128 * MIB, 4 * MIB);
    let peer = rig.connect();
    rig.ask(peer, &Request::write(0, &vec![1; 3 << 20]));
    rig.peers[peer].outgoing.truncate(500_000);
    rig.run();
    assert!(rig.node.stats().in_flight_bytes >= MIB);
    let mut waited = Duration::ZERO;
    while waited < limits::PAYLOAD_PATIENCE + limits::PATIENCE {
        rig.wait(Duration::from_secs(1));
        waited += Duration::from_secs(1);
    }
    assert!(rig.peers[peer].closed);
    assert!(matches!(rig.ended[..], [(_, Why::Stalled)]));
    rig.assert_idle();
}

#[test]
fn one_connection_too_many_is_closed_at_once() {
    let mut rig = Rig::new(128 * MIB, 4 * MIB);
    for _ in 0..limits::CONNECTIONS_MAX {
        rig.connect_silent();
    }
    rig.run();
    let extra = rig.connect_silent();
    rig.run();
    assert!(rig.peers[extra].closed);
    assert!(matches!(rig.ended[..], [(_, Why::TooMany)]));
    assert_eq!((rig.node.stats().rejected, rig.node.stats().connections), (1, limits::CONNECTIONS_MAX as u64));
    rig.peers[3].gone = true;
    rig.run();
    let next = rig.connect();
    rig.write(next, 0, &[1; 100]);
}

#[test]
fn a_stop_finishes_what_was_admitted_and_keeps_it() {
    let mut rig = Rig::new(128 * MIB, 16 * MIB);
    let (busy, idle, early) = (rig.connect(), rig.connect(), rig.connect_silent());
    rig.run();
    rig.disk_runs = false;
    let writes: Vec<u64> = (0..20).map(|at| rig.ask(busy, &Request::write(at * 8192 + 3, &[5; 4096]))).collect();
    rig.run();
    rig.handle(Event::Stop);
    rig.run();
    assert!(!rig.stopped && rig.peers[idle].closed && rig.peers[early].closed && !rig.peers[busy].closed);
    assert_eq!(rig.order(Command::DeleteVolume { name: "v".to_owned(), force: true }), Err(ControlError::Stopping));
    let late = rig.connect_silent();
    rig.run();
    assert!(rig.peers[late].closed);
    rig.disk_runs = true;
    rig.run();
    assert!(rig.stopped);
    for cookie in writes {
        assert_eq!(rig.reply(busy, cookie).expect("answered").error, 0);
    }
    rig.assert_idle();
    let mut rig = Rig::on(rig.disk, NodeConfig::default());
    let peer = rig.connect();
    assert_eq!(rig.read(peer, 19 * 8192 + 3, 4096), [5; 4096]);
}

#[test]
fn a_write_that_is_arriving_when_the_node_stops_is_finished() {
    let mut rig = Rig::new(128 * MIB, 16 * MIB);
    let peer = rig.connect();
    let cookie = rig.ask(peer, &Request::write(0, &vec![6; 3 << 20]));
    let rest = rig.peers[peer].outgoing.split_off(1 << 20);
    rig.run();
    rig.handle(Event::Stop);
    rig.run();
    assert!(!rig.stopped);
    rig.peers[peer].outgoing = rest;
    rig.ask(peer, &Request::write(0, &[7; 4096]));
    rig.run();
    assert!(rig.stopped);
    assert_eq!(rig.reply(peer, cookie).unwrap().error, 0);
    assert_eq!(rig.peers[peer].listener.asked.len(), 1, "what came after is not answered");
}

#[test]
fn a_stop_does_not_wait_forever_for_a_client() {
    let mut rig = Rig::new(128 * MIB, 16 * MIB);
    let (deaf, slow) = (rig.connect(), rig.connect());
    rig.peers[deaf].listens = false;
    rig.ask(deaf, &Request::new(READ, 0, 4096));
    rig.ask(slow, &Request::write(0, &vec![6; 3 << 20]));
    rig.peers[slow].outgoing.truncate(1 << 20);
    rig.run();
    rig.handle(Event::Stop);
    rig.wait(limits::PATIENCE - Duration::from_millis(1));
    assert!(!rig.stopped);
    rig.wait(Duration::from_millis(1));
    assert!(rig.stopped);
    rig.assert_idle();
}

#[test]
fn a_stop_without_clients_ends_at_once() {
    let mut rig = Rig::empty(128 * MIB);
    rig.handle(Event::Stop);
    rig.run();
    assert!(rig.stopped);
}

#[test]
fn a_client_that_ends_while_it_negotiates_is_forgotten() {
    for cut in 0..hello("v", true).len() {
        let mut rig = Rig::new(64 * MIB, MIB);
        let peer = rig.connect_silent();
        rig.peers[peer].outgoing.extend(&hello("v", true)[..cut]);
        rig.run();
        rig.peers[peer].gone = true;
        rig.run();
        assert!(rig.peers[peer].closed);
        assert_eq!(rig.node.stats().connections, 0);
    }
}
