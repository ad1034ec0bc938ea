//! What a node does about intents, and what it says of itself.

use std::time::Duration;

use block::VolumeId;
use node::{Command, ControlError, Intent, ReplicaIntent, ReplicaObservation};

use crate::rig::{MIB, Rig};
use crate::wanted::{change, deletion, replica, replica_of, whole};
use crate::wire::Request;

fn open(replica: ReplicaIntent) -> ReplicaIntent {
    ReplicaIntent { open: true, ..replica }
}

fn ids(rig: &Rig) -> Vec<u64> {
    rig.node.observation().replicas.iter().map(|replica| replica.volume.0).collect()
}

fn opens(rig: &mut Rig, export: &str) -> bool {
    let peer = rig.connect_to(export, false);
    rig.peers[peer].listener.export.is_some()
}

#[test]
fn nothing_is_offered_before_the_control_plane_says_so() {
    let mut rig = Rig::intended(128 * MIB);
    rig.intend(whole(1, vec![open(replica())]));
    let peer = rig.connect();
    rig.write(peer, 0, &[7; 4096]);
    let mut rig = rig.restarted();
    let before = ReplicaObservation {
        volume: VolumeId(1),
        size_bytes: 4 * MIB,
        generation: 0,
        epoch_seen: block::Epoch(0),
        lost_blocks: 0,
        copy: None,
        snapshots: Vec::new(),
        hold: None,
        cut_refused: None,
        branch_points: 0,
    };
    assert_eq!((rig.heard(), rig.observed(1)), (0, Some(before)));
    assert!(!opens(&mut rig, "v") && !opens(&mut rig, "") && !opens(&mut rig, "v@1"));
    rig.intend(whole(1, vec![open(replica())]));
    let peer = rig.connect();
    assert_eq!(rig.read(peer, 0, 4096), [7; 4096]);
}

#[test]
fn a_volume_is_made_with_the_id_it_is_given_and_only_if_it_may_be() {
    let mut rig = Rig::intended(128 * MIB);
    let lost = ReplicaIntent { may_create: false, ..replica_of(41, "lost") };
    rig.intend(whole(3, vec![open(replica_of(40, "made")), open(lost)]));
    assert_eq!((ids(&rig), rig.heard()), (vec![40], 3));
    assert!(opens(&mut rig, "made") && !opens(&mut rig, "lost"));
    assert_eq!(rig.node.volumes().next().unwrap().name, "made");
}

#[test]
fn what_is_not_durable_is_not_observed() {
    let mut rig = Rig::intended(128 * MIB);
    rig.disk_runs = false;
    rig.intend(whole(1, vec![replica()]));
    assert_eq!((ids(&rig), rig.heard()), (vec![], 1));
    rig.disk_runs = true;
    let news = rig.news;
    rig.run();
    assert_eq!(ids(&rig), [1]);
    assert!(rig.news > news, "the control plane is told");
    rig.disk_runs = false;
    rig.intend(change(2, vec![ReplicaIntent { size_bytes: 8 * MIB, ..replica() }]));
    assert_eq!(rig.observed(1).unwrap().size_bytes, 4 * MIB);
    rig.disk_runs = true;
    rig.run();
    assert_eq!(rig.observed(1).unwrap().size_bytes, 8 * MIB);
    rig.disk_runs = false;
    rig.intend(deletion(3, 1));
    assert_eq!(ids(&rig), [1], "until the deletion is durable, it may come back");
    rig.disk_runs = true;
    rig.run();
    assert_eq!(ids(&rig), []);
}

#[test]
fn a_volume_grows_under_its_clients_and_never_shrinks() {
    let mut rig = Rig::intended(128 * MIB);
    rig.intend(whole(1, vec![open(replica())]));
    let early = rig.connect();
    rig.write(early, 0, &[1; 4096]);
    rig.intend(change(2, vec![ReplicaIntent { size_bytes: 8 * MIB, ..open(replica()) }]));
    let late = rig.connect();
    assert_eq!(rig.peers[late].listener.export.unwrap().0, 8 * MIB);
    rig.write(late, 8 * MIB - 4096, &[2; 4096]);
    assert_eq!(rig.read(early, 0, 4096), [1; 4096]);
    rig.intend(change(3, vec![open(replica())]));
    assert_eq!((rig.observed(1).unwrap().size_bytes, rig.heard()), (8 * MIB, 3));
}

