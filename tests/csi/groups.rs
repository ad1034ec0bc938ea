//! Snapshots of several volumes at one instant.

use proto::csi;
use tonic::{Code, Status};

use crate::scene::{Scene, volume};

fn create(scene: &Scene, name: &str, volumes: &[&str]) -> Result<csi::VolumeGroupSnapshot, Status> {
    let request = csi::CreateVolumeGroupSnapshotRequest {
        name: name.to_owned(),
        source_volume_ids: volumes.iter().map(|volume| (*volume).to_owned()).collect(),
        ..Default::default()
    };
    let taken =
        scene.group_call(async |mut client, request| client.create_volume_group_snapshot(request).await, request);
    taken.map(|taken| taken.group_snapshot.unwrap())
}

fn get(scene: &Scene, id: &str, snapshots: &[&str]) -> Result<csi::VolumeGroupSnapshot, Status> {
    let request = csi::GetVolumeGroupSnapshotRequest {
        group_snapshot_id: id.to_owned(),
        snapshot_ids: snapshots.iter().map(|snapshot| (*snapshot).to_owned()).collect(),
        ..Default::default()
    };
    let found = scene.group_call(async |mut client, request| client.get_volume_group_snapshot(request).await, request);
    found.map(|found| found.group_snapshot.unwrap())
}

fn delete(scene: &Scene, id: &str, snapshots: &[&str]) -> Result<(), Status> {
    let request = csi::DeleteVolumeGroupSnapshotRequest {
        group_snapshot_id: id.to_owned(),
        snapshot_ids: snapshots.iter().map(|snapshot| (*snapshot).to_owned()).collect(),
        ..Default::default()
    };
    scene.group_call(async |mut client, request| client.delete_volume_group_snapshot(request).await, request).map(drop)
}

#[test]
fn a_group_is_taken_once_shown_and_deleted_as_a_whole() {
    let scene = Scene::new();
    for name in ["one", "two", "three"] {
        scene.create(volume(name)).unwrap();
    }
    let code = |found: Result<csi::VolumeGroupSnapshot, Status>| found.unwrap_err().code();
    assert_eq!(code(create(&scene, "", &["one"])), Code::InvalidArgument);
    assert_eq!(code(create(&scene, "g", &[])), Code::InvalidArgument);
    assert_eq!(code(create(&scene, "g", &["one", "none"])), Code::NotFound);
    assert_eq!(code(create(&scene, "g", &["No Name"])), Code::NotFound);
    let group = create(&scene, "pair", &["one", "two"]).unwrap();
    assert!(group.ready_to_use && group.creation_time.is_some(), "{group:?}");
    let ids: Vec<&str> = group.snapshots.iter().map(|snapshot| snapshot.snapshot_id.as_str()).collect();
    assert_eq!(ids, ["pair-one", "pair-two"]);
    assert!(group.snapshots.iter().all(|snapshot| snapshot.group_snapshot_id == "pair" && snapshot.ready_to_use));
    assert_eq!(create(&scene, "pair", &["two", "one"]).unwrap(), group);
    assert_eq!(code(create(&scene, "pair", &["one", "three"])), Code::AlreadyExists);

    assert_eq!(get(&scene, "pair", &ids).unwrap(), group);
    assert_eq!(code(get(&scene, "pair", &["pair-one"])), Code::InvalidArgument);
    assert_eq!(code(get(&scene, "none", &[])), Code::NotFound);
    let request = csi::DeleteSnapshotRequest { snapshot_id: "pair-one".to_owned(), ..Default::default() };
    let member = scene.call(async |mut client, request| client.delete_snapshot(request).await, request).unwrap_err();
    assert_eq!(member.code(), Code::InvalidArgument, "one of a group does not go alone: {member}");

    assert_eq!(delete(&scene, "pair", &["pair-one"]).unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(delete(&scene, "", &[]).unwrap_err().code(), Code::InvalidArgument);
    delete(&scene, "pair", &ids).unwrap();
    delete(&scene, "pair", &ids).unwrap();
    assert_eq!(code(get(&scene, "pair", &[])), Code::NotFound);
}
