//! A volume that has grown becomes larger here: the device first, then the filesystem on it, in use.

use std::path::{Path, PathBuf};

use proto::csi;
use tonic::Status;

use super::Node;
use super::places::{Places, known};
use crate::system::{self, Filesystem};

/// What NodeExpandVolume asks for.
#[derive(Debug)]
pub(super) struct Expanding {
    pub volume_id: String,
    pub path: PathBuf,
    pub staging: Option<PathBuf>,
    pub range: csi::CapacityRange,
}

impl Node {
    /// Answers the size.
    pub async fn expand(&self, wish: &Expanding) -> Result<u64, Status> {
        let nowhere =
            || Status::not_found(format!("volume {} is not at {} of this node", wish.volume_id, wish.path.display()));
        let attachment = self.attachment(&wish.volume_id)?.ok_or_else(nowhere)?;
        let device = attachment.record.device.clone().ok_or_else(nowhere)?;
        let places = Places::of(&device)?;
        let named: Vec<PathBuf> =
            [Some(&wish.path), wish.staging.as_ref()].into_iter().flatten().filter_map(|path| known(path)).collect();
        // The path of a volume that is used as a device may be that of its staging folder, which nothing is mounted at.
        let is_here = |path: &PathBuf| places.all().any(|mount| mount.point.starts_with(path));
        if !named.iter().any(is_here) {
            return Err(nowhere());
        }
        let size_bytes = self.devices.grow(&attachment.record.name).await?;
        let required = u64::try_from(wish.range.required_bytes).unwrap_or_default();
        if required > size_bytes {
            let sentence = format!(
                "the volume has {size_bytes} bytes, and {required} are required: let the controller expand it first"
            );
            return Err(Status::out_of_range(sentence));
        }
        grow_filesystem(&device, &places).await?;
        Ok(size_bytes)
    }
}

/// Grows the filesystem through a mount that may be written; one that is mounted for reading only stays as it is.
async fn grow_filesystem(device: &Path, places: &Places) -> Result<(), Status> {
    let writable =
        |mount: &&system::Mount| !places.shows_device(mount) && !mount.read_only && !mount.filesystem_read_only;
    let Some(mount) = places.all().find(writable) else { return Ok(()) };
    let filesystem = Filesystem::named(&mount.filesystem)
        .ok_or_else(|| Status::failed_precondition(format!("{} cannot be grown by this plugin", mount.filesystem)))?;
    Ok(system::grow(device, &mount.point, filesystem).await?)
}
