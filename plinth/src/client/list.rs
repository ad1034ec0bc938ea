//! Lists, page by page.

use proto::v1::volume_service_client::VolumeServiceClient;
use proto::v1::{ListVolumesRequest, Volume};

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
            let request = ListVolumesRequest { page_size: PAGE_MAX, page_token: page_token.clone() };
            let page =
                self.call(request, async |channel, request| VolumeServiceClient::new(channel).list(request).await);
            let page = page.await?;
            volumes.extend(page.volumes);
            if page.next_page_token.is_empty() {
                return Ok(volumes);
            }
            // Whoever is sent to the same page again and again never comes to an end.
            if page.next_page_token == page_token {
                return Err(ClientError::Garbled("says that a page follows itself"));
            }
            page_token = page.next_page_token;
        }
    }
}
