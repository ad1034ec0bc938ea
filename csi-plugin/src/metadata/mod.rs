//! The SnapshotMetadata service: in what snapshots differ, for programs that make backups.

use std::sync::Arc;

use proto::csi;
use tonic::{Request, Response, Status};

use crate::cluster::Cluster;

/// The service.
#[derive(Debug)]
pub(crate) struct MetadataService {
    _cluster: Arc<Cluster>,
}

impl MetadataService {
    pub fn new(cluster: Arc<Cluster>) -> Self {
        Self { _cluster: cluster }
    }
}

fn missing<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("this version cannot do that"))
}

#[tonic::async_trait]
impl csi::snapshot_metadata_server::SnapshotMetadata for MetadataService {
    type GetMetadataAllocatedStream =
        tokio_stream::wrappers::ReceiverStream<Result<csi::GetMetadataAllocatedResponse, Status>>;

    async fn get_metadata_allocated(
        &self,
        _request: Request<csi::GetMetadataAllocatedRequest>,
    ) -> Result<Response<Self::GetMetadataAllocatedStream>, Status> {
        missing()
    }

    type GetMetadataDeltaStream = tokio_stream::wrappers::ReceiverStream<Result<csi::GetMetadataDeltaResponse, Status>>;

    async fn get_metadata_delta(
        &self,
        _request: Request<csi::GetMetadataDeltaRequest>,
    ) -> Result<Response<Self::GetMetadataDeltaStream>, Status> {
        missing()
    }
}
