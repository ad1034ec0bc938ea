//! How full a volume is, and whether anything is wrong with it.

use std::path::Path;

use attach::{Attachment, Method};
use proto::csi;
use proto::csi::volume_usage::Unit;
use tonic::Status;

use super::Node;
use super::answers::of_io;
use super::devices::{Found, is_there};
use super::places::{Places, known};
use crate::system::{self, Usage};

impl Node {
    /// What is known of a volume at one of its places.
    pub async fn stats(&self, volume_id: &str, path: &Path) -> Result<csi::NodeGetVolumeStatsResponse, Status> {
        let nowhere = || Status::not_found(format!("volume {volume_id} is not at {} of this node", path.display()));
        let attachment = self.attachment(volume_id)?.ok_or_else(nowhere)?;
        let device = attachment.record.device.clone().ok_or_else(nowhere)?;
        let places = Places::of(&device)?;
        let path = known(path).ok_or_else(nowhere)?;
        let mount = places.ours_at(&path).ok_or_else(nowhere)?;
        let wrong = wrong(&attachment, &device, &places);
        let usage = if places.shows_device(mount) {
            attach::size_bytes(&device)
                .map(|size_bytes| vec![of_device(size_bytes)])
                .map_err(|error| of_io("the device's size", &error))
        } else {
            system::usage(&path).await.map(of_filesystem).map_err(Status::from)
        };
        let (usage, wrong) = match (usage, wrong) {
            (Ok(usage), wrong) => (usage, wrong),
            (Err(_), Some(wrong)) => (Vec::new(), Some(wrong)),
            (Err(status), None) => (Vec::new(), Some(format!("the filesystem does not answer: {}", status.message()))),
        };
        Ok(csi::NodeGetVolumeStatsResponse { usage, volume_condition: Some(condition(wrong)) })
    }
}

/// What is wrong, if anything is.
fn wrong(attachment: &Attachment, device: &Path, places: &Places) -> Option<String> {
    let name = &attachment.record.name;
    if !is_there(device) {
        return Some(format!("the device {} of volume {name} is gone; delete the pods that use it", device.display()));
    }
    match Found::from(attachment.clone()) {
        Found::Dead(_) if attachment.record.method == Method::Fuse => {
            return Some(format!(
                "the process that served the device of volume {name} has died; delete the pods that use it"
            ));
        }
        Found::Dead(_) => return Some(format!("volume {name} is being taken away from this node")),
        Found::Orphan(_) => {
            return Some(format!(
                "nobody keeps the device of volume {name}: when its primary fails it waits for the next"
            ));
        }
        Found::Nothing | Found::Coming | Found::Kept(_) => {}
    }
    let stopped =
        places.all().any(|mount| mount.filesystem_read_only && !mount.read_only && !places.shows_device(mount));
    stopped.then(|| format!("the filesystem of volume {name} has met an error and takes no more writes"))
}

fn condition(wrong: Option<String>) -> csi::VolumeCondition {
    let abnormal = wrong.is_some();
    csi::VolumeCondition { abnormal, message: wrong.unwrap_or_else(|| "in order".to_owned()) }
}

fn of_device(size_bytes: u64) -> csi::VolumeUsage {
    csi::VolumeUsage { total: signed(size_bytes), unit: Unit::Bytes.into(), ..csi::VolumeUsage::default() }
}

fn of_filesystem(usage: Usage) -> Vec<csi::VolumeUsage> {
    let bytes = csi::VolumeUsage {
        available: signed(usage.available_bytes),
        total: signed(usage.total_bytes),
        used: signed(usage.used_bytes),
        unit: Unit::Bytes.into(),
    };
    let inodes = csi::VolumeUsage {
        available: signed(usage.free_inodes),
        total: signed(usage.total_inodes),
        used: signed(usage.total_inodes.saturating_sub(usage.free_inodes)),
        unit: Unit::Inodes.into(),
    };
    vec![bytes, inodes]
}

/// The wire has signed numbers.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
