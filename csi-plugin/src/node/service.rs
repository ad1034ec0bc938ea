//! The service's calls: checked, in their turn, in their time.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use proto::csi;
use proto::csi::node_service_capability::rpc::Type;
use proto::csi::node_service_capability::{Rpc, Type as Kind};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tonic::{Request, Response, Status};

use super::Node;
use super::devices::Devices;
use super::expand::Expanding;
use super::publish::Publishing;
use super::stage::Staging;
use super::stats::signed;
use super::turns::Turns;
use super::wish::{Access, Context, needed, path};
use crate::cluster::Cluster;
use crate::deadline::time_for;
use crate::plugin::NodeConfig;

/// What this host's plugin can do.
const CAPABILITIES: [Type; 5] = [
    Type::StageUnstageVolume,
    Type::GetVolumeStats,
    Type::ExpandVolume,
    Type::VolumeCondition,
    Type::SingleNodeMultiWriter,
];
/// Labels of a host are topology of Kubernetes under this name.
const TOPOLOGY: &str = "topology.plinth.dev/";

/// The service.
#[derive(Debug)]
pub(crate) struct NodeService {
    node: Arc<Node>,
    turns: Arc<Turns>,
    /// Processes that keep devices are looked after, and devices that are of no use any more.
    care: [JoinHandle<()>; 2],
}

impl NodeService {
    /// In a runtime: devices are looked after from now on.
    pub fn new(config: NodeConfig, cluster: Arc<Cluster>, control: &[String]) -> Self {
        let devices = Devices::new(config.devices.clone(), &config.node_id, control);
        let revive = tokio::spawn(devices.clone().revive());
        let (node, turns) = (Arc::new(Node { config, cluster, devices }), Arc::new(Turns::default()));
        let (looking, its_turns) = (Arc::clone(&node), Arc::clone(&turns));
        let end_fenced = tokio::spawn(async move { looking.end_fenced(&its_turns).await });
        Self { node, turns, care: [revive, end_fenced] }
    }

    /// Does it when it is this volume's turn, and gives up in time to say so. What is given up is found by the next call.
    async fn in_turn<T>(
        &self,
        volume_id: &str,
        time: Duration,
        work: impl Future<Output = Result<T, Status>>,
    ) -> Result<Response<T>, Status> {
        let work = async {
            let _turn = self.turns.take(volume_id).await;
            work.await
        };
        match timeout(time, work).await {
            Ok(done) => done.map(Response::new),
            Err(_) => Err(Status::deadline_exceeded(format!(
                "it was not done within {:.1} s; another call goes on with it",
                time.as_secs_f32()
            ))),
        }
    }
}

impl Drop for NodeService {
    fn drop(&mut self) {
        self.care.iter().for_each(JoinHandle::abort);
    }
}

#[tonic::async_trait]
impl csi::node_server::Node for NodeService {
    async fn node_stage_volume(
        &self,
        request: Request<csi::NodeStageVolumeRequest>,
    ) -> Result<Response<csi::NodeStageVolumeResponse>, Status> {
        let (time, request) = (time_for(&request), request.into_inner());
        needed(&request.volume_id, "volume_id")?;
        let wish = Staging {
            path: path(&request.staging_target_path, "staging_target_path")?,
            access: Access::parse(request.volume_capability.as_ref())?,
            context: Context::parse(&request.volume_context)?,
            volume_id: request.volume_id,
        };
        let staged = self.node.stage(&wish);
        self.in_turn(&wish.volume_id, time, async { staged.await.map(|()| csi::NodeStageVolumeResponse {}) }).await
    }

    async fn node_unstage_volume(
        &self,
        request: Request<csi::NodeUnstageVolumeRequest>,
    ) -> Result<Response<csi::NodeUnstageVolumeResponse>, Status> {
        let (time, request) = (time_for(&request), request.into_inner());
        let volume = needed(&request.volume_id, "volume_id")?;
        let path = path(&request.staging_target_path, "staging_target_path")?;
        self.in_turn(volume, time, async {
            self.node.unstage(volume, &path).await.map(|()| csi::NodeUnstageVolumeResponse {})
        })
        .await
    }

