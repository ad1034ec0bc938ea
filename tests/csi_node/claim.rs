//! Claims as Kubernetes drives them, from their provisioning to their deletion, over gRPC alone.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use proto::csi;
use proto::csi::volume_capability::access_mode::Mode;
use tests::cluster::Cluster;
use tests::skip::skip;
use tests::wait;
use tonic::Code;

use crate::controller::Claim;
use crate::loops::may_resize_ext4;
use crate::plugin::{Caller, Node, in_mode, lacking, mount};

const MIB: i64 = 1 << 20;
/// What a pool may have in use more than before: what its store notes of volumes that are gone.
const POOL_SLACK_BYTES: u64 = 4 << 20;

/// Published, staged, and given to a pod of the volume's name.
fn begin(caller: &Caller, node: &Node, volume: &str, capability: &csi::VolumeCapability) {
    caller.attach(volume, &node.name, capability.clone()).expect("it is done");
    caller.stage_as(volume, capability.clone(), &[]).expect("it is done");
    caller.publish_as(volume, volume, capability.clone(), false).expect("it is done");
}

/// And all of it back.
fn end(caller: &Caller, node: &Node, volume: &str) {
    caller.unpublish(volume, volume).expect("it is done");
    caller.unstage_at_last(volume);
    caller.detach(volume, &node.name).expect("it is done");
}

fn synced(path: &Path, bytes: &str) {
    fs::write(path, bytes).expect("it is done");
    File::open(path).expect("it is done").sync_all().expect("it is done");
}

/// Nothing is left in the cluster, and its pools have their room back.
fn is_empty(cluster: &Cluster, used_before: &[u64]) {
    cluster.settle();
    for what in ["volume", "snapshot"] {
        assert_eq!(cluster.json(&[what, "list"]).as_array().expect("it is done").len(), 0, "{what}");
    }
    let is_back =
        || cluster.live_bytes().iter().zip(used_before).all(|(now, before)| *now <= before + POOL_SLACK_BYTES);
    let back = wait::within(wait::PATIENCE, || is_back().then_some(()));
    assert!(back.is_some(), "{used_before:?} bytes were used before, and {:?} are now", cluster.live_bytes());
}

/// Provision, use, snapshot, clone, grow in use, lose the primary in the middle, give back, delete.
fn whole_life(filesystem: &str, small: i64, grows: bool) {
    let mut cluster = Cluster::on_loopback();
    let used_before = cluster.live_bytes();
    let node = Node::with_controller(&cluster, "node-a");
    let caller = node.caller();
    let writer = mount(filesystem);
    wait::until("the controller", || caller.create(Claim::new("pvc-db", small, writer.clone())).ok());
    begin(&caller, &node, "pvc-db", &writer);
    let file = caller.target("pvc-db").join("file");
    synced(&file, "before the snapshot");
    let monday = caller.snapshot("monday", "pvc-db").expect("it is done");
    synced(&file, "after the snapshot");

    // A claim of a claim, and one of a snapshot, beside their source.
    caller.create(Claim::new("pvc-copy", small, writer.clone()).of_volume("pvc-db")).expect("it is done");
    caller.create(Claim::new("pvc-old", small, writer.clone()).of_snapshot(&monday)).expect("it is done");
    for (volume, expected) in [("pvc-copy", "after the snapshot"), ("pvc-old", "before the snapshot")] {
        begin(&caller, &node, volume, &writer);
        let copy = caller.target(volume).join("file");
        assert_eq!(fs::read_to_string(&copy).expect("it is done"), expected);
        synced(&copy, "changed");
    }
    assert_eq!(fs::read_to_string(&file).expect("it is done"), "after the snapshot", "a clone is another volume");

    // It grows while a file is written, and the primary dies.
    let writing = File::create(caller.target("pvc-db").join("large")).expect("it is done");
    writing.write_all_at(&[7; 1 << 20], 0).expect("it is done");
    let total = || caller.stats("pvc-db", &caller.target("pvc-db")).expect("it is done").usage[0].total;
    let before = total();
    if grows {
        assert_eq!(caller.resize("pvc-db", 2 * small).expect("it is done"), 2 * small);
        assert_eq!(caller.expand("pvc-db", &caller.target("pvc-db"), 2 * small).expect("it is done"), 2 * small);
        assert!(total() > before + small / 2, "{before} {}", total());
    }
    let killed = cluster.json(&["volume", "show", "pvc-db"]);
    let killed = primary_of(&killed);
    cluster.kill_node(&killed);
    writing.write_all_at(&[8; 1 << 20], 1 << 20).expect("it is done");
    writing.sync_all().expect("it is done");
    drop(writing);
    cluster.start_node(&killed);

    for volume in ["pvc-copy", "pvc-old", "pvc-db"] {
        assert_eq!(
            caller.delete(volume).expect_err("it is refused").code(),
            Code::FailedPrecondition,
            "{volume} is in use"
        );
        end(&caller, &node, volume);
    }
    // Elsewhere it is as it was left.
    let other = Node::with_controller(&cluster, "node-b");
    let there = other.caller();
    wait::until("the other node to be known", || there.attach("pvc-db", "node-b", writer.clone()).ok());
    begin(&there, &other, "pvc-db", &writer);
    assert_eq!(fs::read_to_string(there.target("pvc-db").join("file")).expect("it is done"), "after the snapshot");
    let large = fs::read(there.target("pvc-db").join("large")).expect("it is done");
    assert!(large[..1 << 20] == [7; 1 << 20] && large[1 << 20..] == [8; 1 << 20]);
    end(&there, &other, "pvc-db");

    for volume in ["pvc-copy", "pvc-old", "pvc-db"] {
        caller.delete(volume).expect("it is done");
    }
    caller.delete_snapshot(&monday).expect("it is done");
    node.is_clean();
    other.is_clean();
    is_empty(&cluster, &used_before);
}

