//! Operators' commands, with clients connected and without.

use block::{BlockIndex, SnapshotId, VolumeId, WriteSeq};
use node::{Answer, Command, ControlError, NodeConfig};
use store::{DifferenceBase, Source};

use crate::rig::{MIB, Rig};
use crate::wire::{ESHUTDOWN, READ, Request, TRIM};

fn create(name: &str, size_bytes: u64) -> Command {
    Command::CreateVolume { name: name.to_owned(), size_bytes }
}

fn delete(force: bool) -> Command {
    Command::DeleteVolume { name: "v".to_owned(), force }
}

fn resize(size_bytes: u64) -> Command {
    Command::ResizeVolume { name: "v".to_owned(), size_bytes }
}

#[test]
fn a_volume_is_made_used_found_again_and_deleted() {
    let mut rig = Rig::empty(128 * MIB);
    assert_eq!(rig.order(create("first", MIB)), Ok(Answer::Created(VolumeId(1))));
    assert_eq!(rig.order(create("v", 2 * MIB)), Ok(Answer::Created(VolumeId(2))));
    let peer = rig.connect();
    rig.write(peer, 77, &[1; 5000]);
    rig.handle(node::Event::Stop);
    rig.run();
    assert!(rig.stopped);
    let mut rig = Rig::on(rig.disk, NodeConfig::default());
    let peer = rig.connect();
    assert_eq!(rig.peers[peer].listener.export.unwrap().0, 2 * MIB);
    assert_eq!(rig.read(peer, 77, 5000), [1; 5000]);
    rig.peers[peer].gone = true;
    rig.run();
    assert_eq!(rig.order(delete(false)), Ok(Answer::Done));
    let peer = rig.connect_to("v", false);
    assert!(rig.peers[peer].listener.refused.is_some(), "its export is gone");
    assert_eq!(rig.order(delete(false)), Err(ControlError::NoSuchVolume { name: "v".to_owned() }));
    assert_eq!(rig.order(create("v", MIB)), Ok(Answer::Created(VolumeId(3))), "an id is not used again");
    let peer = rig.connect();
    assert_eq!(rig.read(peer, 77, 5000), [0; 5000], "nor is what it held");
}

#[test]
fn what_cannot_be_is_refused_with_a_sentence() {
    let mut rig = Rig::new(128 * MIB, 4 * MIB);
    for command in [
        create("V", MIB),
        create("", MIB),
        create("w", 4096),
        create("w", MIB + 1),
        create("v", MIB),
        resize(3 * MIB),
        resize(4 * MIB + 5),
        Command::ResizeVolume { name: "x".to_owned(), size_bytes: MIB },
        Command::CreateSnapshot { volume: "x".to_owned() },
        Command::DeleteSnapshot { snapshot: SnapshotId(9) },
        Command::SpaceOf { source: Source::Volume(VolumeId(9)) },
    ] {
        let error = rig.order(command.clone()).expect_err("refused");
        assert!(error.to_string().len() > 15, "{command:?}: {error}");
    }
    assert_eq!(rig.node.volumes().count(), 1);
}

#[test]
fn a_volume_in_use_is_deleted_only_by_force_and_then_at_once() {
    let mut rig = Rig::new(128 * MIB, 4 * MIB);
    let (busy, idle) = (rig.connect(), rig.connect());
    assert_eq!(rig.order(delete(false)), Err(ControlError::InUse { name: "v".to_owned(), clients: 2 }));
    rig.disk_runs = false;
    let admitted = rig.ask(busy, &Request::write(5, &[1; 100]));
    rig.run();
    let id = rig.command(delete(true));
    rig.run();
    assert!(rig.peers[idle].closed && !rig.peers[busy].closed && rig.answers.is_empty());
    assert_eq!(rig.order(resize(8 * MIB)), Err(ControlError::BeingDeleted { name: "v".to_owned() }));
    rig.disk_runs = true;
    rig.run();
    assert_eq!(rig.reply(busy, admitted).expect("what was admitted is answered").error, 0);
    assert!(rig.peers[busy].closed);
    assert_eq!(rig.answers.remove(&id), Some(Ok(Answer::Done)));
    assert_eq!(rig.node.volumes().count(), 0);
    rig.assert_idle();
}

#[test]
fn requests_that_wait_when_their_volume_is_deleted_are_told_so() {
    let mut rig = Rig::new(128 * MIB, 4 * MIB);
    let peer = rig.connect();
    rig.write(peer, 0, &vec![1; 4 << 20]);
    rig.disk_runs = false;
    let cookies: Vec<u64> = (0..400).map(|at| rig.ask(peer, &Request::new(READ, at * 4096, 4096))).collect();
    rig.run();
    let id = rig.command(delete(true));
    rig.run();
    rig.disk_runs = true;
    rig.run();
    let errors: Vec<u32> = cookies.iter().filter_map(|&cookie| rig.reply(peer, cookie)).map(|one| one.error).collect();
    assert_eq!(errors.iter().filter(|&&error| error == 0).count(), 256);
    assert!(errors.iter().all(|&error| error == 0 || error == ESHUTDOWN));
    assert!(rig.peers[peer].closed);
    assert_eq!(rig.answers.remove(&id), Some(Ok(Answer::Done)));
    rig.assert_idle();
}

