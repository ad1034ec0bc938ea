//! Storage nodes and their pools.

use cluster::{Admin, Change, Name, State};
use proto::v1;
use proto::v1::node_service_server::NodeService;
use proto::v1::pool_service_server::PoolService;
use tonic::{Request, Response, Status};

use super::fault::not_found;
use super::{Desk, parse, view};

#[tonic::async_trait]
impl NodeService for Desk {
    async fn get(&self, request: Request<v1::GetNodeRequest>) -> Result<Response<v1::Node>, Status> {
        let name = parse::name("name", &request.into_inner().name)?;
        self.look(|state| shown(state, &name)).await?.map(Response::new)
    }

    async fn list(&self, _request: Request<v1::ListNodesRequest>) -> Result<Response<v1::ListNodesReply>, Status> {
        let all = |state: &State| state.nodes().map(|(name, node)| view::node(state, name, node)).collect();
        Ok(Response::new(v1::ListNodesReply { nodes: self.look(all).await? }))
    }

    async fn cordon(&self, request: Request<v1::CordonNodeRequest>) -> Result<Response<v1::Node>, Status> {
        let v1::CordonNodeRequest { request_id, name } = request.into_inner();
        self.administer(&request_id, &name, Admin::Cordoned).await
    }

    async fn uncordon(&self, request: Request<v1::UncordonNodeRequest>) -> Result<Response<v1::Node>, Status> {
        let v1::UncordonNodeRequest { request_id, name } = request.into_inner();
        self.administer(&request_id, &name, Admin::Schedulable).await
    }

    async fn drain(&self, request: Request<v1::DrainNodeRequest>) -> Result<Response<v1::Node>, Status> {
        let v1::DrainNodeRequest { request_id, name } = request.into_inner();
        self.administer(&request_id, &name, Admin::Draining).await
    }

    async fn undrain(&self, request: Request<v1::UndrainNodeRequest>) -> Result<Response<v1::Node>, Status> {
        let v1::UndrainNodeRequest { request_id, name } = request.into_inner();
        self.administer(&request_id, &name, Admin::Schedulable).await
    }

    async fn remove(&self, request: Request<v1::RemoveNodeRequest>) -> Result<Response<v1::RemoveNodeReply>, Status> {
        let v1::RemoveNodeRequest { request_id, name } = request.into_inner();
        let change = Change::RemoveNode { node: parse::name("name", &name)? };
        self.propose(change, parse::request_id(&request_id)?).await?;
        Ok(Response::new(v1::RemoveNodeReply {}))
    }
}

#[tonic::async_trait]
impl PoolService for Desk {
    async fn list(&self, _request: Request<v1::ListPoolsRequest>) -> Result<Response<v1::ListPoolsReply>, Status> {
        let all = |state: &State| state.pools().map(|(id, pool)| view::pool(state, id, pool)).collect();
        let mut pools: Vec<v1::Pool> = self.look(all).await?;
        pools.sort_by(|one, two| (&one.node, &one.id).cmp(&(&two.node, &two.id)));
        Ok(Response::new(v1::ListPoolsReply { pools }))
    }

    async fn remove(&self, request: Request<v1::RemovePoolRequest>) -> Result<Response<v1::RemovePoolReply>, Status> {
        let v1::RemovePoolRequest { request_id, id, force } = request.into_inner();
        let pool = parse::pool("id", &id)?;
        // Afterwards nobody knows any more.
        let lost = self.look(|state| state.only_in(pool)).await?;
        self.propose(Change::RemovePool { pool, force }, parse::request_id(&request_id)?).await?;
        Ok(Response::new(v1::RemovePoolReply { lost }))
    }
}

impl Desk {
    async fn administer(&self, request_id: &[u8], name: &str, admin: Admin) -> Result<Response<v1::Node>, Status> {
        let node = parse::name("name", name)?;
        let change = Change::Administer { node: node.clone(), admin };
        self.propose(change, parse::request_id(request_id)?).await?;
        self.consensus.read(|state| shown(state, &node)).map(Response::new)
    }
}

fn shown(state: &State, name: &Name) -> Result<v1::Node, Status> {
    let node = state.node(name).ok_or_else(|| not_found("no-such-node", format!("there is no node \"{name}\"")))?;
    Ok(view::node(state, name, node))
}
