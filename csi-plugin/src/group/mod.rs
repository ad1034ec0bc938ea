//! The GroupController service: snapshots of several volumes at one instant.

use std::sync::Arc;

use proto::csi;
use tonic::{Request, Response, Status};

use crate::cluster::Cluster;

/// The service.
#[derive(Debug)]
pub(crate) struct GroupService {
    _cluster: Arc<Cluster>,
}

impl GroupService {
    pub fn new(cluster: Arc<Cluster>) -> Self {
        Self { _cluster: cluster }
    }
}

fn missing<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("this version cannot do that"))
}

#[tonic::async_trait]
impl csi::group_controller_server::GroupController for GroupService {
    async fn group_controller_get_capabilities(
        &self,
        _request: Request<csi::GroupControllerGetCapabilitiesRequest>,
    ) -> Result<Response<csi::GroupControllerGetCapabilitiesResponse>, Status> {
        missing()
    }

    async fn create_volume_group_snapshot(
        &self,
        _request: Request<csi::CreateVolumeGroupSnapshotRequest>,
    ) -> Result<Response<csi::CreateVolumeGroupSnapshotResponse>, Status> {
        missing()
    }

    async fn delete_volume_group_snapshot(
        &self,
        _request: Request<csi::DeleteVolumeGroupSnapshotRequest>,
    ) -> Result<Response<csi::DeleteVolumeGroupSnapshotResponse>, Status> {
        missing()
    }

    async fn get_volume_group_snapshot(
        &self,
        _request: Request<csi::GetVolumeGroupSnapshotRequest>,
    ) -> Result<Response<csi::GetVolumeGroupSnapshotResponse>, Status> {
        missing()
    }
}
