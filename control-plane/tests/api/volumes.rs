//! What the API promises about volumes.

use proto::v1;
use tonic::Code;

use crate::node::{Node, connect, hello};
use crate::plane::{Clients, GIB, founder, word};

#[tokio::test]
async fn a_volume_is_made_grown_attached_and_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let plane = founder(folder.path()).await;
    let clients = Clients::of(plane.address());
    let error = clients.create("db", GIB).await.unwrap_err();
    assert_eq!((error.code(), word(&error)), (Code::ResourceExhausted, "no-place"));
    let _node = Node::start("n1", 1, plane.address()).await;
    clients.until("the node", |status| status.nodes_up == 1 && status.capacity_bytes > 0).await;

    let made = clients.create("db", GIB).await.unwrap();
    clients.finish(made.operation).await;
    let again = clients.create("db", GIB).await.unwrap();
    assert!(again.operation.is_none() && again.volume.unwrap().phase() == v1::volume::Phase::Ready);
    let error = clients.create("db", 2 * GIB).await.unwrap_err();
    assert_eq!((error.code(), word(&error)), (Code::AlreadyExists, "volume-exists"));

    let resize = v1::ResizeVolumeRequest { name: "db".into(), size_bytes: 2 * GIB, ..Default::default() };
    let grown = clients.volumes().resize(resize).await.unwrap().into_inner();
    clients.finish(grown.operation).await;

    let attach = |client: &str, token: u8| v1::AttachVolumeRequest {
        request_id: vec![token; 16],
        name: "db".into(),
        client: client.into(),
        mode: v1::AccessMode::ReadWrite.into(),
        token: vec![token; 16],
        ..Default::default()
    };
    let attached = clients.volumes().attach(attach("host1", 1)).await.unwrap().into_inner();
    let retried = clients.volumes().attach(attach("host1", 1)).await.unwrap().into_inner();
    assert_eq!((attached.generation, retried.generation), (1, 1));
    assert_eq!(attached.nbd_addresses, ["n1:10809"]);
    clients.finish(attached.operation).await;
    let error = clients.volumes().attach(attach("host2", 2)).await.unwrap_err();
    assert_eq!((error.code(), word(&error)), (Code::FailedPrecondition, "volume-attached"));
    assert!(error.message().contains("host1"), "{error}");

    let delete = |force| v1::DeleteVolumeRequest { name: "db".into(), force, ..Default::default() };
    let error = clients.volumes().delete(delete(false)).await.unwrap_err();
    assert_eq!(word(&error), "volume-attached");
    let deleted = clients.volumes().delete(delete(true)).await.unwrap().into_inner();
    clients.finish(deleted.operation).await;
    let error = clients.volumes().get(v1::GetVolumeRequest { name: "db".into() }).await.unwrap_err();
    assert_eq!((error.code(), word(&error)), (Code::NotFound, "no-such-volume"));
    plane.stop().await;
}

/// Who comes late, after its attachment was ended, gets nothing; who has one keeps it, whoever asks again.
#[tokio::test]
async fn an_attachment_is_kept_or_renewed_only_while_it_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let plane = founder(folder.path()).await;
    let clients = Clients::of(plane.address());
    let _node = Node::start("n1", 1, plane.address()).await;
    clients.until("the node", |status| status.nodes_up == 1 && status.capacity_bytes > 0).await;
    let made = clients.create("db", GIB).await.unwrap();
    clients.finish(made.operation).await;
    let request = |mode: v1::AccessMode, token: u8| v1::AttachVolumeRequest {
        name: "db".into(),
        client: "host1".into(),
        mode: mode.into(),
        token: vec![token; 16],
        ..Default::default()
    };
    let ask = async |request| clients.volumes().attach(request).await.map(|answer| answer.into_inner().generation);
    let keep = |mode, token| v1::AttachVolumeRequest { keep: true, ..request(mode, token) };
    let renew = |mode, token| v1::AttachVolumeRequest { renew: true, ..request(mode, token) };
    let (write, read) = (v1::AccessMode::ReadWrite, v1::AccessMode::ReadOnly);
    let late = ask(renew(write, 1)).await.unwrap_err();
    assert_eq!((late.code(), word(&late)), (Code::FailedPrecondition, "not-attached"));
    assert_eq!(ask(keep(write, 2)).await.unwrap(), 1);
    assert_eq!(ask(keep(write, 3)).await.unwrap(), 1);
    assert_eq!(ask(renew(write, 4)).await.unwrap(), 2);
    let other = ask(keep(read, 5)).await.unwrap_err();
    assert_eq!((other.code(), word(&other)), (Code::AlreadyExists, "attached-otherwise"));
    assert_eq!(ask(renew(read, 6)).await.unwrap_err().code(), Code::FailedPrecondition);
    let both = v1::AttachVolumeRequest { keep: true, ..renew(write, 7) };
    assert_eq!(ask(both).await.unwrap_err().code(), Code::InvalidArgument);
    let detach = v1::DetachVolumeRequest { name: "db".into(), client: "host1".into(), ..Default::default() };
    let detached = clients.volumes().detach(detach).await.unwrap().into_inner();
    clients.finish(detached.operation).await;
    assert_eq!(word(&ask(renew(write, 4)).await.unwrap_err()), "not-attached");
    plane.stop().await;
}

