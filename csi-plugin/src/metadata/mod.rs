//! The SnapshotMetadata service: in what snapshots differ, for programs that make backups.

mod blocks;

use std::sync::Arc;
use std::time::Duration;

use proto::csi;
use proto::v1;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::cluster::{Asking, Cluster};
use crate::deadline::time_for;
use crate::needed::needed;
use crate::{fault, names};
use blocks::{Blocks, Walk};

/// Messages that wait for whoever reads them.
const WAITING_MAX: usize = 4;
/// Ranges of a message when the caller does not say how many.
const RANGES_USUAL: usize = 1024;

/// The service.
#[derive(Debug)]
pub(crate) struct MetadataService {
    cluster: Arc<Cluster>,
}

/// What is asked for.
struct Wish {
    snapshot: String,
    /// Only what changed since; all that is not zeroes when there is none.
    base: Option<String>,
    offset: i64,
    max_results: i32,
}

impl MetadataService {
    pub fn new(cluster: Arc<Cluster>) -> Self {
        Self { cluster }
    }

    /// What can be refused is refused before the stream begins.
    async fn walk<T: Send + 'static>(
        &self,
        wish: Wish,
        time: Duration,
        message: fn(Blocks) -> T,
    ) -> Result<ReceiverStream<Result<T, Status>>, Status> {
        let ranges_max = match usize::try_from(wish.max_results) {
            Ok(0) => RANGES_USUAL,
            Ok(most) => most.min(RANGES_USUAL),
            Err(_) => return Err(Status::invalid_argument("max_results is negative")),
        };
        let mut asking = self.cluster.ask(time);
        let snapshot = existing(&mut asking, &wish.snapshot).await?;
        if let Some(base) = &wish.base {
            let base = existing(&mut asking, base).await?;
            check_family(&base, &snapshot)?;
        }
        let offset_bytes = u64::try_from(wish.offset).ok().filter(|offset| *offset <= snapshot.size_bytes);
        let sentence = || format!("starting_offset is {}: the snapshot has {} bytes", wish.offset, snapshot.size_bytes);
        let offset_bytes = offset_bytes.ok_or_else(|| Status::out_of_range(sentence()))?;
        let (say, hear) = mpsc::channel(WAITING_MAX);
        let walk = Walk {
            snapshot: wish.snapshot,
            base: wish.base,
            offset_bytes,
            size_bytes: snapshot.size_bytes,
            ranges_max,
        };
        tokio::spawn(walk.run(Arc::clone(&self.cluster), say, message));
        Ok(ReceiverStream::new(hear))
    }
}

async fn existing(asking: &mut Asking<'_>, id: &str) -> Result<v1::Snapshot, Status> {
    let missing = || Status::not_found(format!("there is no snapshot \"{id}\""));
    if !names::is_name(id) {
        return Err(missing());
    }
    match asking.snapshot(id).await {
        Ok(snapshot) => Ok(snapshot),
        Err(error) if error.is_not_found() => Err(missing()),
        Err(error) => Err(fault::of_client(&error)),
    }
}

fn check_family(base: &v1::Snapshot, target: &v1::Snapshot) -> Result<(), Status> {
    if base.volume_id == target.volume_id {
        return Ok(());
    }
    let (one, two) = (&base.volume, &target.volume);
    Err(Status::invalid_argument(format!("the snapshots are of two volumes, \"{one}\" and \"{two}\"")))
}

#[tonic::async_trait]
impl csi::snapshot_metadata_server::SnapshotMetadata for MetadataService {
    type GetMetadataAllocatedStream = ReceiverStream<Result<csi::GetMetadataAllocatedResponse, Status>>;
    type GetMetadataDeltaStream = ReceiverStream<Result<csi::GetMetadataDeltaResponse, Status>>;

    async fn get_metadata_allocated(
        &self,
        request: Request<csi::GetMetadataAllocatedRequest>,
    ) -> Result<Response<Self::GetMetadataAllocatedStream>, Status> {
        let (time, request) = (time_for(&request), request.into_inner());
        let snapshot = needed("snapshot_id", &request.snapshot_id)?.to_owned();
        let wish = Wish { snapshot, base: None, offset: request.starting_offset, max_results: request.max_results };
        self.walk(wish, time, Blocks::allocated).await.map(Response::new)
    }

    async fn get_metadata_delta(
        &self,
        request: Request<csi::GetMetadataDeltaRequest>,
    ) -> Result<Response<Self::GetMetadataDeltaStream>, Status> {
        let (time, request) = (time_for(&request), request.into_inner());
        let base = Some(needed("base_snapshot_id", &request.base_snapshot_id)?.to_owned());
        let snapshot = needed("target_snapshot_id", &request.target_snapshot_id)?.to_owned();
        let wish = Wish { snapshot, base, offset: request.starting_offset, max_results: request.max_results };
        self.walk(wish, time, Blocks::delta).await.map(Response::new)
    }
}
