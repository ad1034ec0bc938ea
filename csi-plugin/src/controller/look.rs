//! What there is: volumes, and room for more.

use std::time::Duration;

use proto::csi;
use proto::csi::list_volumes_response::{Entry, VolumeStatus};
use proto::csi::validate_volume_capabilities_response::Confirmed;
use proto::v1;
use proto::v1::volume_service_client::VolumeServiceClient;
use tonic::Status;

use super::{ControllerService, existing};
use crate::capacity::VOLUME_BYTES_MIN;
use crate::cluster::Asking;
use crate::needed::needed;
use crate::pages::{self, Page};
use crate::{capability, fault, parameters, topology, view};

/// Before the tokens of this list.
const MARK: &str = "v";
/// The most that the API gives at once.
const API_PAGE_MAX: usize = 1000;

impl ControllerService {
    pub(super) async fn validate(
        &self,
        request: csi::ValidateVolumeCapabilitiesRequest,
        time: Duration,
    ) -> Result<csi::ValidateVolumeCapabilitiesResponse, Status> {
        let id = needed("volume_id", &request.volume_id)?;
        if request.volume_capabilities.is_empty() {
            return Err(Status::invalid_argument("volume_capabilities is missing"));
        }
        existing(&mut self.ask(time), id).await?;
        let fits = capability::check_all(&request.volume_capabilities).map_err(|error| error.to_string());
        let fits = fits.and_then(|()| {
            let spec = parameters::spec(id, &request.parameters, &request.mutable_parameters);
            spec.map_err(|error| error.to_string())
        });
        Ok(match fits {
            Ok(_) => {
                let csi::ValidateVolumeCapabilitiesRequest { volume_context, volume_capabilities, .. } = request;
                let (parameters, mutable_parameters) = (request.parameters, request.mutable_parameters);
                let confirmed = Confirmed { volume_context, volume_capabilities, parameters, mutable_parameters };
                csi::ValidateVolumeCapabilitiesResponse { confirmed: Some(confirmed), message: String::new() }
            }
            Err(message) => csi::ValidateVolumeCapabilitiesResponse { confirmed: None, message },
        })
    }

    pub(super) async fn list(
        &self,
        request: &csi::ListVolumesRequest,
        time: Duration,
    ) -> Result<csi::ListVolumesResponse, Status> {
        let Page { after, entries } = Page::parse(MARK, request.max_entries, &request.starting_token)?;
        let (mut volumes, mut page_token) = (Vec::new(), after);
        let mut asking = self.ask(time);
        let next_token = loop {
            let size = (entries - volumes.len()).min(API_PAGE_MAX);
            let page = page(&mut asking, page_token, size).await?;
            volumes.extend(page.volumes);
            match page.next_page_token {
                last if last.is_empty() => break String::new(),
                last if volumes.len() >= entries => break pages::token(MARK, &last),
                last => page_token = last,
            }
        };
        Ok(csi::ListVolumesResponse { entries: volumes.iter().map(entry).collect(), next_token })
    }

    pub(super) async fn volume(
        &self,
        request: &csi::ControllerGetVolumeRequest,
        time: Duration,
    ) -> Result<csi::ControllerGetVolumeResponse, Status> {
        let id = needed("volume_id", &request.volume_id)?;
        let volume = existing(&mut self.ask(time), id).await?;
        let status = csi::controller_get_volume_response::VolumeStatus {
            published_node_ids: view::nodes(&volume),
            volume_condition: Some(view::condition(&volume)),
        };
        Ok(csi::ControllerGetVolumeResponse { volume: Some(view::volume(&volume)), status: Some(status) })
    }

    pub(super) async fn capacity(
        &self,
        request: &csi::GetCapacityRequest,
        time: Duration,
    ) -> Result<csi::GetCapacityResponse, Status> {
        let mut spec = parameters::spec("", &request.parameters, &parameters::Given::new())?;
        let can_be = |capability: &csi::VolumeCapability| capability::parse(Some(capability)).is_ok();
        if !request.volume_capabilities.iter().all(can_be) {
            return Ok(csi::GetCapacityResponse {
                maximum_volume_size: Some(0),
                ..csi::GetCapacityResponse::default()
            });
        }
        if let Some(place) = &request.accessible_topology {
            spec.places = vec![v1::Place { labels: topology::labels(place) }];
        }
        let mut asking = self.ask(time);
        let wish = v1::RoomRequest { spec: Some(spec) };
        let room = asking.call(wish, async |channel, wish| VolumeServiceClient::new(channel).room(wish).await).await;
        let v1::RoomReply { volume_max_bytes, total_bytes } = room.map_err(|error| fault::of_client(&error))?;
        Ok(csi::GetCapacityResponse {
            available_capacity: view::signed(total_bytes),
            maximum_volume_size: Some(view::signed(volume_max_bytes)),
            minimum_volume_size: Some(view::signed(VOLUME_BYTES_MIN)),
        })
    }
}

async fn page(asking: &mut Asking<'_>, page_token: String, size: usize) -> Result<v1::ListVolumesReply, Status> {
    let page_size = u32::try_from(size).expect("it is at most a thousand");
    let wish = v1::ListVolumesRequest { page_size, page_token, retired: false };
    let listed = asking.call(wish, async |channel, wish| VolumeServiceClient::new(channel).list(wish).await).await;
    listed.map_err(|error| fault::of_client(&error))
}

fn entry(volume: &v1::Volume) -> Entry {
    let status =
        VolumeStatus { published_node_ids: view::nodes(volume), volume_condition: Some(view::condition(volume)) };
    Entry { volume: Some(view::volume(volume)), status: Some(status) }
}
