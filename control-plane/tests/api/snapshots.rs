//! What the API promises about snapshots, clones, groups and schedules.

use std::time::{Duration, Instant};

use proto::v1;
use proto::v1::source::From;
use tonic::Code;

use crate::node::Node;
use crate::plane::{Clients, GIB, again, founder, word};

/// How long a snapshot of a volume whose node is quick may take at the API, for the median of some.
const SNAPSHOT_MAX: Duration = Duration::from_millis(20);

async fn made(clients: &Clients, name: &str) {
    let made = clients.create(name, GIB).await.unwrap();
    clients.finish(made.operation).await;
}

async fn volume(clients: &Clients, name: &str) -> v1::Volume {
    clients.volumes().get(v1::GetVolumeRequest { name: name.into() }).await.unwrap().into_inner()
}

async fn list(clients: &Clients, request: v1::ListSnapshotsRequest) -> Vec<String> {
    let reply = clients.snapshots().list(request).await.unwrap().into_inner();
    reply.snapshots.into_iter().map(|snapshot| snapshot.name).collect()
}

#[tokio::test]
async fn a_snapshot_is_ready_when_it_is_answered_and_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let plane = founder(folder.path()).await;
    let clients = Clients::of(plane.address());
    let node = Node::start("n1", 1, plane.address()).await;
    clients.until("the node", |status| status.capacity_bytes > 0).await;
    made(&clients, "db").await;
    made(&clients, "other").await;

    let mut took = Vec::new();
    for number in 0..21 {
        let begin = Instant::now();
        let taken = clients.snapshot(&format!("s{number:02}"), "db").await.unwrap();
        took.push(begin.elapsed());
        let snapshot = taken.snapshot.unwrap();
        assert!(taken.operation.is_none() && snapshot.ready, "{snapshot:?}");
        assert_eq!((snapshot.size_bytes, snapshot.exclusive_bytes, snapshot.shared_bytes), (GIB, 4096, 8192));
        assert_eq!((snapshot.copies, snapshot.replicas, snapshot.nodes.as_slice()), (1, 1, &["n1".to_owned()][..]));
    }
    took.sort_unstable();
    println!("a snapshot took {:.1?} in the median, {:.1?} at worst", took[10], took[20]);
    assert!(took[10] < SNAPSHOT_MAX, "{:?}", took[10]);

    let again_the_same = clients.snapshot("s00", "db").await.unwrap();
    assert_eq!(again_the_same.snapshot.unwrap().id, 1);
    let error = clients.snapshot("s00", "other").await.unwrap_err();
    assert_eq!((error.code(), word(&error)), (Code::AlreadyExists, "snapshot-exists"));
    let error = clients.snapshot("t", "none").await.unwrap_err();
    assert_eq!((error.code(), word(&error)), (Code::NotFound, "no-such-volume"));
    let shown = volume(&clients, "db").await;
    assert_eq!((shown.snapshots, shown.snapshots_exclusive_bytes), (21, 21 * 4096));

    drop(node);
    plane.stop().await;
    let (_, plane) = again(folder.path()).await;
    let clients = Clients::of(plane.address());
    clients.until("the voter", |status| status.snapshots == 21).await;
    let page = v1::ListSnapshotsRequest { page_size: 20, volume: "db".into(), ..Default::default() };
    let first = clients.snapshots().list(page.clone()).await.unwrap().into_inner();
    assert_eq!((first.snapshots.len(), first.next_page_token.as_str()), (20, "s19"));
    assert_eq!(list(&clients, v1::ListSnapshotsRequest { page_token: "s19".into(), ..page }).await, ["s20"]);
    plane.stop().await;
}