fn primary_of(volume: &serde_json::Value) -> String {
    let replicas = volume["replicas"].as_array().expect("a list");
    let primary = replicas.iter().find(|replica| replica["role"]["name"] == "primary").expect("one is");
    primary["node"].as_str().expect("a name").to_owned()
}

#[test]
fn a_claim_of_ext4_lives_from_its_provisioning_to_its_deletion() {
    if let Some(what) = lacking() {
        return skip("a_claim_of_ext4_lives_from_its_provisioning_to_its_deletion", what);
    }
    let grows = may_resize_ext4();
    if !grows {
        println!("ext4 is not grown in use here: that needs CAP_SYS_RESOURCE, which is taken from this process");
    }
    whole_life("ext4", 64 * MIB, grows);
}

#[test]
fn a_claim_of_xfs_lives_from_its_provisioning_to_its_deletion() {
    if let Some(what) = lacking() {
        return skip("a_claim_of_xfs_lives_from_its_provisioning_to_its_deletion", what);
    }
    whole_life("xfs", 384 * MIB, true);
}

/// A snapshot of a volume in use has a journal that is not empty, and what may only be read cannot be mounted so.
#[test]
fn a_snapshot_of_a_volume_in_use_is_read_on_many_nodes() {
    if let Some(what) = lacking() {
        return skip("a_snapshot_of_a_volume_in_use_is_read_on_many_nodes", what);
    }
    let cluster = Cluster::on_loopback();
    let nodes = [Node::with_controller(&cluster, "node-a"), Node::with_controller(&cluster, "node-b")];
    let callers = [nodes[0].caller(), nodes[1].caller()];
    for filesystem in ["ext4", "xfs", "btrfs"] {
        let (writer, source) = (mount(filesystem), format!("{filesystem}-source"));
        let reader = in_mode(mount(filesystem), Mode::MultiNodeReaderOnly);
        wait::until("the controller", || callers[0].create(Claim::new(&source, 384 * MIB, writer.clone())).ok());
        begin(&callers[0], &nodes[0], &source, &writer);
        synced(&callers[0].target(&source).join("file"), "in the journal");
        let snapshot = callers[0].snapshot(&format!("{filesystem}-snapshot"), &source).unwrap();
        end(&callers[0], &nodes[0], &source);

        let volume = format!("{filesystem}-many");
        callers[0].create(Claim::new(&volume, 384 * MIB, reader.clone()).of_snapshot(&snapshot)).unwrap();
        let told = wait::until("the first node", || callers[0].attach(&volume, "node-a", reader.clone()).ok());
        assert_eq!(told["mode"], "ro");
        assert_eq!(callers[0].attach(&volume, "node-a", reader.clone()).unwrap(), told, "asked again");
        let early = callers[1].attach(&volume, "node-b", reader.clone()).unwrap_err();
        assert!(early.code() == Code::FailedPrecondition && early.message().contains("node-a"), "{early}");
        for _ in 0..2 {
            callers[0].stage_as(&volume, reader.clone(), &[]).unwrap();
        }
        callers[1].attach(&volume, "node-b", reader.clone()).unwrap();
        callers[1].stage_as(&volume, reader.clone(), &[]).unwrap();
        for (caller, node) in callers.iter().zip(&nodes) {
            assert_eq!(caller.attach(&volume, &node.name, reader.clone()).unwrap(), told, "asked again");
            caller.publish_as(&volume, &volume, reader.clone(), true).unwrap();
            let file = caller.target(&volume).join("file");
            assert_eq!(fs::read_to_string(&file).unwrap(), "in the journal", "{filesystem}");
            assert!(fs::write(&file, "no").is_err());
            let device = File::options().write(true).open(node.device(&volume));
            let written = device.and_then(|device| device.write_all_at(&[0; 4096], 0));
            assert!(written.is_err(), "the device is for reading only");
        }
        let attached = cluster.json(&["volume", "show", &volume]);
        let modes: Vec<&str> =
            attached["attachments"].as_array().unwrap().iter().map(|held| held["mode"].as_str().unwrap()).collect();
        assert_eq!(modes, ["read_only", "read_only"], "{filesystem}");
        for (caller, node) in callers.iter().zip(&nodes) {
            end(caller, node, &volume);
        }
        for volume in [&volume, &source] {
            callers[0].delete(volume).unwrap();
        }
        callers[0].delete_snapshot(&snapshot).unwrap();
    }
    nodes.iter().for_each(Node::is_clean);
}
