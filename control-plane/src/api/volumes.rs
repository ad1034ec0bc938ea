//! Volumes and attachments.

use cluster::{Answer, Change, Name, State};
use proto::v1;
use proto::v1::volume_service_server::VolumeService;
use tonic::{Request, Response, Status};

use super::fault::{invalid, not_found};
use super::pages::page_size;
use super::{Desk, parse, view};

#[tonic::async_trait]
impl VolumeService for Desk {
    type VerifyStream = super::verify::Ranges;

    async fn create(&self, request: Request<v1::CreateVolumeRequest>) -> Result<Response<v1::VolumeChange>, Status> {
        let v1::CreateVolumeRequest { request_id, name, size_bytes, spec, source } = request.into_inner();
        let (name, spec) = (parse::name("name", &name)?, parse::spec(spec)?);
        let source = source.map(parse::source).transpose()?;
        let change = Change::CreateVolume { name: name.clone(), size_bytes, spec, source };
        let answer = self.propose(change, parse::request_id(&request_id)?).await?;
        Ok(Response::new(self.volume_change(&name, &answer)))
    }

    async fn get(&self, request: Request<v1::GetVolumeRequest>) -> Result<Response<v1::Volume>, Status> {
        let name = parse::name("name", &request.into_inner().name)?;
        self.look(|state| shown(state, &name)).await?.map(Response::new)
    }

    async fn list(&self, request: Request<v1::ListVolumesRequest>) -> Result<Response<v1::ListVolumesReply>, Status> {
        let v1::ListVolumesRequest { page_size: asked, page_token, retired } = request.into_inner();
        let after = parse::optional_name("page_token", &page_token)?;
        let size = page_size(asked)?;
        if retired {
            return self.look(retired_volumes).await.map(Response::new);
        }
        self.look(|state| page(state, after.as_ref(), size)).await.map(Response::new)
    }

    async fn resize(&self, request: Request<v1::ResizeVolumeRequest>) -> Result<Response<v1::VolumeChange>, Status> {
        let v1::ResizeVolumeRequest { request_id, name, size_bytes } = request.into_inner();
        let name = parse::name("name", &name)?;
        let change = Change::ResizeVolume { volume: name.clone(), size_bytes };
        let answer = self.propose(change, parse::request_id(&request_id)?).await?;
        Ok(Response::new(self.volume_change(&name, &answer)))
    }

    async fn modify(&self, request: Request<v1::ModifyVolumeRequest>) -> Result<Response<v1::Volume>, Status> {
        let request = request.into_inner();
        let name = parse::name("name", &request.name)?;
        let request_id = parse::request_id(&request.request_id)?;
        let change = Change::ModifyVolume { volume: name.clone(), modification: parse::modification(request)? };
        self.propose(change, request_id).await?;
        self.consensus.read(|state| shown(state, &name)).map(Response::new)
    }

    async fn delete(
        &self,
        request: Request<v1::DeleteVolumeRequest>,
    ) -> Result<Response<v1::DeleteVolumeReply>, Status> {
        let v1::DeleteVolumeRequest { request_id, name, force } = request.into_inner();
        let change = Change::DeleteVolume { volume: parse::name("name", &name)?, force };
        let answer = self.propose(change, parse::request_id(&request_id)?).await?;
        let operation = self.consensus.read(|state| started(state, &answer));
        Ok(Response::new(v1::DeleteVolumeReply { operation }))
    }

    async fn room(&self, request: Request<v1::RoomRequest>) -> Result<Response<v1::RoomReply>, Status> {
        let spec = parse::spec(request.into_inner().spec)?;
        let cluster::Room { volume_max_bytes, total_bytes } = self.look(|state| state.room(&spec)).await?;
        Ok(Response::new(v1::RoomReply { volume_max_bytes, total_bytes }))
    }

    async fn attach(
        &self,
        request: Request<v1::AttachVolumeRequest>,
    ) -> Result<Response<v1::AttachVolumeReply>, Status> {
        let v1::AttachVolumeRequest { request_id, name, client, mode, token, renew, keep } = request.into_inner();
        let name = parse::name("name", &name)?;
        let client = parse::name("client", &client)?;
        let (mode, token, claim) = (parse::mode(mode)?, parse::token(&token)?, parse::claim(renew, keep)?);
        let change = Change::Attach { volume: name.clone(), client, mode, token, claim };
        let answer = self.propose(change, parse::request_id(&request_id)?).await?;
        let generation = match answer {
            Answer::Attached { generation, .. } => generation.0,
            Answer::Done
            | Answer::Started(_)
            | Answer::Volume { .. }
            | Answer::Snapshot { .. }
            | Answer::Group { .. } => {
                return Err(invalid("request_id", "it was that of another request; draw 16 random bytes for each"));
            }
        };
        Ok(Response::new(self.consensus.read(|state| v1::AttachVolumeReply {
            volume: shown(state, &name).ok(),
            generation,
            operation: started(state, &answer),
            nbd_addresses: nbd_addresses(state, &name),
        })))
    }

