//! What the sidecars and the kubelet ask, of the controller's plugin on this host and of the node's in the guest.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use proto::csi;
use proto::csi::controller_client::ControllerClient;
use proto::csi::node_client::NodeClient;
use proto::csi::volume_capability::access_mode::Mode;
use proto::csi::volume_capability::{AccessMode, AccessType, BlockVolume, MountVolume};
use proto::csi::volume_content_source::{SnapshotSource, Type, VolumeSource};
use tokio::runtime::{Builder, Runtime};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status};

/// How long a call may take, as Kubernetes has it.
const CALL_MAX: Duration = Duration::from_secs(120);
/// How the guest is called.
pub const NODE: &str = "guest";
pub const MIB: i64 = 1 << 20;

/// Somebody who calls both.
#[derive(Debug)]
pub struct Calls {
    runtime: Runtime,
    controller: Channel,
    node: Endpoint,
}

/// A volume on its way through the calls.
#[derive(Clone, Debug)]
pub struct Claim {
    pub id: String,
    shape: Shape,
    volume_context: BTreeMap<String, String>,
    publish_context: BTreeMap<String, String>,
}

/// How a claim is used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    Ext4,
    Xfs,
    Block,
}

impl Shape {
    pub fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
            Self::Block => "block",
        }
    }

    fn capability(self) -> csi::VolumeCapability {
        let access_type = match self {
            Self::Block => AccessType::Block(BlockVolume {}),
            Self::Ext4 | Self::Xfs => {
                AccessType::Mount(MountVolume { fs_type: self.name().to_owned(), ..MountVolume::default() })
            }
        };
        let access_mode = Some(AccessMode { mode: Mode::SingleNodeWriter.into() });
        csi::VolumeCapability { access_type: Some(access_type), access_mode }
    }
}

impl Claim {
    /// Where it is staged in the guest.
    pub fn staging(&self) -> String {
        format!("/staging/{}", self.id)
    }

    /// Where the pod has it.
    pub fn target(&self) -> String {
        format!("/pods/{}", self.id)
    }
}

