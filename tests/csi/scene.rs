//! A cluster and a plugin, and what a sidecar would ask it.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use proto::csi;
use proto::csi::controller_client::ControllerClient;
use proto::csi::group_controller_client::GroupControllerClient;
use proto::csi::identity_client::IdentityClient;
use proto::csi::snapshot_metadata_client::SnapshotMetadataClient;
use proto::csi::volume_capability::access_mode::Mode;
use proto::csi::volume_capability::{AccessMode, AccessType, BlockVolume, MountVolume};
use proto::v1::volume_service_client::VolumeServiceClient;
use tempfile::TempDir;
use tests::node::program;
use tests::tool::{Running, output, tool};
use tests::wait;
use tokio::runtime::{Builder, Runtime};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status};

pub const GIB: i64 = 1 << 30;
pub const MIB: i64 = 1 << 20;
/// How long a call may take, as Kubernetes has it.
const CALL_MAX: Duration = Duration::from_secs(60);

/// A cluster whose nodes `node1` to `node3` are zones of their own, and a plugin that has every service, as host `h1`.
pub struct Scene {
    control: SocketAddr,
    cluster: Option<Running>,
    plugins: BTreeMap<String, Running>,
    runtime: Runtime,
    channel: Channel,
    /// Last: a process that still runs would put files into it.
    folder: TempDir,
}

/// As a device, with this access mode.
pub fn capability(mode: Mode) -> csi::VolumeCapability {
    csi::VolumeCapability {
        access_mode: Some(AccessMode { mode: mode.into() }),
        access_type: Some(AccessType::Block(BlockVolume {})),
    }
}

/// As a filesystem, with this access mode.
pub fn mounted(mode: Mode) -> csi::VolumeCapability {
    csi::VolumeCapability { access_type: Some(AccessType::Mount(MountVolume::default())), ..capability(mode) }
}

/// A volume of this name, of one replica and 64 MiB.
pub fn volume(name: &str) -> csi::CreateVolumeRequest {
    csi::CreateVolumeRequest {
        name: name.to_owned(),
        capacity_range: Some(csi::CapacityRange { required_bytes: 64 * MIB, limit_bytes: 0 }),
        volume_capabilities: vec![capability(Mode::SingleNodeWriter)],
        ..csi::CreateVolumeRequest::default()
    }
}

/// Of a class, or of one volume.
pub fn parameters<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

/// A zone.
pub fn zone(zone: &str) -> csi::Topology {
    csi::Topology { segments: parameters([("topology.plinth.dev/zone", zone)]) }
}

impl Scene {
    pub fn new() -> Self {
        let mut scene = Self::without_cluster();
        scene.start_cluster();
        scene.until_ready();
        scene.start_plugin("h2");
        scene.until_known(&["h1", "h2"]);
        scene
    }

    /// The plugin alone, with every service.
    pub fn without_cluster() -> Self {
        Self::of_mode("all")
    }

    /// The plugin alone.
    pub fn of_mode(mode: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("plinth-").tempdir().expect("a temporary folder");
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
        let control = free.expect("loopback has free ports");
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let endpoint = format!("unix://{}", folder.path().join("h1.sock").display());
        let channel = runtime.block_on(async { Endpoint::from_shared(endpoint).unwrap().connect_lazy() });
        let mut scene = Self { folder, control, cluster: None, plugins: BTreeMap::new(), runtime, channel };
        scene.start_as("h1", mode);
        scene
    }

    /// Starts it, or starts it again where it was.
    pub fn start_cluster(&mut self) {
        let data = self.path("data");
        let mut arguments: Vec<String> =
            ["dev", "--nodes", "3", "--nbd", "127.0.0.1:0", "--http", "127.0.0.1:0"].map(str::to_owned).to_vec();
        arguments.extend(["--control".to_owned(), self.control.to_string()]);
        arguments.extend(["--data".to_owned(), data.display().to_string()]);
        arguments.extend(["--volume".to_owned(), "first:16MiB".to_owned()]);
        self.cluster = Some(Running::start(&program(), &arguments, &self.path("cluster.log")));
    }

