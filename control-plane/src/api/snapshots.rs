//! Snapshots and groups of them.

use cluster::{Answer, Change, Name, OperationId, State};
use proto::v1;
use proto::v1::snapshot_service_server::SnapshotService;
use tonic::{Request, Response, Status};

use super::fault::not_found;
use super::operations::wait_of;
use super::pages::page_size;
use super::volumes::started;
use super::{Desk, parse, view};

/// How long an answer waits for what it is about, if nobody says.
const SNAPSHOT_WAIT_MS: u32 = 1000;
const GROUP_WAIT_MS: u32 = 12_000;

#[tonic::async_trait]
impl SnapshotService for Desk {
    type DiffStream = super::diff::Pieces;

    async fn create(
        &self,
        request: Request<v1::CreateSnapshotRequest>,
    ) -> Result<Response<v1::SnapshotChange>, Status> {
        let v1::CreateSnapshotRequest { request_id, name, volume, labels, wait_ms } = request.into_inner();
        let wait = wait_of(wait_ms, SNAPSHOT_WAIT_MS)?;
        let (name, volume) = (parse::name("name", &name)?, parse::name("volume", &volume)?);
        let change = Change::CreateSnapshot { name: name.clone(), volume, labels };
        let answer = self.propose(change, parse::request_id(&request_id)?).await?;
        let operation = match awaited(&answer) {
            Some(operation) => self.settled(self.await_operation(operation, wait).await?)?,
            None => None,
        };
        let snapshot = self.consensus.read(|state| shown(state, &name).ok());
        Ok(Response::new(v1::SnapshotChange { snapshot, operation }))
    }

    async fn get(&self, request: Request<v1::GetSnapshotRequest>) -> Result<Response<v1::Snapshot>, Status> {
        let name = parse::name("name", &request.into_inner().name)?;
        self.look(|state| shown(state, &name)).await?.map(Response::new)
    }

    async fn list(
        &self,
        request: Request<v1::ListSnapshotsRequest>,
    ) -> Result<Response<v1::ListSnapshotsReply>, Status> {
        let v1::ListSnapshotsRequest { page_size: asked, page_token, volume, group, hidden } = request.into_inner();
        let size = page_size(asked)?;
        let after = parse::optional_name("page_token", &page_token)?;
        let wanted = Wanted {
            volume: parse::optional_name("volume", &volume)?,
            group: parse::optional_name("group", &group)?,
            hidden: hidden && after.is_none(),
        };
        self.look(|state| page(state, after.as_ref(), size, &wanted)).await.map(Response::new)
    }

    async fn diff(&self, request: Request<v1::DiffSnapshotRequest>) -> Result<Response<Self::DiffStream>, Status> {
        self.diff_snapshot(request.into_inner()).await.map(Response::new)
    }

    async fn delete(
        &self,
        request: Request<v1::DeleteSnapshotRequest>,
    ) -> Result<Response<v1::DeleteSnapshotReply>, Status> {
        let v1::DeleteSnapshotRequest { request_id, name } = request.into_inner();
        let change = Change::DeleteSnapshot { snapshot: parse::name("name", &name)? };
        let answer = self.propose(change, parse::request_id(&request_id)?).await?;
        let operation = self.consensus.read(|state| started(state, &answer));
        Ok(Response::new(v1::DeleteSnapshotReply { operation }))
    }

    async fn create_group(
        &self,
        request: Request<v1::CreateGroupRequest>,
    ) -> Result<Response<v1::GroupChange>, Status> {
        let v1::CreateGroupRequest { request_id, name, volumes, labels, wait_ms } = request.into_inner();
        let wait = wait_of(wait_ms, GROUP_WAIT_MS)?;
        let name = parse::name("name", &name)?;
        let volumes = volumes.iter().map(|volume| parse::name("volumes", volume)).collect::<Result<_, _>>()?;
        let change = Change::CreateGroup { name: name.clone(), volumes, labels };
        let answer = self.propose(change, parse::request_id(&request_id)?).await?;
        let operation = match awaited(&answer) {
            Some(operation) => self.settled(self.await_operation(operation, wait).await?)?,
            None => None,
        };
        let group = self.consensus.read(|state| shown_group(state, &name).ok());
        Ok(Response::new(v1::GroupChange { group, operation }))
    }

    async fn get_group(&self, request: Request<v1::GetGroupRequest>) -> Result<Response<v1::Group>, Status> {
        let name = parse::name("name", &request.into_inner().name)?;
        self.look(|state| shown_group(state, &name)).await?.map(Response::new)
    }

