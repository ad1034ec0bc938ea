//! Lists, page by page.

use proto::v1::snapshot_service_client::SnapshotServiceClient;
use proto::v1::volume_service_client::VolumeServiceClient;
use proto::v1::{Group, ListGroupsRequest, ListSnapshotsRequest, ListVolumesRequest, Snapshot, Volume};

use super::{Client, ClientError};

/// The most that the API gives at once.
const PAGE_MAX: u32 = 1000;

impl Client {
    /// All volumes, by name.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn volumes(&mut self) -> Result<Vec<Volume>, ClientError> {
        let mut volumes = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = ListVolumesRequest { page_size: PAGE_MAX, page_token: page_token.clone(), retired: false };
            let page =
                self.call(request, async |channel, request| VolumeServiceClient::new(channel).list(request).await);
            let page = page.await?;
            volumes.extend(page.volumes);
            if page.next_page_token.is_empty() {
                return Ok(volumes);
            }
            page_token = next(&page_token, page.next_page_token)?;
        }
    }

    /// Those that were deleted and have snapshots.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn retired_volumes(&mut self) -> Result<Vec<Volume>, ClientError> {
        let request = ListVolumesRequest { retired: true, ..ListVolumesRequest::default() };
        let asked = self.call(request, async |channel, request| VolumeServiceClient::new(channel).list(request).await);
        Ok(asked.await?.volumes)
    }

    /// All snapshots that are wanted, by name.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn snapshots(&mut self, wanted: ListSnapshotsRequest) -> Result<Vec<Snapshot>, ClientError> {
        let mut snapshots = Vec::new();
        let mut page_token = String::new();
        loop {
            let request =
                ListSnapshotsRequest { page_size: PAGE_MAX, page_token: page_token.clone(), ..wanted.clone() };
            let page =
                self.call(request, async |channel, request| SnapshotServiceClient::new(channel).list(request).await);
            let page = page.await?;
            snapshots.extend(page.snapshots);
            if page.next_page_token.is_empty() {
                return Ok(snapshots);
            }
            page_token = next(&page_token, page.next_page_token)?;
        }
    }

    /// All group snapshots, by name.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn groups(&mut self) -> Result<Vec<Group>, ClientError> {
        let mut groups = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = ListGroupsRequest { page_size: PAGE_MAX, page_token: page_token.clone() };
            let page = self
                .call(request, async |channel, request| SnapshotServiceClient::new(channel).list_groups(request).await);
            let page = page.await?;
            groups.extend(page.groups);
            if page.next_page_token.is_empty() {
                return Ok(groups);
            }
            page_token = next(&page_token, page.next_page_token)?;
        }
    }
}

/// Whoever is sent to the same page again and again never comes to an end.
fn next(page: &str, next: String) -> Result<String, ClientError> {
    if next == page { Err(ClientError::Garbled("says that a page follows itself")) } else { Ok(next) }
}
