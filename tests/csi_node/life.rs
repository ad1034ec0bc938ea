//! The life of a claim on its node, and every answer that is no.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use proto::csi;
use proto::csi::volume_capability::access_mode::Mode;
use tests::cluster::Cluster;
use tests::skip::skip;
use tests::writer::{primary, whole};
use tonic::Code;

use crate::plugin::{Node, block, in_mode, lacking, mount};

fn code<T: std::fmt::Debug>(answer: Result<T, tonic::Status>) -> Code {
    answer.map_or_else(|status| status.code(), |_| Code::Ok)
}

#[test]
fn a_claim_lives_on_its_node_from_its_first_byte_to_its_last() {
    if let Some(what) = lacking() {
        return skip("a_claim_lives_on_its_node_from_its_first_byte_to_its_last", what);
    }
    let mut cluster = Cluster::on_loopback();
    cluster.run(&["volume", "create", "db", "--size", "64MiB", "--replicas", "3"]);
    whole(&cluster);
    let node = Node::start(&cluster, "node-a");
    let caller = node.caller();
    node.give("db");
    for _ in 0..2 {
        caller.stage("db").unwrap();
    }
    for _ in 0..2 {
        caller.publish("db", "pod1").unwrap();
    }
    caller.publish_as("db", "pod2", mount("ext4"), true).unwrap();
    let (file, copy) = (caller.target("pod1").join("file"), caller.target("pod2").join("file"));
    fs::write(&file, "before the snapshot").unwrap();
    File::open(&file).unwrap().sync_all().unwrap();
    assert_eq!(fs::read_to_string(&copy).unwrap(), "before the snapshot");
    assert!(fs::write(&copy, "no").is_err(), "the second pod has it for reading only");
    cluster.run(&["snapshot", "create", "monday", "--volume", "db"]);
    // The primary goes in the middle of a write.
    let killed = primary(&cluster);
    let writing = File::create(caller.target("pod1").join("large")).unwrap();
    writing.write_all_at(&[7; 1 << 20], 0).unwrap();
    cluster.kill_node(&killed);
    writing.write_all_at(&[8; 1 << 20], 1 << 20).unwrap();
    writing.sync_all().unwrap();
    drop(writing);
    cluster.start_node(&killed);
    whole(&cluster);
    fs::write(&file, "after the snapshot").unwrap();
    let stats = caller.stats("db", &caller.target("pod1")).unwrap();
    assert!(stats.usage.len() == 2 && stats.usage.iter().all(|usage| usage.total > usage.used && usage.used > 0));
    assert!(!stats.volume_condition.unwrap().abnormal);
    // The snapshot, as a volume of its own, beside its source.
    cluster.run(&["volume", "create", "restored", "--from-snapshot", "monday"]);
    node.give("restored");
    caller.stage("restored").unwrap();
    caller.publish("restored", "pod3").unwrap();
    assert_eq!(fs::read_to_string(caller.target("pod3").join("file")).unwrap(), "before the snapshot");
    for (volume, pods) in [("db", &["pod1", "pod2"][..]), ("restored", &["pod3"])] {
        assert_eq!(code(caller.unstage(volume)), Code::FailedPrecondition, "pods have it");
        for pod in pods.iter().chain(pods) {
            caller.unpublish(volume, pod).unwrap();
            assert!(!caller.target(pod).exists());
        }
        for _ in 0..2 {
            caller.unstage(volume).unwrap();
        }
        node.take(volume);
    }
    node.is_clean();
    // Elsewhere it is as it was left.
    let other = Node::start(&cluster, "node-b");
    let caller = other.caller();
    other.give("db");
    caller.stage("db").unwrap();
    caller.publish("db", "pod1").unwrap();
    assert_eq!(fs::read_to_string(caller.target("pod1").join("file")).unwrap(), "after the snapshot");
    let large = fs::read(caller.target("pod1").join("large")).unwrap();
    assert!(large[..1 << 20] == [7; 1 << 20] && large[1 << 20..] == [8; 1 << 20]);
    caller.unpublish("db", "pod1").unwrap();
    caller.unstage("db").unwrap();
    other.is_clean();
}

