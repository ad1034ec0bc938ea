//! A volume that begins as a snapshot is made fit for readers.
//!
//! A snapshot of a volume in use has a journal that is not empty, and what may only be read cannot be mounted then. So the
//! first node that is to read such a volume gets it for writing, and alone. Before anybody sees it there, its journal is
//! replayed, as whoever mounts it for writing would, and the node gives the writing up; others are let in from then on.
//!
//! ```text
//!   published for writing, wanted for reading ── device ── check and mount, for reading, which replays ── unmount ──
//!   device ends ── the attachment becomes a reader's ── staged as any
//! ```
//! Killed in between, the next call does all of it again. The snapshot stays what it is: this is the volume that was made
//! from it.

use std::path::Path;
use std::time::Duration;

use attach::Attachment;
use client::{Token, request_id};
use proto::v1;
use proto::v1::volume_service_client::VolumeServiceClient;
use tonic::Status;

use super::places::{Places, listed};
use super::stage::{Staging, clear, identified};
use super::wish::{Access, Shape};
use super::{ASK_MAX, Node};
use crate::fault::of_client;
use crate::node::devices::DeviceWish;
use crate::system::{self, Content, Wish};

/// How long the cluster may take to make a reader of a writer.
const LESSEN_MAX: Duration = ASK_MAX;

/// Whether this node has the volume for writing only so that others can read it afterwards.
pub(super) fn is_due(volume: &v1::Volume, ours: &v1::Attachment, access: &Access) -> bool {
    let is_mount = matches!(access.shape, Shape::Mount { .. });
    access.reader && is_mount && volume.source.is_some() && ours.mode() == v1::AccessMode::ReadWrite
}

impl Node {
    /// Replays the volume's journal and gives the writing up.
    pub(super) async fn prepare(&self, volume: &v1::Volume, path: &Path, wish: &Staging) -> Result<(), Status> {
        let attacher = wish.context.attacher;
        let attachment = self.devices.raise(DeviceWish { name: &volume.name, read_only: false, attacher }).await?;
        let device = identified(&attachment, volume)?;
        let pods = Places::of(device)?.elsewhere(&[path]);
        if !pods.is_empty() {
            let sentence =
                format!("pods have the volume at {} and may write it; unpublish it there first", listed(&pods));
            return Err(Status::failed_precondition(sentence));
        }
        // What a predecessor left that was killed at it.
        clear(path).await?;
        let replayed = replay(device, path).await;
        let ended = self.undo(&attachment, path).await;
        replayed.and(ended)?;
        self.lessen(&attachment).await?;
        tracing::info!("volume {} is ready for readers: its journal is empty", volume.name);
        Ok(())
    }

    /// The token says which attachment it is that becomes a reader's: one that was ended meanwhile does not come back.
    async fn lessen(&self, attachment: &Attachment) -> Result<(), Status> {
        let record = &attachment.record;
        let token = Token::of_hex(&record.token).ok_or_else(|| Status::internal("the attachment has no token"))?;
        let wish = v1::AttachVolumeRequest {
            request_id: request_id().map_err(|error| of_client(&error))?,
            name: record.name.clone(),
            client: record.client.clone(),
            mode: v1::AccessMode::ReadOnly.into(),
            token: token.bytes().to_vec(),
            renew: true,
            ..v1::AttachVolumeRequest::default()
        };
        let mut asking = self.cluster.ask(LESSEN_MAX);
        let send = async |channel, wish| VolumeServiceClient::new(channel).attach(wish).await;
        let reply = asking.call(wish, send).await.map_err(|error| of_client(&error))?;
        match reply.operation {
            Some(operation) => asking.finish(operation).await.map(drop).map_err(|error| of_client(&error)),
            None => Ok(()),
        }
    }
}

/// A mount for reading of a device that can be written replays, for all three filesystems.
async fn replay(device: &Path, path: &Path) -> Result<(), Status> {
    let Content::Whole(filesystem, uuid) = system::look(device).await? else {
        return Err(Status::failed_precondition("the volume is empty, and may only be read: use it for writing once"));
    };
    system::refuse_twin(device, filesystem, &uuid)?;
    system::repair(device, filesystem).await?;
    system::mount(device, path, Wish { filesystem, read_only: true, flags: &[] }).await?;
    Ok(system::unmount(path).await?)
}
