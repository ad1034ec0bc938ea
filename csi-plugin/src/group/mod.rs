//! The GroupController service: snapshots of several volumes at one instant.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use client::request_id;
use proto::csi;
use proto::csi::group_controller_service_capability::rpc::Type as Call;
use proto::csi::group_controller_service_capability::{Rpc, Type};
use proto::v1;
use proto::v1::snapshot_service_client::SnapshotServiceClient;
use tonic::{Request, Response, Status};

use crate::cluster::{Asking, Cluster};
use crate::deadline::time_for;
use crate::needed::needed;
use crate::told::told;
use crate::{fault, names, parameters, view};

/// The service.
#[derive(Debug)]
pub(crate) struct GroupService {
    cluster: Arc<Cluster>,
}

impl GroupService {
    pub fn new(cluster: Arc<Cluster>) -> Self {
        Self { cluster }
    }

    async fn create(
        &self,
        request: &csi::CreateVolumeGroupSnapshotRequest,
        time: Duration,
    ) -> Result<csi::CreateVolumeGroupSnapshotResponse, Status> {
        let name = needed("name", &request.name)?;
        let volumes = volumes(&request.source_volume_ids)?;
        let labels = parameters::snapshot_labels(name, &request.parameters)?;
        let mut asking = self.cluster.ask(time);
        let (name, request_id) = (names::snapshot(name), request_id().map_err(|error| fault::of_client(&error))?);
        let wish = v1::CreateGroupRequest { request_id, name: name.clone(), volumes, labels, wait_ms: 0 };
        let send = async |channel, wish| SnapshotServiceClient::new(channel).create_group(wish).await;
        // It holds back the answer until the group is cut, or is not.
        let taken = asking.call_patiently(wish, send).await.map_err(|error| fault::of_client(&error))?;
        if let Some(operation) = taken.operation {
            asking.finish(operation).await.map_err(|error| fault::of_client(&error))?;
        }
        let group = find(&mut asking, &name).await?;
        let group =
            group.ok_or_else(|| Status::aborted(format!("group snapshot \"{name}\" was not taken: try again")))?;
        Ok(csi::CreateVolumeGroupSnapshotResponse { group_snapshot: Some(view::group(group)) })
    }

    async fn delete(
        &self,
        request: &csi::DeleteVolumeGroupSnapshotRequest,
        time: Duration,
    ) -> Result<csi::DeleteVolumeGroupSnapshotResponse, Status> {
        let id = needed("group_snapshot_id", &request.group_snapshot_id)?;
        let mut asking = self.cluster.ask(time);
        let done = csi::DeleteVolumeGroupSnapshotResponse {};
        let Some(group) = find(&mut asking, id).await? else { return Ok(done) };
        check_members(&group, &request.snapshot_ids)?;
        let request_id = request_id().map_err(|error| fault::of_client(&error))?;
        let wish = v1::DeleteGroupRequest { request_id, name: id.to_owned() };
        let send = async |channel, wish| SnapshotServiceClient::new(channel).delete_group(wish).await;
        match asking.call(wish, send).await {
            Ok(_) => Ok(done),
            Err(error) if error.is_not_found() => Ok(done),
            Err(error) => Err(fault::of_client(&error)),
        }
    }

    async fn get(
        &self,
        request: &csi::GetVolumeGroupSnapshotRequest,
        time: Duration,
    ) -> Result<csi::GetVolumeGroupSnapshotResponse, Status> {
        let id = needed("group_snapshot_id", &request.group_snapshot_id)?;
        let group = find(&mut self.cluster.ask(time), id).await?;
        let group = group.ok_or_else(|| Status::not_found(format!("there is no group snapshot \"{id}\"")))?;
        check_members(&group, &request.snapshot_ids)?;
        Ok(csi::GetVolumeGroupSnapshotResponse { group_snapshot: Some(view::group(group)) })
    }
}

/// The volumes of a group, each once.
fn volumes(ids: &[String]) -> Result<Vec<String>, Status> {
    if ids.is_empty() {
        return Err(Status::invalid_argument("source_volume_ids is missing"));
    }
    match ids.iter().find(|id| !names::is_name(id)) {
        Some(id) => Err(Status::not_found(format!("there is no volume \"{id}\""))),
        None => Ok(ids.iter().collect::<BTreeSet<_>>().into_iter().cloned().collect()),
    }
}

/// Whoever knows other snapshots of the group knows another group.
fn check_members(group: &v1::Group, known: &[String]) -> Result<(), Status> {
    let there: BTreeSet<&String> = group.snapshots.iter().map(|snapshot| &snapshot.name).collect();
    if known.is_empty() || known.iter().collect::<BTreeSet<_>>() == there {
        return Ok(());
    }
    let sentence = format!("snapshot_ids are not those of group snapshot \"{}\", which are {there:?}", group.name);
    Err(Status::invalid_argument(sentence))
}

async fn find(asking: &mut Asking<'_>, id: &str) -> Result<Option<v1::Group>, Status> {
    if !names::is_name(id) {
        return Ok(None);
    }
    let wish = v1::GetGroupRequest { name: id.to_owned() };
    match asking.call(wish, async |channel, wish| SnapshotServiceClient::new(channel).get_group(wish).await).await {
        Ok(group) => Ok(Some(group)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(fault::of_client(&error)),
    }
}

#[tonic::async_trait]
impl csi::group_controller_server::GroupController for GroupService {
    async fn group_controller_get_capabilities(
        &self,
        _request: Request<csi::GroupControllerGetCapabilitiesRequest>,
    ) -> Result<Response<csi::GroupControllerGetCapabilitiesResponse>, Status> {
        let call = Call::CreateDeleteGetVolumeGroupSnapshot;
        let capability = csi::GroupControllerServiceCapability { r#type: Some(Type::Rpc(Rpc { r#type: call.into() })) };
        Ok(Response::new(csi::GroupControllerGetCapabilitiesResponse { capabilities: vec![capability] }))
    }

    async fn create_volume_group_snapshot(
        &self,
        request: Request<csi::CreateVolumeGroupSnapshotRequest>,
    ) -> Result<Response<csi::CreateVolumeGroupSnapshotResponse>, Status> {
        let (time, request) = (time_for(&request), request.into_inner());
        told("CreateVolumeGroupSnapshot", &request.name, self.create(&request, time)).await
    }

    async fn delete_volume_group_snapshot(
        &self,
        request: Request<csi::DeleteVolumeGroupSnapshotRequest>,
    ) -> Result<Response<csi::DeleteVolumeGroupSnapshotResponse>, Status> {
        let (time, request) = (time_for(&request), request.into_inner());
        told("DeleteVolumeGroupSnapshot", &request.group_snapshot_id, self.delete(&request, time)).await
    }

    async fn get_volume_group_snapshot(
        &self,
        request: Request<csi::GetVolumeGroupSnapshotRequest>,
    ) -> Result<Response<csi::GetVolumeGroupSnapshotResponse>, Status> {
        let (time, request) = (time_for(&request), request.into_inner());
        told("GetVolumeGroupSnapshot", &request.group_snapshot_id, self.get(&request, time)).await
    }
}
