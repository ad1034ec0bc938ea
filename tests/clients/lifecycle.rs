//! Starting, stopping and starting again.

use std::time::{Duration, Instant};

use tests::nbd::{Kind, Request};
use tests::node::{Home, Options, VOLUME};
use tests::tool::fail;
use tests::wait;

/// A stop is asked for by people and service managers who do not wait long.
const STOP_LIMIT: Duration = Duration::from_secs(10);

#[test]
fn sigterm_stops_with_success_and_a_restart_keeps_the_volume() {
    let home = Home::default();
    let mut node = home.start();
    node.client().write(4096, b"kept over a restart", 0).expect("a write");
    assert_eq!(node.stop_within(STOP_LIMIT), 0, "{}", node.log());
    let mut node = home.start();
    let kept = node.client().read(4096, 19).expect("a read");
    assert_eq!(kept, b"kept over a restart");
    assert_eq!(node.stop_within(STOP_LIMIT), 0, "{}", node.log());
}

#[test]
fn sigterm_stops_with_clients_connected_and_requests_in_flight() {
    let home = Home::default();
    let mut node = home.start();
    let _idle = node.client();
    let mut busy = node.client();
    for cookie in 0..32 {
        let request = Request { kind: Kind::Write, flags: 0, cookie, offset: cookie << 20, len_bytes: 65536 };
        busy.send(request, &vec![7; 65536]).expect("the node takes it");
    }
    let begin = Instant::now();
    assert_eq!(node.stop_within(STOP_LIMIT), 0, "{}", node.log());
    println!("stopped in {:?}", begin.elapsed());

    let mut acknowledged = Vec::new();
    while let Ok(reply) = busy.receive() {
        acknowledged.extend((reply.error == 0).then_some(reply.cookie));
    }
    let node = home.start();
    let mut client = node.client();
    for cookie in acknowledged {
        assert_eq!(client.read(cookie << 20, 65536).expect("a read"), vec![7; 65536], "acknowledged write {cookie}");
    }
}

#[test]
fn whoever_is_greeted_after_a_restart_finds_the_volume() {
    let home = Home::default();
    drop(home.start());
    for restart in 0..5 {
        let node = home.launch("nbd.sock");
        wait::until("a greeting", || node.serves().then_some(()));
        assert!(node.client_of(VOLUME).is_ok(), "restart {restart}: clients are let in before the volume is there");
    }
}

#[test]
fn a_pool_is_served_by_one_process_only() {
    let home = Home::default();
    let mut first = home.start();
    first.client().write(0, b"of the first", 0).expect("a write");
    let complaint = fail(&mut home.check());
    assert!(complaint.contains("lock"), "{complaint}");
    let mut second = home.launch("second.sock");
    let served =
        wait::within(Duration::from_secs(3), || (second.serves() || second.running.ended().is_some()).then_some(()));
    assert!(!second.serves(), "two processes serve one pool");
    assert_eq!(first.client().read(0, 12).expect("a read"), b"of the first");
    if served.is_some() {
        assert_ne!(second.running.ended(), Some(0), "a refusal is a failure: {}", second.log());
        assert!(!second.log().trim().is_empty(), "a refusal says why");
        return;
    }
    // It waits: it must serve as soon as the first has gone.
    assert_eq!(first.stop_within(STOP_LIMIT), 0);
    wait::until("the second node to serve", || second.serves().then_some(()));
    let mut client = second.client();
    assert_eq!(client.read(0, 12).expect("a read"), b"of the first");
}

#[test]
fn a_volume_added_at_a_restart_joins_the_others() {
    let home = Home::new(Options { volumes: vec!["one:16MiB".into()], ..Options::default() });
    let mut node = home.start();
    node.client_of("one").expect("offered").write(0, b"one", 0).expect("a write");
    assert_eq!(node.stop_within(STOP_LIMIT), 0);
    let home = home.with(Options { volumes: vec!["one:16MiB".into(), "two:32MiB".into()], ..Options::default() });
    let node = home.start();
    assert_eq!(node.client_of("one").expect("offered").read(0, 3).expect("a read"), b"one");
    let mut two = node.client_of("two").expect("offered");
    assert_eq!((two.size_bytes(), two.read(0, 3).expect("a read")), (32 << 20, vec![0; 3]));
}

#[test]
fn two_hundred_idle_connections_cost_nothing() {
    let home = Home::default();
    let node = home.start();
    let mut idle: Vec<_> = (0..200).map(|_| node.client()).collect();
    let mut busy = node.client();
    for step in 0..200_u64 {
        busy.write(step << 16, &step.to_le_bytes(), 0).expect("a write");
        assert_eq!(busy.read(step << 16, 8).expect("a read"), step.to_le_bytes());
    }
    for (step, client) in (0_u64..).zip(&mut idle) {
        assert_eq!(client.read(step << 16, 8).expect("a read"), step.to_le_bytes());
    }
    drop(idle);
    let few = || (node.descriptors() < 100).then_some(());
    wait::until("the connections to be closed", few);
    busy.flush().expect("a flush");
}