#[test]
fn a_write_that_is_arriving_does_not_keep_its_volume() {
    let mut rig = Rig::new(128 * MIB, 4 * MIB);
    let peer = rig.connect();
    rig.ask(peer, &Request::write(0, &vec![1; 3 << 20]));
    rig.peers[peer].outgoing.truncate(2_000_000);
    rig.run();
    assert_eq!(rig.order(delete(true)), Ok(Answer::Done));
    assert!(rig.peers[peer].closed);
    rig.assert_idle();
}

#[test]
fn a_volume_grows_under_its_clients() {
    let mut rig = Rig::new(128 * MIB, 4 * MIB);
    let before = rig.connect();
    rig.write(before, 0, &[1; 4096]);
    assert_eq!(rig.order(resize(8 * MIB)), Ok(Answer::Done));
    rig.write(before, 0, &[2; 4096]);
    let after = rig.connect();
    assert_eq!(rig.peers[after].listener.export.unwrap().0, 8 * MIB);
    rig.write(after, 8 * MIB - 10, &[3; 10]);
    assert_eq!(rig.read(after, 4 * MIB, 4096), [0; 4096]);
    assert_eq!(rig.read(before, 0, 4096), [2; 4096]);
}

fn snapshot(rig: &mut Rig) -> (SnapshotId, WriteSeq) {
    let Ok(Answer::Snapshot(snapshot)) = rig.order(Command::CreateSnapshot { volume: "v".to_owned() }) else {
        panic!("a snapshot is made")
    };
    let Ok(Answer::Snapshots(all)) = rig.order(Command::ListSnapshots) else { panic!("snapshots are listed") };
    (snapshot, all.iter().find(|one| one.id == snapshot).expect("it is listed").seq)
}

#[test]
fn a_node_tells_in_what_snapshots_differ_block_by_block() {
    let mut rig = Rig::new(128 * MIB, 4 * MIB);
    let peer = rig.connect();
    rig.write(peer, 0, &[1; 8192]);
    let first = snapshot(&mut rig);
    rig.write(peer, 4096, &[2; 8192]);
    assert_eq!(rig.call(peer, &Request::new(TRIM, 0, 4096)).error, 0);
    let second = snapshot(&mut rig);
    rig.write(peer, 1 << 20, &[3; 4096]);
    let mut ask = |snapshot, base| match rig.order(Command::Differ { snapshot, base, from: BlockIndex(0) }) {
        Ok(Answer::Differences { pieces, size_bytes }) => {
            assert_eq!((pieces.next, size_bytes), (None, 4 * MIB));
            let found = pieces.found.into_iter();
            found.map(|one| (one.range.first.0, one.range.count.0, one.is_zero)).collect::<Vec<_>>()
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(ask(first, DifferenceBase::Nothing), [(0, 2, false)]);
    assert_eq!(ask(second, DifferenceBase::Nothing), [(1, 2, false)]);
    assert_eq!(ask(second, DifferenceBase::Snapshot(first.0)), [(0, 1, true), (1, 2, false)]);
    let whole_group = [(0, 1, true), (1, 2, false), (3, 61, true)];
    assert_eq!(ask(second, DifferenceBase::Before(first.1)), whole_group, "never too little");
    assert_eq!(ask(second, DifferenceBase::Before(second.1)), []);
    let elsewhere =
        Command::Differ { snapshot: (second.0, first.1), base: DifferenceBase::Nothing, from: BlockIndex(0) };
    let error = rig.order(elsewhere).unwrap_err().to_string();
    assert!(error.contains("is not in this pool"), "{error}");
}

#[test]
fn a_snapshot_keeps_what_was_and_a_clone_goes_on_from_it() {
    let mut rig = Rig::new(128 * MIB, 4 * MIB);
    let peer = rig.connect();
    rig.write(peer, 0, &[1; 8192]);
    let Ok(Answer::Snapshot(snapshot)) = rig.order(Command::CreateSnapshot { volume: "v".to_owned() }) else {
        panic!("a snapshot is made")
    };
    rig.write(peer, 0, &[2; 4096]);
    let source = Source::Snapshot(snapshot);
    let clone = Command::CloneVolume { source, name: "c".to_owned(), size_bytes: 4 * MIB };
    assert!(matches!(rig.order(clone), Ok(Answer::Created(_))));
    let cloned = rig.connect_to("c", false);
    assert_eq!(rig.read(cloned, 0, 8192), [1; 8192]);
    rig.write(cloned, 4096, &[3; 5]);
    assert_eq!(rig.read(peer, 0, 8192), [[2; 4096], [1; 4096]].concat());
    let Ok(Answer::SpaceOf(space)) = rig.order(Command::SpaceOf { source }) else { panic!("space is accounted for") };
    assert_eq!(space.logical_bytes, 8192);
    let Ok(Answer::Snapshots(all)) = rig.order(Command::ListSnapshots) else { panic!("snapshots are listed") };
    assert_eq!(all.len(), 1);
    assert_eq!(rig.order(Command::DeleteSnapshot { snapshot }), Ok(Answer::Done));
    let Ok(Answer::Snapshot(next)) = rig.order(Command::CreateSnapshot { volume: "v".to_owned() }) else {
        panic!("a snapshot is made")
    };
    assert!(next > snapshot);
    assert!(matches!(rig.order(Command::PoolSpace), Ok(Answer::PoolSpace(space)) if space.live_bytes > 0));
}
