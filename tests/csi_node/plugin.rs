//! A plugin of one node as a process, and what the kubelet would ask it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use proto::csi;
use proto::csi::controller_client::ControllerClient;
use proto::csi::node_client::NodeClient;
use proto::csi::volume_capability::access_mode::Mode;
use proto::csi::volume_capability::{AccessMode, AccessType, BlockVolume, MountVolume};
use tempfile::TempDir;
use tests::cluster::{Cluster, Shell};
use tests::node::program;
use tests::tool::{Running, output, run, tool};
use tests::wait;
use tokio::runtime::{Builder, Runtime};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status};

use crate::loops::lacking as loops_lacking;

/// How long a call may take, as Kubernetes has it.
pub const CALL_MAX: Duration = Duration::from_secs(60);

/// What this machine lacks to run these tests.
pub fn lacking() -> Option<&'static str> {
    loops_lacking().or_else(|| (!Path::new("/dev/fuse").exists()).then_some("there is no /dev/fuse"))
}

/// A node: its plugin, which can be killed, and its folders, which stay.
#[derive(Debug)]
pub struct Node {
    pub name: String,
    shell: Shell,
    control: String,
    running: Option<Running>,
    mode: &'static str,
    /// What is attached is noted there.
    attach: PathBuf,
    /// Last: a process that still runs would put files into it.
    folder: TempDir,
}

/// Somebody who calls the plugin.
#[derive(Debug)]
pub struct Caller {
    runtime: Runtime,
    channel: Channel,
    folder: PathBuf,
}

/// As a filesystem.
pub fn mount(fs_type: &str) -> csi::VolumeCapability {
    capability(
        AccessType::Mount(MountVolume { fs_type: fs_type.to_owned(), ..MountVolume::default() }),
        Mode::SingleNodeWriter,
    )
}

/// As a device.
pub fn block() -> csi::VolumeCapability {
    capability(AccessType::Block(BlockVolume {}), Mode::SingleNodeWriter)
}

/// The same in another mode.
pub fn in_mode(capability: csi::VolumeCapability, mode: Mode) -> csi::VolumeCapability {
    csi::VolumeCapability { access_mode: Some(AccessMode { mode: mode.into() }), ..capability }
}

fn capability(access_type: AccessType, mode: Mode) -> csi::VolumeCapability {
    let access_mode = Some(AccessMode { mode: mode.into() });
    csi::VolumeCapability { access_type: Some(access_type), access_mode }
}

impl Node {
    /// A node of that name, with its plugin running.
    pub fn start(cluster: &Cluster, name: &str) -> Self {
        Self::of_mode(cluster, name, "node", "attach")
    }

    /// One whose plugin is the controller as well, and knows all hosts of these names.
    pub fn with_controller(cluster: &Cluster, name: &str) -> Self {
        Self::of_mode(cluster, name, "all", "attach")
    }

    /// One that notes what is attached in another folder of its own.
    pub fn attaching_at(cluster: &Cluster, name: &str, attach: &str) -> Self {
        Self::of_mode(cluster, name, "node", attach)
    }

    fn of_mode(cluster: &Cluster, name: &str, mode: &'static str, attach: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("plinth-").tempdir().expect("a temporary folder");
        for part in ["staging", "pods", attach] {
            fs::create_dir_all(folder.path().join(part)).expect("a folder");
        }
        let (shell, control, attach) = (cluster.shell(), cluster.control(), folder.path().join(attach));
        let mut node = Self { folder, name: name.to_owned(), shell, control, running: None, mode, attach };
        node.restart();
        node
    }

    /// Where its folders are.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts the plugin, in place of the one that runs.
    pub fn restart(&mut self) {
        self.kill();
        let socket = format!("unix://{}/csi.sock", self.folder.path().display());
        let attach = self.attach.display().to_string();
        let arguments = ["-vv", "csi", "--mode", self.mode, "--endpoint", &socket, "--control", &self.control];
        let more = ["--node-id", &self.name, "--label", "zone=z1", "--attacher", "fuse", "--folder", &attach];
        let arguments: Vec<String> = arguments.into_iter().chain(more).map(str::to_owned).collect();
        self.running = Some(Running::start(&program(), &arguments, &self.folder.path().join("csi.log")));
        let socket = self.folder.path().join("csi.sock");
        wait::until("the plugin to listen", || std::os::unix::net::UnixStream::connect(&socket).ok());
    }

    /// Kills the plugin outright.
    pub fn kill(&mut self) {
        self.running = None;
    }

