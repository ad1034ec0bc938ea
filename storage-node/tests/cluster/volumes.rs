//! Volumes that come, grow and go as the leader says, and who may use them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use proto::link::ReplicaIntent;

use crate::client::{Client, Refusal, Replies};
use crate::intents::{VOLUME_BYTES, attached, change, deletion, export, pool_of, replica, whole};
use crate::leader::Leader;
use crate::member::{Member, cluster};

#[test]
fn volumes_are_made_grown_and_deleted_as_intended() {
    let leader = Leader::new();
    let _member = Member::new("n1", &leader);
    let stream = leader.stream();
    let pool = pool_of(&stream.report());
    stream.intend(whole(1, vec![replica(&pool, 1), replica(&pool, 2)]));
    let known = stream.until(|known| known.heard == 1 && known.replicas.len() == 2);
    assert_eq!(known.replicas, BTreeMap::from([(1, (VOLUME_BYTES, 0)), (2, (VOLUME_BYTES, 0))]));

    stream.intend(change(2, vec![ReplicaIntent { size_bytes: 2 * VOLUME_BYTES, ..replica(&pool, 1) }]));
    let known = stream.until(|known| known.heard == 2 && known.replicas[&1].0 > VOLUME_BYTES);
    assert_eq!(known.replicas, BTreeMap::from([(1, (2 * VOLUME_BYTES, 0)), (2, (VOLUME_BYTES, 0))]));

    let mut gone = change(3, Vec::new());
    gone.deletions.push(deletion(&pool, 2));
    stream.intend(gone);
    let known = stream.until(|known| known.heard == 3 && known.replicas.len() == 1);
    assert!(known.replicas.contains_key(&1));
}

#[test]
fn what_was_made_is_there_after_a_restart_and_clients_wait_until_it_is_offered() {
    let leader = Leader::new();
    let member = Member::new("n1", &leader);
    let stream = leader.stream();
    let pool = pool_of(&stream.report());
    stream.intend(whole(1, vec![attached(&pool, 1, 1)]));
    stream.until_holding(1, 1);
    let mut client = Client::open(member.nbd(), &export(1), Replies::Simple).expect("let in");
    client.write(4096, &[7; 8192]).unwrap();
    let directory = member.stop();

    let member = Member::start(directory, cluster("n1", &[leader.address()])).expect("started");
    let nbd = member.nbd();
    // It comes before anybody has said what is offered, and is not told that there is nothing.
    let early = std::thread::spawn(move || Client::open(nbd, &export(1), Replies::Simple));
    let stream = leader.stream();
    assert_eq!(stream.report().pools[0].replicas.len(), 1);
    stream.intend(whole(1, vec![ReplicaIntent { may_create: false, ..attached(&pool, 1, 1) }]));
    let mut client = early.join().unwrap().expect("let in");
    assert_eq!(client.read(4096, 8192).unwrap(), [7; 8192]);
}

#[test]
fn io_goes_on_without_a_control_plane() {
    let leader = Leader::new();
    let member = Member::new("n1", &leader);
    let stream = leader.stream();
    let pool = pool_of(&stream.report());
    stream.intend(whole(1, vec![attached(&pool, 1, 1)]));
    stream.until_holding(1, 1);
    let mut client = Client::open(member.nbd(), &export(1), Replies::Structured).expect("let in");
    drop(leader);
    for offset in (0..VOLUME_BYTES).step_by(1 << 20) {
        client.write(offset, &[offset.to_be_bytes()[5]; 4096]).unwrap();
    }
    // Whoever comes later is let in as well.
    drop(client);
    let mut client = Client::open(member.nbd(), &export(1), Replies::Structured).expect("let in");
    assert_eq!(client.read(3 << 20, 4096).unwrap(), [0x30; 4096]);
}

#[test]
fn a_detach_that_is_reported_has_fenced() {
    let leader = Leader::new();
    let member = Member::new("n1", &leader);
    let stream = leader.stream();
    let pool = pool_of(&stream.report());
    stream.intend(whole(1, vec![attached(&pool, 1, 1)]));
    stream.until_holding(1, 1);
    let client = Client::open(member.nbd(), &export(1), Replies::Simple).expect("let in");
    stream.intend(change(2, vec![ReplicaIntent { generation: 2, ..replica(&pool, 1) }]));
    stream.until(|known| known.replicas[&1].1 == 2);
    client.expect_end();
    let refused = Client::open(member.nbd(), &export(1), Replies::Simple);
    assert!(matches!(refused, Err(Refusal::Told)));
}

#[test]
fn many_changes_at_once_are_said_in_few_reports() {
    const VOLUMES: u64 = 200;
    const REPORT_EVERY: Duration = Duration::from_millis(20);
    let leader = Leader::new();
    let _member = Member::new("n1", &leader);
    let stream = leader.stream();
    let pool = pool_of(&stream.report());
    let small = |number| ReplicaIntent { size_bytes: 1 << 20, ..replica(&pool, number) };
    let start = Instant::now();
    stream.intend(whole(1, Vec::new()));
    for number in 1..=VOLUMES {
        stream.intend(change(1 + number, vec![small(number)]));
    }
    let known = stream.until(|known| known.replicas.len() as u64 == VOLUMES);
    let most = 3 + start.elapsed().as_millis() / REPORT_EVERY.as_millis();
    assert!(u128::from(known.reports) <= most, "{} reports in {:?}", known.reports, start.elapsed());
}