    pub fn kill_cluster(&mut self) {
        self.cluster = None;
    }

    /// Starts a plugin with every service, as a host of this name.
    pub fn start_plugin(&mut self, host: &str) {
        self.start_as(host, "all");
    }

    fn start_as(&mut self, host: &str, mode: &str) {
        let endpoint = format!("unix://{}", self.path(&format!("{host}.sock")).display());
        let (control, folder) = (self.control.to_string(), self.path(&format!("{host}-attach")).display().to_string());
        let arguments =
            ["-v", "csi", "--mode", mode, "--endpoint", &endpoint, "--control", &control, "--node-id", host]
                .into_iter()
                .chain(["--label", "zone=node1", "--folder", &folder]);
        let arguments: Vec<String> = arguments.map(str::to_owned).collect();
        let log = self.path(&format!("{host}.log"));
        self.plugins.insert(host.to_owned(), Running::start(&program(), &arguments, &log));
    }

    /// The process of the plugin that is asked.
    pub fn plugin(&mut self) -> &mut Running {
        self.plugins.get_mut("h1").expect("it was started")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn log(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// Whether the plugin says that it is ready; none when it does not answer.
    pub fn probe(&self) -> Option<bool> {
        let asked = IdentityClient::new(self.channel.clone());
        self.runtime.block_on(async move {
            let mut asked = asked;
            asked.probe(csi::ProbeRequest {}).await.ok().and_then(|answer| answer.into_inner().ready)
        })
    }

    pub fn until_ready(&self) {
        let ready = wait::within(wait::PATIENCE, || self.probe().filter(|ready| *ready));
        assert!(ready.is_some(), "the plugin is not ready:\n{}\n{}", self.log("h1.log"), self.log("cluster.log"));
        wait::until("room for three replicas", || {
            let class = parameters([("replicas", "3")]);
            let request = csi::GetCapacityRequest { parameters: class, ..csi::GetCapacityRequest::default() };
            let room = self.call(async |mut client, request| client.get_capacity(request).await, request).ok()?;
            room.maximum_volume_size.filter(|bytes| *bytes > GIB)
        });
        wait::until("the first volume", || self.list(0, "").ok().filter(|list| !list.entries.is_empty()));
    }

    fn until_known(&self, hosts: &[&str]) {
        use proto::v1::ListHostsRequest;
        use proto::v1::host_service_client::HostServiceClient;
        wait::until("the hosts to be known", || {
            let listed = self.runtime.block_on(async {
                let channel =
                    Endpoint::from_shared(format!("http://{}", self.control)).unwrap().connect().await.ok()?;
                HostServiceClient::new(channel).list(ListHostsRequest {}).await.ok()
            });
            let names: Vec<String> = listed?.into_inner().hosts.into_iter().map(|host| host.name).collect();
            hosts.iter().all(|host| names.iter().any(|name| name == host)).then_some(())
        });
    }

    /// A call of the Controller service.
    pub fn call<Q, A>(
        &self,
        call: impl AsyncFnOnce(ControllerClient<Channel>, Request<Q>) -> Result<Response<A>, Status>,
        request: Q,
    ) -> Result<A, Status> {
        let client = ControllerClient::new(self.channel.clone());
        self.runtime.block_on(call(client, limited(request))).map(Response::into_inner)
    }

    /// A call of the GroupController service.
    pub fn group_call<Q, A>(
        &self,
        call: impl AsyncFnOnce(GroupControllerClient<Channel>, Request<Q>) -> Result<Response<A>, Status>,
        request: Q,
    ) -> Result<A, Status> {
        let client = GroupControllerClient::new(self.channel.clone());
        self.runtime.block_on(call(client, limited(request))).map(Response::into_inner)
    }

    /// Anything else that a client does.
    pub fn run<T>(&self, doing: impl AsyncFnOnce(Channel) -> T) -> T {
        self.runtime.block_on(doing(self.channel.clone()))
    }

    /// Something of the cluster itself.
    pub fn ask<T>(&self, doing: impl AsyncFnOnce(VolumeServiceClient<Channel>) -> T) -> T {
        self.runtime.block_on(async {
            let channel = Endpoint::from_shared(format!("http://{}", self.control)).unwrap().connect().await.unwrap();
            doing(VolumeServiceClient::new(channel)).await
        })
    }

    pub fn metadata(&self) -> SnapshotMetadataClient<Channel> {
        SnapshotMetadataClient::new(self.channel.clone())
    }

    pub fn create(&self, request: csi::CreateVolumeRequest) -> Result<csi::Volume, Status> {
        let made = self.call(async |mut client, request| client.create_volume(request).await, request);
        made.map(|made| made.volume.unwrap())
    }

    pub fn delete(&self, volume_id: &str) -> Result<(), Status> {
        let request = csi::DeleteVolumeRequest { volume_id: volume_id.to_owned(), ..Default::default() };
        self.call(async |mut client, request| client.delete_volume(request).await, request).map(drop)
    }

    pub fn publish(&self, volume: &str, host: &str, mode: Mode, readonly: bool) -> Result<Published, Status> {
        let request = publish_request(volume, host, mode, readonly);
        let published = self.call(async |mut client, request| client.controller_publish_volume(request).await, request);
        published.map(|published| published.publish_context)
    }

    pub fn unpublish(&self, volume: &str, host: &str) -> Result<(), Status> {
        let (volume_id, node_id) = (volume.to_owned(), host.to_owned());
        let request = csi::ControllerUnpublishVolumeRequest { volume_id, node_id, ..Default::default() };
        self.call(async |mut client, request| client.controller_unpublish_volume(request).await, request).map(drop)
    }

    pub fn snapshot(&self, name: &str, volume: &str) -> Result<csi::Snapshot, Status> {
        let (name, source_volume_id) = (name.to_owned(), volume.to_owned());
        let request = csi::CreateSnapshotRequest { name, source_volume_id, ..Default::default() };
        let taken = self.call(async |mut client, request| client.create_snapshot(request).await, request);
        taken.map(|taken| taken.snapshot.unwrap())
    }

    pub fn list(&self, max_entries: i32, starting_token: &str) -> Result<csi::ListVolumesResponse, Status> {
        let request = csi::ListVolumesRequest { max_entries, starting_token: starting_token.to_owned() };
        self.call(async |mut client, request| client.list_volumes(request).await, request)
    }
}

impl Drop for Scene {
    /// Devices and mounts outlive a plugin that is killed.
    fn drop(&mut self) {
        self.plugins.clear();
        let within = self.folder.path().display().to_string();
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let places = table.lines().filter_map(|line| line.split(' ').nth(4)).filter(|place| place.starts_with(&within));
        for place in places.collect::<Vec<_>>().into_iter().rev() {
            let _gone = output(tool("umount").args(["-l", place]));
        }
        for folder in ["h1-attach", "h2-attach"] {
            let control = self.control.to_string();
            let volumes = fs::read_dir(self.path(folder)).into_iter().flatten().flatten();
            for volume in volumes.filter_map(|entry| entry.file_name().into_string().ok()) {
                let folder = self.path(folder).display().to_string();
                let mut detach = tool(&program().display().to_string());
                let _gone = output(detach.args([
                    "detach",
                    &volume,
                    "--force",
                    "--timeout",
                    "5",
                    "--folder",
                    &folder,
                    "--control",
                    &control,
                ]));
            }
        }
        self.cluster = None;
    }
}

/// What a node is told.
pub type Published = BTreeMap<String, String>;

pub fn publish_request(volume: &str, host: &str, mode: Mode, readonly: bool) -> csi::ControllerPublishVolumeRequest {
    csi::ControllerPublishVolumeRequest {
        volume_id: volume.to_owned(),
        node_id: host.to_owned(),
        volume_capability: Some(capability(mode)),
        readonly,
        ..Default::default()
    }
}

/// A request that its caller waits for so long.
pub fn limited<Q>(request: Q) -> Request<Q> {
    let mut request = Request::new(request);
    request.set_timeout(CALL_MAX);
    request
}