#[test]
fn only_what_somebody_deleted_is_deleted_and_its_clients_are_dropped() {
    let mut rig = Rig::intended(128 * MIB);
    rig.intend(whole(1, vec![open(replica()), open(replica_of(2, "w"))]));
    let client = rig.connect();
    rig.write(client, 0, &[1; 4096]);
    let intent = Intent { deletions: vec![VolumeId(1), VolumeId(77)], ..whole(2, vec![]) };
    rig.intend(intent);
    assert!(rig.peers[client].closed);
    assert_eq!((ids(&rig), rig.heard()), (vec![2], 2));
    assert!(!opens(&mut rig, "w"), "nobody names it any more, and it is kept");
    let rig = rig.restarted();
    assert_eq!(ids(&rig), [2]);
}

#[test]
fn an_older_intent_is_ignored() {
    let mut rig = Rig::intended(128 * MIB);
    rig.intend(whole(5, vec![open(replica())]));
    let client = rig.connect();
    rig.intend(whole(4, vec![]));
    rig.intend(deletion(4, 1));
    assert!(!rig.peers[client].closed);
    assert_eq!((ids(&rig), rig.heard()), (vec![1], 5));
    rig.intend(whole(5, vec![open(replica())]));
    assert!(!rig.peers[client].closed, "the same once more is the same");
}

#[test]
fn a_whole_intent_ends_what_it_does_not_name_and_another_changes_what_it_names() {
    let mut rig = Rig::intended(128 * MIB);
    rig.intend(whole(1, vec![open(replica()), open(replica_of(2, "w"))]));
    let (first, second) = (rig.connect(), rig.connect_to("w", false));
    rig.write(first, 0, &[1; 4096]);
    rig.intend(change(2, vec![open(replica_of(3, "x"))]));
    assert!(!rig.peers[first].closed && !rig.peers[second].closed);
    rig.intend(whole(3, vec![open(replica_of(2, "w"))]));
    assert!(rig.peers[first].closed && !rig.peers[second].closed);
    assert!(!opens(&mut rig, "v") && !opens(&mut rig, "x") && opens(&mut rig, "w"));
    assert_eq!(ids(&rig), [1, 2, 3]);
    rig.intend(change(4, vec![open(replica())]));
    let again = rig.connect();
    assert_eq!(rig.read(again, 0, 4096), [1; 4096]);
}

#[test]
fn what_is_under_way_of_an_older_intent_keeps_back_what_was_heard() {
    let mut rig = Rig::intended(128 * MIB);
    rig.disk_runs = false;
    rig.intend(whole(1, vec![replica()]));
    rig.intend(deletion(2, 1));
    assert_eq!((ids(&rig), rig.heard()), (vec![], 1), "nothing is there, and something may come yet");
    rig.disk_runs = true;
    while rig.heard() == 1 {
        rig.turn();
    }
    assert_eq!((ids(&rig), rig.heard()), (vec![1], 2), "it came");
    rig.run();
    assert_eq!((ids(&rig), rig.heard()), (vec![], 2));
    rig.assert_idle();
}

#[test]
fn a_name_is_free_again_before_the_old_volume_is() {
    let mut rig = Rig::intended(128 * MIB);
    rig.intend(whole(1, vec![open(replica())]));
    let client = rig.connect();
    rig.write(client, 0, &[1; 4096]);
    rig.disk_runs = false;
    let intent = Intent { deletions: vec![VolumeId(1)], ..whole(2, vec![open(replica_of(2, "v"))]) };
    rig.intend(intent);
    assert!(rig.peers[client].closed && !opens(&mut rig, "v"));
    rig.disk_runs = true;
    rig.run();
    assert_eq!(ids(&rig), [2]);
    let client = rig.connect();
    assert_eq!(rig.read(client, 0, 4096), [0; 4096]);
}

