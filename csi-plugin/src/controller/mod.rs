//! The Controller service: what is done once for the whole cluster.
//!
//! Every call checks in this order: what is missing; whether it is there; whether it fits what is there; limits. A retry
//! finds what an earlier call began, also one that was given up, because what is begun is in the cluster's state.
//!
//! Files: `create` new volumes, `publish` who may use them, `change` size and parameters, `look` what there is, `snapshots`.

mod change;
mod create;
mod look;
mod publish;
mod snapshots;

use std::sync::Arc;
use std::time::Duration;

use client::ClientError;
use proto::csi;
use proto::csi::controller_service_capability::rpc::Type as Call;
use proto::csi::controller_service_capability::{Rpc, Type};
use proto::v1;
use tonic::{Request, Response, Status};

use crate::cluster::{Asking, Cluster};
use crate::deadline::time_for;
use crate::fault;
use crate::names;
use crate::told::told;

const CAPABILITIES: [Call; 15] = [
    Call::CreateDeleteVolume,
    Call::PublishUnpublishVolume,
    Call::ListVolumes,
    Call::GetCapacity,
    Call::CreateDeleteSnapshot,
    Call::ListSnapshots,
    Call::CloneVolume,
    Call::PublishReadonly,
    Call::ExpandVolume,
    Call::ListVolumesPublishedNodes,
    Call::VolumeCondition,
    Call::GetVolume,
    Call::SingleNodeMultiWriter,
    Call::ModifyVolume,
    Call::GetSnapshot,
];

/// The service.
#[derive(Debug)]
pub(crate) struct ControllerService {
    cluster: Arc<Cluster>,
}

impl ControllerService {
    pub fn new(cluster: Arc<Cluster>) -> Self {
        Self { cluster }
    }

    fn ask(&self, time: Duration) -> Asking<'_> {
        self.cluster.ask(time)
    }
}