#[tokio::test]
async fn a_snapshot_that_cannot_be_taken_says_what_it_waits_for() {
    let folder = tempfile::tempdir().unwrap();
    let plane = founder(folder.path()).await;
    let clients = Clients::of(plane.address());
    let node = Node::start("n1", 1, plane.address()).await;
    clients.until("the node", |status| status.capacity_bytes > 0).await;
    made(&clients, "db").await;
    drop(node);
    clients.until("the node to be lost", |status| status.nodes_up == 0).await;
    let request =
        v1::CreateSnapshotRequest { name: "s".into(), volume: "db".into(), wait_ms: 50, ..Default::default() };
    let asked = clients.snapshots().create(request).await.unwrap().into_inner();
    let operation = asked.operation.unwrap();
    assert!(operation.waits_for.contains("node n1 is not heard"), "{operation:?}");
    assert_eq!((operation.kind(), operation.snapshot.as_str()), (v1::operation::Kind::Snapshot, "s"));
    let error = clients.clone_of("clone", From::Snapshot("s".into())).await.unwrap_err();
    assert_eq!(word(&error), "snapshot-not-ready");
    let explain = v1::ExplainRequest { kind: "snapshot".into(), name: "s".into() };
    let sentences = clients.cluster().explain(explain).await.unwrap().into_inner().sentences.join(" ");
    assert!(sentences.contains("is not ready: node n1 is not heard"), "{sentences}");
    let request = v1::DeleteSnapshotRequest { name: "s".into(), ..Default::default() };
    let deleted = clients.snapshots().delete(request).await;
    let deleted = deleted.unwrap().into_inner().operation.unwrap();
    assert!(deleted.ended_ms.is_none() && deleted.waits_for.contains("n1"), "{deleted:?}");
    plane.stop().await;
}

#[tokio::test]
async fn a_clone_begins_as_its_source_and_outlives_it() {
    let folder = tempfile::tempdir().unwrap();
    let plane = founder(folder.path()).await;
    let clients = Clients::of(plane.address());
    let nodes = [Node::start("n1", 1, plane.address()).await, Node::start("n2", 2, plane.address()).await];
    clients.until("the nodes", |status| status.nodes_up == 2 && status.capacity_bytes > 1 << 50).await;
    made(&clients, "db").await;
    clients.snapshot("monday", "db").await.unwrap();

    let restored = clients.clone_of("restored", From::Snapshot("monday".into())).await.unwrap();
    clients.finish(restored.operation).await;
    let copied = clients.clone_of("copied", From::Volume("db".into())).await.unwrap();
    clients.finish(copied.operation).await;
    let home = volume(&clients, "db").await.replicas[0].node.clone();
    for (name, from) in [("restored", From::Snapshot("monday".into())), ("copied", From::Volume("db".into()))] {
        let clone = volume(&clients, name).await;
        assert_eq!((clone.phase(), clone.size_bytes), (v1::volume::Phase::Ready, GIB));
        assert_eq!(clone.replicas[0].node, home, "it begins where its source is");
        assert_eq!(clone.source.unwrap().from, Some(from.clone()));
        let joined = clients.clone_of(name, from).await.unwrap();
        assert!(joined.operation.is_none(), "a retry joins");
    }
    let error = clients.clone_of("copied", From::Snapshot("monday".into())).await.unwrap_err();
    assert_eq!(word(&error), "volume-exists");
    let source = Some(v1::Source { from: Some(From::Volume("db".into())) });
    let small = v1::CreateVolumeRequest { name: "small".into(), size_bytes: GIB / 2, source, ..Default::default() };
    let error = clients.volumes().create(small).await.unwrap_err();
    assert_eq!((error.code(), word(&error)), (Code::OutOfRange, "smaller-than-source"));

    let request = v1::DeleteVolumeRequest { name: "db".into(), ..Default::default() };
    let deleted = clients.volumes().delete(request).await;
    let deleted = deleted.unwrap().into_inner().operation.unwrap();
    assert_eq!(deleted.kind(), v1::operation::Kind::Retire);
    clients.finish(Some(deleted)).await;
    let retired = v1::ListVolumesRequest { retired: true, ..Default::default() };
    let retired = clients.volumes().list(retired).await.unwrap().into_inner().volumes;
    assert_eq!((retired.len(), retired[0].deleted_name.as_str()), (1, "db"));
    made(&clients, "db").await;
    let late = clients.clone_of("late", From::Snapshot("monday".into())).await.unwrap();
    clients.finish(late.operation).await;
    let snapshot =
        clients.snapshots().get(v1::GetSnapshotRequest { name: "monday".into() }).await.unwrap().into_inner();
    assert!(snapshot.volume_deleted && snapshot.volume == "db", "{snapshot:?}");

    let request = v1::DeleteSnapshotRequest { name: "monday".into(), ..Default::default() };
    let deleted = clients.snapshots().delete(request).await;
    clients.finish(deleted.unwrap().into_inner().operation).await;
    let is_over = |status: &v1::StatusReply| {
        (status.snapshots, status.volumes_retired, status.snapshot_deletions, status.tombstones) == (0, 0, 0, 0)
    };
    clients.until("everything of the first volume to be gone", is_over).await;
    drop(nodes);
    plane.stop().await;
}