    async fn detach(&self, request: Request<v1::DetachVolumeRequest>) -> Result<Response<v1::VolumeChange>, Status> {
        let v1::DetachVolumeRequest { request_id, name, client } = request.into_inner();
        let name = parse::name("name", &name)?;
        let client = parse::optional_name("client", &client)?;
        let change = Change::Detach { volume: name.clone(), client };
        let answer = self.propose(change, parse::request_id(&request_id)?).await?;
        Ok(Response::new(self.volume_change(&name, &answer)))
    }

    async fn hand_over(
        &self,
        request: Request<v1::HandOverVolumeRequest>,
    ) -> Result<Response<v1::HandOverVolumeReply>, Status> {
        self.hand_over_volume(request.into_inner()).await.map(Response::new)
    }

    async fn promote(&self, request: Request<v1::PromoteVolumeRequest>) -> Result<Response<v1::Volume>, Status> {
        self.promote_replica(request.into_inner()).await.map(Response::new)
    }

    async fn verify(&self, request: Request<v1::VerifyVolumeRequest>) -> Result<Response<Self::VerifyStream>, Status> {
        self.verify_volume(request.into_inner()).await.map(Response::new)
    }

    async fn set_schedule(&self, request: Request<v1::SetScheduleRequest>) -> Result<Response<v1::Volume>, Status> {
        let v1::SetScheduleRequest { request_id, volume, schedule } = request.into_inner();
        let volume = parse::name("volume", &volume)?;
        let v1::Schedule { name, cron, keep, .. } = schedule.ok_or_else(|| invalid("schedule", "it is missing"))?;
        let schedule = parse::name("schedule.name", &name)?;
        let cron = cron.parse().map_err(|error| invalid("schedule.cron", error))?;
        let change = Change::SetSchedule { volume: volume.clone(), schedule, cron, keep };
        self.propose(change, parse::request_id(&request_id)?).await?;
        self.consensus.read(|state| shown(state, &volume)).map(Response::new)
    }

    async fn remove_schedule(
        &self,
        request: Request<v1::RemoveScheduleRequest>,
    ) -> Result<Response<v1::Volume>, Status> {
        let v1::RemoveScheduleRequest { request_id, volume, schedule } = request.into_inner();
        let (volume, schedule) = (parse::name("volume", &volume)?, parse::name("schedule", &schedule)?);
        let change = Change::RemoveSchedule { volume: volume.clone(), schedule };
        self.propose(change, parse::request_id(&request_id)?).await?;
        self.consensus.read(|state| shown(state, &volume)).map(Response::new)
    }
}

impl Desk {
    fn volume_change(&self, name: &Name, answer: &Answer) -> v1::VolumeChange {
        self.consensus
            .read(|state| v1::VolumeChange { volume: shown(state, name).ok(), operation: started(state, answer) })
    }
}

pub(super) fn shown(state: &State, name: &Name) -> Result<v1::Volume, Status> {
    let (id, volume) =
        state.volume(name).ok_or_else(|| not_found("no-such-volume", format!("there is no volume \"{name}\"")))?;
    Ok(view::volume(state, id, volume))
}

/// What an answer says to wait for.
pub(super) fn started(state: &State, answer: &Answer) -> Option<v1::Operation> {
    match answer {
        Answer::Started(operation)
        | Answer::Attached { operation, .. }
        | Answer::Volume { operation: Some(operation), .. }
        | Answer::Snapshot { operation: Some(operation), .. }
        | Answer::Group { operation: Some(operation), .. } => view::operation(state, *operation),
        Answer::Done
        | Answer::Volume { operation: None, .. }
        | Answer::Snapshot { operation: None, .. }
        | Answer::Group { operation: None, .. } => None,
    }
}

fn page(state: &State, after: Option<&Name>, size: usize) -> v1::ListVolumesReply {
    let mut rest = state.volumes(after);
    let volumes: Vec<_> = rest.by_ref().take(size).map(|(id, volume)| view::volume(state, id, volume)).collect();
    let last = volumes.last().map(|volume| volume.name.clone());
    let next_page_token = rest.next().and(last).unwrap_or_default();
    v1::ListVolumesReply { volumes, next_page_token }
}

fn retired_volumes(state: &State) -> v1::ListVolumesReply {
    let volumes = state.retired().map(|(id, volume)| view::volume(state, id, volume)).collect();
    v1::ListVolumesReply { volumes, next_page_token: String::new() }
}

/// Where clients of a volume may come to: its own node first, then every other that is heard.
fn nbd_addresses(state: &State, name: &Name) -> Vec<String> {
    let home = state.volume(name).and_then(|(_, volume)| state.pool(volume.home())).map(|pool| &pool.node);
    let mut nodes: Vec<_> = state.nodes().filter(|(_, node)| node.is_up()).collect();
    nodes.sort_by_key(|(name, _)| Some(*name) != home);
    nodes.into_iter().flat_map(|(_, node)| node.addresses.nbd.iter().cloned()).collect()
}
