//! New volumes, and the end of old ones.

use std::time::Duration;

use client::{ClientError, request_id};
use proto::csi;
use proto::csi::volume_content_source::Type;
use proto::v1;
use proto::v1::source::From as Origin;
use proto::v1::volume_service_client::VolumeServiceClient;
use tonic::{Code, Status};

use super::{ControllerService, existing, find, finish, told_by_cluster};
use crate::capacity::Range;
use crate::cluster::Asking;
use crate::needed::needed;
use crate::{capability, fault, names, parameters, topology, view};

/// The cluster's word for a volume that nobody has room for.
const NO_PLACE: &str = "no-place";

/// A volume that is asked for, checked as far as that can be without the cluster.
struct Wish<'a> {
    request: &'a csi::CreateVolumeRequest,
    name: String,
    range: Range,
    spec: v1::VolumeSpec,
    source: Option<v1::Source>,
}

impl ControllerService {
    pub(super) async fn create(
        &self,
        request: &csi::CreateVolumeRequest,
        time: Duration,
    ) -> Result<csi::CreateVolumeResponse, Status> {
        let wish = Wish::parse(request)?;
        let mut asking = self.ask(time);
        let source_bytes = source_bytes(&mut asking, wish.source.as_ref()).await?;
        let volume = match find(&mut asking, &wish.name).await? {
            Some(there) => join(&mut asking, &wish, there).await?,
            None => make(&mut asking, &wish, wish.range.size(source_bytes)?).await?,
        };
        Ok(csi::CreateVolumeResponse { volume: Some(view::volume(&volume)) })
    }

    pub(super) async fn delete(
        &self,
        request: &csi::DeleteVolumeRequest,
        time: Duration,
    ) -> Result<csi::DeleteVolumeResponse, Status> {
        let id = needed("volume_id", &request.volume_id)?;
        if !names::is_name(id) {
            return Ok(csi::DeleteVolumeResponse {});
        }
        let mut asking = self.ask(time);
        let wish = v1::DeleteVolumeRequest { request_id: draw()?, name: id.to_owned(), force: false };
        let send = async |channel, wish| VolumeServiceClient::new(channel).delete(wish).await;
        // Its space is freed whenever its nodes are there; nobody has to wait for that.
        match asking.call(wish, send).await {
            Ok(_) => Ok(csi::DeleteVolumeResponse {}),
            Err(error) if error.is_not_found() => Ok(csi::DeleteVolumeResponse {}),
            Err(error) => Err(fault::of_client(&error)),
        }
    }
}

impl<'a> Wish<'a> {
    fn parse(request: &'a csi::CreateVolumeRequest) -> Result<Self, Status> {
        let name = needed("name", &request.name)?;
        capability::check_all(&request.volume_capabilities)?;
        let spec = parameters::spec(name, &request.parameters, &request.mutable_parameters)?;
        let source = request.volume_content_source.as_ref().map(source).transpose()?;
        let range = Range::parse(request.capacity_range.as_ref())?;
        Ok(Self { request, name: names::volume(name), range, spec, source })
    }

    fn create(&self, size_bytes: u64, spec: v1::VolumeSpec) -> Result<v1::CreateVolumeRequest, Status> {
        let (name, source) = (self.name.clone(), self.source.clone());
        Ok(v1::CreateVolumeRequest { request_id: draw()?, name, size_bytes, spec: Some(spec), source })
    }

    fn check(&self, there: &v1::Volume) -> Result<(), Status> {
        let spec = there.spec.clone().unwrap_or_default();
        let required = self.request.accessibility_requirements.as_ref();
        let rows = [
            (self.range.contains(there.size_bytes), "another size"),
            (there.source == self.source, "another source"),
            (parameters::is_same(&spec, &self.spec), "other parameters"),
            (topology::fits(&spec, required), "another place"),
        ];
        match rows.into_iter().find(|(fits, _)| !fits) {
            Some((_, what)) => {
                Err(Status::already_exists(format!("there is a volume \"{}\" already, with {what}", self.name)))
            }
            None => Ok(()),
        }
    }
}

/// A volume of that name is there: a retry joins what made it.
async fn join(asking: &mut Asking<'_>, wish: &Wish<'_>, there: v1::Volume) -> Result<v1::Volume, Status> {
    wish.check(&there)?;
    if there.phase() != v1::volume::Phase::Creating {
        return Ok(there);
    }
    let again = wish.create(there.size_bytes, there.spec.clone().unwrap_or_default())?;
    let change = create(asking, again).await.map_err(|error| fault::of_client(&error))?;
    finish(asking, change.operation).await?;
    Ok(there)
}

/// Makes it in the first place that will do.
async fn make(asking: &mut Asking<'_>, wish: &Wish<'_>, size_bytes: u64) -> Result<v1::Volume, Status> {
    let mut refusals = Vec::new();
    for spec in topology::plans(&wish.spec, wish.request.accessibility_requirements.as_ref()) {
        match create(asking, wish.create(size_bytes, spec)?).await {
            Ok(v1::VolumeChange { volume, operation }) => {
                finish(asking, operation).await?;
                return told_by_cluster(volume, "lacks the volume");
            }
            Err(ClientError::Refused(refusal)) if refusal.word == NO_PLACE => refusals.push(refusal.sentence),
            // Somebody was faster; most likely it is the same that is wanted.
            Err(ClientError::Refused(refusal)) if refusal.code == Code::AlreadyExists => {
                let there = find(asking, &wish.name).await?;
                let there = there.ok_or_else(|| Status::already_exists(refusal.sentence))?;
                return join(asking, wish, there).await;
            }
            Err(error) => return Err(fault::of_client(&error)),
        }
    }
    refusals.dedup();
    Err(Status::resource_exhausted(refusals.join(". ")))
}

async fn create(asking: &mut Asking<'_>, wish: v1::CreateVolumeRequest) -> Result<v1::VolumeChange, ClientError> {
    asking.call(wish, async |channel, wish| VolumeServiceClient::new(channel).create(wish).await).await
}

fn source(source: &csi::VolumeContentSource) -> Result<v1::Source, Status> {
    let from = match &source.r#type {
        Some(Type::Snapshot(snapshot)) => Origin::Snapshot(needed("snapshot_id", &snapshot.snapshot_id)?.to_owned()),
        Some(Type::Volume(volume)) => Origin::Volume(needed("volume_id", &volume.volume_id)?.to_owned()),
        None => return Err(Status::invalid_argument("volume_content_source is neither a snapshot nor a volume")),
    };
    Ok(v1::Source { from: Some(from) })
}

/// The size of what it is to begin as.
async fn source_bytes(asking: &mut Asking<'_>, source: Option<&v1::Source>) -> Result<Option<u64>, Status> {
    match source.and_then(|source| source.from.as_ref()) {
        Some(Origin::Snapshot(id)) => {
            let missing = || Status::not_found(format!("there is no snapshot \"{id}\""));
            let found = super::snapshots::find(asking, id).await?;
            found.map(|snapshot| Some(snapshot.size_bytes)).ok_or_else(missing)
        }
        Some(Origin::Volume(id)) => existing(asking, id).await.map(|volume| Some(volume.size_bytes)),
        None => Ok(None),
    }
}

pub(super) fn draw() -> Result<Vec<u8>, Status> {
    request_id().map_err(|error| fault::of_client(&error))
}
