//! The stream to the leader: who is found, what is said, how it begins anew.

use std::net::TcpListener;

use proto::link::{Intent, ToNode};
use tonic::Status;

use crate::intents::{change, pool_of, replica, whole};
use crate::leader::{CLUSTER, Heard, Leader, Manner, redirect};
use crate::member::{Member, eventually};
use crate::obstacle::Obstacle;

#[test]
fn a_node_says_who_it_is_and_all_that_it_holds() {
    let leader = Leader::new();
    let member = Member::new("n1", &leader);
    let stream = leader.stream();
    assert_eq!((stream.hello.version, stream.hello.node.as_str()), (1, "n1"));
    assert_eq!(stream.hello.peer_address, member.peers());
    assert_eq!(stream.hello.nbd_addresses, [member.nbd().to_string()]);
    assert_eq!(stream.hello.labels["zone"], "a");
    assert!(stream.hello.cluster.is_empty());
    let report = stream.report();
    assert_eq!((report.heard, report.pools.len()), (0, 1));
    let pool = &report.pools[0];
    assert!(pool.whole && !pool.failed && pool.replicas.is_empty());
    assert!(pool.capacity_bytes > 100 << 20 && pool.id.len() == 16);
    assert_eq!(pool.tags, ["nvme"]);
}

#[test]
fn a_stop_is_a_goodbye() {
    let leader = Leader::new();
    let member = Member::new("n1", &leader);
    let stream = leader.stream();
    stream.report();
    member.stop();
    assert!(matches!(stream.end(), Heard::Goodbye));
}

#[test]
fn a_stream_that_breaks_begins_anew_with_everything() {
    let leader = Leader::new();
    let member = Member::new("n1", &leader);
    let first = leader.stream();
    let pool = pool_of(&first.report());
    first.intend(whole(1, vec![replica(&pool, 1)]));
    first.until_holding(1, 1);
    first.break_off(Status::internal("as the test wants"));
    let second = leader.stream();
    assert_eq!(second.hello.cluster, CLUSTER);
    let report = second.report();
    assert_eq!((report.heard, report.pools[0].whole), (1, true));
    assert_eq!(report.pools[0].replicas.iter().map(|replica| replica.volume).collect::<Vec<_>>(), [1]);
    assert_eq!(member.cluster().link.reconnects, 1);
}

#[test]
fn a_leader_that_was_killed_is_found_again_at_the_same_address() {
    let leader = Leader::new();
    let member = Member::new("n1", &leader);
    leader.stream().report();
    eventually("the link shows", || member.cluster().link.connected);
    let address = leader.address();
    drop(leader);
    eventually("the loss shows", || !member.cluster().link.connected);
    let leader = Leader::at(address.parse().unwrap(), Manner::Welcome(CLUSTER.to_vec()));
    assert!(leader.stream().report().pools[0].whole);
}

#[test]
fn a_voter_that_does_not_lead_is_left_for_the_one_it_names() {
    let leader = Leader::new();
    let follower = Leader::with(Manner::Redirect(leader.address()));
    let _member = Member::new("n1", &follower);
    let stream = leader.stream();
    stream.report();
    // The same when it stops leading in the middle of a stream.
    let next = Leader::new();
    stream.break_off(redirect(&next.address()));
    assert_eq!(next.stream().hello.node, "n1");
}

#[test]
fn a_voter_that_never_answers_is_passed_over() {
    // The kernel takes connections, and nobody ever looks at them.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let leader = Leader::new();
    let control = [silent.local_addr().unwrap().to_string(), leader.address()];
    let _member = Member::with("n1", &control);
    leader.stream().report();
}

#[test]
fn a_leader_that_falls_silent_is_left() {
    let (first, second) = (Leader::new(), Leader::new());
    let obstacle = Obstacle::before(&first.address());
    let _member = Member::with("n1", &[obstacle.address(), second.address()]);
    first.stream().report();
    obstacle.block();
    assert!(second.stream().report().pools[0].whole);
}

#[test]
fn a_leader_of_another_cluster_is_not_listened_to() {
    let leader = Leader::new();
    let stranger = Leader::with(Manner::Welcome(vec![0x57; 16]));
    let _member = Member::with("n1", &[leader.address(), stranger.address()]);
    let first = leader.stream();
    let pool = pool_of(&first.report());
    first.intend(whole(1, vec![replica(&pool, 1)]));
    first.until_holding(1, 1);
    first.break_off(Status::internal("as the test wants"));
    let foreign = stranger.stream();
    assert_eq!(foreign.hello.cluster, CLUSTER);
    // Not a word of what it holds.
    assert!(foreign.hears_nothing());
    // And its own is found again.
    assert_eq!(leader.stream().report().heard, 1);
}

#[test]
fn what_a_leader_must_not_say_ends_the_stream_and_changes_nothing() {
    let leader = Leader::new();
    let _member = Member::new("n1", &leader);
    let pool = pool_of(&leader.stream().report());
    let mut bad_name = replica(&pool, 1);
    bad_name.name = "../v1".to_owned();
    let garbage = [
        ToNode { message: None },
        intent(change(9, vec![replica(&pool, 1)])),
        intent(whole(9, vec![replica(&pool[1..], 1)])),
        intent(whole(9, vec![replica(&pool, 2), bad_name])),
    ];
    for message in garbage {
        let stream = leader.stream();
        let report = stream.report();
        assert_eq!((report.heard, report.pools[0].replicas.len()), (0, 0));
        stream.say(message);
        assert!(matches!(stream.end(), Heard::Goodbye | Heard::Broken));
    }
    assert_eq!(leader.stream().report().pools[0].replicas, []);
}

#[test]
fn what_is_meant_for_pools_of_others_is_left_out() {
    let leader = Leader::new();
    let _member = Member::new("n1", &leader);
    let stream = leader.stream();
    let pool = pool_of(&stream.report());
    let mut intent = whole(1, vec![replica(&[7; 16], 1), replica(&pool, 2)]);
    intent.deletions.push(crate::intents::deletion(&[7; 16], 2));
    stream.intend(intent);
    let known = stream.until(|known| known.heard == 1 && !known.replicas.is_empty());
    assert_eq!(known.replicas.keys().collect::<Vec<_>>(), [&2]);
}

#[test]
fn the_link_shows_in_the_metrics_and_health_is_the_pools() {
    let leader = Leader::new();
    let member = Member::new("n1", &leader);
    let stream = leader.stream();
    stream.report();
    stream.intend(whole(7, Vec::new()));
    eventually("the revision shows", || member.get("/metrics").contains("plinth_link_intent_revision 7"));
    let metrics = member.get("/metrics");
    for line in ["plinth_link_connected 1", "plinth_link_reconnects_total 0", "plinth_relays 0"] {
        assert!(metrics.contains(line), "{line} is missing");
    }
    drop(leader);
    eventually("the loss shows", || member.get("/metrics").contains("plinth_link_connected 0"));
    assert!(member.get("/healthz").ends_with("ok\n"));
}

fn intent(intent: Intent) -> ToNode {
    ToNode { message: Some(proto::link::to_node::Message::Intent(intent)) }
}