    /// What the plugin printed.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("csi.log")).unwrap_or_default()
    }

    pub fn caller(&self) -> Caller {
        Caller::new(self.folder.path())
    }

    /// Publishes a volume to this node, as the controller does.
    pub fn give(&self, volume: &str) {
        self.shell.run(&["volume", "attach", volume, "--client", &self.name]);
    }

    /// Takes it from this node, as the controller does, whatever the node says.
    pub fn take(&self, volume: &str) {
        self.shell.run(&["volume", "detach", volume, "--client", &self.name]);
    }

    /// The process that keeps a volume's device.
    pub fn agent(&self, volume: &str) -> Option<u32> {
        let id = fs::read_to_string(self.attach.join(volume).join("agent")).ok()?;
        id.trim().parse().ok()
    }

    /// A volume's device.
    pub fn device(&self, volume: &str) -> PathBuf {
        PathBuf::from(self.noted(volume, "device"))
    }

    /// What lets this node use a volume.
    pub fn token(&self, volume: &str) -> String {
        self.noted(volume, "token")
    }

    fn noted(&self, volume: &str, what: &str) -> String {
        let record = fs::read(self.attach.join(volume).join("record.json")).expect("there is a record");
        let record: serde_json::Value = serde_json::from_slice(&record).expect("the host does it");
        record[what].as_str().expect("it is there").to_owned()
    }

    /// What the process that keeps a volume's device printed.
    pub fn agent_log(&self, volume: &str) -> String {
        fs::read_to_string(self.attach.join(volume).join("agent.log")).unwrap_or_default()
    }

    /// What is left on this host of volumes, other than the plugin.
    pub fn remains(&self) -> Vec<String> {
        let needle = self.folder.path().to_str().expect("a plain path");
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("the kernel tells");
        let loops = run(tool("losetup").args(["-a"]));
        let lines = mounts.lines().chain(loops.lines()).filter(|line| line.contains(needle)).map(str::to_owned);
        let lines: Vec<String> = lines.collect();
        let parts = [self.attach.clone(), self.folder.path().join("pods")];
        // Staging paths are the kubelet's; what is in them is ours.
        let staged = fs::read_dir(self.folder.path().join("staging")).expect("the folder is there").flatten();
        let staged = staged.filter_map(|entry| fs::read_dir(entry.path()).ok()).flat_map(Iterator::flatten);
        let files = parts.iter().flat_map(|part| fs::read_dir(part).expect("the folder is there").flatten());
        let files: Vec<String> = files.chain(staged).map(|entry| entry.path().display().to_string()).collect();
        lines.into_iter().chain(files).chain(self.processes()).collect()
    }

    /// What is in the node's folder.
    pub fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).expect("the folder is there").flatten();
        let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    fn processes(&self) -> Vec<String> {
        let needle = self.folder.path().as_os_str().as_encoded_bytes();
        let entries = fs::read_dir("/proc").expect("the folder is there").flatten();
        let lines = entries.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
        let ours = lines.filter(|line| line.windows(needle.len()).any(|part| part == needle));
        let texts = ours.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
        texts.filter(|line| !line.contains(" csi --mode ")).collect()
    }

    /// Nothing is left, at once or soon.
    pub fn is_clean(&self) {
        let clean = wait::within(Duration::from_secs(10), || self.remains().is_empty().then_some(()));
        assert!(clean.is_some(), "{}: {:#?}\n{}", self.name, self.remains(), self.log());
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let points: Vec<&Path> = table.lines().rev().filter_map(|line| line.split(' ').nth(4)).map(Path::new).collect();
        let ours = |part: &str| {
            let part = self.folder.path().join(part);
            points.iter().filter(move |point| point.starts_with(&part)).copied().collect::<Vec<_>>()
        };
        for point in ours("pods").into_iter().chain(ours("staging")) {
            let _ = output(Command::new("umount").arg("-l").arg(point));
        }
        let folder = &self.attach;
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name().into_string().unwrap_or_default();
            let folder = folder.display().to_string();
            let _ = self.shell.plinth(&["detach", &name, "--force", "--timeout", "2", "--folder", &folder]);
        }
    }
}

