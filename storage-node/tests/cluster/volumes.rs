//! Volumes that come, grow and go as the leader says, and who may use them.

use std::time::{Duration, Instant};

use proto::link::{PoolReport, ReplicaIntent};

use crate::client::{Client, Refusal, Replies};
use crate::intents::{VOLUME_BYTES, attached, change, deletion, export, pool_of, replica, whole};
use crate::leader::{Leader, Stream};
use crate::member::{Member, cluster};

/// Reports until one says that the node goes by this intent; answers what they said of its pool.
fn until_heard(stream: &Stream, revision: u64) -> Vec<PoolReport> {
    let mut pools = Vec::new();
    loop {
        let report = stream.report();
        pools.extend(report.pools);
        if report.heard >= revision {
            return pools;
        }
    }
}

#[test]
fn volumes_are_made_grown_and_deleted_as_intended() {
    let leader = Leader::new();
    let member = Member::new("n1", &leader);
    let stream = leader.stream();
    let pool = pool_of(&stream.report());
    stream.intend(whole(1, vec![replica(&pool, 1), replica(&pool, 2)]));
    let made = until_heard(&stream, 1);
    assert!(made.iter().all(|pool| !pool.whole));
    let sizes = made.iter().flat_map(|pool| &pool.replicas).map(|replica| (replica.volume, replica.size_bytes));
    assert_eq!(sizes.collect::<Vec<_>>(), [(1, VOLUME_BYTES), (2, VOLUME_BYTES)]);

    stream.intend(change(2, vec![ReplicaIntent { size_bytes: 2 * VOLUME_BYTES, ..replica(&pool, 1) }]));
    let grown = until_heard(&stream, 2);
    let sizes = grown.iter().flat_map(|pool| &pool.replicas).map(|replica| (replica.volume, replica.size_bytes));
    assert_eq!(sizes.collect::<Vec<_>>(), [(1, 2 * VOLUME_BYTES)]);

    let mut gone = change(3, Vec::new());
    gone.deletions.push(deletion(&pool, 2));
    stream.intend(gone);
    let deleted = until_heard(&stream, 3);
    assert_eq!(deleted.iter().flat_map(|pool| &pool.gone).collect::<Vec<_>>(), [&2]);
    member.stop();
}

#[test]
fn what_was_made_is_there_after_a_restart_and_clients_wait_until_it_is_offered() {
    let leader = Leader::new();
    let member = Member::new("n1", &leader);
    let stream = leader.stream();
    let pool = pool_of(&stream.report());
    stream.intend(whole(1, vec![attached(&pool, 1, 1)]));
    until_heard(&stream, 1);
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
    member.stop();
}

#[test]
fn io_goes_on_without_a_control_plane() {
    let leader = Leader::new();
    let member = Member::new("n1", &leader);
    let stream = leader.stream();
    let pool = pool_of(&stream.report());
    stream.intend(whole(1, vec![attached(&pool, 1, 1)]));
    until_heard(&stream, 1);
    let mut client = Client::open(member.nbd(), &export(1), Replies::Structured).expect("let in");
    drop(leader);
    for offset in (0..VOLUME_BYTES).step_by(1 << 20) {
        client.write(offset, &[offset.to_be_bytes()[5]; 4096]).unwrap();
    }
    // Whoever comes later is let in as well.
    drop(client);
    let mut client = Client::open(member.nbd(), &export(1), Replies::Structured).expect("let in");
    assert_eq!(client.read(3 << 20, 4096).unwrap(), [0x30; 4096]);
    member.stop();
}

#[test]
fn a_detach_that_is_reported_has_fenced() {
    let leader = Leader::new();
    let member = Member::new("n1", &leader);
    let stream = leader.stream();
    let pool = pool_of(&stream.report());
    stream.intend(whole(1, vec![attached(&pool, 1, 1)]));
    until_heard(&stream, 1);
    let client = Client::open(member.nbd(), &export(1), Replies::Simple).expect("let in");
    stream.intend(change(2, vec![ReplicaIntent { generation: 2, ..replica(&pool, 1) }]));
    let reported = |pool: &PoolReport| pool.replicas.iter().any(|replica| replica.generation == 2);
    while !stream.report().pools.iter().any(reported) {}
    client.expect_end();
    let refused = Client::open(member.nbd(), &export(1), Replies::Simple);
    assert!(matches!(refused, Err(Refusal::Told)));
    member.stop();
}

#[test]
fn many_changes_at_once_are_said_in_few_reports() {
    const VOLUMES: u64 = 200;
    let leader = Leader::new();
    let member = Member::new("n1", &leader);
    let stream = leader.stream();
    let pool = pool_of(&stream.report());
    let small = |number| ReplicaIntent { size_bytes: 1 << 20, ..replica(&pool, number) };
    let start = Instant::now();
    stream.intend(whole(1, Vec::new()));
    for number in 1..=VOLUMES {
        stream.intend(change(1 + number, vec![small(number)]));
    }
    let (mut reports, mut volumes) = (0, 0);
    loop {
        let report = stream.report();
        reports += 1;
        volumes += report.pools.iter().map(|pool| pool.replicas.len()).sum::<usize>();
        if report.heard > VOLUMES {
            break;
        }
    }
    assert_eq!(volumes as u64, VOLUMES);
    let most = 3 + start.elapsed().as_millis() / Duration::from_millis(20).as_millis();
    assert!(reports <= most, "{reports} reports in {:?}", start.elapsed());
    member.stop();
}