#[test]
fn what_cannot_be_done_is_tried_again_at_a_bounded_rate() {
    let mut rig = Rig::intended(128 * MIB);
    let bad = |volume| ReplicaIntent { size_bytes: 4097, ..replica_of(volume, &format!("v{volume}")) };
    rig.intend(whole(1, (1..100).map(bad).chain([open(replica_of(100, "good"))]).collect()));
    assert_eq!((ids(&rig), rig.heard()), (vec![100], 1), "others do not wait for it");
    for _ in 0..20 {
        let due = rig.node.deadline().expect("it is tried again");
        assert!(due > rig.now, "but not at once");
        rig.wait(due.since(rig.now));
    }
    rig.intend(change(2, (1..100).map(|volume| replica_of(volume, &format!("v{volume}"))).collect()));
    assert_eq!(rig.node.observation().replicas.len(), 100);
    rig.wait(Duration::from_secs(60));
    assert!(rig.node.deadline().is_none_or(|deadline| deadline > rig.now + Duration::from_secs(1)), "it sleeps");
}

#[test]
fn a_pool_that_takes_no_writes_says_what_it_holds_and_goes_on_trying() {
    let mut rig = Rig::intended(128 * MIB);
    rig.intend(whole(1, vec![open(replica())]));
    rig.disk.writes_fail = true;
    rig.intend(change(2, vec![replica_of(2, "w")]));
    rig.intend(deletion(3, 1));
    assert_eq!((ids(&rig), rig.heard()), (vec![1], 3));
    rig.wait(Duration::from_secs(5));
    assert!(rig.node.deadline().is_some_and(|deadline| deadline > rig.now));
    assert_eq!(ids(&rig), [1]);
}

#[test]
fn a_node_of_a_cluster_does_not_take_operators_word_on_what_it_holds() {
    let mut rig = Rig::intended(128 * MIB);
    rig.intend(whole(1, vec![replica()]));
    for command in [
        Command::CreateVolume { name: "w".to_owned(), size_bytes: MIB },
        Command::DeleteVolume { name: "v".to_owned(), force: true },
        Command::ResizeVolume { name: "v".to_owned(), size_bytes: 8 * MIB },
        Command::CreateSnapshot { volume: "v".to_owned() },
    ] {
        assert_eq!(rig.order(command), Err(ControlError::NotHere));
    }
    assert!(ControlError::NotHere.to_string().contains("ask the control plane"));
    assert!(rig.order(Command::ListVolumes).is_ok() && rig.order(Command::PoolSpace).is_ok());
    assert_eq!(ids(&rig), [1]);
}

#[test]
fn a_node_without_a_control_plane_does_not_listen_to_one() {
    let mut rig = Rig::new(128 * MIB, 4 * MIB);
    let client = rig.connect();
    rig.intend(Intent { deletions: vec![VolumeId(1)], ..whole(9, vec![replica_of(2, "w")]) });
    assert!(!rig.peers[client].closed);
    assert_eq!((ids(&rig), rig.heard(), rig.news), (vec![1], 0, 0));
}

#[test]
fn intents_come_in_any_number_while_the_store_is_busy() {
    let mut rig = Rig::intended(256 * MIB);
    rig.intend(whole(1, vec![open(replica())]));
    let client = rig.connect();
    rig.disk_runs = false;
    for at in 0..4 {
        rig.ask(client, &Request::write(at * MIB, &vec![5; 1 << 20]));
    }
    rig.run();
    for revision in 2..300 {
        rig.intend(change(revision, vec![replica_of(revision, &format!("v{revision}"))]));
        rig.intend(deletion(revision, revision / 2 * 2));
    }
    rig.disk_runs = true;
    rig.run();
    assert_eq!(ids(&rig), (1..300).filter(|id| id % 2 == 1).collect::<Vec<_>>());
    assert_eq!(rig.heard(), 299);
    assert_eq!(rig.read(client, 0, 1 << 20), vec![5; 1 << 20]);
}

#[test]
fn a_stop_does_not_begin_what_is_still_wanted_nor_wait_for_it() {
    let mut rig = Rig::intended(128 * MIB);
    rig.disk_runs = false;
    let bad = ReplicaIntent { size_bytes: 1, ..replica_of(1000, "bad") };
    rig.intend(whole(1, (1..100).map(|id| replica_of(id, &format!("v{id}"))).chain([bad]).collect()));
    rig.handle(node::Event::Stop);
    rig.run();
    rig.wait(Duration::from_secs(2));
    rig.disk_runs = true;
    rig.run();
    assert!(rig.stopped);
    let rig = Rig::on(rig.disk, crate::rig::intended());
    assert!(ids(&rig).len() < 99, "only what the store had taken");
}
