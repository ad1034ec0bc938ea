//! What is asked for in many places.

use proto::v1;
use proto::v1::snapshot_service_client::SnapshotServiceClient;
use proto::v1::volume_service_client::VolumeServiceClient;

use super::{Client, ClientError, request_id};

impl Client {
    /// One volume.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn volume(&mut self, name: &str) -> Result<v1::Volume, ClientError> {
        let request = v1::GetVolumeRequest { name: name.to_owned() };
        self.call(request, async |channel, request| VolumeServiceClient::new(channel).get(request).await).await
    }

    /// Makes a volume.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn create_volume(
        &mut self,
        name: &str,
        size_bytes: u64,
        spec: v1::VolumeSpec,
        source: Option<v1::Source>,
    ) -> Result<v1::VolumeChange, ClientError> {
        let (request_id, name, spec) = (request_id()?, name.to_owned(), Some(spec));
        let request = v1::CreateVolumeRequest { request_id, name, size_bytes, spec, source };
        self.call(request, async |channel, request| VolumeServiceClient::new(channel).create(request).await).await
    }

    /// Makes a volume larger.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn resize_volume(&mut self, name: &str, size_bytes: u64) -> Result<v1::VolumeChange, ClientError> {
        let request = v1::ResizeVolumeRequest { request_id: request_id()?, name: name.to_owned(), size_bytes };
        self.call(request, async |channel, request| VolumeServiceClient::new(channel).resize(request).await).await
    }

    /// One snapshot.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn snapshot(&mut self, name: &str) -> Result<v1::Snapshot, ClientError> {
        let request = v1::GetSnapshotRequest { name: name.to_owned() };
        self.call(request, async |channel, request| SnapshotServiceClient::new(channel).get(request).await).await
    }
}
