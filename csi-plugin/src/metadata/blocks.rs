//! One walk through a snapshot, as a stream that breaks off and is gone on with on another voter without the caller's notice.

use std::sync::Arc;
use std::time::Duration;

use client::ClientError;
use proto::csi;
use proto::v1;
use proto::v1::snapshot_service_client::SnapshotServiceClient;
use tokio::sync::mpsc::Sender;
use tokio::time::Instant;
use tonic::Status;

use crate::cluster::{Asking, Cluster};
use crate::{fault, view};

/// How long the cluster may take to say anything new.
const PROGRESS_MAX: Duration = Duration::from_secs(60);
/// How long one voter is asked.
const ATTEMPT_MAX: Duration = Duration::from_secs(20);

/// Ranges of a message, and the size of the volume when the snapshot was taken.
pub(super) struct Blocks {
    pub ranges: Vec<csi::BlockMetadata>,
    pub volume_bytes: u64,
}

impl Blocks {
    pub fn allocated(self) -> csi::GetMetadataAllocatedResponse {
        csi::GetMetadataAllocatedResponse {
            block_metadata_type: csi::BlockMetadataType::VariableLength.into(),
            volume_capacity_bytes: view::signed(self.volume_bytes),
            block_metadata: self.ranges,
        }
    }

    pub fn delta(self) -> csi::GetMetadataDeltaResponse {
        csi::GetMetadataDeltaResponse {
            block_metadata_type: csi::BlockMetadataType::VariableLength.into(),
            volume_capacity_bytes: view::signed(self.volume_bytes),
            block_metadata: self.ranges,
        }
    }
}

/// How far it is.
pub(super) struct Walk {
    pub snapshot: String,
    pub base: Option<String>,
    pub offset_bytes: u64,
    pub size_bytes: u64,
    pub ranges_max: usize,
}

/// Nobody listens any more.
struct Gone;

impl Walk {
    pub async fn run<T>(mut self, cluster: Arc<Cluster>, say: Sender<Result<T, Status>>, message: fn(Blocks) -> T) {
        let Err(status) = self.tell(&cluster, &say, message).await else { return };
        // A caller that is gone does not mind.
        let _gone = say.send(Err(status)).await;
    }

    async fn tell<T>(
        &mut self,
        cluster: &Cluster,
        say: &Sender<Result<T, Status>>,
        message: fn(Blocks) -> T,
    ) -> Result<(), Status> {
        let mut asking = cluster.ask(ATTEMPT_MAX);
        let mut heard = Instant::now();
        let mut is_told = false;
        while self.offset_bytes < self.size_bytes {
            let before = self.offset_bytes;
            match self.attempt(&mut asking, say, message).await {
                Ok(Ok(told)) => is_told |= told,
                Ok(Err(Gone)) => return Ok(()),
                Err(error) => return Err(fault::of_client(&error)),
            }
            if self.offset_bytes > before {
                heard = Instant::now();
            } else if heard.elapsed() > PROGRESS_MAX {
                return Err(Status::unavailable("no replica that has the snapshot says what is in it: try again"));
            }
            if self.offset_bytes < self.size_bytes {
                asking.pause().await;
            }
        }
        // Who hears of no range hears of the size at least.
        if !is_told {
            let _gone = say.send(Ok(message(Blocks { ranges: Vec::new(), volume_bytes: self.size_bytes }))).await;
        }
        Ok(())
    }

    /// As far as one stream leads.
    async fn attempt<T>(
        &mut self,
        asking: &mut Asking<'_>,
        say: &Sender<Result<T, Status>>,
        message: fn(Blocks) -> T,
    ) -> Result<Result<bool, Gone>, ClientError> {
        let wish = v1::DiffSnapshotRequest {
            name: self.snapshot.clone(),
            base: self.base.clone().unwrap_or_default(),
            base_at: None,
            offset_bytes: self.offset_bytes,
        };
        let send = async |channel, wish| SnapshotServiceClient::new(channel).diff(wish).await;
        let mut pieces = asking.call(wish, send).await?;
        let mut is_told = false;
        while let Some(piece) = asking.next(&mut pieces).await? {
            let ranges = self.ranges(&piece);
            for part in ranges.chunks(self.ranges_max) {
                let blocks = Blocks { ranges: part.to_vec(), volume_bytes: self.size_bytes };
                if say.send(Ok(message(blocks))).await.is_err() {
                    return Ok(Err(Gone));
                }
                is_told = true;
            }
            self.offset_bytes = self.offset_bytes.max(piece.next_bytes);
            if piece.ranges.is_empty() && say.is_closed() {
                return Ok(Err(Gone));
            }
        }
        Ok(Ok(is_told))
    }

    /// What changed to zeroes has changed; what is zeroes and has no base is not there.
    fn ranges(&self, piece: &v1::DiffPiece) -> Vec<csi::BlockMetadata> {
        let counts = |range: &&v1::DiffRange| self.base.is_some() || !range.zeroes;
        let from = |range: &v1::DiffRange| range.offset_bytes.max(self.offset_bytes);
        let ranges = piece.ranges.iter().filter(counts).map(|range| csi::BlockMetadata {
            byte_offset: view::signed(from(range)),
            size_bytes: view::signed((range.offset_bytes + range.len_bytes).saturating_sub(from(range))),
        });
        ranges.filter(|range| range.size_bytes > 0).collect()
    }
}
