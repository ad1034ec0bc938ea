//! Names and paths as long as Kubernetes makes them.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use proto::csi;
use tests::cluster::Cluster;
use tests::skip::skip;

use crate::plugin::{CALL_MAX, Caller, Node, lacking, mount, text};

/// Longest name of a volume.
const NAME_BYTES_MAX: usize = 128;
/// What the kubelet makes of a volume's handle.
const HASH: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const POD: &str = "2d3c4f5e-6a7b-4c8d-9e0f-1a2b3c4d5e6f";

/// The kubelet's paths for a volume.
struct Places {
    staging: PathBuf,
    target: PathBuf,
}

impl Places {
    /// Below the node's own folders, which are looked at in the end.
    fn of(node: &Node, volume: &str) -> Self {
        let kubelet = "var/lib/kubelet";
        let staging = node.folder().join("staging").join(kubelet).join("plugins/kubernetes.io/csi/csi.plinth.dev");
        let staging = staging.join(HASH).join(volume).join("globalmount");
        let target = node.folder().join("staging").join(kubelet).join("pods").join(POD);
        let target = target.join("volumes/kubernetes.io~csi").join(volume).join("mount");
        fs::create_dir_all(staging.parent().expect("it is done")).expect("it is done");
        fs::create_dir_all(target.parent().expect("it is done")).expect("it is done");
        Self { staging, target }
    }

    fn stage(&self, caller: &Caller, volume: &str) -> Result<(), tonic::Status> {
        let message = csi::NodeStageVolumeRequest {
            volume_id: volume.to_owned(),
            staging_target_path: text(&self.staging),
            volume_capability: Some(mount("ext4")),
            ..csi::NodeStageVolumeRequest::default()
        };
        caller.call(CALL_MAX, message, async |mut client, request| client.node_stage_volume(request).await).map(drop)
    }

    fn publish(&self, caller: &Caller, volume: &str) -> Result<(), tonic::Status> {
        let message = csi::NodePublishVolumeRequest {
            volume_id: volume.to_owned(),
            staging_target_path: text(&self.staging),
            target_path: text(&self.target),
            volume_capability: Some(mount("ext4")),
            ..csi::NodePublishVolumeRequest::default()
        };
        caller.call(CALL_MAX, message, async |mut client, request| client.node_publish_volume(request).await).map(drop)
    }

    fn give_back(&self, caller: &Caller, volume: &str) -> Result<(), tonic::Status> {
        let message = csi::NodeUnpublishVolumeRequest { volume_id: volume.to_owned(), target_path: text(&self.target) };
        caller.call(CALL_MAX, message, async |mut client, request| client.node_unpublish_volume(request).await)?;
        let message =
            csi::NodeUnstageVolumeRequest { volume_id: volume.to_owned(), staging_target_path: text(&self.staging) };
        caller.call(CALL_MAX, message, async |mut client, request| client.node_unstage_volume(request).await).map(drop)
    }
}

fn used_at(node: &Node, volume: &str) {
    let (caller, places) = (node.caller(), Places::of(node, volume));
    node.give(volume);
    for _ in 0..2 {
        places.stage(&caller, volume).expect("it is done");
        places.publish(&caller, volume).expect("it is done");
    }
    fs::write(places.target.join("file"), volume).expect("it is done");
    places.give_back(&caller, volume).expect("it is done");
    node.take(volume);
    let left = [&places.staging, &places.target]
        .into_iter()
        .filter(|path| fs::read_dir(path).is_ok_and(|mut all| all.next().is_some()));
    assert_eq!(left.collect::<Vec<_>>(), Vec::<&PathBuf>::new());
    let _ = fs::remove_dir_all(node.folder().join("staging/var"));
    node.is_clean();
}

#[test]
fn the_longest_names_and_deep_paths_are_used_as_any() {
    if let Some(what) = lacking() {
        return skip("the_longest_names_and_deep_paths_are_used_as_any", what);
    }
    let cluster = Cluster::on_loopback();
    let deep = format!("run/plinth/{HASH}/csi/csi.plinth.dev/attach");
    let node = Node::attaching_at(&cluster, "node-a", &deep);
    for len in [64, 76, 108, NAME_BYTES_MAX] {
        let volume = format!("pvc-{}", "x".repeat(len - 4));
        cluster.run(&["volume", "create", &volume, "--size", "32MiB"]);
        used_at(&node, &volume);
        cluster.run(&["volume", "delete", &volume]);
    }
}

/// As /var/run is one to /run, and /var/lib/kubelet on many hosts one to a larger disk.
#[test]
fn folders_behind_links_are_used_as_any() {
    if let Some(what) = lacking() {
        return skip("folders_behind_links_are_used_as_any", what);
    }
    let cluster = Cluster::on_loopback();
    cluster.run(&["volume", "create", "db", "--size", "32MiB"]);
    let real = tempfile::Builder::new().prefix("plinth-").tempdir().unwrap();
    let node = Node::attaching_at(&cluster, "node-a", "attach");
    link(&node.folder().join("attach"), &real.path().join("attach"));
    link(&node.folder().join("staging"), &real.path().join("staging"));
    used_at(&node, "db");
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(real.path().to_str().unwrap()), "{mounts}");
}

/// Puts a link in a folder's place.
fn link(place: &Path, real: &Path) {
    fs::create_dir(real).expect("it is done");
    fs::remove_dir(place).expect("it is done");
    symlink(real, place).expect("it is done");
}
