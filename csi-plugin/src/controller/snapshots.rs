//! Snapshots.

use std::time::Duration;

use proto::csi;
use proto::v1;
use proto::v1::snapshot_service_client::SnapshotServiceClient;
use tonic::Status;

use super::create::draw;
use super::{ControllerService, existing, finish, told_by_cluster};
use crate::cluster::Asking;
use crate::needed::needed;
use crate::pages::{self, Page};
use crate::{fault, names, parameters, view};

/// Before the tokens of this list.
const MARK: &str = "s";
/// The most that the API gives at once.
const API_PAGE_MAX: usize = 1000;

impl ControllerService {
    pub(super) async fn take_snapshot(
        &self,
        request: &csi::CreateSnapshotRequest,
        time: Duration,
    ) -> Result<csi::CreateSnapshotResponse, Status> {
        let (name, volume) = (needed("name", &request.name)?, needed("source_volume_id", &request.source_volume_id)?);
        let labels = parameters::snapshot_labels(name, &request.parameters)?;
        let mut asking = self.ask(time);
        let name = names::snapshot(name);
        if let Some(there) = find(&mut asking, &name).await?.filter(|there| there.volume != volume) {
            let sentence = format!("there is a snapshot \"{name}\" already, of volume \"{}\"", there.volume);
            return Err(Status::already_exists(sentence));
        }
        existing(&mut asking, volume).await?;
        let wish = v1::CreateSnapshotRequest {
            request_id: draw()?,
            name: name.clone(),
            volume: volume.to_owned(),
            labels,
            wait_ms: 0,
        };
        let taken =
            asking.call(wish, async |channel, wish| SnapshotServiceClient::new(channel).create(wish).await).await;
        let v1::SnapshotChange { snapshot, operation } = taken.map_err(|error| fault::of_client(&error))?;
        finish(&mut asking, operation).await?;
        // What is answered is cut, and says so.
        let snapshot = find(&mut asking, &name).await?.or(snapshot);
        let snapshot = told_by_cluster(snapshot, "lacks the snapshot")?;
        Ok(csi::CreateSnapshotResponse { snapshot: Some(view::snapshot(snapshot)) })
    }

    pub(super) async fn drop_snapshot(
        &self,
        request: &csi::DeleteSnapshotRequest,
        time: Duration,
    ) -> Result<csi::DeleteSnapshotResponse, Status> {
        let id = needed("snapshot_id", &request.snapshot_id)?;
        let mut asking = self.ask(time);
        let Some(there) = find(&mut asking, id).await? else { return Ok(csi::DeleteSnapshotResponse {}) };
        if !there.group.is_empty() {
            let sentence = format!("snapshot \"{id}\" is one of group snapshot \"{}\": delete that", there.group);
            return Err(Status::invalid_argument(sentence));
        }
        let wish = v1::DeleteSnapshotRequest { request_id: draw()?, name: id.to_owned() };
        let send = async |channel, wish| SnapshotServiceClient::new(channel).delete(wish).await;
        match asking.call(wish, send).await {
            Ok(_) => Ok(csi::DeleteSnapshotResponse {}),
            Err(error) if error.is_not_found() => Ok(csi::DeleteSnapshotResponse {}),
            Err(error) => Err(fault::of_client(&error)),
        }
    }

    pub(super) async fn snapshot(
        &self,
        request: &csi::GetSnapshotRequest,
        time: Duration,
    ) -> Result<csi::GetSnapshotResponse, Status> {
        let id = needed("snapshot_id", &request.snapshot_id)?;
        let found = find(&mut self.ask(time), id).await?;
        let found = found.ok_or_else(|| Status::not_found(format!("there is no snapshot \"{id}\"")))?;
        Ok(csi::GetSnapshotResponse { snapshot: Some(view::snapshot(found)) })
    }

    pub(super) async fn snapshots(
        &self,
        request: &csi::ListSnapshotsRequest,
        time: Duration,
    ) -> Result<csi::ListSnapshotsResponse, Status> {
        let page = Page::parse(MARK, request.max_entries, &request.starting_token)?;
        let mut asking = self.ask(time);
        let volume = &request.source_volume_id;
        let (found, next_token) = if !request.snapshot_id.is_empty() {
            let found = find(&mut asking, &request.snapshot_id).await?;
            (found.into_iter().filter(|found| volume.is_empty() || found.volume == *volume).collect(), String::new())
        } else if !volume.is_empty() && !names::is_name(volume) {
            (Vec::new(), String::new())
        } else {
            listed(&mut asking, volume, page).await?
        };
        let entry = |snapshot| csi::list_snapshots_response::Entry { snapshot: Some(view::snapshot(snapshot)) };
        Ok(csi::ListSnapshotsResponse { entries: found.into_iter().map(entry).collect(), next_token })
    }
}

/// The snapshot of an id, if there is one.
pub(super) async fn find(asking: &mut Asking<'_>, id: &str) -> Result<Option<v1::Snapshot>, Status> {
    if !names::is_name(id) {
        return Ok(None);
    }
    match asking.snapshot(id).await {
        Ok(snapshot) => Ok(Some(snapshot)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(fault::of_client(&error)),
    }
}

async fn listed(
    asking: &mut Asking<'_>,
    volume: &str,
    Page { after, entries }: Page,
) -> Result<(Vec<v1::Snapshot>, String), Status> {
    let (mut found, mut page_token) = (Vec::new(), after);
    loop {
        let page_size = u32::try_from((entries - found.len()).min(API_PAGE_MAX)).expect("it is at most a thousand");
        let volume = volume.to_owned();
        let wish = v1::ListSnapshotsRequest { page_size, page_token, volume, ..v1::ListSnapshotsRequest::default() };
        let send = async |channel, wish| SnapshotServiceClient::new(channel).list(wish).await;
        let page = match asking.call(wish, send).await {
            Ok(page) => page,
            Err(error) if error.is_not_found() => return Ok((found, String::new())),
            Err(error) => return Err(fault::of_client(&error)),
        };
        found.extend(page.snapshots);
        match page.next_page_token {
            last if last.is_empty() => return Ok((found, String::new())),
            last if found.len() >= entries => return Ok((found, pages::token(MARK, &last))),
            last => page_token = last,
        }
    }
}
