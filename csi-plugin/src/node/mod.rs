//! The Node service: what is done on the host whose workload uses a volume.

use std::sync::Arc;

use proto::csi;
use tonic::{Request, Response, Status};

use crate::cluster::Cluster;
use crate::plugin::NodeConfig;

/// The service.
#[derive(Debug)]
pub(crate) struct NodeService {
    _config: NodeConfig,
    _cluster: Arc<Cluster>,
}

impl NodeService {
    pub fn new(config: NodeConfig, cluster: Arc<Cluster>) -> Self {
        Self { _config: config, _cluster: cluster }
    }
}

fn missing<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("this version cannot do that"))
}

#[tonic::async_trait]
impl csi::node_server::Node for NodeService {
    async fn node_stage_volume(
        &self,
        _request: Request<csi::NodeStageVolumeRequest>,
    ) -> Result<Response<csi::NodeStageVolumeResponse>, Status> {
        missing()
    }

    async fn node_unstage_volume(
        &self,
        _request: Request<csi::NodeUnstageVolumeRequest>,
    ) -> Result<Response<csi::NodeUnstageVolumeResponse>, Status> {
        missing()
    }

    async fn node_publish_volume(
        &self,
        _request: Request<csi::NodePublishVolumeRequest>,
    ) -> Result<Response<csi::NodePublishVolumeResponse>, Status> {
        missing()
    }

    async fn node_unpublish_volume(
        &self,
        _request: Request<csi::NodeUnpublishVolumeRequest>,
    ) -> Result<Response<csi::NodeUnpublishVolumeResponse>, Status> {
        missing()
    }

    async fn node_get_volume_stats(
        &self,
        _request: Request<csi::NodeGetVolumeStatsRequest>,
    ) -> Result<Response<csi::NodeGetVolumeStatsResponse>, Status> {
        missing()
    }

    async fn node_expand_volume(
        &self,
        _request: Request<csi::NodeExpandVolumeRequest>,
    ) -> Result<Response<csi::NodeExpandVolumeResponse>, Status> {
        missing()
    }

    async fn node_get_capabilities(
        &self,
        _request: Request<csi::NodeGetCapabilitiesRequest>,
    ) -> Result<Response<csi::NodeGetCapabilitiesResponse>, Status> {
        missing()
    }

    async fn node_get_info(
        &self,
        _request: Request<csi::NodeGetInfoRequest>,
    ) -> Result<Response<csi::NodeGetInfoResponse>, Status> {
        missing()
    }
}