/// Contents of a new volume: none, a snapshot's, a volume's.
pub fn of_snapshot(snapshot: &csi::Snapshot) -> csi::VolumeContentSource {
    let source = SnapshotSource { snapshot_id: snapshot.snapshot_id.clone() };
    csi::VolumeContentSource { r#type: Some(Type::Snapshot(source)) }
}

pub fn of_volume(claim: &Claim) -> csi::VolumeContentSource {
    csi::VolumeContentSource { r#type: Some(Type::Volume(VolumeSource { volume_id: claim.id.clone() })) }
}

impl Calls {
    pub fn new(controller: &Path, node: SocketAddr) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let controller = endpoint(format!("unix://{}", controller.display()));
        let controller = runtime.block_on(async { controller.connect_lazy() });
        Self { runtime, controller, node: endpoint(format!("http://{node}")) }
    }

    fn control<Q, A>(
        &self,
        message: Q,
        send: impl AsyncFnOnce(ControllerClient<Channel>, Request<Q>) -> Result<Response<A>, Status>,
    ) -> Result<A, Status> {
        let client = ControllerClient::new(self.controller.clone());
        self.runtime.block_on(send(client, limited(message))).map(Response::into_inner)
    }

    /// As the kubelet, which connects for every call.
    fn node<Q, A>(
        &self,
        message: Q,
        send: impl AsyncFnOnce(NodeClient<Channel>, Request<Q>) -> Result<Response<A>, Status>,
    ) -> Result<A, Status> {
        let asking = async { send(NodeClient::new(self.node.connect_lazy()), limited(message)).await };
        self.runtime.block_on(asking).map(Response::into_inner)
    }

    /// Whether the node's plugin answers, and says the right name.
    pub fn is_there(&self) -> bool {
        let asked = self.node(csi::NodeGetInfoRequest {}, async |mut node, ask| node.node_get_info(ask).await);
        asked.is_ok_and(|info| info.node_id == NODE)
    }

    /// A volume with three replicas.
    pub fn create(
        &self,
        name: &str,
        shape: Shape,
        size_bytes: i64,
        source: Option<csi::VolumeContentSource>,
    ) -> Result<Claim, Status> {
        let request = csi::CreateVolumeRequest {
            name: name.to_owned(),
            capacity_range: Some(csi::CapacityRange { required_bytes: size_bytes, limit_bytes: 0 }),
            volume_capabilities: vec![shape.capability()],
            parameters: BTreeMap::from([("replicas".to_owned(), "3".to_owned())]),
            volume_content_source: source,
            ..csi::CreateVolumeRequest::default()
        };
        let made = self.control(request, async |mut plugin, ask| plugin.create_volume(ask).await)?;
        let volume = made.volume.expect("an answer has the volume");
        let (id, volume_context) = (volume.volume_id, volume.volume_context);
        Ok(Claim { id, shape, volume_context, publish_context: BTreeMap::new() })
    }

    pub fn delete(&self, claim: &Claim) -> Result<(), Status> {
        let request = csi::DeleteVolumeRequest { volume_id: claim.id.clone(), ..Default::default() };
        self.control(request, async |mut plugin, ask| plugin.delete_volume(ask).await).map(drop)
    }

    pub fn give(&self, claim: &mut Claim) -> Result<(), Status> {
        let request = csi::ControllerPublishVolumeRequest {
            volume_id: claim.id.clone(),
            node_id: NODE.to_owned(),
            volume_capability: Some(claim.shape.capability()),
            volume_context: claim.volume_context.clone(),
            ..Default::default()
        };
        let given = self.control(request, async |mut plugin, ask| plugin.controller_publish_volume(ask).await)?;
        claim.publish_context = given.publish_context;
        Ok(())
    }

    pub fn take(&self, claim: &Claim) -> Result<(), Status> {
        let (volume_id, node_id) = (claim.id.clone(), NODE.to_owned());
        let request = csi::ControllerUnpublishVolumeRequest { volume_id, node_id, ..Default::default() };
        self.control(request, async |mut plugin, ask| plugin.controller_unpublish_volume(ask).await).map(drop)
    }

    pub fn snapshot(&self, name: &str, claim: &Claim) -> Result<csi::Snapshot, Status> {
        let (name, source_volume_id) = (name.to_owned(), claim.id.clone());
        let request = csi::CreateSnapshotRequest { name, source_volume_id, ..Default::default() };
        let taken = self.control(request, async |mut plugin, ask| plugin.create_snapshot(ask).await)?;
        Ok(taken.snapshot.expect("an answer has the snapshot"))
    }

    pub fn delete_snapshot(&self, snapshot: &csi::Snapshot) -> Result<(), Status> {
        let request = csi::DeleteSnapshotRequest { snapshot_id: snapshot.snapshot_id.clone(), ..Default::default() };
        self.control(request, async |mut plugin, ask| plugin.delete_snapshot(ask).await).map(drop)
    }

    /// As the resizer and then the kubelet do it; answers what the node says of the size.
    pub fn expand(&self, claim: &Claim, size_bytes: i64) -> Result<i64, Status> {
        let range = Some(csi::CapacityRange { required_bytes: size_bytes, limit_bytes: 0 });
        let request = csi::ControllerExpandVolumeRequest {
            volume_id: claim.id.clone(),
            capacity_range: range,
            volume_capability: Some(claim.shape.capability()),
            ..Default::default()
        };
        let grown = self.control(request, async |mut plugin, ask| plugin.controller_expand_volume(ask).await)?;
        assert!(grown.node_expansion_required && grown.capacity_bytes == size_bytes, "{grown:?}");
        let request = csi::NodeExpandVolumeRequest {
            volume_id: claim.id.clone(),
            volume_path: claim.target(),
            staging_target_path: claim.staging(),
            capacity_range: range,
            volume_capability: Some(claim.shape.capability()),
            ..Default::default()
        };
        let grown = self.node(request, async |mut node, ask| node.node_expand_volume(ask).await)?;
        Ok(grown.capacity_bytes)
    }

    pub fn stage(&self, claim: &Claim) -> Result<(), Status> {
        let request = csi::NodeStageVolumeRequest {
            volume_id: claim.id.clone(),
            staging_target_path: claim.staging(),
            volume_capability: Some(claim.shape.capability()),
            publish_context: claim.publish_context.clone(),
            volume_context: claim.volume_context.clone(),
            ..Default::default()
        };
        self.node(request, async |mut node, ask| node.node_stage_volume(ask).await).map(drop)
    }

    pub fn unstage(&self, claim: &Claim) -> Result<(), Status> {
        let (volume_id, staging_target_path) = (claim.id.clone(), claim.staging());
        let request = csi::NodeUnstageVolumeRequest { volume_id, staging_target_path };
        self.node(request, async |mut node, ask| node.node_unstage_volume(ask).await).map(drop)
    }

    pub fn publish(&self, claim: &Claim) -> Result<(), Status> {
        let request = csi::NodePublishVolumeRequest {
            volume_id: claim.id.clone(),
            staging_target_path: claim.staging(),
            target_path: claim.target(),
            volume_capability: Some(claim.shape.capability()),
            publish_context: claim.publish_context.clone(),
            volume_context: claim.volume_context.clone(),
            ..Default::default()
        };
        self.node(request, async |mut node, ask| node.node_publish_volume(ask).await).map(drop)
    }

    pub fn unpublish(&self, claim: &Claim) -> Result<(), Status> {
        let (volume_id, target_path) = (claim.id.clone(), claim.target());
        let request = csi::NodeUnpublishVolumeRequest { volume_id, target_path };
        self.node(request, async |mut node, ask| node.node_unpublish_volume(ask).await).map(drop)
    }

    pub fn stats(&self, claim: &Claim) -> Result<csi::NodeGetVolumeStatsResponse, Status> {
        let (volume_id, volume_path) = (claim.id.clone(), claim.target());
        let request = csi::NodeGetVolumeStatsRequest { volume_id, volume_path, staging_target_path: claim.staging() };
        self.node(request, async |mut node, ask| node.node_get_volume_stats(ask).await)
    }

    /// From nothing to a pod's path.
    pub fn bring(&self, claim: &mut Claim) {
        self.give(claim).expect("it is published to the node");
        self.stage(claim).expect("it is staged");
        self.publish(claim).expect("the pod gets it");
    }

    /// And back, with every call repeated.
    pub fn put_away(&self, claim: &Claim) {
        for _ in 0..2 {
            self.unpublish(claim).expect("the pod gives it back");
        }
        for _ in 0..2 {
            self.unstage(claim).expect("it is unstaged");
        }
        for _ in 0..2 {
            self.take(claim).expect("it is taken from the node");
        }
    }
}

fn endpoint(address: String) -> Endpoint {
    Endpoint::from_shared(address).expect("an address")
}

/// A request that its caller waits for so long.
fn limited<Q>(message: Q) -> Request<Q> {
    let mut request = Request::new(message);
    request.set_timeout(CALL_MAX);
    request
}