    async fn list_groups(
        &self,
        request: Request<v1::ListGroupsRequest>,
    ) -> Result<Response<v1::ListGroupsReply>, Status> {
        let v1::ListGroupsRequest { page_size: asked, page_token } = request.into_inner();
        let size = page_size(asked)?;
        let after = parse::optional_name("page_token", &page_token)?;
        self.look(|state| page_of_groups(state, after.as_ref(), size)).await.map(Response::new)
    }

    async fn delete_group(
        &self,
        request: Request<v1::DeleteGroupRequest>,
    ) -> Result<Response<v1::DeleteSnapshotReply>, Status> {
        let v1::DeleteGroupRequest { request_id, name } = request.into_inner();
        let change = Change::DeleteGroup { group: parse::name("name", &name)? };
        let answer = self.propose(change, parse::request_id(&request_id)?).await?;
        let operation = self.consensus.read(|state| started(state, &answer));
        Ok(Response::new(v1::DeleteSnapshotReply { operation }))
    }
}

impl Desk {
    /// What there is to wait for: nothing when it is done.
    fn settled(&self, operation: v1::Operation) -> Result<Option<v1::Operation>, Status> {
        if !operation.failed.is_empty() {
            return Err(super::fault::failed(operation.failed));
        }
        Ok(operation.ended_ms.is_none().then_some(operation))
    }
}

/// What an answer waits for.
fn awaited(answer: &Answer) -> Option<OperationId> {
    match answer {
        Answer::Snapshot { operation, .. } | Answer::Group { operation, .. } => *operation,
        // Of another request with the same number.
        Answer::Done | Answer::Started(_) | Answer::Volume { .. } | Answer::Attached { .. } => None,
    }
}

fn shown(state: &State, name: &Name) -> Result<v1::Snapshot, Status> {
    let missing = || not_found("no-such-snapshot", format!("there is no snapshot \"{name}\""));
    let (id, snapshot) = state.snapshot(name).ok_or_else(missing)?;
    Ok(view::snapshot(state, id, snapshot))
}

fn shown_group(state: &State, name: &Name) -> Result<v1::Group, Status> {
    let missing = || not_found("no-such-group", format!("there is no group snapshot \"{name}\""));
    let (id, group) = state.group(name).ok_or_else(missing)?;
    Ok(view::group(state, id, group))
}

/// What of the snapshots is listed.
struct Wanted {
    volume: Option<Name>,
    group: Option<Name>,
    hidden: bool,
}

fn page(state: &State, after: Option<&Name>, size: usize, wanted: &Wanted) -> v1::ListSnapshotsReply {
    let group = wanted.group.as_ref().map(|group| state.group(group).map(|(id, _)| id));
    let is_wanted = |snapshot: &cluster::Snapshot| {
        wanted.volume.as_ref().is_none_or(|volume| snapshot.source_name == *volume)
            && group.is_none_or(|group| group.is_some() && snapshot.group == group)
    };
    let mut rest = state.snapshots(after).filter(|(_, snapshot)| is_wanted(snapshot));
    let mut snapshots: Vec<_> =
        rest.by_ref().take(size).map(|(id, snapshot)| view::snapshot(state, id, snapshot)).collect();
    let last = snapshots.last().map(|snapshot| snapshot.name.clone());
    let next_page_token = rest.next().and(last).unwrap_or_default();
    if wanted.hidden {
        let hidden = state.contents().snapshots.iter();
        let hidden = hidden.filter(|(_, it)| it.keep == cluster::Keep::ForClones && is_wanted(it));
        snapshots.extend(hidden.map(|(id, snapshot)| view::snapshot(state, *id, snapshot)));
        // No name leads to what is left of a deleted one: it is shown with the volumes that hold it.
        let is_named = |volume: &cluster::Volume| wanted.volume.as_ref().is_none_or(|name| volume.name == *name);
        let holding = state.contents().volumes.iter().filter(|(_, volume)| volume.branch_points() > 0);
        let holding = holding.filter(|(_, volume)| is_named(volume) && group.is_none());
        snapshots.extend(holding.map(|(id, volume)| view::branch_points(*id, volume)));
    }
    v1::ListSnapshotsReply { snapshots, next_page_token }
}

fn page_of_groups(state: &State, after: Option<&Name>, size: usize) -> v1::ListGroupsReply {
    let mut rest = state.groups(after);
    let groups: Vec<_> = rest.by_ref().take(size).map(|(id, group)| view::group(state, id, group)).collect();
    let last = groups.last().map(|group| group.name.clone());
    let next_page_token = rest.next().and(last).unwrap_or_default();
    v1::ListGroupsReply { groups, next_page_token }
}