/// The volume of an id, if there is one.
async fn find(asking: &mut Asking<'_>, id: &str) -> Result<Option<v1::Volume>, Status> {
    if !names::is_name(id) {
        return Ok(None);
    }
    match asking.volume(id).await {
        Ok(volume) => Ok(Some(volume)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(fault::of_client(&error)),
    }
}

/// The volume of an id.
async fn existing(asking: &mut Asking<'_>, id: &str) -> Result<v1::Volume, Status> {
    find(asking, id).await?.ok_or_else(|| Status::not_found(format!("there is no volume \"{id}\"")))
}

/// Waits for what was begun, if it goes on.
async fn finish(asking: &mut Asking<'_>, operation: Option<v1::Operation>) -> Result<(), Status> {
    match operation {
        Some(operation) => asking.finish(operation).await.map(drop).map_err(|error| fault::of_client(&error)),
        None => Ok(()),
    }
}

/// An answer that must have this.
fn told_by_cluster<T>(found: Option<T>, lacks: &'static str) -> Result<T, Status> {
    found.ok_or_else(|| fault::of_client(&ClientError::Garbled(lacks)))
}

#[tonic::async_trait]
impl csi::controller_server::Controller for ControllerService {
    async fn create_volume(
        &self,
        request: Request<csi::CreateVolumeRequest>,
    ) -> Result<Response<csi::CreateVolumeResponse>, Status> {
        let (time, request) = (time_for(&request), request.into_inner());
        told("CreateVolume", &request.name, self.create(&request, time)).await
    }

    async fn delete_volume(
        &self,
        request: Request<csi::DeleteVolumeRequest>,
    ) -> Result<Response<csi::DeleteVolumeResponse>, Status> {
        let (time, request) = (time_for(&request), request.into_inner());
        told("DeleteVolume", &request.volume_id, self.delete(&request, time)).await
    }

    async fn controller_publish_volume(
        &self,
        request: Request<csi::ControllerPublishVolumeRequest>,
    ) -> Result<Response<csi::ControllerPublishVolumeResponse>, Status> {
        let (time, request) = (time_for(&request), request.into_inner());
        let subject = format!("{} to {}", request.volume_id, request.node_id);
        told("ControllerPublishVolume", &subject, self.publish(&request, time)).await
    }

    async fn controller_unpublish_volume(
        &self,
        request: Request<csi::ControllerUnpublishVolumeRequest>,
    ) -> Result<Response<csi::ControllerUnpublishVolumeResponse>, Status> {
        let (time, request) = (time_for(&request), request.into_inner());
        let subject = format!("{} from {}", request.volume_id, request.node_id);
        told("ControllerUnpublishVolume", &subject, self.unpublish(&request, time)).await
    }

    async fn validate_volume_capabilities(
        &self,
        request: Request<csi::ValidateVolumeCapabilitiesRequest>,
    ) -> Result<Response<csi::ValidateVolumeCapabilitiesResponse>, Status> {
        let (time, request) = (time_for(&request), request.into_inner());
        told("ValidateVolumeCapabilities", &request.volume_id.clone(), self.validate(request, time)).await
    }

    async fn list_volumes(
        &self,
        request: Request<csi::ListVolumesRequest>,
    ) -> Result<Response<csi::ListVolumesResponse>, Status> {
        let (time, request) = (time_for(&request), request.into_inner());
        told("ListVolumes", &request.starting_token, self.list(&request, time)).await
    }

    async fn get_capacity(
        &self,
        request: Request<csi::GetCapacityRequest>,
    ) -> Result<Response<csi::GetCapacityResponse>, Status> {
        let (time, request) = (time_for(&request), request.into_inner());
        told("GetCapacity", "", self.capacity(&request, time)).await
    }

    async fn controller_get_capabilities(
        &self,
        _request: Request<csi::ControllerGetCapabilitiesRequest>,
    ) -> Result<Response<csi::ControllerGetCapabilitiesResponse>, Status> {
        let capability =
            |call: Call| csi::ControllerServiceCapability { r#type: Some(Type::Rpc(Rpc { r#type: call.into() })) };
        let capabilities = CAPABILITIES.map(capability).to_vec();
        Ok(Response::new(csi::ControllerGetCapabilitiesResponse { capabilities }))
    }

    async fn create_snapshot(
        &self,
        request: Request<csi::CreateSnapshotRequest>,
    ) -> Result<Response<csi::CreateSnapshotResponse>, Status> {
        let (time, request) = (time_for(&request), request.into_inner());
        told("CreateSnapshot", &request.name, self.take_snapshot(&request, time)).await
    }

    async fn delete_snapshot(
        &self,
        request: Request<csi::DeleteSnapshotRequest>,
    ) -> Result<Response<csi::DeleteSnapshotResponse>, Status> {
        let (time, request) = (time_for(&request), request.into_inner());
        told("DeleteSnapshot", &request.snapshot_id, self.drop_snapshot(&request, time)).await
    }

    async fn list_snapshots(
        &self,
        request: Request<csi::ListSnapshotsRequest>,
    ) -> Result<Response<csi::ListSnapshotsResponse>, Status> {
        let (time, request) = (time_for(&request), request.into_inner());
        told("ListSnapshots", &request.source_volume_id, self.snapshots(&request, time)).await
    }

    async fn get_snapshot(
        &self,
        request: Request<csi::GetSnapshotRequest>,
    ) -> Result<Response<csi::GetSnapshotResponse>, Status> {
        let (time, request) = (time_for(&request), request.into_inner());
        told("GetSnapshot", &request.snapshot_id, self.snapshot(&request, time)).await
    }

    async fn controller_expand_volume(
        &self,
        request: Request<csi::ControllerExpandVolumeRequest>,
    ) -> Result<Response<csi::ControllerExpandVolumeResponse>, Status> {
        let (time, request) = (time_for(&request), request.into_inner());
        told("ControllerExpandVolume", &request.volume_id, self.expand(&request, time)).await
    }

    async fn controller_get_volume(
        &self,
        request: Request<csi::ControllerGetVolumeRequest>,
    ) -> Result<Response<csi::ControllerGetVolumeResponse>, Status> {
        let (time, request) = (time_for(&request), request.into_inner());
        told("ControllerGetVolume", &request.volume_id, self.volume(&request, time)).await
    }

    async fn controller_modify_volume(
        &self,
        request: Request<csi::ControllerModifyVolumeRequest>,
    ) -> Result<Response<csi::ControllerModifyVolumeResponse>, Status> {
        let (time, request) = (time_for(&request), request.into_inner());
        told("ControllerModifyVolume", &request.volume_id, self.modify(&request, time)).await
    }
}
