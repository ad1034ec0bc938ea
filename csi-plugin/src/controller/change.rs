//! Size and parameters of volumes that are there.

use std::time::Duration;

use proto::csi;
use proto::v1::volume_service_client::VolumeServiceClient;
use tonic::{Code, Status};

use super::create::draw;
use super::{ControllerService, existing, finish};
use crate::capacity::Range;
use crate::cluster::Asking;
use crate::needed::needed;
use crate::{capability, fault, parameters, view};

impl ControllerService {
    pub(super) async fn expand(
        &self,
        request: &csi::ControllerExpandVolumeRequest,
        time: Duration,
    ) -> Result<csi::ControllerExpandVolumeResponse, Status> {
        let id = needed("volume_id", &request.volume_id)?;
        if request.capacity_range.is_none() {
            return Err(Status::invalid_argument("capacity_range is missing"));
        }
        if request.volume_capability.is_some() {
            capability::parse(request.volume_capability.as_ref())?;
        }
        let range = Range::parse(request.capacity_range.as_ref())?;
        let mut asking = self.ask(time);
        let is_bytes = existing(&mut asking, id).await?.size_bytes;
        let size_bytes = range.grown(is_bytes)?;
        // Also when it has the size: a retry waits for what an earlier call began.
        grow(&mut asking, id, size_bytes).await?;
        Ok(csi::ControllerExpandVolumeResponse {
            capacity_bytes: view::signed(size_bytes),
            node_expansion_required: true,
        })
    }

    pub(super) async fn modify(
        &self,
        request: &csi::ControllerModifyVolumeRequest,
        time: Duration,
    ) -> Result<csi::ControllerModifyVolumeResponse, Status> {
        let id = needed("volume_id", &request.volume_id)?;
        let mut asking = self.ask(time);
        existing(&mut asking, id).await?;
        if request.mutable_parameters.is_empty() {
            return Ok(csi::ControllerModifyVolumeResponse {});
        }
        let mut wish = parameters::changes(id, &request.mutable_parameters)?;
        wish.request_id = draw()?;
        let changed = asking.call(wish, async |channel, wish| VolumeServiceClient::new(channel).modify(wish).await);
        changed.await.map_err(|error| fault::of_client(&error))?;
        Ok(csi::ControllerModifyVolumeResponse {})
    }
}

async fn grow(asking: &mut Asking<'_>, id: &str, size_bytes: u64) -> Result<(), Status> {
    match asking.resize_volume(id, size_bytes).await {
        Ok(change) => finish(asking, change.operation).await,
        // Another call made it larger still meanwhile.
        Err(client::ClientError::Refused(refusal)) if refusal.word == "volume-shrinks" => {
            Err(Status::new(Code::Aborted, refusal.sentence))
        }
        Err(error) => Err(fault::of_client(&error)),
    }
}
