//! Snapshots, clones and schedules on the command line.

use proto::v1;
use serde_json::Value;
use tonic::{Request, Response, Status};

use crate::fake::{Fake, Shared};
use crate::run::{ok, run};

fn snapshot(name: &str, volume: &str) -> v1::Snapshot {
    let (name, volume) = (name.to_owned(), volume.to_owned());
    v1::Snapshot { id: 1, name, volume, size_bytes: 1 << 30, ready: true, replicas: 3, ..v1::Snapshot::default() }
}

/// Snapshots of volumes whose name begins with `bad` fail; groups are ready, and those of a name that begins with `bad` fail.
#[tonic::async_trait]
impl v1::snapshot_service_server::SnapshotService for Shared {
    type DiffStream = tokio_stream::Iter<std::vec::IntoIter<Result<v1::DiffPiece, Status>>>;

    /// Two pieces with a range that goes over both, and a stream that breaks off between them.
    async fn diff(&self, request: Request<v1::DiffSnapshotRequest>) -> Result<Response<Self::DiffStream>, Status> {
        let v1::DiffSnapshotRequest { offset_bytes, base, .. } = request.into_inner();
        let range = |offset_bytes, zeroes| v1::DiffRange { offset_bytes, len_bytes: 8192, zeroes };
        let ranges = match offset_bytes {
            0 => vec![range(4096, !base.is_empty()), range((1 << 29) - 8192, false)],
            _ => vec![range(1 << 29, false)],
        };
        let next_bytes = if offset_bytes == 0 { 1 << 29 } else { 1 << 30 };
        let piece = v1::DiffPiece { ranges, next_bytes, size_bytes: 1 << 30, waits_for: String::new() };
        Ok(Response::new(tokio_stream::iter(vec![Ok(piece)])))
    }

    async fn create(
        &self,
        request: Request<v1::CreateSnapshotRequest>,
    ) -> Result<Response<v1::SnapshotChange>, Status> {
        let v1::CreateSnapshotRequest { request_id, name, volume, .. } = request.into_inner();
        self.enter("create-snapshot", &request_id)?;
        let mut state = self.lock();
        let mut operation = state.operation(v1::operation::Kind::Snapshot, &volume);
        operation.snapshot.clone_from(&name);
        if volume.starts_with("bad") {
            operation.failed = "it was not cut within 30 s, and is withdrawn: node n1 is not heard".to_owned();
        }
        state.operations.insert(operation.id, operation.clone());
        let snapshot = snapshot(&name, &volume);
        state.snapshots.insert(name, snapshot.clone());
        Ok(Response::new(v1::SnapshotChange { snapshot: Some(snapshot), operation: Some(operation) }))
    }

    async fn get(&self, request: Request<v1::GetSnapshotRequest>) -> Result<Response<v1::Snapshot>, Status> {
        let name = request.into_inner().name;
        let found = self.lock().snapshots.get(&name).cloned();
        found.map(Response::new).ok_or_else(|| Status::not_found(format!("there is no snapshot \"{name}\"")))
    }

    async fn list(
        &self,
        request: Request<v1::ListSnapshotsRequest>,
    ) -> Result<Response<v1::ListSnapshotsReply>, Status> {
        self.enter("list-snapshots", &[])?;
        let v1::ListSnapshotsRequest { page_token, volume, .. } = request.into_inner();
        let state = self.lock();
        let is_wanted = |found: &&v1::Snapshot| volume.is_empty() || found.volume == volume;
        let rest: Vec<_> =
            state.snapshots.values().filter(|found| found.name > page_token).filter(is_wanted).cloned().collect();
        let more = rest.len() > state.page;
        let snapshots: Vec<_> = rest.into_iter().take(state.page).collect();
        let last = snapshots.last().map(|last| last.name.clone());
        let next_page_token = last.filter(|_| more).unwrap_or_default();
        Ok(Response::new(v1::ListSnapshotsReply { snapshots, next_page_token }))
    }

    async fn delete(
        &self,
        request: Request<v1::DeleteSnapshotRequest>,
    ) -> Result<Response<v1::DeleteSnapshotReply>, Status> {
        let name = request.into_inner().name;
        let mut state = self.lock();
        let missing = || Status::not_found(format!("there is no snapshot \"{name}\""));
        let volume = state.snapshots.remove(&name).ok_or_else(missing)?.volume;
        let operation = Some(state.operation(v1::operation::Kind::DeleteSnapshot, &volume));
        Ok(Response::new(v1::DeleteSnapshotReply { operation }))
    }

    async fn create_group(
        &self,
        request: Request<v1::CreateGroupRequest>,
    ) -> Result<Response<v1::GroupChange>, Status> {
        let v1::CreateGroupRequest { name, volumes, .. } = request.into_inner();
        if name.starts_with("bad") {
            return Err(Status::aborted("it was tried 5 times: the primary of volume log took longer than 200 ms"));
        }
        let snapshots = volumes.iter().map(|volume| snapshot(&format!("{name}-{volume}"), volume)).collect();
        let group = v1::Group { name, ready: true, snapshots, volumes, ..v1::Group::default() };
        Ok(Response::new(v1::GroupChange { group: Some(group), operation: None }))
    }

    async fn get_group(&self, _: Request<v1::GetGroupRequest>) -> Result<Response<v1::Group>, Status> {
        Err(Status::not_found("there is no such group"))
    }

    async fn list_groups(&self, _: Request<v1::ListGroupsRequest>) -> Result<Response<v1::ListGroupsReply>, Status> {
        Ok(Response::new(v1::ListGroupsReply::default()))
    }