#[tokio::test]
async fn a_group_is_taken_of_volumes_on_several_nodes() {
    let folder = tempfile::tempdir().unwrap();
    let plane = founder(folder.path()).await;
    let clients = Clients::of(plane.address());
    let _nodes = [Node::start("n1", 1, plane.address()).await, Node::start("n2", 2, plane.address()).await];
    clients.until("the nodes", |status| status.nodes_up == 2 && status.capacity_bytes > 1 << 50).await;
    for name in ["data", "log"] {
        made(&clients, name).await;
    }
    assert_ne!(volume(&clients, "data").await.replicas[0].node, volume(&clients, "log").await.replicas[0].node);
    let group = |name: &str, volumes: &[&str]| v1::CreateGroupRequest {
        name: name.into(),
        volumes: volumes.iter().map(|name| (*name).to_owned()).collect(),
        ..Default::default()
    };
    let begin = Instant::now();
    let taken = clients.snapshots().create_group(group("night", &["data", "log"])).await.unwrap().into_inner();
    println!("a group of two took {:.1?}", begin.elapsed());
    let taken = taken.group.unwrap();
    let names: Vec<&str> = taken.snapshots.iter().map(|snapshot| snapshot.name.as_str()).collect();
    assert!(taken.ready && taken.snapshots.iter().all(|snapshot| snapshot.ready), "{taken:?}");
    assert_eq!(names, ["night-data", "night-log"]);
    let retried = clients.snapshots().create_group(group("night", &["log", "data"])).await.unwrap().into_inner();
    assert_eq!(retried.group.unwrap().id, taken.id);
    for (request, expected) in [
        (group("night", &["data"]), "group-exists"),
        (group("none", &[]), "bad-group"),
        (group("twice", &["data", "data"]), "bad-group"),
        (group("other", &["data", "nothing"]), "no-such-volume"),
    ] {
        let error = clients.snapshots().create_group(request).await.unwrap_err();
        assert_eq!(word(&error), expected, "{error}");
    }
    let delete = v1::DeleteSnapshotRequest { name: "night-data".into(), ..Default::default() };
    assert_eq!(word(&clients.snapshots().delete(delete).await.unwrap_err()), "snapshot-in-group");
    let of_group = v1::ListSnapshotsRequest { group: "night".into(), ..Default::default() };
    assert_eq!(list(&clients, of_group).await, ["night-data", "night-log"]);
    let request = v1::DeleteGroupRequest { name: "night".into(), ..Default::default() };
    let deleted = clients.snapshots().delete_group(request).await;
    clients.finish(deleted.unwrap().into_inner().operation).await;
    clients.until("its space", |status| (status.snapshots, status.snapshot_deletions) == (0, 0)).await;
    plane.stop().await;
}

#[tokio::test]
async fn a_schedule_is_shown_with_its_volume() {
    let folder = tempfile::tempdir().unwrap();
    let plane = founder(folder.path()).await;
    let clients = Clients::of(plane.address());
    let _node = Node::start("n1", 1, plane.address()).await;
    clients.until("the node", |status| status.capacity_bytes > 0).await;
    made(&clients, "db").await;
    let set = |cron: &str, keep| v1::SetScheduleRequest {
        volume: "db".into(),
        schedule: Some(v1::Schedule { name: "nightly".into(), cron: cron.into(), keep, ..Default::default() }),
        ..Default::default()
    };
    let shown = clients.volumes().set_schedule(set("30 2 * * *", 7)).await.unwrap().into_inner();
    let schedule = &shown.schedules[0];
    assert_eq!((schedule.name.as_str(), schedule.cron.as_str(), schedule.keep), ("nightly", "30 2 * * *", 7));
    assert_eq!(schedule.next_ms % 86_400_000, (2 * 60 + 30) * 60_000);
    for (request, expected) in [(set("30 2 * *", 7), "schedule.cron"), (set("@daily", 0), "0 snapshots cannot be kept")]
    {
        let error = clients.volumes().set_schedule(request).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument);
        assert!(error.message().contains(expected), "{error}");
    }
    let remove = v1::RemoveScheduleRequest { volume: "db".into(), schedule: "nightly".into(), ..Default::default() };
    assert!(clients.volumes().remove_schedule(remove.clone()).await.unwrap().into_inner().schedules.is_empty());
    assert_eq!(word(&clients.volumes().remove_schedule(remove).await.unwrap_err()), "no-such-schedule");
    plane.stop().await;
}
