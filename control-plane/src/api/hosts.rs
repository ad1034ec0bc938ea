//! Hosts that use volumes.

use cluster::{Change, Name, State};
use proto::v1;
use proto::v1::host_service_server::HostService;
use tonic::{Request, Response, Status};

use super::fault::not_found;
use super::{Desk, parse, view};

#[tonic::async_trait]
impl HostService for Desk {
    async fn register(&self, request: Request<v1::RegisterHostRequest>) -> Result<Response<v1::Host>, Status> {
        let v1::RegisterHostRequest { request_id, name, labels } = request.into_inner();
        let (host, labels) = (parse::name("name", &name)?, parse::labels("labels", labels)?);
        let change = Change::RegisterHost { host: host.clone(), labels };
        self.propose(change, parse::request_id(&request_id)?).await?;
        self.consensus.read(|state| shown(state, &host)).map(Response::new)
    }

    async fn get(&self, request: Request<v1::GetHostRequest>) -> Result<Response<v1::Host>, Status> {
        let host = parse::name("name", &request.into_inner().name)?;
        self.look(|state| shown(state, &host)).await?.map(Response::new)
    }

    async fn list(&self, _request: Request<v1::ListHostsRequest>) -> Result<Response<v1::ListHostsReply>, Status> {
        let all = |state: &State| state.hosts().map(|(name, host)| view::host(name, host)).collect();
        Ok(Response::new(v1::ListHostsReply { hosts: self.look(all).await? }))
    }

    async fn remove(&self, request: Request<v1::RemoveHostRequest>) -> Result<Response<v1::RemoveHostReply>, Status> {
        let v1::RemoveHostRequest { request_id, name } = request.into_inner();
        let change = Change::RemoveHost { host: parse::name("name", &name)? };
        self.propose(change, parse::request_id(&request_id)?).await?;
        Ok(Response::new(v1::RemoveHostReply {}))
    }
}

fn shown(state: &State, name: &Name) -> Result<v1::Host, Status> {
    let host = state.host(name).ok_or_else(|| not_found("no-such-host", format!("there is no host \"{name}\"")))?;
    Ok(view::host(name, host))
}