#[test]
fn a_device_is_a_file_that_a_pod_can_write() {
    if let Some(what) = lacking() {
        return skip("a_device_is_a_file_that_a_pod_can_write", what);
    }
    let cluster = Cluster::on_loopback();
    cluster.run(&["volume", "create", "db", "--size", "64MiB"]);
    let node = Node::start(&cluster, "node-a");
    let caller = node.caller();
    node.give("db");
    for _ in 0..2 {
        caller.stage_as("db", block(), &[]).unwrap();
        caller.publish_as("db", "pod1", block(), false).unwrap();
    }
    let device = File::options().write(true).open(caller.target("pod1")).unwrap();
    device.write_all_at(&[5; 8192], 4096).unwrap();
    device.sync_all().unwrap();
    drop(device);
    let stats = caller.stats("db", &caller.target("pod1")).unwrap();
    assert_eq!(stats.usage[0].total, 64 << 20);
    assert_eq!(code(caller.publish("db", "pod1")), Code::FailedPrecondition, "it is not staged as a filesystem");
    assert_eq!(code(caller.stage("db")), Code::AlreadyExists);
    assert_eq!(code(caller.publish_as("db", "pod2", block(), true)), Code::FailedPrecondition);
    caller.unpublish("db", "pod1").unwrap();
    caller.unstage("db").unwrap();
    node.is_clean();
    // What was written raw is nothing to be formatted.
    assert_eq!(code(caller.stage("db")), Code::FailedPrecondition);
    node.is_clean();
}

#[test]
fn a_volume_grows_while_it_is_used() {
    if let Some(what) = lacking() {
        return skip("a_volume_grows_while_it_is_used", what);
    }
    let cluster = Cluster::on_loopback();
    cluster.run(&["volume", "create", "db", "--size", "384MiB"]);
    let node = Node::start(&cluster, "node-a");
    let caller = node.caller();
    node.give("db");
    caller.stage_as("db", mount("xfs"), &[("mkfsOptions", "-L grows")]).unwrap();
    caller.publish_as("db", "pod1", mount("xfs"), false).unwrap();
    let total = || caller.stats("db", &caller.target("pod1")).unwrap().usage[0].total;
    let before = total();
    let target = caller.target("pod1");
    let required = 768 << 20;
    assert_eq!(code(caller.expand("db", &target, required)), Code::OutOfRange, "the controller comes first");
    cluster.run(&["volume", "resize", "db", "768MiB"]);
    assert_eq!(caller.expand("db", &target, required).unwrap(), required);
    assert!(total() > before + (256 << 20), "{before} {}", total());
    assert_eq!(code(caller.expand("db", Path::new("/no/such"), 0)), Code::NotFound);
    caller.unpublish("db", "pod1").unwrap();
    caller.unstage("db").unwrap();
    node.is_clean();
}