    async fn delete_group(
        &self,
        request: Request<v1::DeleteGroupRequest>,
    ) -> Result<Response<v1::DeleteSnapshotReply>, Status> {
        self.enter("delete-group", &request.into_inner().request_id)?;
        Ok(Response::new(v1::DeleteSnapshotReply::default()))
    }
}

#[test]
fn a_snapshot_is_taken_listed_and_deleted() {
    let fake = Fake::start().with_volumes(["db".to_owned()]);
    assert_eq!(ok(&fake.control(), "snapshot create monday --volume db"), "snapshot monday is ready (1GiB)\n");
    let list = ok(&fake.control(), "snapshot list");
    assert!(list.starts_with("NAME    VOLUME  SIZE  EXCLUSIVE  SHARED  STATE  AGE\nmonday  db      1GiB"), "{list}");
    let shown: Value = serde_json::from_str(&ok(&fake.control(), "snapshot show monday -o json")).expect("JSON");
    assert_eq!((&shown["volume"], &shown["ready"]), (&"db".into(), &true.into()));
    let ran = run(&fake.control(), "snapshot delete monday tuesday");
    assert_eq!((ran.code, ran.out.as_str()), (3, "snapshot monday is deleted\n"), "{ran:?}");
    assert!(ran.err.contains("there is no snapshot \"tuesday\""), "{ran:?}");
    assert_eq!(ok(&fake.control(), "snapshot list -o json"), "[]\n");
}

#[test]
fn a_snapshot_that_was_withdrawn_is_a_failure_with_its_reason() {
    let fake = Fake::start().with_volumes(["bad".to_owned()]);
    let ran = run(&fake.control(), "snapshot create monday --volume bad");
    assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{ran:?}");
    assert!(ran.err.contains("(snapshot monday of volume bad) failed: it was not cut within 30 s"), "{ran:?}");
    let ran = run(&fake.control(), "snapshot group create bad data log");
    assert_eq!(ran.code, 4, "{ran:?}");
    assert!(ran.err.contains("took longer than 200 ms"), "{ran:?}");
}

#[test]
fn all_pages_of_snapshots_are_listed() {
    let fake = Fake::start();
    for number in 0..7 {
        let volume = if number % 2 == 0 { "even" } else { "odd" };
        ok(&fake.control(), &format!("snapshot create s{number} --volume {volume}"));
    }
    fake.state().page = 2;
    let all: Vec<Value> = serde_json::from_str(&ok(&fake.control(), "snapshot list -o json")).expect("JSON");
    assert_eq!(all.len(), 7);
    let line = "snapshot list --volume even -o json";
    let even: Vec<Value> = serde_json::from_str(&ok(&fake.control(), line)).expect("JSON");
    assert_eq!(even.len(), 4);
}

#[test]
fn a_clone_is_kept_as_its_source_unless_something_else_is_asked_for() {
    let fake = Fake::start();
    ok(&fake.control(), "volume create db --size 1GiB --replicas 3 --pool-tag ssd --open");
    ok(&fake.control(), "snapshot create monday --volume db");
    ok(&fake.control(), "volume clone db test --label why=test");
    ok(&fake.control(), "volume clone db small --replicas 1 --size 2GiB");
    ok(&fake.control(), "volume create restored --from-snapshot monday");
    let state = fake.state();
    let of = |name: &str| {
        let found = &state.volumes[name];
        let from = found.source.clone().and_then(|source| source.from).expect("a source");
        (found.size_bytes, found.spec.clone().expect("a spec"), from)
    };
    let (size, spec, from) = of("test");
    assert_eq!((size, spec.replicas, spec.open, spec.pool_tags.len()), (0, 3, false, 1));
    assert_eq!((spec.labels["why"].as_str(), from), ("test", v1::source::From::Volume("db".into())));
    let (size, spec, _) = of("small");
    assert_eq!((size, spec.replicas), (2 << 30, 1));
    let (size, spec, from) = of("restored");
    assert_eq!((size, spec.replicas, from), (0, 3, v1::source::From::Snapshot("monday".into())));
}

#[test]
fn groups_and_schedules_are_told_in_a_sentence() {
    let fake = Fake::start().with_volumes(["db".to_owned()]);
    assert_eq!(ok(&fake.control(), "snapshot group create night data log"), "group snapshot night is ready\n");
    assert_eq!(ok(&fake.control(), "snapshot group list"), "NAME  VOLUMES  STATE  AGE\n");
    assert_eq!(ok(&fake.control(), "snapshot group delete night"), "group snapshot night is deleted\n");
    let set = "volume schedule set db nightly --cron @daily --keep 7";
    assert_eq!(ok(&fake.control(), set), "volume db has schedule nightly\n");
    let list = ok(&fake.control(), "volume schedule list db");
    assert!(list.contains("nightly   @daily          7"), "{list}");
    let removed = ok(&fake.control(), "volume schedule remove db nightly");
    assert_eq!(removed, "volume db has schedule nightly no more; what it made stays\n");
}

#[test]
fn differences_are_shown_in_order_and_asked_for_until_all_are_told() {
    let fake = Fake::start();
    let text = ok(&fake.control(), "snapshot diff tuesday --since monday");
    let expected = "          OFFSET           LENGTH  WHAT\n            4096             8192  zeroes\n       536862720            16384  data\n16KiB of data and 8KiB of zeroes, in a snapshot of 1GiB\n";
    assert_eq!(text, expected);
    let misused = run(&fake.control(), "snapshot diff tuesday --since-at 7");
    assert_eq!(misused.code, 2, "{misused:?}");
}
