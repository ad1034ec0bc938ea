//! The Node service: what is done on the host whose workload uses a volume.
//!
//! Promise: calls on one volume come one after the other, each bounded by its caller's patience; each looks at what the
//! kernel and crate `attach` have, does what is missing, and can be repeated after any of them died.
//!
//! Files: `wish` what calls ask for, checked; `stage`, `prepare`, `publish`, `stats` and `expand` what is done; `devices` and `places`
//! what there is; `fenced` what was taken from this node; `turns` who is at it; `answers` what is said when the host did not do it.

mod answers;
mod devices;
mod expand;
mod fenced;
mod places;
mod prepare;
mod publish;
mod service;
mod stage;
mod stats;
mod turns;
mod wish;

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use attach::Attachment;
use proto::v1;
use tonic::Status;

use crate::cluster::Cluster;
use crate::fault::of_client;
use crate::names::is_name;
use crate::plugin::NodeConfig;
use answers::of_io;
use devices::Devices;

pub use devices::{Attacher, DevicesConfig, NotAnAttacher};
pub(crate) use service::NodeService;

/// How long the cluster is asked for what is good to know and not needed.
const LOOK_MAX: Duration = Duration::from_secs(3);
/// How long the cluster is asked for what is needed.
const ASK_MAX: Duration = Duration::from_secs(20);

/// This host.
#[derive(Debug)]
struct Node {
    config: NodeConfig,
    cluster: Arc<Cluster>,
    devices: Devices,
}

impl Node {
    /// A volume, as the cluster has it.
    async fn volume(&self, volume_id: &str) -> Result<v1::Volume, Status> {
        if !is_name(volume_id) {
            return Err(Status::not_found("there is no volume of this id"));
        }
        self.cluster.ask(ASK_MAX).volume(volume_id).await.map_err(|error| of_client(&error))
    }

    /// The volume's attachment to this node.
    fn published(&self, volume: &v1::Volume) -> Result<v1::Attachment, Status> {
        let ours = volume.attachments.iter().find(|one| one.client == self.config.node_id);
        let node = &self.config.node_id;
        ours.cloned().ok_or_else(|| {
            Status::failed_precondition(format!("volume {} is not published to node {node}", volume.name))
        })
    }

    /// What is here of a volume.
    fn attachment(&self, volume_id: &str) -> Result<Option<Attachment>, Status> {
        if is_name(volume_id) { self.devices.attachment(volume_id) } else { Ok(None) }
    }
}

/// An empty file to show a device at.
fn make_file(path: &Path) -> Result<(), Status> {
    let made = File::options().create(true).append(true).open(path);
    made.map(drop).map_err(|error| of_io(&format!("making {}", path.display()), &error))
}

/// Removes such a file; one that holds anything is not ours.
fn remove_file(path: &Path) -> Result<(), Status> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_file() && found.len() == 0 => fs::remove_file(path),
        Ok(_) => Err(io::Error::other("it is no empty file")),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(()),
        Err(error) => Err(of_io(&format!("removing {}", path.display()), &error)),
        Ok(()) => Ok(()),
    }
}