#[tokio::test]
async fn room_is_what_can_be_made() {
    let folder = tempfile::tempdir().unwrap();
    let plane = founder(folder.path()).await;
    let clients = Clients::of(plane.address());
    let _node = Node::start("n1", 1, plane.address()).await;
    clients.until("the node", |status| status.nodes_up == 1 && status.capacity_bytes > 0).await;
    let room = async |spec| clients.volumes().room(v1::RoomRequest { spec: Some(spec) }).await.unwrap().into_inner();
    let found = room(v1::VolumeSpec::default()).await;
    assert!(found.volume_max_bytes > 0 && found.total_bytes >= found.volume_max_bytes, "{found:?}");
    assert_eq!(room(v1::VolumeSpec { replicas: 2, ..Default::default() }).await, v1::RoomReply::default());
    let largest = clients.create("db", found.volume_max_bytes).await.unwrap();
    clients.finish(largest.operation).await;
    // The node is large: another one of that size fits as well, and of all together there is less.
    let left = room(v1::VolumeSpec::default()).await;
    assert_eq!(left.total_bytes, found.total_bytes - found.volume_max_bytes);
    plane.stop().await;
}

#[tokio::test]
async fn hosts_are_known_when_they_told_of_themselves() {
    let folder = tempfile::tempdir().unwrap();
    let plane = founder(folder.path()).await;
    let clients = Clients::of(plane.address());
    let get = async |name: &str| clients.hosts().get(v1::GetHostRequest { name: name.into() }).await;
    assert_eq!(word(&get("h1").await.unwrap_err()), "no-such-host");
    let labels = [("zone".to_owned(), "a".to_owned())].into();
    let register = v1::RegisterHostRequest { name: "h1".into(), labels, ..Default::default() };
    clients.hosts().register(register).await.unwrap();
    assert_eq!(get("h1").await.unwrap().into_inner().labels["zone"], "a");
    assert_eq!(clients.hosts().list(v1::ListHostsRequest {}).await.unwrap().into_inner().hosts.len(), 1);
    let remove = v1::RemoveHostRequest { name: "h1".into(), ..Default::default() };
    clients.hosts().remove(remove.clone()).await.unwrap();
    assert_eq!(word(&clients.hosts().remove(remove).await.unwrap_err()), "no-such-host");
    plane.stop().await;
}

#[tokio::test]
async fn what_cannot_be_is_refused_with_the_field() {
    let folder = tempfile::tempdir().unwrap();
    let plane = founder(folder.path()).await;
    let clients = Clients::of(plane.address());
    let _node = Node::start("n1", 1, plane.address()).await;
    let create = v1::CreateVolumeRequest { name: "db".into(), size_bytes: GIB, ..Default::default() };
    let spec = |spec| v1::CreateVolumeRequest { spec: Some(spec), ..create.clone() };
    let rows = [
        (v1::CreateVolumeRequest { name: "D B".into(), ..create.clone() }, "name: "),
        (v1::CreateVolumeRequest { size_bytes: 5, ..create.clone() }, "5 bytes"),
        (v1::CreateVolumeRequest { request_id: vec![1; 3], ..create.clone() }, "request_id: 3 bytes"),
        (spec(v1::VolumeSpec { replicas: 6, ..Default::default() }), "6 replicas"),
        (spec(v1::VolumeSpec { pool_tags: vec![String::new()], ..Default::default() }), "spec.pool_tags: "),
        (spec(v1::VolumeSpec { description: "x".repeat(2000), ..Default::default() }), "2000 bytes"),
    ];
    for (request, expected) in rows {
        let error = clients.volumes().create(request).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument, "{error}");
        assert!(error.message().contains(expected), "{expected} is missing in: {error}");
    }
    let list = v1::ListVolumesRequest { page_size: 1001, ..Default::default() };
    assert_eq!(clients.volumes().list(list).await.unwrap_err().code(), Code::InvalidArgument);
    let explain = v1::ExplainRequest { kind: "weather".into(), ..Default::default() };
    assert!(clients.cluster().explain(explain).await.unwrap_err().message().contains("can be explained"));
}

#[tokio::test]
async fn a_node_of_another_cluster_is_refused_and_a_newer_stream_ends_the_older() {
    let folder = tempfile::tempdir().unwrap();
    let plane = founder(folder.path()).await;
    let clients = Clients::of(plane.address());
    clients.until("the cluster", |status| !status.cluster.is_empty()).await;
    let mut foreign = hello("n1");
    foreign.cluster = vec![9; 16];
    let error = connect(foreign, plane.address()).await.err().unwrap();
    assert!(error.message().contains("belongs to cluster"), "{error}");
    let (_older, mut intents) = connect(hello("n1"), plane.address()).await.unwrap();
    let (_newer, _intents) = connect(hello("n1"), plane.address()).await.unwrap();
    // What was on its way comes first.
    let end = loop {
        match intents.message().await {
            Ok(Some(_)) => {}
            Ok(None) => break None,
            Err(status) => break Some(status),
        }
    };
    assert!(end.is_none_or(|status| status.message().contains("newer stream")));
}

#[tokio::test]
async fn a_watch_tells_of_every_change_in_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let plane = founder(folder.path()).await;
    let clients = Clients::of(plane.address());
    let mut watch = clients.cluster().watch(v1::WatchRequest {}).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().nodes_up, 0);
    let node = Node::start("n1", 1, plane.address()).await;
    while watch.message().await.unwrap().unwrap().nodes_up == 0 {}
    drop(node);
    let status = loop {
        let status = watch.message().await.unwrap().unwrap();
        if status.nodes_up == 0 {
            break status;
        }
    };
    assert!(status.problems.iter().any(|problem| problem.subject == "node n1"), "{status:?}");
}