    async fn node_publish_volume(
        &self,
        request: Request<csi::NodePublishVolumeRequest>,
    ) -> Result<Response<csi::NodePublishVolumeResponse>, Status> {
        let (time, request) = (time_for(&request), request.into_inner());
        needed(&request.volume_id, "volume_id")?;
        let target = path(&request.target_path, "target_path")?;
        let access = Access::parse(request.volume_capability.as_ref())?;
        if request.staging_target_path.is_empty() {
            return Err(Status::failed_precondition("staging_target_path is missing: volumes are staged first"));
        }
        let wish = Publishing {
            staging: path(&request.staging_target_path, "staging_target_path")?,
            target,
            access,
            read_only: request.readonly,
            volume_id: request.volume_id,
        };
        self.in_turn(&wish.volume_id, time, async {
            self.node.publish(&wish).await.map(|()| csi::NodePublishVolumeResponse {})
        })
        .await
    }

    async fn node_unpublish_volume(
        &self,
        request: Request<csi::NodeUnpublishVolumeRequest>,
    ) -> Result<Response<csi::NodeUnpublishVolumeResponse>, Status> {
        let (time, request) = (time_for(&request), request.into_inner());
        let volume = needed(&request.volume_id, "volume_id")?;
        let target = path(&request.target_path, "target_path")?;
        self.in_turn(volume, time, async {
            self.node.unpublish(&target).await.map(|()| csi::NodeUnpublishVolumeResponse {})
        })
        .await
    }

    async fn node_get_volume_stats(
        &self,
        request: Request<csi::NodeGetVolumeStatsRequest>,
    ) -> Result<Response<csi::NodeGetVolumeStatsResponse>, Status> {
        let (time, request) = (time_for(&request), request.into_inner());
        let volume = needed(&request.volume_id, "volume_id")?;
        let path = Path::new(needed(&request.volume_path, "volume_path")?);
        self.in_turn(volume, time, self.node.stats(volume, path)).await
    }

    async fn node_expand_volume(
        &self,
        request: Request<csi::NodeExpandVolumeRequest>,
    ) -> Result<Response<csi::NodeExpandVolumeResponse>, Status> {
        let (time, request) = (time_for(&request), request.into_inner());
        needed(&request.volume_id, "volume_id")?;
        let wish = Expanding {
            path: PathBuf::from(needed(&request.volume_path, "volume_path")?),
            staging: Some(request.staging_target_path).filter(|path| !path.is_empty()).map(PathBuf::from),
            range: request.capacity_range.unwrap_or_default(),
            volume_id: request.volume_id,
        };
        self.in_turn(&wish.volume_id, time, async {
            let size_bytes = self.node.expand(&wish).await?;
            Ok(csi::NodeExpandVolumeResponse { capacity_bytes: signed(size_bytes) })
        })
        .await
    }

    async fn node_get_capabilities(
        &self,
        _request: Request<csi::NodeGetCapabilitiesRequest>,
    ) -> Result<Response<csi::NodeGetCapabilitiesResponse>, Status> {
        let capability =
            |kind: Type| csi::NodeServiceCapability { r#type: Some(Kind::Rpc(Rpc { r#type: kind.into() })) };
        Ok(Response::new(csi::NodeGetCapabilitiesResponse { capabilities: CAPABILITIES.map(capability).to_vec() }))
    }

    async fn node_get_info(
        &self,
        _request: Request<csi::NodeGetInfoRequest>,
    ) -> Result<Response<csi::NodeGetInfoResponse>, Status> {
        let config = &self.node.config;
        let segments = config.labels.iter().map(|(key, value)| (format!("{TOPOLOGY}{key}"), value.clone())).collect();
        Ok(Response::new(csi::NodeGetInfoResponse {
            node_id: config.node_id.clone(),
            max_volumes_per_node: i64::from(config.volumes_max),
            accessible_topology: (!config.labels.is_empty()).then_some(csi::Topology { segments }),
        }))
    }
}
