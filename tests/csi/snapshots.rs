//! Snapshots, and in what they differ.

use proto::csi;
use tonic::{Code, Status};

use crate::scene::{MIB, Scene, parameters, volume};

fn list(scene: &Scene, request: csi::ListSnapshotsRequest) -> Result<Vec<String>, Status> {
    let listed = scene.call(async |mut client, request| client.list_snapshots(request).await, request)?;
    Ok(listed.entries.into_iter().map(|entry| entry.snapshot.unwrap().snapshot_id).collect())
}

fn delete(scene: &Scene, snapshot_id: &str) -> Result<(), Status> {
    let request = csi::DeleteSnapshotRequest { snapshot_id: snapshot_id.to_owned(), ..Default::default() };
    scene.call(async |mut client, request| client.delete_snapshot(request).await, request).map(drop)
}

#[test]
fn a_snapshot_is_taken_once_found_and_deleted() {
    let scene = Scene::new();
    for name in ["one", "two"] {
        scene.create(volume(name)).unwrap();
    }
    let code = |found: Result<csi::Snapshot, Status>| found.unwrap_err().code();
    assert_eq!(code(scene.snapshot("", "one")), Code::InvalidArgument);
    assert_eq!(code(scene.snapshot("s", "")), Code::InvalidArgument);
    assert_eq!(code(scene.snapshot("s", "none")), Code::NotFound);
    let taken = scene.snapshot("snapshot-1", "one").unwrap();
    assert!(taken.ready_to_use && taken.source_volume_id == "one" && taken.size_bytes == 64 * MIB, "{taken:?}");
    assert_eq!(scene.snapshot("snapshot-1", "one").unwrap(), taken);
    assert_eq!(code(scene.snapshot("snapshot-1", "two")), Code::AlreadyExists);
    let long = scene.snapshot(&"S".repeat(128), "one").unwrap();
    let strange = csi::CreateSnapshotRequest {
        name: "s".to_owned(),
        source_volume_id: "one".to_owned(),
        parameters: parameters([("color", "red")]),
        ..Default::default()
    };
    let found = scene.call(async |mut client, request| client.create_snapshot(request).await, strange);
    assert_eq!(found.unwrap_err().code(), Code::InvalidArgument);

    let get = |id: &str| {
        let request = csi::GetSnapshotRequest { snapshot_id: id.to_owned(), ..Default::default() };
        scene.call(async |mut client, request| client.get_snapshot(request).await, request)
    };
    assert_eq!(get("snapshot-1").unwrap().snapshot.unwrap(), taken);
    assert_eq!(get("none").unwrap_err().code(), Code::NotFound);
    assert_eq!(get("").unwrap_err().code(), Code::InvalidArgument);
    for id in [taken.snapshot_id.as_str(), &long.snapshot_id, "none", "No Name"] {
        delete(&scene, id).unwrap();
        delete(&scene, id).unwrap();
    }
    assert_eq!(delete(&scene, "").unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(get("snapshot-1").unwrap_err().code(), Code::NotFound);
}

#[test]
fn lists_are_filtered_and_paged() {
    let scene = Scene::new();
    for name in ["one", "two"] {
        scene.create(volume(name)).unwrap();
    }
    for (name, of) in [("a", "one"), ("b", "two"), ("c", "one"), ("d", "one")] {
        scene.snapshot(name, of).unwrap();
    }
    let all = csi::ListSnapshotsRequest::default();
    let of = |volume: &str| csi::ListSnapshotsRequest { source_volume_id: volume.to_owned(), ..all.clone() };
    let by = |id: &str| csi::ListSnapshotsRequest { snapshot_id: id.to_owned(), ..all.clone() };
    let rows = [
        (all.clone(), vec!["a", "b", "c", "d"]),
        (of("one"), vec!["a", "c", "d"]),
        (of("none"), vec![]),
        (of("No Name"), vec![]),
        (by("b"), vec!["b"]),
        (by("none"), vec![]),
        (csi::ListSnapshotsRequest { source_volume_id: "one".to_owned(), ..by("b") }, vec![]),
    ];
    for (request, expected) in rows {
        assert_eq!(list(&scene, request.clone()).unwrap(), expected, "{request:?}");
    }
    let (mut found, mut starting_token) = (Vec::new(), String::new());
    loop {
        let request = csi::ListSnapshotsRequest { max_entries: 2, starting_token, ..of("one") };
        let page = scene.call(async |mut client, request| client.list_snapshots(request).await, request).unwrap();
        found.extend(page.entries.into_iter().map(|entry| entry.snapshot.unwrap().snapshot_id));
        starting_token = page.next_token;
        if starting_token.is_empty() {
            break;
        }
    }
    assert_eq!(found, ["a", "c", "d"]);
    for wrong in ["invalid-token", "v:a"] {
        let request = csi::ListSnapshotsRequest { starting_token: wrong.to_owned(), ..all.clone() };
        assert_eq!(list(&scene, request).unwrap_err().code(), Code::Aborted, "{wrong}");
    }
}

/// Writes a block of a volume through the node's NBD socket is the node half's matter; a clone's blocks are zeroes here.
#[test]
fn differences_are_streams_with_the_size_and_wrong_wishes_are_refused() {
    let scene = Scene::new();
    for name in ["one", "two"] {
        scene.create(volume(name)).unwrap();
    }
    for (name, of) in [("a", "one"), ("b", "one"), ("other", "two")] {
        scene.snapshot(name, of).unwrap();
    }
    let allocated = |id: &str, starting_offset| {
        let request =
            csi::GetMetadataAllocatedRequest { snapshot_id: id.to_owned(), starting_offset, ..Default::default() };
        let mut client = scene.metadata();
        scene.run(async |_| {
            let mut stream = client.get_metadata_allocated(request).await?.into_inner();
            let mut messages = Vec::new();
            while let Some(message) = stream.message().await? {
                messages.push(message);
            }
            Ok::<_, Status>(messages)
        })
    };
    let messages = allocated("a", 0).unwrap();
    assert_eq!(messages.len(), 1, "{messages:?}");
    assert_eq!((messages[0].volume_capacity_bytes, messages[0].block_metadata.len()), (64 * MIB, 0));
    let delta = |base: &str, target: &str| {
        let request = csi::GetMetadataDeltaRequest {
            base_snapshot_id: base.to_owned(),
            target_snapshot_id: target.to_owned(),
            ..Default::default()
        };
        let mut client = scene.metadata();
        scene.run(async |_| client.get_metadata_delta(request).await.map(drop))
    };
    delta("a", "b").unwrap();
    let rows = [
        (allocated("", 0).map(drop), Code::InvalidArgument),
        (allocated("none", 0).map(drop), Code::NotFound),
        (allocated("a", -1).map(drop), Code::OutOfRange),
        (allocated("a", 64 * MIB + 1).map(drop), Code::OutOfRange),
        (delta("", "a"), Code::InvalidArgument),
        (delta("a", ""), Code::InvalidArgument),
        (delta("a", "none"), Code::NotFound),
        (delta("none", "a"), Code::NotFound),
        (delta("a", "other"), Code::InvalidArgument),
    ];
    for (index, (found, expected)) in rows.into_iter().enumerate() {
        assert_eq!(found.unwrap_err().code(), expected, "row {index}");
    }
}