impl Caller {
    pub fn new(folder: &Path) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let socket = format!("unix://{}/csi.sock", folder.display());
        let channel = runtime.block_on(async { Endpoint::from_shared(socket).expect("an address").connect_lazy() });
        Self { runtime, channel, folder: folder.to_owned() }
    }

    pub fn staging(&self, volume: &str) -> PathBuf {
        self.folder.join("staging").join(volume)
    }

    pub fn target(&self, pod: &str) -> PathBuf {
        self.folder.join("pods").join(pod)
    }

    /// Any call, with a time limit that the plugin hears of.
    pub fn call<Q, A>(
        &self,
        limit: Duration,
        message: Q,
        send: impl AsyncFnOnce(NodeClient<Channel>, Request<Q>) -> Result<Response<A>, Status>,
    ) -> Result<A, Status> {
        let mut request = Request::new(message);
        request.set_timeout(limit);
        let client = NodeClient::new(self.channel.clone());
        self.runtime.block_on(send(client, request)).map(Response::into_inner)
    }

    /// Any call of the controller's.
    pub fn control<Q, A>(
        &self,
        message: Q,
        send: impl AsyncFnOnce(ControllerClient<Channel>, Request<Q>) -> Result<Response<A>, Status>,
    ) -> Result<A, Status> {
        let mut request = Request::new(message);
        request.set_timeout(CALL_MAX);
        let client = ControllerClient::new(self.channel.clone());
        self.runtime.block_on(send(client, request)).map(Response::into_inner)
    }

    pub fn stage_as(
        &self,
        volume: &str,
        capability: csi::VolumeCapability,
        context: &[(&str, &str)],
    ) -> Result<(), Status> {
        self.stage_within(CALL_MAX, volume, capability, context)
    }

    pub fn stage_within(
        &self,
        limit: Duration,
        volume: &str,
        capability: csi::VolumeCapability,
        context: &[(&str, &str)],
    ) -> Result<(), Status> {
        let staging = self.staging(volume);
        let _ = fs::create_dir_all(&staging);
        let context = context.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let message = csi::NodeStageVolumeRequest {
            volume_id: volume.to_owned(),
            staging_target_path: text(&staging),
            volume_capability: Some(capability),
            volume_context: context,
            ..csi::NodeStageVolumeRequest::default()
        };
        self.call(limit, message, async |mut client, request| client.node_stage_volume(request).await).map(drop)
    }

    pub fn stage(&self, volume: &str) -> Result<(), Status> {
        self.stage_as(volume, mount("ext4"), &[])
    }

    pub fn unstage(&self, volume: &str) -> Result<(), Status> {
        let message = csi::NodeUnstageVolumeRequest {
            volume_id: volume.to_owned(),
            staging_target_path: text(&self.staging(volume)),
        };
        self.call(CALL_MAX, message, async |mut client, request| client.node_unstage_volume(request).await).map(drop)
    }

    /// As the kubelet does it, again and again: whoever looks for a free loop device on this host claims ours for an instant.
    pub fn unstage_at_last(&self, volume: &str) {
        wait::until("the volume to be unstaged", || match self.unstage(volume) {
            Ok(()) => Some(()),
            Err(status) => {
                assert!(status.message().contains("held by another program"), "{status}");
                None
            }
        });
    }

    pub fn publish_as(
        &self,
        volume: &str,
        pod: &str,
        capability: csi::VolumeCapability,
        readonly: bool,
    ) -> Result<(), Status> {
        let message = csi::NodePublishVolumeRequest {
            volume_id: volume.to_owned(),
            staging_target_path: text(&self.staging(volume)),
            target_path: text(&self.target(pod)),
            volume_capability: Some(capability),
            readonly,
            ..csi::NodePublishVolumeRequest::default()
        };
        self.call(CALL_MAX, message, async |mut client, request| client.node_publish_volume(request).await).map(drop)
    }

    pub fn publish(&self, volume: &str, pod: &str) -> Result<(), Status> {
        self.publish_as(volume, pod, mount("ext4"), false)
    }

    pub fn unpublish(&self, volume: &str, pod: &str) -> Result<(), Status> {
        let message =
            csi::NodeUnpublishVolumeRequest { volume_id: volume.to_owned(), target_path: text(&self.target(pod)) };
        self.call(CALL_MAX, message, async |mut client, request| client.node_unpublish_volume(request).await).map(drop)
    }

    pub fn stats(&self, volume: &str, path: &Path) -> Result<csi::NodeGetVolumeStatsResponse, Status> {
        let message = csi::NodeGetVolumeStatsRequest {
            volume_id: volume.to_owned(),
            volume_path: text(path),
            ..csi::NodeGetVolumeStatsRequest::default()
        };
        self.call(CALL_MAX, message, async |mut client, request| client.node_get_volume_stats(request).await)
    }

    pub fn expand(&self, volume: &str, path: &Path, required_bytes: i64) -> Result<i64, Status> {
        let message = csi::NodeExpandVolumeRequest {
            volume_id: volume.to_owned(),
            volume_path: text(path),
            capacity_range: Some(csi::CapacityRange { required_bytes, limit_bytes: 0 }),
            ..csi::NodeExpandVolumeRequest::default()
        };
        let answer = self.call(CALL_MAX, message, async |mut client, request| client.node_expand_volume(request).await);
        answer.map(|answer| answer.capacity_bytes)
    }
}

pub fn text(path: &Path) -> String {
    path.to_str().expect("a plain path").to_owned()
}