#[test]
fn every_no_has_its_code_and_changes_nothing() {
    if let Some(what) = lacking() {
        return skip("every_no_has_its_code_and_changes_nothing", what);
    }
    let cluster = Cluster::on_loopback();
    cluster.run(&["volume", "create", "db", "--size", "64MiB"]);
    let node = Node::start(&cluster, "node-a");
    let caller = node.caller();
    assert_eq!(code(caller.stage("none")), Code::NotFound);
    assert_eq!(code(caller.stage("db")), Code::FailedPrecondition, "it is not published to this node");
    assert_eq!(code(caller.publish("none", "pod")), Code::NotFound);
    assert_eq!(code(caller.publish("db", "pod")), Code::FailedPrecondition, "it is not staged");
    for malformed in ["../db", "DB", "/etc"] {
        let staging = caller.staging("db");
        let ask = csi::NodeUnstageVolumeRequest {
            volume_id: malformed.to_owned(),
            staging_target_path: staging.to_str().unwrap().to_owned(),
        };
        let limit = std::time::Duration::from_secs(10);
        assert_eq!(
            code(caller.call(limit, ask, async |mut client, ask| client.node_unstage_volume(ask).await)),
            Code::Ok
        );
        assert_eq!(code(caller.stats(malformed, &staging)), Code::NotFound);
    }
    for nothing in ["none", "db"] {
        assert_eq!(code(caller.unpublish(nothing, "pod")), Code::Ok);
        assert_eq!(code(caller.unstage(nothing)), Code::Ok);
        assert_eq!(code(caller.stats(nothing, &caller.target("pod"))), Code::NotFound);
        assert_eq!(code(caller.expand(nothing, &caller.target("pod"), 0)), Code::NotFound);
    }
    for empty in [caller.stage(""), caller.unstage(""), caller.publish("", "p"), caller.unpublish("", "p")] {
        assert_eq!(code(empty), Code::InvalidArgument);
    }
    node.give("db");
    assert_eq!(code(caller.stage_as("db", mount("zfs"), &[])), Code::InvalidArgument);
    assert_eq!(code(caller.stage_as("db", csi::VolumeCapability::default(), &[])), Code::InvalidArgument);
    assert_eq!(code(caller.stage_as("db", mount(""), &[("mkfsOptions", "-d /etc/passwd")])), Code::InvalidArgument);
    assert_eq!(code(caller.stage_as("db", mount(""), &[("attacher", "iscsi")])), Code::FailedPrecondition);
    let reader = in_mode(mount(""), Mode::SingleNodeReaderOnly);
    assert_eq!(code(caller.stage_as("db", reader, &[])), Code::FailedPrecondition, "it is empty");
    assert_eq!(code(caller.stage_as("db", mount("ext4"), &[("mkfsOptions", "-N zero")])), Code::Internal);
    node.is_clean();
    // There, and asked for in another way.
    caller.stage("db").unwrap();
    assert_eq!(code(caller.stage_as("db", mount("xfs"), &[])), Code::AlreadyExists);
    assert_eq!(code(caller.stage_as("db", block(), &[])), Code::AlreadyExists);
    assert_eq!(code(caller.stage_as("db", in_mode(mount(""), Mode::SingleNodeReaderOnly), &[])), Code::AlreadyExists);
    let alone = || in_mode(mount("ext4"), Mode::SingleNodeSingleWriter);
    caller.publish_as("db", "pod1", alone(), false).unwrap();
    caller.publish_as("db", "pod1", alone(), false).unwrap();
    assert_eq!(code(caller.publish_as("db", "pod2", alone(), false)), Code::FailedPrecondition);
    assert!(!caller.target("pod2").exists());
    assert_eq!(code(caller.publish_as("db", "pod1", alone(), true)), Code::AlreadyExists);
    assert_eq!(code(caller.publish_as("db", "pod1", block(), false)), Code::FailedPrecondition);
    assert_eq!(code(caller.stats("db", Path::new("/"))), Code::NotFound);
    assert_eq!(code(caller.stats("db", Path::new("some/path"))), Code::NotFound);
    caller.unpublish("db", "pod1").unwrap();
    caller.unstage("db").unwrap();
    // Another filesystem than the one that is there.
    assert_eq!(code(caller.stage_as("db", mount("xfs"), &[])), Code::FailedPrecondition);
    node.is_clean();
}

#[test]
fn a_node_says_who_and_where_it_is() {
    if let Some(what) = lacking() {
        return skip("a_node_says_who_and_where_it_is", what);
    }
    let cluster = Cluster::on_loopback();
    let node = Node::start(&cluster, "node-a");
    let caller = node.caller();
    let limit = std::time::Duration::from_secs(10);
    let request = csi::NodeGetInfoRequest {};
    let told = caller.call(limit, request, async |mut client, request| client.node_get_info(request).await).unwrap();
    assert_eq!((told.node_id.as_str(), told.max_volumes_per_node), ("node-a", 0));
    let segments = told.accessible_topology.unwrap().segments;
    assert_eq!(segments.get("topology.plinth.dev/zone").map(String::as_str), Some("z1"));
    let request = csi::NodeGetCapabilitiesRequest {};
    let told = caller.call(limit, request, async |mut client, request| client.node_get_capabilities(request).await);
    assert_eq!(told.unwrap().capabilities.len(), 5);
}
